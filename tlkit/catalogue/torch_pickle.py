"""Reading state dicts that torch wrote before version 1.6, without torch and without running anything from
the file.

Such a file is five pickles (a magic number, a protocol version, facts about the writer, the dict, the keys of
its storages), followed by the storages as raw numbers. The unpickler here knows an ordered dict, torch's
storage types and the function that rebuilds a tensor, all replaced by inert stand-ins; any other name in the
file is refused.
"""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from tlkit.errors import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    *more: Any,
) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    shape, strides = tuple(shape), tuple(strides)
    if len(shape) != len(strides) or not all(isinstance(n, int) and n >= 0 for n in (offset, *shape, *strides)):
        raise pickle.UnpicklingError("a tensor with an impossible shape")
    return _Tensor(storage, offset, shape, strides)


class _StateDictUnpickler(pickle.Unpickler):
    """Replaces the names of the allow-list by stand-ins and rejects all other names."""

    def find_class(self, module: str, name: str) -> Callable[..., Any] | np.dtype:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return np.dtype(_DTYPES[name])
        raise pickle.UnpicklingError(f"it loads {module}.{name}, which a state dict does not need")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count, view = pid
        known = isinstance(dtype, np.dtype) and isinstance(key, str) and isinstance(count, int) and count >= 0
        if kind != "storage" or view is not None or not known:
            raise pickle.UnpicklingError("it contains a storage of an unknown type")
        return _Storage(key, dtype, count)


def read_state_dict(stream: BinaryIO, name: str = "the file") -> dict[str, np.ndarray]:
    """Read a state dict from a file in torch's format before version 1.6.

    Example:
        >>> with open("efficientnet-lite0-57934424.pth", "rb") as stream:
        ...     read_state_dict(stream)["_conv_stem.weight"].shape
        (32, 3, 3, 3)

    Args:
        stream: the file, open for reading in binary mode and seekable.
        name: what to call it in error messages.

    Returns:
        The arrays by name, in the order of the file.

    Raises:
        WeightsError: the file is not of that format, is cut short, or asks for anything but tensors.
    """
    try:
        return _read(stream)
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
    ) as error:
        raise WeightsError(
            f"{name} is not a plain torch state dict: {error}",
            allowed="a dict of tensors, saved by torch before version 1.6",
        ) from error


def _read(stream: BinaryIO) -> dict[str, np.ndarray]:
    head = stream.read(2)
    stream.seek(-len(head), 1)
    if head == b"PK":
        raise ValueError("it is a zip archive, torch's format since version 1.6")
    magic, protocol, facts, entries, keys = (_StateDictUnpickler(stream).load() for _ in range(5))
    if magic != _MAGIC or protocol != _PROTOCOL:
        raise ValueError("its magic number is wrong")
    if not facts["little_endian"]:
        raise ValueError("it was written by a big-endian machine")
    tensors = {key: value for key, value in entries.items() if isinstance(value, _Tensor)}
    if len(tensors) != len(entries):
        raise ValueError("it contains values that are not tensors")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if len(keys) != len(set(keys)) or set(keys) != set(storages):
        raise ValueError("its list of storages does not match its tensors")
    data = {key: _read_storage(stream, storages[key]) for key in keys}
    return {str(name): _as_array(tensor, data[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(stream: BinaryIO, storage: _Storage) -> np.ndarray:
    if int.from_bytes(stream.read(8), "little") != storage.count:
        raise ValueError(f"storage {storage.key} does not have the declared length")
    here = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(here)
    wanted = storage.count * storage.dtype.itemsize
    if wanted > end - here:  # checked before memory is allocated
        raise ValueError("it is truncated")
    return np.frombuffer(stream.read(wanted), storage.dtype)


def _as_array(tensor: _Tensor, flat: np.ndarray) -> np.ndarray:
    if math.prod(tensor.shape) == 0:
        return np.zeros(tensor.shape, flat.dtype)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if last >= flat.size or math.prod(tensor.shape) > flat.size:
        raise ValueError("a tensor exceeds its storage")
    strides = tuple(step * flat.itemsize for step in tensor.strides)
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.ascontiguousarray(view).reshape(tensor.shape)
