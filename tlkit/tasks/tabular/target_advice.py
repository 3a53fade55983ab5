"""Which transform the values of a numeric target call for, and why."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats

if TYPE_CHECKING:
    from tlkit.targets.regression import Transform

_FEWEST = 30  # values, from which on their distribution says something
_SKEWED = 1.0  # skewness from which on a transform is looked at; that of an exponential distribution is 2
_SPAN = 10.0  # largest over smallest value from which on logarithms differ much from the values


@dataclasses.dataclass(frozen=True)
class TransformAdvice:
    """What to set `target.transform` to.

    Attributes:
        transform: `"none"`, `"log"` or `"yeo_johnson"`.
        why: what was measured, for a comment; empty where nothing is to be said.
    """

    transform: Transform
    why: str = ""


def advise_transform(values: npt.ArrayLike) -> TransformAdvice:
    """Return the transform that a regression target's distribution calls for.

    | values | transform |
    |---|---|
    | skewness up to 1, or fewer than 30 values | none |
    | all above 0, the largest 10 times the smallest or more, logarithms less than half as skewed | log |
    | zeros and values above, less than half as skewed after Yeo-Johnson's transform | yeo_johnson |
    | of both signs | none: differences such as delays are errors in their own unit |

    A transform makes the model learn relative errors, which suits amounts and counts. It then predicts medians rather
    than means, so that the mean absolute error falls and the RMSE of a few huge values may rise.

    Example:
        >>> advise_transform(np.exp(np.random.default_rng(0).normal(size=1000))).transform
        'log'

    Args:
        values: of the target, float [n]; NaN is left aside.
    """
    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) < _FEWEST or np.ptp(numbers) == 0:
        return TransformAdvice("none")
    skew = float(stats.skew(numbers))
    if not abs(skew) > _SKEWED:
        return TransformAdvice("none")
    low, high = float(numbers.min()), float(numbers.max())
    if low < 0 < high:
        return TransformAdvice(
            "none", f"skewed ({skew:.1f}), but of both signs: try yeo_johnson if huge errors weigh less"
        )
    range_of = f"{low:.3g} to {high:.3g}"
    if low > 0 and skew > 0 and high / low >= _SPAN and _is_less(stats.skew(np.log(numbers)), skew):
        return TransformAdvice(
            "log", f"skewed ({skew:.1f}), all above 0 ({range_of}): errors count relative to the value"
        )
    if low == 0 and skew > 0 and _is_less(stats.skew(stats.yeojohnson(numbers)[0]), skew):
        zeros = float((numbers == 0).mean())
        return TransformAdvice(
            "yeo_johnson",
            f"skewed ({skew:.1f}), from 0 ({zeros:.0%} of the rows) to {high:.3g}: large values weigh less",
        )
    return TransformAdvice("none")


def _is_less(skew: float, than: float) -> bool:
    return bool(np.isfinite(skew) and abs(skew) < 0.5 * than)
