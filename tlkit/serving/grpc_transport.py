"""A connection to TensorFlow Serving's gRPC interface, with messages of our own that need no TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from tlkit.export.manifest import SignatureInfo, TensorInfo
from tlkit.export.short_floats import short_float
from tlkit.serving import protos
from tlkit.serving.status import Code
from tlkit.serving.tensor_proto import TensorError, dtype_name, from_proto, to_proto
from tlkit.serving.transport import ClassScore, ModelMetadata, ModelVersion, TransportError

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that restarts is found again soon; gRPC itself would wait up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # As over REST, the address is the server's.
    ("grpc.enable_http_proxy", 0),
)
_PREDICTION, _MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
_PUSHBACK = "grpc-retry-pushback-ms"


class GrpcTransport:
    """One model of a server, over gRPC.

    Example:
        >>> GrpcTransport("127.0.0.1:8500", "photos").metadata(10.0).version
        3

    Args:
        target: HOST:PORT.
        model: its name.
        tls: speak TLS.
        version: the number to ask for; the server chooses when neither this nor `label` is given.
        label: the version label to ask for.
        headers: sent with every call as metadata, under lower-case names.
        ca_file: PEM certificates to trust instead of gRPC's.
        client_cert, client_key: PEM files with which to identify oneself.
    """

    def __init__(
        self,
        target: str,
        model: str,
        *,
        tls: bool = False,
        version: int | None = None,
        label: str | None = None,
        headers: Mapping[str, str] | None = None,
        ca_file: str | Path | None = None,
        client_cert: str | Path | None = None,
        client_key: str | Path | None = None,
    ):
        if tls:
            root, key, certificate = (path and Path(path).read_bytes() for path in (ca_file, client_key, client_cert))
            self._channel = grpc.secure_channel(
                target, grpc.ssl_channel_credentials(root or None, key or None, certificate or None), _OPTIONS
            )
        else:
            self._channel = grpc.insecure_channel(target, _OPTIONS)
        self._spec = protos.ModelSpec(name=model)
        if version is not None:
            self._spec.version.value = version
        elif label is not None:
            self._spec.version_label = label
        self._metadata = tuple((name.lower(), value) for name, value in (headers or {}).items())
        self._calls = {
            name: self._channel.unary_unary(
                f"/{service}/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=response.FromString,
            )
            for service, name, response in (
                (_PREDICTION, "Predict", protos.PredictResponse),
                (_PREDICTION, "Classify", protos.ClassificationResponse),
                (_PREDICTION, "Regress", protos.RegressionResponse),
                (_PREDICTION, "GetModelMetadata", protos.GetModelMetadataResponse),
                (_MODEL, "GetModelStatus", protos.GetModelStatusResponse),
            )
        }

    def metadata(self, timeout: float) -> ModelMetadata:
        """Ask for the signatures."""
        request = protos.GetModelMetadataRequest(model_spec=self._spec, metadata_field=["signature_def"])
        response = self._ask("GetModelMetadata", request, timeout)
        found = protos.SignatureDefMap()
        if not response.metadata["signature_def"].Unpack(found):
            raise TransportError(Code.INTERNAL, "the metadata has no signatures")
        signatures = {
            name: SignatureInfo(
                method=signature.method_name,
                inputs={key: _tensor_info(value) for key, value in sorted(signature.inputs.items())},
                outputs={key: _tensor_info(value) for key, value in sorted(signature.outputs.items())},
            )
            for name, signature in sorted(found.signature_def.items())
            if not name.startswith("__")
        }
        return ModelMetadata(response.model_spec.name, response.model_spec.version.value, signatures)

    def status(self, timeout: float) -> list[ModelVersion]:
        """Ask for the states of the versions."""
        response = self._ask("GetModelStatus", protos.GetModelStatusRequest(model_spec=self._spec), timeout)
        return [
            ModelVersion(
                one.version,
                _enum_name(protos.ModelVersionState, one.state),
                _enum_name(protos.ErrorCode, one.status.error_code),
                one.status.error_message,
            )
            for one in response.model_version_status
        ]

    def predict(
        self,
        name: str,
        signature: SignatureInfo,
        inputs: dict[str, np.ndarray],
        wanted: Sequence[str],
        timeout: float,
    ) -> dict[str, np.ndarray]:
        """Run a signature; only the wanted outputs are sent."""
        request = protos.PredictRequest(model_spec=self._named(name), output_filter=wanted)
        try:
            for key, array in inputs.items():
                to_proto(array, signature.inputs[key].dtype, into=request.inputs[key])
        except TensorError as error:
            raise TransportError(Code.INVALID_ARGUMENT, str(error), answered=False, final=True) from None
        response = self._ask("Predict", request, timeout)
        try:
            return {key: _to_array(response.outputs[key]) for key in sorted(response.outputs)}
        except TensorError as error:
            raise TransportError(Code.INTERNAL, f"an output cannot be read: {error}") from None

    def classify(self, name: str, examples: Sequence[Any], context: Any, timeout: float) -> list[list[ClassScore]]:
        """Classify tf.Examples."""
        request = protos.ClassificationRequest(model_spec=self._named(name), input=_input(examples, context))
        response = self._ask("Classify", request, timeout)
        return [
            [ClassScore(one.label, short_float(one.score)) for one in each.classes]
            for each in response.result.classifications
        ]

    def regress(self, name: str, examples: Sequence[Any], context: Any, timeout: float) -> np.ndarray:
        """Give a float32 for each tf.Example."""
        request = protos.RegressionRequest(model_spec=self._named(name), input=_input(examples, context))
        response = self._ask("Regress", request, timeout)
        return np.array([one.value for one in response.result.regressions], np.float32)

    def close(self) -> None:
        """Let go of the connections."""
        self._channel.close()

    def _named(self, name: str) -> Any:
        spec = protos.ModelSpec()
        spec.CopyFrom(self._spec)
        spec.signature_name = name
        return spec

    def _ask(self, name: str, request: Any, timeout: float) -> Any:
        try:
            return self._calls[name](request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            status: Any = error  # a failed call is its own error
            code = Code(status.code().value[0])
            message = " ".join((status.details() or "").split()) or "no reason given"
            wait = next((v for k, v in status.trailing_metadata() or () if k == _PUSHBACK), None)
            answered = code not in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)
            raise TransportError(
                code,
                f"{code.name}: {message if answered else _without_address(message)}",
                answered=answered,
                wait=_seconds(wait),
                # A message that is too large is one again the next time; a negative pushback forbids another try.
                final="larger than max" in message or (wait is not None and _seconds(wait) is None),
            ) from None


def _without_address(message: str) -> str:
    """Cut what gRPC says of a failed connection down to the reason: the address is told anyway."""
    last = message.rpartition("last error: ")[2]
    return re.sub(r"^[A-Z_]+: (ipv[46]|unix|dns):\S+ ", "", last)


def _input(examples: Sequence[Any], context: Any) -> Any:
    message = protos.Input()
    if context is None:
        message.example_list.examples.extend(examples)
    else:
        message.example_list_with_context.examples.extend(examples)
        message.example_list_with_context.context.CopyFrom(context)
    return message


def _to_array(tensor: Any) -> np.ndarray:
    """Return an array that the caller may change; bfloat16 as float32, which holds the same values."""
    array = from_proto(tensor)
    return array.astype(np.float32 if array.dtype.name == "bfloat16" else array.dtype)


def _tensor_info(info: Any) -> TensorInfo:
    shape = info.tensor_shape
    sizes = tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
    return TensorInfo(dtype=dtype_name(info.dtype), shape=None if shape.unknown_rank else sizes)


def _enum_name(enum: Any, number: int) -> str:
    return str(enum.Name(number)) if number in enum.values() else str(number)


def _seconds(pushback: str | bytes | None) -> float | None:
    """Read the milliseconds after which a server wants to be asked again (gRPC proposal A6)."""
    text = pushback.decode() if isinstance(pushback, bytes) else pushback
    return int(text) / 1000 if text and text.isdecimal() else None
