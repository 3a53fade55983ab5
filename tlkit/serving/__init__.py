"""tlkit.serving."""
