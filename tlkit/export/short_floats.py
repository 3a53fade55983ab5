"""Single-precision numbers as the doubles that print short: 0.1 instead of 0.10000000149011612."""

from __future__ import annotations

import numpy as np

#: Below this, going through text is faster than a dozen array operations.
_FEW = 100
#: Powers of ten up to 10**22 are exact doubles; a mantissa of nine digits leaves so much for the exponent.
_MOST_EXPONENT = 12


def short_floats(array: np.ndarray) -> np.ndarray:
    """Return float64 numbers with the fewest decimal digits that round to the given float32.

    Example:
        >>> short_floats(np.array([0.1, 1.0], np.float32)).tolist()
        [0.1, 1.0]

    Args:
        array: float32 of any shape.

    Returns:
        float64 of the same shape; converting it back gives the same float32 numbers.
    """
    if array.size < _FEW:
        return _through_text(array)
    exact = array.ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        wide = exact.astype(np.float64)
        exponent = np.floor(np.log10(np.abs(wide)))
    plain = np.abs(exponent) <= _MOST_EXPONENT  # false for 0, NaN and infinity too
    left = np.flatnonzero(plain)
    for digits in (6, 7, 8, 9):
        power = digits - 1 - exponent[left]
        scale = 10.0 ** np.abs(power)
        rounded = np.where(power >= 0, np.rint(wide[left] * scale) / scale, np.rint(wide[left] / scale) * scale)
        same = rounded.astype(np.float32) == exact[left]
        # `wide` is overwritten only where the number is settled.
        wide[left[same]] = rounded[same]
        left = left[~same]
        if not left.size:
            break
    odd = ~plain & np.isfinite(exact) & (exact != 0)
    odd[left] = True
    if odd.any():
        wide[odd] = _through_text(exact[odd])
    return wide.reshape(array.shape)


def short_float(number: float) -> float:
    """Return the number with the fewest decimal digits that is the same float32.

    >>> short_float(57.91999816894531)
    57.92
    """
    return float(str(np.float32(number)))


def _through_text(array: np.ndarray) -> np.ndarray:
    return array.astype(str).astype(np.float64)
