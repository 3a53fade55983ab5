"""The requests of tensorflow.serving.PredictionService, made into calls of a model.

Follows TensorFlow Serving's implementation: codes, error texts, output_filter, the default values of a signature,
and answers in typed fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    input_pb2,
    predict_pb2,
    regression_pb2,
)

from tlkit.serving.call import DEFAULT_SIGNATURE, Call
from tlkit.serving.example_results import (
    classification,
    classify_tensors,
    find_signature,
    regress_tensors,
    regression,
)
from tlkit.serving.servable import Servable
from tlkit.serving.status import Code, ServingError
from tlkit.serving.tensor_proto import TensorError, UnsupportedTypeError, from_proto, to_proto

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
_METADATA_FIELD = "signature_def"


def prepare(servable: Servable, method: str, body: bytes) -> Call:
    """Parse a request.

    Args:
        servable: the model that the request's model_spec was found to mean.
        method: "predict", "classify", "regress", "multi_inference" or "metadata".
        body: the serialized request.

    Returns:
        The call; its answer is the serialized response.

    Raises:
        ServingError: the body is not a request that the model can take.
    """
    kinds: dict[str, tuple[type[Any], Callable[[Servable, Any], Call]]] = {
        "predict": (predict_pb2.PredictRequest, predict),
        "classify": (classification_pb2.ClassificationRequest, classify),
        "regress": (regression_pb2.RegressionRequest, regress),
        "multi_inference": (inference_pb2.MultiInferenceRequest, multi_inference),
        "metadata": (get_model_metadata_pb2.GetModelMetadataRequest, metadata),
    }
    if method not in kinds:
        raise ServingError(Code.UNIMPLEMENTED, f"Unknown method: {method}")
    kind, make = kinds[method]
    try:
        request = kind.FromString(body)
    except DecodeError:
        raise _invalid(f"the body is not a tensorflow.serving.{kind.__name__}") from None
    if method != "multi_inference" and not request.HasField("model_spec"):
        raise _invalid("Missing ModelSpec")
    return make(servable, request)


def predict(servable: Servable, request: predict_pb2.PredictRequest) -> Call:
    """Make a call of a PredictRequest.

    Raises:
        ServingError: FAILED_PRECONDITION: no such signature. INVALID_ARGUMENT: inputs or outputs that it lacks.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    _check_size(signature, request)
    feeds = {}
    for alias in sorted(signature.inputs):
        info = signature.inputs[alias]
        if alias in request.inputs:
            feeds[info.name] = _to_array(request.inputs[alias], alias)
        elif alias in signature.defaults:
            feeds[info.name] = _to_array(signature.defaults[alias], alias)
        else:
            raise _invalid(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {_listed(request.inputs)}, or default input alias "
                f"set: {','.join(sorted(signature.defaults))}"
            )
    used = request.inputs.keys() & signature.inputs.keys()
    if len(used) != len(request.inputs):
        raise _invalid(
            f"Inputs contains invalid name. Used request inputs: {','.join(sorted(used))}, request input: "
            f"{','.join(sorted(request.inputs))}"
        )
    outputs = _outputs(signature, request)

    def finish(fetched: list[np.ndarray]) -> bytes:
        response = predict_pb2.PredictResponse()
        _fill_spec(response.model_spec, servable, name)
        for alias, array in zip(outputs, fetched, strict=True):
            try:
                to_proto(array, into=response.outputs[alias], by_value=True)
            except UnsupportedTypeError as error:
                raise ServingError(Code.UNIMPLEMENTED, f"output {alias}: {error}") from None
        return bytes(response.SerializeToString())

    rows = next((len(array) for array in feeds.values() if array.ndim), None)
    fetches = tuple(signature.outputs[alias].name for alias in outputs)
    return Call(feeds, fetches, finish, rows, servable.is_batchable(name))


def classify(servable: Servable, request: classification_pb2.ClassificationRequest) -> Call:
    """Make a call of a ClassificationRequest.

    Raises:
        ServingError: INVALID_ARGUMENT: no such signature, one that does not classify, or no examples.
    """
    return _on_examples(
        servable, request, classify_tensors, classification_pb2.ClassificationResponse, _fill_classification
    )


def regress(servable: Servable, request: regression_pb2.RegressionRequest) -> Call:
    """Make a call of a RegressionRequest.

    Raises:
        ServingError: INVALID_ARGUMENT: no such signature, one that does not regress, or no examples.
    """
    return _on_examples(servable, request, regress_tensors, regression_pb2.RegressionResponse, _fill_regression)


def multi_inference(servable: Servable, request: inference_pb2.MultiInferenceRequest) -> Call:
    """Make one call of all tasks of a MultiInferenceRequest, which share their examples.

    Raises:
        ServingError: a task cannot be answered.
    """
    tasks: dict[str, Any] = {}  # by signature, which may occur once
    sources: dict[str, None] = {}
    fetches: dict[str, None] = {}
    for task in request.tasks:
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if not task.model_spec.name:
            raise _invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise _invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if name in tasks:
            raise _invalid(f"Duplicate evaluation of signature: {name}")
        tasks[name] = task
        source, outputs = _task_tensors(servable, task.method_name, name)
        sources[source] = None
        fetches.update(dict.fromkeys(outputs))
    examples = to_examples(request.input)

    def finish(fetched: list[np.ndarray]) -> bytes:
        response = inference_pb2.MultiInferenceResponse()
        by_name = dict(zip(fetches, fetched, strict=True))
        for name, task in tasks.items():
            result = response.results.add()
            _fill_spec(result.model_spec, servable, name)
            signature = servable.signatures[name]
            if task.method_name == CLASSIFY_METHOD:
                _fill_classification(result.classification_result, signature, len(examples), by_name)
            else:
                _fill_regression(result.regression_result, signature, len(examples), by_name)
        return bytes(response.SerializeToString())

    batchable = bool(tasks) and all(servable.is_batchable(name) for name in tasks)
    return Call(dict.fromkeys(sources, examples), tuple(fetches), finish, len(examples), batchable, lists_rows=True)


def metadata(servable: Servable, request: get_model_metadata_pb2.GetModelMetadataRequest) -> Call:
    """Answer a GetModelMetadataRequest, which runs nothing.

    Raises:
        ServingError: INVALID_ARGUMENT: it asks for nothing, or for something else than the signatures.
    """
    if not request.metadata_field:
        raise _invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != _METADATA_FIELD:
            raise _invalid(f"Metadata field {field} is not supported")

    def finish(_: list[np.ndarray]) -> bytes:
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _fill_spec(response.model_spec, servable, "")
        response.metadata[_METADATA_FIELD].Pack(signatures)
        return bytes(response.SerializeToString())

    return Call({}, (), finish)


def to_examples(source: input_pb2.Input) -> np.ndarray:
    """Return the serialized examples of an Input, each with the context added; shape [examples].

    Raises:
        ServingError: INVALID_ARGUMENT: there are none.
    """
    kind = source.WhichOneof("kind")
    context = b""
    examples: Any = ()
    if kind == "example_list":
        examples = source.example_list.examples
    elif kind == "example_list_with_context":
        examples = source.example_list_with_context.examples
        context = source.example_list_with_context.context.SerializeToString()
    if not examples:
        raise _invalid("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def _check_size(signature: meta_graph_pb2.SignatureDef, request: predict_pb2.PredictRequest) -> None:
    sent, known = request.inputs.keys(), signature.inputs.keys()
    if len(sent) > len(known) or (len(sent) < len(known) and not signature.defaults):
        raise _invalid(
            f"input size does not match signature: {len(sent)}!={len(known)} len({_listed(sent)}) != "
            f"len({_listed(known)}). Sent extra: {_listed(sent - known)}. Missing but required: "
            f"{_listed(known - sent)}."
        )


def _outputs(signature: meta_graph_pb2.SignatureDef, request: predict_pb2.PredictRequest) -> list[str]:
    wanted: list[str] = []
    for alias in request.output_filter:
        if alias not in signature.outputs:
            raise _invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_listed(signature.outputs)}."
            )
        if alias in wanted:
            raise _invalid(f"duplicate output tensor alias: {alias}")
        wanted.append(alias)
    return sorted(wanted or signature.outputs)


def _task_tensors(servable: Servable, method_name: str, name: str) -> tuple[str, tuple[str, ...]]:
    if name not in servable.signatures:
        raise _invalid(f"Requested signature not found in model graph: {name}")
    if method_name == CLASSIFY_METHOD:
        return classify_tensors(servable.signatures[name])
    if method_name == REGRESS_METHOD:
        return regress_tensors(servable.signatures[name])
    raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {method_name}")


def _fill_spec(spec: Any, servable: Servable, signature_name: str) -> None:
    spec.name = servable.name
    spec.version.value = servable.version
    spec.signature_name = signature_name


def _on_examples(
    servable: Servable,
    request: Any,
    tensors: Callable[[meta_graph_pb2.SignatureDef], tuple[str, tuple[str, ...]]],
    response_type: type[Any],
    fill: Callable[[Any, meta_graph_pb2.SignatureDef, int, dict[str, np.ndarray]], None],
) -> Call:
    """Make a call of a request that holds examples; `fill` writes what was fetched into the response's result."""
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = find_signature(servable.signatures, name)
    source, fetches = tensors(signature)
    examples = to_examples(request.input)

    def finish(fetched: list[np.ndarray]) -> bytes:
        response = response_type()
        _fill_spec(response.model_spec, servable, name)
        fill(response.result, signature, len(examples), dict(zip(fetches, fetched, strict=True)))
        return bytes(response.SerializeToString())

    batchable = servable.is_batchable(name)
    return Call({source: examples}, fetches, finish, len(examples), batchable, lists_rows=True)


def _fill_classification(
    result: classification_pb2.ClassificationResult,
    signature: meta_graph_pb2.SignatureDef,
    examples: int,
    by_name: dict[str, np.ndarray],
) -> None:
    found = classification(signature, examples, by_name)
    labels = found.labels.tolist() if found.labels is not None else None
    scores = found.scores.tolist() if found.scores is not None else None
    for row in range(found.examples):
        classes = result.classifications.add().classes
        for column in range(found.classes):
            entry = classes.add()
            if labels is not None:
                entry.label = labels[row][column].decode("utf-8", "replace")
            if scores is not None:
                entry.score = scores[row][column]


def _fill_regression(
    result: regression_pb2.RegressionResult,
    signature: meta_graph_pb2.SignatureDef,
    examples: int,
    by_name: dict[str, np.ndarray],
) -> None:
    for value in regression(signature, examples, by_name).tolist():
        result.regressions.add().value = value


def _listed(names: Any) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _to_array(tensor: Any, alias: str) -> np.ndarray:
    try:
        return from_proto(tensor, exact=False)
    except UnsupportedTypeError as error:
        raise ServingError(Code.UNIMPLEMENTED, f"input {alias}: {error}") from None
    except TensorError as error:
        raise _invalid(f"tensor parsing error: {alias}: {error}") from None


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
