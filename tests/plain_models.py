"""Small SavedModels without Keras, for tests of the server."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import tensorflow as tf

ANY = tf.TensorShape(None)


def _function(body, **specs):
    return tf.function(
        body, input_signature=[tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in specs.items()]
    )


def _double(x):
    return {"y": 2.0 * x + 1.0, "total": tf.reduce_sum(x, axis=1)}


def _checked(x):
    with tf.control_dependencies([tf.debugging.assert_non_negative(x, message="a negative row")]):
        return {"root": tf.sqrt(x)}


def _same(a, s, n):
    return {"a": tf.identity(a), "s": tf.identity(s), "n": tf.identity(n)}


def _identity(x):
    return {"y": tf.identity(x)}


def _spin(rounds, x):
    steps = tf.reduce_max(rounds)
    _, y = tf.while_loop(lambda i, _: i < steps, lambda i, y: (i + 1, y + 1.0), [tf.constant(0), x])
    return {"y": y}


_SCORES = tf.constant([[0.2, 0.7, 0.1], [0.7, 0.1, 0.2]])
_LABELS = tf.constant([["car", "bike", "bus"]])


def _classify(inputs):
    features = {
        "row": tf.io.FixedLenFeature([], tf.int64),
        "bias": tf.io.FixedLenFeature([], tf.float32, default_value=0.0),
    }
    parsed = tf.io.parse_example(inputs, features)
    scores = tf.gather(_SCORES, parsed["row"]) + parsed["bias"][:, None]
    return {"scores": scores, "classes": tf.tile(_LABELS, [tf.shape(scores)[0], 1])}


def _regress(inputs):
    parsed = tf.io.parse_example(inputs, {"v": tf.io.FixedLenFeature([], tf.float32)})
    return {"outputs": parsed["v"] * 10.0}


def _example_outputs(**outputs):
    """A signature that takes examples and answers fixed outputs."""
    return _function(
        lambda inputs: {key: tf.constant(value) for key, value in outputs.items()}, inputs=([None], tf.string)
    )


@functools.cache
def shared_model() -> Path:
    """Write the model `plain`, version 1, once a process, and return its version folder."""
    path = Path(tempfile.mkdtemp(prefix="plain_models_")) / "plain" / "1"
    any_shape = dict.fromkeys(("float16", "uint8", "uint16", "bfloat16", "int32", "bool", "string"), ANY)
    signatures = {
        "serving_default": _function(_double, x=([None, 2], tf.float32)),
        "checked": _function(_checked, x=([None], tf.float32)),
        "same": _function(_same, a=(ANY, tf.float32), s=(ANY, tf.string), n=(ANY, tf.int64)),
        "plus": _function(lambda x: {"y": x + 1.0}, x=([None, 1], tf.float32)),
        "unequal": _function(lambda x: {"y": tf.unique(x)[0]}, x=([None], tf.float32)),
        "scalar": _function(lambda s: {"joined_bytes": tf.strings.reduce_join(s)}, s=([None], tf.string)),
        "spin": _function(_spin, rounds=([None], tf.int32), x=([None], tf.float32)),
        "classify": _function(_classify, inputs=([None], tf.string)),
        "regress": _function(_regress, inputs=([None], tf.string)),
        "labels_only": _example_outputs(classes=[["a", "b"]]),
        "scores_only": _example_outputs(scores=[[0.0, 0.5]]),
        "scores_flat": _example_outputs(scores=[0.5]),
        "scores_double": _function(
            lambda inputs: {"scores": tf.zeros([tf.size(inputs), 2], tf.float64)}, inputs=([None], tf.string)
        ),
        "unequal_classes": _example_outputs(classes=[["a", "b"]], scores=[[0.5]]),
        "values_wide": _example_outputs(outputs=[[1.0, 2.0]]),
        "nothing": _example_outputs(other=[[1.0]]),
    }
    signatures |= {name: _function(_identity, x=(shape, getattr(tf, name))) for name, shape in any_shape.items()}
    module = tf.Module()
    module.signatures_kept = list(signatures.values())
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


def write_refused(path: Path, kind: str) -> Path:
    """Write a SavedModel that holds an operation which a server refuses."""
    bodies = {
        "PyFunc": lambda x: {"y": tf.numpy_function(lambda value: value, [x], tf.string)},
        "EagerPyFunc": lambda x: {"y": tf.py_function(lambda value: value, [x], tf.string)},
        "ReadFile": lambda x: {"y": tf.map_fn(tf.io.read_file, x)},
        "PrintV2": lambda x: (tf.print(x, output_stream="file:///tmp/never"), {"y": tf.identity(x)})[1],
        "RestoreV2": lambda x: {"y": tf.raw_ops.RestoreV2(prefix=x[0], tensor_names=["a"], shape_and_slices=[""],
                                                         dtypes=[tf.string])[0]},
    }  # fmt: skip
    module = tf.Module()
    module.run = _function(bodies[kind], x=([None], tf.string))
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.run})
    return path
