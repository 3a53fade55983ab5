"""The endpoints of a task as TensorFlow functions, and their schema read back from disk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils

from tlkit.errors import ExportError
from tlkit.export.averaged_views import AveragedViews
from tlkit.export.further import Further, further_signatures
from tlkit.export.interface import Interface, Output, input_of
from tlkit.export.manifest import SignatureInfo, TensorInfo
from tlkit.inputs.base import Preprocessing
from tlkit.inputs.named_inputs import function_of_inputs
from tlkit.lazy import loaded
from tlkit.models.query import Query

if TYPE_CHECKING:
    from tlkit.models.task import Task

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
_EXAMPLE_METHODS = {"classify": CLASSIFY_METHOD, "regress": REGRESS_METHOD}


def serving_module(
    task: Task,
    interface: Interface,
    labels_file: Path,
    views: AveragedViews | None = None,
    level: float = 0.9,
    queries: Mapping[str, Query] | None = None,
) -> tuple[tf.Module, dict[str, tf.types.experimental.GenericFunction]]:
    """Return a module that owns the weights and the labels file, and the signatures that run on them.

    The signatures call three shared functions (decode, features, head): the network is in the graph once. A
    plain tf.Module is saved, not the Keras object: the file then names nothing that needs Keras to load, and
    the labels travel as a tracked asset, which keras.export.ExportArchive has no public way to add. A tokenizer's
    model is a constant of the graph.

    Example:
        >>> module, signatures = serving_module(task, interface_of(task), Path("labels.txt"))
        >>> tf.saved_model.save(module, "photos/1", signatures=signatures)

    Args:
        task: what is exported; its networks run with training=False.
        interface: of its export.
        labels_file: one label a line, in the order of the outputs.
        views: adds the signature tta, which runs on the same weights; images only.
        level: of the signature conformal.
        queries: signatures with inputs of their own.

    Returns:
        The module, and the signatures by name, where CONTENT is image_bytes or text, a string [B], or, for rows of
        tables, an input [B] for each column:
        serving_default: CONTENT -> classes string [B, k], scores float32 [B, k], best first. Or the value of a
        regression [B] by its name, a risk [B] and survival float32 [B, T], or these of several targets side by side.
        Values are float32, or float64 where float32 would lose digits.
        probabilities: CONTENT -> probabilities float32 [B, k] in the order of the labels. Where the targets are not one
        classification it is called predictions, with values in their own unit.
        embedding: CONTENT -> embedding float32 [B, F].
        classify: inputs string [B], tf.Examples with bytes feature "image/encoded" or "text", or a feature for each
        column -> classes, scores. For one value instead regress -> outputs float32 [B, 1]; there is none where the
        values are float64, for risks with curves, and for several targets.
        pixels: pixels float32 [B, S, S, 3], RGB in 0..255 -> as serving_default; images only.
        tokens: token_ids int32 [B, T] -> as serving_default; texts only.
        encoded: encoded float32 [B, D], codes and scaled numbers -> as serving_default; rows only.
        tta: CONTENT -> as probabilities or predictions, averaged over views; only with `views`.
        What `further_signatures` lists: CONTENT -> its outputs; only where the task is calibrated.
    """
    preprocessing: Preprocessing = task.preprocessing
    spec, wire = input_of(task), interface.model_dump()
    raw_spec = tf.TensorSpec(interface.raw_shape, interface.raw_dtype, name=interface.raw_input)
    content_spec = tf.TensorSpec([None], tf.string, name=interface.input or "examples")

    def graph(*specs: tf.TensorSpec) -> Callable[..., tf.types.experimental.GenericFunction]:
        return tf.function(input_signature=list(specs), autograph=False)

    @graph(content_spec)
    def decode(contents: tf.Tensor) -> tf.Tensor:
        contents = tf.ensure_shape(contents, [None])
        tf.debugging.assert_positive(tf.shape(contents)[0], message="the batch is empty")
        raw = tf.cast(preprocessing.batch(contents), raw_spec.dtype)
        return tf.ensure_shape(raw, raw_spec.shape)

    @graph(raw_spec)
    def features(raw: tf.Tensor) -> tf.Tensor:
        # A wrong rank must end here: inside a oneDNN convolution it would abort the whole server.
        raw = tf.ensure_shape(raw, raw_spec.shape)
        return tf.cast(task.features(raw, training=False), tf.float32)

    @graph(tf.TensorSpec([None, task.features.output_shape[-1]], tf.float32, name="embedding"))
    def outputs_of(embedding: tf.Tensor) -> tf.Tensor:
        return tf.cast(task.head(embedding, training=False), tf.float32)

    def head(embedding: tf.Tensor) -> tf.Tensor:
        return task.objective.probabilities(outputs_of(embedding))

    def with_outputs(further: Further, raw: tf.Tensor) -> dict[str, tf.Tensor]:
        embedding = features(raw)
        return further(embedding, outputs_of(embedding))

    def answered(raw: tf.Tensor) -> dict[str, tf.Tensor]:
        return _by_output(head(features(raw)), interface.outputs_or(task.class_names, task.objective.name))

    def from_content(answer: Callable[[tf.Tensor], dict[str, tf.Tensor]]) -> Any:
        if spec.signature:
            return loaded(spec.signature)(preprocessing, wire, answer)
        return graph(content_spec)(lambda contents: answer(decode(contents)))

    @graph(raw_spec)
    def preprocessed(raw: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = tf.ensure_shape(raw, raw_spec.shape)
        tf.debugging.assert_positive(tf.shape(raw)[0], message="the batch is empty")
        with tf.control_dependencies(loaded(spec.raw_checks)(raw, wire) if spec.raw_checks else []):
            return answered(tf.identity(raw))

    @graph(tf.TensorSpec([None], tf.string, name="inputs"))
    def examples(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = tf.ensure_shape(inputs, [None])
        if interface.feature:
            parsed = tf.io.parse_example(inputs, {interface.feature: tf.io.FixedLenFeature([], tf.string)})
            inputs = parsed[interface.feature]
        raw = decode(inputs)
        return {"outputs": head(features(raw))} if interface.example_signature == "regress" else answered(raw)

    signatures = {
        "serving_default": from_content(answered),
        interface.answers: from_content(lambda raw: {interface.answers: head(features(raw))}),
        "embedding": from_content(lambda raw: {"embedding": task.embedded(features(raw))}),
        interface.raw_signature: preprocessed,
    }
    if interface.example_signature:
        signatures[interface.example_signature] = examples
    if views is not None:
        averaged = views

        @graph(content_spec)
        def tta(contents: tf.Tensor) -> dict[str, tf.Tensor]:
            return {interface.answers: averaged(lambda pixels: head(features(pixels)), decode(contents))}

        signatures["tta"] = tta
    for name, further in further_signatures(task, interface, level).items():
        signatures[name] = from_content(functools.partial(with_outputs, further))
    for name, query in (queries or {}).items():
        dtypes = {key: dtype for key, (dtype, _) in query.inputs.items()}
        signatures[name] = function_of_inputs(dtypes, "inputs", query.answer)
    module = tf.Module()
    module.queries = [query.kept for query in (queries or {}).values()]
    module.labels = tf.saved_model.Asset(str(labels_file))
    module.weights = _variables_of([features, outputs_of])
    module.novelty = None if task.novelty is None else task.novelty.variable
    module.tables = list(preprocessing.tables)
    module.endpoints = signatures
    return module, signatures


def _by_output(answers: tf.Tensor, outputs: Sequence[Output]) -> dict[str, tf.Tensor]:
    """Split answers [B, K] into what each output holds: values [B], or classes and scores, best first."""
    found: dict[str, tf.Tensor] = {}
    for output, part in zip(outputs, tf.split(answers, [output.width for output in outputs], axis=1), strict=True):
        if output.value:
            found[output.value] = tf.cast(part[:, 0], output.dtype)
            if output.curve:
                found[output.curve] = tf.cast(part[:, 1:], tf.float32)
            continue
        part = tf.cast(part, tf.float32)
        found[output.scores], order = tf.math.top_k(part, k=output.width, sorted=True)
        found[output.classes] = tf.gather(tf.constant(list(output.class_names)), order)
    return found


def mark_classify(saved_model: Path) -> None:
    """Give classify or regress the method name that TensorFlow Serving's call of that name asks for.

    tf.saved_model.save calls every method predict; the fingerprint is renewed after the change.
    """
    path = saved_model / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in proto.meta_graphs:
        for name, method in _EXAMPLE_METHODS.items():
            if name in meta_graph.signature_def:
                meta_graph.signature_def[name].method_name = method
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
        raise ExportError(f"{saved_model} contains no readable saved_model.pb: {error}") from error
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
