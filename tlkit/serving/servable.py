"""A SavedModel version in memory, called by signature name with arrays; needs TensorFlow, not Keras."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, saved_model_pb2

from tlkit.errors import ExportError
from tlkit.export.graph_errors import as_op_error
from tlkit.export.manifest import Manifest, name_and_version, resolve_export
from tlkit.export.text_ops import FIX, operations, provide
from tlkit.export.verify_answers import message_of
from tlkit.serving import op_check
from tlkit.serving.json_tensor import TYPE_NAMES

_TAG = "serve"
#: TensorFlow writes these above what is wrong.
_SAYS_NOTHING = ("Graph execution error", "Detected at node")
#: How many combinations of inputs and outputs are kept compiled; clients choose outputs by output_filter.
_MOST_COMPILED = 64


class Servable:
    """One loaded version of a model.

    It is held as TensorFlow Serving holds it, in a session: the shapes of what is fed are not checked against the
    signature, error texts are the same, and a call costs a tenth of what a restored function costs.

    Example:
        >>> servable = Servable("saved_models/photos")
        >>> servable.run("serving_default", {"image_bytes": np.array([jpeg], object)})["scores"].shape
        (1, 2)

    Args:
        path: a version folder, or a model's base path (then its newest version).
        name: the name to serve it under; None takes the folder's.
        version: the number to serve it under; None takes the folder's.
        trust: load it even if it holds operations that run Python or open files.
        run_seconds: a run of the graph is ended after so long, as by TensorFlow Serving; None lets it go on.

    Attributes:
        name: model name.
        version: version number.
        signatures: SignatureDef by name.
        input_dtypes: by signature, then by input: NumPy dtype name, or "string".

    Raises:
        ExportError: there is no SavedModel, it cannot be loaded, it holds refused operations, or it needs TF Text,
            which is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        name: str | None = None,
        *,
        version: int | None = None,
        trust: bool = False,
        run_seconds: float | None = None,
    ):
        self.export = resolve_export(path)
        self._run_seconds = run_seconds
        folder_name, folder_version = name_and_version(self.export)
        self.name = name or folder_name
        self.version = folder_version if version is None else version
        self._lock = threading.Lock()
        self._compiled: OrderedDict[Any, tuple[Callable[..., list[Any]], list[np.dtype]]] = OrderedDict()
        try:
            proto = saved_model_pb2.SavedModel.FromString((self.export / "saved_model.pb").read_bytes())
            if not trust:
                op_check.refuse(proto.meta_graphs, str(self.export))
                op_check.refuse_files(proto.meta_graphs, self.export)
            missing = provide(operations(proto))
            if missing:
                raise ExportError(f"{self.export} needs operations of TensorFlow Text", received=missing[0], fix=FIX)
            self._session, meta = _load(self.export)
        except ExportError:
            raise
        except Exception as error:
            raise ExportError(f"{self.export} cannot be loaded: {type(error).__name__}: {_gist(error)}") from error
        self.signatures = {name: meta.signature_def[name] for name in sorted(meta.signature_def)}
        self.input_dtypes = {
            name: {key: tf.dtypes.as_dtype(info.dtype).name for key, info in sorted(signature.inputs.items())}
            for name, signature in self.signatures.items()
        }
        self._batchable = {name: _is_batchable(signature) for name, signature in self.signatures.items()}

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
        definition = self.signatures[signature]
        dtypes = self.input_dtypes[signature]
        feeds = {definition.inputs[key].name: _as_array(value, dtypes[key]) for key, value in inputs.items()}
        names = sorted(definition.outputs)
        fetched = self.execute(feeds, tuple(definition.outputs[name].name for name in names))
        return dict(zip(names, fetched, strict=True))

    def execute(self, feeds: Mapping[str, np.ndarray], fetches: tuple[str, ...]) -> list[np.ndarray]:
        """Run the graph.

        Args:
            feeds: arrays by tensor name; strings as object arrays of bytes.
            fetches: names of the wanted tensors.

        Returns:
            Their values, in the same order; strings as object arrays of bytes.

        Raises:
            tf.errors.OpError: the graph refused the input, or took too long.
        """
        if not fetches:
            return []
        call, dtypes = self._compile(tuple(feeds), fetches)
        for i, (array, dtype) in enumerate(zip(feeds.values(), dtypes, strict=True)):
            if array.dtype != dtype:
                raise tf.errors.InvalidArgumentError(
                    None, None, f"Expects arg[{i}] to be {_type_name(dtype)} but {_type_name(array.dtype)} is provided"
                )
        try:
            return [_as_ndarray(value) for value in call(*feeds.values())]
        except UnicodeDecodeError as error:
            raise as_op_error(error) from None

    def is_batchable(self, signature: str) -> bool:
        """Say whether every input and output of a signature has a known rank and a free first dimension."""
        return self._batchable[signature]

    def metadata(self) -> dict[str, Any]:
        """Return the answer of TensorFlow Serving's GET .../metadata."""
        return {
            "model_spec": {"name": self.name, "signature_name": "", "version": str(self.version)},
            "metadata": {
                "signature_def": {
                    "signature_def": {name: _as_plain(signature) for name, signature in self.signatures.items()}
                }
            },
        }

    def max_batch(self) -> int | None:
        """Return the largest batch that the export was verified with, in rows; None where no manifest says it."""
        try:
            return Manifest.read(self.export).max_batch
        except ExportError:
            return None

    def disk_bytes(self) -> int:
        """Return the size of the version's files in bytes."""
        return sum(path.stat().st_size for path in self.export.rglob("*") if path.is_file())

    def close(self) -> None:
        """Free the model's memory; no call may be running."""
        with self._lock:
            self._compiled.clear()
            self._session.close()

    def _compile(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> tuple[Callable[..., list[Any]], list[Any]]:
        key = feeds, fetches
        found = self._compiled.get(key)
        if found is not None:
            return found
        with self._lock:
            if key in self._compiled:
                return self._compiled[key]
            try:
                dtypes = [np.dtype(self._session.graph.get_tensor_by_name(name).dtype.as_numpy_dtype) for name in feeds]
            except (KeyError, ValueError) as error:  # a tensor that the signature names is not in the graph
                raise tf.errors.InvalidArgumentError(None, None, str(error)) from None
            options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
            if self._run_seconds:
                options.run_options.timeout_in_ms = max(1, round(self._run_seconds * 1000))
            # Session.run() and make_callable() take 120 us a call and this takes 10; verify_worker calls it too.
            self._compiled[key] = self._session._make_callable_from_options(options), dtypes
            while len(self._compiled) > _MOST_COMPILED:
                self._compiled.popitem(last=False)
            return self._compiled[key]


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _load(export: Path) -> tuple[Any, meta_graph_pb2.MetaGraphDef]:
    threads = cores()
    config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads, allow_soft_placement=True
    )
    config.gpu_options.allow_growth = True
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    try:
        with session.graph.as_default():
            meta = tf.compat.v1.saved_model.loader.load(session, [_TAG], str(export))
            session.graph.finalize()
    except BaseException:
        session.close()
        raise
    return session, meta


def _gist(error: Exception) -> str:
    """Return the line of an error that says what is wrong."""
    lines = [line.strip() for line in message_of(error).splitlines()]
    return next((line for line in lines if line and not line.startswith(_SAYS_NOTHING)), "")


def _is_batchable(signature: meta_graph_pb2.SignatureDef) -> bool:
    infos = [*signature.inputs.values(), *signature.outputs.values()]
    return bool(signature.inputs) and all(
        not info.tensor_shape.unknown_rank and info.tensor_shape.dim and info.tensor_shape.dim[0].size == -1
        for info in infos
    )


def _as_array(value: Any, dtype: str) -> np.ndarray:
    if dtype != "string":
        return np.asarray(value, tf.dtypes.as_dtype(dtype).as_numpy_dtype)
    return np.asarray(value).astype(object)


def _as_ndarray(value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, bytes | str):  # NumPy's own string type would drop zero bytes at the end
        array = np.empty((), object)
        array[()] = value
        return array
    return np.asarray(value)


def _type_name(dtype: np.dtype) -> str:
    return TYPE_NAMES.get(dtype.name, dtype.name)


def _as_plain(message: Any) -> Any:
    text = json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return json.loads(text)
