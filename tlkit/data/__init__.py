"""tlkit.data."""
