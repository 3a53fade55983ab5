"""NumPy arrays as TensorProtos and back, without TensorFlow and without trusting the sender's shapes.

The messages are those of `tlkit.serving.protos` or TensorFlow's own. Follows tensorflow/core/framework/tensor.proto:
what `tensor_content` does not hold is in the field of its type, and of a list that is too short the last value is
repeated.
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes  # noqa: F401  adds bfloat16 to NumPy
import numpy as np

from tlkit.serving import protos
from tlkit.serving.json_tensor import MAX_RANK

#: A few bytes of a message may stand for so many bytes of tensor, whose last value is repeated.
MAX_FILL_BYTES = 64 * 1024 * 1024
# dtype name -> number of the enum and field of single values.
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


class UnsupportedTypeError(TensorError):
    """A tensor of a type that TensorFlow has and no plain array."""


def dtype_name(number: int) -> str:
    """Return the name of a DataType, as TensorFlow calls it: 1 is "float32", 7 is "string".

    Types that no array has keep their enum's name.
    """
    if number in _NAMES:
        return _NAMES[number]
    return str(protos.DataType.Name(number)) if number in protos.DataType.values() else f"DT_{number}"


def to_proto(array: np.ndarray, dtype: str | None = None, *, into: Any = None, by_value: bool = False) -> Any:
    """Write an array as a TensorProto.

    Example:
        >>> to_proto(np.array([1.5], np.float32)).tensor_shape.dim[0].size
        1

    Args:
        array: any shape; strings as an array of objects of type bytes.
        dtype: name of the tensor's type; the array's own when left out. bfloat16 is rounded to the nearest.
        into: an empty message to fill; a new one when left out.
        by_value: use the field of the type, as TensorFlow Serving's responses do, in place of `tensor_content`.

    Returns:
        The message.

    Raises:
        TensorError: there is no tensor of that type.
    """
    name = dtype or ("string" if array.dtype.kind in "OSU" else array.dtype.name)
    if name not in _DTYPES:
        raise UnsupportedTypeError(f"tensors of type {name} are not supported; supported: {', '.join(_DTYPES)}")
    number, field = _DTYPES[name]
    tensor = protos.TensorProto() if into is None else into
    tensor.dtype = number
    tensor.tensor_shape.SetInParent()
    for size in array.shape:
        tensor.tensor_shape.dim.add().size = size
    if name == "string":
        if not all(isinstance(item, bytes) for item in array.flat):
            raise TensorError("strings are sent as an object array of bytes")
        tensor.string_val.extend(array.ravel().tolist())
        return tensor
    array = array.astype(name, copy=False)
    if not by_value:
        tensor.tensor_content = array.tobytes()
    elif field in protos.PackedValues.DESCRIPTOR.fields_by_name:
        # Parsing one packed field copies memory; adding a million numbers one by one takes half a second.
        tensor.MergeFromString(protos.PackedValues(**{field: array.tobytes()}).SerializeToString())
    else:
        values = np.ascontiguousarray(array).view(np.uint16) if field == "half_val" else array
        getattr(tensor, field).extend(values.ravel().tolist())
    return tensor


def from_proto(tensor: Any, *, exact: bool = True) -> np.ndarray:
    """Read a TensorProto.

    Args:
        tensor: the message.
        exact: refuse more values than the shape has; TensorFlow leaves them out.

    Returns:
        An array of its own shape and type, which may be read-only; strings as objects of type bytes.

    Raises:
        UnsupportedTypeError: the type is none of an array.
        TensorError: there is no such type, the shape is not known, it does not fit the values, or a short message asks
            for a large array.
    """
    shape = _shape(tensor)
    name = dtype_name(tensor.dtype)
    if name not in _DTYPES:
        known = tensor.dtype in protos.DataType.values() and tensor.dtype and not name.endswith("_REF")
        raise (UnsupportedTypeError if known else TensorError)(f"a tensor of type {name} is not an array")
    kind = np.dtype(object if name == "string" else name)
    size = math.prod(shape)
    if tensor.tensor_content:
        if name == "string":
            return _strings(tensor.tensor_content, size).reshape(shape)
        if len(tensor.tensor_content) != size * kind.itemsize:
            raise TensorError(f"{len(tensor.tensor_content)} bytes are not a {name} tensor of shape {shape}")
        return np.frombuffer(tensor.tensor_content, kind).reshape(shape)
    flat = _values(getattr(tensor, _DTYPES[name][1]), kind, exact)
    if exact and len(flat) > size:
        raise TensorError(f"{len(flat)} values are too many for a tensor of shape {shape}")
    if len(flat) < size:
        if size * kind.itemsize > MAX_FILL_BYTES:
            raise TensorError(f"{len(flat)} values are too few for a tensor of shape {shape}")
        last = flat[-1] if len(flat) else (b"" if name == "string" else 0)
        flat = np.concatenate([flat, np.full(size - len(flat), last, kind)])
    return flat[:size].reshape(shape)


def _shape(tensor: Any) -> list[int]:
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise TensorError("the shape of a tensor is not known")
    if len(shape) > MAX_RANK:
        raise TensorError(f"{len(shape)} dimensions, at most {MAX_RANK} are supported")
    # NumPy multiplies the other dimensions too where one of them is 0, and counts bytes.
    if math.prod(size for size in shape if size) >= 2**58:
        raise TensorError(f"the shape {shape} is too large")
    return shape


def _values(given: Any, kind: np.dtype, exact: bool) -> np.ndarray:
    """Read the values that stand one by one; their number may differ from what the shape says."""
    if kind.kind == "O":
        flat = np.empty(len(given), object)
        flat[:] = given
        return flat
    if kind.itemsize == 2 and kind.kind not in "iu":  # float16 and bfloat16
        return np.array(given, np.int32).astype(np.uint16).view(kind)
    if kind.kind == "c":
        if exact and len(given) % 2:
            raise TensorError("half of a complex number is missing")
        return np.array(given, f"f{kind.itemsize // 2}")[: len(given) // 2 * 2].view(kind)
    if kind.kind in "iu" and kind.itemsize < 4:
        return np.array(given, np.int32).astype(kind)  # wraps around, as TensorFlow's own does
    return np.array(given, kind)


def _strings(content: bytes, count: int) -> np.ndarray:
    """Read TensorFlow's packed list of strings: every length as a varint, then the bytes of all."""
    if count > len(content):
        raise TensorError(f"{len(content)} bytes for {count} strings")
    sizes = []
    at = 0
    for _ in range(count):
        size = shift = 0
        while True:
            if at >= len(content) or shift > 28:
                raise TensorError("the lengths of its strings are cut off")
            byte = content[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        sizes.append(size)
    if sum(sizes) != len(content) - at:
        raise TensorError("its strings have another length than they say")
    array = np.empty(count, object)
    for i, size in enumerate(sizes):
        array[i] = content[at : at + size]
        at += size
    return array
