"""Images: files, preprocessing, data sets."""
