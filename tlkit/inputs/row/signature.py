"""Signatures that take rows of a table: an input for each column, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tlkit.inputs.named_inputs import function_of_inputs
from tlkit.inputs.row.preprocessing import TablePreprocessing


def signature(
    preprocessing: TablePreprocessing,
    wire: Mapping[str, Any],
    answer: Callable[[tf.Tensor], dict[str, tf.Tensor]],
) -> tf.types.experimental.ConcreteFunction:
    """Return a function of named columns.

    Example:
        >>> function = signature(table, wire, lambda encoded: {"encoded": encoded})
        >>> function(age=tf.constant([39.0]), education=tf.constant(["HS-grad"]))["encoded"].shape
        TensorShape([1, 5])

    Args:
        preprocessing: encodes columns [B] by argument as float32 [B, D].
        wire: the fields of the interface: names and dtypes of the columns.
        answer: encoded float32 [B, D] -> outputs by name.

    Returns:
        A function with an argument [B] for each column, in any order, which refuses columns of another rank, columns
        of different lengths and empty ones.
    """
    dtypes = {column["argument"]: column["dtype"] for column in wire["columns"]}

    def answered(columns: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return answer(tf.ensure_shape(preprocessing.encode(columns), wire["raw_shape"]))

    return function_of_inputs(dtypes, "columns", answered)


def raw_checks(raw: tf.Tensor, wire: Mapping[str, Any]) -> list[tf.Operation]:
    """Return the operations that refuse encoded rows which no table gives.

    Args:
        raw: float32 [B, D]; the first columns are category codes.
        wire: the fields of the interface: how many codes each category has.
    """
    checks = [
        tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(raw)), ["encoded rows hold finite numbers only"]),
    ]
    count = len(wire["code_sizes"])
    if count:
        codes, sizes = raw[:, :count], tf.constant(wire["code_sizes"], tf.float32)
        # Looking up a code that is not there gives zeros on an accelerator, without a word.
        checks += [
            tf.debugging.Assert(tf.reduce_all(codes == tf.round(codes)), ["category codes are whole numbers"]),
            tf.debugging.Assert(
                tf.reduce_all((codes >= 0) & (codes < sizes)),
                ["a category code is not below its size:", sizes],
                summarize=count,
            ),
        ]
    return checks
