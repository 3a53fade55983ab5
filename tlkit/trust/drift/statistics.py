"""Tests of whether two samples are of the same distribution, given their histograms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tlkit.export.sketch import Landmarks

_FEWEST_EXPECTED = 5  # items of a category, for the chi-square approximation
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


def mean_discrepancy(marks: Landmarks, likeness: np.ndarray, items: int) -> Tested:
    """Compare embeddings with those of the baseline: the maximum mean discrepancy.

    Under the same distribution it is a sum of chi-square variables, each weighted by a variance of the likenesses in
    the baseline (Gretton et al. 2009, "A Fast, Consistent Kernel Two-Sample Test"). More than 1,000 items count as
    1,000: otherwise differences of no importance would be significant.

    Args:
        marks: of the baseline.
        likeness: sum of the likenesses of the embeddings, float64 [J].
        items: how many embeddings that is.
    """
    squared = float(((likeness / items - marks.mean) ** 2).sum())
    scale = 1 / marks.items + 1 / min(items, _MOST_EMBEDDED)
    weights = np.maximum(np.linalg.eigvalsh(marks.covariance), 0) * scale
    return Tested("maximum mean discrepancy", squared, weighted_chi_square(squared, weights))


def weighted_chi_square(value: float, weights: np.ndarray) -> float:
    """Return the probability that a weighted sum of chi-square variables of one degree of freedom exceeds a value.

    Approximated by a non-central chi-square variable with the same skewness and nearly the same kurtosis (Liu, Tang and
    Zhang 2009, "A new chi-square approximation to the distribution of non-negative definite quadratic forms in
    non-central normal variables").

    Args:
        value: 0 or more.
        weights: float64 [J], 0 or more.
    """
    from scipy.stats import chi2, ncx2

    largest = float(weights.max(initial=0.0))
    if largest <= 0:  # all items of the baseline are the same
        return float(value <= 0)
    value, weights = value / largest, weights / largest
    c1, c2, c3, c4 = (float((weights**power).sum()) for power in (1, 2, 3, 4))
    skewness, kurtosis = c3 / c2**1.5, c4 / c2**2
    if skewness**2 > kurtosis:
        a = 1 / (skewness - np.sqrt(skewness**2 - kurtosis))
        delta = skewness * a**3 - a**2
        degrees = a**2 - 2 * delta
    else:
        a, delta, degrees = 1 / skewness, 0.0, c2**3 / c3**2
    point = max((value - c1) / np.sqrt(2 * c2) * np.sqrt(2) * a + degrees + delta, 0.0)
    return float(ncx2.sf(point, degrees, delta) if delta > 0 else chi2.sf(point, degrees))


def adjusted(p_values: np.ndarray) -> np.ndarray:
    """Return p-values corrected for how many there are (Benjamini and Hochberg 1995), float64 [n].

    Of the statistics whose corrected value is below a level, no larger share than the level is found by chance on
    average; if none of them has changed, one is found with at most this probability.
    """
    from scipy.stats import false_discovery_control

    found: np.ndarray = false_discovery_control(p_values) if len(p_values) else np.asarray(p_values)
    return found
