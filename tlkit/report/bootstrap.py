"""Intervals of metrics: percentile bootstrap over items (Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FEWEST = 30  # items
LEVEL = 0.95
_MOST, _LEAST = 1000, 200  # resamples
_WORK = 2_000_000  # items in all resamples


class Interval(NamedTuple):
    """A value and the ends of its interval; None where an end cannot be estimated."""

    value: float | None
    low: float | None
    high: float | None


def resamples(items: int) -> int:
    """Return how many resamples are drawn of so many items.

    >>> resamples(400), resamples(50_000)
    (1000, 200)
    """
    return int(np.clip(_WORK // max(items, 1), _LEAST, _MOST))


def bootstrap_intervals(
    measure: Callable[[npt.NDArray[np.int64]], Mapping[str, float | None]],
    items: int,
    *,
    seed: int = 0,
    centered: bool = False,
) -> dict[str, Interval]:
    """Return each metric with its 95 % interval.

    Items are drawn with replacement; the interval holds the middle 95 % of the metric on 200 to 1,000 such samples.

    Example:
        >>> values = np.arange(100.0)
        >>> bootstrap_intervals(lambda rows: {"mean": values[rows].mean()}, 100)["mean"]
        Interval(value=49.5, low=43.9..., high=55.0...)

    Args:
        measure: numbers of items, int [m] -> metrics by name; None where one is undefined.
        items: how many there are.
        seed: of the samples.
        centered: shift the samples so that their mean is the value of all items: for metrics that are systematically
            higher on samples.

    Returns:
        The metrics of all items. With fewer than 30 items there are no intervals.
    """
    values = measure(np.arange(items))
    if items < FEWEST:
        return {name: Interval(value, None, None) for name, value in values.items()}
    draw = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in values}
    for _ in range(resamples(items)):
        for name, value in measure(draw.integers(0, items, items)).items():
            if value is not None and np.isfinite(value):
                found[name].append(value)
    tail = (1 - LEVEL) / 2
    intervals = {}
    for name, value in values.items():
        enough = value is not None and len(found[name]) > resamples(items) / 2
        if value is None or not enough:
            intervals[name] = Interval(value, None, None)
            continue
        shift = value - float(np.mean(found[name])) if centered else 0.0
        low, high = (np.quantile(found[name], (tail, 1 - tail)) + shift).tolist()
        intervals[name] = Interval(value, low, high)
    return intervals
