"""TensorFlow Serving's gRPC services in front of a fleet of models, with bodies passed through as bytes.

Of a request only the model's name, version and label are read here; all else is for the process that holds the models.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tlkit.serving import metrics as names
from tlkit.serving import protos
from tlkit.serving.access_log import AccessLog
from tlkit.serving.draining import Draining
from tlkit.serving.grpc_reflection_service import MODEL, PREDICTION, reflection_handlers
from tlkit.serving.metrics import Metrics
from tlkit.serving.served_fleet import ServedFleet
from tlkit.serving.status import MAX_MESSAGE, Code, ServingError
from tlkit.serving.tls import Tls

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_METHODS = {
    "Predict": "predict",
    "Classify": "classify",
    "Regress": "regress",
    "MultiInference": "multi_inference",
    "GetModelMetadata": "metadata",
}
_HEALTH_SECONDS = 0.2
_METADATA_BYTES = 16 * 1024
# Room above the fleet's own limit for health checks and statuses while it is full.
_SPARE_CALLS = 64


async def grpc_server(
    fleet: ServedFleet,
    *,
    host: str,
    port: int,
    max_message_bytes: int = 64 * 1024 * 1024,
    timeout: float = 60.0,
    tls: Tls | None = None,
    metrics: Metrics | None = None,
    access_log: AccessLog | None = None,
    reload: Callable[[Any], Awaitable[None]] | None = None,
    draining: Draining | None = None,
) -> tuple[grpc.aio.Server, int]:
    """Start a gRPC server: PredictionService, ModelService, and the standard services for health and reflection.

    Example:
        >>> server, port = await grpc_server(fleet, host="127.0.0.1", port=8500, metrics=Metrics())
        >>> await server.stop(grace=3)

    Args:
        fleet: the served models.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        max_message_bytes: larger requests are refused with RESOURCE_EXHAUSTED.
        timeout: seconds for a request whose client allows more, or names no deadline.
        tls: certificate and key; plain text where it is None.
        metrics: what counts requests.
        access_log: where each request is noted; None notes nothing.
        reload: takes the ModelServerConfig of a HandleReloadConfigRequest; None offers none.
        draining: says when the server stops.

    Returns:
        The server, which answers already, and its port.

    Raises:
        RuntimeError: the address cannot be had.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", -1),  # the model's own answer
            ("grpc.max_metadata_size", _METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
            ("grpc.so_reuseport", 0),  # a taken port is an error, not half of the requests
            # A client that has gone without a word is noticed, and its connection closed.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ],
        maximum_concurrent_rpcs=fleet.max_in_flight + _SPARE_CALLS,
    )
    draining = draining or Draining()
    door = _Door(fleet, timeout, metrics, access_log, draining, reload)
    server.add_generic_rpc_handlers(door.handlers())
    server.add_generic_rpc_handlers(reflection_handlers())
    servicer = _Health(fleet, draining)
    await servicer.follow()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if tls is None:
        port = server.add_insecure_port(address)
    else:
        credentials = grpc.ssl_server_credentials(
            [(tls.key.read_bytes(), tls.certificate.read_bytes())],
            root_certificates=tls.client_ca.read_bytes() if tls.client_ca else None,
            require_client_auth=tls.client_ca is not None,
        )
        port = server.add_secure_port(address, credentials)
    await server.start()
    task = asyncio.create_task(servicer.follow_until_end(server))
    server.tlkit_health = task  # an event loop holds its tasks only weakly
    return server, port


class _Door:
    def __init__(
        self,
        fleet: ServedFleet,
        timeout: float,
        metrics: Metrics | None,
        access_log: AccessLog | None,
        draining: Draining,
        reload: Callable[[Any], Awaitable[None]] | None = None,
    ):
        self.fleet, self.timeout, self.metrics, self.access_log = fleet, timeout, metrics, access_log
        self.draining, self.reload = draining, reload

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the services, whose messages come and go as bytes."""
        prediction = {
            name: self._handler(PREDICTION, name, self._prediction(method)) for name, method in _METHODS.items()
        }
        model = {
            "GetModelStatus": self._handler(MODEL, "GetModelStatus", self._status),
            "HandleReloadConfigRequest": self._handler(MODEL, "HandleReloadConfigRequest", self._reload),
        }
        return (
            grpc.method_handlers_generic_handler(PREDICTION, prediction),
            grpc.method_handlers_generic_handler(MODEL, model),
        )

    def _handler(self, service: str, name: str, answer: Callable[[bytes, Any, _Seen], Awaitable[bytes]]) -> Any:
        path = f"/{service}/{name}"

        async def handle(body: bytes, context: Any) -> bytes:
            began = time.perf_counter()
            seen = _Seen()
            code, content, message = Code.OK, b"", ""
            if self.metrics is not None:
                self.metrics.requests_in_flight["GRPC"] += 1
            try:
                content = await answer(body, context, seen)
            except ServingError as error:
                code, message = error.code, error.message
                if self.metrics is not None:
                    self.metrics.observe_error(error)
            except asyncio.CancelledError:
                code = Code.CANCELLED
                raise
            except Exception as error:  # grpc writes the traceback of what is raised
                code, message = Code.INTERNAL, f"{type(error).__name__}: {error}"
                raise
            finally:
                seconds = time.perf_counter() - began
                if self.metrics is not None:
                    self.metrics.requests_in_flight["GRPC"] -= 1
                    if seen.counted:
                        known = seen.name if code is Code.OK or seen.name in self.fleet.models() else ""
                        self.metrics.observe_request("GRPC", known, name, code, seconds)
                if self.access_log is not None:
                    client = context.peer().removeprefix("ipv4:").removeprefix("ipv6:")
                    self.access_log.write(client, "gRPC", path, code.name, len(content), seconds)
            if code is not Code.OK:
                # By bytes: clients take 8 KiB of metadata, where a character may need 12 bytes.
                short = message.encode("utf-8")[:MAX_MESSAGE].decode("utf-8", "ignore")
                await context.abort(_CODES[int(code)], short)
            return content

        return grpc.unary_unary_rpc_method_handler(handle)

    def _prediction(self, method: str) -> Callable[[bytes, Any, _Seen], Awaitable[bytes]]:
        async def answer(body: bytes, context: Any, seen: _Seen) -> bytes:
            seen.counted = method != "metadata"  # TensorFlow Serving does not count those
            spec = _multi_spec(body) if method == "multi_inference" else _spec(body)
            if not spec.name:
                raise ServingError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
            seen.name = spec.name
            chosen = spec.WhichOneof("version_choice")
            version = self.fleet.resolve(
                spec.name,
                spec.version.value if chosen == "version" else None,
                spec.version_label if chosen == "version_label" else None,
            )
            left = context.time_remaining()
            timeout = self.timeout if left is None else min(left, self.timeout)
            try:
                with self.draining.request():
                    async with asyncio.timeout(timeout):
                        got = await self.fleet.call(
                            spec.name, version, api="grpc", method=method, body=body, timeout=timeout
                        )
            except TimeoutError:
                message = f"the request timed out after {timeout:g} seconds"
                raise ServingError(Code.DEADLINE_EXCEEDED, message) from None
            if self.metrics is not None and method in names.API:
                self.metrics.observe_runtime(spec.name, method, got.runtime_us)
            content: bytes = got.body
            return content

        return answer

    async def _status(self, body: bytes, context: Any, seen: _Seen) -> bytes:
        spec = _spec(body)
        version = spec.version.value if spec.HasField("version") else None
        response = protos.GetModelStatusResponse()
        for one in self.fleet.statuses(spec.name, version):  # a label is ignored here, as there
            added = response.model_version_status.add(
                version=one.version, state=protos.ModelVersionStatus.State.Value(one.state)
            )
            added.status.error_code, added.status.error_message = int(one.code), one.message
        content: bytes = response.SerializeToString()
        return content

    async def _reload(self, body: bytes, context: Any, seen: _Seen) -> bytes:
        if self.reload is None:
            raise ServingError(Code.UNIMPLEMENTED, "reconfiguration by request is disabled")
        self.draining.check()
        request = _parsed(protos.ReloadConfigRequest, body)
        before = self._counts(request.metric_names)
        left = context.time_remaining()
        try:
            async with asyncio.timeout(left):
                await self.reload(request.config)
        except TimeoutError:
            message = "the configuration is applied, but not every new model is available yet"
            raise ServingError(Code.DEADLINE_EXCEEDED, message) from None
        response = protos.ReloadConfigResponse()
        response.status.SetInParent()
        for name, value in self._counts(request.metric_names).items():
            response.metric.add(name=name, int64_value_increase=value - before[name])
        content: bytes = response.SerializeToString()
        return content

    def _counts(self, metrics: Sequence[str]) -> dict[str, int]:
        return {name: self.metrics.count(name) if self.metrics is not None else 0 for name in metrics}


class _Seen:
    """What is known of a request when it ends."""

    def __init__(self) -> None:
        self.name = ""
        self.counted = False


class _Health(health.aio.HealthServicer):
    """The standard health service, as of this moment.

    A model serves while a version of it is available. "" serves while one model does and none is on its way: a model
    that cannot be loaded does not take the others out of service. Nothing serves any more when the server stops.
    """

    def __init__(self, fleet: ServedFleet, draining: Draining):
        super().__init__()
        self._fleet, self._draining = fleet, draining
        self._told: dict[str, int] = {}

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802  (the service's own name)
        """Answer with the state of this very moment."""
        await self.follow()
        return await super().Check(request, context)

    async def follow(self) -> None:
        """Take over the fleet's state, and tell those who watch."""
        response = health_pb2.HealthCheckResponse
        states = {name: {one.state for one in statuses} for name, statuses in self._fleet.models().items()}
        models = {name: "AVAILABLE" in found for name, found in states.items()}
        is_coming = any(found & {"START", "LOADING"} and not models[name] for name, found in states.items())
        serving = {"": any(models.values()) and not is_coming, **models}
        if self._draining.has_begun:
            serving = dict.fromkeys(serving, False)
        now = {name: response.SERVING if fine else response.NOT_SERVING for name, fine in serving.items()}
        for name in self._told.keys() - now.keys():
            now[name] = response.SERVICE_UNKNOWN
        for name, state in now.items():
            if self._told.get(name) != state:
                await self.set(name, state)
        self._told = now

    async def follow_until_end(self, server: grpc.aio.Server) -> None:
        """Look again and again until the server ends."""
        while await server.wait_for_termination(_HEALTH_SECONDS):
            await self.follow()


def _spec(body: bytes) -> Any:
    request = _parsed(protos.RoutedRequest, body)
    if not request.HasField("model_spec"):
        raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
    return request.model_spec


def _multi_spec(body: bytes) -> Any:
    tasks = _parsed(protos.RoutedMultiRequest, body).tasks
    return tasks[0].model_spec if tasks else protos.ModelSpec()


def _parsed(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise ServingError(Code.INVALID_ARGUMENT, "the request is not a valid message of its type") from None
