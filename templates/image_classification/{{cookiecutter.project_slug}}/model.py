"""The network: a pretrained backbone and the head that is trained on top of it."""

import keras

import tlkit
from tlkit.config import ImageConfig


def head(features: keras.KerasTensor, num_classes: int, dropout: float, seed: int) -> keras.KerasTensor:
    """Turn features [B, F] into one raw score (logit) per class [B, num_classes].

    This is the place to change the classifier, for example by a hidden layer:
        features = keras.layers.Dense(256, activation="relu")(features)
    """
    features = keras.layers.Dropout(dropout, seed=seed)(features)
    # Starting at zero is fine for a single layer, and makes every run start from the same place.
    return keras.layers.Dense(num_classes, kernel_initializer="zeros", dtype="float32", name="logits")(features)


def build_task(config: ImageConfig, class_names: tuple[str, ...]) -> tlkit.Task:
    """Put backbone, preprocessing and head together; `task.model` is a plain keras.Model."""
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
