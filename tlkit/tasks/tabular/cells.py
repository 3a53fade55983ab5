"""What stands in a table's cells, as values and dates, for those who read it without TensorFlow."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlkit.inputs.row.columns import BOOLEANS, FALSE_SPELLINGS, TRUE_SPELLINGS
from tlkit.inputs.row.date_form import moments_of

if TYPE_CHECKING:
    import pandas as pd

SPACE = " \t\n\v\f\r"  # what the exported graph takes off the ends of text
# A day, perhaps a time, perhaps an offset from UTC, which is read and left aside: as the exported graph reads it.
_DATE = (
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?) ?(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def cell_texts(
    column: pd.Series[Any], *, dtype: str = "string", missing: Collection[str] = ()
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Give the different values of a column as the text that its categories have, and which of them each row holds.

    Example:
        >>> cell_texts(pd.Series([3.0, None, 5.0]), dtype="int64")
        (array([ 0, -1,  1]), ['3', '5'])

    Args:
        column: n cells.
        dtype: `"int64"` where the categories are whole numbers, else `"string"`.
        missing: texts that count as missing.

    Returns:
        The number of each row's value, int64 [n], -1 where it is missing; and the values.
    """
    import pandas as pd

    numbers, found = pd.factorize(column, use_na_sentinel=True)
    texts = _texts(found, dtype)
    # Different cells may say the same: 3 and "3".
    places: dict[str, int] = {}
    of_cell = [-1 if not text or text in missing else places.setdefault(text, len(places)) for text in texts]
    return np.array([*of_cell, -1], np.int64)[numbers], list(places)


def boolean_word(text: str) -> str:
    """Give the category of a boolean in any of its spellings; other text stays as it is.

    >>> boolean_word("YES"), boolean_word("maybe")
    ('true', 'maybe')
    """
    plain = text.lower()
    return BOOLEANS[1] if plain in TRUE_SPELLINGS else BOOLEANS[0] if plain in FALSE_SPELLINGS else text


def date_parts(column: pd.Series[Any], form: str = "") -> pd.DataFrame:
    """Give year, ISO week, day and so on of a column of dates; what is no date is missing everywhere.

    Args:
        column: dates, or text; an offset from UTC is left aside.
        form: how dates are written, where not as ISO 8601; see `tlkit.inputs.row.columns.Date.form`.

    Returns:
        A float64 column for each of `year`, `month`, `week`, `day`, `day_of_week` (Monday is 0), `hour`, `day_of_year`
        and `elapsed` (days since 1970).
    """
    import pandas as pd

    dates = as_dates(column, form)
    of = dates.dt
    moments = dates.to_numpy("datetime64[us]")
    days = np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 86_400e6)
    parts = {
        "year": of.year,
        "month": of.month,
        "week": of.isocalendar().week,
        "day": of.day,
        "day_of_week": of.dayofweek,
        "hour": of.hour,
        "day_of_year": of.dayofyear,
        "elapsed": pd.Series(days, index=column.index),
    }
    return pd.DataFrame({name: part.astype("float64") for name, part in parts.items()}, index=column.index)


def as_dates(column: pd.Series[Any], form: str = "") -> pd.Series[Any]:
    """Read dates as they are written, without their time zone; NaT for what is none."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        return column.dt.tz_localize(None)
    if form:
        return moments_of(column, form)
    numbers, found = pd.factorize(column, use_na_sentinel=True)
    texts = pd.Series([str(value).strip(SPACE) for value in found], dtype="str")
    day, time = (texts.str.extract(rf"^{_DATE}$")[group] for group in ("day", "time"))
    read = pd.to_datetime(day + "T" + time.fillna("00:00"), errors="coerce", format="ISO8601")
    values = np.append(read.to_numpy("datetime64[us]"), np.datetime64("NaT", "us"))[numbers]
    return pd.Series(values, index=column.index, name=column.name)


def _texts(found: Any, dtype: str) -> list[str | None]:
    import pandas as pd

    if isinstance(found, pd.DatetimeIndex):
        values = pd.Series(found).dt.tz_localize(None).to_numpy().astype("M8[s]")
        days = values.astype("M8[D]")
        return list(np.datetime_as_string(days if (days == values).all() else values).tolist())
    return [_text(value, dtype) for value in found]


def _text(value: Any, dtype: str) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value.strip(SPACE)
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, date):
        return value.isoformat()
    if dtype == "int64" and isinstance(value, int | np.integer):
        return str(int(value))
    number = float(value)
    if not np.isfinite(number):
        return None
    # Categories that are numbers with a point are written as pandas writes them; 0.0 and -0.0 are one.
    return str(int(number)) if dtype == "int64" and number.is_integer() else str(number + 0.0)
