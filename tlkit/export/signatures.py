"""The endpoints of an image classifier as TensorFlow functions, and their schema read back from disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils

from tlkit.errors import ExportError
from tlkit.export.averaged_views import AveragedViews
from tlkit.export.manifest import SignatureInfo, TensorInfo

if TYPE_CHECKING:
    from tlkit.models.task import Task

CLASSIFY_METHOD = "tensorflow/serving/classify"
EXAMPLE_FEATURE = "image/encoded"


def serving_module(
    task: Task, labels_file: Path, views: AveragedViews | None = None
) -> tuple[tf.Module, dict[str, tf.types.experimental.GenericFunction]]:
    """Return a module that owns the weights and the labels file, and the signatures that run on them.

    The signatures call three shared functions (decode, features, head): the network is in the graph once. A
    plain tf.Module is saved, not the Keras object: the file then names nothing that needs Keras to load, and
    the labels travel as a tracked asset, which keras.export.ExportArchive has no public way to add.

    Example:
        >>> module, signatures = serving_module(task, Path("labels.txt"))
        >>> tf.saved_model.save(module, "photos/1", signatures=signatures)

    Args:
        task: an image classifier; its networks run with training=False.
        labels_file: one class name a line, in the order of the outputs.
        views: adds the signature tta, which runs on the same weights.

    Returns:
        The module, and by name:
        serving_default: image_bytes string [B] -> classes string [B, k], scores float32 [B, k], best first.
        probabilities: image_bytes string [B] -> probabilities float32 [B, k] in the order of the labels.
        embedding: image_bytes string [B] -> embedding float32 [B, F].
        pixels: pixels float32 [B, S, S, 3], RGB in 0..255 -> classes, scores.
        classify: inputs string [B], tf.Examples with bytes feature "image/encoded" -> classes, scores.
        tta: image_bytes string [B] -> probabilities float32 [B, k], averaged over views; only with `views`.
    """
    size = int(task.preprocessing.size)
    n_classes = len(task.class_names)
    pixel_spec = tf.TensorSpec([None, size, size, 3], tf.float32, name="pixels")
    bytes_spec = tf.TensorSpec([None], tf.string, name="image_bytes")

    def graph(*specs: tf.TensorSpec) -> Callable[..., tf.types.experimental.GenericFunction]:
        return tf.function(input_signature=list(specs), autograph=False)

    @graph(bytes_spec)
    def decode(image_bytes: tf.Tensor) -> tf.Tensor:
        image_bytes = tf.ensure_shape(image_bytes, [None])
        tf.debugging.assert_positive(tf.shape(image_bytes)[0], message="the batch is empty")
        pixels = tf.cast(task.preprocessing.batch(image_bytes), tf.float32)
        return tf.ensure_shape(pixels, pixel_spec.shape)

    @graph(pixel_spec)
    def features(pixels: tf.Tensor) -> tf.Tensor:
        # A wrong rank must end here: inside a oneDNN convolution it would abort the whole server.
        pixels = tf.ensure_shape(pixels, pixel_spec.shape)
        return tf.cast(task.features(pixels, training=False), tf.float32)

    @graph(tf.TensorSpec([None, task.features.output_shape[-1]], tf.float32, name="embedding"))
    def head(embedding: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.cast(task.head(embedding, training=False), tf.float32))

    def ranked(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, order = tf.math.top_k(head(features(pixels)), k=n_classes, sorted=True)
        return {"classes": tf.gather(tf.constant(list(task.class_names)), order), "scores": scores}

    @graph(bytes_spec)
    def serving_default(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return ranked(decode(image_bytes))

    @graph(bytes_spec)
    def probabilities(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": head(features(decode(image_bytes)))}

    @graph(bytes_spec)
    def embedding(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": features(decode(image_bytes))}

    @graph(pixel_spec)
    def pixels(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.ensure_shape(pixels, pixel_spec.shape)
        tf.debugging.assert_positive(tf.shape(pixels)[0], message="the batch is empty")
        return ranked(pixels)

    @graph(tf.TensorSpec([None], tf.string, name="inputs"))
    def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = tf.ensure_shape(inputs, [None])
        parsed = tf.io.parse_example(inputs, {EXAMPLE_FEATURE: tf.io.FixedLenFeature([], tf.string)})
        return ranked(decode(parsed[EXAMPLE_FEATURE]))

    signatures = {
        "serving_default": serving_default,
        "probabilities": probabilities,
        "embedding": embedding,
        "pixels": pixels,
        "classify": classify,
    }
    if views is not None:
        averaged = views

        @graph(bytes_spec)
        def tta(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": averaged(lambda pixels: head(features(pixels)), decode(image_bytes))}

        signatures["tta"] = tta
    module = tf.Module()
    module.labels = tf.saved_model.Asset(str(labels_file))
    module.weights = _variables_of([features, head])
    module.endpoints = signatures
    return module, signatures


def mark_classify(saved_model: Path) -> None:
    """Give the classify signature the method name that TensorFlow Serving's Classify call asks for.

    tf.saved_model.save calls every method predict; the fingerprint is renewed after the change.
    """
    path = saved_model / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in proto.meta_graphs:
        if "classify" in meta_graph.signature_def:
            meta_graph.signature_def["classify"].method_name = CLASSIFY_METHOD
    path.write_bytes(proto.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(saved_model))


def read_signatures(saved_model: Path) -> dict[str, SignatureInfo]:
    """Return the schema of every signature of a SavedModel, read from its saved_model.pb.

    Raises:
        ExportError: the file cannot be parsed.
    """
    try:
        proto = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
        found = proto.meta_graphs[0].signature_def
    except Exception as error:
        raise ExportError(f"{saved_model} holds no readable saved_model.pb: {error}") from error
    return {
        name: SignatureInfo(
            method=signature.method_name,
            inputs={key: _tensor_info(info) for key, info in sorted(signature.inputs.items())},
            outputs={key: _tensor_info(info) for key, info in sorted(signature.outputs.items())},
        )
        for name, signature in sorted(found.items())
        if not name.startswith("__")
    }


def _tensor_info(info: object) -> TensorInfo:
    shape = tf.TensorShape(info.tensor_shape)  # type: ignore[attr-defined]
    dtype = tf.dtypes.as_dtype(info.dtype).name  # type: ignore[attr-defined]
    return TensorInfo(dtype=dtype, shape=None if shape.rank is None else tuple(shape.as_list()))


def _variables_of(functions: list[tf.types.experimental.GenericFunction]) -> list[tf.Variable]:
    found: dict[int, tf.Variable] = {}
    for function in functions:
        for variable in function.get_concrete_function().variables:
            found.setdefault(id(variable), variable)
    return list(found.values())
