"""Columns of a table -> rows of numbers: the TensorFlow operations under `TablePreprocessing`.

Columns of one kind go through each operation together, so that a request of ten columns costs hardly more than one of
two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tlkit.preprocessing.columns import (
    CODE_PARTS,
    FIRST,
    MISSING,
    MISSING_INTEGER,
    Categorical,
    Column,
    Continuous,
    Date,
)
from tlkit.preprocessing.dates import read_dates
from tlkit.preprocessing.lookup import Lookup, distinct_modulus, fingerprints

FARTHEST = 1e6  # scaled numbers end here: 1e38 in a column of small numbers must not make the answer NaN
HIGHEST_SCORE = 5.199337582605575  # normal scores end where those of scikit-learn's QuantileTransformer do
MIDDLE_DAY, SPREAD_OF_DAYS = 183.5, 105.65  # mean and standard deviation of the days of a year
_YEARS = 10_000

Tensors = Mapping[str, tf.Tensor]
Encoder = Callable[[Tensors], tf.Tensor]


def encoder(columns: Sequence[Column], missing: Sequence[str]) -> Encoder:
    """Make the function that encodes rows; call it outside of any graph, for it makes constants.

    Args:
        columns: the columns.
        missing: strings that stand for no value.

    Returns:
        A function from the columns by argument, [B] each, to float32 [B, D]: the codes of all columns, then the
        numbers of all columns.
    """
    absent = sorted({as_bytes(text).strip() for text in ("", *missing)})
    texts = [c for c in columns if isinstance(c, Categorical) and c.dtype == "string"]
    integers = [c for c in columns if isinstance(c, Categorical) and c.dtype == "int64"]
    measures = [c for c in columns if isinstance(c, Continuous)]
    dates = [c for c in columns if isinstance(c, Date)]
    parts: list[Encoder] = []  # each gives float32 [rows, B]
    names: list[tuple[str, str]] = []  # column and output of each row

    def add(group: Sequence[Column], part: Callable[[], Encoder], outputs: Sequence[tuple[str, str]]) -> None:
        if group:
            parts.append(part())
            names.extend(outputs)

    add(texts, lambda: _texts(texts, absent), [(c.name, c.codes[0].name) for c in texts])
    add(integers, lambda: _integers(integers), [(c.name, c.codes[0].name) for c in integers])
    flagged = [(c.name, c.numbers[1]) for c in measures if c.flag]
    add(measures, lambda: _measures(measures), [(c.name, c.numbers[0]) for c in measures] + flagged)
    named = [[(c.name, code.name) for code in c.codes] + [(c.name, n) for n in c.numbers] for c in dates]
    add(dates, lambda: _dates(dates), [pair for pairs in named for pair in pairs])
    wanted = [(c.name, code.name) for c in columns for code in c.codes]
    wanted += [(c.name, number) for c in columns for number in c.numbers]
    order = [names.index(output) for output in wanted]

    def encode(tensors: Tensors) -> tf.Tensor:
        together = tf.concat([part(tensors) for part in parts], axis=0)
        return tf.transpose(together if order == sorted(order) else tf.gather(together, order))

    return encode


def as_bytes(text: str) -> bytes:
    """Give the bytes of a string, also of one that was read from bytes that are no UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, as JSON can hold it
        return text.encode("utf-8", "surrogatepass")


def _texts(columns: Sequence[Categorical], absent: Sequence[bytes]) -> Encoder:
    values = [list(map(as_bytes, c.values)) for c in columns]
    gone = [sorted({*absent, *(as_bytes(text).strip() for text in c.missing)}) for c in columns]
    modulus = distinct_modulus([[*known, *own] for known, own in zip(values, gone, strict=True)])
    lookup = Lookup(
        [
            _codes(fingerprints([*own, *known], modulus).numpy(), len(own))
            for known, own in zip(values, gone, strict=True)
        ]
    )

    def part(tensors: Tensors) -> tf.Tensor:
        # Column by column up to here: to put strings together costs more than to look them up.
        stripped = [tf.strings.strip(tensors[c.argument]) for c in columns]
        codes = lookup(tf.stack([fingerprints(texts, modulus) for texts in stripped]))
        return _with_buckets(columns, stripped, codes)

    return part


def _integers(columns: Sequence[Categorical]) -> Encoder:
    lookup = Lookup([_codes([MISSING_INTEGER, *map(int, c.values)], 1) for c in columns])

    def part(tensors: Tensors) -> tf.Tensor:
        values = [tensors[c.argument] for c in columns]
        return _with_buckets(columns, values, lookup(tf.stack(values)))

    return part


def _codes(values: Iterable[int], absent: int) -> dict[int, int]:
    return {int(value): max(FIRST + place - absent, MISSING) for place, value in enumerate(values)}


def _with_buckets(columns: Sequence[Categorical], values: Sequence[tf.Tensor], codes: tf.Tensor) -> tf.Tensor:
    if any(c.hash_buckets for c in columns):
        rows = tf.unstack(codes)
        for number, column in enumerate(columns):
            if column.hash_buckets:
                texts = values[number] if column.dtype == "string" else tf.strings.as_string(values[number])
                bucket = FIRST + tf.cast(fingerprints(texts, column.hash_buckets), tf.int32)
                rows[number] = tf.where(rows[number] == MISSING, MISSING, bucket)
        codes = tf.stack(rows)
    return tf.cast(codes, tf.float32)


def _measures(columns: Sequence[Continuous]) -> Encoder:
    def of_each(name: str, chosen: Sequence[Continuous]) -> np.ndarray:
        return np.array([[getattr(c, name)] for c in chosen], np.float64)

    median, center, scale = (of_each(name, columns) for name in ("median", "center", "scale"))
    flagged = np.flatnonzero([c.flag for c in columns])
    ranked = np.flatnonzero([bool(c.quantiles) for c in columns])
    linear = np.flatnonzero([not c.quantiles for c in columns])
    back = np.argsort(np.concatenate([linear, ranked]))
    scores = _scores([c.quantiles for c in columns if c.quantiles]) if len(ranked) else None

    def part(tensors: Tensors) -> tf.Tensor:
        values = tf.stack([tensors[c.argument] for c in columns])
        given = tf.math.is_finite(values)
        # In float64: 1.7e9 minus its center keeps what digits it has, and 1e38 divided by 1e-3 is still a number.
        exact = tf.where(given, tf.cast(values, tf.float64), median)
        numbers = tf.clip_by_value((exact - center) / scale, -FARTHEST, FARTHEST)
        if scores:
            both = [tf.gather(numbers, linear), scores(tf.gather(exact, ranked))]
            numbers = tf.gather(tf.concat(both, axis=0), back)
        numbers = tf.cast(numbers, tf.float32)
        if not len(flagged):
            return numbers
        return tf.concat([numbers, tf.cast(~tf.gather(given, flagged), tf.float32)], axis=0)

    return part


def _scores(quantiles: Sequence[tuple[float, ...]]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Make the function from values to the normal scores of their ranks, float64 [columns, B] both.

    A value that fills several quantiles (the zeros of a column that is mostly 0) has the middle of their ranks; between
    two quantiles the rank is interpolated.
    """
    knots = []
    for points in quantiles:
        values, first, count = np.unique(points, return_index=True, return_counts=True)
        steps = max(len(points) - 1, 1)
        knots.append((values, first / steps, (first + count - 1) / steps))
    longest = max(len(values) for values, _, _ in knots)

    def filled(place: int, fill: float) -> tf.Tensor:
        rows = [np.pad(knot[place], (0, longest - len(knot[place])), constant_values=fill) for knot in knots]
        return tf.constant(np.stack(rows), tf.float64)

    values, low, high = filled(0, np.inf), filled(1, 1.0), filled(2, 1.0)
    last = tf.constant([[len(knot[0]) - 1] for knot in knots], tf.int32)

    def score(exact: tf.Tensor) -> tf.Tensor:
        place = tf.raw_ops.UpperBound(sorted_inputs=values, values=exact) - 1
        left, right = tf.maximum(place, 0), tf.minimum(place + 1, last)
        at = tf.gather(values, left, batch_dims=1)
        gap = tf.gather(values, right, batch_dims=1) - at
        from_, to = tf.gather(high, left, batch_dims=1), tf.gather(low, right, batch_dims=1)
        between = from_ + (to - from_) * tf.math.divide_no_nan(exact - at, gap)
        middle = (tf.gather(low, left, batch_dims=1) + from_) / 2
        rank = tf.where(exact == at, middle, between)
        rank = tf.where(
            place < 0,
            tf.zeros_like(rank),
            tf.where(exact > tf.gather(values, last, batch_dims=1), tf.ones_like(rank), rank),
        )
        return tf.clip_by_value(tf.math.ndtri(rank), -HIGHEST_SCORE, HIGHEST_SCORE)

    return score


def _dates(columns: Sequence[Date]) -> Encoder:
    """Make the function from ISO strings to codes and numbers, column after column."""
    parts = sorted({part for c in columns for part in (*c.code_parts, *c.number_parts)} - {"year", "elapsed"})
    years = np.zeros([len(columns), _YEARS], np.int32)
    for number, column in enumerate(columns):
        years[number, list(column.years)] = FIRST + np.arange(len(column.years))
    year_codes = tf.constant(years.ravel())
    center, scale = (
        np.array([[getattr(c, f"elapsed_{name}")] for c in columns], np.float64) for name in ("center", "scale")
    )
    first, last = (np.array([[getattr(c, name)] for c in columns], np.float64) for name in ("first_day", "last_day"))
    rows = ["year", "elapsed", *parts]
    order = [
        rows.index(part) * len(columns) + number
        for number, c in enumerate(columns)
        for part in (*c.code_parts, *c.number_parts)
    ]
    empty = [float(MISSING) if part == "year" or part in CODE_PARTS else 0.0 for part in rows]

    def part(tensors: Tensors) -> tf.Tensor:
        dates = read_dates(tf.strings.strip(tf.concat([tensors[c.argument] for c in columns], axis=0)))
        shape = [len(columns), tf.size(dates.year) // len(columns)]
        of_column = tf.reshape(tf.range(len(columns))[:, None] * _YEARS + tf.reshape(dates.year, shape), [-1])
        days = tf.clip_by_value(tf.cast(tf.reshape(dates.days, shape), tf.float64), first, last)
        elapsed = (days - center) / scale
        found = [tf.gather(year_codes, of_column), tf.reshape(elapsed, [-1])]
        for name in parts:
            value = dates.part(name)
            if name in CODE_PARTS:
                value += FIRST - CODE_PARTS[name][0]
            elif name == "day_of_year":
                value = (tf.cast(value, tf.float32) - MIDDLE_DAY) / SPREAD_OF_DAYS
            found.append(value)
        stacked = tf.where(
            dates.valid, tf.stack([tf.cast(row, tf.float32) for row in found]), tf.constant(empty)[:, None]
        )
        return tf.gather(tf.reshape(stacked, [len(rows) * len(columns), -1]), order)

    return part
