"""The content of a model card as plain data."""

from __future__ import annotations

import dataclasses
import datetime
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.export.plain_values import plain_value
from tlkit.files import sha256_of
from tlkit.report.bootstrap import FEWEST, Interval, bootstrap_intervals, resamples
from tlkit.tasks.base import spec_of

SCHEMA = 1
CPU_WATTS, GPU_WATTS = 65.0, 400.0  # assumed, where nobody says otherwise
_PACKAGES = ("tlkit", "tensorflow", "keras", "keras-hub", "numpy", "scikit-learn")
_FEW = 100  # items whose intervals are wide
_NAMED = 10  # classes in a sentence


@dataclasses.dataclass(frozen=True)
class TrainingCost:
    """What a training took.

    Attributes:
        seconds: from the first stage to the last checkpoint; None where it was not recorded.
        watts: assumed power.
        assumption: where `watts` come from.
    """

    seconds: float | None
    watts: float
    assumption: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with the energy in kWh."""
        energy = None if self.seconds is None else self.seconds * self.watts / 3.6e6
        return {**dataclasses.asdict(self), "energy_kwh": energy}


def card_of(learn: Any, evidence: Any, *, name: str, cost: TrainingCost, weights: Path | None = None) -> dict[str, Any]:
    """Return the content of the card of a trained model.

    Args:
        learn: a Learner with the weights that the card is about.
        evidence: what `TaskSpec.measured` gives.
        name: of the model.
        cost: of the training.
        weights: the file of the trained weights, whose hash becomes part of the lineage.

    Returns:
        Plain values for JSON: name, task, model, lineage, data, check, evaluation, slices, calibration, training,
        limits, versions.
    """
    task, summary = learn.task, learn.data.summary()
    spec = spec_of(task.kind)
    source = spec.source_of(task)
    card: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "task": task.kind,
        "pipeline_tag": spec.hub_tag(task),
        "model": {
            "backbone": task.backbone_name,
            "parameters": int(sum(int(np.prod(weight.shape)) for weight in task.model.weights)),
            "precision": task.precision,
            "outputs": list(task.class_names),
            "targets": {target.name or "label": _short(target.describe()) for target in task.objective.targets},
            "preprocessing": _short(task.preprocessing.to_dict()),
        },
        "lineage": {
            "source_weights": task.weights_source,
            "source": source,
            "trained_weights_sha256": None if weights is None else sha256_of(weights),
            "data_fingerprint": summary.get("fingerprint"),
        },
        "data": plain_value(summary),
        "check": None if evidence.check is None else evidence.check.to_dict(),
        "evaluation": evaluation_of(evidence),
        "slices": evidence.slices.to_dict(),
        "thresholds": [curve.to_dict() for curve in evidence.thresholds],
        "calibration": _calibration(learn, evidence),
        "training": {
            **cost.to_dict(),
            "stages": [
                {"name": stage["name"], "epochs": max(map(len, stage["history"].values()), default=0)}
                for stage in evidence.stages
            ],
        },
        "versions": {"python": platform.python_version(), **_versions()},
    }
    return card | {"limits": limits_of(card)}


def evaluation_of(evidence: Any) -> dict[str, Any]:
    """Return the metrics of a split with intervals, and those of each class."""
    answers = evidence.answers
    labels = evidence.labels if evidence.labels.shape[1] > 1 else evidence.labels[:, 0]

    def measure(rows: np.ndarray) -> Mapping[str, float | None]:
        found: dict[str, float | None] = evidence.measure(answers[rows], labels[rows]).to_dict()["metrics"]
        return found

    count = len(answers)
    intervals = bootstrap_intervals(measure, count)
    plain = evidence.metrics.to_dict()
    return {
        "split": evidence.split,
        "n": count,
        "metrics": {
            name: _plain(one) for name, one in intervals.items() if name != "log_loss" or "loss" not in plain["metrics"]
        },
        "per_class": plain["per_class"],
        "method": f"percentile bootstrap over items, {resamples(count):,} samples, seed 0"
        if count >= FEWEST
        else f"none, {count} items are too few, {FEWEST} are needed",
        "targets": [target.name for target in evidence.targets],
    }


def limits_of(card: Mapping[str, Any]) -> list[str]:
    """Say what a reader must know before the numbers of a card are trusted."""
    evaluation, check, slices = card["evaluation"], card["check"], card["slices"]
    found = []
    if evaluation["split"] == "val":
        found.append("The metrics are of validation data, which may have chosen the best epoch: they are optimistic.")
    if evaluation["n"] < FEWEST:
        found.append(f"{evaluation['n']} items were evaluated: too few for intervals, calibration or groups.")
    elif evaluation["n"] < _FEW:
        found.append(f"{evaluation['n']} items were evaluated: the intervals are wide.")
    absent = [name for name, row in evaluation["per_class"].items() if not row.get("n")]
    if absent:
        named = ", ".join(absent[:_NAMED]) + (", …" if len(absent) > _NAMED else "")
        found.append(f"No evaluated item is of these classes: {named}.")
    found += [f"It is worse on a group of items: {one}." for one in _words(slices["found"])]
    if slices["skipped"] and evaluation["n"] >= FEWEST:
        found.append(f"{slices['skipped'][0].upper()}{slices['skipped'][1:]}.")
    if check is None:
        found.append("The data were not checked with tlkit check.")
    else:
        for status, words in (("fail", "failed"), ("warn", "warns")):
            found += [
                f"The data check {words}: {one['rule']}: {one['found']}."
                for one in check["rules"]
                if one["status"] == status
            ]
    if card["calibration"]["fitted"] is None:
        found.append("The model was not calibrated: there are no conformal sets, intervals or distances.")
    else:
        found.append("Conformal sets and intervals hold on average for data like these, not for each group of items.")
    if card["lineage"]["source_weights"] == "none" and card["lineage"]["source"]:
        found.append("The network started from random weights.")
    return found


def _words(slices: Sequence[Mapping[str, Any]]) -> list[str]:
    from tlkit.report.slices import Slice

    return [Slice(**one).words for one in slices[:5]]


def _calibration(learn: Any, evidence: Any) -> dict[str, Any]:
    fitted = learn.task.objective.calibration
    kept = ("split", "examples", "before", "after")
    return {
        "fitted": None if fitted is None else {name: value for name, value in fitted.to_dict().items() if name in kept},
        "measured": {name or "label": curve.to_dict() for name, curve in evidence.calibrations.items()},
    }


def _plain(one: Interval) -> dict[str, float | None]:
    return {
        key: None if value is None or not np.isfinite(value) else float(value) for key, value in one._asdict().items()
    }


def _short(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Leave long lists out: the vocabulary of a column is no part of a card."""
    return {
        key: value
        for key, value in plain.items()
        if isinstance(value, str | int | float | bool | None) or (isinstance(value, list) and len(value) <= 50)
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
