"""Tests of whether two samples are of the same distribution, given their histograms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tlkit.export.sketch import Landmarks

_FEWEST_EXPECTED = 5  # items of a category, for the chi-square approximation
_DRAWS = 100_000
_MOST_EMBEDDED = 1000


class Tested(NamedTuple):
    """The name of a test, its statistic and its p-value."""

    method: str
    statistic: float
    p: float


def kolmogorov_smirnov(expected: np.ndarray, actual: np.ndarray) -> Tested:
    """Compare two samples of numbers: the largest distance of their cumulative shares at the edges of the bins.

    The distance over all values may be larger, so the p-value is never too small.

    Args:
        expected, actual: counts of the same bins, rising.
    """
    from scipy.stats import kstwo

    m, n = int(expected.sum()), int(actual.sum())
    distance = float(np.abs(np.cumsum(expected) / m - np.cumsum(actual) / n).max())
    return Tested("Kolmogorov-Smirnov", distance, float(kstwo.sf(distance, max(round(m * n / (m + n)), 1))))


def homogeneity(expected: np.ndarray, actual: np.ndarray) -> Tested:
    """Compare two samples of categories: Pearson's chi-square test, or Fisher's exact test of two rare categories.

    Categories of which fewer than five items are expected are joined. The statistic of Fisher's test, the odds ratio,
    may be infinite: the difference of the shares stands in its place.

    Args:
        expected, actual: counts of the same categories.
    """
    from scipy.stats import chi2_contingency, fisher_exact

    table = np.stack([expected, actual]).astype(np.int64)
    table = table[:, table.sum(0) > 0]
    smaller = table.sum(1).min() / table.sum()
    rare = table.sum(0) * smaller < _FEWEST_EXPECTED
    if rare.any():
        table = np.concatenate([table[:, ~rare], table[:, rare].sum(1, keepdims=True)], axis=1)
    if table.shape[1] < 2:
        return Tested("chi-square", 0.0, 1.0)
    if table.shape[1] == 2 and (table.sum(0) * smaller < _FEWEST_EXPECTED).any():
        shares = table[:, 1] / table.sum(1)
        return Tested("Fisher's exact test", float(shares[1] - shares[0]), float(fisher_exact(table).pvalue))
    found = chi2_contingency(table, correction=False)
    return Tested("chi-square", float(found.statistic), float(found.pvalue))


def mean_discrepancy(marks: Landmarks, likeness: np.ndarray, items: int, seed: int = 0) -> Tested:
    """Compare embeddings with those of the baseline: the maximum mean discrepancy.

    The p-value is that of a sum of chi-square variables, each weighted by a variance of the likenesses in the baseline
    (Gretton et al. 2009, "A Fast, Consistent Kernel Two-Sample Test"), by 100,000 draws. More than 1,000 items count
    as 1,000: otherwise differences of no importance would be significant.

    Args:
        marks: of the baseline.
        likeness: sum of the likenesses of the embeddings, float64 [J].
        items: how many embeddings that is.
        seed: of the draws.
    """
    squared = float(((likeness / items - marks.mean) ** 2).sum())
    scale = 1 / marks.items + 1 / min(items, _MOST_EMBEDDED)
    weights = np.maximum(np.linalg.eigvalsh(marks.covariance), 0) * scale
    weights = np.sort(weights)[::-1]
    kept = weights[: max(1, int((np.cumsum(weights) < 0.999 * weights.sum()).sum()) + 1)]
    draws = np.random.default_rng(seed).chisquare(1, (_DRAWS, len(kept))) @ kept + (weights.sum() - kept.sum())
    return Tested("maximum mean discrepancy", squared, float((1 + (draws >= squared).sum()) / (1 + _DRAWS)))


def adjusted(p_values: np.ndarray) -> np.ndarray:
    """Return p-values corrected for how many there are (Benjamini and Hochberg 1995), float64 [n].

    Of the statistics whose corrected value is below a level, no larger share than the level is found by chance on
    average; if none of them has changed, one is found with at most this probability.
    """
    from scipy.stats import false_discovery_control

    found: np.ndarray = false_discovery_control(p_values) if len(p_values) else np.asarray(p_values)
    return found
