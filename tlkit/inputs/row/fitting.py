"""Fit the preprocessing of a table to its training rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import tensorflow as tf

from tlkit.errors import ConfigError, DataError, check_choice, did_you_mean
from tlkit.float_digits import needs_float64
from tlkit.inputs.row import frames
from tlkit.inputs.row.columns import (
    BOOLEANS,
    FALSE_SPELLINGS,
    MOST_CODES,
    TRUE_SPELLINGS,
    Categorical,
    Column,
    ColumnKind,
    Continuous,
    Date,
    DatePart,
    Dtype,
    Unreadable,
)
from tlkit.inputs.row.date_form import EPOCHS, shown_form
from tlkit.inputs.row.dates import read_dates
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.wire import MISSING_INTEGER, argument_names

Scaling = Literal["standard", "quantile", "robust"]
MOST_QUANTILES = 1000


def fit_table(
    frame: pd.DataFrame,
    kinds: Mapping[str, ColumnKind],
    *,
    scaling: Scaling = "standard",
    min_count: int = 1,
    hash_buckets: Mapping[str, int] | None = None,
    cyclic: Sequence[str] = (),
    date_parts: Mapping[str, Sequence[DatePart]] | None = None,
    missing: Sequence[str] = (),
    column_missing: Mapping[str, Sequence[str]] | None = None,
    date_formats: Mapping[str, str] | None = None,
    unreadable: Unreadable = "missing",
) -> TablePreprocessing:
    """Fit the preprocessing of a table to its training rows, and to these alone.

    Example:
        >>> frame = pd.DataFrame({"carrier": ["UA", "AA", None], "delay": [1.0, 2.0, 6.0], "id": [1, 2, 3]})
        >>> fitted = fit_table(frame, {"carrier": "categorical", "delay": "continuous", "id": "id"})
        >>> fitted.columns[0].values, fitted.columns[1].center
        (('AA', 'UA'), 3.0)

    Args:
        frame: the training rows.
        kinds: kind of each column, in the order of the outputs; `"id"` and `"ignore"` columns are left out, and so are
            columns that are not named.
        scaling: of continuous columns: `"standard"` takes mean and standard deviation; `"robust"` median and
            interquartile range (the standard deviation where the middle half of the rows has one value);
            `"quantile"` up to 1,000 quantiles, whose ranks become normal scores. A constant column has scale 1.
        min_count: values in fewer rows are rare: they share code 0 with what was never seen.
        hash_buckets: number of buckets of the categorical columns to be hashed, by column.
        cyclic: date columns with sines and cosines besides.
        date_parts: what is read from a date column, by column; without it everything, the hour only where it varies.
        missing: strings that stand for no value; the empty string does in any case.
        column_missing: column -> further strings that stand for no value in a column of text or of dates.
        date_formats: how the dates of a column are written, where not as ISO 8601; see `Date.form`.
        unreadable: what a boolean or date is that cannot be read: `"error"` or `"missing"`.

    Returns:
        The preprocessing.

    Raises:
        ConfigError: an option is not usable, or names a column that is not of its kind.
        DataError: a column is not there or there twice, holds values that do not go with its kind, or none at all.
    """
    hash_buckets, date_parts, date_formats = hash_buckets or {}, date_parts or {}, date_formats or {}
    check_choice("scaling", scaling, get_args(Scaling))
    if isinstance(min_count, bool) or not isinstance(min_count, int) or min_count < 1:
        raise ConfigError("min_count is invalid", received=min_count, allowed="a whole number, 1 or more")
    for name, kind in kinds.items():
        check_choice(f"kind of column {name!r}", kind, get_args(ColumnKind))
    _check_names("hash_buckets", hash_buckets, kinds, "categorical")
    _check_names("cyclic", cyclic, kinds, "date")
    _check_names("date_parts", date_parts, kinds, "date")
    _check_names("date_formats", date_formats, kinds, "date")
    used = {name: kind for name, kind in kinds.items() if kind not in ("id", "ignore")}
    _check_there(used, frame)
    absent = {text.strip(frames.ASCII_SPACE) for text in ("", *missing)}
    arguments = argument_names(used)
    columns: list[Column] = []
    for name, kind in used.items():
        series, argument = frame[name], arguments[name]
        if kind == "continuous":
            columns.append(_continuous(name, argument, series, scaling))
            continue
        own = tuple((column_missing or {}).get(name, ()))
        gone = absent | {text.strip(frames.ASCII_SPACE) for text in own}
        if kind == "date":
            form = date_formats.get(name, "")
            shape = Date(name, argument, _dtype_of_form(form), form=form, missing=own if form not in EPOCHS else ())
            columns.append(_date(shape, series, date_parts.get(name), name in cyclic, gone))
            continue
        if name in hash_buckets:
            made = _hashed(name, argument, series, hash_buckets[name])
        else:
            made = _categorical(name, argument, series, kind, min_count, gone)
        columns.append(dataclasses.replace(made, missing=own) if made.dtype == "string" else made)
    return TablePreprocessing(tuple(columns), tuple(missing), {}, unreadable)


def _dtype_of_form(form: str) -> Dtype:
    return "int64" if form in EPOCHS else "string"


def _check_names(option: str, names: Mapping[str, object] | Sequence[str], kinds: Mapping[str, str], kind: str) -> None:
    allowed = [name for name, of_column in kinds.items() if of_column == kind]
    for name in names:
        if name not in allowed:
            raise ConfigError(
                f"{option} names a column that is not {kind}", received=name, allowed=allowed or f"no column is {kind}"
            )


def _check_there(used: Mapping[str, str], frame: pd.DataFrame) -> None:
    there = [str(name) for name in frame.columns]
    for name in used:
        if there.count(name) > 1:
            raise DataError(f"column {name!r} occurs {there.count(name)} times", fix="rename the columns")
        if name not in there:
            near = did_you_mean(name, there) or None
            raise DataError(f"column {name!r} is missing", allowed=f"available columns: {', '.join(there)}", fix=near)


def _categorical(
    name: str, argument: str, series: pd.Series, kind: ColumnKind, min_count: int, absent: set[str]
) -> Categorical:
    found = frames.values_of(series)
    allowed = ("text", "whole numbers", "numbers", "true/false", "dates", "nothing")
    if found not in allowed:
        raise _wrong_kind(name, kind, found, allowed[:-1])
    if kind == "boolean" and found == "true/false":
        return Categorical(name, argument, "string", BOOLEANS, boolean=True)
    probe = Categorical(name, argument, _dtype(series, found))
    inverse, sent = frames.distinct(probe, series)
    counts = np.bincount(inverse[inverse >= 0], minlength=len(sent))[: len(sent)]
    rows: dict[str, int] = {}
    for value, count in zip(sent[:-1].tolist(), counts.tolist(), strict=False):
        text = _as_text(value)
        if text not in absent and value != MISSING_INTEGER and count:
            rows[text] = rows.get(text, 0) + count
    if not rows:
        raise DataError(f"column {name!r} has no value in the training rows", fix="set its kind to 'ignore'")
    if kind == "boolean" and _are_booleans(rows):
        return Categorical(name, argument, "string", BOOLEANS, boolean=True)
    if kind == "boolean" and len(rows) > 2:
        raise DataError(f"column {name!r} is not a boolean", received=sorted(rows)[:5], allowed="two different values")
    kept = [text for text, count in rows.items() if count >= min_count or kind == "boolean"]
    kept.sort(key=int if probe.dtype == "int64" else frames.as_bytes)
    if len(kept) > MOST_CODES - 2:
        raise DataError(f"column {name!r} has {len(kept)} different values", fix="hash it or set its kind to 'id'")
    return Categorical(name, argument, probe.dtype, tuple(kept))


def _are_booleans(rows: Mapping[str, int]) -> bool:
    """Whether most rows are spellings of true and false; the others are then mistakes."""
    spellings = {*FALSE_SPELLINGS, *TRUE_SPELLINGS}
    return sum(count for text, count in rows.items() if text.lower() in spellings) > sum(rows.values()) / 2


def _hashed(name: str, argument: str, series: pd.Series, buckets: int) -> Categorical:
    if isinstance(buckets, bool) or not isinstance(buckets, int) or buckets < 1:
        raise ConfigError(f"hash_buckets of column {name!r} is invalid", received=buckets, allowed="a number from 1")
    found = frames.values_of(series)
    dtype = _dtype(series, found)
    if found == "numbers" and dtype == "string":
        # 0.5, 0.50 and 5e-1 are one number, and would be hashed as three texts.
        raise ConfigError(
            f"hash_buckets names column {name!r}, which holds numbers with a fraction",
            allowed="text or whole numbers",
            fix="make it continuous",
        )
    return Categorical(name, argument, dtype, hash_buckets=buckets)


def _dtype(series: pd.Series, found: str) -> Dtype:
    if found == "whole numbers":
        return "int64"
    if found != "numbers":
        return "string"
    # pandas makes floats of whole numbers as soon as one is missing.
    numbers = frames.as_numbers(series)
    numbers = numbers[np.isfinite(numbers)]
    whole = bool((numbers == np.rint(numbers)).all() and (np.abs(numbers) <= 2.0**53).all())
    return "int64" if whole else "string"


def _as_text(value: bytes | int) -> str:
    if isinstance(value, int):
        return str(value)
    return value.strip().decode("utf-8", "surrogateescape")


def _continuous(name: str, argument: str, series: pd.Series, scaling: Scaling) -> Continuous:
    found, allowed = frames.values_of(series), ("numbers", "whole numbers", "true/false")
    if found not in (*allowed, "nothing"):
        raise _wrong_kind(name, "continuous", found, allowed)
    exact = frames.as_numbers(series).astype(np.float64)
    dtype: Dtype = "float64" if needs_float64(exact) else "float32"
    # Fitted to what a client can send: float32, where that does.
    values = exact if dtype == "float64" else frames.float32_of(series).astype(np.float64)
    given = values[np.isfinite(values)]
    if not len(given):
        raise DataError(f"column {name!r} has no value in the training rows", fix="set its kind to 'ignore'")
    median, center, scale = float(np.median(given)), float(np.mean(given)), float(np.std(given))
    quantiles: tuple[float, ...] = ()
    if scaling == "robust":
        low, high = np.quantile(given, [0.25, 0.75])
        center, scale = median, float(high - low) or scale
    elif scaling == "quantile":
        ranks = np.linspace(0, 1, min(MOST_QUANTILES, len(given)))
        # Interpolation may fall back by a rounding error.
        quantiles = tuple(np.maximum.accumulate(np.quantile(given, ranks)).tolist())
    if given.min() == given.max():
        center, scale = float(given[0]), 1.0
    scale = max(scale, float(np.finfo(np.float32).tiny))
    return Continuous(name, argument, dtype, median, center, scale, quantiles, flag=len(given) < len(values))


def _date(shape: Date, series: pd.Series, parts: Sequence[DatePart] | None, cyclic: bool, absent: set[str]) -> Date:
    name, found = shape.name, frames.values_of(series)
    allowed = ("dates", "whole numbers") if shape.dtype == "int64" else ("dates", "text")
    if found not in (*allowed, "nothing") and not (shape.form and found == "whole numbers"):
        raise _wrong_kind(name, "date", found, allowed)
    inverse, sent = frames.distinct(shape, series)
    values = tf.constant(sent, shape.dtype)
    dates = _dates_of(tf.strings.strip(values) if shape.dtype == "string" else values, shape.form)
    of_row = np.where(dates.valid.numpy(), np.arange(len(sent)), -1)[inverse]
    of_row = of_row[of_row >= 0]
    if not len(of_row):
        wrong = [_as_text(value) for value in sent[:3].tolist() if _as_text(value) not in absent]
        fix = "set its kind to 'ignore', or give dates as ISO 8601" if not shape.form else "correct its date format"
        raise DataError(
            f"column {name!r} has no date in the training rows",
            received=wrong or None,
            allowed=shown_form(shape.form),
            fix=fix,
        )
    days = dates.elapsed.numpy()[of_row]
    if parts is None:
        timed = len(np.unique(dates.hour.numpy()[of_row])) > 1
        parts = tuple(part for part in get_args(DatePart) if part != "hour" or timed)
    years = tuple(np.unique(dates.year.numpy()[of_row]).tolist())
    center, scale = float(np.mean(days)), float(np.std(days)) or 1.0
    first, last = (float(day) if shape.form else int(day) for day in (days.min(), days.max()))
    return dataclasses.replace(
        shape,
        parts=tuple(parts),
        cyclic=cyclic,
        elapsed_center=center,
        elapsed_scale=scale,
        first_day=first,
        last_day=last,
        years=years,
    )


@lru_cache(maxsize=64)
def _reader(form: str) -> Any:
    """Make a traced function, which reads the dates of many columns in a fraction of the time."""
    spec = tf.TensorSpec([None], _dtype_of_form(form))

    def read(values: tf.Tensor) -> tuple[tf.Tensor, ...]:
        dates = read_dates(values, form)
        return dates.year, dates.hour, dates.elapsed, dates.valid

    return tf.function(read, input_signature=[spec], autograph=False)


class _Read(NamedTuple):
    year: tf.Tensor
    hour: tf.Tensor
    elapsed: tf.Tensor
    valid: tf.Tensor


def _dates_of(values: tf.Tensor, form: str) -> _Read:
    return _Read(*_reader(form)(values))


def _wrong_kind(name: str, kind: str, found: str, allowed: Sequence[str]) -> DataError:
    return DataError(f"column {name!r} cannot be {kind}", received=found, allowed=" or ".join(allowed))
