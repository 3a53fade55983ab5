"""Examples of rows that are recorded with an export, and that it is warmed up with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tlkit.inputs.base import WarmupExample
from tlkit.inputs.row.columns import sample_of
from tlkit.inputs.wire import as_held

if TYPE_CHECKING:
    from tlkit.inputs.row.preprocessing import TablePreprocessing

# Dates that end a calendar, exist only in other years, or are none; categories that no table holds.
_STRANGE = (b"9999-12-31", b"caf\xe9 \xff\xfe", b"  unseen \xf0\x9f\x90\x9d  ", b"2023-02-29T25:61", b"0001-01-01")


def golden(given: Sequence[bytes], preprocessing: TablePreprocessing) -> list[bytes]:
    """Return the rows that were given, as serialized tf.Examples; then one without values and a strange one."""
    strange = strange_row(preprocessing.columns, getattr(preprocessing, "unreadable", None) == "error")
    return [*given, example_of({}), example_of(strange)]


def warmup(
    preprocessing: TablePreprocessing, contents: Sequence[bytes], wire: Mapping[str, Any]
) -> list[WarmupExample]:
    """Return the first of rows."""
    return [WarmupExample(contents[0], tuple(wire["raw_shape"][1:]), 0, row_values(contents[0], wire))]


def example_of(values: Mapping[str, bytes | float | int]) -> bytes:
    """Write a row as a serialized tf.Example: bytes, float and int by feature."""
    example = tf.train.Example()
    for name, value in values.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        else:
            feature.int64_list.value.append(value)
    return example.SerializeToString(deterministic=True)


def strange_row(columns: Sequence[Any], refuses: bool = False) -> dict[str, bytes | float | int]:
    """Make up a row as no training data has it: unseen and broken strings, numbers far out, infinities.

    Args:
        columns: of a table's preprocessing.
        refuses: whether booleans and dates that cannot be read are refused: then booleans are spelled oddly, and dates
            are missing.

    Returns:
        A value for each column by argument. The numbers stay where float32 can tell answers apart.
    """
    row: dict[str, bytes | float | int] = {}
    numbers = 0
    for place, column in enumerate(columns):
        sample = sample_of(column) if refuses else ""
        if sample and not getattr(column, "boolean", False):
            continue  # a date; numbers far out move the prediction enough
        if sample:
            row[column.argument] = f" {sample.upper()}\t".encode()
        elif column.dtype == "string":
            row[column.argument] = _STRANGE[place % len(_STRANGE)]
        elif column.dtype == "int64":
            row[column.argument] = 2**63 - 1 - place
        else:
            far = float(column.median) + 8.0 * abs(float(column.scale or 1.0))
            number = far if numbers % 2 == 0 else float("inf")
            row[column.argument] = number if column.dtype == "float32" else repr(number).encode()
            numbers += 1
    return row


def row_values(example: bytes, wire: Mapping[str, Any]) -> dict[str, bytes | float | int]:
    """Read a serialized tf.Example as a value for each column, by argument; what it lacks is absent."""
    features = tf.train.Example.FromString(example).features.feature
    kinds = {"string": "bytes_list", "float32": "float_list", "float64": "bytes_list", "int64": "int64_list"}
    found: dict[str, bytes | float | int] = {}
    for column in wire["columns"]:
        name, dtype = column["argument"], column["dtype"]
        values = getattr(features[name], kinds[dtype]).value if name in features else ()
        value = values[0] if values else as_held(column["absent"], dtype)
        found[name] = float(value or "nan") if dtype == "float64" else value
    return found
