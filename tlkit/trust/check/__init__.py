"""The check of data before training: `tlkit check`."""
