"""Two small servers for the client's tests, REST and gRPC, which answer with Python functions and fail on demand.

They are written against TensorFlow Serving's documents with other means than the client: json and NumPy for REST,
TensorFlow's and TensorFlow Serving's own messages for gRPC.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import urllib.parse
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

DT = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "int64": "DT_INT64", "int32": "DT_INT32", "uint8": "DT_UINT8",
      "string": "DT_STRING", "bool": "DT_BOOL", "bfloat16": "DT_BFLOAT16"}  # fmt: skip


class RefusedError(Exception):
    """A request that the model refuses: a canonical code by name, and why."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


HTTP = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 429, "INTERNAL": 500,
        "DEADLINE_EXCEEDED": 504, "UNIMPLEMENTED": 501, "FAILED_PRECONDITION": 400}  # fmt: skip


@dataclass
class Signature:
    """Schemas are {name: (dtype, shape or None)}; the function takes and gives arrays by name."""

    inputs: dict[str, tuple[str, Any]]
    outputs: dict[str, tuple[str, Any]]
    function: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
    method: str = "tensorflow/serving/predict"


@dataclass
class Model:
    """A model in versions; `version` is the one that answers."""

    name: str
    signatures: dict[str, Signature]
    version: int = 1
    states: dict[int, str] = field(default_factory=lambda: {1: "AVAILABLE"})
    labels: dict[str, int] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)  # signature and rows of each call that was run

    def check(self, name: str, version: int | None, label: str | None) -> int:
        if name != self.name:
            raise RefusedError("NOT_FOUND", f"Servable not found for request: Latest({name})")
        if label is not None:
            if label not in self.labels:
                raise RefusedError("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
            version = self.labels[label]
        version = self.version if version is None else version
        if self.states.get(version) != "AVAILABLE":
            raise RefusedError("NOT_FOUND", f"Servable not found for request: Specific({name}, {version})")
        return version

    def run(self, name: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        signature = self.signature(name)
        for key, (dtype, shape) in signature.inputs.items():
            if key not in arrays:
                raise RefusedError("INVALID_ARGUMENT", f"missing input {key}")
            given = "string" if arrays[key].dtype == object else arrays[key].dtype.name
            if given != ("float32" if dtype == "bfloat16" else dtype):
                raise RefusedError("INVALID_ARGUMENT", f"input {key} is {given}")
            if shape is not None and arrays[key].ndim != len(shape):
                raise RefusedError("INVALID_ARGUMENT", f"input {key} has rank {arrays[key].ndim}")
        first = next(iter(arrays.values()))
        self.calls.append((name, len(first) if first.ndim else 1))
        return signature.function(arrays)

    def signature(self, name: str) -> Signature:
        if name not in self.signatures:
            raise RefusedError("FAILED_PRECONDITION", f'Serving signature name: "{name}" not found')
        return self.signatures[name]


class FakeRest(ThreadingHTTPServer):
    """Answers over HTTP. Each item of `faults` is used up by one request: a function of the handler that answers it."""

    daemon_threads = True

    def __init__(self, model: Model, address: tuple[str, int] = ("127.0.0.1", 0)):
        self.model, self.faults, self.requests, self.connections = model, [], [], 0
        self.headers: list[dict[str, str]] = []
        super().__init__(address, _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> FakeRest:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away in these tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: FakeRest

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def log_message(self, *args: Any) -> None:
        pass

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._respond(b"")

    def do_POST(self) -> None:
        self._respond(self.rfile.read(int(self.headers["Content-Length"])))

    def _respond(self, body: bytes) -> None:
        self.server.requests.append((self.command, self.path, body))
        self.server.headers.append(dict(self.headers))
        if self.server.faults:
            self.server.faults.pop(0)(self)
            return
        try:
            self.answer(200, self._content(body))
        except RefusedError as error:
            self.answer(HTTP[error.code], {"error": str(error)})

    def _content(self, body: bytes) -> Any:
        model = self.server.model
        path, _, method = self.path.partition(":")
        parts = path.removeprefix("/v1/models/").split("/")
        name, version, label = urllib.parse.unquote(parts[0]), None, None
        if "versions" in parts:
            version = int(parts[parts.index("versions") + 1])
        if "labels" in parts:
            label = urllib.parse.unquote(parts[parts.index("labels") + 1])
        if not method and parts[-1] != "metadata":
            if name != model.name:
                raise RefusedError("NOT_FOUND", f"Could not find any versions of model {name}")
            fine = {"error_code": "OK", "error_message": ""}
            return {"model_version_status": [
                {"version": str(number), "state": state, "status": fine} for number, state in model.states.items()
            ]}  # fmt: skip
        served = model.check(name, version, label)
        if not method:
            return _metadata(model, served)
        request = json.loads(body)
        signature = model.signature(request["signature_name"])
        if method == "predict":
            return {"outputs": self._predict(request, signature)}
        examples = [_example_bytes({**request.get("context", {}), **one}) for one in request["examples"]]
        found = model.run(request["signature_name"], {next(iter(signature.inputs)): _objects(examples)})
        if method == "classify":
            return {"results": [
                [[label.decode(), float(str(score))] for label, score in zip(*pair, strict=True)]
                for pair in zip(found["classes"], found["scores"], strict=True)
            ]}  # fmt: skip
        return {"results": [float(str(value)) for value in next(iter(found.values())).ravel()]}

    def _predict(self, request: dict[str, Any], signature: Signature) -> Any:
        columns = request["inputs"]
        for key in signature.inputs:
            if key not in columns:
                raise RefusedError("INVALID_ARGUMENT", f"Missing named input: {key} in 'inputs' object.")
        arrays = {key: _array(columns[key], dtype) for key, (dtype, _) in signature.inputs.items()}
        found = self.server.model.run(request["signature_name"], arrays)
        plain = {key: _plain(value) for key, value in found.items()}
        return next(iter(plain.values())) if len(plain) == 1 else plain


def _objects(items: list[Any]) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _array(value: Any, dtype: str) -> np.ndarray:
    if dtype != "string":
        found = np.array(value)
        if (
            found.dtype.kind
            not in {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[np.dtype("f4" if dtype == "bfloat16" else dtype).kind]
        ):
            raise RefusedError("INVALID_ARGUMENT", f"JSON Value is not of expected type: {dtype}")
        return found.astype("float32" if dtype == "bfloat16" else dtype)
    if isinstance(value, list):
        parts = [_array(item, dtype) for item in value]
        return np.stack(parts) if parts else np.empty(0, object)
    if isinstance(value, dict):
        return np.array(base64.b64decode(value["b64"]), object)
    if not isinstance(value, str):
        raise RefusedError("INVALID_ARGUMENT", "JSON Value is not of expected type: string")
    return np.array(value.encode(), object)


def _plain(array: np.ndarray) -> Any:
    if array.dtype == object:
        if array.ndim:
            return [_plain(np.asarray(item, object)) for item in array]
        try:
            return array.item().decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(array.item()).decode()}
    if array.dtype.kind == "f":
        return [_plain(item) for item in array] if array.ndim else float(str(array[()]))
    return array.tolist()


def _example_bytes(features: dict[str, Any]) -> bytes:
    from tensorflow.core.example import example_pb2

    example = example_pb2.Example()
    for name, values in features.items():
        for value in values if isinstance(values, list) else [values]:
            target = example.features.feature[name]
            if isinstance(value, str | dict):
                item = base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()
                target.bytes_list.value.append(item)
            elif isinstance(value, int):
                target.int64_list.value.append(value)
            else:
                target.float_list.value.append(value)
    return example.SerializeToString(deterministic=True)


def _metadata(model: Model, version: int) -> dict[str, Any]:
    def info(dtype: str, shape: Any) -> dict[str, Any]:
        dims = [{"size": str(-1 if size is None else size), "name": ""} for size in shape or ()]
        return {"dtype": DT[dtype], "name": "t:0", "tensor_shape": {"dim": dims, "unknown_rank": shape is None}}

    signatures = {
        name: {
            "inputs": {key: info(*value) for key, value in one.inputs.items()},
            "outputs": {key: info(*value) for key, value in one.outputs.items()},
            "method_name": one.method,
            "defaults": {},
        }
        for name, one in model.signatures.items()
    }
    signatures["__saved_model_init_op"] = {"inputs": {}, "outputs": {}, "method_name": "", "defaults": {}}
    spec = {"name": model.name, "signature_name": "", "version": str(version)}
    return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}}


class FakeGrpc:
    """Answers over gRPC. Each item of `faults` is used up by one call: a function of its context, which aborts it."""

    def __init__(self, model: Model):
        import grpc
        from tensorflow_serving.apis import (
            get_model_metadata_pb2,
            model_service_pb2_grpc,
            prediction_service_pb2_grpc,
        )

        self.model, self.faults, self.requests = model, [], []
        self._metadata_pb2 = get_model_metadata_pb2
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.url = f"grpc://127.0.0.1:{self.port}"

    def __enter__(self) -> FakeGrpc:
        self._server.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._server.stop(None).wait()

    @contextlib.contextmanager
    def _answering(self, request: Any, context: Any):
        import grpc

        self.requests.append((request, dict(context.invocation_metadata())))
        if self.faults:
            self.faults.pop(0)(context)
        try:
            yield
        except RefusedError as error:
            context.abort(grpc.StatusCode[error.code], str(error))

    def _check(self, spec: Any) -> int:
        choice = spec.WhichOneof("version_choice")
        version = spec.version.value if choice == "version" else None
        return self.model.check(spec.name, version, spec.version_label if choice == "version_label" else None)

    def _spec(self, target: Any, request: Any, version: int) -> None:
        target.name, target.signature_name = request.model_spec.name, request.model_spec.signature_name
        target.version.value = version

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        with self._answering(request, context):
            version = self._check(request.model_spec)
            name = request.model_spec.signature_name
            signature = self.model.signature(name)
            arrays = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            arrays = {key: value.astype("f4") if value.dtype == tf.bfloat16 else value for key, value in arrays.items()}
            found = self.model.run(name, arrays)
            response = predict_pb2.PredictResponse()
            self._spec(response.model_spec, request, version)
            for key, value in found.items():
                if not request.output_filter or key in request.output_filter:
                    dtype = tf.dtypes.as_dtype(signature.outputs[key][0])
                    response.outputs[key].CopyFrom(tf.make_tensor_proto(value, dtype, value.shape))
            return response

    def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        from tensorflow_serving.apis import classification_pb2

        with self._answering(request, context):
            version, found = self._of_examples(request)
            response = classification_pb2.ClassificationResponse()
            self._spec(response.model_spec, request, version)
            for labels, scores in zip(found["classes"], found["scores"], strict=True):
                one = response.result.classifications.add()
                for label, score in zip(labels, scores, strict=True):
                    one.classes.add(label=label.decode(), score=score)
            return response

    def Regress(self, request: Any, context: Any) -> Any:  # noqa: N802
        from tensorflow_serving.apis import regression_pb2

        with self._answering(request, context):
            version, found = self._of_examples(request)
            response = regression_pb2.RegressionResponse()
            self._spec(response.model_spec, request, version)
            for value in next(iter(found.values())).ravel():
                response.result.regressions.add(value=value)
            return response

    def _of_examples(self, request: Any) -> tuple[int, dict[str, np.ndarray]]:
        version = self._check(request.model_spec)
        kind = request.input.WhichOneof("kind")
        examples = list(getattr(request.input, kind).examples)
        if kind == "example_list_with_context":
            for one in examples:
                for name, value in request.input.example_list_with_context.context.features.feature.items():
                    one.features.feature[name].CopyFrom(value)
        name = request.model_spec.signature_name
        written = [one.SerializeToString(deterministic=True) for one in examples]
        key = next(iter(self.model.signature(name).inputs))
        return version, self.model.run(name, {key: _objects(written)})

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        from google.protobuf import json_format

        with self._answering(request, context):
            version = self._check(request.model_spec)
            assert list(request.metadata_field) == ["signature_def"]
            response = self._metadata_pb2.GetModelMetadataResponse()
            self._spec(response.model_spec, request, version)
            document = _metadata(self.model, version)["metadata"]["signature_def"]
            signatures = json_format.ParseDict(document, self._metadata_pb2.SignatureDefMap())
            response.metadata["signature_def"].Pack(signatures)
            return response

    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        from tensorflow_serving.apis import get_model_status_pb2

        with self._answering(request, context):
            if request.model_spec.name != self.model.name:
                raise RefusedError("NOT_FOUND", f"Could not find any versions of model {request.model_spec.name}")
            response = get_model_status_pb2.GetModelStatusResponse()
            for number, state in self.model.states.items():
                response.model_version_status.add(version=number, state=state)
            return response

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    MultiInference = HandleReloadConfigRequest


def export_model(export: Any, name: str, version: int = 1) -> Model:
    """A model that answers with an export, loaded in this process."""
    import tensorflow as tf

    from tlkit.export.manifest import Manifest

    loaded = tf.saved_model.load(str(export))

    def runner(key: str) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
        def run(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            try:
                found = loaded.signatures[key](**{name: tf.constant(value) for name, value in arrays.items()})
            except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
                raise RefusedError("INVALID_ARGUMENT", error.message) from error
            return {name: value.numpy() for name, value in found.items()}

        return run

    signatures = {
        key: Signature(
            {name: (info.dtype, info.shape) for name, info in one.inputs.items()},
            {name: (info.dtype, info.shape) for name, info in one.outputs.items()},
            runner(key),
            one.method,
        )
        for key, one in Manifest.read(export).signatures.items()
    }
    model = Model(name, signatures, version, {version: "AVAILABLE"})
    model.loaded = loaded  # type: ignore[attr-defined]  # owns the variables
    return model
