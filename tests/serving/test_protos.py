"""The private messages against TensorFlow's and TensorFlow Serving's own: every field, and bytes both ways."""

import importlib
import random
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message_factory import GetMessageClass

from tlkit.serving import protos

REPOSITORY = Path(__file__).parents[2]
MODULES = [
    *(f"tensorflow_serving.apis.{name}_pb2" for name in (
        "classification", "get_model_metadata", "get_model_status", "inference", "input", "model", "model_management",
        "predict", "regression", "status", "logging", "prediction_log", "session_service",
    )),
    *(f"tensorflow_serving.config.{name}_pb2" for name in (
        "file_system_storage_path_source", "log_collector_config", "logging_config", "model_server_config",
        "platform_config",
    )),
    *(f"tensorflow.core.example.{name}_pb2" for name in ("example", "feature")),
    *(f"tensorflow.core.framework.{name}_pb2" for name in ("tensor", "tensor_shape", "types", "resource_handle")),
    "tensorflow.core.protobuf.meta_graph_pb2",
]  # fmt: skip
# What the table leaves out: a message read with them keeps them as unknown fields.
LEFT_OUT_MESSAGES = {
    f"tensorflow.serving.{name}"
    for name in [
        "LogMetadata",
        "ClassifyLog",
        "RegressLog",
        "PredictLog",
        "PredictStreamedLog",
        "MultiInferenceLog",
        "SessionRunLog",
        "PredictionLog",
        "SessionRunRequest",
        "SessionRunResponse",
        "PlatformConfig",
        "PlatformConfigMap",
    ]
} | {f"tensorflow.{name}" for name in ["MetaGraphDef", "CollectionDef", "AssetFileDef", "SerializedDType"]}
LEFT_OUT_FIELDS = {"tensorflow.TensorInfo.CompositeTensor.type_spec"}
SERVER_ONLY = {
    "BatchingParameters": {
        "max_batch_size": (1, "google.protobuf.Int64Value"),
        "batch_timeout_micros": (2, "google.protobuf.Int64Value"),
        "max_enqueued_batches": (3, "google.protobuf.Int64Value"),
        "num_batch_threads": (4, "google.protobuf.Int64Value"),
        "thread_pool_name": (5, "google.protobuf.StringValue"),
        "allowed_batch_sizes": (6, FieldDescriptor.TYPE_INT64),
        "pad_variable_length_inputs": (7, FieldDescriptor.TYPE_BOOL),
        "enable_large_batch_splitting": (8, "google.protobuf.BoolValue"),
        "max_execution_batch_size": (9, "google.protobuf.Int64Value"),
    },
    "PrometheusConfig": {"enable": (1, FieldDescriptor.TYPE_BOOL), "path": (2, FieldDescriptor.TYPE_STRING)},
    "MonitoringConfig": {"prometheus_config": (1, "tensorflow.serving.PrometheusConfig")},
    "SSLConfig": {
        "server_key": (1, FieldDescriptor.TYPE_STRING),
        "server_cert": (2, FieldDescriptor.TYPE_STRING),
        "custom_ca": (3, FieldDescriptor.TYPE_STRING),
        "client_verify": (4, FieldDescriptor.TYPE_BOOL),
    },
}


def walk(messages):
    for message in messages:
        if not message.GetOptions().map_entry:
            yield message
            yield from walk(message.nested_types)


OURS = [
    message
    for file in protos.FILES.file
    for message in protos.POOL.FindFileByName(file.name).message_types_by_name.values()
]
NAMES = sorted(message.full_name for message in walk(OURS) if message.full_name.startswith("tensorflow."))


@pytest.fixture(scope="module")
def real():
    """The generated classes by full name, of every message the packages have."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for message in walk(module.DESCRIPTOR.message_types_by_name.values()):
            found[message.full_name] = GetMessageClass(message)
    return found


@pytest.fixture(scope="module")
def ours():
    return {message.full_name: GetMessageClass(message) for message in walk(OURS)}


def described(field):
    """All that the bytes and the API of a field depend on."""
    target = field.message_type or field.enum_type
    kind = target.full_name if target else None
    if field.enum_type:
        kind = (kind, tuple((value.name, value.number) for value in field.enum_type.values))
    if field.message_type and field.message_type.GetOptions().map_entry:
        kind = tuple(described(part) for part in field.message_type.fields)
    oneof = field.containing_oneof.name if field.containing_oneof else None
    return (field.number, field.name, field.type, field.is_repeated, field.is_packed, field.has_presence, oneof, kind)


def test_every_message_of_the_packages_is_here_or_left_out_by_name(real, ours):
    known = {name for name in real if not any(f"{name}.".startswith(f"{left}.") for left in LEFT_OUT_MESSAGES)}
    assert known <= set(ours)
    assert set(real) >= LEFT_OUT_MESSAGES
    assert not LEFT_OUT_MESSAGES & set(ours)
    extra = {f"tensorflow.serving.{name}" for name in SERVER_ONLY}
    assert set(ours) - known == extra | {
        f"tlkit.serving.{name}" for name in ("RoutedRequest", "RoutedMultiRequest", "PackedValues")
    }


@pytest.mark.parametrize("name", NAMES)
def test_fields_are_those_of_the_real_message(name, real, ours):
    if (short := name.removeprefix("tensorflow.serving.")) in SERVER_ONLY:
        fields = ours[name].DESCRIPTOR.fields
        found = {field.name: (field.number, getattr(field.message_type, "full_name", field.type)) for field in fields}
        assert found == SERVER_ONLY[short]
        return
    expected = {described(field) for field in real[name].DESCRIPTOR.fields if field.full_name not in LEFT_OUT_FIELDS}
    assert {described(field) for field in ours[name].DESCRIPTOR.fields} == expected


def test_enums_are_the_real_ones():
    from tensorflow.core.framework import types_pb2
    from tensorflow_serving.apis import get_model_status_pb2, status_pb2

    assert protos.DataType.items() == types_pb2.DataType.items()
    assert protos.ModelVersionState.items() == get_model_status_pb2.ModelVersionStatus.State.items()
    codes = status_pb2.StatusProto.DESCRIPTOR.fields_by_name["error_code"].enum_type
    assert protos.ErrorCode.items() == [(value.name, value.number) for value in codes.values]


def filled(message, chance, depth=3):
    """Put values into every field of a message, down to a depth."""
    for field in message.DESCRIPTOR.fields:
        if field.full_name in LEFT_OUT_FIELDS:
            continue
        nested = field.message_type
        if nested and nested.GetOptions().map_entry:
            key, value = nested.fields_by_name["key"], nested.fields_by_name["value"]
            for _ in range(2):
                if value.message_type is None:
                    getattr(message, field.name)[scalar(key, chance)] = scalar(value, chance)
                elif depth:
                    filled(getattr(message, field.name)[scalar(key, chance)], chance, depth - 1)
        elif nested:
            for _ in range(2 if field.is_repeated else 1):
                if depth:
                    item = getattr(message, field.name)
                    filled(item.add() if field.is_repeated else item, chance, depth - 1)
                    if not field.is_repeated:
                        item.SetInParent()
        elif field.is_repeated:
            getattr(message, field.name).extend(scalar(field, chance) for _ in range(3))
        else:
            setattr(message, field.name, scalar(field, chance))
    return message


def scalar(field, chance):
    if field.enum_type:
        return chance.choice(field.enum_type.values).number
    if field.type == FieldDescriptor.TYPE_STRING:
        return f"ü{chance.randrange(1000)}"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return chance.randbytes(5)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return bool(chance.randrange(2))
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return chance.choice([1.5, -0.25, float("inf")])
    return chance.choice([0, 1, 2**31 - 1])


@pytest.mark.parametrize("name", NAMES)
def test_bytes_go_both_ways(name, real, ours):
    if name.removeprefix("tensorflow.serving.") in SERVER_ONLY:
        message = filled(ours[name](), random.Random(name))
        assert ours[name].FromString(message.SerializeToString()) == message
        return
    own = filled(ours[name](), random.Random(name))
    theirs = real[name].FromString(own.SerializeToString())
    assert theirs == filled(real[name](), random.Random(name))
    assert own.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
    assert ours[name].FromString(theirs.SerializeToString()) == own
    assert text_format.MessageToString(own) == text_format.MessageToString(theirs)
    assert text_format.Parse(text_format.MessageToString(theirs), ours[name]()) == own


def test_setting_one_of_a_oneof_clears_the_other():
    spec = protos.ModelSpec(name="a", version_label="stable")
    spec.version.value = 3
    assert spec.WhichOneof("version_choice") == "version"
    assert spec.version_label == ""


def test_the_configuration_files_of_a_server_are_read():
    config = text_format.Parse(
        """
        model_config_list {
          config {
            name: "photos"  base_path: "/models/photos"  model_platform: "tensorflow"
            model_version_policy { specific { versions: 1 versions: 2 } }
            version_labels { key: "stable" value: 1 }
            version_labels { key: "canary" value: 2 }
          }
        }
        """,
        protos.ModelServerConfig(),
    )
    (model,) = config.model_config_list.config
    assert list(model.model_version_policy.specific.versions) == [1, 2]
    assert dict(model.version_labels) == {"stable": 1, "canary": 2}
    batching = text_format.Parse(
        "max_batch_size { value: 32 } batch_timeout_micros { value: 1000 } allowed_batch_sizes: 8 "
        "allowed_batch_sizes: 32",
        protos.BatchingParameters(),
    )
    assert (batching.max_batch_size.value, list(batching.allowed_batch_sizes)) == (32, [8, 32])
    assert not batching.HasField("num_batch_threads")
    monitoring = text_format.Parse('prometheus_config { enable: true, path: "/m" }', protos.MonitoringConfig())
    assert (monitoring.prometheus_config.enable, monitoring.prometheus_config.path) == (True, "/m")
    with pytest.raises(text_format.ParseError, match="no field named \"max_batches\""):  # fmt: skip
        text_format.Parse("max_batches { value: 3 }", protos.BatchingParameters())


def test_metadata_travels_in_an_any():
    response = protos.GetModelMetadataResponse()
    signatures = protos.SignatureDefMap()
    signatures.signature_def["serving_default"].method_name = "tensorflow/serving/predict"
    response.metadata["signature_def"].Pack(signatures)
    assert response.metadata["signature_def"].type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    from tensorflow_serving.apis import get_model_metadata_pb2

    theirs = get_model_metadata_pb2.GetModelMetadataResponse.FromString(response.SerializeToString())
    found = get_model_metadata_pb2.SignatureDefMap()
    assert theirs.metadata["signature_def"].Unpack(found)
    assert found.signature_def["serving_default"].method_name == "tensorflow/serving/predict"


def test_a_route_is_read_without_the_rest():
    for kind in ("PredictRequest", "ClassificationRequest", "RegressionRequest", "GetModelMetadataRequest"):
        request = filled(getattr(protos, kind)(), random.Random(kind))
        routed = protos.RoutedRequest.FromString(request.SerializeToString())
        assert routed.model_spec == request.model_spec
    many = filled(protos.MultiInferenceRequest(), random.Random(1))
    assert protos.RoutedMultiRequest.FromString(many.SerializeToString()).tasks[1] == many.tasks[1]


def test_the_descriptors_are_those_of_the_sources(tmp_path):
    output = tmp_path / "descriptors.binpb"
    # In a process of its own: protoc and TensorFlow crash in one.
    subprocess.run([sys.executable, REPOSITORY / "tools" / "compile_protos.py", output], check=True, timeout=60)
    # Where they differ: run tools/compile_protos.py.
    compiled = FileDescriptorSet.FromString(output.read_bytes())
    assert [file.name for file in compiled.file] == [file.name for file in protos.FILES.file]
    assert compiled == protos.FILES


def test_the_services_are_those_of_the_packages():
    from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

    for module in (prediction_service_pb2, model_service_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            own = protos.POOL.FindServiceByName(service.full_name)
            methods = {
                method.name: (method.input_type.full_name, method.output_type.full_name)
                for method in service.methods
                if method.name != "PredictStreamed"
            }
            assert {one.name: (one.input_type.full_name, one.output_type.full_name) for one in own.methods} == methods


def test_an_unknown_message_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no message 'PredictRequst'"):
        _ = protos.PredictRequst


def test_nothing_heavy_is_imported():
    code = (
        "import sys, tlkit.serving.protos as p; p.TensorProto(dtype=1).SerializeToString();"
        "heavy = {'tensorflow', 'keras', 'numpy', 'pandas', 'grpc'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
