"""The network: a pretrained backbone and a new head."""

from collections.abc import Sequence

import keras

import tlkit
from tlkit.config import ImageRegressionConfig
from tlkit.targets.base import Target


def head(features: keras.KerasTensor, outputs: int, dropout: float, seed: int) -> keras.KerasTensor:
    """Return the raw outputs of the targets, [B, outputs], for features [B, F].

    Change the head here, for example add a hidden layer:
        features = keras.layers.Dense(256, activation="relu")(features)
    Set head = "epochs" in config.toml for such a head.
    """
    features = keras.layers.Dropout(dropout, seed=seed)(features)
    # Zeros are safe for a single layer: the first prediction is the mean of the training data.
    return keras.layers.Dense(outputs, kernel_initializer="zeros", dtype="float32", name="outputs")(features)


def build_task(config: ImageRegressionConfig, targets: Sequence[Target]) -> tlkit.Task:
    """Build the task from backbone, preprocessing and head; `task.model` is a keras.Model."""
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
