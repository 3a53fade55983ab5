"""TensorFlow's messages about failed assertions become the graph's own sentence."""

import pytest

from tlkit.export.graph_messages import plain_message

NODES = "\n\t [[{{node StatefulPartitionedCall/map/while/Assert}}]]"


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            f"assertion failed: [not an image; known formats are jpeg, png]{NODES}",
            "not an image; known formats are jpeg, png",
        ),
        (
            f"assertion failed: [the batch is empty.  ] [Condition x > 0 did not hold:] [x = ] [0]{NODES}",
            "the batch is empty",
        ),
        (
            f"assertion failed: [a \\\"b\\\" [\\'q\\'] café\\nline; x] y] [1 2] [p q r...]{NODES}",
            "a \"b\" ['q'] café\nline; x] y 1 2 p q r...",
        ),
        (
            f"2 root error(s) found.\n  (0) X: assertion failed: [two \\\\ words]{NODES}\n\t [[B/_1]]\n  (1) x",
            "two \\ words",
        ),
        ("{{function_node __inference_f}} assertion failed: [once] [[{{node Assert}}]] [Op:__inference_f_11]", "once"),
        ("assertion failed: [] [Condition x]", "assertion failed: [] [Condition x]"),
        (
            f"Matrix size-incompatible: In[0]: [1,3], In[1]: [2,1]{NODES}",
            f"Matrix size-incompatible: In[0]: [1,3], In[1]: [2,1]{NODES}",
        ),
        ("", ""),
    ],
)
def test_the_sentence_is_what_stays(message: str, sentence: str):
    assert plain_message(message) == sentence


def test_it_reads_what_tensorflow_writes():
    import tensorflow as tf

    from tlkit.serving.batching import as_serving_error

    @tf.function
    def refuse(values):
        with tf.control_dependencies([tf.raw_ops.Assert(condition=False, data=["it's [no] “image”", values])]):
            return tf.identity(values)

    @tf.function
    def positive(values):
        tf.debugging.assert_positive(values, message="the batch is empty")
        return values

    for function, sentence in ((refuse, "it's [no] “image” 7"), (positive, "the batch is empty")):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            function.get_concrete_function(tf.TensorSpec([], tf.int32))(tf.constant(7 if function is refuse else -7))
        assert as_serving_error(caught.value).message == sentence
