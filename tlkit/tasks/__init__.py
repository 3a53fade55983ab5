"""Applications: each is one folder."""
