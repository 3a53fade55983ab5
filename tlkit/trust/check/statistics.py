"""Numbers that several rules need: areas under curves with intervals, ranks, fewer features."""

from __future__ import annotations

import numpy as np

_WIDTH = 256
_MANY = 5000  # rows from which on features are reduced
_FOLDS = 5
_SMOOTHING = 1.0


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve: the chance that a positive item scores above another one.

    >>> auc(np.array([1.0, 2.0, 3.0]), np.array([False, True, True]))
    1.0
    """
    from scipy.stats import rankdata

    count = int(positive.sum())
    if count in (0, len(positive)):
        return 0.5
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


def auc_interval(scores: np.ndarray, positive: np.ndarray, z: float = 2.576) -> tuple[float, float, float]:
    """Return an area under the ROC curve and its interval (DeLong, DeLong and Clarke-Pearson 1988), 99 % by default."""
    from scipy.stats import rankdata

    ours, others = scores[positive], scores[~positive]
    m, n = len(ours), len(others)
    if min(m, n) < 2:
        return 0.5, 0.0, 1.0
    ranks = rankdata(np.concatenate([ours, others]))
    of_ours = (ranks[:m] - rankdata(ours)) / n
    of_others = 1 - (ranks[m:] - rankdata(others)) / m
    area = float(of_ours.mean())
    error = float(np.sqrt(of_ours.var(ddof=1) / m + of_others.var(ddof=1) / n))
    return area, max(0.0, area - z * error), min(1.0, area + z * error)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's correlation; 0 where one never changes."""
    from scipy.stats import rankdata

    a, b = rankdata(one), rankdata(other)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else 0.0


def encoded_out_of_fold(values: np.ndarray, target: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return for each name the mean of a target among other folds' items of that name, float64 [n].

    Args:
        values: str objects [n].
        target: float [n].
        seed: of the folds.
    """
    _, numbers = np.unique(values.astype(str), return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(values)) % _FOLDS
    encoded = np.zeros(len(values))
    size = int(numbers.max(initial=0)) + 1
    for number in range(_FOLDS):
        own, rest = fold == number, fold != number
        prior = target[rest].mean() if rest.any() else 0.0
        sums = np.bincount(numbers[rest], target[rest], size)
        counts = np.bincount(numbers[rest], minlength=size)
        encoded[own] = ((sums + _SMOOTHING * prior) / (counts + _SMOOTHING))[numbers[own]]
    return encoded


def reduced(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return features of many items in fewer dimensions: their first 256 principal components, found on 5,000 items.

    Args:
        features: float16 or float32 [n, F].
        seed: of the items that they are found on.
    """
    if len(features) <= _MANY or features.shape[1] <= 2 * _WIDTH:
        return features
    from sklearn.decomposition import PCA

    chosen = np.random.default_rng(seed).choice(len(features), _MANY, replace=False)
    found = PCA(_WIDTH, svd_solver="randomized", random_state=seed).fit(features[np.sort(chosen)].astype(np.float32))
    fewer = np.empty((len(features), _WIDTH), np.float32)
    for start in range(0, len(features), _MANY):
        fewer[start : start + _MANY] = found.transform(features[start : start + _MANY].astype(np.float32))
    return fewer
