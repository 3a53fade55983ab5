"""Writes ONNX files byte by byte (protobuf's wire format), and a BERT as ONNX Runtime quantizes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

FLOAT, UINT8, INT8, INT32, INT64, FLOAT16 = 1, 2, 3, 6, 7, 10
_TYPES = {"float32": FLOAT, "uint8": UINT8, "int8": INT8, "int32": INT32, "int64": INT64, "float16": FLOAT16}
_FIELDS = {FLOAT: 4, UINT8: 5, INT8: 5, INT32: 5, INT64: 7}


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; negative numbers as 64 bits."""
    value %= 2**64
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def tensor(name: str, value: np.ndarray, *, raw: bool = True, shape: Sequence[int] | None = None) -> bytes:
    """A TensorProto, its values as raw_data or in the field of their type."""
    kind = _TYPES[str(value.dtype)]
    out = b"".join(number(1, side) for side in (value.shape if shape is None else shape)) + number(2, kind)
    if raw:
        content = chunk(9, value.astype(value.dtype.newbyteorder("<")).tobytes())
    elif kind == FLOAT:
        content = chunk(4, value.astype("<f4").tobytes())
    else:
        content = chunk(_FIELDS[kind], b"".join(varint(int(one)) for one in value.ravel()))
    return out + chunk(8, name) + content


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """A NodeProto, with a name and an attribute that the reader has no use for."""
    links = b"".join(chunk(1, one) for one in inputs) + b"".join(chunk(2, one) for one in outputs)
    return links + chunk(3, f"/{kind}") + chunk(4, kind) + chunk(5, chunk(1, "axis") + number(3, -1))


def model(nodes: Sequence[bytes], tensors: Sequence[bytes]) -> bytes:
    """A ModelProto."""
    graph = b"".join(chunk(1, one) for one in nodes) + chunk(2, "graph") + b"".join(chunk(5, one) for one in tensors)
    return number(1, 6) + chunk(2, "onnx.quantize") + chunk(7, graph) + chunk(8, number(2, 11))


def dense(kernel: str, bias: str, start: str) -> list[bytes]:
    """The nodes of a dense layer as ONNX Runtime's dynamic quantization writes them."""
    return [
        node("DynamicQuantizeLinear", [start], [f"{start}_q", f"{start}_s", f"{start}_z"]),
        node("Mul", [f"{start}_s", f"{kernel}_scale"], [f"{bias}_scales"]),
        node(
            "MatMulInteger", [f"{start}_q", f"{kernel}_quantized", f"{start}_z", f"{kernel}_zero_point"], [f"{bias}_m"]
        ),
        node("Cast", [f"{bias}_m"], [f"{bias}_c"]),
        node("Mul", [f"{bias}_c", f"{bias}_scales"], [f"{bias}_p"]),
        node("Add", [bias, f"{bias}_p"], [f"{bias}_sum"]),
        node("Shape", [f"{bias}_sum"], [f"{bias}_shape"]),
    ]


def quantized_bert(weights: Mapping[str, np.ndarray], pooler: bool = False) -> tuple[bytes, dict[str, np.ndarray]]:
    """A BERT by Hugging Face's names as a quantized ONNX file, and the weights that the integers stand for."""
    nodes, tensors, exact = [], [], {}
    for place, (name, value) in enumerate(weights.items()):
        if name.startswith("pooler.") and not pooler:
            continue
        if value.ndim == 1:
            tensors.append(tensor(name, value))
            exact[name] = value
        elif "embeddings" in name:  # one scale for the table, unsigned
            scale = np.float32((value.max() - value.min()) / 255)
            zero = np.uint8(round(float(-value.min() / scale)))
            integers = np.clip(np.round(value / scale) + zero, 0, 255).astype(np.uint8)
            tensors += [
                tensor(f"{name}_scale", np.array(scale), raw=False),
                tensor(f"{name}_zero_point", np.array(zero), raw=False),
                tensor(f"{name}_quantized", integers),
            ]
            exact[name] = (integers.astype(np.int64) - int(zero)).astype(np.float32) * scale
        else:  # a scale for each output, signed
            kernel, stem = value.T, f"onnx::MatMul_{place}"
            scales = (np.abs(kernel).max(axis=0) / 120).astype(np.float32)
            zeros = np.arange(-3, len(scales) - 3).clip(-3, 4).astype(np.int8)
            integers = np.clip(np.round(kernel / scales) + zeros, -128, 127).astype(np.int8)
            tensors += [
                tensor(f"{stem}_scale", scales, raw=False),
                tensor(f"{stem}_zero_point", zeros, raw=False),
                tensor(f"{stem}_quantized", integers),
            ]
            nodes += dense(stem, name.removesuffix("weight") + "bias", f"x{place}")
            exact[name] = ((integers.astype(np.int64) - zeros).astype(np.float32) * scales).T
    return model(nodes, tensors), exact
