"""What a tabular network's outputs mean where they are values, or belong to several targets at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.models.objective import SINGLE_LABEL, Objective
from tlkit.preprocessing.targets import Target


class TargetsObjective:
    """How outputs become answers, and what training minimises: one regression, or several targets side by side.

    Several targets share a network and have an output each (multi-task learning, Caruana 1997, Machine Learning 28);
    the loss is the sum of theirs, each times its weight: the squared error of a regression's scaled values, the
    cross-entropy of classes.

    Example:
        >>> TargetsObjective([price]).probabilities(model(rows))  # float32 [B, 1], in the unit of the price

    Args:
        targets: in the order of the outputs.

    Attributes:
        name: `"regression"` for one regression, `"several"` otherwise.

    Raises:
        ConfigError: there is none, or a single classification, which has an `Objective` of its own.
    """

    is_multi_label: ClassVar[bool] = False

    def __init__(self, targets: Sequence[Target]):
        self.targets_of_task = tuple(targets)
        kinds = [target.kind for target in self.targets_of_task]
        if not kinds or (len(kinds) == 1 and kinds[0] != "regression"):
            raise ConfigError("one regression or several targets are needed", received=kinds)
        if "multi_label" in kinds:
            raise ConfigError(
                "a target with several labels must be the only one",
                received=[target.name for target in self.targets_of_task],
                fix="make each label a target of its own",
            )
        self.name: Literal["regression", "several"] = "regression" if len(kinds) == 1 else "several"

    def probabilities(self, outputs: tf.Tensor) -> tf.Tensor:
        """Outputs [..., K] -> answers [..., K]: values in their own unit, probabilities of classes.

        They are float32, or all float64 where one of the targets is.
        """
        return tf.concat([tf.cast(self._answer(*part), self.dtype) for part in self._parts(outputs)], axis=-1)

    @property
    def dtype(self) -> str:
        """Of the answers."""
        return "float64" if any(target.dtype == "float64" for target in self.targets_of_task) else "float32"

    def targets(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """Labels float32 [n, T], a column for each target (values, class numbers) -> targets float32 [n, K]."""
        columns = np.asarray(labels).reshape(len(labels), -1)
        return np.concatenate([t.forward(columns[:, place]) for place, t in enumerate(self.targets_of_task)], axis=1)

    def loss(self, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Make the loss of outputs and targets, float32 [B, K] each.

        Raises:
            ConfigError: labels are to be smoothed, and no target has classes.
        """
        if label_smoothing and all(target.kind == "regression" for target in self.targets_of_task):
            raise ConfigError(
                "label_smoothing is for classes, and no target has them", received=label_smoothing, fix="leave it at 0"
            )
        return _SumOfLosses(self, label_smoothing)

    def accuracy(self) -> None:
        """There is none: a value is not right or wrong, and several targets have several."""

    def averaged(self, outputs: Sequence[Any]) -> Any:
        """Outputs of several members, float32 [B, K] each -> those of their ensemble.

        Values are averaged as the network learns them (after the transform), classes by their probabilities.
        """
        parts = []
        for (target, first), *others in zip(*(self._parts(output) for output in outputs), strict=True):
            members = [first, *(part for _, part in others)]
            if target.kind == "regression":
                parts.append(keras.ops.mean(keras.ops.stack(members), axis=0))
            else:
                parts.append(SINGLE_LABEL.averaged(members))
        return keras.ops.concatenate(parts, axis=-1)

    def _parts(self, outputs: Any) -> list[tuple[Target, Any]]:
        ends = np.cumsum([target.width for target in self.targets_of_task]).tolist()
        return [(t, outputs[..., end - t.width : end]) for t, end in zip(self.targets_of_task, ends, strict=True)]

    def _answer(self, target: Target, part: tf.Tensor) -> tf.Tensor:
        return target.inverse(part) if target.kind == "regression" else SINGLE_LABEL.probabilities(part)


class _SumOfLosses(keras.losses.Loss):
    """The weighted sum of the targets' losses, float32 [B] before the mean over the batch."""

    def __init__(self, objective: TargetsObjective, label_smoothing: float):
        super().__init__(name="loss")
        self._objective = objective
        self._smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """See the class."""
        total: Any = 0.0
        pairs = zip(self._objective._parts(y_true), self._objective._parts(y_pred), strict=True)
        for (target, true), (_, predicted) in pairs:
            if target.kind == "regression":
                own = keras.ops.mean(keras.ops.square(target.scaled(predicted) - true), axis=-1)
            else:
                own = keras.losses.categorical_crossentropy(
                    true, predicted, from_logits=True, label_smoothing=self._smoothing
                )
            total = total + target.weight * own
        return total


def objective_of(targets: Sequence[Target]) -> Objective | TargetsObjective:
    """Give what fits the targets: an `Objective` for one classification, otherwise a `TargetsObjective`.

    Raises:
        ConfigError: a single target has a weight, or the targets do not go together.
    """
    targets = tuple(targets)
    if len(targets) == 1 and targets[0].weight != 1:
        raise ConfigError(
            f"the loss weight of {targets[0].name} has nothing to be weighed against",
            received=targets[0].weight,
            allowed="1 where there is one target",
        )
    if len(targets) == 1 and targets[0].kind != "regression":
        return Objective(targets[0].kind)
    return TargetsObjective(targets)


def output_names(targets: Sequence[Target]) -> tuple[str, ...]:
    """Give the name of each output: the classes of a single classification; `price` or `colour=red` otherwise."""
    targets = tuple(targets)
    if len(targets) == 1 and targets[0].kind != "regression":
        return targets[0].class_names
    return tuple(name for target in targets for name in target.output_names)
