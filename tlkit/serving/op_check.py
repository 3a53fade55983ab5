"""Operations that a served graph must not hold: they run Python, or read and write files of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tlkit.errors import ExportError
from tlkit.serving.graph_paths import GraphPaths, node_name

#: Runs code that is not in the graph, speaks to other machines, or ends the process.
_CODE = {
    "PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction", "LoadLibrary", "RpcCall", "RemoteCall", "RpcServer",
    "RpcServerRegister", "RpcServerStart", "RpcClient", "RpcCheckStatus", "RpcGetValue", "DatasetFromGraph",
    "DataServiceDataset", "RegisterDataset", "MlirPassthroughOp", "XlaCustomCall", "FileSystemSetConfiguration",
    "Abort", "SleepOp", "SleepIdentityOp",
}  # fmt: skip
#: Opens files by a name that the graph or the client chooses.
_FILES = {
    "ReadFile", "WriteFile", "MatchingFiles", "WholeFileReader", "TextLineReader", "TFRecordReader",
    "FixedLengthRecordReader", "LMDBReader", "TextLineDataset", "TFRecordDataset", "FixedLengthRecordDataset",
    "LMDBDataset", "SqlDataset", "CSVDataset", "CacheDataset", "SnapshotDataset", "SaveDataset", "LoadDataset",
    "MatchingFilesDataset", "CreateSummaryFileWriter", "CreateSummaryDbWriter", "DebugIdentity", "DebugNanCount",
    "DebugNumericSummary", "ImmutableConst", "GenerateVocabRemapping", "LoadAndRemapMatrix", "SnapshotDatasetReader",
    "SnapshotNestedDatasetReader", "SnapshotChunkDataset", "ListSnapshotChunksDataset", "DatasetToTFRecord",
    "DistributedSave", "RecordInput", "Skipgram", "DumpTensor", "CalibrationStatisticsSaver",
}  # fmt: skip
#: Restoring is how a SavedModel loads, so these are refused only where they do something else.
_RESTORES = {"Restore", "RestoreV2", "RestoreSlice", "DTensorRestoreV2"}
_CHECKPOINTS = _RESTORES | {
    "Save", "SaveV2", "SaveSlices", "MergeV2Checkpoints", "CheckpointHasKey", "ReadVariableFromCheckpoint",
}  # fmt: skip
#: Fills a table from a file, which has to be one of the model's assets.
_TABLES = {"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"}
#: Where PrintV2 may write; anything else is the name of a file.
_STREAMS = {b"", b"stdout", b"stderr", b"log(info)", b"log(warning)", b"log(error)"}
_INIT = "__saved_model_init_op"
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")


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
                f"{where} contains the operation {found}, which runs code or opens files outside of the "
                "graph or ends the "
                "process",
                fix="use --trust if you trust its source",
            )


def refuse_files(meta_graphs: Iterable[Any], export: Path) -> None:
    """Refuse a version whose files are not its own: what it loads could be any file of this machine.

    Links may go to other places in the base path, as Kubernetes and stores of versions use them.

    Args:
        meta_graphs: of the SavedModel's proto.
        export: the version folder.

    Raises:
        ExportError: a link leaves the base path, an asset is not below assets/, or there is a pipe or a device.
    """
    homes = (export.resolve(), export.absolute().parent.resolve())
    for root, folders, files in os.walk(export):
        for path in (Path(root, name) for name in (*folders, *files)):
            real = path.resolve()
            if not any(real.is_relative_to(home) for home in homes):
                raise _foreign(f"{path} is a link to a path outside of the base path")
            if not real.is_file() and not real.is_dir():
                raise _foreign(f"{path} is neither a file nor a folder")
    for meta in meta_graphs:
        for one in asset_files(meta):
            place = PurePosixPath(one.filename)
            if place.is_absolute() or ".." in place.parts or "://" in one.filename or "\0" in one.filename:
                raise _foreign(f"{export} has an asset outside of its folder, {one.filename!r:.200}")


def _foreign(what: str) -> ExportError:
    return ExportError(what, fix="use --trust if you trust its source")


def _refused(meta: Any) -> Iterator[str]:
    paths = GraphPaths(meta)
    for _, node in paths.nodes():
        name = _base_name(node.op)
        if name in _CODE or name in _FILES or (name == "Print" and not _prints_to_stream(node)):
            yield node.op
        if name == "FixedUnigramCandidateSampler" and node.attr["vocab_file"].s:
            yield node.op
    yield from _misplaced(meta, paths)


def _misplaced(meta: Any, paths: GraphPaths) -> Iterator[str]:
    """Yield what is all right in a SavedModel, but not where it is, or not with this file.

    Loading runs two things: first the restoring operation, which is told the checkpoint's place, and then the
    initializing one, which is told those of the assets. Clients run what the signatures answer.
    """
    answers = [info.name for key, one in meta.signature_def.items() if key != _INIT for info in one.outputs.values()]
    for _, node in paths.reached(answers):
        if node.op in _CHECKPOINTS or node.op in _TABLES:
            yield node.op
    prefix = node_name(meta.saver_def.filename_tensor_name)
    for body, node in paths.reached([meta.saver_def.restore_op_name]):
        if node.op in _RESTORES:
            if not paths.comes_from(body, node.input[0], {prefix}):
                yield node.op
        elif node.op in _CHECKPOINTS or node.op in _TABLES:
            yield node.op
    begins = [info.name for info in meta.signature_def[_INIT].outputs.values()] if _INIT in meta.signature_def else []
    for key in _INIT_COLLECTIONS:
        if key in meta.collection_def:
            begins += meta.collection_def[key].node_list.value
    assets = {node_name(one.tensor_info.name) for one in asset_files(meta)}
    for body, node in paths.reached(begins):
        if node.op in _CHECKPOINTS:
            yield node.op
        elif node.op in _TABLES and not paths.comes_from(body, node.input[1], assets):
            yield f"{node.op} with a file that is not an asset of the export"


def asset_files(meta: Any) -> list[Any]:
    """Return the AssetFileDefs of a MetaGraphDef, wherever its writer has put them."""
    if meta.asset_file_def or "saved_model_assets" not in meta.collection_def:
        return list(meta.asset_file_def)
    holder = type(meta)()
    for packed in meta.collection_def["saved_model_assets"].any_list.value:
        packed.Unpack(holder.asset_file_def.add())
    return list(holder.asset_file_def)


def _base_name(op: str) -> str:
    """Strip what marks variants of one operation.

    >>> _base_name("ExperimentalCSVDatasetV2")
    'CSVDataset'
    """
    return op.removeprefix("Experimental").rstrip("0123456789").removesuffix("V")


def _prints_to_stream(node: Any) -> bool:
    return "output_stream" not in node.attr or node.attr["output_stream"].s in _STREAMS
