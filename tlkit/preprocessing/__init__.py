"""TensorFlow operations shared by the data pipeline, the models and the exported graph."""
