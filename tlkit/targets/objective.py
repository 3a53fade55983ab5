"""The objective of a network: one target, or several targets that share the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.report.several import SeveralMetrics
from tlkit.targets.base import Target
from tlkit.targets.calibration import Calibration, conformal_limits
from tlkit.targets.multi_label import MultiLabel
from tlkit.targets.single_label import SingleLabel


class Objective:
    """Computes answers from outputs, and the loss.

    Several targets share a network and have outputs of their own (multi-task learning, Caruana 1997, Machine Learning
    28); the loss is the sum of theirs, each times its weight. A label that is missing (NaN) counts nothing in it.

    Example:
        >>> Objective([price]).probabilities(model(rows))  # float32 [B, 1], in the unit of the price

    Args:
        targets: in the order of the outputs.

    Attributes:
        targets: as given.
        name: the kind of the only target; `"several"` where there are more.
        calibration: a map of the outputs before they become answers; None where there is none.

    Raises:
        ConfigError: there is none, one of several has to be alone, or a single one has a weight.
    """

    def __init__(self, targets: Sequence[Target]):
        self.targets = tuple(targets)
        if isinstance(targets, str) or not all(isinstance(target, Target) for target in self.targets):
            raise ConfigError("targets must be objects of tlkit.targets", received=targets, fix="pass data.targets")
        if not self.targets:
            raise ConfigError("there is nothing to predict", received=[])
        alone = [target for target in self.targets if target.is_alone]
        if alone and len(self.targets) > 1:
            advice = "use a separate target for each label" if alone[0].class_names else "train a separate model for it"
            raise ConfigError(
                f"the target {alone[0].name} ({alone[0].kind}) must be the only one",
                received=[target.name for target in self.targets],
                fix=advice,
            )
        if len(self.targets) == 1 and self.targets[0].weight != 1:
            raise ConfigError(
                f"the loss weight of {self.targets[0].name} needs several targets",
                received=self.targets[0].weight,
                allowed="1 for a single target",
            )
        self.calibration: Calibration | None = None
        self.name: str = self.targets[0].kind if len(self.targets) == 1 else "several"

    @property
    def classes(self) -> SingleLabel | None:
        """The only target if it has classes or labels, otherwise None."""
        only = self.targets[0] if len(self.targets) == 1 else None
        return only if isinstance(only, SingleLabel) else None

    @property
    def is_multi_label(self) -> bool:
        """Whether several labels can be true at once."""
        return isinstance(self.classes, MultiLabel)

    def set_thresholds(self, thresholds: Mapping[str, float]) -> None:
        """Predict each label above a probability of its own.

        Args:
            thresholds: between 0 and 1 by label; empty puts all back to 0.5.

        Raises:
            ConfigError: there is one class an item, or a label has no threshold.
        """
        classes = self.classes
        if not isinstance(classes, MultiLabel):
            raise ConfigError("thresholds are for several labels an item", received=self.name, allowed="multi_label")
        if thresholds and set(thresholds) != set(classes.class_names):
            raise ConfigError(
                "thresholds are for other labels", received=sorted(thresholds), allowed=sorted(classes.class_names)
            )
        own = tuple(float(thresholds[name]) for name in classes.class_names) if thresholds else ()
        self.targets = (dataclasses.replace(classes, thresholds=own),)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The name of each number of an answer: the classes of a single classification, or `price`, `colour=red`."""
        if self.classes is not None:
            return self.classes.class_names
        return tuple(name for target in self.targets for name in target.output_names)

    @property
    def width(self) -> int:
        """Numbers that the network gives."""
        return sum(target.width for target in self.targets)

    @property
    def dtype(self) -> str:
        """Of the answers: float64 where one of the targets is."""
        return "float64" if any(target.dtype == "float64" for target in self.targets) else "float32"

    def probabilities(self, outputs: Any) -> tf.Tensor:
        """Outputs [..., K] -> answers [..., A]: values in their own unit, calibrated probabilities of classes."""
        outputs = self.calibrated(outputs)
        if len(self.targets) == 1:
            return self.targets[0].answers(outputs)
        parts = [tf.cast(target.answers(part), self.dtype) for target, part in self.parts(outputs)]
        return tf.concat(parts, axis=-1)

    def calibrated(self, outputs: Any) -> Any:
        """Return outputs [..., K] as their calibration maps them; unchanged where there is none."""
        return outputs if self.calibration is None else self.calibration(outputs)

    def fit_calibration(self, outputs: np.ndarray, true: np.ndarray) -> Calibration:
        """Fit the calibration of each target; it is not used until it is assigned.

        Args:
            outputs: of the network, float [n, K], for items that it was not trained on.
            true: what `encode` made of their labels, float [n, T]; NaN where a label is missing.
        """
        pairs = []
        for (target, own), (_, wanted) in zip(self.parts(outputs), self.parts(true, true=True), strict=True):
            known = np.isfinite(wanted).all(1)
            pairs.append(target.calibration(own[known], wanted[known]))
        scale, shift = (np.concatenate(numbers).tolist() for numbers in zip(*pairs, strict=True))
        return Calibration(tuple(scale), tuple(shift), examples=len(outputs))

    def fit_conformal(self, calibration: Calibration, outputs: np.ndarray, true: np.ndarray) -> Calibration:
        """Return a calibration with the conformal quantiles of the targets' scores.

        Args:
            calibration: of this objective.
            outputs, true: as for `fit_calibration`.
        """
        calibrated = calibration(np.asarray(outputs, np.float32))
        limits = [
            conformal_limits(scores)
            for (target, own), (_, wanted) in zip(self.parts(calibrated), self.parts(true, true=True), strict=True)
            for scores in target.nonconformity(own, wanted).T
        ]
        return dataclasses.replace(calibration, limits=tuple(limits))

    def regions(self, outputs: Any, level: float) -> list[dict[str, Any]]:
        """Return what each target's conformal prediction holds at a level, by name; see `Target.region`.

        Args:
            outputs: of the network, float32 [B, K].
            level: the probability with which it holds the truth, one of `LEVELS`.

        Raises:
            ConfigError: there is no calibration, or the level is not usable.
        """
        if self.calibration is None:
            raise ConfigError("conformal predictions need a calibration", fix="call learn.calibrate()")
        limits, start, found = self.calibration.limits_at(level), 0, []
        for target, own in self.parts(self.calibrated(outputs)):
            end = start + target.scores
            found.append(target.region(own, limits[start:end]) if end > start else {})
            start = end
        return found

    def encode(self, labels: np.ndarray) -> np.ndarray:
        """Return what the loss compares outputs with, float32 [n, T].

        Args:
            labels: of one target as it takes them; of several, a column or more for each, float [n, ...].
        """
        if len(self.targets) == 1:
            return self.targets[0].forward(np.asarray(labels))
        columns = np.asarray(labels).reshape(len(labels), -1)
        ends = np.cumsum([target.label_width for target in self.targets]).tolist()
        parts = [
            target.forward(columns[:, end - target.label_width : end])
            for target, end in zip(self.targets, ends, strict=True)
        ]
        return np.concatenate(parts, axis=1)

    def loss(self, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Make the loss of outputs and what `encode` gave.

        Raises:
            ConfigError: labels are to be smoothed, and no target has classes.
        """
        if label_smoothing and not any(target.class_names for target in self.targets):
            raise ConfigError(
                "label_smoothing needs a classification target", received=label_smoothing, fix="set it to 0"
            )
        if self.classes is not None:
            return self.classes.loss(label_smoothing)
        return _SumOfLosses(self, label_smoothing)

    def losses(self, outputs: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Return the loss of each example, float64 [n], without smoothing."""
        found = _SumOfLosses(self, 0.0).call(tf.constant(true, tf.float32), tf.constant(outputs, tf.float32))
        return np.asarray(found, np.float64)

    def averaged(self, outputs: Sequence[Any]) -> Any:
        """Outputs of several members, float32 [B, K] each -> those of their ensemble."""
        if len(self.targets) == 1:
            return self.targets[0].averaged(outputs)
        parts = []
        for (target, first), *others in zip(*(self.parts(output) for output in outputs), strict=True):
            parts.append(target.averaged([first, *(part for _, part in others)]))
        return keras.ops.concatenate(parts, axis=-1)

    def centered(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs float [n, K] so that those of networks trained apart can be compared."""
        return self.targets[0].centered(outputs) if len(self.targets) == 1 else outputs

    def accuracy(self) -> keras.metrics.Metric | None:
        """Return the accuracy metric of an epoch, or None if answers are not simply right or wrong."""
        return None if self.classes is None else self.classes.accuracy()

    def measure(self, answers: np.ndarray, labels: np.ndarray) -> Any:
        """Measure answers float [n, A], targets side by side, given labels as `encode` takes them."""
        return measure_answers(answers, labels, self.targets)

    def measure_outputs(self, outputs: np.ndarray, labels: np.ndarray) -> Any:
        """Measure outputs of the network, float32 [n, K], as they are calibrated."""
        if len(self.targets) == 1:
            return self.targets[0].measure_outputs(self.calibrated(outputs), labels)
        return self.measure(self.probabilities(tf.constant(outputs)).numpy(), labels)

    def parts(self, numbers: Any, true: bool = False) -> Iterator[tuple[Target, Any]]:
        """Yield each target and its part of outputs [..., K], or with `true` of what `encode` returns, [..., T]."""
        start = 0
        for target in self.targets:
            width = target.true_width if true else target.width
            yield target, numbers[..., start : start + width]
            start += width


class _SumOfLosses(keras.losses.Loss):
    """The weighted sum of the targets' losses, float32 [B] before the mean over the batch."""

    def __init__(self, objective: Objective, label_smoothing: float):
        super().__init__(name="loss")
        self._objective = objective
        self._smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """See the class."""
        if len(self._objective.targets) == 1:  # the label of a single target is never missing
            return self._objective.targets[0].losses(y_true, y_pred, self._smoothing)
        total: Any = 0.0
        pairs = zip(self._objective.parts(y_true, true=True), self._objective.parts(y_pred), strict=True)
        for (target, true), (_, outputs) in pairs:
            known = tf.math.is_finite(true[:, 0])
            own = target.losses(tf.where(known[:, None], true, 0.0), outputs, self._smoothing)
            total = total + target.weight * tf.where(known, own, 0.0)
        return total


def classification(class_names: Sequence[str], multi_label: bool = False) -> Objective:
    """Return the objective of a classifier whose classes have no common name.

    Args:
        class_names: the classes, or the labels.
        multi_label: any number of labels can be true at once; otherwise exactly one class is.
    """
    return Objective([(MultiLabel if multi_label else SingleLabel)("", tuple(class_names))])


def measure_answers(answers: Any, labels: Any, targets: Sequence[Target]) -> Any:
    """Compute the metrics of a model, for each target.

    Example:
        >>> measure_answers([[2.5, 0.9, 0.1]], [[3.0, 0]], [price, sold])["price"].mae
        0.5

    Args:
        answers: values and probabilities, float [n, A], targets side by side.
        labels: the truth: of one target as it takes it; of several, a column for each, float [n, T]: its value or the
            number of its class. NaN is missing, and its row is left out for that target.
        targets: what is predicted.

    Returns:
        What the `measure` of the only target gives, or `SeveralMetrics`.

    Raises:
        ConfigError: a target is of a kind that cannot be one of several.
        DataError: the shapes do not fit, a class number has no name, or a number is missing or infinite.
    """
    said, true = np.asarray(answers, np.float64), np.asarray(labels)
    if len(targets) == 1:
        return targets[0].measure(said, true)
    for target in targets:
        if target.is_alone:
            raise ConfigError(f"target {target.name!r} cannot be one of several", received=target.kind)
    widths = [len(target.output_names) for target in targets]
    true = np.asarray(true, np.float64)
    wanted = sum(target.label_width for target in targets)
    if said.ndim != 2 or true.shape != (len(said), wanted) or said.shape[1] != sum(widths) or not len(said):
        raise _misfit(said, true, sum(widths), wanted)
    found: dict[str, Any] = {}
    for target, part, column in zip(targets, np.split(said, np.cumsum(widths)[:-1], axis=1), true.T, strict=True):
        known = np.isfinite(column)
        if known.any():
            found[target.name] = target.measure(part[known], column[known])
    return SeveralMetrics(found, len(said))


def _misfit(said: np.ndarray, true: np.ndarray, width: int, wanted: int) -> Exception:
    from tlkit.errors import DataError

    return DataError(
        "the shapes of outputs and labels do not match the targets",
        received=(said.shape, true.shape),
        allowed=f"[n, {width}] and [n, {wanted}], n from 1",
    )
