"""Columns of a table -> rows of numbers: the TensorFlow operations under `TablePreprocessing`.

Columns of one kind go through each operation together, so that a request of ten columns costs hardly more than one of
two, and a table of thousands is traced once for each kind of column. Every kind has two ways in, which share their
operations: `graph` takes all rows of all its columns, `flat` takes any values with the number of the column of each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

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
from tlkit.preprocessing.lookup import Lookup, distinct_modulus, fingerprints, fingerprints_of

FARTHEST = 1e6  # scaled numbers end here: 1e38 in a column of small numbers must not make the answer NaN
HIGHEST_SCORE = 5.199337582605575  # normal scores end where those of scikit-learn's QuantileTransformer do
MIDDLE_DAY, SPREAD_OF_DAYS = 183.5, 105.65  # mean and standard deviation of the days of a year
_YEARS = 10_000

Tensors = Mapping[str, tf.Tensor]
Encoder = Callable[[Tensors], tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Columns of one kind, and the two functions that encode them.

    Attributes:
        columns: of the kind; their numbers are their places here.
        outputs: the column and the name of each output, in the order in which `graph` gives them.
        rows: for each column the rows of what `flat` gives, in the order of the column's codes and then its numbers.
        graph: columns by argument, [B] each -> float32 [outputs, B].
        flat: of measures: float64 [columns, B] -> float32 [outputs, B]. Of all others: values [N] and the number of
            the column of each, int32 [N] -> float32 [parts, N]; traced once.
    """

    columns: Sequence[Any]
    outputs: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[int]]
    graph: Encoder
    flat: Any

    @property
    def is_measures(self) -> bool:
        """Whether `flat` takes all rows of all columns."""
        return isinstance(self.columns[0], Continuous)


def groups_of(columns: Sequence[Column], missing: Sequence[str]) -> list[Group]:
    """Put columns of one kind together; call it outside of any graph, for it makes constants.

    Args:
        columns: the columns.
        missing: strings that stand for no value.
    """
    absent = sorted({as_bytes(text).strip() for text in ("", *missing)})
    texts = [c for c in columns if isinstance(c, Categorical) and c.dtype == "string"]
    integers = [c for c in columns if isinstance(c, Categorical) and c.dtype == "int64"]
    measures = [c for c in columns if isinstance(c, Continuous)]
    dates = [c for c in columns if isinstance(c, Date)]
    found = []
    if texts:
        found.append(_texts(texts, absent))
    if integers:
        found.append(_integers(integers))
    if measures:
        found.append(_measures(measures))
    if dates:
        found.append(_dates(dates))
    return found


def encoder(columns: Sequence[Column], groups: Sequence[Group]) -> Encoder:
    """Make the function that encodes rows.

    Args:
        columns: the columns.
        groups: what `groups_of` makes of them.

    Returns:
        A function from the columns by argument, [B] each, to float32 [B, D]: the codes of all columns, then the
        numbers of all columns.
    """
    places = {output: place for place, output in enumerate(output for group in groups for output in group.outputs)}
    wanted = [(c.name, code.name) for c in columns for code in c.codes]
    wanted += [(c.name, number) for c in columns for number in c.numbers]
    order = [places[output] for output in wanted]

    def encode(tensors: Tensors) -> tf.Tensor:
        together = tf.concat([group.graph(tensors) for group in groups], axis=0)
        return tf.transpose(together if order == sorted(order) else tf.gather(together, order))

    return encode


def as_bytes(text: str) -> bytes:
    """Give the bytes of a string, also of one that was read from bytes that are no UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, as JSON can hold it
        return text.encode("utf-8", "surrogatepass")


def _traced(function: Callable[..., tf.Tensor], *specs: tf.TensorSpec) -> Any:
    return tf.function(function, input_signature=list(specs), autograph=False)


def _values_of(dtype: str) -> tuple[tf.TensorSpec, tf.TensorSpec]:
    return tf.TensorSpec([None], dtype), tf.TensorSpec([None], tf.int32)


def _texts(columns: Sequence[Categorical], absent: Sequence[bytes]) -> Group:
    values = [list(map(as_bytes, c.values)) for c in columns]
    gone = [sorted({*absent, *(as_bytes(text).strip() for text in c.missing)}) for c in columns]
    together = [[*own, *known] for own, known in zip(gone, values, strict=True)]
    modulus = distinct_modulus(together)
    found = fingerprints_of(together, modulus)
    lookup = Lookup([_codes(keys, len(own)) for keys, own in zip(found, gone, strict=True)])

    def graph(tensors: Tensors) -> tf.Tensor:
        # Column by column up to here: to put strings together costs more than to look them up.
        stripped = [tf.strings.strip(tensors[c.argument]) for c in columns]
        codes = lookup(tf.stack([fingerprints(texts, modulus) for texts in stripped]))
        return _with_buckets(columns, stripped, codes)

    def flat(texts: tf.Tensor, of_column: tf.Tensor) -> tf.Tensor:
        stripped = tf.strings.strip(texts)
        codes = lookup.flat(fingerprints(stripped, modulus), of_column)
        return _with_own_buckets(columns, stripped, of_column, codes)

    return _of_codes(columns, graph, _traced(flat, *_values_of("string")))


def _integers(columns: Sequence[Categorical]) -> Group:
    lookup = Lookup([_codes([MISSING_INTEGER, *map(int, c.values)], 1) for c in columns])

    def graph(tensors: Tensors) -> tf.Tensor:
        values = [tensors[c.argument] for c in columns]
        return _with_buckets(columns, values, lookup(tf.stack(values)))

    def flat(values: tf.Tensor, of_column: tf.Tensor) -> tf.Tensor:
        return _with_own_buckets(columns, values, of_column, lookup.flat(values, of_column))

    return _of_codes(columns, graph, _traced(flat, *_values_of("int64")))


def _of_codes(columns: Sequence[Categorical], graph: Encoder, flat: Any) -> Group:
    return Group(columns, [(c.name, c.codes[0].name) for c in columns], [(0,)] * len(columns), graph, flat)


def _codes(values: Iterable[int], absent: int) -> dict[int, int]:
    return {int(value): max(FIRST + place - absent, MISSING) for place, value in enumerate(values)}


def _as_texts(values: tf.Tensor) -> tf.Tensor:
    return values if values.dtype == tf.string else tf.strings.as_string(values)


def _with_buckets(columns: Sequence[Categorical], values: Sequence[tf.Tensor], codes: tf.Tensor) -> tf.Tensor:
    if any(c.hash_buckets for c in columns):
        rows = tf.unstack(codes)
        for number, column in enumerate(columns):
            if column.hash_buckets:
                bucket = FIRST + tf.cast(fingerprints(_as_texts(values[number]), column.hash_buckets), tf.int32)
                rows[number] = tf.where(rows[number] == MISSING, MISSING, bucket)
        codes = tf.stack(rows)
    return tf.cast(codes, tf.float32)


def _with_own_buckets(
    columns: Sequence[Categorical], values: tf.Tensor, of_column: tf.Tensor, codes: tf.Tensor
) -> tf.Tensor:
    buckets = np.array([c.hash_buckets for c in columns], np.int32)
    for count in np.unique(buckets[buckets > 0]).tolist():
        bucket = FIRST + tf.cast(fingerprints(_as_texts(values), count), tf.int32)
        is_hashed = (tf.gather(buckets, of_column) == count) & (codes != MISSING)
        codes = tf.where(is_hashed, bucket, codes)
    return tf.cast(codes, tf.float32)[None]


def _measures(columns: Sequence[Continuous]) -> Group:
    def of_each(name: str, chosen: Sequence[Continuous]) -> np.ndarray:
        return np.array([[getattr(c, name)] for c in chosen], np.float64)

    median, center, scale = (of_each(name, columns) for name in ("median", "center", "scale"))
    flagged = np.flatnonzero([c.flag for c in columns])
    ranked = np.flatnonzero([bool(c.quantiles) for c in columns])
    linear = np.flatnonzero([not c.quantiles for c in columns])
    back = np.argsort(np.concatenate([linear, ranked]))
    scores = _scores([c.quantiles for c in columns if c.quantiles]) if len(ranked) else None

    def encoded(values: tf.Tensor) -> tf.Tensor:
        given = tf.math.is_finite(values)
        # In float64: 1.7e9 minus its center keeps what digits it has, and 1e38 divided by 1e-3 is still a number.
        exact = tf.where(given, values, median)
        numbers = tf.clip_by_value((exact - center) / scale, -FARTHEST, FARTHEST)
        if scores:
            both = [tf.gather(numbers, linear), scores(tf.gather(exact, ranked))]
            numbers = tf.gather(tf.concat(both, axis=0), back)
        numbers = tf.cast(numbers, tf.float32)
        if not len(flagged):
            return numbers
        return tf.concat([numbers, tf.cast(~tf.gather(given, flagged), tf.float32)], axis=0)

    def graph(tensors: Tensors) -> tf.Tensor:
        return encoded(tf.cast(tf.stack([tensors[c.argument] for c in columns]), tf.float64))

    outputs = [(c.name, c.numbers[0]) for c in columns] + [(c.name, c.numbers[1]) for c in columns if c.flag]
    flags = {int(number): len(columns) + place for place, number in enumerate(flagged)}
    rows = [(number, *([flags[number]] if number in flags else [])) for number in range(len(columns))]
    return Group(columns, outputs, rows, graph, _traced(encoded, tf.TensorSpec([len(columns), None], tf.float64)))


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


def _dates(columns: Sequence[Date]) -> Group:
    """Make what reads ISO strings as codes and numbers."""
    parts = sorted({part for c in columns for part in (*c.code_parts, *c.number_parts)} - {"year", "elapsed"})
    years = np.zeros([len(columns), _YEARS], np.int32)
    for number, column in enumerate(columns):
        years[number, list(column.years)] = FIRST + np.arange(len(column.years))
    year_codes = tf.constant(years.ravel())
    center, scale, first, last = (
        np.array([getattr(c, name) for c in columns], np.float64)
        for name in ("elapsed_center", "elapsed_scale", "first_day", "last_day")
    )
    names = ["year", "elapsed", *parts]
    rows = [[names.index(part) for part in (*c.code_parts, *c.number_parts)] for c in columns]
    order = [row * len(columns) + number for number, own in enumerate(rows) for row in own]
    empty = [float(MISSING) if part == "year" or part in CODE_PARTS else 0.0 for part in names]

    def flat(texts: tf.Tensor, of_column: tf.Tensor) -> tf.Tensor:
        dates = read_dates(tf.strings.strip(texts))
        days = tf.cast(dates.days, tf.float64)
        days = tf.clip_by_value(days, tf.gather(first, of_column), tf.gather(last, of_column))
        elapsed = (days - tf.gather(center, of_column)) / tf.gather(scale, of_column)
        found = [tf.gather(year_codes, of_column * _YEARS + dates.year), elapsed]
        for name in parts:
            value = dates.part(name)
            if name in CODE_PARTS:
                value += FIRST - CODE_PARTS[name][0]
            elif name == "day_of_year":
                value = (tf.cast(value, tf.float32) - MIDDLE_DAY) / SPREAD_OF_DAYS
            found.append(value)
        stacked = tf.stack([tf.cast(row, tf.float32) for row in found])
        return tf.where(dates.valid, stacked, tf.constant(empty)[:, None])

    def graph(tensors: Tensors) -> tf.Tensor:
        texts = tf.stack([tensors[c.argument] for c in columns])
        of_column = tf.broadcast_to(tf.range(len(columns))[:, None], tf.shape(texts))
        found = flat(tf.reshape(texts, [-1]), tf.reshape(of_column, [-1]))
        return tf.gather(tf.reshape(found, [len(names) * len(columns), -1]), order)

    outputs = [(c.name, name) for c in columns for name in (*(code.name for code in c.codes), *c.numbers)]
    return Group(columns, outputs, rows, graph, _traced(flat, *_values_of("string")))
