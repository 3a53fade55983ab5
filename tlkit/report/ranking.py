"""Ranking metrics: areas under the ROC and precision-recall curves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def ranking_figures(scores: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[float | None, float | None]:
    """Return the area under the ROC curve and the average precision, as means over the columns.

    A column in which nothing or everything is true ranks nothing, and is left out of the means.

    Example:
        >>> ranking_figures([[0.1], [0.4], [0.35], [0.8]], [[0], [0], [1], [1]])
        (0.75, 0.833...)

    Args:
        scores: float [n, k]; only their order within a column matters.
        truth: whether each is true, bool or 0/1 [n, k].

    Returns:
        Both figures, 0..1, or None twice where no column can be ranked or a score is not a finite number.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    values, true = np.asarray(scores, np.float64), np.asarray(truth).astype(bool)
    columns = np.flatnonzero(true.any(axis=0) & ~true.all(axis=0))
    if not len(columns) or not np.isfinite(values).all():
        return None, None
    areas = [roc_auc_score(true[:, i], values[:, i]) for i in columns]
    precisions = [average_precision_score(true[:, i], values[:, i]) for i in columns]
    return float(np.mean(areas)), float(np.mean(precisions))


def shown(figure: float | None) -> str:
    """Write a figure with three decimals; "-" where it is undefined.

    >>> shown(0.75), shown(None)
    ('0.750', '-')
    """
    return "-" if figure is None else f"{figure:.3f}"
