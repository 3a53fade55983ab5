"""The bodies of :predict, :classify and :regress, made into calls of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.serving.call import DEFAULT_SIGNATURE, Call
from tlkit.serving.example_results import (
    classification,
    classify_tensors,
    find_signature,
    regress_tensors,
    regression,
)
from tlkit.serving.examples import classification_json, regression_json, to_examples
from tlkit.serving.json_document import BadRequestError, Document, parse, signature_name
from tlkit.serving.json_tensor import Row, from_arrays, predict_body, to_arrays
from tlkit.serving.servable import Servable
from tlkit.serving.status import Code, ServingError


def prepare(servable: Servable, method: str, body: bytes) -> Call:
    """Parse a body.

    Args:
        servable: the model.
        method: "predict", "classify" or "regress".
        body: JSON in UTF-8.

    Returns:
        The call; its answer is JSON in UTF-8.

    Raises:
        ServingError: the body is not a request that the model can take.
    """
    document, name = _parsed(body)
    if method == "predict":
        return _predict(servable, document, name or DEFAULT_SIGNATURE)
    if method == "classify":
        return _on_examples(
            servable, document, name, classify_tensors, lambda *found: classification_json(classification(*found))
        )
    if method == "regress":
        return _on_examples(
            servable, document, name, regress_tensors, lambda *found: regression_json(regression(*found))
        )
    raise ServingError(Code.UNIMPLEMENTED, f"Unknown method: {method}")


def check_body(method: str, body: bytes) -> None:
    """Check what TensorFlow Serving checks of a body before it looks for the model.

    Args:
        method: "predict", "classify" or "regress".
        body: JSON in UTF-8.

    Raises:
        ServingError: the body is no JSON object, or no request of that method.
    """
    document, _ = _parsed(body)
    if method in ("classify", "regress"):
        to_examples(document)


def _parsed(body: bytes) -> tuple[Document, str]:
    document = parse(body)
    return document, signature_name(document)


def _predict(servable: Servable, document: Document, name: str) -> Call:
    signature = servable.signatures.get(name)
    if signature is None:
        raise BadRequestError(f'Serving signature name: "{name}" not found in signature def')
    body = predict_body(document, name)
    arrays = to_arrays(body, servable.input_dtypes[name])
    outputs = sorted(signature.outputs)

    def finish(fetched: list[np.ndarray]) -> bytes:
        return from_arrays(dict(zip(outputs, fetched, strict=True)), body.form)

    return Call(
        {signature.inputs[key].name: array for key, array in arrays.items()},
        tuple(signature.outputs[key].name for key in outputs),
        finish,
        rows=next((len(array) for array in arrays.values() if array.ndim), None),
        batchable=servable.is_batchable(name),
        lists_rows=body.form == Row,
    )


def _on_examples(
    servable: Servable,
    document: Document,
    name: str,
    tensors: Callable[[Any], tuple[str, tuple[str, ...]]],
    write: Callable[[Any, int, dict[str, np.ndarray]], bytes],
) -> Call:
    examples = to_examples(document)
    signature = find_signature(servable.signatures, name)
    source, fetches = tensors(signature)

    def finish(fetched: list[np.ndarray]) -> bytes:
        return write(signature, len(examples), dict(zip(fetches, fetched, strict=True)))

    batchable = servable.is_batchable(name or DEFAULT_SIGNATURE)
    return Call({source: examples}, fetches, finish, len(examples), batchable, lists_rows=True)
