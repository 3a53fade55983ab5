"""tlkit.export."""
