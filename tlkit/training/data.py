"""What training asks of data."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tlkit.inputs.base import Augmentation, Preprocessing
from tlkit.targets.base import Target


class Data(Protocol):
    """What a Learner needs of data; `tlkit.ImageData`, `TextData` and `TabularData` have it.

    `augmentation` is None for data that training does not change; `targets` says what a table predicts, and is
    empty for other data. `labels` gives class numbers int32 [n], or 0/1 labels float32 [n, k] where several can be
    true, in the order of `ordered`; `samples` a few items as a client would send them.
    """

    class_names: list[str]
    preprocessing: Preprocessing
    batch_size: int
    seed: int
    augmentation: Augmentation | None
    class_weights: np.ndarray | None
    multi_label: bool
    targets: tuple[Target, ...]

    @property
    def steps_per_epoch(self) -> int: ...  # noqa: D102
    def epochs(self, start: int = 0) -> tf.data.Dataset: ...  # noqa: D102
    def epoch(self, number: int | tf.Variable) -> tf.data.Dataset: ...  # noqa: D102
    def epoch_order(self, number: int | tf.Tensor) -> tf.Tensor: ...  # noqa: D102
    def ordered(self, split: str) -> tf.data.Dataset: ...  # noqa: D102
    def labels(self, split: str) -> np.ndarray: ...  # noqa: D102
    def samples(self, split: str, count: int) -> list[bytes]: ...  # noqa: D102
    def summary(self) -> dict[str, Any]: ...  # noqa: D102
    def fingerprint(self) -> str: ...  # noqa: D102
    def training_groups(self) -> np.ndarray: ...  # noqa: D102
    def example_weights(self) -> np.ndarray | None: ...  # noqa: D102


class Divisible(Data, Protocol):
    """Data of which a part can be trained on: `part` gives the same data with some rows of the training split alone."""

    def part(self, rows: np.ndarray) -> Divisible: ...  # noqa: D102


class Images(Data, Protocol):
    """What some practices need beyond that: views of a photo, other sizes, other augmentation."""

    augmentation: Augmentation

    def views(self, split: str, number: int) -> tf.data.Dataset: ...  # noqa: D102
    def augmented_by(self, augmentation: Augmentation) -> Images: ...  # noqa: D102
    def native_size(self) -> float: ...  # noqa: D102
    def resized(self, size: int) -> Images: ...  # noqa: D102
