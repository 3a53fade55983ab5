"""Images: classes or labels."""
