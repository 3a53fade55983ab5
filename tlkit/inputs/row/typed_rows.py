"""Rows of a file as the columns that a network reads: each field as its column was in training."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlkit.errors import DataError
from tlkit.inputs.items import Item
from tlkit.inputs.row.date_form import shown_form
from tlkit.inputs.row.number_forms import PLAIN, USUAL_MISSING, NumberForm

if TYPE_CHECKING:
    import pandas as pd

    from tlkit.inputs.files.fields import Reading

_ALLOWED = {"int64": "whole numbers", "float32": "numbers, finite ones", "float64": "numbers, finite ones"}
_BOOLEANS = {"True": 1.0, "TRUE": 1.0, "true": 1.0, "False": 0.0, "FALSE": 0.0, "false": 0.0}  # as pandas reads them


class TypedRows:
    """Makes the columns that a network reads of rows as they stand in a file.

    Args:
        preprocessing: of the network, or of a manifest as plain data.
    """

    def __init__(self, preprocessing: Any):
        from tlkit.inputs.row.preprocessing import TablePreprocessing

        given = preprocessing
        self.preprocessing = given if isinstance(given, TablePreprocessing) else TablePreprocessing.from_dict(given)
        self._unread = None if self.preprocessing.unreadable is None else self.preprocessing.unreadable_values

    def frame(self, items: Sequence[Item], problems: dict[int, str] | None = None) -> pd.DataFrame:
        """Return the columns of rows; see `typed`."""
        own = self.preprocessing
        return typed(items, own.columns, own.missing, own.forms, problems, self._unread)


def typed(
    items: Sequence[Item],
    columns: Sequence[Any],
    missing: Sequence[str],
    forms: Mapping[str, NumberForm] | None = None,
    problems: dict[int, str] | None = None,
    unread: Callable[[pd.DataFrame], Mapping[int, Any]] | None = None,
) -> pd.DataFrame:
    """Make the columns that a network reads of fields as they stand in the file.

    What is text in a CSV becomes what its column was in training, whatever else stands in the file: `3`, `3.0` and an
    empty field are whole numbers and a missing one.

    Args:
        items: the rows.
        columns: of the preprocessing.
        missing: texts that stand for a missing value in every column.
        forms: column -> how its numbers are written, as the preprocessing has them; None where it was fitted by release
            0.1.0, which knew plain numbers and `missing` alone.
        problems: gets the reason of each row that cannot be read, by its place in `items`. What
            such a row holds in the frame means nothing. None raises that of the first such row.
        unread: finds booleans and dates that cannot be read, `TablePreprocessing.unreadable_values`; None where the
            preprocessing was fitted by release 0.1.0, whose graph takes such dates for missing.

    Raises:
        DataError: a field is not of the type that its column had in training; names row, column, value and type.
    """
    import pandas as pd

    from tlkit.inputs.row.columns import Date

    found = {}
    reasons: dict[int, str] = {} if problems is None else problems
    for column in columns:
        form = (forms or {}).get(column.name, PLAIN)
        allowed = _ALLOWED.get(column.dtype, "text")
        if column.dtype != "string" and form != PLAIN:
            allowed += f" ({form.describe()})"
        if isinstance(column, Date):
            allowed = shown_form(column.form)
        gone = {"", *missing, *getattr(column, "missing", ())}
        if forms is not None and (column.dtype != "string" or isinstance(column, Date)):
            gone |= {*USUAL_MISSING, *form.missing}
        made = _read(items, column.name, _reader(column, form), allowed, gone, reasons)
        if isinstance(column, Date) and unread is None:
            _check_dates(made, items, column.name, allowed, reasons)
        dtype = {"int64": "Int64", "float32": "float64", "float64": "float64"}.get(column.dtype, "str")
        found[column.name] = pd.Series(made, dtype=dtype)
    frame = pd.DataFrame(found)
    for number, wrong in (unread(frame) if unread is not None else {}).items():
        error = _other_type(items[number].place, wrong.column, wrong.value, wrong.allowed)
        reasons.setdefault(number, str(error))
    if problems is None and reasons:
        raise DataError(reasons[min(reasons)])
    return frame


def _read(
    items: Sequence[Item],
    name: str,
    read: Callable[[Any], Any],
    allowed: str,
    missing: Collection[str],
    problems: dict[int, str] | None = None,
) -> list[Any]:
    """Read the fields of one column; None is a missing value, or one with a problem."""
    made: list[Any] = []
    for number, item in enumerate(items):
        value = item.fields.get(name)
        if value is None or value != value or (isinstance(value, str) and value.strip() in missing):
            made.append(None)
            continue
        try:
            made.append(read(value))
        except (ValueError, TypeError, OverflowError) as error:
            wanted = error.allowed if isinstance(error, _NotExactError) else allowed
            _note(problems, number, _other_type(items[number].place, name, value, wanted))
            made.append(None)
    return made


def _note(problems: dict[int, str] | None, number: int, error: DataError) -> None:
    """Keep the first problem of a row, or raise it where problems are not collected."""
    if problems is None:
        raise error
    problems.setdefault(number, str(error))


def _other_type(place: str, name: str, value: Any, allowed: str) -> DataError:
    return DataError(f"{place}, column {name!r} has another type than in training", received=value, allowed=allowed)


def _check_dates(
    texts: Sequence[str | None], items: Sequence[Item], name: str, allowed: str, problems: dict[int, str] | None
) -> None:
    """Refuse what the network's own graph would take for a missing date."""
    import tensorflow as tf

    from tlkit.inputs.row.dates import read_dates

    known = [text or "" for text in texts]
    valid = read_dates(tf.strings.strip(tf.constant(known, tf.string))).valid.numpy()
    for number, text in enumerate(texts):
        if text is not None and not valid[number]:
            _note(problems, number, _other_type(items[number].place, name, text, allowed))


def _reader(column: Any, form: NumberForm = PLAIN) -> Callable[[Any], Any]:
    """Give a function that turns a field into what its column holds."""
    from tlkit.inputs.row.columns import Date
    from tlkit.inputs.row.given import is_number

    if column.dtype == "int64":
        return lambda value: _whole(value, form)
    if column.dtype != "string":
        return lambda value: _number(value, form)
    if isinstance(column, Date):
        return lambda value: _as_written(value, column.form)
    if column.boolean:
        return lambda value: str(value).lower() if isinstance(value, bool) else _text(value)
    values = set(getattr(column, "values", ()))
    if values and values <= {"true", "false"}:
        return lambda value: _text(value).lower()
    if any(map(is_number, values)):
        return lambda value: _as_known(value, values)
    return _text


def _as_written(value: Any, form: str) -> str:
    """Write a date as its column has it; files of JSON and Parquet may hold numbers and dates."""
    if isinstance(value, datetime.date):
        return value.strftime(form) if form else value.isoformat().removesuffix("T00:00:00")
    return _text(value)


def _number(value: Any, form: NumberForm = PLAIN) -> float:
    if isinstance(value, str) and value in _BOOLEANS:
        return _BOOLEANS[value]
    read = form.read(value) if isinstance(value, str) else value
    number = float(read)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(value)
    return number


class _NotExactError(ValueError):
    """A whole number that cannot be taken as it is; says what can."""

    def __init__(self, value: object, allowed: str):
        super().__init__(value)
        self.allowed = allowed


def _whole(value: Any, form: NumberForm = PLAIN) -> int:
    read: Any = value
    if isinstance(value, bool):
        raise ValueError(value)
    if isinstance(value, str):
        if "e" in value.lower() and form == PLAIN:  # 1e3 is how a measure is written
            raise ValueError(value)
        read = form.read_whole(value)
    whole = int(read)
    if whole != read:
        raise ValueError(value)
    if not -(2**63) < whole < 2**63:
        raise _NotExactError(value, "whole numbers between -2**63 and 2**63")
    if isinstance(read, float) and abs(read) >= 2.0**53:
        raise _NotExactError(value, "whole numbers; a float beyond 2**53 has lost digits: write a whole number or text")
    return whole


def _boolean(value: Any) -> bool:
    if isinstance(value, str) and value not in _BOOLEANS:
        raise ValueError(value)
    return bool(_BOOLEANS[value]) if isinstance(value, str) else bool(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _as_known(value: Any, known: set[str]) -> str:
    """Write a number as the training's table has it: 0.50 is the category 0.5, while 007 stays what it is."""
    from tlkit.inputs.row.given import is_number

    text = _text(value).strip()
    return text if text in known or not is_number(text) or str(float(text)) not in known else str(float(text))


def joined(
    frame: pd.DataFrame,
    items: Sequence[Item],
    tables: Sequence[tuple[Any, list[str]]],
    lacking: Sequence[str],
    reading: Reading,
    problems: dict[int, str] | None = None,
) -> pd.DataFrame:
    """Add columns of further tables, as training did.

    Args:
        frame: rows as `typed` makes them; its columns that are `lacking` are replaced.
        items: the same rows, for the columns to join on.
        tables: DataFrames, and the columns to join each on.
        lacking: columns that the file does not have.
        reading: how the fields of the project's files are read.
        problems: as for `typed`.

    Raises:
        DataError: a column to join on is of another type than in the further table.
    """
    import pandas as pd

    for other, on in tables:
        taken = [name for name in lacking if name in other.columns and name not in on]
        if not taken:
            continue
        keys = pd.DataFrame({name: like(items, name, other[name].dtype, reading, problems) for name in on})
        found = keys.merge(other[[*on, *taken]], on=on, how="left", validate="m:1")
        frame = frame.assign(**{name: found[name] for name in taken})
    return frame


def like(
    items: Sequence[Item],
    name: str,
    dtype: Any,
    reading: Reading,
    problems: dict[int, str] | None = None,
    date_form: str = "",
) -> pd.Series:
    """Make a column of fields what it is in another table.

    Args:
        items: the rows.
        name: of the column; where a row lacks it, its value is missing.
        dtype: of the other table's column.
        reading: how the fields of the project's files are read.
        problems: as for `typed`.
        date_form: how dates are written in the file, where the other column holds dates.

    Raises:
        DataError: a field does not go into that type; names row, column and value.
    """
    import pandas as pd

    types = pd.api.types
    form = reading.form_of(name)
    text = isinstance(dtype, pd.StringDtype) or types.is_object_dtype(dtype)
    missing = {"", *reading.missing_of(name), *(() if text else (*reading.usual, *form.missing))}
    if types.is_datetime64_any_dtype(dtype):
        from tlkit.inputs.row.events import as_moments

        allowed = shown_form(date_form) if date_form else "dates as 2015-06-19"
        made = _read(items, name, lambda value: value, allowed, missing, problems)
        moments = as_moments(pd.Series(made, dtype=object), date_form)
        for number in moments.isna().to_numpy().nonzero()[0].tolist():
            if made[number] is not None:
                _note(problems, number, _other_type(items[number].place, name, made[number], allowed))
        return moments.dt.tz_localize(getattr(dtype, "tz", None) and "UTC").astype(dtype)
    if types.is_bool_dtype(dtype):
        return pd.Series(_read(items, name, _boolean, "true and false", missing, problems), dtype="boolean")
    if types.is_integer_dtype(dtype):
        whole = _read(items, name, lambda value: _whole(value, form), "whole numbers", missing, problems)
        return pd.Series(whole, dtype="Int64")
    if types.is_float_dtype(dtype):
        allowed = "numbers, finite ones"
        numbers = _read(items, name, lambda value: _number(value, form), allowed, missing, problems)
        return pd.Series(numbers, dtype="float64")
    return pd.Series(_read(items, name, _text, "text", missing, problems), dtype="str")
