"""What is measured of a trained model for its report and its card, whatever the task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.errors import TlkitError
from tlkit.inputs.base import input_spec
from tlkit.inputs.examined import Examined
from tlkit.lazy import loaded
from tlkit.report.calibration import CalibrationCurve, calibration_curve
from tlkit.report.check_summary import CheckSummary, read_check
from tlkit.report.learning_curves import learning_curves
from tlkit.report.slices import ErrorsOf, SliceTests, worst_slices
from tlkit.report.thresholds import ThresholdCurve, threshold_curve
from tlkit.targets.base import Judged, Target, parts_by_target
from tlkit.targets.objective import measure_answers
from tlkit.targets.wrong_items import judged_answers
from tlkit.tasks.base import spec_of

SLICES = 12  # on a page


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What is measured on a split.

    Attributes:
        split: its name.
        outputs: of the network, not calibrated, float32 [n, K].
        answers: float64 [n, A].
        labels: float64 [n, T].
        targets: what is predicted.
        metrics: what `Learner.evaluate` gives.
        judged: how wrong each answer is, for each target.
        examined: the items of the split as their input reports them; None where it cannot.
        slices: where the model is significantly worse.
        calibrations: the calibration of each target that has classes.
        thresholds: of two classes, or of each of several labels, what thresholds would give.
        stages: of the training, each with `name` and `history`.
        check: the result of `tlkit check`; None where there is none.
    """

    split: str
    outputs: np.ndarray
    answers: np.ndarray
    labels: np.ndarray
    targets: tuple[Target, ...]
    metrics: Any
    judged: list[Judged]
    examined: Examined | None
    slices: SliceTests
    calibrations: Mapping[str, CalibrationCurve]
    thresholds: list[ThresholdCurve]
    stages: list[dict[str, Any]]
    check: CheckSummary | None

    def measure(self, answers: np.ndarray, labels: np.ndarray) -> Any:
        """Return the metrics of answers [m, A], given labels as the data has them."""
        return measure_answers(answers, labels, self.targets)

    def sections(self) -> dict[str, Any]:
        """Return the values of the parts that the pages of all tasks have; see parts.html.j2."""
        return {
            "thresholds": self.thresholds,
            "several_labels": any(target.label_width > 1 for target in self.targets),
            "curves": learning_curves(self.stages),
            "slices": self.slices,
            "slices_shown": self.slices.found[:SLICES],
            "check": self.check,
        }


def gather(learn: Any, split: str, *, check: str | Path | None = None) -> Evidence:
    """Measure a split.

    Args:
        learn: a Learner.
        split: `"val"`, `"test"` or `"train"`.
        check: the JSON file that `tlkit check` wrote; left out where it does not exist.

    Raises:
        DataError: that file cannot be read.
    """
    summary = None if check is None else read_check(check)
    outputs = learn.logits(split)
    objective = learn.task.objective
    answers = np.asarray(objective.probabilities(outputs), np.float64)
    labels = np.asarray(learn.data.labels(split), np.float64).reshape(len(outputs), -1)
    judged = judged_answers(answers, labels, objective.targets)
    examined, problem = _examined(learn, split)
    several = len(objective.targets) > 1
    errors = [
        ErrorsOf(one.errors, one.is_rate, target.name if several else "")
        for target, one in zip(objective.targets, judged, strict=True)
    ]
    columns = {} if examined is None else {name: fact.values for name, fact in examined.facts.items()}
    return Evidence(
        split=split,
        outputs=outputs,
        answers=answers,
        labels=labels,
        targets=objective.targets,
        metrics=learn.measure(outputs, split),
        judged=judged,
        examined=examined,
        slices=SliceTests(skipped=problem) if problem else worst_slices(errors, columns),
        calibrations=_calibrations(answers, labels, objective.targets),
        thresholds=_thresholds(answers, labels, objective.targets),
        stages=learn.stages(),
        check=summary,
    )


def calibrations_of(learn: Any, split: str) -> dict[str, CalibrationCurve]:
    """Return the calibration of each target that has classes, with the interval of its error."""
    objective = learn.task.objective
    outputs = learn.logits(split)
    labels = np.asarray(learn.data.labels(split), np.float64).reshape(len(outputs), -1)
    return _calibrations(np.asarray(objective.probabilities(outputs), np.float64), labels, objective.targets)


class _OneSplit:
    """A data set of which only one split is seen."""

    def __init__(self, data: Any, split: str):
        self._data = data
        self.splits = {split: data.splits[split]}
        self.skipped, self.damaged = (), ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)


def _examined(learn: Any, split: str) -> tuple[Examined | None, str]:
    """Return the items of a split as their input reports them, or why it cannot."""
    try:
        found: Examined = loaded(input_spec(spec_of(learn.task.kind).input).examine)(_OneSplit(learn.data, split))
        return found, ""
    except (TlkitError, TypeError, AttributeError, KeyError) as error:  # data that is read in parts, or the user's own
        reason = str(error).splitlines()[0] if isinstance(error, TlkitError) else type(learn.data).__name__
        return None, f"groups cannot be compared: {reason}"


def _thresholds(answers: np.ndarray, labels: np.ndarray, targets: tuple[Target, ...]) -> list[ThresholdCurve]:
    found = []
    for target, own, true, known in parts_by_target(answers, labels, targets):
        named = f"{target.name}=" if len(targets) > 1 else ""
        for name, chances, has, now in target.threshold_questions(own[known], true[known]):
            found.append(threshold_curve(chances, has, f"{named}{name}", now))
    return found


def _calibrations(answers: np.ndarray, labels: np.ndarray, targets: tuple[Target, ...]) -> dict[str, CalibrationCurve]:
    """Return the calibration of each target that has classes."""
    found = {}
    for target, own, true, known in parts_by_target(answers, labels, targets):
        if target.class_names and known.any():
            given = (true[known] if target.label_width > 1 else true[known, 0]).astype(np.int64)
            found[target.name] = calibration_curve(own[known], given, target.class_names, interval=True)
    return found
