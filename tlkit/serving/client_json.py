"""A client's half of TensorFlow Serving's JSON: arrays and tf.Examples out, answers in.

Follows TensorFlow Serving's REST document (g3doc/api_rest.md): the columnar format, in which an output need not have a
batch dimension. Bytes that are text travel as JSON strings, all others as {"b64": ...}; both arrive as the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.export.manifest import TensorInfo
from tlkit.export.short_floats import short_float
from tlkit.serving.tensor_proto import TensorError, dtype_name
from tlkit.serving.transport import ClassScore


class AnswerError(ValueError):
    """The server's answer is not of the form that its metadata and the REST document promise."""


def dumps(document: dict[str, Any]) -> bytes:
    """Write a request's body."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def loads(body: bytes) -> dict[str, Any]:
    """Read an answer's body.

    Raises:
        AnswerError: it is no JSON object.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"the response is not JSON: {type(error).__name__}: {error}") from None
    if not isinstance(document, dict):
        raise AnswerError(f"the response is not a JSON object but {_shown(document)}")
    return document


def to_json(array: np.ndarray) -> Any:
    """Write an array as nested lists.

    Args:
        array: any shape; strings as objects of bytes.

    Raises:
        TensorError: JSON cannot hold such an array.
    """
    if array.dtype.kind not in "fiubO":
        raise TensorError(f"JSON has no values of type {array.dtype}")
    if 0 in array.shape[:-1]:
        raise TensorError(f"JSON cannot represent an empty array of shape {list(array.shape)}")
    if array.dtype.kind != "O":
        return array.tolist()
    flat = np.empty(array.size, object)
    flat[:] = [bytes_to_json(item) for item in array.flat]
    return flat.reshape(array.shape).tolist()


def bytes_to_json(item: bytes) -> Any:
    """Write bytes as text where they are text without a zero byte, which some readers take for the end."""
    if b"\0" not in item:
        try:
            return item.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(item).decode("ascii")}


def from_json(value: Any, info: TensorInfo) -> np.ndarray:
    """Read an output.

    Args:
        value: nested lists, of one depth everywhere.
        info: what the metadata says about it; the shape does not matter.

    Returns:
        An array of that type; bfloat16 as float32; strings as objects of bytes.

    Raises:
        AnswerError: the lists are ragged, or hold something else.
    """
    if info.dtype == "string":
        return _strings(value)
    dtype = np.dtype("float32" if info.dtype == "bfloat16" else info.dtype)
    try:
        array = np.array(value)
        if array.dtype == object and all(type(item) in (int, float) for item in array.flat):
            array = array.astype(np.float64)  # whole numbers beyond int64
    except (ValueError, TypeError, OverflowError) as error:
        raise AnswerError(f"an output of type {info.dtype} contains {_shown(value)}: {error}") from None
    allowed = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}.get(dtype.kind, "")
    if array.size and array.dtype.kind not in allowed:
        raise AnswerError(f"an output of type {info.dtype} contains {_shown(value)}")
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def outputs_from_json(content: Any, outputs: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    """Read what stands under "outputs"; the name of an only output is left out there."""
    if len(outputs) == 1:
        ((name, info),) = outputs.items()
        return {name: from_json(content, info)}
    if not isinstance(content, dict) or set(content) != set(outputs):
        named = sorted(content) if isinstance(content, dict) else _shown(content)
        raise AnswerError(f"the response has outputs {named}, the metadata {sorted(outputs)}")
    return {name: from_json(content[name], info) for name, info in outputs.items()}


def example_to_json(example: Any) -> dict[str, Any]:
    """Write a tf.Example (`tlkit.serving.protos.Example`); a feature without values is left out, as it says nothing.

    Floats keep their point and whole numbers have none, for that is how the server tells them apart.
    """
    features = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        if values:
            features[name] = [bytes_to_json(value) for value in values] if kind == "bytes_list" else values
    return features


def classes_from_json(results: Any) -> list[list[ClassScore]]:
    """Read the results of a classification: for each example pairs of label and score."""
    try:
        return [[_class_score(*pair) for pair in pairs] for pairs in results]
    except (TypeError, ValueError) as error:
        raise AnswerError(f"results are not lists of labels and scores: {error}") from None


def values_from_json(results: Any) -> np.ndarray:
    """Read the results of a regression: float32 [n]."""
    array = from_json(results, TensorInfo(dtype=dtype_name(1), shape=None))
    if array.ndim != 1:
        raise AnswerError(f"results are not a list of numbers but {_shown(results)}")
    return array


def _class_score(label: Any, score: Any) -> ClassScore:
    if not isinstance(label, str) or isinstance(score, bool) or not isinstance(score, int | float):
        raise ValueError(_shown([label, score]))
    return ClassScore(label, short_float(score))


def _strings(value: Any) -> np.ndarray:
    shape, level = [], [value]
    while level and isinstance(level[0], list):
        sizes = {len(item) if isinstance(item, list) else -1 for item in level}
        if len(sizes) > 1:
            raise AnswerError(f"an output of strings is ragged: {_shown(value)}")
        shape.append(sizes.pop())
        level = [item for part in level for item in part]
    flat = np.empty(len(level), object)
    flat[:] = [_to_bytes(item) for item in level]
    return flat.reshape(shape if math.prod(shape) == len(level) else [*shape, 0])


def _to_bytes(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode("utf-8", "surrogatepass")
    if isinstance(item, dict) and set(item) == {"b64"} and isinstance(item["b64"], str):
        try:
            return base64.b64decode(item["b64"], validate=True)
        except binascii.Error:
            pass
    raise AnswerError(f"an output of strings contains {_shown(item)}")


def _shown(value: Any) -> str:
    if isinstance(value, dict | list) and not isinstance(value, Sequence):
        return type(value).__name__
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
