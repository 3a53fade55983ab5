"""tlkit.catalogue."""
