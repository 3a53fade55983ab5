"""pandas columns -> what a client would send: bytes, int64 or float32 with sentinels for missing values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import tensorflow as tf
from pandas.api import types

from tlkit.errors import DataError, did_you_mean
from tlkit.inputs.row.columns import Column, Continuous, Date
from tlkit.inputs.row.date_form import EPOCHS
from tlkit.inputs.row.ops import SHOWN, allowed_values, as_bytes, unreadable
from tlkit.inputs.wire import MISSING_INTEGER

ASCII_SPACE = " \t\n\v\f\r"
_HELD_CELLS = 4_000_000  # places of values that are held before they are encoded
_MEASURES = 8  # measures of which a whole chunk of rows is encoded at once; of more, fewer rows
_FLOAT = re.compile(r"-?\d+\.\d+|-?\d+(\.\d+)?e[+-]?\d+|-?inf")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
# What pandas.api.types.infer_dtype says of objects, in the words of our messages.
_INFERRED = {
    "string": "text", "bytes": "text", "empty": "nothing", "boolean": "true/false", "integer": "whole numbers",
    "floating": "numbers", "mixed-integer-float": "numbers", "decimal": "numbers", "datetime64": "dates",
    "datetime": "dates", "date": "dates",
}  # fmt: skip


def values_of(series: pd.Series) -> str:
    """Say what kind of values a column holds.

    Args:
        series: the column, of any dtype.

    Returns:
        `"text"`, `"whole numbers"`, `"numbers"`, `"true/false"`, `"dates"`, `"nothing"` (all missing), or else pandas'
        own word, such as `"mixed-integer"`.
    """
    series = _plain(series)
    if isinstance(series.dtype, pd.CategoricalDtype):
        used = series.cat.codes.max() >= 0 if len(series) else False
        return values_of(pd.Series(series.cat.categories)) if used else "nothing"
    if types.is_bool_dtype(series.dtype):
        return "true/false"
    if types.is_integer_dtype(series.dtype):
        return "whole numbers"
    if types.is_float_dtype(series.dtype):
        return "nothing" if series.isna().all() else "numbers"
    if types.is_datetime64_any_dtype(series.dtype):
        return "dates"
    found = types.infer_dtype(series, skipna=True)
    return "nothing" if series.isna().all() else _INFERRED.get(found, found)


def check_frame(columns: Sequence[Column], frame: pd.DataFrame) -> None:
    """Refuse a frame that lacks one of the columns, has it twice, or holds values of another kind in it."""
    there = [str(name) for name in frame.columns]
    for column in columns:
        name = column.name
        if name not in frame.columns:
            raise DataError(
                f"column {name!r} is missing", allowed=f"available columns: {', '.join(there)}",
                fix=did_you_mean(name, there) or None,
            )  # fmt: skip
        if there.count(name) > 1:
            raise DataError(f"column {name!r} occurs {there.count(name)} times", fix="rename the columns")
        allowed, found = _accepted(column), values_of(frame[name])
        if found not in (*allowed, "nothing"):
            raise DataError(
                f"column {name!r} has another value type than in training",
                received=f"{found} ({frame[name].dtype})", allowed=" or ".join(allowed),
            )  # fmt: skip


def _accepted(column: Column) -> tuple[str, ...]:
    if isinstance(column, Continuous):
        return ("numbers", "whole numbers", "true/false")
    if isinstance(column, Date):
        # Digits alone, as 20140623 and 1403481600: files hold them as numbers.
        digits = ("whole numbers",) if column.form else ()
        return ("dates", *digits, "numbers") if column.dtype == "int64" else ("dates", "text", *digits)
    if column.boolean:
        return ("true/false", "text", "whole numbers", "numbers")
    if column.dtype == "int64":
        return ("whole numbers", "numbers")
    if column.hash_buckets or not column.values:
        return ("text", "numbers", "true/false", "dates")
    if set(column.values) <= {"false", "true"}:
        return ("true/false", "text")
    if all(map(_FLOAT.fullmatch, column.values)):
        return ("numbers", "whole numbers", "text")
    return ("text", "dates") if all(map(_DATE.match, column.values)) else ("text",)


def argument_of(column: Column, series: pd.Series) -> np.ndarray:
    """Give one column as a client would send it.

    Args:
        column: what it was fitted to be.
        series: [n] values, checked.

    Returns:
        [n] bytes (as objects), int64, float32 or float64.
    """
    if isinstance(column, Continuous):
        return floats_of(column, series)
    inverse, values = distinct(column, series)
    return values[inverse]


def distinct(column: Column, series: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Give the different values of a categorical or date column as a client would send them, and where each stands.

    Args:
        column: what it was fitted to be.
        series: [n] values, checked.

    Returns:
        inverse, int [n], and values [u + 1], of which the last is the sentinel: `values[inverse]` are the rows.
    """
    series = _plain(series)
    if isinstance(series.dtype, pd.CategoricalDtype):
        inverse, found = series.cat.codes.to_numpy(), pd.Series(series.cat.categories)
    else:
        inverse, uniques = pd.factorize(series)
        found = pd.Series(uniques)
    if column.dtype == "int64":
        if isinstance(column, Date) and values_of(found) == "dates":
            found = pd.Series(_moments(found).astype(np.int64) * EPOCHS[column.form])
        return inverse, np.append(_int64(column.name, found), np.int64(MISSING_INTEGER))
    texts = np.empty(len(found) + 1, object)
    texts[:-1] = [as_bytes(text) if isinstance(text, str) else text for text in _texts(column, found)]
    texts[-1] = b""
    return inverse.astype(np.intp, copy=False), texts


def _texts(column: Column, found: pd.Series) -> Sequence[str | bytes]:
    kind = values_of(found)
    if kind == "nothing":
        return [""] * len(found)
    if kind == "dates":
        return iso(found) if not getattr(column, "form", "") else _formatted(found, column.form)  # type: ignore[union-attr]
    if kind == "whole numbers" and isinstance(column, Date):
        return [str(int(value)) for value in found.array]
    if kind == "true/false":
        return ["true" if value else "false" for value in found]
    if kind in ("numbers", "whole numbers"):
        # Shortest form that gives the same float back, as pandas writes it; 0.0 and -0.0 are one.
        numbers = as_numbers(found)
        return [str(value + 0.0) if np.isfinite(value) else "" for value in numbers]
    return list(found)


def iso(moments: pd.Series) -> list[str]:
    """Write dates or moments as ISO 8601, in local time: days alone where no value has a time of day."""
    if isinstance(moments.dtype, pd.ArrowDtype) or not types.is_datetime64_any_dtype(moments.dtype):
        return [str(value.isoformat()) for value in moments.astype(object)]
    if getattr(moments.dt, "tz", None) is not None:
        moments = moments.dt.tz_localize(None)
    values = moments.to_numpy().astype("M8[s]")
    days = values.astype("M8[D]")
    return np.datetime_as_string(days if (days == values).all() else values).tolist()


def _moments(dates: pd.Series) -> np.ndarray:
    """Give dates of any dtype as datetime64[s], in local time."""
    return np.array(iso(dates), "M8[s]")


def _formatted(dates: pd.Series, form: str) -> list[str]:
    return [moment.strftime(form) for moment in _moments(dates).astype(object)]


def _int64(name: str, found: pd.Series) -> np.ndarray:
    if values_of(found) == "whole numbers":
        try:
            return np.array([int(value) for value in found.array], np.int64)
        except OverflowError:
            raise DataError(f"column {name!r} holds a number beyond int64", received=max(found, key=abs)) from None
    numbers = as_numbers(found)
    finite = np.isfinite(numbers)
    bad = numbers[finite & ((numbers != np.rint(numbers)) | (np.abs(numbers) > 2.0**53))]
    if len(bad):
        raise DataError(f"column {name!r} has another value type than in training",
                        received=float(bad[0]), allowed="whole numbers")  # fmt: skip
    return np.where(finite, np.where(finite, numbers, 0).astype(np.int64), MISSING_INTEGER)


def _plain(series: pd.Series) -> pd.Series:
    """Write out Arrow's dictionaries, as Parquet files hold them; pandas cannot make categories of those with gaps."""
    if isinstance(series.dtype, pd.ArrowDtype) and pa.types.is_dictionary(series.dtype.pyarrow_dtype):
        return series.astype(pd.ArrowDtype(series.dtype.pyarrow_dtype.value_type))
    return series


def floats_of(column: Continuous, series: pd.Series) -> np.ndarray:
    """Give a column of measures in the dtype in which it travels, NaN where a value is missing."""
    return float32_of(series) if column.dtype == "float32" else as_numbers(series).astype(np.float64)


def float32_of(series: pd.Series) -> np.ndarray:
    """Give a column of numbers as float32 [n], NaN where a value is missing."""
    numbers = as_numbers(series)
    with np.errstate(over="ignore"):  # beyond float32 a value arrives as infinity, and so counts as missing
        return numbers.astype(np.float32)


def as_numbers(series: pd.Series) -> np.ndarray:
    """Give a column of numbers, of whatever dtype pandas holds them in, as NumPy's bool, int or float [n]."""
    series = _plain(series)
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "fiub":
        return series.to_numpy()
    if series.dtype == object:
        series = pd.to_numeric(series)
    return series.to_numpy(np.float64, na_value=np.nan)


def encode_group(
    group: Any, frame: pd.DataFrame, encoded: np.ndarray, places: Sequence[Sequence[int]], chunk: int
) -> None:
    """Encode the columns of one kind into their places.

    Args:
        group: a `tlkit.inputs.row.ops.Group`.
        frame: [n] rows, checked.
        encoded: float32 [n, D], written to.
        places: for each column the columns of `encoded` that it becomes.
        chunk: how many values go through the graph at once.
    """
    if group.is_measures:
        _encode_measures(group, frame, encoded, places, chunk)
        return
    held: list[tuple[int, np.ndarray, np.ndarray]] = []  # columns whose values wait to be encoded together
    values = cells = 0
    for number, column in enumerate(group.columns):
        inverse, own = distinct(column, frame[column.name])
        held.append((number, inverse, own))
        values, cells = values + len(own), cells + len(inverse)
        if values >= chunk or cells >= _HELD_CELLS:
            _encode_values(group, held, encoded, places, chunk)
            held, values, cells = [], 0, 0
    if held:
        _encode_values(group, held, encoded, places, chunk)


def _encode_measures(
    group: Any, frame: pd.DataFrame, encoded: np.ndarray, places: Sequence[Sequence[int]], chunk: int
) -> None:
    """Encode some rows of all measures at once: as many as keep the memory of some columns of `chunk` rows."""
    rows = max(1, chunk * _MEASURES // max(len(group.columns), _MEASURES))
    outputs = [place for own in places for place in own]
    order = [row for own in group.rows for row in own]
    series = [frame[column.name] for column in group.columns]
    for begin in range(0, len(frame), rows):
        part = np.stack(
            [
                floats_of(column, own.iloc[begin : begin + rows]).astype(np.float64)
                for column, own in zip(group.columns, series, strict=True)
            ]
        )
        encoded[begin : begin + rows, outputs] = group.flat(part).numpy()[order].T


def _encode_values(
    group: Any,
    held: Sequence[tuple[int, np.ndarray, np.ndarray]],
    encoded: np.ndarray,
    places: Sequence[Sequence[int]],
    chunk: int,
) -> None:
    """Encode the different values of some columns together, and put them where they stand."""
    for (number, inverse, own), (part, bad) in zip(held, _read_values(group, held, chunk), strict=True):
        if bad.any():
            column, rows = group.columns[number], np.flatnonzero(bad[inverse])
            raise DataError(unreadable(column, rows[0] + 1, _shown(own[inverse[rows[0]]])) + _more(len(rows)))
        of_value = part[list(group.rows[number])].T
        for begin in range(0, len(inverse), chunk):
            encoded[begin : begin + chunk, places[number]] = of_value[inverse[begin : begin + chunk]]


def _read_values(
    group: Any, held: Sequence[tuple[int, np.ndarray, np.ndarray]], chunk: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Send the different values of some columns through the graph: for each float32 [parts, u + 1], bool [u + 1]."""
    sizes = [len(own) for _, _, own in held]
    values = np.concatenate([own for _, _, own in held])
    of_column = np.repeat(np.array([number for number, _, _ in held], np.int32), sizes)
    dtype = group.columns[0].dtype
    pieces = []
    for begin in range(0, len(values), chunk):
        rows, bad = group.flat(tf.constant(values[begin : begin + chunk], dtype), of_column[begin : begin + chunk])
        pieces.append((rows.numpy(), bad.numpy()))
    ends = np.cumsum(sizes)[:-1]
    parts = np.split(np.concatenate([rows for rows, _ in pieces], axis=1), ends, axis=1)
    return list(zip(parts, np.split(np.concatenate([bad for _, bad in pieces]), ends), strict=True))


class Unread(NamedTuple):
    """A value that cannot be read, the name of its column, and what can be read in its place."""

    column: str
    value: str
    allowed: str


def unread_of_group(group: Any, frame: pd.DataFrame, chunk: int) -> Iterator[tuple[int, Unread]]:
    """Give the positions of rows with values that the columns of a group cannot read, column by column."""
    for number, column in enumerate(group.columns):
        inverse, own = distinct(column, frame[column.name])
        ((_, bad),) = _read_values(group, [(number, inverse, own)], chunk)
        for row in np.flatnonzero(bad[inverse]).tolist():
            yield row, Unread(column.name, _shown(own[inverse[row]]), allowed_values(column))


def _shown(value: bytes | np.integer) -> str:
    return value[:SHOWN].decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _more(count: int) -> str:
    return f" ({count} such rows)" if count > 1 else ""


def example(values: Mapping[str, Any]) -> tf.train.Example:
    """Give one row as a tf.Example: bytes, whole numbers and floats by argument; missing ones are left out.

    A tf.Example's floats are float32: a float64 is written in decimals.
    """
    features = {}
    for name, value in values.items():
        if isinstance(value, bytes):
            if value:
                features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        elif isinstance(value, np.integer):
            if value != MISSING_INTEGER:
                features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        elif isinstance(value, np.float64):
            if not np.isnan(value):
                text = repr(float(value)).encode()
                features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
        elif not np.isnan(value):
            features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    return tf.train.Example(features=tf.train.Features(feature=features))
