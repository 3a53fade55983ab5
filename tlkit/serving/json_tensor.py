"""TensorFlow Serving's JSON for tensors, both ways; NumPy only, so that any server process can use it.

Follows TensorFlow Serving's REST document: row format {"instances": [...]} -> {"predictions": [...]}, column
format {"inputs": ...} -> {"outputs": ...}, binary strings as {"b64": "..."}.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = "instances"
Column = "inputs"
_TYPE_NAMES = {"float32": "float", "float64": "double", "bfloat16": "bfloat16", "float16": "half"}
_JSON_TYPES: dict[str, frozenset[type]] = {
    "f": frozenset({int, float}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "b": frozenset({bool}),
}
_LARGE_EXPONENT = re.compile(r"[eE]\+?[0-9]{3}")


class BadRequestError(ValueError):
    """The body is not a request that the signature can take: HTTP 400."""


@dataclass(frozen=True)
class PredictBody:
    """A parsed request body: `form` is "instances" or "inputs", `content` the JSON value under that key."""

    signature_name: str
    form: str
    content: Any


def parse_body(body: bytes) -> PredictBody:
    """Parse the body of a :predict request.

    As in TensorFlow Serving, text after the JSON document is ignored, and of keys that occur twice the first
    one counts.

    Example:
        >>> parse_body(b'{"instances": [1, 2]}').form
        'instances'

    Args:
        body: UTF-8 JSON.

    Returns:
        The signature's name (serving_default when left out), the form and the content.

    Raises:
        BadRequestError: not JSON, not an object, or neither or both of the two keys.
    """
    document = _parse_json(body)
    if not isinstance(document, dict):
        raise BadRequestError("JSON Value: " + _shown(document) + " Is not object")
    signature_name = document.get("signature_name", "")
    if not isinstance(signature_name, str):
        raise BadRequestError("'signature_name' key must be a string value.")
    forms = [form for form in (Row, Column) if form in document]
    if not forms:
        raise BadRequestError("Missing 'inputs' or 'instances' key")
    if len(forms) == 2:
        raise BadRequestError("Not formatted correctly: expecting either 'inputs' or 'instances', not both")
    return PredictBody(signature_name or "serving_default", forms[0], document[forms[0]])


def to_arrays(body: PredictBody, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Turn the content of a request into arrays.

    Args:
        body: the parsed request.
        dtypes: the signature's inputs by name: a NumPy dtype name, or "string".

    Returns:
        One array per input; strings as an object array of bytes. In the row form every shape is [rows, ...].

    Raises:
        BadRequestError: an input is missing or unknown, ragged, of the wrong type, or there are no rows.
    """
    if body.form == Column:
        return _columns(body.content, dtypes)
    rows = body.content
    if not isinstance(rows, list):
        raise BadRequestError("Expecting 'instances' value to be a list/array")
    if not rows:
        raise BadRequestError("No values in 'instances' array.")
    if not _is_named(rows[0]):
        if len(dtypes) != 1:
            raise BadRequestError(
                f"instances is a plain list, but expecting list of objects as multiple "
                f"input tensors required as per tensorinfo_map: {', '.join(sorted(dtypes))}"
            )
        ((name, dtype),) = dtypes.items()
        return {name: _array(rows, dtype, rows=True)}
    for row in rows:
        if not isinstance(row, dict):
            raise BadRequestError("Encountered non-object element in 'instances': " + _shown(row))
        for key in row:
            if key not in dtypes:
                raise BadRequestError(f"JSON object: does not have named input: {key}")
        if len(row) != len(dtypes):
            raise BadRequestError(
                f"Failed to process element: JSON object keys must be equal to: {','.join(sorted(dtypes))}"
            )
    return {name: _array([row[name] for row in rows], dtype, rows=True) for name, dtype in dtypes.items()}


def from_arrays(outputs: Mapping[str, np.ndarray], form: str) -> bytes:
    """Write the answer of a signature as the JSON body that belongs to the request's form.

    A single output's name is left out. Outputs called *_bytes are written as {"b64": ...}.

    Args:
        outputs: arrays by name; strings as object arrays of bytes.
        form: "instances" or "inputs".

    Returns:
        UTF-8 JSON.

    Raises:
        BadRequestError: in the row form, an output has no batch dimension or another one than its neighbours.
    """
    if form == Column:
        columns = {name: _plain(name, array) for name, array in outputs.items()}
        content = next(iter(columns.values())) if len(columns) == 1 else columns
        return json.dumps({"outputs": content}, ensure_ascii=False).encode("utf-8")
    sizes = {name: array.shape[0] if array.ndim else None for name, array in outputs.items()}
    for name, size in sizes.items():
        if size is None:
            raise BadRequestError(f"Tensor name: {name} has no shape information")
    if len(set(sizes.values())) > 1:
        raise BadRequestError(f"Tensor name: {next(iter(sizes))} has inconsistent batch size: {sizes}")
    columns = {name: _plain(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        rows = next(iter(columns.values()))
    else:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return json.dumps({"predictions": rows}, ensure_ascii=False).encode("utf-8")


def _parse_json(body: bytes) -> Any:
    try:
        text = body.decode("utf-8").lstrip(" \t\r\n")
    except UnicodeDecodeError as error:
        raise BadRequestError(f"JSON Parse error: the document is not UTF-8: {error.reason}") from None
    if not text:
        raise BadRequestError("JSON Parse error: The document is empty")
    try:
        # A hook for every number costs time; only a text with a three-digit exponent can need it.
        parse_float = _finite if _LARGE_EXPONENT.search(text) else None
        document, _ = json.JSONDecoder(object_pairs_hook=_first_wins, parse_float=parse_float).raw_decode(text)
    except RecursionError:
        raise BadRequestError("JSON Parse error: the document is nested too deeply") from None
    except ValueError as error:
        raise BadRequestError(f"JSON Parse error: {error}") from None
    return document


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("Number too big to be stored in double.")
    return value


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))


def _columns(content: Any, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    if _is_named(content):
        for name in sorted(dtypes):
            if name not in content:
                raise BadRequestError(f"Missing named input: {name} in 'inputs' object.")
        return {name: _array(content[name], dtype) for name, dtype in dtypes.items()}
    if len(dtypes) != 1:
        raise BadRequestError(
            f"inputs is a plain value/list, but expecting an object as multiple input tensors required as "
            f"per tensorinfo_map: {', '.join(sorted(dtypes))}"
        )
    ((name, dtype),) = dtypes.items()
    return {name: _array(content, dtype)}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"}


def _array(value: Any, dtype: str, rows: bool = False) -> np.ndarray:
    """Return nested lists as an array, level by level: fast, and without recursion."""
    shape: list[int] = []
    level = [value]
    while level and any(isinstance(item, list) for item in level):
        sizes = {len(item) if isinstance(item, list) else -1 for item in level}
        if len(sizes) > 1:
            raise BadRequestError(_ragged(value) if rows else _unexpected_size(level, len(shape)))
        shape.append(sizes.pop())
        level = list(itertools.chain.from_iterable(level))
    return _typed(level, dtype).reshape(shape)


def _typed(flat: list[Any], dtype: str) -> np.ndarray:
    if dtype == "string":
        array = np.empty(len(flat), object)
        array[:] = [_as_bytes(item) for item in flat]
        return array
    kind = np.dtype(dtype).kind if dtype != "bfloat16" else "f"
    allowed = _JSON_TYPES.get(kind, frozenset())
    if not set(map(type, flat)) <= allowed:
        _refuse(next(item for item in flat if type(item) not in allowed), dtype)
    if kind in "iu":
        limits = np.iinfo(dtype)
        for item in (min(flat, default=0), max(flat, default=0)):
            if not limits.min <= item <= limits.max:
                _refuse(item, dtype)
    try:
        return np.array(flat, np.float32 if dtype == "bfloat16" else dtype)
    except OverflowError:
        raise BadRequestError("JSON Parse error: Number too big to be stored in double.") from None


def _as_bytes(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode("utf-8", "surrogatepass")
    if _is_base64(item) and isinstance(item["b64"], str):
        try:
            return base64.b64decode(item["b64"], validate=True)
        except binascii.Error:
            raise BadRequestError("Unable to base64 decode " + _shown(item["b64"])) from None
    return _refuse(item, "string")


def _refuse(item: Any, dtype: str) -> Any:
    raise BadRequestError(f"JSON Value: {_shown(item)} is not of expected type: {_TYPE_NAMES.get(dtype, dtype)}")


def _ragged(rows: list[Any]) -> str:
    shapes = [_shape_of(row) for row in rows]
    for shape in shapes[1:]:
        if math.prod(shape) != math.prod(shapes[0]):
            return f"Expecting tensor size: {math.prod(shapes[0])} but got: {math.prod(shape)}"
        if shape != shapes[0]:
            return f"Expecting shape {shapes[0]} but got: {shape}"
    return "Encountered list at unexpected size: the lists of an instance differ in length"


def _shape_of(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _unexpected_size(level: list[Any], depth: int) -> str:
    first = len(level[0]) if isinstance(level[0], list) else 0
    other = next(len(item) if isinstance(item, list) else 0 for item in level if _shape_of(item)[:1] != [first])
    return f"Encountered list at unexpected size: {other} at depth: {depth} expected size: {first}"


def _shown(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, dict | list) else type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


def _plain(name: str, array: np.ndarray) -> Any:
    if array.dtype.kind in "OSU":
        write = _as_base64 if name.endswith("_bytes") else _as_text
        flat = np.empty(array.size, object)
        flat[:] = [write(item) for item in array.ravel()]
        return flat.reshape(array.shape).tolist()
    if array.dtype.kind == "c" or array.dtype.kind == "V":
        raise BadRequestError(f"Tensor name: {name} has a type that JSON cannot hold: {array.dtype}")
    if array.dtype == np.float32 or array.dtype == np.float16:
        return array.astype(str).astype(np.float64).tolist()  # 0.1, not 0.10000000149011612
    return array.tolist()


def _as_base64(item: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(item).decode("ascii")}


def _as_text(item: bytes | str) -> str:
    return item if isinstance(item, str) else item.decode("utf-8", "replace")
