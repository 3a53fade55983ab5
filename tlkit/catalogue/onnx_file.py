"""Read the nodes and the constant tensors of an ONNX file with protobuf only; nothing is executed."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from tlkit.errors import WeightsError

# TensorProto.DataType of onnx.proto -> the dtype in little-endian raw_data, and the field that may hold it instead.
_TYPES = {
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
}
_EXTERNAL = 1

# The part of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) that is read:
# message -> (field, number, type, repeated). Protobuf ignores all other fields.
_MESSAGES: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "Tensor": (
        ("dims", 1, "int64", True),
        ("data_type", 2, "int32", False),
        ("float_data", 4, "float", True),
        ("int32_data", 5, "int32", True),
        ("int64_data", 7, "int64", True),
        ("name", 8, "string", False),
        ("raw_data", 9, "bytes", False),
        ("data_location", 14, "int32", False),
    ),
    "Node": (("input", 1, "string", True), ("output", 2, "string", True), ("op_type", 4, "string", False)),
    "Graph": (("node", 1, "Node", True), ("initializer", 5, "Tensor", True)),
    "Model": (("ir_version", 1, "int64", False), ("graph", 7, "Graph", False)),
}


@dataclass(frozen=True)
class OnnxNode:
    """An operation of a graph.

    Attributes:
        kind: what it does, such as "MatMulInteger".
        inputs: names of tensors, or of outputs of other nodes.
        outputs: names.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class OnnxGraph:
    """The contents of an ONNX file.

    Attributes:
        nodes: in the order of the file, in which inputs come before their use.
        tensors: the constant tensors by name, read-only.
    """

    nodes: tuple[OnnxNode, ...]
    tensors: Mapping[str, np.ndarray]


def read_graph(content: bytes, name: str) -> OnnxGraph:
    """Read the nodes and the constant tensors of an ONNX file.

    Example:
        >>> read_graph(Path("model.onnx").read_bytes(), "model.onnx").tensors["embeddings.LayerNorm.bias"].shape
        (384,)

    Args:
        content: of the file.
        name: of the file, for messages.

    Returns:
        The graph; its tensors are float32, uint8, int8, int32 or int64.

    Raises:
        WeightsError: the file is damaged or no ONNX file, or a tensor is of another type, lies in another file, has
            another number of values than its shape says, or has the name of another one.
    """
    from google.protobuf.message import DecodeError

    try:
        model = _model_class().FromString(content)
    except DecodeError as error:
        raise WeightsError(f"{name} cannot be read as ONNX: {error}") from error
    if not model.graph.node:
        raise WeightsError(f"{name} cannot be read as ONNX: it has no graph")
    tensors: dict[str, np.ndarray] = {}
    for tensor in model.graph.initializer:
        if tensor.name in tensors:
            raise WeightsError(f"{name} has two tensors of the name {tensor.name!r}")
        tensors[tensor.name] = _array(tensor, name)
    nodes = tuple(OnnxNode(node.op_type, tuple(node.input), tuple(node.output)) for node in model.graph.node)
    return OnnxGraph(nodes, MappingProxyType(tensors))


def _array(tensor: Any, name: str) -> np.ndarray:
    where = f"{name}: the tensor {tensor.name!r}"
    if tensor.data_location == _EXTERNAL:
        raise WeightsError(f"{where} is stored in another file")
    if tensor.data_type not in _TYPES:
        raise WeightsError(f"{where} has an unsupported type", received=tensor.data_type, allowed=_TYPES)
    dtype, field = _TYPES[tensor.data_type]
    shape = tuple(tensor.dims)
    if tensor.raw_data:
        size, rest = divmod(len(tensor.raw_data), np.dtype(dtype).itemsize)
        values = np.frombuffer(tensor.raw_data[: len(tensor.raw_data) - rest], dtype)
    else:
        wide = np.array(getattr(tensor, field), np.float32 if field == "float_data" else np.int64)
        values, size, rest = wide.astype(dtype), len(wide), 0
        if field != "float_data" and not np.array_equal(values, wide):
            raise WeightsError(f"{where} has values out of the range of its type")
    if rest or any(side < 0 for side in shape) or size != math.prod(shape):
        raise WeightsError(f"{where} is damaged: it has {size} values for the shape {shape}")
    values = values.reshape(shape)
    values.flags.writeable = False
    return values


@functools.cache
def _model_class() -> Any:
    """Build protobuf's class for `_MESSAGES`, in a pool of its own, so that it meets no other copy of onnx.proto."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="tlkit/onnx.proto", package="tlkit.onnx", syntax="proto2")
    for message, fields in _MESSAGES.items():
        own = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            field = own.field.add(name=name, number=number)
            field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            if kind in _MESSAGES:
                field.type, field.type_name = field.TYPE_MESSAGE, f".tlkit.onnx.{kind}"
            else:
                field.type = getattr(field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tlkit.onnx.Model"))
