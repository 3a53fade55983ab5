"""Hostile rows of tables for `tlkit verify` (standalone: run by path, without tlkit)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

Value = bytes | float | int
_LISTS = {"string": "bytes_list", "float32": "float_list", "float64": "bytes_list", "int64": "int64_list"}
_LARGEST = float(np.finfo(np.float32).max)


def columns_of(contents: list[bytes], interface: dict[str, Any]) -> dict[str, np.ndarray]:
    """Read serialized tf.Examples as the inputs of serving_default: an array [n] by argument, absent ones marked."""
    read = [tf.train.Example.FromString(content).features.feature for content in contents]
    found = {}
    for column in interface["columns"]:
        name, dtype = column["argument"], column["dtype"]
        absent = _absent(column)
        given = [getattr(features[name], _LISTS[dtype]).value if name in features else () for features in read]
        values = [each[0] if each else absent for each in given]
        if dtype == "float64":  # in decimals, for a tf.Example's floats are float32
            values = [float(value or "nan") for value in values]
        found[name] = np.array(values, object if dtype == "string" else dtype)
    return found


def bad_columns(good: list[bytes], interface: dict[str, Any]) -> list[tuple[str, dict[str, np.ndarray]]]:
    """List what must be refused as named columns: what it is, and the inputs; the plainest first.

    Args:
        good: two rows that are fine, as serialized tf.Examples.
        interface: names and dtypes, as manifest.json holds them.
    """
    fine = columns_of(good, interface)
    first = interface["columns"][0]["argument"]
    values = [
        ("an empty batch", {name: column[:0] for name, column in fine.items()}),
        (f"no column {first}", {name: column for name, column in fine.items() if name != first}),
    ]
    if len(fine) > 1:
        values.insert(0, ("columns of different lengths", fine | {first: fine[first][:1]}))
        values.append(("one empty column", fine | {first: fine[first][:0]}))
    for column in _with_samples(interface):
        unread = fine[column["argument"]].copy()
        unread[-1] = -(2**62) if column["dtype"] == "int64" else b"no such value"
        values.append((f"a value that column {column['name']} cannot read", fine | {column["argument"]: unread}))
    wrong: dict[str, Any] = {"string": np.float32, "float32": np.float64, "float64": np.float32, "int64": np.int32}
    for dtype, name in _first_of_each(interface).items():
        own = fine[name]
        other = np.ones(own.shape, wrong[dtype])
        values += [
            (f"a scalar for the {dtype} column {name}", fine | {name: own[0:1].reshape(())}),
            (f"a matrix for the {dtype} column {name}", fine | {name: own[:, None]}),
            (f"{other.dtype} for the {dtype} column {name}", fine | {name: other}),
        ]
        if dtype != "string":
            values.append((f"strings for the {dtype} column {name}", fine | {name: np.array([b"1", b"2"], object)}))
    return values


def bad_examples(interface: dict[str, Any]) -> list[tuple[str, bytes]]:
    """List what must be refused as a tf.Example: broken bytes, features of another type or with several values."""
    other: dict[str, Value] = {"string": 1.0, "float32": b"1", "float64": 1.0, "int64": b"1"}
    fine: dict[str, Value] = {"string": b"1", "float32": 1.0, "float64": b"1", "int64": 1}
    whole = _example({name: [fine[dtype]] for dtype, name in _first_of_each(interface).items()})
    # TensorFlow's parser passes over some junk, b"junk" among it, as fields of a later version.
    values = [("all 256 bytes for a tf.Example", bytes(range(256))), ("a truncated tf.Example", whole[:-1])]
    for dtype, name in _first_of_each(interface).items():
        values.append((f"another type for the {dtype} feature {name}", _example({name: [other[dtype]]})))
        values.append((f"two values for the {dtype} feature {name}", _example({name: [fine[dtype]] * 2})))
        if dtype == "float64":
            values.append((f"text for the number {name}", _example({name: [b"1.5 km"]})))
    for column in _with_samples(interface):
        bad: Value = -(2**62) if column["dtype"] == "int64" else b"no such value"
        values.append((f"a value that column {column['name']} cannot read", _example({column["argument"]: [bad]})))
    return values


def odd_contents(interface: dict[str, Any]) -> list[tuple[str, bytes]]:
    """List rows that are strange and must be answered all the same: what it is, and its serialized tf.Example."""
    columns = interface["columns"]

    def filled(value: Value, dtype: str) -> bytes:
        if dtype == "float64":
            value = repr(value).encode()
        own = [column for column in columns if column["dtype"] == dtype]
        return _example({column["argument"]: [_sample(column, value)] for column in own})

    strings = [
        ("empty strings", b""),
        ("spaces", b" \t\n "),
        ("unseen categories", b"no such value"),
        ("strings of 1,000,000 characters", b"x1-" * 333_334),
        ("bytes that are not UTF-8", b"caf\xe9 \xff\xfe\xc3( \xed\xa0\x80"),
        ("all 256 bytes", bytes(range(256))),
        ("NUL bytes", b"a\0b\0"),
        ("right-to-left text and emoji", "\u202eهذا👩‍👩‍👧‍👦".encode()),
        ("digits that are not ASCII", "２０２３-０１-０１".encode()),
        ("the first supported date", b"0001-01-01"),
        ("the last supported date", b"9999-12-31T23:59:59"),
        ("a year of five digits", b"10000-01-01"),
        ("a year BC", b"-0044-03-15"),
        ("an invalid day", b"2023-02-30"),
        ("a month of zero", b"2023-00-00"),
        ("an invalid hour", b"2023-01-01T25:61:61"),
        ("a day with an offset", b"2024-02-29T23:59:60.999999+14:00"),
        ("a number for a day", b"99999999999999999999"),
    ]
    numbers = [
        ("NaN", float("nan")),
        ("infinity", float("inf")),
        ("minus infinity", float("-inf")),
        ("the largest float32", _LARGEST),
        ("the smallest float32", -_LARGEST),
        ("a denormal number", 1e-45),
        ("minus zero", -0.0),
    ]
    integers = [("the largest int64", 2**63 - 1), ("the smallest int64", -(2**63)), ("the one above it", 1 - 2**63)]
    wide = [("a number beyond float32", 1e300), ("a denormal number", 5e-324)]
    kinds = {column["dtype"] for column in columns}
    values = [
        ("no value at all", b""),
        ("every value absent", _example({column["argument"]: [_absent_feature(column)] for column in columns})),
        ("features without values", _example({column["argument"]: [] for column in columns})),
        ("a feature without a column", _example({"no such column": [b"x"]})),
    ]
    values += [(what, filled(value, "string")) for what, value in strings if "string" in kinds]
    values += [(f"numbers that are {what}", filled(value, "float32")) for what, value in numbers if "float32" in kinds]
    wide += numbers if "float64" in kinds else []
    values += [(f"numbers that are {what}", filled(value, "float64")) for what, value in wide if "float64" in kinds]
    values += [(what, filled(number, "int64")) for what, number in integers if "int64" in kinds]
    return values


def neighbours(interface: dict[str, Any]) -> list[bytes]:
    """List what could disturb the other rows of its batch: one without values, one with the largest."""
    largest: dict[str, Value] = {
        "string": b"x" * 1000, "float32": _LARGEST, "float64": b"1e300", "int64": 2**63 - 1,
    }  # fmt: skip
    row = {column["argument"]: [_sample(column, largest[column["dtype"]])] for column in interface["columns"]}
    return [b"", _example(row)]


def raw_batch(size: int, interface: dict[str, Any], shape: Sequence[int | None]) -> np.ndarray:
    """Make `size` random encoded rows: codes, then numbers, float32 [size, D]."""
    draw = np.random.default_rng(0)
    codes = [draw.integers(0, codes, size) for codes in interface["code_sizes"]]
    numbers = draw.normal(size=(size, (shape[1] or 0) - len(codes)))
    return np.concatenate([*(column[:, None] for column in codes), numbers], axis=1).astype(np.float32)


def bad_raw(interface: dict[str, Any], shape: Sequence[int | None]) -> list[tuple[str, np.ndarray]]:
    """List what must be refused as encoded rows."""
    good = raw_batch(2, interface, shape)
    last = good.shape[1] - 1

    def with_value(column: int, value: float) -> np.ndarray:
        rows = good.copy()
        rows[1, column] = value
        return rows

    values = [
        ("an encoded row without a batch", good[0]),
        ("encoded rows of rank 3", good[None]),
        ("encoded rows with a column too few", good[:, 1:]),
        ("encoded rows with a column too many", np.concatenate([good, good[:, :1]], axis=1)),
        ("encoded rows of dtype float64", good.astype(np.float64)),
        ("strings for encoded rows", np.array([[b"x"]], object)),
        ("an empty batch of encoded rows", good[:0]),
        ("NaN in an encoded row", with_value(last, np.nan)),
        ("infinity in an encoded row", with_value(last, np.inf)),
    ]
    for column, size in list(enumerate(interface["code_sizes"]))[:: max(1, len(interface["code_sizes"]) - 1)]:
        values += [
            (f"code {column} that is not a whole number", with_value(column, 0.5)),
            (f"code {column} below zero", with_value(column, -1)),
            (f"code {column} beyond the last", with_value(column, size)),
            (f"code {column} far beyond the last", with_value(column, 1e30)),
            (f"code {column} that is NaN", with_value(column, np.nan)),
        ]
    return values


def _with_samples(interface: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the first column of each kind and dtype that refuses what it cannot read."""
    found = {(column["kind"], column["dtype"]): column for column in reversed(interface["columns"]) if _reads(column)}
    return list(found.values())


def _reads(column: dict[str, Any]) -> str:
    return str(column.get("sample", ""))  # which exports of 0.1.0 do not have


def _sample(column: dict[str, Any], value: Value) -> Value:
    """Return a value, or what the column can read where it refuses others."""
    sample = _reads(column)
    if not sample:
        return value
    return int(sample) if column["dtype"] == "int64" else sample.encode()


def _absent_feature(column: dict[str, Any]) -> Value:
    """Return what stands for a missing value in a tf.Example."""
    return b"" if column["dtype"] == "float64" else _absent(column)


def _absent(column: dict[str, Any]) -> Value:
    """Return what stands for a missing value, as a tensor holds it."""
    if column["dtype"] == "string":
        return str(column["absent"]).encode("utf-8")
    return int(column["absent"]) if column["dtype"] == "int64" else float(column["absent"])


def _first_of_each(interface: dict[str, Any]) -> dict[str, str]:
    """Return the argument of the first column of each dtype."""
    return {column["dtype"]: column["argument"] for column in reversed(interface["columns"])}


def _example(features: Mapping[str, Sequence[Value]]) -> bytes:
    """Write a serialized tf.Example; no values leave the feature without a kind."""
    example = tf.train.Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        for value in values:
            kind = "string" if isinstance(value, bytes) else "float32" if isinstance(value, float) else "int64"
            getattr(feature, _LISTS[kind]).value.append(value)
    return example.SerializeToString(deterministic=True)
