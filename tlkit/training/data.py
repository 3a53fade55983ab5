"""What training asks of data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tlkit.preprocessing.images import ImagePreprocessing


class Data(Protocol):
    """What a Learner needs of data; `tlkit.ImageData` has it."""

    class_names: list[str]
    preprocessing: ImagePreprocessing
    batch_size: int
    seed: int
    class_weights: np.ndarray | None

    @property
    def steps_per_epoch(self) -> int: ...  # noqa: D102
    def epochs(self, start: int = 0) -> tf.data.Dataset: ...  # noqa: D102
    def ordered(self, split: str) -> tf.data.Dataset: ...  # noqa: D102
    def labels(self, split: str) -> np.ndarray: ...  # noqa: D102
    def paths(self, split: str) -> list[Path]: ...  # noqa: D102
    def summary(self) -> dict[str, Any]: ...  # noqa: D102
    def fingerprint(self) -> str: ...  # noqa: D102
