"""Losses and accuracies of a training by epoch, as charts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.report.charts import Chart, curves_chart

_SHOWN = {"loss": "loss", "accuracy": "accuracy"}


@dataclasses.dataclass(frozen=True)
class LearningCurve:
    """One metric of a training.

    Attributes:
        name: of the metric.
        chart: its lines; None where there is one epoch alone.
        rows: epoch, stage, and the value on training and validation data, None where it was not measured.
    """

    name: str
    chart: Chart | None
    rows: list[tuple[int, str, float | None, float | None]]


def learning_curves(stages: Sequence[Mapping[str, Any]]) -> list[LearningCurve]:
    """Lay out the loss and the accuracy of a training by epoch.

    Args:
        stages: each with `name` and `history`, the values of each metric by epoch, those of validation data under
            names with `val_`.

    Returns:
        A curve for each metric that was measured; none where nothing was.
    """
    curves = []
    for metric, name in _SHOWN.items():
        rows: list[tuple[int, str, float | None, float | None]] = []
        marks = []
        for stage in stages:
            columns = [list(map(_finite, stage["history"].get(key, []))) for key in (metric, f"val_{metric}")]
            epochs = max(map(len, columns))
            own, held = (column + [None] * (epochs - len(column)) for column in columns)
            if rows and epochs:
                marks.append(len(rows) + 0.5)
            rows += [(len(rows) + place + 1, stage["name"], own[place], held[place]) for place in range(epochs)]
        lines = {
            title: np.array([np.nan if row[place] is None else row[place] for row in rows], np.float64)
            for title, place in (("training", 2), ("validation", 3))
        }
        lines = {title: line for title, line in lines.items() if np.isfinite(line).any()}
        if lines:
            curves.append(LearningCurve(name, curves_chart(lines, marks) if len(rows) > 1 else None, rows))
    return curves


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
