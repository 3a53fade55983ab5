"""What may be relied on: the data before training, and the model after it."""
