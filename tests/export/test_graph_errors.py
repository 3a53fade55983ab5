"""Errors that quote bytes which are not UTF-8, in eager calls, in functions and in sessions."""

import numpy as np
import pytest
import tensorflow as tf

from tlkit.export.graph_errors import as_op_error, graph_errors
from tlkit.export.verify_answers import message_of

BYTES = b"\xff\xd8 \xc3\xa9"


@pytest.mark.parametrize("wrap", [lambda body: body, tf.function])
def test_tensorflow_s_error_is_raised_with_its_whole_text(wrap):
    convert = wrap(lambda text: tf.strings.to_number(text))
    with pytest.raises(UnicodeDecodeError) as plain:  # what TensorFlow gives: if it stops to, this module can go
        convert(tf.constant([BYTES]))
    with (
        pytest.raises(tf.errors.InvalidArgumentError, match=r"correctly convert string: \\xff\\xd8 é") as caught,
        graph_errors(),
    ):
        convert(tf.constant([BYTES]))
    assert caught.value.error_code == tf.errors.INVALID_ARGUMENT
    assert message_of(plain.value) in message_of(as_op_error(plain.value))


def test_other_errors_and_answers_pass():
    with pytest.raises(tf.errors.InvalidArgumentError, match="convert string: abc"), graph_errors():
        tf.strings.to_number("abc")
    with graph_errors():
        assert np.isclose(tf.strings.to_number("1.5"), 1.5)
    assert message_of(ValueError("é")) == "é"
