"""Signatures that take tf.Examples: what they must look like, and what their outputs mean.

Follows TensorFlow Serving's classifier and regressor: a signature is taken by the names of its tensors, not by its
method name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from tlkit.serving.call import DEFAULT_SIGNATURE
from tlkit.serving.status import Code, ServingError

_INPUT = "inputs"
_LABELS, _SCORES = "classes", "scores"
_VALUES = "outputs"


@dataclass(frozen=True)
class Classification:
    """Labels and scores of classified examples.

    Args:
        examples: how many there are.
        classes: how many classes each has.
        labels: shape [examples, classes], objects of type bytes, or None where the signature has none.
        scores: shape [examples, classes], float32, or None.
    """

    examples: int
    classes: int
    labels: np.ndarray | None
    scores: np.ndarray | None


def find_signature(signatures: Mapping[str, meta_graph_pb2.SignatureDef], name: str) -> meta_graph_pb2.SignatureDef:
    """Return the signature that a request for Classify or Regress means.

    Raises:
        ServingError: INVALID_ARGUMENT: there is none of that name.
    """
    name = name or DEFAULT_SIGNATURE
    if name not in signatures:
        raise _invalid(f"No signature was found with the name: {name}")
    return signatures[name]


def classify_tensors(signature: meta_graph_pb2.SignatureDef) -> tuple[str, tuple[str, ...]]:
    """Return the input tensor of a signature that classifies, and its output tensors.

    Raises:
        ServingError: INVALID_ARGUMENT: the signature does not classify examples.
    """
    if len(signature.inputs) != 1:
        raise _invalid("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise _invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if _INPUT not in signature.inputs:
        raise _invalid(f"No classification inputs found in SignatureDef: {signature}")
    fetches = tuple(signature.outputs[key].name for key in (_LABELS, _SCORES) if key in signature.outputs)
    if not fetches:
        raise _invalid(
            f'Expected classification signature outputs to contain at least one of "{_LABELS}" or "{_SCORES}". '
            f"Signature was: {signature}"
        )
    return signature.inputs[_INPUT].name, fetches


def regress_tensors(signature: meta_graph_pb2.SignatureDef) -> tuple[str, tuple[str, ...]]:
    """Return the input tensor of a signature that regresses, and its output tensor.

    Raises:
        ServingError: INVALID_ARGUMENT: the signature does not regress examples.
    """
    if len(signature.inputs) != 1:
        raise _invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise _invalid("Expected one output Tensor.")
    if _INPUT not in signature.inputs:
        raise _invalid(f"No regression inputs found in SignatureDef: {signature}")
    if _VALUES not in signature.outputs:
        raise _invalid(f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs[_INPUT].name, (signature.outputs[_VALUES].name,)


def classification(
    signature: meta_graph_pb2.SignatureDef, examples: int, fetched: Mapping[str, np.ndarray]
) -> Classification:
    """Read what a signature answered to examples.

    Args:
        signature: the one that was called.
        examples: how many were asked about.
        fetched: arrays by tensor name.

    Returns:
        The labels and scores.

    Raises:
        ServingError: INVALID_ARGUMENT: an output has an unexpected shape or type.
    """
    labels = _output(signature, _LABELS, examples, fetched)
    scores = _output(signature, _SCORES, examples, fetched)
    if labels is not None and scores is not None and labels.shape[1] != scores.shape[1]:
        raise _invalid(
            f"Tensors class and score should match in dim_size(1). Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    classes = next(int(array.shape[1]) for array in (labels, scores) if array is not None)
    return Classification(examples, classes, labels, scores)


def regression(signature: meta_graph_pb2.SignatureDef, examples: int, fetched: Mapping[str, np.ndarray]) -> np.ndarray:
    """Read what a signature answered to examples: see `classification`.

    Returns:
        One number an example, shape [examples], float32.

    Raises:
        ServingError: INVALID_ARGUMENT: the output has an unexpected shape or type.
    """
    array = fetched[signature.outputs[_VALUES].name]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise _invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(array)}"
        )
    if array.shape[0] != examples:
        raise _invalid(f"Input batch size did not match output batch size: {examples} vs. {array.shape[0]}")
    if array.dtype != np.float32:
        raise _invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_type(array)}")
    return array.reshape(-1)


def _output(
    signature: meta_graph_pb2.SignatureDef, key: str, examples: int, fetched: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    if key not in signature.outputs:
        return None
    array = fetched[signature.outputs[key].name]
    expected = "DT_STRING" if key == _LABELS else "DT_FLOAT"
    if array.ndim != 2:
        raise _invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
    if _type(array) != expected:
        raise _invalid(f"Expected {key} Tensor of {expected}. Got: {_type(array)}")
    if array.shape[0] != examples:
        raise _invalid(f"Expected {key} output batch size of {examples}. Got: {array.shape[0]}")
    return array


def _type(array: np.ndarray) -> str:
    if array.dtype == object:
        return "DT_STRING"
    name = tf.dtypes.as_dtype(array.dtype).name
    return "DT_" + {"float32": "FLOAT", "float64": "DOUBLE", "float16": "HALF"}.get(name, name.upper())


def _shape(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
