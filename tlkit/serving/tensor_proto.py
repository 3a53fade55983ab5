"""NumPy arrays as TensorProtos and back, without TensorFlow.

Follows tensorflow/core/framework/tensor.proto: what `tensor_content` does not hold stands in the field of its type, and
a list that is too short goes on with its last value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tlkit.serving import protos

# dtype name -> number of the enum and field of single values. bfloat16 travels as its upper half of a float32.
_DTYPES: dict[str, tuple[int, str]] = {
    name: (protos.DataType.Value(enum), field)
    for name, enum, field in (
        ("float32", "DT_FLOAT", "float_val"),
        ("float64", "DT_DOUBLE", "double_val"),
        ("float16", "DT_HALF", "half_val"),
        ("bfloat16", "DT_BFLOAT16", "half_val"),
        ("int8", "DT_INT8", "int_val"),
        ("int16", "DT_INT16", "int_val"),
        ("int32", "DT_INT32", "int_val"),
        ("int64", "DT_INT64", "int64_val"),
        ("uint8", "DT_UINT8", "int_val"),
        ("uint16", "DT_UINT16", "int_val"),
        ("uint32", "DT_UINT32", "uint32_val"),
        ("uint64", "DT_UINT64", "uint64_val"),
        ("bool", "DT_BOOL", "bool_val"),
        ("complex64", "DT_COMPLEX64", "scomplex_val"),
        ("complex128", "DT_COMPLEX128", "dcomplex_val"),
        ("string", "DT_STRING", "string_val"),
    )
}
_NAMES = {number: name for name, (number, _) in _DTYPES.items()}


class TensorError(ValueError):
    """A tensor that cannot be written or read."""


def dtype_name(number: int) -> str:
    """Return the name of a DataType, as TensorFlow calls it: 1 is "float32", 7 is "string".

    Types that no array has keep their enum's name.
    """
    if number in _NAMES:
        return _NAMES[number]
    return str(protos.DataType.Name(number)) if number in protos.DataType.values() else f"DT_{number}"


def to_proto(array: np.ndarray, dtype: str | None = None) -> Any:
    """Write an array as a TensorProto.

    Example:
        >>> to_proto(np.array([1.5], np.float32)).tensor_shape.dim[0].size
        1

    Args:
        array: any shape; strings as an object array of bytes.
        dtype: name of the tensor's type; the array's own when left out. An array of floats goes into bfloat16, rounded
            to the nearest.

    Returns:
        The message.

    Raises:
        TensorError: there is no tensor of that type.
    """
    name = dtype or ("string" if array.dtype == object else array.dtype.name)
    if name not in _DTYPES:
        raise TensorError(f"tensors of type {name} are not supported; supported: {', '.join(_DTYPES)}")
    tensor = protos.TensorProto(dtype=_DTYPES[name][0])
    tensor.tensor_shape.SetInParent()
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if name == "string":
        if not all(isinstance(item, bytes) for item in array.flat):
            raise TensorError("strings are sent as an object array of bytes")
        tensor.string_val.extend(array.ravel().tolist())
        return tensor
    plain = _to_bfloat16(array) if name == "bfloat16" else array.astype(name, copy=False)
    tensor.tensor_content = plain.astype(plain.dtype.newbyteorder("<"), copy=False).tobytes()
    return tensor


def from_proto(tensor: Any) -> np.ndarray:
    """Read a TensorProto.

    Args:
        tensor: the message.

    Returns:
        An array of its own shape and type; strings as objects of bytes; bfloat16 as float32, which holds the same
        values.

    Raises:
        TensorError: the type is none of an array, the shape is not known, or it does not fit the values.
    """
    name = dtype_name(tensor.dtype)
    if name not in _DTYPES:
        raise TensorError(f"a tensor of type {name} is not an array")
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise TensorError("the shape of a tensor is not known")
    size = math.prod(shape)
    kind = np.dtype(np.uint16 if name == "bfloat16" else object if name == "string" else name)
    if tensor.tensor_content and kind.kind != "O":
        if len(tensor.tensor_content) != size * kind.itemsize:
            raise TensorError(f"{len(tensor.tensor_content)} bytes are not a {name} tensor of shape {shape}")
        flat = np.frombuffer(tensor.tensor_content, kind.newbyteorder("<")).astype(kind)
    else:
        flat = _values(tensor, name, kind)
        if len(flat) > size:
            raise TensorError(f"{len(flat)} values are too many for a tensor of shape {shape}")
        if len(flat) < size:
            last = flat[-1] if len(flat) else (b"" if kind.kind == "O" else kind.type(0))
            flat = np.concatenate([flat, np.full(size - len(flat), last, kind)])
    return (_from_bfloat16(flat) if name == "bfloat16" else flat).reshape(shape)


def _values(tensor: Any, name: str, kind: np.dtype) -> np.ndarray:
    """Read the values that stand one by one, whose number may be less than the shape says."""
    given = getattr(tensor, _DTYPES[name][1])
    if name == "string":
        flat = np.empty(len(given), object)
        flat[:] = given
        return flat
    if name in ("float16", "bfloat16"):
        return np.array(given, np.int32).astype(np.uint16).view(kind)
    if kind.kind == "c":
        part = np.dtype(f"f{kind.itemsize // 2}")
        if len(given) % 2:
            raise TensorError("half of a complex number is missing")
        return np.array(given, part).view(kind)
    return np.array(given, np.int64 if _DTYPES[name][1] == "int_val" else kind).astype(kind)


def _to_bfloat16(array: np.ndarray) -> np.ndarray:
    wide = np.ascontiguousarray(array, np.float32).reshape(array.shape)
    bits = wide.view(np.uint32)
    # To the nearest, and of two equally near ones to the even one, as TensorFlow does.
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(wide), 0x7FC0, rounded).astype(np.uint16)


def _from_bfloat16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)
