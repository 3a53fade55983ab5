"""Eight-bit weights in ONNX: what is read of the file, what the integers stand for, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from catalogue.hf_folder import bert_weights
from catalogue.onnx_bytes import chunk, dense, model, node, number, quantized_bert, tensor

from tlkit.catalogue.onnx_bert import float_weights, read_weights
from tlkit.catalogue.onnx_file import OnnxGraph, read_graph
from tlkit.errors import WeightsError

SIZES = {"vocabulary": 11, "width": 8, "layers": 2, "heads": 2, "intermediate": 16, "positions": 6}
KERNEL = np.array([[-128, 0, 127], [1, 2, 3]], np.int8)  # two inputs, three outputs
SCALES = np.array([0.5, 0.25, 2.0], np.float32)
ZEROS = np.array([-128, 0, 7], np.int8)


def layer(kernel=KERNEL, scales=SCALES, zeros=ZEROS, *, raw=True, nodes=None, more=()):
    """One dense layer, q.bias."""
    parts = {"w_quantized": kernel, "w_scale": scales, "w_zero_point": zeros, "q.bias": np.ones(3, np.float32)}
    tensors = [tensor(name, value, raw=raw) for name, value in parts.items() if value is not None]
    return model(dense("w", "q.bias", "x") if nodes is None else nodes, [*tensors, *more])


def weights_of(content):
    return float_weights(read_graph(content, "m.onnx"), "m.onnx")


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8", "int32", "int64"])
def test_tensors_come_as_they_were_written(raw, dtype):
    value = np.array([[0, 1, 127], [2, 3, 100]], dtype)
    if dtype in ("int8", "int32", "int64", "float32"):
        value[0, 1] = -128
    scalar = np.array(5, dtype)
    content = model([node("Add", ["a", "b"], ["c"])], [tensor("a", value, raw=raw), tensor("b", scalar, raw=raw)])
    graph = read_graph(content, "m.onnx")
    assert [(one.kind, one.inputs, one.outputs) for one in graph.nodes] == [("Add", ("a", "b"), ("c",))]
    assert graph.tensors["a"].dtype == dtype
    np.testing.assert_array_equal(graph.tensors["a"], value)
    assert graph.tensors["b"].shape == ()
    assert graph.tensors["b"] == 5
    with pytest.raises(ValueError, match="read-only"):
        graph.tensors["a"][0] = 0


def test_values_that_are_not_packed_are_read_as_well():
    loose = b"".join(number(5, one % 2**64) for one in (-1, 7))
    content = number(1, 2) + number(2, 3) + chunk(8, "a") + loose
    graph = read_graph(model([node("Add", ["a"], ["b"])], [content]), "m.onnx")
    np.testing.assert_array_equal(graph.tensors["a"], np.array([-1, 7], np.int8))


@pytest.mark.parametrize("raw", [False, True])
def test_a_kernel_is_dequantized_named_after_its_bias_and_transposed(raw):
    weights = weights_of(layer(raw=raw))
    assert set(weights) == {"q.weight", "q.bias"}
    # (q - zero) * scale for each output, by hand
    np.testing.assert_array_equal(weights["q.weight"], [[0.0, 64.5], [0.0, 0.5], [240.0, -8.0]])
    assert weights["q.weight"].dtype == np.float32
    assert weights["q.weight"].flags.c_contiguous


@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_scale_for_all_and_a_table_that_nothing_multiplies_keeps_its_name_and_its_shape(shape):
    table = np.array([[0, 255], [128, 1], [3, 4]], np.uint8)
    more = [
        tensor("e.weight_quantized", table),
        tensor("e.weight_scale", np.full(shape, 0.5, np.float32)),
        tensor("e.weight_zero_point", np.full(shape, 128, np.uint8)),
        tensor("counts", np.arange(3)),
    ]
    weights = weights_of(layer(more=more))
    assert set(weights) == {"q.weight", "q.bias", "e.weight"}  # integers that are no weights are left
    np.testing.assert_array_equal(weights["e.weight"], [[-64, 63.5], [0, -63.5], [-62.5, -62]])


def test_the_bias_is_found_on_either_side_and_right_behind_the_product():
    nodes = [node("MatMulInteger", ["x", "w_quantized"], ["m"]), node("Add", ["m", "q.bias"], ["y"])]
    assert set(weights_of(layer(nodes=nodes))) == {"q.weight", "q.bias"}


@pytest.mark.parametrize("pooler", [False, True])
def test_a_bert_comes_back_whole(pooler):
    original = bert_weights(SIZES["vocabulary"], SIZES["layers"], SIZES["width"], SIZES["positions"])
    content, exact = quantized_bert(original, pooler)
    weights = read_weights(content, SIZES, "model.onnx")
    assert set(weights) == set(original)
    for name, value in original.items():
        if name.startswith("pooler.") and not pooler:
            assert weights[name].shape == value.shape
            assert not weights[name].any()
            continue
        np.testing.assert_allclose(weights[name], exact[name], rtol=1e-6)
        assert weights[name].dtype == np.float32
        np.testing.assert_allclose(weights[name], value, atol=0.02)


def test_other_sizes_are_named():
    original = bert_weights(SIZES["vocabulary"], SIZES["layers"], SIZES["width"], SIZES["positions"])
    content, _ = quantized_bert(original)

    def refused(**sizes):
        with pytest.raises(WeightsError) as caught:
            read_weights(content, {**SIZES, **sizes}, "model.onnx")
        return str(caught.value)

    deeper = refused(layers=3)
    assert "it has no encoder.layer.2.attention.output.LayerNorm.bias and 15 more" in deeper
    assert "it has also encoder.layer.1.attention.output.LayerNorm.bias and 15 more" in refused(layers=1)
    wrong = (
        "model.onnx: embeddings.word_embeddings.weight does not have the shape given in config.json; received: (11, 8)"
    )
    assert refused(vocabulary=12).startswith(wrong)
    broken = dict(original)
    broken["embeddings.LayerNorm.bias"] = np.full(SIZES["width"], np.nan, np.float32)
    with pytest.raises(WeightsError, match=r"embeddings\.LayerNorm\.bias holds values that are not finite"):
        read_weights(quantized_bert(broken)[0], SIZES, "model.onnx")


def _no_bias(bias):
    return [node("MatMulInteger", ["x", "w_quantized"], ["m"]), node("Add", ["m", bias], ["y"])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"m\.onnx cannot be read as ONNX: it has no graph"),
        (b"\x00not protobuf", r"m\.onnx cannot be read as ONNX: "),
        (layer()[:-20], r"m\.onnx cannot be read as ONNX: "),
        (layer(more=[tensor("q.bias", SCALES)]), r"m\.onnx has two tensors of the name 'q\.bias'"),
        (layer(more=[tensor("h", SCALES.astype(np.float16))]), "the tensor 'h' has an unsupported type; received: 10"),
        (layer(more=[tensor("h", SCALES) + number(14, 1)]), "the tensor 'h' is stored in another file"),
        (layer(more=[tensor("h", SCALES, shape=(4,))]), r"'h' is damaged: it has 3 values for the shape \(4,\)"),
        (layer(more=[tensor("h", SCALES, raw=False, shape=(2, 2))]), "'h' is damaged: it has 3 values"),
        (layer(more=[tensor("h", SCALES, shape=(-3, -1))]), "'h' is damaged"),
        (
            layer(more=[number(1, 1) + number(2, 1) + chunk(8, "h") + chunk(9, b"12345")]),
            "'h' is damaged: it has 1 values",
        ),
        (
            layer(more=[number(1, 1) + number(2, 3) + chunk(8, "h") + number(5, 200)]),
            "'h' has values out of the range of its type",
        ),
        (model(dense("w", "q.bias", "x"), [tensor("q.bias", SCALES)]), "has no quantized weights"),
        (layer(scales=None), r"m\.onnx has no w_scale for w_quantized"),
        (layer(zeros=None), r"m\.onnx has no w_zero_point for w_quantized"),
        (layer(zeros=ZEROS.astype(np.uint8)), "w is not quantized to eight bits; received: 'int8, zero point uint8"),
        (layer(kernel=KERNEL.astype(np.int32), zeros=ZEROS.astype(np.int32)), "w is not quantized to eight bits"),
        (layer(scales=SCALES.astype(np.int64)), "w is not quantized to eight bits.*scale int64"),
        (layer(scales=SCALES[:2], zeros=ZEROS[:2]), r"do not fit its shape \(2, 3\); received: \(\(2,\), \(2,\)\)"),
        (layer(scales=SCALES[:1]), r"do not fit its shape .*received: \(\(1,\), \(3,\)\)"),
        (layer(nodes=_no_bias("y")), "no bias follows the product with w_quantized, so its layer is unknown"),
        (layer(nodes=_no_bias("m")[:1]), "no bias follows the product with w_quantized"),
        (layer(kernel=KERNEL[None]), r"the kernel w is not a matrix; received: \(1, 2, 3\)"),
    ],
)
def test_bad_files_are_named(content, message):
    with pytest.raises(WeightsError, match=message):
        weights_of(content)


def test_two_kernels_with_one_bias_are_refused():
    ends = (("_quantized", KERNEL), ("_scale", SCALES), ("_zero_point", ZEROS))
    more = [tensor(f"v{end}", value) for end, value in ends]
    nodes = [
        *dense("w", "q.bias", "x"),
        node("MatMulInteger", ["z", "v_quantized"], ["m"]),
        node("Add", ["m", "q.bias"], ["y"]),
    ]
    with pytest.raises(WeightsError, match=r"m\.onnx has two kernels for q\.weight"):
        weights_of(layer(nodes=nodes, more=more))


def test_nothing_is_multiplied_that_is_no_constant():
    nodes = [*dense("w", "q.bias", "x"), node("MatMulInteger", ["a", "b"], ["c"])]
    graph = read_graph(layer(nodes=nodes), "m.onnx")
    assert isinstance(graph, OnnxGraph)
    assert set(float_weights(graph, "m.onnx")) == {"q.weight", "q.bias"}


def test_reading_needs_neither_tensorflow_nor_onnx():
    code = (
        "import sys; from tlkit.catalogue.onnx_file import read_graph\n"
        "try: read_graph(b'', 'x')\n"
        "except Exception as error: assert 'no graph' in str(error)\n"
        "sys.exit(bool({'tensorflow', 'keras', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
