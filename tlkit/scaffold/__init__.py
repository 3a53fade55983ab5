"""tlkit.scaffold."""
