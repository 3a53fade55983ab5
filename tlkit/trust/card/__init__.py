"""The model card: what a model is, how good it is, where it came from."""
