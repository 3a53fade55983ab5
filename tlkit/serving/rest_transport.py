"""A connection to TensorFlow Serving's REST interface.

urllib3 keeps the connections: it comes with TensorFlow (through requests), reuses and checks them, is safe for threads,
and notices an answer that ends early, of which http.client says nothing when it is read in pieces.
"""

from __future__ import annotations

import datetime
import email.utils
import json
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import urllib3
from urllib3 import exceptions

from tlkit.export.manifest import SignatureInfo, TensorInfo
from tlkit.serving import client_json, protos
from tlkit.serving.client_json import AnswerError
from tlkit.serving.status import Code
from tlkit.serving.tensor_proto import TensorError, dtype_name
from tlkit.serving.transport import ClassScore, ModelMetadata, ModelVersion, TransportError

_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    408: Code.DEADLINE_EXCEEDED,
    409: Code.ABORTED,
    413: Code.INVALID_ARGUMENT,
    429: Code.RESOURCE_EXHAUSTED,
    500: Code.INTERNAL,
    501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE,  # a proxy whose server is gone
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
_CONNECTIONS = 8  # that are kept
_PIECE = 1 << 18  # bytes


class RestTransport:
    """One model of a server, over HTTP.

    Example:
        >>> RestTransport("http://127.0.0.1:8501", "photos").status(10.0)
        [ModelVersion(version=3, state='AVAILABLE', error_code='OK', error_message='')]

    Args:
        url: http://HOST[:PORT] or https://, with a path if the server stands behind one.
        model: its name.
        version: the number to ask for; the server chooses when neither this nor `label` is given.
        label: the version label to ask for.
        headers: sent with every request.
        ca_file: PEM certificates to trust instead of the system's.
        client_cert, client_key: PEM files with which to identify oneself.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        headers: Mapping[str, str] | None = None,
        ca_file: str | Path | None = None,
        client_cert: str | Path | None = None,
        client_key: str | Path | None = None,
    ):
        parts = urllib.parse.urlsplit(url)
        tls = {"ca_certs": ca_file, "cert_file": client_cert, "key_file": client_key}
        given = {key: str(value) for key, value in tls.items() if value is not None}
        self._pool = urllib3.connection_from_url(
            f"{parts.scheme}://{parts.netloc}", maxsize=_CONNECTIONS, **(given if parts.scheme == "https" else {})
        )
        self._model = f"{parts.path.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}"
        self._path = self._model
        if version is not None:
            self._path += f"/versions/{version}"
        elif label is not None:
            self._path += f"/labels/{urllib.parse.quote(label, safe='')}"
        self._headers = {"Accept": "application/json", "Content-Type": "application/json", **(headers or {})}

    def metadata(self, timeout: float) -> ModelMetadata:
        """Ask for the signatures."""
        document = self._ask("GET", f"{self._path}/metadata", None, timeout)
        try:
            spec = document["model_spec"]
            found = document["metadata"]["signature_def"]["signature_def"]
            signatures = {
                name: SignatureInfo(
                    method=found[name]["method_name"],
                    inputs={key: _tensor_info(value) for key, value in sorted(found[name]["inputs"].items())},
                    outputs={key: _tensor_info(value) for key, value in sorted(found[name]["outputs"].items())},
                )
                for name in sorted(found)
                if not name.startswith("__")
            }
            return ModelMetadata(spec["name"], int(spec["version"]), signatures)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TransportError(Code.INTERNAL, f"invalid metadata: {type(error).__name__}: {error}") from None

    def status(self, timeout: float) -> list[ModelVersion]:
        """Ask for the states of the versions."""
        document = self._ask("GET", self._path, None, timeout)
        try:
            return [
                ModelVersion(int(one["version"]), one["state"], one["status"]["error_code"],
                             one["status"]["error_message"])
                for one in document["model_version_status"]
            ]  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise TransportError(Code.INTERNAL, f"invalid status: {type(error).__name__}: {error}") from None

    def predict(
        self,
        name: str,
        signature: SignatureInfo,
        inputs: dict[str, np.ndarray],
        wanted: Sequence[str],
        timeout: float,
    ) -> dict[str, np.ndarray]:
        """Run a signature; all outputs come, for REST knows no filter, and those that are not wanted are dropped."""
        try:
            columns = {key: client_json.to_json(value) for key, value in inputs.items()}
        except TensorError as error:
            raise TransportError(
                Code.INVALID_ARGUMENT, f"{error}; use grpc:// instead", answered=False, final=True
            ) from None
        document = self._post("predict", {"signature_name": name, "inputs": columns}, timeout)
        with _form():
            outputs = client_json.outputs_from_json(_field(document, "outputs"), signature.outputs)
        return {key: value for key, value in outputs.items() if not wanted or key in wanted}

    def classify(self, name: str, examples: Sequence[Any], context: Any, timeout: float) -> list[list[ClassScore]]:
        """Classify tf.Examples."""
        document = self._post("classify", _examples(name, examples, context), timeout)
        with _form():
            return client_json.classes_from_json(_field(document, "results"))

    def regress(self, name: str, examples: Sequence[Any], context: Any, timeout: float) -> np.ndarray:
        """Give a float32 for each tf.Example."""
        document = self._post("regress", _examples(name, examples, context), timeout)
        with _form():
            return client_json.values_from_json(_field(document, "results"))

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.close()

    def _post(self, method: str, document: dict[str, Any], timeout: float) -> dict[str, Any]:
        return self._ask("POST", f"{self._path}:{method}", client_json.dumps(document), timeout)

    def _ask(self, method: str, path: str, body: bytes | None, timeout: float) -> dict[str, Any]:
        """Send a request and read its answer.

        Raises:
            TransportError: there is none, it is an error, or no JSON.
        """
        end = time.monotonic() + timeout
        try:
            answer = self._pool.urlopen(
                method, path, body, headers=self._headers, retries=False, redirect=False, preload_content=False,
                timeout=urllib3.Timeout(total=timeout),
            )  # fmt: skip
            content = _read(answer, end)
        except (exceptions.ReadTimeoutError, TimeoutError):
            raise TransportError(Code.DEADLINE_EXCEEDED, f"timed out after {timeout:.3g} s", answered=False) from None
        except exceptions.ConnectTimeoutError as error:  # which a refused connection is a kind of, in urllib3's tree
            refused = isinstance(error, exceptions.NewConnectionError)
            code = Code.UNAVAILABLE if refused else Code.DEADLINE_EXCEEDED
            raise TransportError(code, _reason(error), answered=False) from None
        except exceptions.SSLError as error:
            raise TransportError(Code.UNAVAILABLE, f"TLS: {_reason(error)}", answered=False, final=True) from None
        except (exceptions.HTTPError, OSError) as error:
            raise TransportError(Code.UNAVAILABLE, _reason(error), answered=False) from None
        if answer.status != 200:
            code = _CODES.get(answer.status, Code.UNKNOWN)
            wait = _seconds(answer.headers.get("Retry-After"))
            raise TransportError(code, f"HTTP {answer.status}: {_error_text(content)}", wait=wait)
        with _form():
            return client_json.loads(content)


class _form:  # noqa: N801 - reads as a word where it is used
    """Turns an answer of another form into a `TransportError`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, AnswerError):
            raise TransportError(Code.INTERNAL, str(error)) from None


def _read(answer: urllib3.BaseHTTPResponse, end: float) -> bytes:
    """Read a body piece by piece: a server that sends a byte now and then must not hold us for ever."""
    pieces = []
    try:
        while piece := answer.read1(_PIECE):
            pieces.append(piece)
            if time.monotonic() > end:
                raise TimeoutError
    except BaseException:
        answer.close()
        raise
    answer.release_conn()
    return b"".join(pieces)


def _field(document: dict[str, Any], name: str) -> Any:
    if name not in document:
        raise AnswerError(f"the response has no {name!r} but {sorted(document)}")
    return document[name]


def _examples(name: str, examples: Sequence[Any], context: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "signature_name": name,
        "examples": [client_json.example_to_json(example) for example in examples],
    }
    if context is not None:
        document["context"] = client_json.example_to_json(context)
    return document


def _tensor_info(document: dict[str, Any]) -> TensorInfo:
    shape = document["tensor_shape"]
    sizes = [int(dim["size"]) for dim in shape["dim"]]
    return TensorInfo(
        dtype=dtype_name(protos.DataType.Value(document["dtype"])),
        shape=None if shape["unknown_rank"] else tuple(None if size < 0 else size for size in sizes),
    )


def _error_text(content: bytes) -> str:
    text = content.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and isinstance(document.get("error"), str):
        text = document["error"]
    return " ".join(text.split())[:1024] or "no reason given"


def _reason(error: Exception) -> str:
    text = str(error)
    # urllib3 begins with the object that failed.
    return text.partition("): ")[2] or text or type(error).__name__


def _seconds(header: str | None) -> float | None:
    """Read Retry-After: seconds, or a date (RFC 9110, 10.2.3)."""
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
