"""gRPC server reflection: tools such as grpcurl learn the services and their messages from the server itself.

grpcio-reflection serves it under the name of its first version, v1alpha; newer clients ask for v1 first, whose messages
are the same bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from tlkit.serving import protos

PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
_ALPHA, _FINAL = "grpc.reflection.v1alpha", "grpc.reflection.v1"
#: A client that keeps its stream open holds one of the server's calls; after so many seconds it has to ask anew.
STREAM_SECONDS = 300.0


def reflection_handlers() -> tuple[grpc.GenericRpcHandler, ...]:
    """Return the handlers of the reflection service, for `server.add_generic_rpc_handlers`.

    Example:
        >>> server.add_generic_rpc_handlers(reflection_handlers())
    """
    names = [PREDICTION, MODEL, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
    names += [f"{package}.ServerReflection" for package in (_ALPHA, _FINAL)]
    servicer = reflection.aio.ReflectionServicer(names, _pool())

    async def info(requests: Any, context: Any) -> AsyncIterator[Any]:
        responses = servicer.ServerReflectionInfo(requests, context)
        end = asyncio.get_running_loop().time() + STREAM_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(end):
                    response = await anext(responses)
            except StopAsyncIteration:
                return
            except TimeoutError:
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the stream was open for too long")
            yield response

    handler = grpc.stream_stream_rpc_method_handler(
        info,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return tuple(
        grpc.method_handlers_generic_handler(f"{package}.ServerReflection", {"ServerReflectionInfo": handler})
        for package in (_ALPHA, _FINAL)
    )


def _pool() -> descriptor_pool.DescriptorPool:
    """Make a pool of the services, with all messages that they use."""
    pool = descriptor_pool.DescriptorPool()
    _add(pool, protos.POOL.FindFileByName("tlkit/serving/proto/tensorflow_serving.proto"))
    _add(pool, health_pb2.DESCRIPTOR)
    alpha = reflection_pb2.DESCRIPTOR.serialized_pb
    pool.AddSerializedFile(alpha)
    final = descriptor_pb2.FileDescriptorProto.FromString(alpha)
    final.name, final.package = "grpc/reflection/v1/reflection.proto", _FINAL
    for message in final.message_type:
        for field in (field for field in message.field if field.type_name):
            field.type_name = field.type_name.replace(f".{_ALPHA}.", f".{_FINAL}.")
    for service in final.service:
        for one in service.method:
            one.input_type = one.input_type.replace(f".{_ALPHA}.", f".{_FINAL}.")
            one.output_type = one.output_type.replace(f".{_ALPHA}.", f".{_FINAL}.")
    pool.AddSerializedFile(final.SerializeToString())
    return pool


def _add(pool: descriptor_pool.DescriptorPool, file: Any) -> None:
    """Add a file after those that it depends on."""
    try:
        pool.FindFileByName(file.name)
    except KeyError:
        for dependency in file.dependencies:
            _add(pool, dependency)
        pool.AddSerializedFile(file.serialized_pb)
