"""Values -> codes by TensorFlow operations that need no resource.

Known values are found by bisection in constant tensors instead of in lookup tables: a SavedModel keeps constants by
itself, while a table must be tracked by whatever module is saved.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

_MOST = 2**63 - 1  # fingerprints of strings are taken modulo this number, or one a little smaller
_STEP = 0x9E3779B97F4A7C15  # odd: the keys of different columns lie far apart


class Lookup:
    """The codes of the known values of several columns, for all columns in one go.

    Example:
        >>> Lookup([{7: 2, 9: 3}, {7: 5}])(tf.constant([[9, 8], [7, 9]], tf.int64))
        <tf.Tensor: shape=(2, 2), dtype=int32, numpy=
        array([[3, 0],
               [5, 0]], dtype=int32)>

    Args:
        known: for every column its values (int64) and their codes.
    """

    def __init__(self, known: Sequence[Mapping[int, int]]):
        values = np.array([value for column in known for value in column], np.int64)
        codes = np.array([code for column in known for code in column.values()], np.int32)
        column_of = np.repeat(np.arange(len(known)), [len(column) for column in known])
        for attempt in itertools.count():
            step = (_STEP + 2 * attempt) % 2**64
            offsets = np.array([number * step % 2**64 for number in range(len(known))], np.uint64).astype(np.int64)
            keys = values + offsets[column_of]  # wraps around
            if len(np.unique(keys)) == len(keys):
                break
        order = np.argsort(keys)
        self._offsets = offsets[:, None]
        # A last key that is not below any other, so that bisection always ends at a key.
        self._keys = tf.constant([*keys[order], 2**63 - 1], tf.int64)
        self._codes = tf.constant([*codes[order], 0], tf.int32)

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Give the code of each value: int64 [columns, B] -> int32 [columns, B], 0 for unknown values."""
        return self._codes_of(values + self._offsets)

    def flat(self, values: tf.Tensor, of_column: tf.Tensor) -> tf.Tensor:
        """Give the code of each value: int64 [N] and the number of its column, int32 [N] -> int32 [N]."""
        return self._codes_of(values + tf.gather(self._offsets[:, 0], of_column))

    def _codes_of(self, keys: tf.Tensor) -> tf.Tensor:
        place = tf.raw_ops.LowerBound(sorted_inputs=self._keys[None], values=tf.reshape(keys, [1, -1]))
        place = tf.reshape(place, tf.shape(keys))
        return tf.where(tf.gather(self._keys, place) == keys, tf.gather(self._codes, place), 0)


def distinct_modulus(columns: Iterable[Sequence[bytes]]) -> int:
    """Give a modulus under which the fingerprints of the strings differ within each of the columns."""
    columns = list(columns)
    for modulus in itertools.count(_MOST, -1):
        if all(len(np.unique(own)) == len(own) for own in fingerprints_of(columns, modulus)):
            break
    return modulus


def fingerprints_of(columns: Sequence[Sequence[bytes]], modulus: int) -> list[np.ndarray]:
    """Give the fingerprints of the strings of each column, int64, by one operation for all columns."""
    together = fingerprints([text for own in columns for text in own], modulus).numpy()
    return np.split(together, np.cumsum([len(own) for own in columns])[:-1])


def fingerprints(texts: tf.Tensor | Sequence[bytes], modulus: int) -> tf.Tensor:
    """Give the fingerprints of strings [N] modulo a number, int64 [N].

    Fingerprints stand for their strings: one unknown string in 10**13 has that of one of 100,000 known ones.
    """
    return tf.strings.to_hash_bucket_fast(tf.convert_to_tensor(texts, tf.string), modulus)
