"""Rows of a table -> rows of numbers, the same way in training, in evaluation and in the exported SavedModel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, get_args

import numpy as np
import pandas as pd
import tensorflow as tf

from tlkit.errors import ConfigError, check_choice, did_you_mean
from tlkit.inputs.row import frames
from tlkit.inputs.row.columns import (
    Code,
    Column,
    Date,
    Unreadable,
    column_from_dict,
    column_to_dict,
)
from tlkit.inputs.row.date_form import moments_of
from tlkit.inputs.row.features import (
    Feature,
    check_features,
    computer_of,
    feature_from_dict,
    feature_to_dict,
    needed_columns,
)
from tlkit.inputs.row.frames import Unread
from tlkit.inputs.row.given import frame_of_rows
from tlkit.inputs.row.number_forms import NumberForm
from tlkit.inputs.row.ops import Group, encoder, groups_of
from tlkit.inputs.wire import MISSING_INTEGER

_NAN = float("nan")
# Numbers that travel as text in tf.Examples, whose floats are float32.
_DECIMALS = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(?i:inf|infinity|nan)"
MISSING_STRINGS = ("", "?", "NA", "N/A", "NaN", "nan", "null", "None")


@dataclasses.dataclass(frozen=True)
class TablePreprocessing:
    """Encode the rows of a table: category codes first, then scaled numbers, one float32 vector a row.

    Make it with `tlkit.inputs.row.fitting.fit_table` from the training rows. Strings are compared as they are, after
    white space (of ASCII) was taken off both ends; what a column does not know has code 0, what is missing code 1.
    Booleans and dates are read, in every way in by the same operations.

    Example:
        >>> carrier = Categorical("carrier", "carrier", "string", ("AA", "UA"))
        >>> preprocessing = TablePreprocessing((carrier, Continuous("delay", "delay", scale=20.0)))
        >>> preprocessing.encode({"carrier": tf.constant(["UA", "ZZ", ""]), "delay": tf.constant([10.0, 0.0, -20.0])})
        <tf.Tensor: shape=(3, 2), dtype=float32, numpy=
        array([[ 3. ,  0.5],
               [ 0. ,  0. ],
               [ 1. , -1. ]], dtype=float32)>

    Args:
        columns: the columns, in the order of their outputs; names and arguments differ.
        missing: strings that stand for no value; the empty string does in any case. In booleans and dates they count
            in upper and in lower case, and so do the usual ones.
        forms: column of the table -> how its numbers are written in files. Readers of files use it, the graph does not.
            None where the preprocessing was fitted by release 0.1.0: numbers are plain ones then, and `missing` is all
            that stands for no value.
        unreadable: what a value is that stands for no boolean or date of its column: `"error"`, or `"missing"`. None
            where the preprocessing was fitted by release 0.1.0: its graph takes it for missing, readers of files do
            not.
        features: numbers that are computed from the columns; they follow the numbers of the columns.

    Raises:
        ConfigError: there is no column, two share a name or an argument, or a value is among `missing`.
    """

    columns: tuple[Column, ...]
    missing: tuple[str, ...] = MISSING_STRINGS
    forms: Mapping[str, NumberForm] | None = None
    unreadable: Unreadable | None = None
    features: tuple[Feature, ...] = ()

    # A stock TensorFlow Serving has all of its operations, and the graph holds its lookup tables.
    why_not: ClassVar[str] = ""
    tables: ClassVar[tuple[Any, ...]] = ()
    # What a client sends for a value that it does not have.
    sentinels: ClassVar[Mapping[str, Any]] = {"string": b"", "int64": MISSING_INTEGER, "float32": _NAN, "float64": _NAN}

    def __post_init__(self) -> None:
        if self.unreadable is not None:
            check_choice("unreadable", self.unreadable, get_args(Unreadable))
        check_features(self.features, self.columns)
        if not self.columns:
            raise ConfigError("a table needs at least one input column")
        for what in ("name", "argument"):
            names = [getattr(column, what) for column in self.columns]
            if double := sorted({name for name in names if names.count(name) > 1}):
                raise ConfigError(f"two columns share the {what}", received=double)
        blank = frames.ASCII_SPACE
        absent = {text.strip(blank) for text in ("", *self.missing)}
        for column in self.columns:
            gone = absent | {text.strip(blank) for text in getattr(column, "missing", ())}
            bad = [value for value in getattr(column, "values", ()) if value.strip(blank) != value or value in gone]
            if bad:
                raise ConfigError(
                    f"a value of column {column.name!r} can never occur",
                    received=bad[0],
                    allowed=f"no white space at the ends, none of {sorted(gone)}",
                )

    # What comes out

    @cached_property
    def codes(self) -> tuple[Code, ...]:
        """The columns of codes, which come first in the encoded rows; their names differ."""
        codes = [code for column in self.columns for code in column.codes]
        names = _different([code.name for code in codes])
        return tuple(dataclasses.replace(code, name=name) for code, name in zip(codes, names, strict=True))

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Names of the scaled numbers, which follow the codes."""
        own = [number for column in self.columns for number in column.numbers]
        return tuple(_different([*own, *(feature.name for feature in self.features)]))

    @property
    def width(self) -> int:
        """D, the length of an encoded row."""
        return len(self.codes) + len(self.numbers)

    @property
    def _plain_width(self) -> int:
        """Length of an encoded row without its features."""
        return self.width - len(self.features)

    def with_moments(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give a frame whose dates are datetimes where they are not written as ISO 8601; missing where there is none.

        Args:
            frame: rows as they were read, which `encode_frame` encodes alike.
        """
        forms = {column.name: column.form for column in self.columns if isinstance(column, Date) and column.form}
        found = {
            name: moments_of(frame[name], form)
            for name, form in forms.items()
            if frames.values_of(frame[name]) != "dates"
        }
        return frame.assign(**found) if found else frame

    # In a graph

    def encode(self, columns: Mapping[str, Any]) -> tf.Tensor:
        """Encode rows, by TensorFlow's core operations alone.

        Args:
            columns: for every column's argument [B] values of its dtype (string, int64, float32 or float64);
                `sentinels` where a value is missing. Infinities count as missing.

        Returns:
            float32 [B, D]: the codes in the order of `codes`, the numbers in the order of `numbers`.

        Raises:
            ConfigError: an argument is missing or unknown.
            tf.errors.InvalidArgumentError: when run, if a boolean or date cannot be read and `unreadable` is
                `"error"`; it names the column, the row (from 1) and the value.
        """
        wanted = {column.argument: column.dtype for column in self.columns}
        for name in (*(wanted.keys() - columns.keys()), *(columns.keys() - wanted.keys())):
            what = "is missing" if name in wanted else "is unknown"
            raise ConfigError(
                f"argument {name!r} {what}", allowed=sorted(wanted), fix=did_you_mean(name, sorted(wanted)) or None
            )
        return self._in_graph(*(tf.convert_to_tensor(columns[name], dtype) for name, dtype in wanted.items()))

    def batch(self, contents: tf.Tensor) -> tf.Tensor:
        """Encode rows given as serialized tf.Examples, with one value under each argument; absent means missing.

        A value of a float64 column is written in decimals, as bytes: a tf.Example's floats are float32.

        Args:
            contents: string [B].

        Returns:
            float32 [B, D].

        Raises:
            tf.errors.InvalidArgumentError: when run, if a feature is of another type, or as `encode`.
        """
        wide = [column for column in self.columns if column.dtype == "float64"]
        features = {
            column.argument: tf.io.FixedLenFeature([], column.dtype, self.sentinels[column.dtype])
            for column in self.columns
        } | {column.argument: tf.io.FixedLenFeature([], tf.string, b"") for column in wide}
        parsed = tf.io.parse_example(contents, features)
        return self.encode(
            parsed | {column.argument: _decimals(parsed[column.argument], column.name) for column in wide}
        )

    @cached_property
    def _in_graph(self) -> Callable[..., tf.Tensor]:
        # Always as a graph: a hundred small operations one by one would cost more than a network's forward pass.
        names = [column.argument for column in self.columns]
        specs = [tf.TensorSpec([None], column.dtype) for column in self.columns]
        with tf.init_scope():  # its constants must lie outside of any graph
            encode = encoder(self.columns, self._groups)
            compute = self._computer() if self.features else None

            def table(*tensors: tf.Tensor) -> tf.Tensor:
                by_name = dict(zip(names, tensors, strict=True))
                encoded = tf.ensure_shape(encode(by_name), [None, self._plain_width])
                return encoded if compute is None else tf.concat([encoded, compute(by_name, encoded)], axis=1)

            # Traced here, for TensorFlow warns of "retracing" when many tables are called for the first time.
            return tf.function(table, input_signature=specs, autograph=False).get_concrete_function()

    # From pandas

    def check_frame(self, frame: pd.DataFrame) -> None:
        """See that a frame has the columns of training, each with values of the same kind.

        Args:
            frame: rows as they were read; further columns do not matter.

        Raises:
            DataError: a column is missing or there twice, or holds another kind of values than in training.
        """
        frames.check_frame(self.columns, frame)

    def frame_of(self, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """Return rows given one by one as a table; see `tlkit.inputs.row.given.frame_of_rows`."""
        return frame_of_rows(rows, self.columns)

    def to_arguments(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """Give the rows as a client would send them.

        Args:
            frame: rows as they were read.

        Returns:
            For every argument [n]: bytes (as objects), int64, float32 or float64, `sentinels` where a value is missing.

        Raises:
            DataError: as `check_frame`; or a whole number is none or does not fit int64.
        """
        self.check_frame(frame)
        return {column.argument: frames.argument_of(column, frame[column.name]) for column in self.columns}

    def to_examples(self, frame: pd.DataFrame) -> list[bytes]:
        """Give the rows as serialized tf.Examples, without the features whose values are missing.

        Args:
            frame: rows as they were read.

        Returns:
            One for each row, as `batch` reads them.

        Raises:
            DataError: as `to_arguments`.
        """
        arguments = self.to_arguments(frame)
        return [
            frames.example({name: values[row] for name, values in arguments.items()}).SerializeToString(
                deterministic=True
            )
            for row in range(len(frame))
        ]

    def encode_frame(self, frame: pd.DataFrame, chunk: int = 65_536) -> np.ndarray:
        """Encode the rows of a frame, fast: strings and dates only once for each different value.

        Args:
            frame: rows as they were read.
            chunk: how many values go through the graph at once.

        Returns:
            float32 [n, D], what `encode(to_arguments(frame))` gives.

        Raises:
            DataError: as `to_arguments`; or a boolean or date cannot be read, and `unreadable` is `"error"`.
        """
        self.check_frame(frame)
        encoded = np.empty([len(frame), self._plain_width], np.float32)
        for group in self._groups:
            places = [self.places[column.name] for column in group.columns]
            frames.encode_group(group, frame, encoded, places, chunk)
        if not self.features:
            return encoded
        return np.concatenate([encoded, self.features_of_frame(frame, encoded, chunk)], axis=1)

    def features_of_frame(self, frame: pd.DataFrame, encoded: np.ndarray, chunk: int = 65_536) -> np.ndarray:
        """Compute the features of the rows of a frame.

        Args:
            frame: rows as they were read.
            encoded: the rows without features, float32 [n, D - E].
            chunk: how many rows go through the graph at once.

        Returns:
            float32 [n, E].
        """
        arguments = self.arguments_of(frame, needed_columns(self.features))
        parts = [np.zeros((0, len(self.features)), np.float32)]
        for begin in range(0, len(frame), chunk):
            own = [tf.convert_to_tensor(values[begin : begin + chunk]) for values in arguments.values()]
            parts.append(self._features_in_graph(tf.constant(encoded[begin : begin + chunk]), *own).numpy())
        return np.concatenate(parts)

    def arguments_of(self, frame: pd.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return some columns of a frame as `to_arguments` does, by argument."""
        by_name = {column.name: column for column in self.columns}
        return {by_name[name].argument: frames.argument_of(by_name[name], frame[name]) for name in names}

    def _computer(self) -> Callable[[Mapping[str, tf.Tensor], tf.Tensor], tf.Tensor]:
        return computer_of(self.features, self.columns, {c.name: self.places[c.name][0] for c in self.columns})

    @cached_property
    def _features_in_graph(self) -> Callable[..., tf.Tensor]:
        by_name = {column.name: column for column in self.columns}
        needed = [by_name[name] for name in needed_columns(self.features)]
        specs = [tf.TensorSpec([None, self._plain_width], tf.float32)]
        specs += [tf.TensorSpec([None], column.dtype) for column in needed]
        with tf.init_scope():
            compute = self._computer()

            def table(encoded: tf.Tensor, *tensors: tf.Tensor) -> tf.Tensor:
                return compute({c.argument: own for c, own in zip(needed, tensors, strict=True)}, encoded)

            return tf.function(table, input_signature=specs, autograph=False).get_concrete_function()

    def unreadable_values(self, frame: pd.DataFrame, chunk: int = 65_536) -> dict[int, Unread]:
        """Find what `encode_frame` would refuse.

        Args:
            frame: rows as they were read.
            chunk: how many values go through the graph at once.

        Returns:
            By the position of the row its first value that cannot be read; empty with `unreadable="missing"`.

        Raises:
            DataError: as `to_arguments`.
        """
        self.check_frame(frame)
        found: dict[int, Unread] = {}
        for group in self._groups:
            if group.checked:
                for row, unread in frames.unread_of_group(group, frame, chunk):
                    found.setdefault(row, unread)
        return dict(sorted(found.items()))

    @cached_property
    def _groups(self) -> list[Group]:
        # Kept: a file that is read in pieces must not make new graphs for each of them.
        with tf.init_scope():  # their constants must lie outside of any graph
            return groups_of(self.columns, self.missing, self.unreadable == "error")

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """Places of each column's codes and then of its numbers in an encoded row, by the name of the column."""
        found = {}
        code, number = 0, len(self.codes)
        for column in self.columns:
            codes, numbers = len(column.codes), len(column.numbers)
            found[column.name] = [*range(code, code + codes), *range(number, number + numbers)]
            code, number = code + codes, number + numbers
        return found

    # As plain values

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain values, fit for JSON."""
        plain: dict[str, Any] = {"columns": [column_to_dict(column) for column in self.columns]}
        plain["missing"] = list(self.missing)
        if self.forms is not None:
            plain["forms"] = {name: form.to_dict() for name, form in self.forms.items()}
        if self.unreadable is not None:
            plain["unreadable"] = self.unreadable
        if self.features:
            plain["features"] = [feature_to_dict(feature) for feature in self.features]
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TablePreprocessing:
        """Make it again from what `to_dict` gave.

        Raises:
            ConfigError: the values are not those of a `TablePreprocessing`.
        """
        if set(values) - {"forms", "unreadable", "features"} != {"columns", "missing"}:
            raise ConfigError("no preprocessing of a table", received=sorted(values), allowed=("columns", "missing"))
        forms = values.get("forms")
        return cls(
            tuple(map(column_from_dict, values["columns"])),
            tuple(values["missing"]),
            None if forms is None else {name: NumberForm.from_dict(form) for name, form in forms.items()},
            values.get("unreadable"),
            tuple(map(feature_from_dict, values.get("features", ()))),
        )


def _decimals(texts: tf.Tensor, name: str) -> tf.Tensor:
    """Read numbers in decimals: string [B] -> float64 [B], NaN where the text is empty."""
    texts = tf.strings.strip(texts)
    texts = tf.where(texts == "", "nan", texts)
    is_number = tf.strings.regex_full_match(texts, _DECIMALS)
    check = tf.debugging.Assert(
        tf.reduce_all(is_number), [f"column {name!r} has decimal numbers", tf.boolean_mask(texts, ~is_number)], 1
    )
    with tf.control_dependencies([check]):
        return tf.strings.to_number(tf.where(is_number, texts, "nan"), tf.float64)


def _different(names: list[str]) -> list[str]:
    found: dict[str, None] = {}
    given = set(names)
    for name in names:
        number, tried = 1, name
        while tried in found or (number > 1 and tried in given):
            number += 1
            tried = f"{name} ({number})"
        found[tried] = None
    return list(found)
