"""TensorProto to arrays and back, as TensorFlow's C++ does it and without trusting the sender's shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from tlkit.serving.json_tensor import MAX_RANK
from tlkit.serving.status import Code, ServingError

#: A few bytes of request may stand for so many bytes of tensor, whose last value is repeated.
MAX_FILL_BYTES = 64 * 1024 * 1024
#: By dtype: the field that holds its values one by one.
_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "string": "string_val",
    "float16": "half_val",
    "bfloat16": "half_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
}
#: Packed fields whose bytes on the wire are the array's own: field number and wire type 2, as one byte.
_PACKED = {"float32": b"\x2a", "float64": b"\x32", "bool": b"\x5a", "complex64": b"\x4a", "complex128": b"\x62"}


def to_array(proto: tensor_pb2.TensorProto, alias: str) -> np.ndarray:
    """Return the array that a TensorProto stands for.

    Args:
        proto: from a client.
        alias: the input's name, for messages.

    Returns:
        The array; strings as objects of type bytes. It may be read-only.

    Raises:
        ServingError: INVALID_ARGUMENT: type, shape and values do not fit together, or a short message asks for a
            large array. UNIMPLEMENTED: a type that is no plain array.
    """
    shape = _shape(proto, alias)
    count = math.prod(shape)
    try:
        dtype = tf.dtypes.as_dtype(proto.dtype)
    except (TypeError, ValueError):
        raise _error(alias, f"unknown type {proto.dtype}") from None
    field = _FIELDS.get(dtype.name)
    if field is None:
        if dtype.name.endswith("_ref") or proto.dtype == types_pb2.DT_INVALID:
            raise _error(alias, f"type {dtype.name}")
        raise ServingError(Code.UNIMPLEMENTED, f"input {alias}: tensors of type {dtype.name} are not served")
    if proto.tensor_content:
        if dtype == tf.string:
            return _strings(proto.tensor_content, count, alias).reshape(shape)
        wanted = count * dtype.size
        if len(proto.tensor_content) != wanted:
            raise _error(alias, f"{len(proto.tensor_content)} bytes instead of {wanted}")
        return np.frombuffer(proto.tensor_content, dtype.as_numpy_dtype).reshape(shape)
    values = _values(getattr(proto, field), dtype)
    if len(values) < count:
        if count * values.itemsize > MAX_FILL_BYTES:
            raise _error(alias, f"{len(values)} values for {count} elements")
        last = values[-1] if len(values) else (b"" if dtype == tf.string else 0)
        filled = np.full(count, last, values.dtype)
        filled[: len(values)] = values
        values = filled
    return values[:count].reshape(shape)


def to_proto(array: np.ndarray, proto: tensor_pb2.TensorProto) -> None:
    """Write an array into an empty TensorProto, value by value, as TensorFlow Serving answers.

    Args:
        array: of any type that can be served; strings as objects of type bytes.
        proto: is filled.

    Raises:
        ServingError: UNIMPLEMENTED: a type that is no plain array.
    """
    name = "string" if array.dtype.kind in "OSU" else array.dtype.name
    field = _FIELDS.get(name)
    if field is None:
        raise ServingError(Code.UNIMPLEMENTED, f"tensors of type {name} are not served")
    if name in _PACKED and array.size:
        # Parsing one packed field copies memory; adding a million numbers one by one takes half a second.
        content = np.ascontiguousarray(array).tobytes()
        proto.MergeFromString(_PACKED[name] + _varint(len(content)) + content)
    elif name in ("float16", "bfloat16"):
        proto.half_val.extend(np.ascontiguousarray(array).view(np.uint16).ravel().tolist())
    else:
        getattr(proto, field).extend(array.ravel().tolist())
    proto.dtype = tf.dtypes.as_dtype(name).as_datatype_enum
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size


def _shape(proto: tensor_pb2.TensorProto, alias: str) -> tuple[int, ...]:
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise _error(alias, "the shape is not fully defined")
    if len(shape) > MAX_RANK:
        raise _error(alias, f"{len(shape)} dimensions, at most {MAX_RANK} are served")
    # NumPy multiplies the other dimensions too where one of them is 0, and counts bytes.
    if math.prod(size for size in shape if size) >= 2**58:
        raise _error(alias, "the shape is too large")
    return shape


def _values(values: Any, dtype: tf.DType) -> np.ndarray:
    if dtype == tf.string:
        array = np.empty(len(values), object)
        array[:] = list(values)
        return array
    if dtype.name in ("float16", "bfloat16"):
        return np.array([value & 0xFFFF for value in values], np.uint16).view(dtype.as_numpy_dtype)
    if dtype.is_complex:
        parts = np.array(values, dtype.real_dtype.as_numpy_dtype)
        return parts[: len(parts) // 2 * 2].view(dtype.as_numpy_dtype)
    if dtype.is_integer and dtype.size < 4:
        return np.array(values, np.int32).astype(dtype.as_numpy_dtype)  # wraps around, as TensorFlow's own does
    return np.array(values, dtype.as_numpy_dtype)


def _strings(content: bytes, count: int, alias: str) -> np.ndarray:
    """Read TensorFlow's packed list of strings: every length as a varint, then the bytes of all."""
    if count > len(content):
        raise _error(alias, f"{len(content)} bytes for {count} strings")
    sizes = []
    at = 0
    for _ in range(count):
        size = shift = 0
        while True:
            if at >= len(content) or shift > 28:
                raise _error(alias, "the lengths of its strings are cut off")
            byte = content[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        sizes.append(size)
    if sum(sizes) != len(content) - at:
        raise _error(alias, "its strings have another length than they say")
    array = np.empty(count, object)
    for i, size in enumerate(sizes):
        array[i] = content[at : at + size]
        at += size
    return array


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _error(alias: str, why: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"tensor parsing error: {alias}: {why}")
