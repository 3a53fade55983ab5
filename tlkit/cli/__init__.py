"""tlkit.cli."""
