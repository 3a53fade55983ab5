"""Any number of labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tlkit.targets.base import TargetKind
from tlkit.targets.single_label import SingleLabel, log_mean


@dataclasses.dataclass(frozen=True)
class MultiLabel(SingleLabel):
    """Any number of labels are true, each has a probability of its own (sigmoid, binary cross-entropy).

    Args:
        name: what people call it; its columns are those of the labels.
        class_names: the labels. A label of a row is 0 or 1 for each.
    """

    kind: ClassVar[TargetKind] = "multi_label"
    is_alone: ClassVar[bool] = True

    @property
    def columns(self) -> tuple[str, ...]:
        """A column of 0 and 1 for each label."""
        return self.class_names

    @property
    def label_width(self) -> int:
        """One for each label."""
        return len(self.class_names)

    def forward(self, values: np.ndarray) -> np.ndarray:
        """0 and 1, [n, k] -> float32 [n, k]."""
        return np.asarray(values, np.float32)

    def losses(self, true: Any, outputs: Any, label_smoothing: float = 0.0) -> Any:
        """Mean binary cross-entropy of the labels, float32 [B]."""
        return keras.losses.binary_crossentropy(true, outputs, from_logits=True, label_smoothing=label_smoothing)

    def answers(self, outputs: Any) -> Any:
        """Logits [..., k] -> probabilities float32 [..., k]."""
        return tf.nn.sigmoid(tf.cast(outputs, tf.float32))

    def logits(self, answers: np.ndarray) -> np.ndarray:
        """Probabilities [..., k] -> logits that give them, float32 [..., k]."""
        return super().logits(answers) - super().logits(1 - answers)

    def averaged(self, outputs: Sequence[Any]) -> Any:
        """Logits of the mean of the members' probabilities, float32 [B, k]."""
        yes, no = ([keras.ops.log_sigmoid(sign * part) for part in outputs] for sign in (1.0, -1.0))
        return log_mean(yes) - log_mean(no)

    def loss(self, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Make the loss of a model that has no other target; Keras saves and loads it."""
        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=label_smoothing)

    def accuracy(self) -> keras.metrics.Metric:
        """Make the accuracy of an epoch: right yes-or-no answers over all labels."""
        return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)  # of logits

    def measure_outputs(self, outputs: np.ndarray, labels: np.ndarray) -> Any:
        """Return `MultiLabelMetrics` of logits."""
        from tlkit.report.multi_label import multi_label_metrics

        return multi_label_metrics(outputs, labels, self.class_names)

    def wrong(self, outputs: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Return whether any label of each answer is wrong, bool [n]."""
        return np.asarray(((outputs > 0) != (true > 0.5)).any(1))
