"""All texts as token ids, made once and kept together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from tlkit.inputs.text.preprocessing import TextPreprocessing

_CHUNK = 1024


def tokenize(texts: Sequence[str], preprocessing: TextPreprocessing) -> tf.RaggedTensor:
    """Turn texts into token ids, a thousand at a time, so that memory is that of the ids.

    Example:
        >>> tokenize(["a fine film", "no"], preprocessing).row_lengths().numpy().tolist()
        [5, 3]

    Args:
        texts: any number of them.
        preprocessing: what has `ragged(texts) -> int32 [B, (length)]`, such as a `TextPreprocessing`.

    Returns:
        int32 [n, (length)]: one tensor of values and one of row splits, on the CPU.
    """
    values: list[tf.Tensor] = []
    lengths: list[np.ndarray] = []
    with tf.device("CPU"):
        for start in range(0, len(texts), _CHUNK):
            chunk = preprocessing.ragged(tf.constant(list(texts[start : start + _CHUNK]), tf.string))
            values.append(tf.cast(chunk.flat_values, tf.int32))
            lengths.append(chunk.row_lengths().numpy())
        flat = tf.concat(values, 0) if values else tf.zeros([0], tf.int32)
        row_splits = np.concatenate([[0], np.cumsum(np.concatenate([*lengths, np.zeros(0, np.int64)]))])
        return tf.RaggedTensor.from_row_splits(flat, tf.constant(row_splits, tf.int64), validate=False)
