"""tlkit.training."""
