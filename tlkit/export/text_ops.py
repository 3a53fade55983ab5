"""Load TensorFlow Text's operations without Keras (standalone: also run by path, without tlkit)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGE = "tensorflow_text"
FIX = "install tensorflow-text in the version of the installed TensorFlow"


def provide_ops(export: Path) -> list[str]:
    """Make the operations of a SavedModel known to this process.

    `import tensorflow_text` would do, but it imports Keras, which a server needs for nothing else. Where TensorFlow
    alone has every operation, nothing is loaded.

    Example:
        >>> provide_ops(Path("saved_models/reviews/1"))
        []

    Args:
        export: a version folder with a saved_model.pb.

    Returns:
        The operations that are still unknown, because TF Text is not installed or of another version.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString((export / "saved_model.pb").read_bytes())
    return provide(operations(proto))


def operations(proto: Any) -> set[str]:
    """Name the operations of a SavedModel's first graph and of its functions, without the functions themselves."""
    graph = proto.meta_graphs[0].graph_def
    functions = graph.library.function
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    return {node.op for node in nodes} - {function.signature.name for function in functions}


def provide(ops: Iterable[str]) -> list[str]:
    """Load TF Text's operations if any of `ops` is unknown; return those that still are, sorted."""
    unknown = _unknown(ops)
    if unknown:
        _load()
    return _unknown(unknown)


def _unknown(ops: Iterable[str]) -> list[str]:
    from tensorflow.python.framework import op_def_registry

    return sorted(op for op in ops if op_def_registry.get(op) is None)


def _load() -> None:
    import tensorflow as tf

    spec = importlib.util.find_spec(PACKAGE)  # finds it without importing it
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for library in sorted(Path(folder).rglob("_*.so")):
            try:
                tf.load_op_library(str(library))
            except (tf.errors.OpError, RuntimeError):
                continue  # not an operation library, built for another TensorFlow, or registered by an earlier one
