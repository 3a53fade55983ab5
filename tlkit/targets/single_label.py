"""One class of several."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import DataError
from tlkit.targets.base import Judged, Target, TargetKind
from tlkit.targets.calibration import fit_temperature

_ROUNDING = 1e-4  # of a probability
LEAST = 1e-12  # probability whose logarithm is taken


@dataclasses.dataclass(frozen=True)
class SingleLabel(Target):
    """Exactly one class is true; probabilities add up to 1 (softmax, cross-entropy).

    Example:
        >>> colour = SingleLabel("colour", ("red", "green"))
        >>> colour.answers(tf.constant([[0.0, 2.0]]))  # float32 [1, 2]: 0.12, 0.88

    Args:
        name: the column.
        class_names: the classes. Labels are their numbers.
    """

    class_names: tuple[str, ...] = ()  # type: ignore[misc]

    kind: ClassVar[TargetKind] = "single_label"

    @property
    def columns_of_names(self) -> tuple[str, ...]:
        """Its own."""
        return (self.name,)

    @property
    def width(self) -> int:
        """One logit for each class."""
        return len(self.class_names)

    @property
    def output_names(self) -> tuple[str, ...]:
        """`colour=red`, and so on."""
        return tuple(f"{self.name}={label}" for label in self.class_names)

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Class numbers [n] -> one-hot float32 [n, k]."""
        numbers = np.asarray(values).reshape(len(values))
        if numbers.dtype.kind != "f":
            return np.eye(self.width, dtype=np.float32)[numbers.astype(np.int64)]
        gone = np.isnan(numbers)
        ones = np.eye(self.width, dtype=np.float32)[np.where(gone, 0, numbers).astype(np.int64)]
        ones[gone] = np.nan
        return ones

    def losses(self, true: Any, outputs: Any, label_smoothing: float = 0.0) -> Any:
        """Cross-entropy, float32 [B]."""
        return keras.losses.categorical_crossentropy(true, outputs, from_logits=True, label_smoothing=label_smoothing)

    def answers(self, outputs: Any) -> Any:
        """Logits [..., k] -> probabilities float32 [..., k]."""
        return tf.nn.softmax(tf.cast(outputs, tf.float32))

    def logits(self, answers: np.ndarray) -> np.ndarray:
        """Probabilities [..., k] -> logits that give them, float32 [..., k]; finite also where a probability is 0."""
        # float32 rounds very small probabilities to zero: their logarithm must be finite.
        return np.log(np.maximum(answers, np.finfo(np.float32).tiny))

    def threshold_questions(self, answers: np.ndarray, labels: np.ndarray) -> list[tuple[str, Any, Any, float]]:
        """Return the second of two classes."""
        two = self.width == 2
        return [(self.class_names[1], answers[:, 1], labels[:, 0] == 1, 0.5)] if two else []

    def explained(self, outputs: Any, chosen: np.ndarray) -> Any:
        """Return the logit of the chosen class minus the mean of all, to which only differences count."""
        return tf.gather(outputs, chosen, axis=1, batch_dims=1) - tf.reduce_mean(outputs, axis=1)

    def calibration(self, outputs: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the inverse of the best temperature for all logits, and no shift."""
        return np.full(self.width, fit_temperature(outputs, true)), np.zeros(self.width)

    @property
    def scores(self) -> int:
        """One: of the true class."""
        return 1

    def nonconformity(self, outputs: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Return 1 minus the probability of the true class, [n, 1] (Sadinle et al. 2019, arXiv 1609.00451)."""
        return 1 - (np.asarray(self.answers(outputs)) * true).sum(1, keepdims=True)

    def region(self, outputs: Any, limits: np.ndarray) -> dict[str, Any]:
        """Return the classes that are possible; the predicted one is always among them."""
        chances = self.answers(outputs)
        best = tf.one_hot(tf.argmax(chances, axis=-1), self.width, dtype=tf.int32)
        return {"in_set": tf.maximum(best, possible(chances, limits))}

    def watched(self) -> list[dict[str, Any]]:
        """Return the predicted class and its score."""
        name = f"predicted {self.name or 'class'}"
        return [{"name": name, "how": "top", "names": self.class_names}, {"name": f"score of {name}", "how": "best"}]

    def averaged(self, outputs: Sequence[Any]) -> Any:
        """Logits of the mean of the members' probabilities, float32 [B, k]."""
        return log_mean([keras.ops.log_softmax(part, axis=-1) for part in outputs])

    def loss(self, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Make the loss of a model that has no other target; Keras saves and loads it."""
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)

    def accuracy(self) -> keras.metrics.Metric:
        """Make the accuracy of an epoch: right classes."""
        return keras.metrics.CategoricalAccuracy(name="accuracy")

    def judged(self, answers: np.ndarray, labels: np.ndarray) -> Judged:
        """Judge by the predicted class; an explanation is about that class."""
        numbers, best, names = labels[:, 0].astype(np.int64), answers.argmax(1), self.class_names
        return Judged(
            losses=-np.log(np.maximum(answers[np.arange(len(answers)), numbers], LEAST)),
            wrong=best != numbers,
            errors=(best != numbers).astype(np.float64),
            is_rate=True,
            chosen=best,
            true=lambda item: names[numbers[item]],
            said=lambda item: f"{names[best[item]]} ({answers[item, best[item]]:.3f})",
        )

    def measure(self, answers: np.ndarray, labels: np.ndarray) -> Any:
        """Return `ClassificationMetrics` of probabilities."""
        return self.measure_outputs(self.logits(np.asarray(answers, np.float64)), labels)

    def measure_outputs(self, outputs: np.ndarray, labels: np.ndarray) -> Any:
        """Return `ClassificationMetrics` of logits.

        Raises:
            DataError: a class number has no name.
        """
        from tlkit.report.metrics import classification_metrics

        numbers = np.asarray(labels).reshape(len(labels))
        if not np.isin(numbers, np.arange(self.width)).all():
            raise DataError(
                f"target {self.name!r} has class numbers without a name",
                received=np.unique(numbers)[:5].tolist(),
                allowed=f"whole numbers from 0 to {self.width - 1}",
            )
        return classification_metrics(outputs, numbers.astype(np.int64), self.class_names)

    def wrong(self, outputs: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Return whether each answer is wrong, bool [n], given one-hot labels."""
        return np.asarray(outputs.argmax(1) != true.argmax(1))

    def describe(self) -> dict[str, Any]:
        """Kind, weight and classes."""
        return super().describe() | {"classes": list(self.class_names)}


def possible(chances: tf.Tensor, limits: np.ndarray) -> tf.Tensor:
    """Return 1 where 1 minus a probability is at or below its limit, int32.

    The item whose score is the limit must not fall out by rounding.
    """
    return tf.cast(chances >= tf.constant(1 - limits - _ROUNDING, tf.float32), tf.int32)


def log_mean(log_probabilities: list[Any]) -> Any:
    """Return the logarithm of the mean of exponentials: one too small for float32 keeps its finite logarithm."""
    total = keras.ops.logsumexp(keras.ops.stack(log_probabilities, axis=1), axis=1)
    return total - math.log(len(log_probabilities))
