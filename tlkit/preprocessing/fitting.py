"""Fit the preprocessing of a table to its training rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd
import tensorflow as tf

from tlkit.errors import ConfigError, DataError, check_choice, did_you_mean
from tlkit.preprocessing import frames
from tlkit.preprocessing.columns import (
    MISSING_INTEGER,
    MOST_CODES,
    Categorical,
    Column,
    ColumnKind,
    Continuous,
    Date,
    DatePart,
    Dtype,
    argument_names,
)
from tlkit.preprocessing.dates import read_dates
from tlkit.preprocessing.number_forms import USUAL_MISSING
from tlkit.preprocessing.table import TablePreprocessing

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
        column_missing: column -> further strings that stand for no value in a categorical column of text.

    Returns:
        The preprocessing.

    Raises:
        ConfigError: an option is not usable, or names a column that is not of its kind.
        DataError: a column is not there or there twice, holds values that do not go with its kind, or none at all.
    """
    hash_buckets, date_parts = hash_buckets or {}, date_parts or {}
    check_choice("scaling", scaling, get_args(Scaling))
    if isinstance(min_count, bool) or not isinstance(min_count, int) or min_count < 1:
        raise ConfigError("min_count is not usable", received=min_count, allowed="a whole number from 1")
    for name, kind in kinds.items():
        check_choice(f"kind of column {name!r}", kind, get_args(ColumnKind))
    _check_names("hash_buckets", hash_buckets, kinds, "categorical")
    _check_names("cyclic", cyclic, kinds, "date")
    _check_names("date_parts", date_parts, kinds, "date")
    used = {name: kind for name, kind in kinds.items() if kind not in ("id", "ignore")}
    _check_there(used, frame)
    absent = {text.strip(frames.ASCII_SPACE) for text in ("", *missing)}
    arguments = argument_names(used)
    columns: list[Column] = []
    for name, kind in used.items():
        series, argument = frame[name], arguments[name]
        if kind == "continuous":
            columns.append(_continuous(name, argument, series, scaling))
        elif kind == "date":
            columns.append(_date(name, argument, series, date_parts.get(name), name in cyclic, absent))
        else:
            own = tuple((column_missing or {}).get(name, ()))
            if name in hash_buckets:
                made = _hashed(name, argument, series, hash_buckets[name])
            else:
                gone = absent | {text.strip(frames.ASCII_SPACE) for text in own}
                made = _categorical(name, argument, series, kind, min_count, gone)
            if made.values and set(made.values) <= {"false", "true"}:
                own = (*own, *USUAL_MISSING[1:])
            columns.append(dataclasses.replace(made, missing=own) if made.dtype == "string" else made)
    return TablePreprocessing(tuple(columns), tuple(missing), {})


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
            raise DataError(f"column {name!r} is there {there.count(name)} times", fix="give each its own name")
        if name not in there:
            near = did_you_mean(name, there) or None
            raise DataError(f"column {name!r} is missing", allowed=f"columns there are: {', '.join(there)}", fix=near)


def _categorical(
    name: str, argument: str, series: pd.Series, kind: ColumnKind, min_count: int, absent: set[str]
) -> Categorical:
    found = frames.values_of(series)
    allowed = ("text", "whole numbers", "numbers", "true/false", "dates", "nothing")
    if found not in allowed:
        raise _wrong_kind(name, kind, found, allowed[:-1])
    if kind == "boolean" and found == "true/false":
        return Categorical(name, argument, "string", ("false", "true"))
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
    if kind == "boolean" and len(rows) > 2:
        raise DataError(f"column {name!r} is no boolean", received=sorted(rows)[:5], allowed="two different values")
    kept = [text for text, count in rows.items() if count >= min_count or kind == "boolean"]
    kept.sort(key=int if probe.dtype == "int64" else frames.as_bytes)
    if len(kept) > MOST_CODES - 2:
        raise DataError(f"column {name!r} has {len(kept)} different values", fix="hash it or set its kind to 'id'")
    return Categorical(name, argument, probe.dtype, tuple(kept))


def _hashed(name: str, argument: str, series: pd.Series, buckets: int) -> Categorical:
    if isinstance(buckets, bool) or not isinstance(buckets, int) or buckets < 1:
        raise ConfigError(f"hash_buckets of column {name!r} is not usable", received=buckets, allowed="a number from 1")
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
    # Fitted to what a client can send: float32.
    values = frames.float32_of(series).astype(np.float64)
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
    return Continuous(name, argument, "float32", median, center, scale, quantiles, flag=len(given) < len(values))


def _date(
    name: str, argument: str, series: pd.Series, parts: Sequence[DatePart] | None, cyclic: bool, absent: set[str]
) -> Date:
    found = frames.values_of(series)
    if found not in ("dates", "text", "nothing"):
        raise _wrong_kind(name, "date", found, ("dates", "text"))
    inverse, sent = frames.distinct(Date(name, argument), series)
    dates = read_dates(tf.strings.strip(tf.constant(sent, tf.string)))
    of_row = np.where(dates.valid.numpy(), np.arange(len(sent)), -1)[inverse]
    of_row = of_row[of_row >= 0]
    if not len(of_row):
        wrong = [_as_text(text) for text in sent[:3] if _as_text(text) not in absent]
        raise DataError(
            f"column {name!r} has no date in the training rows", received=wrong or None, allowed="dates as 2015-06-19 "
            "or 2015-06-19T13:05:00", fix="set its kind to 'ignore', or give dates as ISO 8601",
        )  # fmt: skip
    days = dates.days.numpy()[of_row].astype(np.float64)
    if parts is None:
        timed = len(np.unique(dates.hour.numpy()[of_row])) > 1
        parts = tuple(part for part in get_args(DatePart) if part != "hour" or timed)
    years = tuple(np.unique(dates.year.numpy()[of_row]).tolist())
    center, scale = float(np.mean(days)), float(np.std(days)) or 1.0
    kept = int(days.min()), int(days.max())
    return Date(name, argument, "string", tuple(parts), cyclic, center, scale, *kept, years)


def _wrong_kind(name: str, kind: str, found: str, allowed: Sequence[str]) -> DataError:
    return DataError(f"column {name!r} cannot be {kind}", received=found, allowed=" or ".join(allowed))
