"""tlkit.report."""
