"""Hostile SavedModels: tables, checkpoints and assets that are other files of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from tlkit.errors import ExportError
from tlkit.serving import op_check
from tlkit.serving.servable import Servable

SECRET = b"root:x:0:0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that looks words up in a table, which is filled from an asset, beside a file that is none of its own."""
    here = tmp_path_factory.mktemp("tables")
    (here / "words.txt").write_text("a\nb\nc\n")
    (here / "secret.txt").write_bytes(SECRET + b"\n")
    module = tf.Module()
    index = tf.lookup.TextFileIndex
    source = tf.lookup.TextFileInitializer(
        str(here / "words.txt"), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
    )
    module.table = tf.lookup.StaticHashTable(source, -1)
    module.weight = tf.Variable(0, dtype=tf.int64)
    module.run = tf.function(
        lambda words: {"number": module.table.lookup(words) + module.weight},
        input_signature=[tf.TensorSpec([None], tf.string, name="words")],
    )
    tf.saved_model.save(module, str(here / "good" / "1"), signatures={"serving_default": module.run})
    return here


def changed(folder: Path, to: Path, change: Callable[[Any], None]) -> Path:
    """Copy the model and change its graph."""
    shutil.copytree(folder / "good" / "1", to / "1")
    graph = to / "1" / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(graph.read_bytes())
    change(proto.meta_graphs[0])
    graph.write_bytes(proto.SerializeToString())
    return to / "1"


def numbers(servable: Servable, *words: bytes) -> list[int]:
    return servable.run("serving_default", {"words": np.array(words, object)})["number"].tolist()


def constant(meta: Any, name: str, value: bytes) -> None:
    made = tf.make_tensor_proto(value)
    node = meta.graph_def.node.add(name=name, op="Const")
    node.attr["value"].tensor.CopyFrom(made)
    node.attr["dtype"].type = made.dtype


def node_of(meta: Any, op: str, wanted: Callable[[Any], bool] = lambda node: True) -> Any:
    return next(node for node in meta.graph_def.node if node.op == op and wanted(node))


def asset_node(meta: Any) -> Any:
    return node_of(meta, "Placeholder", lambda node: f"{node.name}:0" == meta.asset_file_def[0].tensor_info.name)


def initializer(meta: Any) -> Any:
    """The node that calls the function that fills the table."""
    (name,) = (
        function.signature.name
        for function in meta.graph_def.library.function
        if any(node.op == "InitializeTableFromTextFileV2" for node in function.node_def)
    )
    return node_of(meta, "StatefulPartitionedCall", lambda node: node.attr["f"].func.name == name)


def test_a_table_that_is_filled_from_an_asset_is_served(folder: Path, tmp_path: Path):
    servable = Servable(folder / "good")
    assert numbers(servable, b"c", b"a", SECRET) == [2, 0, -1]
    servable.close()
    base = tmp_path / "links"  # as a store of versions, or Kubernetes, lays them out
    shutil.copytree(folder / "good" / "1", base / ".store" / "abc")
    (base / "1").mkdir()
    for name in ("saved_model.pb", "assets", "variables"):
        (base / "1" / name).symlink_to(Path("..", ".store", "abc", name))
    linked = Servable(base / "1")
    assert numbers(linked, b"b") == [1]
    linked.close()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1").symlink_to(folder / "good" / "1")  # the person who starts the server names it
    Servable(tmp_path / "other" / "1").close()


def test_a_table_that_is_filled_from_another_file_is_refused(folder: Path, tmp_path: Path):
    secret = bytes(folder / "secret.txt")

    def directly(meta: Any) -> None:
        constant(meta, "evil", secret)
        initializer(meta).input[0] = "evil"

    def without_assets(meta: Any) -> None:
        node = asset_node(meta)
        del meta.asset_file_def[:]
        node.op = "Const"
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(secret))
        del node.attr["shape"]

    def by_a_second_assignment(meta: Any) -> None:
        constant(meta, "evil", secret)
        first = node_of(meta, "AssignVariableOp", lambda node: node.input[1] == asset_node(meta).name)
        second = meta.graph_def.node.add()
        second.CopyFrom(first)
        second.name, second.input[1] = "again", "evil"
        initializer(meta).input.append("^again")

    def by_an_asset_with_a_value_of_its_own(meta: Any) -> None:  # restoring could assign it before the asset is fed
        node = asset_node(meta)
        node.op = "Const"
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(secret))
        del node.attr["shape"]

    def by_a_second_name(meta: Any) -> None:
        first = node_of(meta, "AssignVariableOp", lambda node: node.input[1] == asset_node(meta).name)
        handle = node_of(meta, "VarHandleOp", lambda node: node.name == first.input[0])
        alias = meta.graph_def.node.add()
        alias.CopyFrom(handle)
        alias.name = "alias"
        alias.attr["shared_name"].s = handle.attr["shared_name"].s or handle.name.encode()

    def by_a_client(meta: Any) -> None:
        node = meta.graph_def.node.add()
        node.CopyFrom(initializer(meta))
        node.name = "fill"
        meta.signature_def["serving_default"].outputs["filled"].name = "fill:0"

    def by_a_caller_that_is_not_plain(meta: Any) -> None:
        node = meta.graph_def.node.add(name="odd", op="SymbolicGradient", input=initializer(meta).input)
        node.attr["f"].func.name = initializer(meta).attr["f"].func.name

    ways = (directly, without_assets, by_an_asset_with_a_value_of_its_own, by_a_second_assignment,
            by_a_second_name, by_a_client,            by_a_caller_that_is_not_plain)  # fmt: skip
    for way in ways:
        path = changed(folder, tmp_path / way.__name__, way)
        with pytest.raises(ExportError, match="InitializeTableFromTextFileV2.*--trust"):
            Servable(path)
    trusted = Servable(tmp_path / "directly" / "1", trust=True)
    assert numbers(trusted, SECRET, b"a") == [0, -1]  # it is the real thing
    trusted.close()


@pytest.mark.parametrize("name", ["../../secret.txt", "FOLDER/secret.txt", "a/../../../secret.txt", "s3://b/secret"])
def test_an_asset_outside_of_its_folder_is_refused(folder: Path, tmp_path: Path, name: str):
    def move(meta: Any) -> None:
        meta.asset_file_def[0].filename = name.replace("FOLDER", str(folder))

    path = changed(folder, tmp_path / "m", move)
    with pytest.raises(ExportError, match=r"has an asset outside of its folder.*--trust"):
        Servable(path)

    def move_old(meta: Any) -> None:  # as TensorFlow 1 wrote it
        move(meta)
        meta.collection_def["saved_model_assets"].any_list.value.add().Pack(meta.asset_file_def[0])
        del meta.asset_file_def[:]

    path = changed(folder, tmp_path / "old", move_old)
    with pytest.raises(ExportError, match="has an asset outside of its folder"):
        Servable(path)


@pytest.mark.parametrize("what", ["assets/words.txt", "variables/variables.index", "assets", "more"])
def test_a_link_that_leaves_the_base_path_is_refused(folder: Path, tmp_path: Path, what: str):
    path = changed(folder, tmp_path / "m", lambda meta: None)
    place = path / what
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    place.symlink_to(folder / "secret.txt" if "." in what else folder)
    with pytest.raises(ExportError, match=r"is a link to a path outside of the base path.*--trust"):
        Servable(path)


def test_a_pipe_is_refused_before_anybody_waits_for_it(folder: Path, tmp_path: Path):
    path = changed(folder, tmp_path / "m", lambda meta: None)
    (path / "assets" / "words.txt").unlink()
    os.mkfifo(path / "assets" / "words.txt")
    with pytest.raises(ExportError, match="is neither a file nor a folder"):
        Servable(path)


def test_loading_writes_nothing_and_reads_its_own_checkpoint(folder: Path, tmp_path: Path):
    other = str(tmp_path / "other").encode()

    def saving(meta: Any, name: str) -> None:
        constant(meta, "evil", other)
        constant(meta, "names", [b"x"])
        constant(meta, "slices", [b""])
        node = meta.graph_def.node.add(name=name, op="SaveV2", input=["evil", "names", "slices", "evil"])
        node.attr["dtypes"].list.type.append(tf.string.as_datatype_enum)

    def saves_at_the_start(meta: Any) -> None:
        saving(meta, "save")
        init = meta.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name
        node_of(meta, "NoOp", lambda node: node.name == init).input.append("^save")

    def saves_for_a_collection(meta: Any) -> None:
        saving(meta, "save")
        meta.collection_def["legacy_init_op"].node_list.value.append("save")

    def saves_when_restoring(meta: Any) -> None:
        saving(meta, "save")
        meta.saver_def.restore_op_name = "save"

    def restores_another(meta: Any) -> None:
        constant(meta, "evil", other)
        node_of(meta, "StatefulPartitionedCall", lambda node: node.name == meta.saver_def.restore_op_name).input[0] = (
            "evil"
        )

    for way, op in (
        (saves_at_the_start, "SaveV2"),
        (saves_for_a_collection, "SaveV2"),
        (saves_when_restoring, "SaveV2"),
        (restores_another, "RestoreV2"),
    ):
        path = changed(folder, tmp_path / way.__name__, way)
        with pytest.raises(ExportError, match=f"contains the operation {op},"):
            Servable(path)
    Servable(tmp_path / "saves_at_the_start" / "1", trust=True).close()
    assert list(tmp_path.glob("other.*"))  # what an untrusted one may not do


@pytest.mark.parametrize(
    "op",
    ["DatasetFromGraph", "DataServiceDatasetV4", "RegisterDatasetV2", "RpcClient", "FileSystemSetConfiguration",
     "ExperimentalDatasetToTFRecord", "SnapshotChunkDataset", "DistributedSave", "RecordInput", "Skipgram",
     "DebugIdentityV3", "XlaCustomCallV2", "DumpTensor", "Abort", "RpcGetValue", "SleepOp"],
)  # fmt: skip
def test_operations_that_reach_outside_are_known(op: str):
    meta = meta_graph_pb2.MetaGraphDef()
    function = meta.graph_def.library.function.add()
    function.signature.name = "inner"
    function.node_def.add(name="one", op=op)
    with pytest.raises(ExportError, match=f"here contains the operation {op},"):
        op_check.refuse([meta], "here")


def test_a_sampler_with_a_file_is_refused_and_one_without_is_not():
    meta = meta_graph_pb2.MetaGraphDef()
    node = meta.graph_def.node.add(name="one", op="FixedUnigramCandidateSampler")
    op_check.refuse([meta], "here")
    node.attr["vocab_file"].s = b"/etc/passwd"
    with pytest.raises(ExportError, match="FixedUnigramCandidateSampler"):
        op_check.refuse([meta], "here")


def test_two_nodes_of_one_name_hide_nothing(folder: Path, tmp_path: Path):
    def twice(meta: Any) -> None:
        meta.graph_def.node.add(name=asset_node(meta).name, op="NoOp")

    with pytest.raises(ExportError, match="two nodes or functions have the same name"):
        Servable(changed(folder, tmp_path / "m", twice))
