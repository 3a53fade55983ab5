"""How dates are written: one pattern for the graph that reads them and for the gates before it, without TensorFlow.

A form is a format of Python's `strptime`, `""` for ISO 8601, or one of `EPOCHS`, whole numbers since 1970.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tlkit.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# A day, then perhaps a time, then perhaps an offset from UTC, which is read and left aside. For RE2 and Python alike.
DATE_FORM = (
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
    r" ?([Zz]|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?)?"
)
EPOCHS = {"epoch seconds": 1, "epoch milliseconds": 1000}  # units in a second
MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ISO_PARTS = re.compile(r"(.{4})-(..)-(..)(?:.(..):(..)(?::(..))?)?")
PIVOT = 69  # of two-digit years, as in strptime: 69 is 1969, 68 is 2068
# Directive -> what it says of the date, and its pattern where digits are next to it and where they are not.
_FIELDS: dict[str, tuple[str, str, str]] = {
    "Y": ("year", "[0-9]{4}", "[0-9]{4}"),
    "y": ("short_year", "[0-9]{2}", "[0-9]{2}"),
    "m": ("month", "0[1-9]|1[0-2]", "1[0-2]|0?[1-9]"),
    "d": ("day", "0[1-9]|[12][0-9]|3[01]", "3[01]|[12][0-9]|0?[1-9]"),
    "H": ("hour", "[01][0-9]|2[0-3]", "2[0-3]|1[0-9]|0?[0-9]"),
    "I": ("hour", "0[1-9]|1[0-2]", "1[0-2]|0?[1-9]"),
    "M": ("minute", "[0-5][0-9]", "[0-5]?[0-9]"),
    "S": ("second", "[0-5][0-9]", "[0-5]?[0-9]"),
    "b": ("month_name", "|".join(name[:3] for name in MONTHS), "|".join(name[:3] for name in MONTHS)),
    "B": ("month_name", "|".join(MONTHS), "|".join(MONTHS)),
    "p": ("half", r"am|pm|a\.m\.|p\.m\.", r"am|pm|a\.m\.|p\.m\."),
}
_PASSED_OVER = {
    "f": "[0-9]{1,9}",
    "z": "z|[+-][0-9]{2}:?[0-9]{2}",
    "a": "|".join(name[:3] for name in _DAYS),
    "A": "|".join(_DAYS),
}
DIRECTIVES = tuple(f"%{letter}" for letter in (*_FIELDS, *_PASSED_OVER))
_NUMERIC = "YymdHIMSf"
_REASONS = {
    **dict.fromkeys("GVuUWw", "weeks are not supported: convert them to dates"),
    "j": "days of the year are not supported: convert them to dates",
    "Z": "time zone names are not supported: write UTC or GMT as plain text in the format, or remove it",
    "s": 'for seconds since 1970 set "epoch seconds"',
    **dict.fromkeys("cxX", "it depends on the locale"),
}


@dataclasses.dataclass(frozen=True)
class DateForm:
    """A format of `strptime`, made ready to read with.

    Attributes:
        text: the format.
        pattern: for RE2 and Python alike; it has a group for each of `fields`, and no other.
        fields: `year`, `short_year`, `month`, `month_name`, `day`, `hour`, `minute`, `second` and `half` (am or pm), in
            the order in which they stand.
    """

    text: str
    pattern: str
    fields: tuple[str, ...]

    @property
    def timed(self) -> bool:
        """Whether a date has a time of day."""
        return "hour" in self.fields


@lru_cache(maxsize=256)
def date_form(text: str) -> DateForm:
    """Return a format of `strptime` as a pattern.

    Example:
        >>> date_form("%m/%d/%Y").fields
        ('month', 'day', 'year')

    Args:
        text: the format; not ISO 8601 or a number since 1970, which are no formats.

    Raises:
        ConfigError: it has a directive that cannot be read in a graph, one twice, or says too little or too much.
    """
    pieces = [piece for piece in re.split(r"(%.)", text.strip(), flags=re.DOTALL) if piece]
    pattern, fields = "", []
    for place, piece in enumerate(pieces):
        letter = piece[1:2] if piece.startswith("%") else ""
        if piece == "%%" or not letter:
            if "%" in piece and piece != "%%":
                raise _refused(text, "%", "it ends in a single %")
            pattern += "".join(r"[ \t]+" if part.isspace() else re.escape(part) for part in _words(piece))
        elif letter in _PASSED_OVER:
            pattern += f"(?:{_PASSED_OVER[letter]})"
        elif letter in _FIELDS:
            beside = (pieces[place - 1 : place] if place else []) + pieces[place + 1 : place + 2]
            packed = any(other[:1] == "%" and other[1:2] in _NUMERIC for other in beside)
            name, fixed, free = _FIELDS[letter]
            fields.append(name)
            pattern += f"({fixed if packed else free})"
        else:
            raise _refused(text, piece, _REASONS.get(letter, "unknown directive"))
    if twice := [name for name in fields if fields.count(name) > 1]:
        raise _refused(text, twice[0], "it occurs twice")
    for what, names in (("year (%Y or %y)", ("year", "short_year")), ("month (%m, %b or %B)", ("month", "month_name"))):
        if sum(name in fields for name in names) != 1:
            raise _refused(text, what, "a date needs exactly one")
    if ("half" in fields) != ("%I" in pieces) or ("minute" in fields and "hour" not in fields):
        raise _refused(text, "%I", "%I and %p need each other, and minutes need hours")
    return DateForm(text, f"(?i){pattern}", tuple(fields))


def _words(literal: str) -> list[str]:
    return re.findall(r"\s+|\S", literal.replace("%%", "%"))


def _refused(text: str, received: str, why: str) -> ConfigError:
    return ConfigError(
        f"the date format {text!r} cannot be read: {why}",
        received=received,
        allowed=f"{' '.join(DIRECTIVES)}; or {', '.join(map(repr, EPOCHS))}; ISO 8601 needs no format",
    )


def check_date_form(text: str) -> str:
    """Return a form that can be read.

    Raises:
        ConfigError: it cannot.
    """
    if not isinstance(text, str):
        raise ConfigError("a date format must be a string", received=text)
    if text and text not in EPOCHS:
        date_form(text)
    return text


def shown_form(form: str) -> str:
    """Say how dates of a form look, for messages.

    >>> shown_form("%m/%d/%Y"), shown_form("")
    ("dates as 06/19/2015 ('%m/%d/%Y')", 'dates as 2015-06-19 or 2015-06-19T13:05:00')
    """
    if not form:
        return "dates as 2015-06-19 or 2015-06-19T13:05:00"
    if form in EPOCHS:
        return f"{form.removeprefix('epoch ')} since 1970, whole numbers"
    moment = datetime.datetime(2015, 6, 19, 13, 5, tzinfo=datetime.UTC)
    return f"dates as {moment.strftime(form)} ({form!r})"


def read_moments(values: Iterable[object], form: str) -> np.ndarray:
    """Read dates as the graph reads them: as they are written, an offset from UTC left aside.

    Example:
        >>> read_moments(["6/23/2014", "2/30/2014"], "%m/%d/%Y")
        array(['2014-06-23T00:00:00', 'NaT'], dtype='datetime64[s]')

    Args:
        values: texts; whole numbers of `EPOCHS` may be numbers.
        form: `""` for ISO 8601, a format of `strptime`, or one of `EPOCHS`.

    Returns:
        datetime64[s] [n], NaT where there is no date.
    """

    if form in EPOCHS:
        return _of_epochs(values, EPOCHS[form])
    if form:
        return _assembled(_of_texts(values, date_form(form)))
    return _assembled(_of_iso(values))


def moments_of(column: pd.Series[Any], form: str) -> pd.Series[Any]:
    """Read a column of dates as `read_moments` does, each different value once: datetime64[us], NaT for no date."""
    import numpy as np
    import pandas as pd

    numbers, found = pd.factorize(column)
    moments = np.append(read_moments(found, form), np.datetime64("NaT"))[numbers].astype("M8[us]")
    return pd.Series(moments, index=column.index, name=column.name)


def _of_epochs(values: Iterable[object], unit: int) -> np.ndarray:
    import numpy as np

    texts = [str(value).strip() for value in values]
    seconds = [int(text) // unit if re.fullmatch(r"-?[0-9]{1,18}", text) else None for text in texts]
    low, high = -62135596800, 253402300799  # years 1 to 9999
    inside = [second if second is not None and low <= second <= high else None for second in seconds]
    return np.array([np.datetime64("NaT", "s") if one is None else np.datetime64(one, "s") for one in inside], "M8[s]")


def _of_iso(values: Iterable[object]) -> list[tuple[int, ...] | None]:
    form = re.compile(DATE_FORM)
    found: list[tuple[int, ...] | None] = []
    for value in values:
        text = str(value).strip(" \t\n\v\f\r")
        parts = _ISO_PARTS.match(text) if form.fullmatch(text) else None
        found.append(None if parts is None else tuple(int(part or 0) for part in parts.groups()))
    return found


def _of_texts(values: Iterable[object], form: DateForm) -> list[tuple[int, ...] | None]:
    pattern = re.compile(form.pattern, re.ASCII)
    found: list[tuple[int, ...] | None] = []
    for value in values:
        match = pattern.fullmatch(str(value).strip(" \t\n\v\f\r"))
        if match is None:
            found.append(None)
            continue
        said = dict(zip(form.fields, match.groups(), strict=True))
        if "short_year" in said:
            short = int(said["short_year"])
            said["year"] = str(short + (1900 if short >= PIVOT else 2000))
        if "month_name" in said:
            said["month"] = str([name[:3] for name in MONTHS].index(said["month_name"][:3].lower()) + 1)
        hour = int(said.get("hour", 0))
        if "half" in said:
            hour = hour % 12 + 12 * (said["half"][0].lower() == "p")
        rest = (int(said.get("day", 1)), hour, int(said.get("minute", 0)), int(said.get("second", 0)))
        found.append((int(said["year"]), int(said["month"]), *rest))
    return found


def _assembled(parts: Sequence[tuple[int, ...] | None]) -> np.ndarray:
    import numpy as np

    numbers = np.array([part or (0, 1, 1, 0, 0, 0) for part in parts], np.int64).reshape(-1, 6)
    year, month, day, hour, minute, second = numbers.T
    first = ((year - 1970) * 12 + month - 1).astype("M8[M]")
    days = first.astype("M8[D]") + (day - 1)
    moments = days.astype("M8[s]") + (hour * 3600 + minute * 60 + second)
    moments[(year < 1) | (days.astype("M8[M]") != first)] = np.datetime64("NaT")
    return moments
