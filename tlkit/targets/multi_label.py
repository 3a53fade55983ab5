"""Any number of labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.targets.base import Judged, TargetKind
from tlkit.targets.calibration import fit_platt
from tlkit.targets.single_label import LEAST, SingleLabel, log_mean, possible

_MOST_WATCHED = 20  # labels


@dataclasses.dataclass(frozen=True)
class MultiLabel(SingleLabel):
    """Any number of labels are true, each has a probability of its own (sigmoid, binary cross-entropy).

    Args:
        name: what people call it; its columns are those of the labels.
        class_names: the labels. A label of a row is 0 or 1 for each.
        thresholds: for each label, the probability above which it is predicted; empty for 0.5.

    Raises:
        ConfigError: a threshold is not between 0 and 1, or their number is not that of the labels.
    """

    thresholds: tuple[float, ...] = ()

    kind: ClassVar[TargetKind] = "multi_label"
    is_alone: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.thresholds and not (
            len(self.thresholds) == len(self.class_names) and all(0 < one < 1 for one in self.thresholds)
        ):
            raise ConfigError(
                "the thresholds are invalid",
                received=list(self.thresholds),
                allowed=f"{len(self.class_names)} numbers between 0 and 1",
            )

    @property
    def limits(self) -> np.ndarray:
        """The probability above which each label is predicted, float64 [k]."""
        return np.asarray(self.thresholds or [0.5] * len(self.class_names), np.float64)

    def wire(self) -> dict[str, Any]:
        """Return the fields of the output, the thresholds too."""
        return super().wire() | {"thresholds": self.thresholds}

    def to_dict(self) -> dict[str, Any]:
        """Return the target as plain values; without thresholds where they are all 0.5, as in earlier releases."""
        plain = super().to_dict()
        return plain if self.thresholds else {key: value for key, value in plain.items() if key != "thresholds"}

    def learned(self) -> dict[str, Any]:
        """Return what decides how labels become numbers: thresholds are for answers."""
        return {key: value for key, value in super().learned().items() if key != "thresholds"}

    @property
    def columns(self) -> tuple[str, ...]:
        """A column of 0 and 1 for each label."""
        return self.class_names

    @property
    def columns_of_names(self) -> tuple[str, ...]:
        """None: labels are columns of 0 and 1."""
        return ()

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

    def threshold_questions(self, answers: np.ndarray, labels: np.ndarray) -> list[tuple[str, Any, Any, float]]:
        """Return each label."""
        columns = zip(self.class_names, answers.T, (labels > 0.5).T, self.limits.tolist(), strict=True)
        return [*columns]

    def explained(self, outputs: Any, chosen: np.ndarray) -> Any:
        """Return the logit of the chosen label."""
        return tf.gather(outputs, chosen, axis=1, batch_dims=1)

    def calibration(self, outputs: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scale and shift of each label's logits."""
        pairs = [fit_platt(own, wanted) for own, wanted in zip(outputs.T, true.T, strict=True)]
        return np.array([scale for scale, _ in pairs]), np.array([shift for _, shift in pairs])

    @property
    def scores(self) -> int:
        """One for each label."""
        return self.width

    def nonconformity(self, outputs: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Return 1 minus the probability of each label that an item has, [n, k]; NaN for those that it has not.

        So a set has each true label with the asked probability.
        """
        return np.where(true > 0.5, 1 - np.asarray(self.answers(outputs)), np.nan)

    def region(self, outputs: Any, limits: np.ndarray) -> dict[str, Any]:
        """Return the labels that are possible; there may be none."""
        return {"in_set": possible(self.answers(outputs), limits)}

    def watched(self) -> list[dict[str, Any]]:
        """Return how many labels are predicted, and of up to 20 labels whether each is."""
        limits = self.limits.tolist()
        several = [{"name": "number of predicted labels", "how": "above", "limits": tuple(limits)}]
        if self.width > _MOST_WATCHED:
            return [*several, {"name": "label with the highest score", "how": "top", "names": self.class_names}]
        each = enumerate(zip(self.class_names, limits, strict=True))
        return several + [
            {"name": f"{label} is predicted", "how": "above", "place": place, "limits": (limit,)}
            for place, (label, limit) in each
        ]

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

    def judged(self, answers: np.ndarray, labels: np.ndarray) -> Judged:
        """Judge by whether any label is wrong; an explanation is about the label with the largest error."""
        yes, said = labels > 0.5, answers > self.limits
        given = np.where(yes, answers, 1 - answers)

        def named(which: np.ndarray) -> str:
            return " + ".join(self.class_names[place] for place in np.flatnonzero(which)) or "no label"

        wrong = (said != yes).any(1)
        return Judged(
            losses=-np.log(np.maximum(given, LEAST)).mean(1),
            wrong=wrong,
            errors=wrong.astype(np.float64),
            is_rate=True,
            chosen=given.argmin(1),
            true=lambda item: named(yes[item]),
            said=lambda item: named(said[item]),
        )

    def measure_outputs(self, outputs: np.ndarray, labels: np.ndarray) -> Any:
        """Return `MultiLabelMetrics` of logits."""
        from tlkit.report.multi_label import multi_label_metrics

        return multi_label_metrics(outputs, labels, self.class_names, self.thresholds or 0.5)

    def wrong(self, outputs: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Return whether any label of each answer is wrong, bool [n]."""
        return np.asarray(((outputs > np.log(self.limits / (1 - self.limits))) != (true > 0.5)).any(1))
