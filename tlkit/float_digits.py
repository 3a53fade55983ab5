"""Which numbers need more digits than float32 has."""

from __future__ import annotations

import numpy as np

LOST = 1e-4  # of the spread: what float32 may lose of it


def needs_float64(values: np.ndarray) -> bool:
    """Return whether float32 would lose more than a ten-thousandth of the spread of some numbers.

    The spread is the standard deviation, or the interquartile range where that is smaller: one far value must not hide
    that all others become one number. Numbers beyond float32 do not count.

    Example:
        >>> needs_float64(np.array([1e9 - 2, 1e9, 1e9 + 2])), needs_float64(np.array([80.5, 120.25, 430.1]))
        (True, False)

    Args:
        values: float64 [n]; what is not finite is left aside.
    """
    with np.errstate(over="ignore"):
        short = values.astype(np.float32).astype(np.float64)
    kept = np.isfinite(short)
    values, short = values[kept], short[kept]
    if not len(values):
        return False
    low, high = np.quantile(values, [0.25, 0.75])
    spread = min(float(values.std()), float(high - low) or np.inf)
    return spread > 0 and float(np.sqrt(np.mean((values - short) ** 2))) > LOST * spread


def lost_digits(values: np.ndarray) -> str:
    """Say in a few words what float32 would do to numbers that need float64."""
    given = values[np.isfinite(values)]
    count = len(np.unique(given))
    left = len(np.unique(given.astype(np.float32)))
    return (
        f"values from {given.min():.17g} to {given.max():.17g} need more digits than float32 has ({count} different "
        f"ones would become {left}): they are sent as float64"
    )
