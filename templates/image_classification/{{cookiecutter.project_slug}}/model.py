"""The network: a pretrained backbone and a new head."""

import keras

import tlkit
from tlkit.config import ImageConfig


def head(features: keras.KerasTensor, num_classes: int, dropout: float, seed: int) -> keras.KerasTensor:
    """Return one logit per class, [B, num_classes], for features [B, F].

    Change the classifier here, for example add a hidden layer:
        features = keras.layers.Dense(256, activation="relu")(features)
    """
    features = keras.layers.Dropout(dropout, seed=seed)(features)
    # Zeros are safe for a single layer and give every run the same start.
    return keras.layers.Dense(num_classes, kernel_initializer="zeros", dtype="float32", name="logits")(features)


def build_task(config: ImageConfig, class_names: tuple[str, ...]) -> tlkit.Task:
    """Build the task from backbone, preprocessing and head; `task.model` is a keras.Model."""
    return tlkit.image_classifier(
        config.model.backbone,
        class_names,
        size=config.model.image_size,
        weights=config.weights,
        pooling=config.model.pooling,
        resize=config.model.resize,
        max_pixels=config.data.max_pixels,
        batch_norm=config.model.batch_norm,
        cut=config.model.cut or None,
        multi_label=config.data.multi_label,
        seed=config.data.seed,
        head=lambda features, classes: head(features, classes, config.model.dropout, config.data.seed),
    )
