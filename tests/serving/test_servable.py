"""A SavedModel in memory: calls, dtypes, refusals and what is freed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import plain_models
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tlkit.errors import ExportError
from tlkit.serving import op_check
from tlkit.serving.servable import Servable


@pytest.fixture(scope="module")
def servable():
    model = Servable(plain_models.shared_model())
    yield model
    model.close()


def test_name_version_and_signatures(servable):
    assert (servable.name, servable.version) == ("plain", 1)
    assert Servable.__init__.__kwdefaults__ == {"version": None, "trust": False, "run_seconds": None}
    assert servable.input_dtypes["same"] == {"a": "float32", "n": "int64", "s": "string"}
    assert servable.disk_bytes() > 10_000


def test_every_type_goes_in_and_comes_out(servable):
    for dtype in ("float16", "uint8", "uint16", "bfloat16", "int32", "bool"):
        value = np.array([[0, 1], [1, 0]]).astype(tf.dtypes.as_dtype(dtype).as_numpy_dtype)
        got = servable.run(dtype, {"x": value})["y"]
        assert got.dtype == value.dtype
        np.testing.assert_array_equal(got, value)
    words = np.array([[b"a\x00", b""]], object)
    assert servable.run("string", {"x": words})["y"].tolist() == words.tolist()


def test_scalars_keep_their_zero_bytes(servable):
    got = servable.run("scalar", {"s": np.array([b"a", b"\x00\x00"], object)})["joined_bytes"]
    assert (got.shape, got[()]) == ((), b"a\x00\x00")
    assert servable.run("float16", {"x": np.float16(2)})["y"].shape == ()


def test_the_wrong_type_is_told_as_tensorflow_serving_tells_it(servable):
    feed = servable.signatures["serving_default"].inputs["x"].name
    fetch = servable.signatures["serving_default"].outputs["y"].name
    for value, name in ((np.array([True]), "bool"), (np.array([b"a"], object), "string"), (np.zeros(2), "double")):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            servable.execute({feed: value}, (fetch,))
        assert caught.value.message == f"Expects arg[0] to be float but {name} is provided"


def test_shapes_are_the_graphs_own_business(servable):
    # TensorFlow Serving feeds what it gets: a vector where the signature has a matrix.
    assert servable.run("plus", {"x": np.ones(3, np.float32)})["y"].tolist() == [2, 2, 2]
    with pytest.raises(tf.errors.InvalidArgumentError):
        servable.run("serving_default", {"x": np.ones([2], np.float32)})


def test_only_so_many_combinations_are_kept(servable):
    outputs = servable.signatures["same"].outputs
    feeds = {
        servable.signatures["same"].inputs[key].name: value
        for key, value in {"a": np.float32([1]), "s": np.array([b"x"], object), "n": np.int64([3])}.items()
    }
    for count in range(1, 100):
        assert len(servable.execute(feeds, (outputs["a"].name,) * count)) == count
    assert len(servable._compiled) == 64
    with pytest.raises(tf.errors.InvalidArgumentError):
        servable.execute({"nowhere:0": np.zeros(1)}, (outputs["a"].name,))


def test_batchable_is_what_has_free_rows_on_both_sides(servable):
    expected = {"serving_default": True, "checked": True, "unequal": True, "classify": True}
    expected |= {"same": False, "scalar": False, "labels_only": False, "__saved_model_init_op": False}
    assert {name: servable.is_batchable(name) for name in expected} == expected


def test_metadata_is_json_of_every_signature(servable):
    metadata = servable.metadata()
    assert metadata["model_spec"] == {"name": "plain", "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == set(servable.signatures)
    assert signatures["checked"]["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
        "name": servable.signatures["checked"].inputs["x"].name,
    }
    assert signatures["same"]["inputs"]["s"]["tensor_shape"] == {"dim": [], "unknown_rank": True}
    assert signatures["checked"]["method_name"] == "tensorflow/serving/predict"
    assert signatures["checked"]["defaults"] == {}


@pytest.mark.parametrize("kind", ["PyFunc", "EagerPyFunc", "ReadFile", "PrintV2", "RestoreV2"])
def test_operations_that_reach_outside_are_refused(tmp_path, kind):
    path = plain_models.write_refused(tmp_path / "bad" / "1", kind)
    with pytest.raises(ExportError, match=f"operation {kind}"):
        Servable(path)
    trusted = Servable(path, trust=True)
    assert "serving_default" in trusted.signatures
    trusted.close()


def test_a_refused_operation_is_found_inside_nested_functions():
    proto = saved_model_pb2.SavedModel()
    meta = proto.meta_graphs.add()
    outer = meta.graph_def.library.function.add()
    outer.signature.name = "outer"
    outer.node_def.add(name="call", op="StatefulPartitionedCall").attr["f"].func.name = "inner"
    inner = meta.graph_def.library.function.add()
    inner.signature.name = "inner"
    inner.node_def.add(name="save", op="SaveV2")
    call = meta.graph_def.node.add(name="call", op="StatefulPartitionedCall")
    call.attr["f"].func.name = "outer"
    meta.graph_def.node.add(name="out", op="Identity", input=["call:0"])
    op_check.refuse(proto.meta_graphs, "here")  # nothing is answered from it
    meta.signature_def["serving_default"].outputs["y"].name = "out:0"
    with pytest.raises(ExportError, match=r"here contains the operation SaveV2.*--trust"):
        op_check.refuse(proto.meta_graphs, "here")
    second = proto.meta_graphs.add()
    second.graph_def.node.add(name="read", op="TFRecordDatasetV2")
    meta.signature_def.clear()
    with pytest.raises(ExportError, match="TFRecordDatasetV2"):
        op_check.refuse(proto.meta_graphs, "here")


def test_damaged_folders_are_named(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"junk")
    with pytest.raises(ExportError, match="cannot be loaded"):
        Servable(tmp_path)
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ExportError, match="cannot be loaded"):
        Servable(tmp_path)


def test_keras_is_neither_imported_nor_needed():
    code = (
        "import sys; sys.modules['keras'] = None\n"
        "import numpy as np; from tlkit.serving.servable import Servable\n"
        f"model = Servable({str(plain_models.shared_model())!r})\n"
        "assert model.run('checked', {'x': np.float32([4])})['root'].tolist() == [2]\n"
        "from tlkit.serving import grpc_calls, rest_calls, batching\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('keras', 'pandas', 'tensorflow_text')]\n"
        "assert bad == ['keras'], bad\n"
        "unwanted = ('tlkit.training', 'tlkit.models', 'tlkit.inputs.image.data', 'tlkit.inputs.row.data')\n"
        "assert not [m for m in sys.modules if m.startswith(unwanted)]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
