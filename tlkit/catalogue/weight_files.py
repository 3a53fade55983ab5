"""Write HDF5 weights files from arrays, and compare them with a model before weights are assigned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tlkit.errors import WeightsError

# Layers of the ImageNet classifiers of keras.applications, which backbones do not have.
_CLASSIFIER = {
    "predictions",
    "fc",
    "fc1",
    "fc2",
    "fc1000",
    "conv_preds",
    "conv_2",
    "Conv_2",
    "logits",
    "Logits",
}

Shapes = list[tuple[int, ...]]


def save_layers(path: Path, layers: Iterable[tuple[str, Mapping[str, np.ndarray]]]) -> None:
    """Write arrays as a weights file that is read layer by layer in order, the older of Keras' two HDF5
    layouts.

    Example:
        >>> save_layers(Path("w.h5"), [("conv", {"kernel": np.zeros((3, 3, 3, 8), np.float32)})])

    Args:
        path: the file to write.
        layers: (layer name, arrays by weight name), in the order of the network.
    """
    with h5py.File(path, "w") as file:
        names = []
        for name, weights in layers:
            names.append(name)
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{key}" for key in weights]
            for key, array in weights.items():
                group.create_dataset(f"{name}/{key}", data=array)
        file.attrs["layer_names"] = names
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = "3"


def load(model: Any, path: Path) -> None:
    """Load a file into a freshly built model, or say where the first difference is and change nothing.

    Reads both of Keras' HDF5 layouts: the older one, matched in layer order as Keras does, and `.weights.h5`.
    A file that holds a classifier as well may be loaded into a backbone.

    Example:
        >>> load(model, Path("resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"))

    Args:
        model: a keras.Model whose layers are all trainable.
        path: the file.

    Raises:
        WeightsError: the file cannot be read or is of another architecture; the message names the first layer
        that differs,
            with the shapes expected and found.
    """
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            if "layer_names" in root.attrs or "layer_names0" in root.attrs:
                _load_in_order(model, root, path)
                return
            new_layout = "layers" in file
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read as HDF5: {error}", fix="delete it and download the weights again"
        ) from error
    if not new_layout:
        raise WeightsError(f"{path} is HDF5 but contains no Keras weights")
    _load_by_path(model, path)


def _load_in_order(model: Any, root: Any, path: Path) -> None:
    ours = [(layer, layer.trainable_weights + layer.non_trainable_weights) for layer in model.layers]
    ours = [(layer, variables) for layer, variables in ours if variables]
    theirs = [(name, _datasets(root[name])) for name in _strings(root, "layer_names")]
    theirs = [(name, arrays) for name, arrays in theirs if arrays]
    for index, (layer, variables) in enumerate(ours):
        expected: Shapes = [tuple(variable.shape) for variable in variables]
        if index == len(theirs):
            raise _mismatch(model, path, f"the file ends before layer {layer.name!r}, shapes {expected}")
        name, arrays = theirs[index]
        found: Shapes = [tuple(array.shape) for array in arrays]
        if found != expected:
            where = f"layer {layer.name!r} expects shapes {expected}, the file has {name!r} with {found}"
            raise _mismatch(model, path, where)
    extra = [name for name, _ in theirs[len(ours) :]]
    strange = [name for name in extra if name not in _CLASSIFIER and not name.endswith("_head_dense")]
    if strange:
        raise _mismatch(model, path, f"the model ends before the file's layer {strange[0]!r}")
    for (layer, variables), (_, arrays) in zip(ours, theirs, strict=False):
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(np.asarray(array))
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def _load_by_path(model: Any, path: Path) -> None:
    if not path.name.endswith(".weights.h5"):
        raise WeightsError(f"{path} is in the layout of Keras 3", fix="rename it to end in .weights.h5")
    before = [variable.numpy() for variable in model.variables]
    try:
        model.load_weights(path)
    except (ValueError, KeyError) as error:
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
        raise _mismatch(model, path, " ".join(str(error).split())) from error


def _mismatch(model: Any, path: Path, where: str) -> WeightsError:
    return WeightsError(
        f"{path} does not fit the architecture {model.name}: {where}",
        fix="choose the backbone that these weights belong to, or use another file",
    )


def _datasets(group: Any) -> list[Any]:
    return [group[name] for name in _strings(group, "weight_names")]


def _strings(group: Any, name: str) -> list[str]:
    if name in group.attrs:
        values = list(group.attrs[name])
    else:  # long lists are split over numbered attributes
        values, part = [], 0
        while f"{name}{part}" in group.attrs:
            values.extend(group.attrs[f"{name}{part}"])
            part += 1
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]
