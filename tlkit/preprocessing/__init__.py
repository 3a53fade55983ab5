"""tlkit.preprocessing."""
