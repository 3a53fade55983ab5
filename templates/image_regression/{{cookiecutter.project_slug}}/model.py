"""The network: a pretrained backbone and the head that is trained on top of it."""

from collections.abc import Sequence

import keras

import tlkit
from tlkit.config import ImageRegressionConfig
from tlkit.targets.base import Target


def head(features: keras.KerasTensor, outputs: int, dropout: float, seed: int) -> keras.KerasTensor:
    """Turn features [B, F] into what the targets are made of [B, outputs]: one number for a value.

    This is the place to change the network, for example by a hidden layer:
        features = keras.layers.Dense(256, activation="relu")(features)
    Such a head is trained by epochs: set head = "epochs" in config.toml.
    """
    features = keras.layers.Dropout(dropout, seed=seed)(features)
    # Starting at zero is fine for a single layer: the first answer is the mean of the training data.
    return keras.layers.Dense(outputs, kernel_initializer="zeros", dtype="float32", name="outputs")(features)


def build_task(config: ImageRegressionConfig, targets: Sequence[Target]) -> tlkit.Task:
    """Put backbone, preprocessing and head together; `task.model` is a plain keras.Model."""
    return tlkit.image_regressor(
        config.model.backbone,
        targets,
        size=config.model.image_size,
        weights=config.weights,
        pooling=config.model.pooling,
        resize=config.model.resize,
        max_pixels=config.data.max_pixels,
        batch_norm=config.model.batch_norm,
        cut=config.model.cut or None,
        seed=config.data.seed,
        head=lambda features, outputs: head(features, outputs, config.model.dropout, config.data.seed),
    )
