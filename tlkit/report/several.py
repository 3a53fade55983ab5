"""Metrics of a model that predicts several targets at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tlkit.errors import ConfigError, DataError
from tlkit.report import table_plots
from tlkit.report.metrics import ClassificationMetrics, classification_metrics
from tlkit.report.multi_label import MultiLabelMetrics, multi_label_metrics
from tlkit.report.regression import HEADINGS, RegressionMetrics, figure, regression_metrics

TableMetrics: TypeAlias = "RegressionMetrics | ClassificationMetrics | MultiLabelMetrics | SeveralMetrics"
FIGURE_HEADINGS = {
    **HEADINGS,
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "auc": "AUC",
    "average_precision": "average precision",
    "log_loss": "log-loss",
    "loss": "loss",
    "subset_accuracy": "all labels right",
    "micro_f1": "micro F1",
    "mean_average_precision": "mean average precision",
}


@dataclasses.dataclass(frozen=True, eq=False)
class SeveralMetrics:
    """How well each of several targets is predicted on a split.

    Attributes:
        by_target: the metrics of each target by its name, in the order of the model's answers.
        n: number of rows.
    """

    by_target: dict[str, RegressionMetrics | ClassificationMetrics]
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON.

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
        """Give the metrics of a target."""
        return self.by_target[name]

    def plot_predictions(self, path: str | Path) -> Path:
        """Draw predicted against true numbers and confusion matrices as one picture; returns the path."""
        return table_plots.plot_targets(self.by_target, Path(path))

    def table(self) -> Any:
        """Give a rich table with one line for each target and figure."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{len(self.by_target)} targets   n {self.n}", min_width=52)
        table.add_column("target")
        table.add_column("metric")
        table.add_column("value", justify="right")
        for name, metrics in self.by_target.items():
            for number, (heading, value) in enumerate(_lines(metrics)):
                last = number == len(list(_lines(metrics))) - 1
                table.add_row(Text(name if number == 0 else ""), heading, value, end_section=last)
        return table

    def __str__(self) -> str:
        return "\n".join(
            "   ".join([f"{name}:", *(f"{heading} {value}" for heading, value in _lines(metrics))])
            for name, metrics in self.by_target.items()
        )


def several_metrics(answers: npt.ArrayLike, labels: npt.ArrayLike, targets: Sequence[Any]) -> SeveralMetrics:
    """Measure each target by itself.

    Example:
        >>> several_metrics([[2.5, 0.9, 0.1]], [[3.0, 0]], [price, sold])["price"].mae
        0.5

    Args:
        answers: what the model says, float [n, K]: for a number its value, for classes their probabilities, targets
            side by side.
        labels: the truth, float [n, T], a column for each target: its value, or the number of its class.
        targets: T of them, with `name`, `kind` (`"regression"` or `"single_label"`), `class_names` and `width`.

    Returns:
        A `SeveralMetrics`.

    Raises:
        ConfigError: a target is of another kind.
        DataError: the shapes do not fit, a class number has no name, or a number is missing or infinite.
    """
    said, true = np.asarray(answers, np.float64), np.asarray(labels, np.float64)
    widths = [target.width for target in targets]
    if said.ndim != 2 or true.shape != (len(said), len(targets)) or said.shape[1] != sum(widths) or not len(said):
        raise DataError(
            "answers and labels do not fit the targets",
            received=(said.shape, true.shape),
            allowed=f"[n, {sum(widths)}] and [n, {len(targets)}], n from 1",
        )
    found: dict[str, RegressionMetrics | ClassificationMetrics] = {}
    for target, part, column in zip(targets, np.split(said, np.cumsum(widths)[:-1], axis=1), true.T, strict=True):
        found[target.name] = _one(target, part, column)
    return SeveralMetrics(found, len(said))


def measure_answers(answers: npt.ArrayLike, labels: npt.ArrayLike, targets: Sequence[Any]) -> TableMetrics:
    """Measure what a model of tables says, by the kind of its targets.

    Args:
        answers: values and probabilities, float [n, K], targets side by side.
        labels: int [n] for one single-label target, 0 and 1, [n, k], for one multi-label target, else float [n, T].
        targets: as for `several_metrics`; one alone may also be `"multi_label"`.

    Returns:
        `RegressionMetrics`, `ClassificationMetrics`, `MultiLabelMetrics` or `SeveralMetrics`.

    Raises:
        ConfigError: a target is of a kind that cannot be one of several.
        DataError: shapes or values do not fit.
    """
    if len(targets) > 1:
        return several_metrics(answers, labels, targets)
    said, target = np.asarray(answers, np.float64), targets[0]
    if target.kind == "multi_label":
        tiny = np.finfo(np.float32).tiny
        logits = np.log(np.maximum(said, tiny)) - np.log(np.maximum(1 - said, tiny))
        return multi_label_metrics(logits, labels, target.class_names)
    true = np.asarray(labels)
    return several_metrics(said, true[:, None] if true.ndim == 1 else true, targets)[target.name]


def _one(target: Any, answers: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> Any:
    if target.kind == "regression":
        return regression_metrics(answers, labels, target.name)
    if target.kind != "single_label":
        raise ConfigError(
            f"target {target.name!r} cannot be one of several",
            received=target.kind,
            allowed=("regression", "single_label"),
        )
    if not np.isin(labels, np.arange(len(target.class_names))).all():
        raise DataError(
            f"target {target.name!r} has class numbers without a name",
            received=np.unique(labels)[:5].tolist(),
            allowed=f"whole numbers from 0 to {len(target.class_names) - 1}",
        )
    # A probability that was rounded to zero is a very small one: its logarithm must stay a number.
    logits = np.log(np.maximum(answers, np.finfo(np.float32).tiny))
    return classification_metrics(logits, labels.astype(np.int64), target.class_names)


def _lines(metrics: RegressionMetrics | ClassificationMetrics) -> Iterator[tuple[str, str]]:
    for key, value in metrics.to_dict()["metrics"].items():
        if key != "loss":  # shown as log-loss
            yield FIGURE_HEADINGS[key], figure(value)
