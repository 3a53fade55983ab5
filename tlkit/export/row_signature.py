"""Signatures that take rows of a table: an input for each column, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tlkit.export.interface import Interface


def row_signature(
    encode: Callable[[dict[str, tf.Tensor]], tf.Tensor],
    interface: Interface,
    answer: Callable[[tf.Tensor], dict[str, tf.Tensor]],
) -> tf.types.experimental.ConcreteFunction:
    """Make a function of named columns.

    Example:
        >>> function = row_signature(table.encode, interface, lambda encoded: {"encoded": encoded})
        >>> function(age=tf.constant([39.0]), education=tf.constant(["HS-grad"]))["encoded"].shape
        TensorShape([1, 5])

    Args:
        encode: columns [B] by argument -> encoded float32 [B, D].
        interface: names and dtypes of the columns.
        answer: encoded float32 [B, D] -> outputs by name.

    Returns:
        A function with an argument [B] for each column, in any order, which refuses columns of another rank, columns
        of different lengths and empty ones.
    """
    names = [column.argument for column in interface.columns]

    def function(**columns: tf.Tensor) -> dict[str, tf.Tensor]:
        # TensorFlow Serving's sessions do not check what is fed: a wrong rank must end here.
        columns = {name: tf.ensure_shape(columns[name], [None]) for name in names}
        sizes = tf.stack([tf.size(columns[name]) for name in names])
        same = tf.debugging.Assert(
            tf.reduce_all(sizes == sizes[0]), ["the columns differ in length:", tf.constant(names), sizes], len(names)
        )
        filled = tf.debugging.assert_positive(sizes[0], message="the batch is empty")
        with tf.control_dependencies([same, filled]):
            columns = {name: tf.identity(column) for name, column in columns.items()}
        return answer(tf.ensure_shape(encode(columns), interface.raw_shape))

    specs = {column.argument: tf.TensorSpec([None], column.dtype, name=column.argument) for column in interface.columns}
    return tf.function(function, autograph=False).get_concrete_function(**specs)


def encoded_checks(raw: tf.Tensor, interface: Interface) -> list[tf.Operation]:
    """Make the operations that refuse encoded rows which no table gives; none for other contents.

    Args:
        raw: float32 [B, D]; the first columns are category codes.
        interface: of the export; it knows how many codes each category has.
    """
    if not interface.columns:
        return []
    checks = [
        tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(raw)), ["encoded rows hold finite numbers only"]),
    ]
    count = len(interface.code_sizes)
    if count:
        codes, sizes = raw[:, :count], tf.constant(interface.code_sizes, tf.float32)
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
