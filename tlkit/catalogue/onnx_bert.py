"""Convert a BERT in ONNX with eight-bit weights into float32 weights with Hugging Face's names.

The file is one that ONNX Runtime's dynamic quantization wrote. A weight W is there as `W_quantized` (int8 or uint8),
`W_scale` and `W_zero_point`, one of each for the tensor or for each of its last axis, and stands for
(quantized - zero_point) * scale (Jacob et al. 2017, arXiv:1712.05877, equation 1). Embedding tables and what was not
quantized have their own names; the kernel of a dense layer has none, so that it is named after the bias that is added
to its product, and is transposed, because ONNX multiplies [inputs, outputs] and Hugging Face keeps [outputs, inputs].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tlkit.catalogue.onnx_file import OnnxGraph, OnnxNode, read_graph
from tlkit.errors import WeightsError

_QUANTIZED, _SCALE, _ZERO = "_quantized", "_scale", "_zero_point"
_SEGMENTS = 2  # as KerasHub builds every BERT
_POOLER = ("pooler.dense.weight", "pooler.dense.bias")
# Operations of ONNX Runtime between the integer product and the bias: cast to float, multiply by both scales.
_BETWEEN = ("Cast", "Mul")


def read_weights(content: bytes, sizes: Mapping[str, int], name: str) -> dict[str, np.ndarray]:
    """Read the weights of a BERT from its quantized ONNX file.

    Where the file has no dense layer over [CLS] (the pooler), which no pooling of tlkit uses, that is filled with
    zeros: KerasHub's loader asks for it.

    Example:
        >>> weights = read_weights(content, encoder_folder.read_sizes(folder), "model.onnx")
        >>> weights["encoder.layer.0.output.dense.weight"].shape
        (384, 1536)

    Args:
        content: of the ONNX file.
        sizes: of the encoder, as `encoder_folder.read_sizes` gives them.
        name: of the ONNX file, for messages.

    Returns:
        All tensors of Hugging Face's BertModel by name, float32.

    Raises:
        WeightsError: the file is damaged, is not quantized as described, or its tensors are not those of a BERT of
            these sizes.
    """
    graph = read_graph(content, name)
    weights = float_weights(graph, name)
    shapes = _shapes(sizes)
    for pooler in _POOLER:
        weights.setdefault(pooler, np.zeros(shapes[pooler], np.float32))
    missing = sorted(set(shapes) - set(weights))
    spare = sorted(set(weights) - set(shapes))
    if missing or spare:
        found = [f"{word} {names[0]}{_more(names)}" for word, names in (("no", missing), ("also", spare)) if names]
        raise WeightsError(f"{name} does not hold the tensors of the BERT in config.json: it has {', '.join(found)}")
    for key, shape in shapes.items():
        if weights[key].shape != shape:
            raise WeightsError(
                f"{name}: {key} does not have the shape given in config.json",
                received=weights[key].shape,
                allowed=shape,
            )
        if not np.isfinite(weights[key]).all():
            raise WeightsError(f"{name}: {key} holds values that are not finite")
    return weights


def float_weights(graph: OnnxGraph, name: str) -> dict[str, np.ndarray]:
    """Return the float32 weights of a graph that ONNX Runtime quantized, dense kernels as [outputs, inputs].

    Args:
        graph: as `read_graph` gives it.
        name: of its file, for messages.

    Raises:
        WeightsError: a weight has no scale or zero point, or no bias names it.
    """
    stems = [key.removesuffix(_QUANTIZED) for key in graph.tensors if key.endswith(_QUANTIZED)]
    if not stems:
        raise WeightsError(f"{name} has no quantized weights: no tensor is named *{_QUANTIZED}")
    names = _dense_names(graph, name)
    weights: dict[str, np.ndarray] = {}
    for stem in stems:
        value = _dequantized(graph, stem, name)
        key = names.get(stem + _QUANTIZED)
        if key is not None and value.ndim != 2:
            raise WeightsError(f"{name}: the kernel {stem} is not a matrix", received=value.shape)
        if (key or stem) in weights:
            raise WeightsError(f"{name} has two kernels for {key or stem}")
        weights[key or stem] = value if key is None else np.ascontiguousarray(value.T)
    parts = {stem + suffix for stem in stems for suffix in (_QUANTIZED, _SCALE, _ZERO)}
    plain = {key: value for key, value in graph.tensors.items() if key not in parts and value.dtype == np.float32}
    return {**plain, **weights}


def _dequantized(graph: OnnxGraph, stem: str, name: str) -> np.ndarray:
    quantized = graph.tensors[stem + _QUANTIZED]
    for suffix in (_SCALE, _ZERO):
        if stem + suffix not in graph.tensors:
            raise WeightsError(f"{name} has no {stem}{suffix} for {stem}{_QUANTIZED}")
    scale, zero = graph.tensors[stem + _SCALE], graph.tensors[stem + _ZERO]
    if quantized.dtype not in (np.int8, np.uint8) or zero.dtype != quantized.dtype or scale.dtype != np.float32:
        raise WeightsError(
            f"{name}: {stem} is not quantized to eight bits",
            received=f"{quantized.dtype}, zero point {zero.dtype}, scale {scale.dtype}",
            allowed="int8 or uint8 for both, scale float32",
        )
    if scale.shape != zero.shape or scale.shape not in ((), (1,), quantized.shape[-1:]):
        raise WeightsError(
            f"{name}: scale and zero point of {stem} do not fit its shape {quantized.shape}",
            received=(scale.shape, zero.shape),
            allowed=f"one value, or {quantized.shape[-1:]}",
        )
    return (quantized.astype(np.float32) - zero.astype(np.float32)) * scale


def _dense_names(graph: OnnxGraph, name: str) -> dict[str, str]:
    """Return the names of the kernels: the bias `x.bias` is added to the product with `x.weight`."""
    users: dict[str, list[OnnxNode]] = {}
    for node in graph.nodes:
        for one in node.inputs:
            users.setdefault(one, []).append(node)
    names: dict[str, str] = {}
    for node in graph.nodes:
        if node.kind != "MatMulInteger" or len(node.inputs) < 2 or node.inputs[1] not in graph.tensors:
            continue
        kernel, here = node.inputs[1], node
        while len(here.outputs) == 1 and len(users.get(here.outputs[0], ())) == 1:
            (here,) = users[here.outputs[0]]
            if here.kind not in _BETWEEN:
                break
        biases = [one for one in here.inputs if one in graph.tensors and one.endswith(".bias")]
        if here.kind != "Add" or len(biases) != 1:
            raise WeightsError(f"{name}: no bias follows the product with {kernel}, so its layer is unknown")
        names[kernel] = biases[0].removesuffix("bias") + "weight"
    return names


def _shapes(sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of Hugging Face's BertModel."""
    width, inner = sizes["width"], sizes["intermediate"]
    dense = {
        "attention.self.query": (width, width),
        "attention.self.key": (width, width),
        "attention.self.value": (width, width),
        "attention.output.dense": (width, width),
        "intermediate.dense": (inner, width),
        "output.dense": (width, inner),
    }
    layers = [f"encoder.layer.{number}" for number in range(sizes["layers"])]
    matrices = {f"{layer}.{part}": shape for layer in layers for part, shape in dense.items()}
    matrices["pooler.dense"] = (width, width)
    norms = ["embeddings.LayerNorm"]
    norms += [f"{layer}.{part}.LayerNorm" for layer in layers for part in ("attention.output", "output")]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (sizes["vocabulary"], width),
        "embeddings.position_embeddings.weight": (sizes["positions"], width),
        "embeddings.token_type_embeddings.weight": (_SEGMENTS, width),
    }
    for matrix, shape in matrices.items():
        shapes |= {f"{matrix}.weight": shape, f"{matrix}.bias": shape[:1]}
    return shapes | {f"{norm}.{part}": (width,) for norm in norms for part in ("weight", "bias")}


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
