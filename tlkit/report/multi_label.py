"""Metrics of a classifier whose items carry any number of labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.errors import ConfigError, DataError
from tlkit.report import plots
from tlkit.report.per_class import per_class_lines, per_class_rows, per_class_table
from tlkit.report.ranking import ranking_figures, shown
from tlkit.report.thresholds import choose_threshold

_FIGURES = ("loss", "accuracy", "subset_accuracy", "micro_f1", "macro_f1", "mean_average_precision")
_RANKING = ("auc", "average_precision", "log_loss")


@dataclasses.dataclass(frozen=True, eq=False)
class MultiLabelMetrics:
    """Metrics of a multi-label classifier on a split.

    Attributes:
        loss: mean binary cross-entropy over items and labels, natural logarithm.
        accuracy: part of all yes-or-no answers that are right; high when labels are rare, whatever the model does.
        subset_accuracy: part of the items whose labels are all right.
        micro_f1: F1 over all answers together.
        macro_f1: mean of the labels' F1 scores, over the labels that occur.
        mean_average_precision: mean of the labels' average precision, over the labels that occur.
        per_class: precision, recall, F1, average precision and number of items by label.
        confusion_matrix: int64 [k, 2, 2], one matrix a label: rows are true no and yes, columns predicted ones.
        class_names: the labels, in the order of the matrices.
        threshold: the probability above which a label is predicted: one number, or one for each label.
        n: number of items.
        auc: mean of the labels' areas under the ROC curve, over the labels that are true of some items and not of all;
            None where there is none.
        average_precision: mean of their average precision; None like `auc`.
    """

    loss: float
    accuracy: float
    subset_accuracy: float
    micro_f1: float
    macro_f1: float
    mean_average_precision: float
    per_class: dict[str, dict[str, float]]
    confusion_matrix: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    threshold: float | tuple[float, ...]
    n: int
    auc: float | None = None
    average_precision: float | None = None

    @property
    def log_loss(self) -> float:
        """The name under which tables are compared; the same as `loss`."""
        return self.loss

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: `metrics`, `per_class`, `confusion_matrix` [k, 2, 2], `threshold` and `n`.

        A figure that is undefined is None.
        """
        return {
            "metrics": {name: getattr(self, name) for name in (*_FIGURES, *_RANKING)},
            "per_class": self.per_class,
            "confusion_matrix": self.confusion_matrix.tolist(),
            "threshold": self.threshold if isinstance(self.threshold, float) else list(self.threshold),
            "n": self.n,
        }

    def __getitem__(self, name: str) -> Any:
        """Return a figure, `per_class`, `confusion_matrix`, `threshold` or `n` by name."""
        if name not in {"log_loss", *(field.name for field in dataclasses.fields(self))}:
            raise KeyError(name)
        return getattr(self, name)

    def plot_confusion(self, path: str | Path) -> Path:
        """Draw a two-by-two matrix for each label and write them as one picture; returns the path."""
        return plots.plot_label_confusions(self.confusion_matrix, self.class_names, Path(path))

    plot = plot_confusion

    def table(self) -> Any:
        """Return the per-label table as a rich renderable."""
        return per_class_table(self._headline(), self.per_class)

    def _headline(self) -> str:
        parts = [f"{name.replace('_', ' ').replace('f1', 'F1')} {getattr(self, name):.3f}" for name in _FIGURES[1:]]
        return "   ".join([*parts, f"AUC {shown(self.auc)}", f"loss {self.loss:.3f}", f"n {self.n}"])

    def __str__(self) -> str:
        return "\n".join([self._headline(), *per_class_lines(self.per_class)])


def multi_label_metrics(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    class_names: Sequence[str],
    threshold: float | Sequence[float] = 0.5,
) -> MultiLabelMetrics:
    """Compute loss, accuracies, F1, average precision and one confusion matrix a label.

    Example:
        >>> multi_label_metrics([[2.0, -1.0], [0.5, 0.1]], [[1, 0], [1, 0]], ["funny", "sad"]).accuracy
        0.75

    Args:
        logits: float [n, k]; their sigmoid is the probability.
        labels: 0 or 1, [n, k].
        class_names: k names.
        threshold: a label is predicted where its probability is greater; between 0 and 1; one number, or one for each
            label.

    Returns:
        A `MultiLabelMetrics`. Labels without items have recall, F1 and average precision of 0 in the table and are
        left out of the means.

    Raises:
        ConfigError: a threshold is not between 0 and 1.
        DataError: there are no items, the shapes do not fit, or a label is neither 0 nor 1.
    """
    from scipy.special import expit
    from sklearn.metrics import average_precision_score

    limits = _checked(threshold, len(class_names))
    scores, truth = np.asarray(logits, np.float64), np.asarray(labels)
    if scores.ndim != 2 or scores.shape != truth.shape or scores.shape[1] != len(class_names) or not len(scores):
        raise DataError(
            "the shapes of logits and labels do not match",
            received=(scores.shape, truth.shape),
            allowed=f"[n, {len(class_names)}] for both, n from 1",
        )
    if not np.isin(truth, (0, 1)).all():
        raise DataError("labels must be 0 or 1", received=np.setdiff1d(truth, (0, 1))[:3].tolist())
    truth, predicted = truth.astype(bool), expit(scores) > np.asarray(limits)
    true_yes, false_yes = (truth & predicted).sum(axis=0), (~truth & predicted).sum(axis=0)
    false_no, true_no = (truth & ~predicted).sum(axis=0), (~truth & ~predicted).sum(axis=0)
    support, wrong = true_yes + false_no, false_yes + false_no
    f1 = _part(2 * true_yes, 2 * true_yes + wrong)
    occurs = support > 0
    average_precision = np.zeros(len(class_names))
    for number in np.flatnonzero(occurs):
        average_precision[number] = average_precision_score(truth[:, number], scores[:, number])
    auc, ranked_precision = ranking_figures(scores, truth)
    return MultiLabelMetrics(
        loss=float((np.logaddexp(0.0, scores) - truth * scores).mean()),
        accuracy=float((predicted == truth).mean()),
        subset_accuracy=float((predicted == truth).all(axis=1).mean()),
        micro_f1=float(_part(2 * true_yes.sum(), 2 * true_yes.sum() + wrong.sum())),
        macro_f1=float(f1[occurs].mean()) if occurs.any() else 0.0,
        mean_average_precision=float(average_precision[occurs].mean()) if occurs.any() else 0.0,
        per_class=per_class_rows(
            class_names,
            support,
            precision=_part(true_yes, true_yes + false_yes),
            recall=_part(true_yes, support),
            f1=f1,
            average_precision=average_precision,
        ),
        confusion_matrix=np.stack([true_no, false_yes, false_no, true_yes], axis=1).reshape(-1, 2, 2).astype(np.int64),
        class_names=tuple(class_names),
        threshold=limits,
        n=len(truth),
        auc=auc,
        average_precision=ranked_precision,
    )


def best_thresholds(logits: npt.ArrayLike, labels: npt.ArrayLike, fewest: int = 10) -> list[float]:
    """Choose for each label the probability above which predicting it gives the highest F1.

    The F1 of the data that they were chosen on is too good; measure on other data.

    Example:
        >>> best_thresholds([[-1.0], [-0.5], [-2.0]], [[1], [1], [0]], fewest=1)  # between -2 and -1
        [0.1941...]

    Args:
        logits: float [n, k]; their sigmoid is the probability.
        labels: 0 or 1, [n, k].
        fewest: labels that fewer items have, or lack, keep 0.5: so few say little about the best threshold.

    Returns:
        k numbers between 0 and 1, each in the middle between two probabilities; of several with the same F1, the
        nearest to 0.5.
    """
    return chosen_thresholds(logits, labels, "f1", fewest)


def chosen_thresholds(logits: npt.ArrayLike, labels: npt.ArrayLike, rule: str, fewest: int = 10) -> list[float]:
    """Choose a threshold for each label; see `choose_threshold` for the rules.

    Args:
        logits: float [n, k]; their sigmoid is the probability.
        labels: 0 or 1, [n, k].
        rule: `"f1"`, `"cost=5"`, `"precision=0.9"`, `"recall=0.9"`.
        fewest: labels that fewer items have, or lack, keep 0.5, as those for which no threshold reaches what was asked.

    Returns:
        k numbers between 0 and 1.
    """
    from scipy.special import expit

    chances, truth = expit(np.asarray(logits, np.float64)), np.asarray(labels) > 0.5
    found = [choose_threshold(*pair, rule, fewest=fewest).threshold for pair in zip(chances.T, truth.T, strict=True)]
    return [0.5 if threshold is None else threshold for threshold in found]


def _checked(threshold: Any, count: int) -> float | tuple[float, ...]:
    items = [threshold] if isinstance(threshold, int | float | str) else list(threshold)
    usable = [not isinstance(one, bool | str) and isinstance(one, int | float) and 0 < one < 1 for one in items]
    if not all(usable) or (items != [threshold] and len(items) != count):
        raise ConfigError(
            "the threshold must be a probability",
            received=threshold,
            allowed=f"0 < threshold < 1: one number, or {count} of them",
        )
    return float(items[0]) if items == [threshold] else tuple(map(float, items))


def _part(some: npt.NDArray[np.int64], of: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Divide; the result is 0 if the divisor is 0."""
    return np.asarray(some / np.maximum(of, 1), np.float64)
