"""Errors of a graph that quotes bytes which are not UTF-8: Python cannot make TensorFlow's exception of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from tlkit.export.verify_answers import message_of


def as_op_error(error: UnicodeDecodeError) -> tf.errors.InvalidArgumentError:
    """Return the TensorFlow error that Python could not make.

    A message that quotes a value is about that value, so the code is INVALID_ARGUMENT; the real code is lost.

    Example:
        >>> as_op_error(caught).message
        "Could not parse example input, value: '\\\\xff\\\\xd8'"

    Args:
        error: what a run of a graph raised.

    Returns:
        The error with the whole message; bytes that are not UTF-8 are written as backslash escapes.
    """
    return tf.errors.InvalidArgumentError(None, None, message_of(error))


@contextmanager
def graph_errors() -> Iterator[None]:
    """Raise TensorFlow's own error where a graph's message is not UTF-8.

    Example:
        >>> with graph_errors():
        ...     signature(image_bytes=tf.constant([content]))

    Raises:
        tf.errors.InvalidArgumentError: in place of a UnicodeDecodeError.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise as_op_error(error) from None
