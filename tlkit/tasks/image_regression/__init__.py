"""Images: values, risks, or several targets."""
