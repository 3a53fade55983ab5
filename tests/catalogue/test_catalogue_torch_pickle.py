from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from catalogue.legacy_torch import MAGIC, PROTOCOL, state_dict_bytes, tiny_network

from tlkit.catalogue.torch_pickle import read_state_dict
from tlkit.errors import WeightsError


class _Hostile:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_tensors_come_back_in_order_shape_and_type():
    network = tiny_network()
    read = read_state_dict(io.BytesIO(state_dict_bytes(network)))
    assert list(read) == list(network)
    for name, array in network.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape


def test_strides_are_honoured():
    array = np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    read = read_state_dict(io.BytesIO(state_dict_bytes({"a": array})))["a"]
    np.testing.assert_array_equal(read, array)


def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path):
    marker = tmp_path / "owned"
    content = state_dict_bytes({"a": np.zeros(2, np.float32), "b": _Hostile(marker)})
    with pytest.raises(WeightsError, match=r"it loads (posix|nt)\.mkdir, which a state dict does not need"):
        read_state_dict(io.BytesIO(content))
    assert not marker.exists()
    pickle.loads(pickle.dumps(_Hostile(marker)))  # noqa: S301 - shows that the payload works
    assert marker.exists()


@pytest.mark.parametrize("position", range(5))
def test_each_of_the_five_pickles_is_guarded(tmp_path, position):
    marker = tmp_path / "owned"
    parts = [MAGIC, PROTOCOL, {"little_endian": True}, {}, []]
    parts[position] = _Hostile(marker)
    with pytest.raises(WeightsError, match="which a state dict does not need"):
        read_state_dict(io.BytesIO(b"".join(pickle.dumps(part, protocol=2) for part in parts)))
    assert not marker.exists()


@pytest.mark.parametrize("name", ["eval", "getattr", "__import__"])
def test_builtins_are_refused(name):
    content = f"cbuiltins\n{name}\n.".encode()
    with pytest.raises(WeightsError, match=f"it loads builtins.{name}"):
        read_state_dict(io.BytesIO(content))


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Ran out of input"),
        (_zip(), "torch's format since version 1.6"),
        (state_dict_bytes(tiny_network())[:-8], "it is truncated"),
        (state_dict_bytes({"a": np.zeros(2, np.float32), "epoch": 7}), "values that are not tensors"),
        (
            b"".join(pickle.dumps(part) for part in (1, PROTOCOL, {"little_endian": True}, {}, [])),
            "magic number",
        ),
        (
            b"".join(pickle.dumps(part) for part in (MAGIC, PROTOCOL, {"little_endian": False}, {}, [])),
            "big-endian",
        ),
    ],
)
def test_files_of_another_kind_are_refused(content, message):
    with pytest.raises(WeightsError, match=f"weird.pth is not a plain torch state dict: .*{message}"):
        read_state_dict(io.BytesIO(content), "weird.pth")


def test_a_tensor_beyond_its_storage_is_refused():
    content = state_dict_bytes({"a": np.zeros((2, 3), np.float32)})
    # The shape (2, 3) is pickled as two one-byte integers and a tuple; make it (2, 9).
    forged = content.replace(b"K\x02K\x03\x86", b"K\x02K\x09\x86")
    assert forged != content
    with pytest.raises(WeightsError, match="a tensor exceeds its storage"):
        read_state_dict(io.BytesIO(forged))
