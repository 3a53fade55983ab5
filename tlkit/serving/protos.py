"""The messages of TensorFlow Serving's interfaces, built from a table: no TensorFlow is imported.

The messages live in a descriptor pool of their own, so they stand in one process beside TensorFlow's generated ones.
Their names, numbers and types are TensorFlow's and TensorFlow Serving's, so the bytes are the same. What the table
leaves out (`SessionRun`, request logs, the type of a composite tensor) is kept as unknown fields when it is parsed.

Example:
    >>> request = PredictRequest.FromString(body)
    >>> request.model_spec.name
    'default'

Follows tensorflow/core/{framework,example,protobuf} and tensorflow_serving/{apis,config,servables/tensorflow} of the
2.21 releases.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

# One entry an enum: "NAME=number ...".
_ENUMS = {
    "tensorflow.DataType": (
        "DT_INVALID=0 DT_FLOAT=1 DT_DOUBLE=2 DT_INT32=3 DT_UINT8=4 DT_INT16=5 DT_INT8=6 DT_STRING=7 DT_COMPLEX64=8"
        " DT_INT64=9 DT_BOOL=10 DT_QINT8=11 DT_QUINT8=12 DT_QINT32=13 DT_BFLOAT16=14 DT_QINT16=15 DT_QUINT16=16"
        " DT_UINT16=17 DT_COMPLEX128=18 DT_HALF=19 DT_RESOURCE=20 DT_VARIANT=21 DT_UINT32=22 DT_UINT64=23"
        " DT_FLOAT8_E5M2=24 DT_FLOAT8_E4M3FN=25 DT_FLOAT8_E4M3FNUZ=26 DT_FLOAT8_E4M3B11FNUZ=27 DT_FLOAT8_E5M2FNUZ=28"
        " DT_INT4=29 DT_UINT4=30 DT_INT2=31 DT_UINT2=32 DT_FLOAT4_E2M1FN=33"
        " DT_FLOAT_REF=101 DT_DOUBLE_REF=102 DT_INT32_REF=103 DT_UINT8_REF=104 DT_INT16_REF=105 DT_INT8_REF=106"
        " DT_STRING_REF=107 DT_COMPLEX64_REF=108 DT_INT64_REF=109 DT_BOOL_REF=110 DT_QINT8_REF=111 DT_QUINT8_REF=112"
        " DT_QINT32_REF=113 DT_BFLOAT16_REF=114 DT_QINT16_REF=115 DT_QUINT16_REF=116 DT_UINT16_REF=117"
        " DT_COMPLEX128_REF=118 DT_HALF_REF=119 DT_RESOURCE_REF=120 DT_VARIANT_REF=121 DT_UINT32_REF=122"
        " DT_UINT64_REF=123 DT_FLOAT8_E5M2_REF=124 DT_FLOAT8_E4M3FN_REF=125 DT_FLOAT8_E4M3FNUZ_REF=126"
        " DT_FLOAT8_E4M3B11FNUZ_REF=127 DT_FLOAT8_E5M2FNUZ_REF=128 DT_INT4_REF=129 DT_UINT4_REF=130 DT_INT2_REF=131"
        " DT_UINT2_REF=132 DT_FLOAT4_E2M1FN_REF=133"
    ),
    "tensorflow.error.Code": (
        "OK=0 CANCELLED=1 UNKNOWN=2 INVALID_ARGUMENT=3 DEADLINE_EXCEEDED=4 NOT_FOUND=5 ALREADY_EXISTS=6"
        " PERMISSION_DENIED=7 UNAUTHENTICATED=16 RESOURCE_EXHAUSTED=8 FAILED_PRECONDITION=9 ABORTED=10 OUT_OF_RANGE=11"
        " UNIMPLEMENTED=12 INTERNAL=13 UNAVAILABLE=14 DATA_LOSS=15"
        " DO_NOT_USE_RESERVED_FOR_FUTURE_EXPANSION_USE_DEFAULT_IN_SWITCH_INSTEAD_=20"
    ),
    "tensorflow.serving.ModelVersionStatus.State": "UNKNOWN=0 START=10 LOADING=20 AVAILABLE=30 UNLOADING=40 END=50",
    "tensorflow.serving.PredictStreamedOptions.RequestState": "NONE=0 SPLIT=1 END_SPLIT=2 CANCEL=3",
    "tensorflow.serving.PredictRequest.RequestOptions.DeterministicMode": (
        "DETERMINISTIC_MODE_UNSPECIFIED=0 FIXED_DECODER_SLOT=1"
    ),
    "tensorflow.serving.SamplingConfig.Attributes": "ATTR_DEFAULT=0 ATTR_REQUEST_ORIGIN=1 ATTR_REQUEST_CRITICALITY=2",
    "tensorflow.serving.ModelType": "MODEL_TYPE_UNSPECIFIED=0 TENSORFLOW=1 OTHER=2",
}

# One entry a message: "name:type=number ...". A type is a scalar, an enum or a message (its nearest name is taken);
# "*" behind it means repeated, "?" optional with presence, "@x" a member of the oneof x, "map<k,v>" a map.
_MESSAGES = {
    "tensorflow.TensorShapeProto": "dim:Dim*=2 unknown_rank:bool=3",
    "tensorflow.TensorShapeProto.Dim": "size:int64=1 name:string=2",
    "tensorflow.ResourceHandleProto": (
        "device:string=1 container:string=2 name:string=3 hash_code:uint64=4 maybe_type_name:string=5"
        " dtypes_and_shapes:DtypeAndShape*=6"
    ),
    "tensorflow.ResourceHandleProto.DtypeAndShape": "dtype:DataType=1 shape:TensorShapeProto=2",
    "tensorflow.TensorProto": (
        "dtype:DataType=1 tensor_shape:TensorShapeProto=2 version_number:int32=3 tensor_content:bytes=4"
        " half_val:int32*=13 float_val:float*=5 double_val:double*=6 int_val:int32*=7 string_val:bytes*=8"
        " scomplex_val:float*=9 int64_val:int64*=10 bool_val:bool*=11 dcomplex_val:double*=12"
        " resource_handle_val:ResourceHandleProto*=14 variant_val:VariantTensorDataProto*=15 uint32_val:uint32*=16"
        " uint64_val:uint64*=17 float8_val:bytes=18"
    ),
    "tensorflow.VariantTensorDataProto": "type_name:string=1 metadata:bytes=2 tensors:TensorProto*=3",
    "tensorflow.BytesList": "value:bytes*=1",
    "tensorflow.FloatList": "value:float*=1",
    "tensorflow.Int64List": "value:int64*=1",
    "tensorflow.Feature": "bytes_list:BytesList@kind=1 float_list:FloatList@kind=2 int64_list:Int64List@kind=3",
    "tensorflow.Features": "feature:map<string,Feature>=1",
    "tensorflow.FeatureList": "feature:Feature*=1",
    "tensorflow.FeatureLists": "feature_list:map<string,FeatureList>=1",
    "tensorflow.Example": "features:Features=1",
    "tensorflow.SequenceExample": "context:Features=1 feature_lists:FeatureLists=2",
    "tensorflow.TensorInfo": (
        "name:string@encoding=1 coo_sparse:CooSparse@encoding=4 composite_tensor:CompositeTensor@encoding=5"
        " dtype:DataType=2 tensor_shape:TensorShapeProto=3"
    ),
    "tensorflow.TensorInfo.CooSparse": (
        "values_tensor_name:string=1 indices_tensor_name:string=2 dense_shape_tensor_name:string=3"
    ),
    "tensorflow.TensorInfo.CompositeTensor": "components:TensorInfo*=2",
    "tensorflow.SignatureDef": (
        "inputs:map<string,TensorInfo>=1 outputs:map<string,TensorInfo>=2 method_name:string=3"
        " defaults:map<string,TensorProto>=4"
    ),
    "tensorflow.serving.ModelSpec": (
        "name:string=1 version:google.protobuf.Int64Value@version_choice=2 version_label:string@version_choice=4"
        " signature_name:string=3"
    ),
    "tensorflow.serving.StatusProto": "error_code:tensorflow.error.Code=1 error_message:string=2",
    "tensorflow.serving.ExampleList": "examples:tensorflow.Example*=1",
    "tensorflow.serving.ExampleListWithContext": "examples:tensorflow.Example*=1 context:tensorflow.Example=2",
    "tensorflow.serving.Input": (
        "example_list:ExampleList@kind=1 example_list_with_context:ExampleListWithContext@kind=2"
    ),
    "tensorflow.serving.PredictRequest": (
        "model_spec:ModelSpec=1 inputs:map<string,tensorflow.TensorProto>=2 output_filter:string*=3"
        " predict_streamed_options:PredictStreamedOptions=5 client_id:bytes?=6 request_options:RequestOptions?=7"
    ),
    "tensorflow.serving.PredictRequest.RequestOptions": (
        "client_id:bytes?=1 deterministic_mode:DeterministicMode?=2 return_additional_arrays_from_prefill:bool?=3"
        " return_stoptokens:int64*=4 return_all_stoptokens:bool?=9 max_cache_length:int64?=6 handshake:Handshake?=13"
    ),
    "tensorflow.serving.PredictRequest.RequestOptions.Handshake": "estimated_payload_bytes:int64=1",
    "tensorflow.serving.PredictStreamedOptions": (
        "request_state:RequestState=1 split_dimensions:map<string,int32>=2 return_single_response:bool=3"
    ),
    "tensorflow.serving.PredictResponse": "model_spec:ModelSpec=2 outputs:map<string,tensorflow.TensorProto>=1",
    "tensorflow.serving.Class": "label:string=1 score:float=2",
    "tensorflow.serving.Classifications": "classes:Class*=1",
    "tensorflow.serving.ClassificationResult": "classifications:Classifications*=1",
    "tensorflow.serving.ClassificationRequest": "model_spec:ModelSpec=1 input:Input=2",
    "tensorflow.serving.ClassificationResponse": "model_spec:ModelSpec=2 result:ClassificationResult=1",
    "tensorflow.serving.Regression": "value:float=1",
    "tensorflow.serving.RegressionResult": "regressions:Regression*=1",
    "tensorflow.serving.RegressionRequest": "model_spec:ModelSpec=1 input:Input=2",
    "tensorflow.serving.RegressionResponse": "model_spec:ModelSpec=2 result:RegressionResult=1",
    "tensorflow.serving.InferenceTask": "model_spec:ModelSpec=1 method_name:string=2",
    "tensorflow.serving.InferenceResult": (
        "model_spec:ModelSpec=1 classification_result:ClassificationResult@result=2"
        " regression_result:RegressionResult@result=3"
    ),
    "tensorflow.serving.MultiInferenceRequest": "tasks:InferenceTask*=1 input:Input=2",
    "tensorflow.serving.MultiInferenceResponse": "results:InferenceResult*=1",
    "tensorflow.serving.SignatureDefMap": "signature_def:map<string,tensorflow.SignatureDef>=1",
    "tensorflow.serving.GetModelMetadataRequest": "model_spec:ModelSpec=1 metadata_field:string*=2",
    "tensorflow.serving.GetModelMetadataResponse": "model_spec:ModelSpec=1 metadata:map<string,google.protobuf.Any>=2",
    "tensorflow.serving.GetModelStatusRequest": "model_spec:ModelSpec=1",
    "tensorflow.serving.ModelVersionStatus": "version:int64=1 state:State=2 status:StatusProto=3",
    "tensorflow.serving.GetModelStatusResponse": "model_version_status:ModelVersionStatus*=1",
    "tensorflow.serving.FileSystemStoragePathSourceConfig": (
        "servables:ServableToMonitor*=5 file_system_poll_wait_seconds:int64=3 fail_if_zero_versions_at_startup:bool=4"
        " servable_versions_always_present:bool=6"
    ),
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy": (
        "latest:Latest@policy_choice=100 all:All@policy_choice=101 specific:Specific@policy_choice=102"
    ),
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest": "num_versions:uint32=1",
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.All": "",
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific": "versions:int64*=1",
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableToMonitor": (
        "servable_name:string=1 base_path:string=2 servable_version_policy:ServableVersionPolicy=4"
    ),
    "tensorflow.serving.LogCollectorConfig": "type:string=1 filename_prefix:string=2",
    "tensorflow.serving.PerTaskSamplingConfig": "dc:string=1 task_index:int32?=2 sampling_rate:double=3",
    "tensorflow.serving.SamplingConfig": (
        "sampling_rate:double=1 per_task_sampling_configs:PerTaskSamplingConfig*=3 attributes:int32=2"
    ),
    "tensorflow.serving.LoggingConfig": (
        "log_collector_config:LogCollectorConfig=1 sampling_config:SamplingConfig=2"
        " custom_logging_config:google.protobuf.Any=3"
    ),
    "tensorflow.serving.ModelConfig": (
        "name:string=1 base_path:string=2 model_type:ModelType=3 model_platform:string=4"
        " model_version_policy:FileSystemStoragePathSourceConfig.ServableVersionPolicy=7"
        " version_labels:map<string,int64>=8 logging_config:LoggingConfig=6"
    ),
    "tensorflow.serving.ModelConfigList": "config:ModelConfig*=1",
    "tensorflow.serving.ModelServerConfig": (
        "model_config_list:ModelConfigList@config=1 custom_model_config:google.protobuf.Any@config=2"
    ),
    "tensorflow.serving.Metric": "name:string=1 int64_value_increase:int64@value_increase=2",
    "tensorflow.serving.ReloadConfigRequest": "config:ModelServerConfig=1 metric_names:string*=2",
    "tensorflow.serving.ReloadConfigResponse": "status:StatusProto=1 metric:Metric*=2",
    # The next four are of the server alone: tensorflow-serving-api does not carry them.
    "tensorflow.serving.BatchingParameters": (
        "max_batch_size:google.protobuf.Int64Value=1 batch_timeout_micros:google.protobuf.Int64Value=2"
        " max_enqueued_batches:google.protobuf.Int64Value=3 num_batch_threads:google.protobuf.Int64Value=4"
        " thread_pool_name:google.protobuf.StringValue=5 enable_large_batch_splitting:google.protobuf.BoolValue=8"
        " max_execution_batch_size:google.protobuf.Int64Value=9 allowed_batch_sizes:int64*=6"
        " pad_variable_length_inputs:bool=7"
    ),
    "tensorflow.serving.PrometheusConfig": "enable:bool=1 path:string=2",
    "tensorflow.serving.MonitoringConfig": "prometheus_config:PrometheusConfig=1",
    "tensorflow.serving.SSLConfig": "server_key:string=1 server_cert:string=2 custom_ca:string=3 client_verify:bool=4",
    # Ours: the address on a request's envelope. Parsing these leaves the tensors of the request unread.
    "tlkit.serving.RoutedRequest": "model_spec:tensorflow.serving.ModelSpec=1",
    "tlkit.serving.RoutedMultiRequest": "tasks:tensorflow.serving.InferenceTask*=1",
}

# In the order of their dependence.
_PACKAGES = ("tensorflow.error", "tensorflow", "tensorflow.serving", "tlkit.serving")
_FIELD = re.compile(
    r"(?P<name>\w+):(?:map<(?P<key>\w+),(?P<value>[\w.]+)>|(?P<type>[\w.]+))"
    r"(?P<many>\*)?(?P<optional>\?)?(?:@(?P<oneof>\w+))?=(?P<number>\d+)"
)
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: _Field.Type.Value(f"TYPE_{name.upper()}")
    for name in ("double", "float", "int64", "uint64", "int32", "uint32", "bool", "string", "bytes")
}


def _build_pool() -> descriptor_pool.DescriptorPool:
    """Make a pool that holds the table's messages and the well-known types that they use."""
    pool = descriptor_pool.DescriptorPool()
    known = [any_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR]
    for module in known:
        pool.AddSerializedFile(module.serialized_pb)
    dependencies = [module.name for module in known]
    for package in _PACKAGES:
        file = descriptor_pb2.FileDescriptorProto(
            name=f"tlkit/serving/{package}.proto", package=package, syntax="proto3", dependency=dependencies
        )
        for name in (name for name in _MESSAGES if _package(name) == package):
            _add_message(file, name)
        for name in (name for name in _ENUMS if _package(name) == package):
            holder, short = _holder(file, name)
            values = (item.split("=") for item in _ENUMS[name].split())
            enum = holder.enum_type.add(name=short)
            enum.value.extend(
                descriptor_pb2.EnumValueDescriptorProto(name=value, number=int(number)) for value, number in values
            )
        pool.AddSerializedFile(file.SerializeToString())
        dependencies.append(file.name)
    return pool


def _package(name: str) -> str:
    return max((package for package in _PACKAGES if name.startswith(f"{package}.")), key=len)


def _holder(file: descriptor_pb2.FileDescriptorProto, name: str) -> tuple[Any, str]:
    """Return the file or the message in which `name` is declared, and the last part of the name."""
    *outer, short = name.removeprefix(f"{file.package}.").split(".")
    holder: Any = file
    for part in outer:
        messages = holder.message_type if holder is file else holder.nested_type
        holder = next(message for message in messages if message.name == part)
    return holder, short


def _add_message(file: descriptor_pb2.FileDescriptorProto, name: str) -> None:
    holder, short = _holder(file, name)
    message = (holder.message_type if holder is file else holder.nested_type).add(name=short)
    for item in _MESSAGES[name].split():
        parts = _FIELD.fullmatch(item)
        if parts is None:
            raise ValueError(f"{name}: {item!r} is not a field of the table")
        repeated = parts["many"] or parts["key"]
        field = message.field.add(name=parts["name"], number=int(parts["number"]))
        field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        if parts["key"]:
            # A map is a repeated message of key and value (protobuf's language guide, "Backwards compatibility").
            entry = message.nested_type.add(name=f"{parts['name'].title().replace('_', '')}Entry")
            entry.options.map_entry = True
            for number, (part, kind) in enumerate((("key", parts["key"]), ("value", parts["value"])), 1):
                _set_type(entry.field.add(name=part, number=number, label=_Field.LABEL_OPTIONAL), kind, name)
            field.type, field.type_name = _Field.TYPE_MESSAGE, f".{name}.{entry.name}"
        else:
            _set_type(field, parts["type"], name)
        if parts["oneof"]:
            field.oneof_index = _oneof(message, parts["oneof"])
    # A field with presence is a oneof of one, and these come behind the real ones.
    for field, item in zip(message.field, _MESSAGES[name].split(), strict=True):
        if "?" in item:
            field.proto3_optional, field.oneof_index = True, _oneof(message, f"_{field.name}")


def _oneof(message: descriptor_pb2.DescriptorProto, name: str) -> int:
    names = [oneof.name for oneof in message.oneof_decl]
    if name not in names:
        message.oneof_decl.add(name=name)
        return len(names)
    return names.index(name)


def _set_type(field: descriptor_pb2.FieldDescriptorProto, kind: str, scope: str) -> None:
    """Set a scalar type, or the message or enum of this name that is nearest to `scope`."""
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    outer = scope.split(".")
    candidates = [".".join([*outer[:depth], kind]) for depth in range(len(outer), -1, -1)]
    found = next((name for name in candidates if name in _MESSAGES or name in _ENUMS), kind)
    field.type = _Field.TYPE_ENUM if found in _ENUMS else _Field.TYPE_MESSAGE
    field.type_name = f".{found}"


#: Holds the messages; hand it to `google.protobuf.text_format` or `json_format` where an Any has to be opened.
POOL = _build_pool()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def _enum(name: str) -> Any:
    return EnumTypeWrapper(POOL.FindEnumTypeByName(name))


DataType = _enum("tensorflow.DataType")
ErrorCode = _enum("tensorflow.error.Code")
ModelVersionState = _enum("tensorflow.serving.ModelVersionStatus.State")

TensorShapeProto = _message("tensorflow.TensorShapeProto")
ResourceHandleProto = _message("tensorflow.ResourceHandleProto")
TensorProto = _message("tensorflow.TensorProto")
VariantTensorDataProto = _message("tensorflow.VariantTensorDataProto")
BytesList = _message("tensorflow.BytesList")
FloatList = _message("tensorflow.FloatList")
Int64List = _message("tensorflow.Int64List")
Feature = _message("tensorflow.Feature")
Features = _message("tensorflow.Features")
FeatureList = _message("tensorflow.FeatureList")
FeatureLists = _message("tensorflow.FeatureLists")
Example = _message("tensorflow.Example")
SequenceExample = _message("tensorflow.SequenceExample")
TensorInfo = _message("tensorflow.TensorInfo")
SignatureDef = _message("tensorflow.SignatureDef")
ModelSpec = _message("tensorflow.serving.ModelSpec")
StatusProto = _message("tensorflow.serving.StatusProto")
ExampleList = _message("tensorflow.serving.ExampleList")
ExampleListWithContext = _message("tensorflow.serving.ExampleListWithContext")
Input = _message("tensorflow.serving.Input")
PredictRequest = _message("tensorflow.serving.PredictRequest")
PredictStreamedOptions = _message("tensorflow.serving.PredictStreamedOptions")
PredictResponse = _message("tensorflow.serving.PredictResponse")
Class = _message("tensorflow.serving.Class")
Classifications = _message("tensorflow.serving.Classifications")
ClassificationResult = _message("tensorflow.serving.ClassificationResult")
ClassificationRequest = _message("tensorflow.serving.ClassificationRequest")
ClassificationResponse = _message("tensorflow.serving.ClassificationResponse")
Regression = _message("tensorflow.serving.Regression")
RegressionResult = _message("tensorflow.serving.RegressionResult")
RegressionRequest = _message("tensorflow.serving.RegressionRequest")
RegressionResponse = _message("tensorflow.serving.RegressionResponse")
InferenceTask = _message("tensorflow.serving.InferenceTask")
InferenceResult = _message("tensorflow.serving.InferenceResult")
MultiInferenceRequest = _message("tensorflow.serving.MultiInferenceRequest")
MultiInferenceResponse = _message("tensorflow.serving.MultiInferenceResponse")
SignatureDefMap = _message("tensorflow.serving.SignatureDefMap")
GetModelMetadataRequest = _message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = _message("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest = _message("tensorflow.serving.GetModelStatusRequest")
ModelVersionStatus = _message("tensorflow.serving.ModelVersionStatus")
GetModelStatusResponse = _message("tensorflow.serving.GetModelStatusResponse")
FileSystemStoragePathSourceConfig = _message("tensorflow.serving.FileSystemStoragePathSourceConfig")
LogCollectorConfig = _message("tensorflow.serving.LogCollectorConfig")
PerTaskSamplingConfig = _message("tensorflow.serving.PerTaskSamplingConfig")
SamplingConfig = _message("tensorflow.serving.SamplingConfig")
LoggingConfig = _message("tensorflow.serving.LoggingConfig")
ModelConfig = _message("tensorflow.serving.ModelConfig")
ModelConfigList = _message("tensorflow.serving.ModelConfigList")
ModelServerConfig = _message("tensorflow.serving.ModelServerConfig")
Metric = _message("tensorflow.serving.Metric")
ReloadConfigRequest = _message("tensorflow.serving.ReloadConfigRequest")
ReloadConfigResponse = _message("tensorflow.serving.ReloadConfigResponse")
BatchingParameters = _message("tensorflow.serving.BatchingParameters")
PrometheusConfig = _message("tensorflow.serving.PrometheusConfig")
MonitoringConfig = _message("tensorflow.serving.MonitoringConfig")
SSLConfig = _message("tensorflow.serving.SSLConfig")
RoutedRequest = _message("tlkit.serving.RoutedRequest")
RoutedMultiRequest = _message("tlkit.serving.RoutedMultiRequest")
