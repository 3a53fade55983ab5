"""The JSON of :classify and :regress: examples in, as serialized tf.Examples, and results out.

Follows TensorFlow Serving's REST document: {"signature_name": ..., "context": {...}, "examples": [{...}, ...]} ->
{"results": [...]}. A feature's type is that of its JSON values: text, whole numbers and booleans, or decimals.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.export.short_floats import short_floats
from tlkit.serving.example_results import Classification
from tlkit.serving.json_document import BadRequestError, Document, Repeated, shown, type_name
from tlkit.serving.json_tensor import as_bytes, as_json, is_base64

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def to_examples(document: Document) -> np.ndarray:
    """Return the examples of a request, each with the context's features added.

    Example:
        >>> to_examples(parse(b'{"examples": [{"age": 20}]}')).shape
        (1,)

    Args:
        document: the parsed body.

    Returns:
        Serialized tf.Examples, shape [examples], objects of type bytes.

    Raises:
        BadRequestError: there are no examples, or one is not as it must be.
    """
    members = document.members
    context = _example(members["context"], document) if "context" in members else b""
    if "examples" not in members:
        raise BadRequestError(
            f"JSON Value: {shown(members)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = members["examples"]
    if not isinstance(examples, list):
        raise BadRequestError(f"JSON Value: {shown(members)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise BadRequestError(f"JSON Value: {shown(members)} 'examples' value is an empty array")
    array = np.empty(len(examples), object)
    # Serialized messages that stand behind each other are merged on reading; the later ones win.
    array[:] = [context + _example(example, document) for example in examples]
    return array


def classification_json(result: Classification) -> bytes:
    """Write the answer of :classify: [label, score] for every class of every example."""
    if not result.examples:
        raise BadRequestError("Cannot convert empty ClassificationResults to JSON")
    shape = result.examples, result.classes
    labels = np.full(shape, b"", object) if result.labels is None else result.labels
    scores = np.zeros(shape, np.float32) if result.scores is None else result.scores
    rows = zip(labels.tolist(), short_floats(scores).tolist(), strict=True)
    return as_json(
        {
            "results": [
                [[label.decode("utf-8", "replace"), score] for label, score in zip(names, values, strict=True)]
                for names, values in rows
            ]
        }
    )


def regression_json(values: np.ndarray) -> bytes:
    """Write the answer of :regress: one number for every example."""
    if not values.size:
        raise BadRequestError("Cannot convert empty RegressionResults to JSON")
    return as_json({"results": short_floats(values).tolist()})


def _example(value: Any, document: Document) -> bytes:
    if not isinstance(value, dict):
        raise BadRequestError(f"Example must be JSON object but got JSON {type_name(value)}")
    example = tf.train.Example()
    features = example.features.feature
    # A feature that is given twice is the later one, unlike the keys of the document.
    for name, content in value.pairs if isinstance(value, Repeated) else value.items():
        feature = features[name]
        feature.Clear()
        _fill(feature, name, content if isinstance(content, list) else [content], document)
    return bytes(example.SerializeToString())


def _fill(feature: Any, name: str, values: list[Any], document: Document) -> None:
    kind = ""
    converted: list[Any] = []
    for value in values:
        found = _kind(name, value)
        if kind and found != kind:
            raise BadRequestError(f"Unexpected element type in feature: {name} expecting type: {_KINDS[kind]}")
        kind = found
        if kind == "bytes_list":
            converted.append(as_bytes(value))
        elif kind == "float_list":
            if isinstance(value, float) and math.isinf(value):
                document.check_infinity()
            converted.append(_as_double(value))
        elif isinstance(value, int) and value >= 2**63:
            raise BadRequestError(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        else:
            converted.append(int(value))
    if kind:
        getattr(feature, kind).value.extend(np.array(converted, np.float32) if kind == "float_list" else converted)


def _kind(name: str, value: Any) -> str:
    if isinstance(value, str) or is_base64(value):
        return "bytes_list"
    if value is None or isinstance(value, list | dict):
        raise BadRequestError(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
    if isinstance(value, float) or not -(2**63) <= value < 2**64:  # RapidJSON reads such integers as doubles
        return "float_list"
    return "int64_list"


def _as_double(value: float | int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise BadRequestError("JSON Parse error: Number too big to be stored in double.") from None
