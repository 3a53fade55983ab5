"""Operations that a served graph must not hold: they run Python, or read and write files of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tlkit.errors import ExportError

#: Runs code that is not in the graph.
_CODE = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction", "LoadLibrary", "RpcCall", "RemoteCall"}
#: Opens files by a name that the graph or the client chooses.
_FILES = {
    "ReadFile", "WriteFile", "MatchingFiles", "WholeFileReader", "TextLineReader", "TFRecordReader",
    "FixedLengthRecordReader", "LMDBReader", "TextLineDataset", "TFRecordDataset", "FixedLengthRecordDataset",
    "LMDBDataset", "SqlDataset", "CSVDataset", "CacheDataset", "SnapshotDataset", "SaveDataset", "LoadDataset",
    "MatchingFilesDataset", "CreateSummaryFileWriter", "CreateSummaryDbWriter", "DebugIdentity", "DebugNanCount",
    "DebugNumericSummary", "ImmutableConst", "GenerateVocabRemapping", "LoadAndRemapMatrix",
}  # fmt: skip
#: Restoring is how a SavedModel loads, so these are refused only where an answer is computed from them.
_CHECKPOINTS = {
    "Save", "SaveV2", "SaveSlices", "Restore", "RestoreV2", "RestoreSlice", "MergeV2Checkpoints",
    "CheckpointHasKey", "ReadVariableFromCheckpoint",
}  # fmt: skip
#: Where PrintV2 may write; anything else is the name of a file.
_STREAMS = {b"", b"stdout", b"stderr", b"log(info)", b"log(warning)", b"log(error)"}


def refuse(meta_graphs: Iterable[Any], where: str) -> None:
    """Refuse a SavedModel with operations that reach beyond the graph.

    Functions are searched too. Tables that are initialized from a file of the model's own assets are accepted.

    Example:
        >>> refuse(saved_model.meta_graphs, "models/photos/1")

    Args:
        meta_graphs: of the SavedModel's proto; every one is searched, whichever is served.
        where: the SavedModel's path, for the message.

    Raises:
        ExportError: there is such an operation.
    """
    for meta in meta_graphs:
        found = next(_refused(meta), None)
        if found:
            raise ExportError(
                f"{where} holds the operation {found}, which runs code or opens files outside of the graph",
                fix="serve it with --trust if you know where it comes from",
            )


def _refused(meta: Any) -> Iterator[str]:
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    bodies = [meta.graph_def.node, *(function.node_def for function in functions.values())]
    for nodes in bodies:
        for node in nodes:
            name = _base_name(node.op)
            if name in _CODE or name in _FILES or (name == "Print" and not _prints_to_stream(node)):
                yield node.op
    yield from _computed_from_files(meta, functions)


def _base_name(op: str) -> str:
    """Strip what marks variants of one operation.

    >>> _base_name("ExperimentalCSVDatasetV2")
    'CSVDataset'
    """
    return op.removeprefix("Experimental").rstrip("0123456789").removesuffix("V")


def _prints_to_stream(node: Any) -> bool:
    return "output_stream" not in node.attr or node.attr["output_stream"].s in _STREAMS


def _computed_from_files(meta: Any, functions: Mapping[str, Any]) -> Iterator[str]:
    """Walk back from the outputs of the signatures and yield the checkpoint operations on the way."""
    nodes = {node.name: node for node in meta.graph_def.node}
    pending = [
        _node_name(info.name)
        for key, signature in meta.signature_def.items()
        if key != "__saved_model_init_op"
        for info in signature.outputs.values()
    ]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        node = nodes[name]
        pending.extend(_node_name(source) for source in node.input)
        if node.op in _CHECKPOINTS:
            yield node.op
        yield from _checkpoint_ops_inside(node, functions)


def _checkpoint_ops_inside(node: Any, functions: Mapping[str, Any]) -> Iterator[str]:
    pending = _called(node, functions)
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for inner in functions[name].node_def:
            if inner.op in _CHECKPOINTS:
                yield inner.op
            pending.extend(_called(inner, functions))


def _called(node: Any, functions: Mapping[str, Any]) -> list[str]:
    names = [node.op]
    for value in node.attr.values():
        names.append(value.func.name)
        names.extend(function.name for function in value.list.func)
    return [name for name in names if name in functions]


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]
