"""A SavedModel version in memory, called by signature name with arrays; needs TensorFlow, not Keras."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from tlkit.errors import ExportError
from tlkit.export.manifest import MANIFEST_NAME, Manifest, name_and_version, resolve_export
from tlkit.export.text_ops import FIX, operations, provide


class Servable:
    """One loaded version of a model.

    Example:
        >>> servable = Servable("saved_models/photos")
        >>> servable.run("serving_default", {"image_bytes": np.array([jpeg], object)})["scores"].shape
        (1, 2)

    Args:
        path: a version folder, or a model's base path (then its newest version).
        name: the name to serve it under; None takes the folder's.

    Attributes:
        name: model name.
        version: version number.
        input_dtypes: by signature, then by input: NumPy dtype name, or "string".

    Raises:
        ExportError: there is no SavedModel, it cannot be loaded, or it needs TF Text, which is not installed.
    """

    def __init__(self, path: str | Path, name: str | None = None):
        self.export = resolve_export(path)
        folder_name, self.version = name_and_version(self.export)
        self.name = name or folder_name
        try:
            proto = saved_model_pb2.SavedModel.FromString((self.export / "saved_model.pb").read_bytes())
            missing = provide(operations(proto))
            if missing:
                raise ExportError(f"{self.export} needs operations of TensorFlow Text", received=missing[0], fix=FIX)
            self._model = tf.saved_model.load(str(self.export))
        except ExportError:
            raise
        except Exception as error:
            first = (str(error).strip().splitlines() or [""])[0]
            raise ExportError(f"{self.export} cannot be loaded: {type(error).__name__}: {first}") from error
        defs = proto.meta_graphs[0].signature_def
        self._defs = {name: defs[name] for name in sorted(self._model.signatures) if name in defs}
        self.input_dtypes = {
            name: {key: tf.dtypes.as_dtype(info.dtype).name for key, info in signature.inputs.items()}
            for name, signature in self._defs.items()
        }

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Call a signature.

        Args:
            signature: its name.
            inputs: arrays by input name; strings as object arrays of bytes.

        Returns:
            Arrays by output name, sorted.

        Raises:
            tf.errors.OpError: the graph refused the input.
        """
        dtypes = self.input_dtypes[signature]
        tensors = {key: tf.constant(value, dtype=dtypes[key]) for key, value in inputs.items()}
        answer = self._model.signatures[signature](**tensors)
        return {key: answer[key].numpy() for key in sorted(answer)}

    def warm_up(self) -> None:
        """Answer the first recorded example once, so that no client waits for the graph to be optimized."""
        if (self.export / MANIFEST_NAME).is_file():
            manifest = Manifest.read(self.export)
            inputs = {  # a row without any value is a row too
                column.argument: np.array([column.absent_value], object if column.dtype == "string" else column.dtype)
                for column in manifest.interface.columns
            }
            content = np.array([manifest.golden[0].content_bytes()], object)
            self.run("serving_default", inputs or {manifest.interface.input: content})

    def metadata(self) -> dict[str, Any]:
        """Return the answer of TensorFlow Serving's GET .../metadata."""
        signatures = {name: _signature_json(signature) for name, signature in self._defs.items()}
        return {
            "model_spec": {"name": self.name, "signature_name": "", "version": str(self.version)},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }


def _signature_json(signature: meta_graph_pb2.SignatureDef) -> dict[str, Any]:
    return {
        "inputs": {key: _tensor_json(info) for key, info in sorted(signature.inputs.items())},
        "outputs": {key: _tensor_json(info) for key, info in sorted(signature.outputs.items())},
        "method_name": signature.method_name,
        "defaults": {},
    }


def _tensor_json(info: meta_graph_pb2.TensorInfo) -> dict[str, Any]:
    return {
        "dtype": types_pb2.DataType.Name(info.dtype),
        "tensor_shape": {
            "dim": [{"size": str(dim.size), "name": dim.name} for dim in info.tensor_shape.dim],
            "unknown_rank": info.tensor_shape.unknown_rank,
        },
        "name": info.name,
    }
