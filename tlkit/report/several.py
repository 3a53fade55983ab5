"""Metrics of a model that predicts several targets at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from tlkit.report import table_plots
from tlkit.report.metrics import ClassificationMetrics
from tlkit.report.multi_label import MultiLabelMetrics
from tlkit.report.regression import HEADINGS, RegressionMetrics, figure
from tlkit.report.survival import HEADINGS as SURVIVAL_HEADINGS
from tlkit.report.survival import SurvivalMetrics

TableMetrics: TypeAlias = (
    "RegressionMetrics | ClassificationMetrics | MultiLabelMetrics | SurvivalMetrics | SeveralMetrics"
)
FIGURE_HEADINGS = {
    **HEADINGS,
    **SURVIVAL_HEADINGS,
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "auc": "AUC",
    "average_precision": "average precision",
    "log_loss": "log-loss",
    "loss": "loss",
    "subset_accuracy": "exact match",
    "micro_f1": "micro F1",
    "mean_average_precision": "mean average precision",
}


@dataclasses.dataclass(frozen=True, eq=False)
class SeveralMetrics:
    """Metrics of several targets on a split.

    Attributes:
        by_target: the metrics of each target by its name, in the order of the model's answers.
        n: number of rows.
    """

    by_target: dict[str, RegressionMetrics | ClassificationMetrics]
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON.

        Returns:
            `metrics` with keys such as `"price.rmse"`, `per_class` with keys such as `"sold=yes"`, `targets` with what
            each target's own `to_dict` gives, and `n`.
        """
        parts = {name: metrics.to_dict() for name, metrics in self.by_target.items()}
        return {
            "metrics": {
                f"{name}.{key}": value for name, part in parts.items() for key, value in part["metrics"].items()
            },
            "per_class": {
                f"{name}={label}": row for name, part in parts.items() for label, row in part["per_class"].items()
            },
            "targets": parts,
            "n": self.n,
        }

    def __getitem__(self, name: str) -> RegressionMetrics | ClassificationMetrics:
        """Return the metrics of a target."""
        return self.by_target[name]

    def plot(self, path: str | Path) -> Path:
        """Draw predicted against true numbers and confusion matrices as one picture; returns the path."""
        return table_plots.plot_targets(self.by_target, Path(path))

    plot_predictions = plot

    def table(self) -> Any:
        """Return a rich table with one line for each target and figure."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{len(self.by_target)} targets   n {self.n}", min_width=52)
        table.add_column("target")
        table.add_column("metric")
        table.add_column("value", justify="right")
        for name, metrics in self.by_target.items():
            lines = [*_lines(metrics), *([("rows", f"{metrics.n}")] if metrics.n != self.n else [])]
            for number, (heading, value) in enumerate(lines):
                last = number == len(lines) - 1
                table.add_row(Text(name if number == 0 else ""), heading, value, end_section=last)
        return table

    def __str__(self) -> str:
        return "\n".join(
            "   ".join([f"{name}:", *(f"{heading} {value}" for heading, value in _lines(metrics))])
            for name, metrics in self.by_target.items()
        )


def _lines(metrics: RegressionMetrics | ClassificationMetrics) -> Iterator[tuple[str, str]]:
    for key, value in metrics.to_dict()["metrics"].items():
        if key != "loss":  # shown as log-loss
            yield FIGURE_HEADINGS[key], figure(value)
