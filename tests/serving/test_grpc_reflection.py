"""Server reflection: what grpcurl and its kind ask for, answered well enough to call the server."""

import threading

import grpc
import pytest
from doors import Doors, echo
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tlkit.serving import grpc_reflection_service

SERVICES = {
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
    "grpc.reflection.v1.ServerReflection",
}


@pytest.fixture(scope="module")
def channel():
    with (
        Doors(grpc=True) as server,
        grpc.insecure_channel(f"localhost:{server.grpc_port}", [("grpc.enable_http_proxy", 0)]) as opened,
    ):
        yield opened


def ask(channel, version, **request):
    """Send one request on a stream of its own; give the response."""
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    (response,) = call(iter([reflection_pb2.ServerReflectionRequest(**request)]), timeout=10)
    return response


@pytest.mark.parametrize("version", ["v1alpha", "v1"])
def test_services_and_their_files(channel, version):
    listed = ask(channel, version, list_services="*").list_services_response.service
    assert {one.name for one in listed} == SERVICES
    for name in SERVICES:
        files = ask(channel, version, file_containing_symbol=name).file_descriptor_response.file_descriptor_proto
        parsed = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]
        there = {file.name for file in parsed}
        assert all(dependency in there for file in parsed for dependency in file.dependency)
        assert name in {f"{file.package}.{service.name}" for file in parsed for service in file.service}
    missing = ask(channel, version, file_containing_symbol="no.Such").error_response
    assert missing.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert ask(channel, version).error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_a_client_without_protos_calls_the_server(channel):
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName("tensorflow.serving.PredictionService").FindMethodByName("Predict")
    request = message_factory.GetMessageClass(method.input_type)()
    request.model_spec.name = "default"
    tensor = request.inputs["x"]
    tensor.dtype = 1
    tensor.float_val.append(2.5)
    body = request.SerializeToString()
    answer = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(body, timeout=10)
    assert echo("default", 123, "grpc", "predict", body)["sha"] in answer.decode()


def test_every_offered_method_is_described(channel):
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    for name in ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
        for method in pool.FindServiceByName(name).methods:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/{name}/{method.name}")(b"\xff", timeout=10)
            code = caught.value.code()
            assert (code, method.name) in (
                (grpc.StatusCode.INVALID_ARGUMENT, method.name),
                (grpc.StatusCode.UNIMPLEMENTED, "HandleReloadConfigRequest"),
            )


def test_a_stream_does_not_stay_open_for_ever(channel, monkeypatch):
    monkeypatch.setattr(grpc_reflection_service, "STREAM_SECONDS", 0.05)
    call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    release = threading.Event()

    def requests():
        release.wait(20)
        yield b""

    with pytest.raises(grpc.RpcError) as caught:
        list(call(requests(), timeout=20))
    release.set()
    assert caught.value.details() == "the stream was open for too long"
