"""What a head's outputs mean: one class out of k, or any number of labels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import check_choice

ObjectiveName = Literal["single_label", "multi_label"]


@dataclasses.dataclass(frozen=True)
class Objective:
    """How logits become probabilities, and what training minimises.

    Example:
        >>> Objective("multi_label").probabilities(tf.constant([[0.0, 2.0]]))  # float32 [1, 2]: 0.5, 0.88

    Args:
        name: `"single_label"`: exactly one class is true, probabilities add up to 1 (softmax, cross-entropy).
            `"multi_label"`: any number of labels are true, each has a probability of its own (sigmoid, binary
            cross-entropy).

    Raises:
        ConfigError: it is neither.
    """

    name: ObjectiveName = "single_label"

    def __post_init__(self) -> None:
        check_choice("objective", self.name, get_args(ObjectiveName))

    @property
    def is_multi_label(self) -> bool:
        """Whether several labels can be true at once."""
        return self.name == "multi_label"

    def probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        """Logits [..., k] -> probabilities float32 [..., k]."""
        logits = tf.cast(logits, tf.float32)
        return tf.nn.sigmoid(logits) if self.is_multi_label else tf.nn.softmax(logits)

    def logits(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities [..., k] -> logits that give them, float32 [..., k]; finite also where a probability is 0."""
        # A probability that float32 rounds to zero is a very small one: its logarithm must stay a number.
        tiny = np.finfo(np.float32).tiny
        scores = np.log(np.maximum(probabilities, tiny))
        return scores - np.log(np.maximum(1 - probabilities, tiny)) if self.is_multi_label else scores

    def targets(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """Class numbers int [n], or 0/1 labels [n, k] -> what the loss compares with, float32 [n, k]."""
        if self.is_multi_label:
            return np.asarray(labels, np.float32)
        return np.eye(classes, dtype=np.float32)[labels]

    def loss(self, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Make the loss of logits and targets, float32 [B, k] each."""
        kind = keras.losses.BinaryCrossentropy if self.is_multi_label else keras.losses.CategoricalCrossentropy
        return kind(from_logits=True, label_smoothing=label_smoothing)

    def averaged(self, logits: Sequence[Any]) -> Any:
        """Logits of several members, float32 [B, k] each -> logits of the mean of their probabilities."""

        def log_mean(log_probabilities: list[Any]) -> Any:
            # The mean of exponentials, as a logarithm: a probability too small for float32 keeps its finite logit.
            total = keras.ops.logsumexp(keras.ops.stack(log_probabilities, axis=1), axis=1)
            return total - math.log(len(log_probabilities))

        if self.is_multi_label:
            yes, no = ([keras.ops.log_sigmoid(sign * part) for part in logits] for sign in (1.0, -1.0))
            return log_mean(yes) - log_mean(no)
        return log_mean([keras.ops.log_softmax(part, axis=-1) for part in logits])

    def accuracy(self) -> keras.metrics.Metric:
        """Make the accuracy of an epoch: right classes, or right yes-or-no answers over all labels."""
        if self.is_multi_label:
            return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)  # of logits
        return keras.metrics.CategoricalAccuracy(name="accuracy")


SINGLE_LABEL = Objective("single_label")
