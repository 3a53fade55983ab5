"""Classification metrics from logits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.report import plots
from tlkit.report.per_class import per_class_lines, per_class_rows, per_class_table
from tlkit.report.ranking import ranking_figures, shown


@dataclasses.dataclass(frozen=True, eq=False)
class ClassificationMetrics:
    """Metrics of a classifier on a split.

    Attributes:
        loss: mean cross-entropy, natural logarithm.
        accuracy: part of the items whose best class is the true one.
        macro_f1: mean of the classes' F1 scores, over the classes that occur.
        per_class: precision, recall, F1 and number of items by class name.
        confusion_matrix: int64 [k, k], rows are true classes, columns predicted ones.
        class_names: the classes, in the order of the matrix.
        n: number of items.
        auc: area under the ROC curve: of the second of two classes; of more, the mean over the classes, each against
            the rest. None where the items are all of one class.
        average_precision: area under the precision-recall curve, of the same classes; None like `auc`.
    """

    loss: float
    accuracy: float
    macro_f1: float
    per_class: dict[str, dict[str, float]]
    confusion_matrix: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    n: int
    auc: float | None = None
    average_precision: float | None = None

    @property
    def log_loss(self) -> float:
        """The name under which tables are compared; the same as `loss`."""
        return self.loss

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: `metrics`, `per_class`, `confusion_matrix` and `n`; undefined metrics are None.

        `metrics` holds loss, accuracy, macro_f1, auc, average_precision and log_loss.
        """
        figures = ("loss", "accuracy", "macro_f1", "auc", "average_precision", "log_loss")
        return {
            "metrics": {name: getattr(self, name) for name in figures},
            "per_class": self.per_class,
            "confusion_matrix": self.confusion_matrix.tolist(),
            "n": self.n,
        }

    def __getitem__(self, name: str) -> Any:
        """Return a figure, `per_class`, `confusion_matrix` or `n` by name."""
        if name not in {"log_loss", *(field.name for field in dataclasses.fields(self))}:
            raise KeyError(name)
        return getattr(self, name)

    def plot_confusion(self, path: str | Path) -> Path:
        """Draw the confusion matrix and write it as a picture; returns the path."""
        return plots.plot_confusion(self.confusion_matrix, self.class_names, Path(path))

    plot = plot_confusion

    def table(self) -> Any:
        """Return the per-class table as a rich renderable."""
        return per_class_table(self._headline(), self.per_class)

    def _headline(self) -> str:
        return (
            f"accuracy {self.accuracy:.3f}   macro F1 {self.macro_f1:.3f}   AUC {shown(self.auc)}   "
            f"average precision {shown(self.average_precision)}   loss {self.loss:.3f}   n {self.n}"
        )

    def __str__(self) -> str:
        return "\n".join([self._headline(), *per_class_lines(self.per_class)])


def classification_metrics(
    logits: npt.ArrayLike, labels: npt.ArrayLike, class_names: tuple[str, ...] | list[str]
) -> ClassificationMetrics:
    """Compute loss, accuracy, F1, the areas under ROC and precision-recall curves, and the confusion matrix.

    Example:
        >>> classification_metrics([[2.0, -1.0], [0.5, 0.1]], [0, 1], ["ants", "bees"]).accuracy
        0.5

    Args:
        logits: float [n, k].
        labels: true class numbers, int [n].
        class_names: k names.

    Returns:
        A `ClassificationMetrics`. Classes without items have recall and F1 of 0 in the table and are left out of
        the macro average.
    """
    from scipy.special import log_softmax
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    scores, truth = np.asarray(logits, np.float64), np.asarray(labels)
    numbers = np.arange(len(class_names))
    predicted = scores.argmax(axis=1)
    chances = log_softmax(scores, axis=1)
    losses = -chances[np.arange(len(truth)), truth]
    # The difference of two logits keeps the order when probabilities round to one.
    asked, ranks = (numbers, chances) if len(class_names) > 2 else (numbers[1:], scores[:, 1:] - scores[:, :1])
    auc, average_precision = ranking_figures(ranks, truth[:, None] == asked)
    columns = precision_recall_fscore_support(truth, predicted, labels=numbers, zero_division=0)
    precision, recall, f1, support = (np.asarray(column, np.float64) for column in columns)
    return ClassificationMetrics(
        loss=float(losses.mean()),
        accuracy=float((predicted == truth).mean()),
        macro_f1=float(f1[support > 0].mean()),
        per_class=per_class_rows(class_names, support, precision=precision, recall=recall, f1=f1),
        confusion_matrix=confusion_matrix(truth, predicted, labels=numbers).astype(np.int64),
        class_names=tuple(class_names),
        n=len(truth),
        auc=auc,
        average_precision=average_precision,
    )
