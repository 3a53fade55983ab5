"""The columns with times and events; imports neither TensorFlow nor Keras."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, get_args

from tlkit.errors import ConfigError, check_choice

SurvivalMethod = Literal["hazard", "cox"]
#: What records and columns call the probabilities to be without event.
CURVE = "survival"


@dataclasses.dataclass(frozen=True)
class SurvivalColumns:
    """Describe a survival target: its columns and its method. Pass it instead of the target columns.

    Example:
        >>> tlkit.table_from_file("patients.csv", tlkit.SurvivalColumns("days", "died"))

    Args:
        time: the column of times, above 0: of the event, or of the last observation.
        event: the column of 1 or true (event observed) and 0 or false (censored).
        method: `"hazard"` or `"cox"`; see `tlkit.targets.survival.Survival`.
        times: times to predict survival at; by default chosen from the training rows.

    Raises:
        ConfigError: an argument is invalid.
    """

    time: str
    event: str
    method: SurvivalMethod = "hazard"
    times: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_choice("method of a survival target", self.method, get_args(SurvivalMethod))
        plain = isinstance(self.times, list | tuple) and all(
            isinstance(time, int | float) and not isinstance(time, bool) for time in self.times
        )
        if not plain:
            raise ConfigError(
                "invalid times of a survival target",
                received=self.times,
                allowed="a list of numbers",
            )
        object.__setattr__(self, "times", tuple(float(time) for time in self.times))
        if self.time == self.event:
            raise ConfigError("time and event must be different columns", received=self.time)
        rising = all(a < b for a, b in zip((0.0, *self.times), self.times, strict=False))
        if not rising or not all(map(math.isfinite, self.times)):
            raise ConfigError(
                "invalid times of a survival target",
                received=list(self.times),
                allowed="numbers above 0 in increasing order",
            )
        if self.times and self.method == "cox":
            raise ConfigError(
                "the Cox method predicts a risk, but no survival at given times",
                received=list(self.times),
                fix='remove times, or use method = "hazard"',
            )

    @property
    def names(self) -> list[str]:
        """Names of the time column and the event column."""
        return [self.time, self.event]


def time_name(time: float) -> str:
    """Return the name of a time in records and columns; different times have different names.

    >>> time_name(365.0), time_name(0.25), time_name(10000001.0)
    ('365', '0.25', '10000001')
    """
    return f"{time:.15g}"
