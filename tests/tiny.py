"""A small image classifier with random weights, and one export of it shared by the whole test run."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np

LABELS = ("ants", "bees & wasps", "żółw")


def tiny_task(labels=LABELS, size=32, seed=0, policy=None, *, multi_label=False):
    """A Task of two convolutions that answers at once and tells images apart."""
    import keras

    from tlkit.inputs.image.preprocessing import ImagePreprocessing
    from tlkit.models.task import LayerGroup, Task
    from tlkit.targets.objective import classification

    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(policy or "float32")
    try:
        image = keras.Input((size, size, 3))
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="stem")(image)
        x = keras.layers.BatchNormalization(name="norm")(x)
        x = keras.layers.Conv2D(12, 3, strides=2, activation="relu", name="last")(x)
        backbone = keras.Model(image, x, name="tiny")
        pixels = keras.Input((size, size, 3))
        scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
        features = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(backbone(scaled)), name="features")
        vector = keras.Input((12,))
        dropped = keras.layers.Dropout(0.5, seed=seed)(vector)
        head = keras.Model(vector, keras.layers.Dense(len(labels), name="logits")(dropped), name="head")
        head.get_layer("logits").kernel.assign(3 * np.random.default_rng(seed).normal(size=(12, len(labels))))
        model = keras.Model(pixels, head(features(pixels)))
    finally:
        keras.config.set_dtype_policy("float32")
    groups = (
        LayerGroup("stem", tuple(backbone.get_layer(name) for name in ("stem", "norm", "last"))),
        LayerGroup("head", (head.get_layer("logits"),)),
    )
    return Task(
        kind="image_classification",
        model=model,
        features=features,
        head=head,
        backbone=backbone,
        preprocessing=ImagePreprocessing(size=size),
        class_names=tuple(labels),
        groups=groups,
        backbone_name="tiny",
        weights_source="none",
        objective=classification(tuple(labels), multi_label),
    )


def tiny_value_task(targets):
    """The same network with a head for values, risks or several targets, which begins at zero."""
    import keras

    from tlkit.models.task import LayerGroup, Task
    from tlkit.targets.objective import Objective

    plain, objective = tiny_task(), Objective(targets)
    vector = keras.Input((12,))
    outputs = keras.layers.Dense(objective.width, kernel_initializer="zeros", name="outputs")(vector)
    head = keras.Model(vector, outputs, name="head")
    pixels = keras.Input((32, 32, 3))
    return Task(
        kind="image_regression",
        model=keras.Model(pixels, head(plain.features(pixels))),
        features=plain.features,
        head=head,
        backbone=plain.backbone,
        preprocessing=plain.preprocessing,
        class_names=objective.output_names,
        groups=(plain.groups[0], LayerGroup("head", (head,))),
        backbone_name="tiny",
        weights_source="none",
        objective=objective,
    )


@functools.cache
def value_targets():
    """What `tiny_value` knows: a price, a price and a colour, and risks of both methods."""
    from tlkit.targets.regression import Regression
    from tlkit.targets.single_label import SingleLabel
    from tlkit.targets.survival import Survival

    price = Regression("price", transform="log", center=4.0, scale=0.5, unit="€")
    return {
        "regression": (price,),
        "several": (dataclasses.replace(price, weight=0.5), SingleLabel("colour", ("red", "blue"))),
        "survival": (Survival("risk", times=(30.0, 365.0), base=(-2.0, -1.0)),),
        "cox": (Survival("risk", method="cox"),),
    }


def tiny_value(kind):
    """A `tiny_value_task` of one of `value_targets` that tells images apart."""
    task = tiny_value_task(value_targets()[kind])
    kernel = task.head.get_layer("outputs").kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    return task


def photos(n=3, seed=0):
    """Encoded pictures of different formats and sizes, as bytes."""
    import tensorflow as tf

    rng = np.random.default_rng(seed)
    encoders = (tf.io.encode_jpeg, tf.io.encode_png)
    pictures = []
    for i in range(n):
        small = rng.integers(0, 256, (6, 5 + i, 3)).astype(np.uint8)
        pictures.append(encoders[i % 2](np.kron(small, np.ones((9, 9, 1), np.uint8))).numpy())
    return pictures


def shared_export() -> Path:
    """Version 1 of the tiny task under the base path "tiny", exported once per run; treat it as read-only."""
    from exports import export_of

    return export_of("photos")


def copy_export(target: Path) -> Path:
    """A private copy of the shared export at target/1."""
    from exports import copy_of

    return copy_of("photos", target)


def edit_manifest(export: Path, **changes) -> None:
    """Overwrite top-level values of a copy's manifest."""
    path = export / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refresh_hashes(export: Path) -> None:
    """Make the manifest agree with the files again, so that only the check under test can notice a change."""
    from tlkit.export.manifest import sha256_of_files

    edit_manifest(export, files=sha256_of_files(export))
