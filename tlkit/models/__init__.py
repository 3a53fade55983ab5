"""tlkit.models."""
