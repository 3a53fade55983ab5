"""Data for report pages: confusion matrix, most frequent confusions, counts and other values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tlkit.report.metrics import ClassificationMetrics
from tlkit.report.multi_label import MultiLabelMetrics

#: Values of the parts that all pages have, where nothing was measured for them; see parts.html.j2.
NO_SECTIONS: Mapping[str, Any] = {
    "thresholds": [],
    "several_labels": False,
    "curves": [],
    "slices": None,
    "slices_shown": (),
    "check": None,
}
_MATRIX = 24  # most classes that are drawn as a matrix
_PAIRS = 20


@dataclasses.dataclass(frozen=True)
class Cell:
    """One field of a confusion matrix."""

    count: int
    part: float  # of the true class, 0..1
    diagonal: bool


def confusion_cells(metrics: ClassificationMetrics | MultiLabelMetrics) -> list[tuple[str, list[Cell]]]:
    """Return the rows of the confusion matrix; none where it would be too large to read, or there are many labels."""
    matrix = metrics.confusion_matrix
    if matrix.ndim != 2 or len(matrix) > _MATRIX:
        return []
    sums = matrix.sum(axis=1)
    return [
        (
            name,
            [Cell(int(count), float(count / max(sums[i], 1)), i == j) for j, count in enumerate(matrix[i])],
        )
        for i, name in enumerate(metrics.class_names)
    ]


def commonest_confusions(metrics: ClassificationMetrics | MultiLabelMetrics) -> list[tuple[str, str, int]]:
    """Return the most frequent confusions, (true, predicted, count), if the matrix is too large to show."""
    matrix = metrics.confusion_matrix
    if matrix.ndim != 2 or len(matrix) <= _MATRIX:
        return []
    off = np.where(np.eye(len(matrix), dtype=bool), 0, matrix).ravel()
    order = np.argsort(-off, kind="stable")[:_PAIRS]
    names = metrics.class_names
    return [(names[i // len(names)], names[i % len(names)], int(off[i])) for i in order.tolist() if off[i]]


def class_counts(summary: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[int]]]]:
    """Return the splits, and for each class its number of texts in every split."""
    counts = summary.get("counts")
    if not isinstance(counts, Mapping) or not counts:
        return [], []
    classes = list(dict.fromkeys(name for row in counts.values() for name in row))
    return list(counts), [(name, [int(row.get(name, 0)) for row in counts.values()]) for name in classes]


def other_facts(summary: Mapping[str, Any], above: str = "") -> list[tuple[str, str, list[str]]]:
    """Give (name, value, items) for everything else in the summary; items are for long lists."""
    facts: list[tuple[str, str, list[str]]] = []
    for key, value in summary.items():
        name = f"{above}{str(key).replace('_', ' ')}"
        if not above and key in {"counts", "classes"}:
            continue
        if isinstance(value, Mapping):
            if any(isinstance(part, Mapping | list | tuple) for part in value.values()):
                facts.extend(other_facts(value, f"{name}: "))
            else:
                facts.append((name, ", ".join(f"{part} {_plain(number)}" for part, number in value.items()), []))
        elif isinstance(value, list | tuple):
            facts.append((name, "" if value else "none", [_plain(part) for part in value]))
        else:
            facts.append((name, _plain(value), []))
    return facts


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
