"""TensorFlow Serving's JSON for tensors, both ways; NumPy only, so that any server process can use it.

Follows TensorFlow Serving's REST document and its error texts: row format {"instances": [...]} ->
{"predictions": [...]}, column format {"inputs": ...} -> {"outputs": ...}, binary strings as {"b64": "..."}.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlkit.export.short_floats import short_floats
from tlkit.serving.call import DEFAULT_SIGNATURE
from tlkit.serving.json_document import BadRequestError, Document, shown, type_name
from tlkit.serving.status import Code, ServingError

Row = "instances"
Column = "inputs"
#: The most dimensions of a NumPy array; TensorFlow has 254.
MAX_RANK = 64
#: TensorFlow's names of types where NumPy has others.
TYPE_NAMES = {"float32": "float", "float64": "double", "float16": "half", "object": "string"}
_FLOATS = ("float32", "float64")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")
#: Small integers travel as int32 and are cut to their bits by TensorFlow: 300 is 44 as uint8, there and here.
_CARRIED = {"int8": "int32", "int16": "int32", "uint8": "int32"}


class _UnevenError(Exception):
    """Nested lists are no tensor, or not of the type: what exactly is wrong is found by walking them slowly."""


@dataclass(frozen=True)
class PredictBody:
    """A parsed request body: `form` is "instances" or "inputs", `content` the JSON value under that key."""

    signature_name: str
    form: str
    content: Any
    document: Document


def predict_body(document: Document, name: str) -> PredictBody:
    """Find the tensors of a :predict request.

    Example:
        >>> predict_body(json_document.parse(b'{"instances": [1, 2]}'), "serving_default").form
        'instances'

    Args:
        document: the parsed body.
        name: of the signature.

    Raises:
        BadRequestError: neither or both of the two keys, or rows that are no list, or none.
    """
    members = document.members
    forms = [form for form in (Row, Column) if form in members]
    if not forms:
        raise BadRequestError("Missing 'inputs' or 'instances' key")
    if len(forms) == 2:
        raise BadRequestError(
            f"JSON Value: {shown(members)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    content = members[forms[0]]
    if forms[0] == Row and not isinstance(content, list):
        raise BadRequestError(f"JSON Value: {shown(members)} Expecting 'instances' to be an list/array")
    if forms[0] == Row and not content:
        raise BadRequestError(f"JSON Value: {shown(members)} No values in 'instances' array")
    return PredictBody(name, forms[0], content, document)


def to_arrays(body: PredictBody, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Turn the content of a request into arrays.

    Args:
        body: the parsed request.
        dtypes: the signature's inputs by name: a NumPy dtype name, or "string".

    Returns:
        One array per input; strings as an object array of bytes. In the row form every shape is [rows, ...].

    Raises:
        BadRequestError: an input is missing or unknown, ragged, nested too deeply or of the wrong type.
        ServingError: UNIMPLEMENTED: JSON cannot hold the type of an input.
    """
    if not dtypes:
        wanted = "DEFAULT" if body.signature_name == DEFAULT_SIGNATURE else body.signature_name
        raise BadRequestError(f"Failed to get input map for signature: {wanted}")
    arrays = _columns(body.content, dtypes) if body.form == Column else _rows(body.content, dtypes)
    for name, array in arrays.items():
        if dtypes[name] in _FLOATS and np.isinf(array).any():
            body.document.check_infinity()
    return arrays


def from_arrays(outputs: Mapping[str, np.ndarray], form: str) -> bytes:
    """Write the answer of a signature as the JSON body that belongs to the request's form.

    A single output's name is left out. Outputs called *_bytes are written as {"b64": ...}.

    Args:
        outputs: arrays by name; strings as object arrays of bytes.
        form: "instances" or "inputs".

    Returns:
        UTF-8 JSON.

    Raises:
        BadRequestError: JSON cannot hold an output's type; in the row form, an output has no batch dimension or
            another one than its neighbours.
    """
    if not outputs:
        raise BadRequestError("Cannot convert empty tensor map to JSON")
    if form == Row:
        _check_batch(outputs)
    columns = {name: _plain(name, array) for name, array in outputs.items()}
    if form == Column:
        return as_json({"outputs": next(iter(columns.values())) if len(columns) == 1 else columns})
    if len(columns) == 1:
        rows = next(iter(columns.values()))
    else:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return as_json({"predictions": rows})


def as_json(value: Any) -> bytes:
    """Write an answer as UTF-8 JSON, with bare NaN and Infinity."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def is_base64(value: Any) -> bool:
    """Say whether a JSON value stands for bytes: {"b64": "..."} and nothing else."""
    return type(value) is dict and len(value) == 1 and isinstance(value.get("b64"), str)


def as_bytes(value: Any) -> bytes:
    """Return the bytes of a JSON string or of {"b64": "..."}.

    Raises:
        BadRequestError: the text is not base64.
    """
    if isinstance(value, str):
        return value.encode("utf-8")
    text = value["b64"]
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        # White space, left-out padding and dots for it are accepted, as TensorFlow Serving does; most texts have none.
        text = re.sub(r"[ \t\r\n\f\v]", "", text).replace(".", "=")
        try:
            return base64.b64decode(text if "=" in text else text + "=" * (-len(text) % 4), validate=True)
        except (ValueError, binascii.Error):
            raise BadRequestError("Unable to base64 decode") from None


def _check_batch(outputs: Mapping[str, np.ndarray]) -> None:
    expected: int | None = None
    for name, array in outputs.items():
        if not array.ndim:
            raise BadRequestError(f"Tensor name: {name} has no shape information ")
        if expected is not None and array.shape[0] != expected:
            raise BadRequestError(
                f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} expecting: {expected}"
            )
        expected = array.shape[0]


def _rows(rows: list[Any], dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    named = isinstance(rows[0], dict) and not is_base64(rows[0])
    if not named:
        if len(dtypes) != 1:
            raise BadRequestError(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as "
                f"per tensorinfo_map: {', '.join(sorted(dtypes))}"
            )
        ((name, dtype),) = dtypes.items()
        try:
            return {name: _array(rows, dtype)}
        except _UnevenError:
            raise _what_is_wrong(rows, dtypes, named) from None
    names = dtypes.keys()
    try:
        if not all(isinstance(row, dict) and row.keys() == names for row in rows):
            raise _UnevenError
        return {name: _array([row[name] for row in rows], dtype) for name, dtype in dtypes.items()}
    except _UnevenError:
        raise _what_is_wrong(rows, dtypes, named) from None


def _columns(content: Any, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    if isinstance(content, dict) and not is_base64(content):
        for name in dtypes:
            if name not in content:
                raise BadRequestError(f"Missing named input: {name} in 'inputs' object.")
        values = {name: content[name] for name in dtypes}
    elif len(dtypes) == 1:
        values = dict.fromkeys(dtypes, content)
    else:
        raise BadRequestError(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            f"tensorinfo_map: {', '.join(sorted(dtypes))}"
        )
    arrays = {}
    for name, dtype in dtypes.items():
        try:
            arrays[name] = _array(values[name], dtype)
        except _UnevenError:
            _count(values[name], dtype)
            raise BadRequestError(f"the value of {name} is not a tensor") from None
    return arrays


def _array(value: Any, dtype: str) -> np.ndarray:
    """Return nested lists as an array, level by level: fast, and without recursion."""
    shape: list[int] = []
    level = [value]
    while level and list in set(map(type, level)):
        if set(map(type, level)) != {list}:
            raise _UnevenError
        sizes = set(map(len, level))
        if len(sizes) > 1:
            raise _UnevenError
        shape.append(sizes.pop())
        level = level[0] if len(level) == 1 else list(itertools.chain.from_iterable(level))
    if len(shape) > MAX_RANK:
        raise BadRequestError(f"Encountered list at unexpected level: {MAX_RANK}: it is nested too deeply")
    return _typed(level, dtype).reshape(shape)


def _typed(flat: list[Any], dtype: str) -> np.ndarray:
    types = set(map(type, flat))
    if dtype == "string":
        if not types <= {str, dict} or not all(map(is_base64, (item for item in flat if type(item) is dict))):
            raise _UnevenError
        array = np.empty(len(flat), object)
        try:
            array[:] = [as_bytes(item) for item in flat]
        except BadRequestError:  # the walk says which element it is
            raise _UnevenError from None
        return array
    if dtype in _FLOATS:
        if not types <= {int, float}:
            raise _UnevenError
        try:
            with np.errstate(over="ignore"):  # a double beyond float32 is infinite there, as in TensorFlow Serving
                return np.array(flat, dtype)
        except OverflowError:
            raise BadRequestError("JSON Parse error: Number too big to be stored in double.") from None
    if dtype in _INTEGERS:
        if not types <= {int}:
            raise _UnevenError
        carried = _CARRIED.get(dtype, dtype)
        limits = np.iinfo(carried)
        if flat and not (limits.min <= min(flat) and max(flat) <= limits.max):
            raise _UnevenError
        return np.array(flat, carried).astype(dtype, copy=False)
    if dtype == "bool" and types <= {bool}:
        return np.array(flat, bool)
    if flat:
        raise _UnevenError
    return np.empty(0, dtype)


def _what_is_wrong(rows: list[Any], dtypes: Mapping[str, str], named: bool) -> BadRequestError:
    """Walk the rows as TensorFlow Serving does, and return the error that it meets first."""
    seen: dict[str, tuple[int, list[int]]] = {}
    for i, row in enumerate(rows):
        is_object = isinstance(row, dict) and not is_base64(row)
        if named and not is_object:
            return BadRequestError(f"Expecting object but got list at item {i} of input list")
        if not named and is_object:
            return BadRequestError(f"Expecting value/list but got object at item {i} of input list")
        for name, item in row.items() if named else [(next(iter(dtypes)), row)]:
            where = f"Failed to process element: {i}{f' key: {name}' if named else ''} of 'instances' list. Error: "
            try:
                if name not in dtypes:
                    raise BadRequestError(f"JSON object: does not have named input: {name}")
                found = _count(item, dtypes[name]), _shape_of(item)
                first = seen.setdefault(name, found)
                if found[0] != first[0]:
                    raise BadRequestError(f"Expecting tensor size: {first[0]} but got: {found[0]}")
                if found[1] != first[1]:
                    raise BadRequestError(f"Expecting shape {_listed(first[1])} but got: {_listed(found[1])}")
            except ServingError as error:
                return BadRequestError(f"{where}{error.code.name}: {error.message}")
        if named and row.keys() != dtypes.keys():
            return BadRequestError(
                f"Failed to process element: {i} of 'instances' list. JSON object: {shown(row)} keys must be equal "
                f"to: {','.join(sorted(dtypes))}"
            )
    return BadRequestError("the values in 'instances' are no tensor")


def _count(value: Any, dtype: str) -> int:
    """Return how many values a tensor in JSON holds.

    Raises:
        ServingError: it is ragged, or a value is not of the type.
    """
    shape = _shape_of(value)
    count = 0
    pending = [(value, 0)]
    while pending:
        item, level = pending.pop()
        if not isinstance(item, list):
            if level != len(shape):
                raise BadRequestError(
                    f"JSON Value: {shown(item)} found at incorrect level: {level + 1} in the JSON DOM. Expected at "
                    f"level: {len(shape)}"
                )
            _check_value(item, dtype)
            count += 1
        elif level >= len(shape):
            raise BadRequestError(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        elif len(item) != shape[level]:
            raise BadRequestError(
                f"Encountered list at unexpected size: {len(item)} at level: {level} expected size: {shape[level]}"
            )
        else:
            pending.extend((child, level + 1) for child in reversed(item))
    return count


def _check_value(value: Any, dtype: str) -> None:
    known = dtype in _FLOATS or dtype in _INTEGERS or dtype in ("bool", "string")
    if isinstance(value, dict) and dtype == "string":
        if not is_base64(value):
            raise BadRequestError(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
        as_bytes(value)
    elif not known and not isinstance(value, dict):
        raise ServingError(
            Code.UNIMPLEMENTED, f"Conversion of JSON Value: {shown(value)} to type: {TYPE_NAMES.get(dtype, dtype)}"
        )
    elif not _fits(value, dtype):
        raise BadRequestError(
            f"JSON Value: {shown(value)} Type: {type_name(value)} is not of expected type: "
            f"{TYPE_NAMES.get(dtype, dtype)}"
        )


def _fits(value: Any, dtype: str) -> bool:
    if dtype in _FLOATS:
        return type(value) in (int, float)
    if dtype in _INTEGERS:
        limits = np.iinfo(_CARRIED.get(dtype, dtype))
        return type(value) is int and limits.min <= value <= limits.max
    return type(value) is (bool if dtype == "bool" else str)


def _shape_of(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _listed(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _plain(name: str, array: np.ndarray) -> Any:
    dtype = array.dtype.name
    if array.dtype.kind in "OSU":
        write = _as_base64 if name.endswith("_bytes") else _as_text
        flat = np.empty(array.size, object)
        flat[:] = [write(item) for item in array.ravel()]
        return flat.reshape(array.shape).tolist()
    if dtype == "float32":
        return short_floats(array).tolist()
    if array.size and dtype not in (*_INTEGERS, "float64", "bool"):
        raise BadRequestError(f"Failed to write JSON value for tensor type: {TYPE_NAMES.get(dtype, dtype)}")
    return array.tolist()


def _as_base64(item: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(item).decode("ascii")}


def _as_text(item: bytes | str) -> str:
    return item if isinstance(item, str) else item.decode("utf-8", "replace")
