"""Examples as a client sends them, made the arguments of serving_default; needs TensorFlow, not Keras."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tlkit.export.interface import Interface


def arguments_of(contents: Sequence[bytes], interface: Interface) -> dict[str, np.ndarray]:
    """Return what serving_default takes for golden examples or examples of a data set.

    Args:
        contents: encoded images, texts in UTF-8, or rows as serialized tf.Examples.
        interface: of the export.

    Returns:
        [n] by argument: bytes objects or numbers.
    """
    if interface.columns:
        return arguments_of_examples(contents, interface)
    found = np.empty(len(contents), object)
    found[:] = list(contents)
    return {interface.input: found}


def arguments_of_examples(examples: Sequence[bytes], interface: Interface) -> dict[str, np.ndarray]:
    """Return what serving_default takes for the tf.Examples of the signature classify or regress.

    Raises:
        tf.errors.InvalidArgumentError: an example lacks its feature, or has one of another type.
    """
    serialized = tf.constant(list(examples), tf.string)
    if not interface.columns:
        parsed = tf.io.parse_example(serialized, {interface.feature: tf.io.FixedLenFeature([], tf.string)})
        return {interface.input: parsed[interface.feature].numpy()}
    features = {
        column.argument: tf.io.FixedLenFeature([], tf.string, b"")
        if column.dtype == "float64"  # in decimals: a tf.Example has float32 alone
        else tf.io.FixedLenFeature([], column.dtype, column.absent_value)
        for column in interface.columns
    }
    found = {name: part.numpy() for name, part in tf.io.parse_example(serialized, features).items()}
    for column in interface.columns:
        if column.dtype == "float64":
            texts = found[column.argument].tolist()
            found[column.argument] = np.array([float(text.strip() or "nan") for text in texts])
    return found
