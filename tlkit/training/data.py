"""What training asks of data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tlkit.preprocessing.augment import Augmentation
from tlkit.preprocessing.images import ImagePreprocessing


class Data(Protocol):
    """What a Learner needs of data; `tlkit.ImageData` has it."""

    class_names: list[str]
    preprocessing: ImagePreprocessing
    batch_size: int
    seed: int
    augmentation: Augmentation
    class_weights: np.ndarray | None

    @property
    def steps_per_epoch(self) -> int: ...  # noqa: D102
    def epochs(self, start: int = 0) -> tf.data.Dataset: ...  # noqa: D102
    def epoch(self, number: int | tf.Variable) -> tf.data.Dataset: ...  # noqa: D102
    def epoch_order(self, number: int | tf.Tensor) -> tf.Tensor: ...  # noqa: D102
    def views(self, split: str, number: int) -> tf.data.Dataset: ...  # noqa: D102
    def augmented_by(self, augmentation: Augmentation) -> Data: ...  # noqa: D102
    def native_size(self) -> float: ...  # noqa: D102
    def resized(self, size: int) -> Data: ...  # noqa: D102
    def ordered(self, split: str) -> tf.data.Dataset: ...  # noqa: D102
    def labels(self, split: str) -> np.ndarray: ...  # noqa: D102
    def paths(self, split: str) -> list[Path]: ...  # noqa: D102
    def summary(self) -> dict[str, Any]: ...  # noqa: D102
    def fingerprint(self) -> str: ...  # noqa: D102
