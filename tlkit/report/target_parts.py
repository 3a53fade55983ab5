"""What pages show of one target: metrics, classes, confusions, predicted against true values."""

from __future__ import annotations

import dataclasses
from typing import Any

from tlkit.report.charts import Chart, scatter_chart, survival_chart
from tlkit.report.metrics import ClassificationMetrics
from tlkit.report.multi_label import MultiLabelMetrics
from tlkit.report.per_class import HEADINGS
from tlkit.report.regression import RegressionMetrics, figure
from tlkit.report.several import FIGURE_HEADINGS, SeveralMetrics, TableMetrics
from tlkit.report.summary import commonest_confusions, confusion_cells
from tlkit.report.survival import SurvivalMetrics


@dataclasses.dataclass(frozen=True)
class TargetPart:
    """What is shown of one target.

    Attributes:
        name: of the target.
        figures: heading and value of each metric.
        metrics: of the target.
        headings: keys and headings of the columns of a class.
        matrix: rows of the confusion matrix; empty where there is none.
        pairs: the most frequent confusions, where the matrix is too large.
        labels: label -> true positives, false positives, false negatives, true negatives, of several labels.
        scatter: predicted against true values.
        zeros: rows that a percentage leaves out.
        survival: curves by predicted risk.
    """

    name: str
    figures: list[tuple[str, str]]
    metrics: Any
    headings: list[tuple[str, str]]
    matrix: Any
    pairs: Any
    labels: dict[str, tuple[int, int, int, int]]
    scatter: Chart | None
    zeros: int
    survival: Chart | None = None


def target_parts(metrics: TableMetrics, name: str, items: str = "rows") -> list[TargetPart]:
    """Return what is shown of each target.

    Args:
        metrics: of one target or several.
        name: of the only target.
        items: what the items are, in the plural.
    """
    parts = metrics.by_target if isinstance(metrics, SeveralMetrics) else {name: metrics}
    return [target_part(name, part, items=items) for name, part in parts.items()]


def target_part(name: str, metrics: Any, unit: str = "", items: str = "rows") -> TargetPart:
    """Return what is shown of a target."""
    plain = metrics.to_dict()
    figures = [(FIGURE_HEADINGS[key], figure(value)) for key, value in plain["metrics"].items() if key != "loss"]
    number = isinstance(metrics, RegressionMetrics)
    classes = isinstance(metrics, ClassificationMetrics | MultiLabelMetrics)
    rows = plain["per_class"]
    return TargetPart(
        name=name,
        figures=[*figures, *([("unit", unit)] if unit else []), (items, f"{metrics.n:,}")],
        metrics=metrics,
        headings=[(key, HEADINGS[key]) for key in next(iter(rows.values()), {}) if key != "n"],
        matrix=confusion_cells(metrics) if classes else [],
        pairs=commonest_confusions(metrics) if classes else [],
        labels=_labels(metrics) if isinstance(metrics, MultiLabelMetrics) else {},
        scatter=scatter_chart(metrics.values, metrics.predictions) if number else None,
        zeros=metrics.zeros if number else 0,
        survival=survival_chart(metrics) if isinstance(metrics, SurvivalMetrics) else None,
    )


def _labels(metrics: MultiLabelMetrics) -> dict[str, tuple[int, int, int, int]]:
    found = {}
    for name, matrix in zip(metrics.class_names, metrics.confusion_matrix.tolist(), strict=True):
        (true_no, false_yes), (false_no, true_yes) = matrix
        found[name] = (true_yes, false_yes, false_no, true_no)
    return found
