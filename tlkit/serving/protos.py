"""The messages and services of TensorFlow Serving, without TensorFlow.

They live in a descriptor pool of their own, so one process can also import TensorFlow's generated modules. Their names,
numbers and types are TensorFlow Serving's, so the bytes are the same. `tools/compile_protos.py` compiles the sources
in proto/. Every message of these files is an attribute of this module.

Example:
    >>> request = PredictRequest.FromString(body)
    >>> request.model_spec.name
    'default'
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

#: Holds the messages; hand it to `google.protobuf.text_format` or `json_format` where an Any has to be opened.
POOL = descriptor_pool.DescriptorPool()
#: The compiled files, each after those that it imports.
FILES = descriptor_pb2.FileDescriptorSet.FromString(
    resources.files("tlkit.serving").joinpath("proto/descriptors.binpb").read_bytes()
)

for _serialized in (any_pb2.DESCRIPTOR.serialized_pb, wrappers_pb2.DESCRIPTOR.serialized_pb):
    POOL.AddSerializedFile(_serialized)
for _file in FILES.file:
    POOL.AddSerializedFile(_file.SerializeToString())
    for _name, _message in POOL.FindFileByName(_file.name).message_types_by_name.items():
        globals()[_name] = message_factory.GetMessageClass(_message)

DataType: Any = EnumTypeWrapper(POOL.FindEnumTypeByName("tensorflow.DataType"))
ErrorCode: Any = EnumTypeWrapper(POOL.FindEnumTypeByName("tensorflow.error.Code"))
ModelVersionState: Any = EnumTypeWrapper(POOL.FindEnumTypeByName("tensorflow.serving.ModelVersionStatus.State"))


def __getattr__(name: str) -> Any:
    """Raise AttributeError. The function lets type checkers accept the messages, which are set above."""
    raise AttributeError(f"module {__name__!r} has no message {name!r}")
