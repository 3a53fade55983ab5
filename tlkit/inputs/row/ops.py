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

from tlkit.inputs.row.columns import (
    CODE_PARTS,
    FALSE_SPELLINGS,
    FIRST,
    MISSING,
    TRUE_SPELLINGS,
    UNKNOWN,
    Categorical,
    Column,
    Continuous,
    Date,
)
from tlkit.inputs.row.date_form import shown_form
from tlkit.inputs.row.dates import read_dates
from tlkit.inputs.row.lookup import Lookup, distinct_modulus, fingerprints, fingerprints_of
from tlkit.inputs.row.number_forms import USUAL_MISSING
from tlkit.inputs.wire import MISSING_INTEGER

FARTHEST = 1e6  # scaled numbers end here: 1e38 in a column of small numbers must not make the answer NaN
HIGHEST_SCORE = 5.199337582605575  # normal scores end where those of scikit-learn's QuantileTransformer do
MIDDLE_DAY, SPREAD_OF_DAYS = 183.5, 105.65  # mean and standard deviation of the days of a year
SPELLINGS = (FALSE_SPELLINGS, TRUE_SPELLINGS)
SHOWN_BOOLEANS = ", ".join(f"{no}/{yes}" for no, yes in zip(*SPELLINGS, strict=True))
SHOWN = 60  # bytes of a value in a message
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
        graph: columns by argument, [B] each -> float32 [outputs, B], and bool [columns, B] where a value cannot be
            read, or None where every value can.
        flat: of measures: float64 [columns, B] -> float32 [outputs, B]. Of all others: values [N] and the number of
            the column of each, int32 [N] -> float32 [parts, N], and bool [N] where a value cannot be read; traced once.
        checked: whether there are values that it cannot read.
    """

    columns: Sequence[Any]
    outputs: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[int]]
    graph: Callable[[Tensors], tuple[tf.Tensor, tf.Tensor | None]]
    flat: Any
    checked: bool = False

    @property
    def is_measures(self) -> bool:
        """Whether `flat` takes all rows of all columns."""
        return isinstance(self.columns[0], Continuous)


def groups_of(columns: Sequence[Column], missing: Sequence[str], refuse: bool = False) -> list[Group]:
    """Put columns of one kind together; call it outside of any graph, for it makes constants.

    Args:
        columns: the columns.
        missing: strings that stand for no value; in booleans and dates in any case.
        refuse: say which booleans and dates cannot be read, instead of taking them for missing.
    """
    absent = sorted({as_bytes(text).strip() for text in ("", *missing)})
    texts = [c for c in columns if isinstance(c, Categorical) and c.dtype == "string" and not c.boolean]
    booleans = [c for c in columns if isinstance(c, Categorical) and c.boolean]
    integers = [c for c in columns if isinstance(c, Categorical) and c.dtype == "int64"]
    measures = [c for c in columns if isinstance(c, Continuous)]
    dates = [c for c in columns if isinstance(c, Date)]
    found = []
    if texts:
        found.append(_texts(texts, absent))
    if booleans:
        found.append(_booleans(booleans, absent, refuse))
    if integers:
        found.append(_integers(integers))
    if measures:
        found.append(_measures(measures))
    for form in dict.fromkeys(c.form for c in dates):
        found.append(_dates([c for c in dates if c.form == form], absent, refuse))
    return found


def encoder(columns: Sequence[Column], groups: Sequence[Group]) -> Encoder:
    """Make the function that encodes rows.

    Args:
        columns: the columns.
        groups: what `groups_of` makes of them.

    Returns:
        A function from the columns by argument, [B] each, to float32 [B, D]: the codes of all columns, then the
        numbers of all columns. It fails where a value cannot be read, with its column, row and value.
    """
    places = {output: place for place, output in enumerate(output for group in groups for output in group.outputs)}
    wanted = [(c.name, code.name) for c in columns for code in c.codes]
    wanted += [(c.name, number) for c in columns for number in c.numbers]
    order = [places[output] for output in wanted]

    def encode(tensors: Tensors) -> tf.Tensor:
        found = [group.graph(tensors) for group in groups]
        together = tf.concat([rows for rows, _ in found], axis=0)
        bad = [(group, where) for group, (_, where) in zip(groups, found, strict=True) if where is not None]
        if bad:
            with tf.control_dependencies([_refuse(tensors, bad)]):
                together = tf.identity(together)
        return tf.transpose(together if order == sorted(order) else tf.gather(together, order))

    return encode


def _refuse(tensors: Tensors, bad: Sequence[tuple[Group, tf.Tensor]]) -> tf.Tensor:
    """Fail with the first row that has a value that cannot be read; what is said is put together only then."""
    columns = [column for group, _ in bad for column in group.columns]
    where = tf.concat([own for _, own in bad], axis=0)
    fine = ~tf.reduce_any(where)

    def fail() -> tf.Tensor:
        row = tf.argmax(tf.cast(tf.reduce_any(where, axis=0), tf.int32))
        number = tf.argmax(tf.cast(where[:, row], tf.int32))
        values = tf.stack([_as_texts(tensors[c.argument]) for c in columns])
        # Cut, and without bytes that are no text: errors travel as UTF-8.
        value = tf.strings.unicode_transcode(
            tf.strings.substr(values[number, row], 0, SHOWN), "UTF-8", "UTF-8", replace_control_characters=True
        )
        said = [unreadable(c, "\0", "\1").replace("\1", "\0").split("\0") for c in columns]
        parts = [tf.constant([as_bytes(part[place]) for part in said])[number] for place in range(3)]
        message = tf.strings.join([parts[0], tf.strings.as_string(row + 1), parts[1], value, parts[2]])
        check = tf.raw_ops.Assert(condition=fine, data=[message], summarize=1)
        with tf.control_dependencies([check]):
            return tf.identity(fine)

    return tf.cond(fine, lambda: tf.identity(fine), fail)


def unreadable(column: Categorical | Date, row: object, value: object) -> str:
    """Say which value cannot be read, and what can."""
    return f"column {column.name!r}, row {row}: '{value}' cannot be read; allowed: {allowed_values(column)}"


def allowed_values(column: Categorical | Date) -> str:
    """Say what a boolean or date column can read."""
    return shown_form(column.form) if isinstance(column, Date) else SHOWN_BOOLEANS


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

    def graph(tensors: Tensors) -> tuple[tf.Tensor, None]:
        # Column by column up to here: to put strings together costs more than to look them up.
        stripped = [tf.strings.strip(tensors[c.argument]) for c in columns]
        codes = lookup(tf.stack([fingerprints(texts, modulus) for texts in stripped]))
        return _with_buckets(columns, stripped, codes), None

    def flat(texts: tf.Tensor, of_column: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        stripped = tf.strings.strip(texts)
        codes = lookup.flat(fingerprints(stripped, modulus), of_column)
        return _with_own_buckets(columns, stripped, of_column, codes), tf.zeros_like(codes, tf.bool)

    return _of_codes(columns, graph, _traced(flat, *_values_of("string")))


def _any_case(absent: Sequence[bytes], column: Categorical | Date) -> list[bytes]:
    """Give what stands for no value in a column of booleans or dates, in lower case: their values are never that."""
    own = [as_bytes(text).strip() for text in (*USUAL_MISSING, *column.missing)]
    return sorted({text.lower() for text in (*absent, *own)})


def _booleans(columns: Sequence[Categorical], absent: Sequence[bytes], refuse: bool) -> Group:
    """Make what reads booleans in any of their spellings: all columns share one table."""
    spelled = {as_bytes(text): FIRST + place for place, own in enumerate(SPELLINGS) for text in own}
    known = [{**dict.fromkeys(_any_case(absent, c), MISSING), **spelled} for c in columns]
    modulus = distinct_modulus([list(own) for own in known])
    keys = fingerprints_of([list(own) for own in known], modulus)
    lookup = Lookup([dict(zip(own.tolist(), of.values(), strict=True)) for own, of in zip(keys, known, strict=True)])

    def prints(texts: tf.Tensor) -> tf.Tensor:
        return fingerprints(tf.strings.lower(tf.strings.strip(texts)), modulus)

    def read(codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        bad = codes == UNKNOWN
        return tf.cast(tf.where(bad, MISSING, codes), tf.float32), bad

    def graph(tensors: Tensors) -> tuple[tf.Tensor, tf.Tensor | None]:
        codes, bad = read(lookup(tf.stack([prints(tensors[c.argument]) for c in columns])))
        return codes, bad if refuse else None

    def flat(texts: tf.Tensor, of_column: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        codes, bad = read(lookup.flat(prints(texts), of_column))
        return codes[None], bad & refuse

    return _of_codes(columns, graph, _traced(flat, *_values_of("string")), checked=refuse)


def _integers(columns: Sequence[Categorical]) -> Group:
    lookup = Lookup([_codes([MISSING_INTEGER, *map(int, c.values)], 1) for c in columns])

    def graph(tensors: Tensors) -> tuple[tf.Tensor, None]:
        values = [tensors[c.argument] for c in columns]
        return _with_buckets(columns, values, lookup(tf.stack(values))), None

    def flat(values: tf.Tensor, of_column: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        codes = lookup.flat(values, of_column)
        return _with_own_buckets(columns, values, of_column, codes), tf.zeros_like(codes, tf.bool)

    return _of_codes(columns, graph, _traced(flat, *_values_of("int64")))


def _of_codes(columns: Sequence[Categorical], graph: Any, flat: Any, checked: bool = False) -> Group:
    return Group(columns, [(c.name, c.codes[0].name) for c in columns], [(0,)] * len(columns), graph, flat, checked)


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

    def graph(tensors: Tensors) -> tuple[tf.Tensor, None]:
        return encoded(tf.stack([tf.cast(tensors[c.argument], tf.float64) for c in columns])), None

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


def _dates(columns: Sequence[Date], absent: Sequence[bytes], refuse: bool) -> Group:
    """Make what reads dates of one form as codes and numbers."""
    form, dtype = columns[0].form, columns[0].dtype
    no_dates = [_any_case(absent, c) for c in columns]
    modulus = distinct_modulus(no_dates)
    lookup = Lookup([dict.fromkeys(own.tolist(), 1) for own in fingerprints_of(no_dates, modulus)])
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

    def is_absent(values: tf.Tensor, of_column: tf.Tensor) -> tf.Tensor:
        if values.dtype != tf.string:
            return values == MISSING_INTEGER
        return lookup.flat(fingerprints(tf.strings.lower(values), modulus), of_column) > 0

    def flat(texts: tf.Tensor, of_column: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        texts = tf.strings.strip(texts) if dtype == "string" else texts
        dates = read_dates(texts, form)
        days = tf.clip_by_value(dates.elapsed, tf.gather(first, of_column), tf.gather(last, of_column))
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
        bad = ~dates.valid & ~is_absent(texts, of_column) if refuse else tf.zeros_like(dates.valid)
        return tf.where(dates.valid, stacked, tf.constant(empty)[:, None]), bad

    def graph(tensors: Tensors) -> tuple[tf.Tensor, tf.Tensor | None]:
        texts = tf.stack([tensors[c.argument] for c in columns])
        of_column = tf.broadcast_to(tf.range(len(columns))[:, None], tf.shape(texts))
        found, bad = flat(tf.reshape(texts, [-1]), tf.reshape(of_column, [-1]))
        rows = tf.gather(tf.reshape(found, [len(names) * len(columns), -1]), order)
        return rows, tf.reshape(bad, tf.shape(texts)) if refuse else None

    outputs = [(c.name, name) for c in columns for name in (*(code.name for code in c.codes), *c.numbers)]
    return Group(columns, outputs, rows, graph, _traced(flat, *_values_of(dtype)), checked=refuse)
