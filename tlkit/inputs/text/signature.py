"""What the signature that takes token ids refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf


def raw_checks(raw: tf.Tensor, wire: Mapping[str, Any]) -> list[tf.Operation]:
    """Return the operations that refuse token ids which the encoder cannot read.

    Args:
        raw: int32 [B, T].
        wire: the fields of the interface: the size of the vocabulary, and the most tokens.
    """
    most, windows, vocabulary = wire["max_tokens"], wire["max_windows"], wire["vocabulary"]
    length, longest = tf.shape(raw)[1], most * windows
    check = tf.debugging
    checks = [
        # On an accelerator, looking up an id that is not there gives zeros without a word.
        check.assert_non_negative(raw, message="token ids must not be negative"),
        check.assert_less(raw, vocabulary, message=f"the vocabulary has {vocabulary} tokens"),
        check.assert_positive(length, message="the texts have no tokens"),
        check.assert_less_equal(length, longest, message=f"a text has at most {longest} tokens"),
    ]
    if windows > 1:
        rest = tf.where(length > most, length % most, 0)
        said = f"longer texts must be split into windows of {most} tokens"
        checks.append(check.assert_equal(rest, 0, message=said))
    return checks
