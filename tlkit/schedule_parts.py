"""What the learning-rate schedules share: checks of their arguments and maths on NumPy arrays or Keras tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np

from tlkit.errors import ConfigError


def check_count(name: str, value: object) -> int:
    """Refuse what is not a whole number of 1 or more; a float with a whole value is not one.

    Example:
        >>> check_count("step_size", 100)
        100

    Args:
        name: the argument's name, for the message.
        value: the number.

    Returns:
        The number as an int.

    Raises:
        ConfigError: it is not a whole number of 1 or more.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} is invalid", received=value, allowed="a whole number of 1 or more")
    return int(value)


def check_positive(name: str, value: object) -> float:
    """Refuse what is not a finite number above 0, such as a length in epochs.

    Example:
        >>> check_positive("cycle_len", 0.5)
        0.5

    Args:
        name: the argument's name, for the message.
        value: the number.

    Returns:
        The number as a float.

    Raises:
        ConfigError: it is not a finite number above 0.
    """
    return check_number(name, value, "a finite number above 0", lambda number: number > 0)


def check_number(name: str, value: object, allowed: str, good: Callable[[float], bool]) -> float:
    """Refuse what is not a finite number that is `good`."""
    usable = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and good(float(value))
    if not usable:
        # repr() of None would be left out of the message.
        raise ConfigError(f"{name} is invalid", received="None" if value is None else value, allowed=allowed)
    return float(value)  # type: ignore[arg-type]  # a Real, as checked above


def check_factor(name: str, value: object) -> float:
    """Refuse what is not above 0 and at most 1."""
    return check_number(name, value, "a number above 0 and at most 1", lambda number: 0 < number <= 1)


def check_order(low_name: str, low: float, high_name: str, high: float) -> None:
    """Refuse a high value below the low one."""
    if high < low:
        raise ConfigError(
            f"{high_name} is below {low_name}", received=(low, high), allowed=f"{low_name} <= {high_name}"
        )


def check_momentums(value: object) -> tuple[float, float] | None:
    """Refuse what is neither None nor two momenta, the higher first."""
    if value is None:
        return None
    allowed = "None or two numbers in [0, 1), the higher first"
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ConfigError("momentums is invalid", received=value, allowed=allowed)
    outer, peak = (check_number("momentums", item, allowed, lambda number: 0 <= number < 1) for item in value)
    if outer < peak:
        raise ConfigError(
            "momentum must be cycled inversely to the learning rate: lowest at the peak",
            received=(outer, peak),
            allowed=allowed,
        )
    return outer, peak


def set_values(schedule: object, **values: object) -> None:
    """Put checked values, as plain Python numbers, into a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(schedule, name, value)


def whole(step: Any, xp: Any) -> Any:
    """Give steps as int64, and refuse fractions."""
    kind = step.dtype if hasattr(step, "dtype") else np.asarray(step).dtype
    if "int" not in str(kind):
        raise ConfigError(
            "a step must be a whole number", received=step, allowed="an int, or an array or tensor of ints"
        )
    return xp.array(step, dtype="int64")


def real(whole: Any, xp: Any) -> Any:
    """Give whole numbers as real ones of the float type of `xp`."""
    return xp.multiply(whole, 1.0)


def power(base: float, exponent: Any, xp: Any) -> Any:
    """Give `base ** exponent` for a base above 0."""
    # Not base ** exponent: rounding the base to float32 first would be off by a part of 3e-8 for every single step.
    return xp.exp(real(exponent, xp) * math.log(base))


def cosine_fall(part: Any, xp: Any) -> Any:
    """From 1 at part 0 to 0 at part 1 along half a cosine."""
    return 0.5 * (1.0 + xp.cos(math.pi * part))


def between(low: float, high: float, height: Any) -> Any:
    """Give the value at a height from 0 (`low`) to 1 (`high`)."""
    # This form, unlike low + (high - low) * height, gives exactly `low` at height 0 and exactly `high` at height 1.
    return low * (1.0 - height) + high * height
