"""Rows as a client writes them, checked and made a table, for prediction with an export alone."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.errors import DataError, did_you_mean
from tlkit.inputs.row.columns import Categorical, Column, Date
from tlkit.inputs.row.date_form import EPOCHS

if TYPE_CHECKING:
    import pandas as pd

_TRUE_OR_FALSE = ("false", "true")
_ALLOWED = {
    "date": "a string, a date or None",
    "boolean": "true, false, a string such as yes, or None",
    "string": "a string or None",
    "category": "a string, a number or None",
    "int64": "a whole number from -2**63 to 2**63 - 1, or None",
    "float32": "a number or None",
    "float64": "a number or None",
}


def frame_of_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> pd.DataFrame:
    """Make a table of rows given one by one.

    Example:
        >>> frame_of_rows([{"age": 39, "education": None}], preprocessing.columns).shape
        (1, 2)

    Args:
        rows: a value for each column by its name; without it, or with None or NaN, it is missing. Other keys are
            left aside.
        columns: those of the export's preprocessing.

    Returns:
        The rows with exactly these columns.

    Raises:
        DataError: a row is no mapping, has none of the columns, or holds a value of another type than the column's;
            the message names row (from 1) and column.
    """
    import pandas as pd

    names = [column.name for column in columns]
    for number, row in enumerate(rows, 1):
        check_row(row, number, names)
    found = {
        column.name: pd.Series(
            [checked_value(row.get(column.name), column, number) for number, row in enumerate(rows, 1)],
            dtype={"int64": "Int64", "float32": "float64", "float64": "float64"}.get(column.dtype, "object"),
        )
        for column in columns
    }
    return pd.DataFrame(found, columns=names)


def check_row(row: object, number: int, names: Sequence[str]) -> None:
    """Refuse what is no row, or a row that has none of the columns.

    Args:
        row: what the client gave.
        number: from 1.
        names: the columns.

    Raises:
        DataError: it is no mapping, or holds other keys only.
    """
    if not isinstance(row, Mapping):
        raise DataError(
            f"row {number} is not a mapping from column to value", received=type(row).__name__, allowed="dictionaries"
        )
    if row and not any(name in row for name in names):
        near = did_you_mean(str(next(iter(row))), names)
        raise DataError(f"row {number} has none of the columns", received=[*row], allowed=names, fix=near or None)


def checked_value(value: Any, column: Column, row: int) -> Any:
    """Return a value as the table holds it, None where it is missing.

    Args:
        value: what the client gave.
        column: whose value it is.
        row: its number, from 1.

    Raises:
        DataError: it is of another type than the column's; the message names row and column.
    """
    if isinstance(value, np.generic):
        value = value.item() if not isinstance(value, np.datetime64) else str(value)
    kind = _kind(column)
    # NaT and NA are not equal to themselves either, or cannot say.
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, bytes):
        raise _wrong(value, column, row, kind)
    if isinstance(column, Date) and column.form and isinstance(value, datetime.date):
        return _as_written(value, column.form)
    if column.dtype == "string" and kind != "boolean" and isinstance(value, datetime.date):
        return value.isoformat().removesuffix("T00:00:00")
    if kind == "boolean" and isinstance(value, bool):
        return _TRUE_OR_FALSE[value]
    if isinstance(column, Categorical) and column.boolean and value in (0, 1):
        return _TRUE_OR_FALSE[int(value)]
    if isinstance(column, Date) and column.dtype == "string" and column.form and type(value) is int:
        return str(value)  # such as 20140623
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in ("float32", "float64") and is_number:
        return _float(value)
    if kind == "int64" and is_number and math.isfinite(value) and value == int(value) and -(2**63) <= value < 2**63:
        return int(value)
    if kind == "category" and is_number:
        return str(float(value) + 0.0)
    if column.dtype == "string" and isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(f"row {row}, column {column.name!r} is not valid Unicode: {error.reason}") from None
        return value
    raise _wrong(value, column, row, kind)


def _as_written(value: datetime.date, form: str) -> str | int:
    if form not in EPOCHS:
        return value.strftime(form)
    moment = np.datetime64(datetime.datetime(*value.timetuple()[:6]), "s")
    return int(moment.astype(np.int64)) * EPOCHS[form]


def _kind(column: Column) -> str:
    if isinstance(column, Date) and column.dtype == "string":
        return "date"
    if isinstance(column, Categorical) and column.dtype == "string":
        if column.values and set(column.values) <= set(_TRUE_OR_FALSE):
            return "boolean"
        # A column of floats that are categories comes as their decimals.
        return "category" if column.hash_buckets or any(map(is_number, column.values)) else "string"
    return column.dtype


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an int beyond the largest float64
        return math.inf if value > 0 else -math.inf


def is_number(text: str) -> bool:
    """Say whether Python reads the text as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _wrong(value: object, column: Column, row: int, kind: str) -> DataError:
    return DataError(
        f"row {row}, column {column.name!r} has a value of the wrong type", received=value, allowed=_ALLOWED[kind]
    )
