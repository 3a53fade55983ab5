"""A small HTTP server that speaks TensorFlow Serving's REST predict, status and metadata for local use.

It is not TensorFlow Serving: one version in this process, no batching, no reloading.
"""

from __future__ import annotations

import json
import re
import urllib.parse
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import tensorflow as tf

from tlkit.serving.json_tensor import BadRequestError, from_arrays, parse_body, to_arrays
from tlkit.serving.servable import Servable

MAX_BODY_BYTES = 64 * 1024 * 1024
#: HTTP status by canonical error code (google/rpc/code.proto), as TensorFlow Serving maps them.
HTTP_STATUS = {
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    14: 503,
    16: 401,
}
_MAX_MESSAGE = 1024
_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<rest>/metadata|:predict|:classify|:regress)?",
    re.IGNORECASE,
)


class HttpError(Exception):
    """An answer other than 200: the status and the text under "error"."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class RestServer(ThreadingHTTPServer):
    """Serves one model version over HTTP.

    Example:
        >>> with RestServer(Servable("saved_models/photos"), port=0) as server:
        ...     print(server.url)
        ...     server.serve_forever()
        http://127.0.0.1:40213

    Args:
        servable: the loaded model.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        max_body_bytes: larger requests, also after gunzip, are refused with 413.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        servable: Servable,
        host: str = "127.0.0.1",
        port: int = 8501,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
    ):
        self.servable = servable
        self.max_body_bytes = max_body_bytes
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """The address under which this machine reaches the server."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that went away; errors of the model are answered, not raised."""

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any] | bytes:
        """Return the JSON answer of a request.

        Raises:
            HttpError: the request cannot be answered.
        """
        path = path.partition("?")[0]
        if not path.lower().startswith("/v1/"):
            raise HttpError(404, "Not found")
        match = _PATH.fullmatch(path)
        if match is None:
            if method == "GET" and re.fullmatch(r"/v1/models", path, re.IGNORECASE):
                raise HttpError(400, "Missing model name in request.")
            raise HttpError(400, f"Malformed request: {method} {path}")
        name = urllib.parse.unquote(match["name"])
        rest = (match["rest"] or "").lower()
        if (method == "POST") != rest.startswith(":"):
            raise HttpError(400, f"Malformed request: {method} {path}")
        if match["version"] and int(match["version"]) >= 2**63:
            raise HttpError(400, f"Malformed request: {method} {path}")
        self._check_model(name, match["version"], match["label"], rest)
        if not rest:
            return _status(self.servable.version)
        if rest == "/metadata":
            return self.servable.metadata()
        if rest != ":predict":
            raise HttpError(501, f"this local server answers :predict only, not {rest}")
        return self._predict(body)

    def _check_model(self, name: str, version: str | None, label: str | None, rest: str) -> None:
        served = self.servable
        if name != served.name:
            if not rest:
                raise HttpError(404, f"Could not find any versions of model {name}")
            wanted = f"Specific({name}, {int(version)})" if version else f"Latest({name})"
            raise HttpError(404, f"Servable not found for request: {wanted}")
        if version and int(version) != served.version:
            if not rest:
                raise HttpError(404, f"Could not find version {int(version)} of model {name}")
            raise HttpError(404, f"Servable not found for request: Specific({name}, {int(version)})")
        if label and rest:
            raise HttpError(400, f"Unrecognized servable version label: {urllib.parse.unquote(label)}")

    def _predict(self, body: bytes) -> bytes:
        request = parse_body(body)
        dtypes = self.servable.input_dtypes.get(request.signature_name)
        if dtypes is None:
            raise HttpError(
                400,
                f'Serving signature name: "{request.signature_name}" not found in signature def; '
                f"there are {', '.join(self.servable.input_dtypes)}",
            )
        return from_arrays(self.servable.run(request.signature_name, to_arrays(request, dtypes)), request.form)


def _status(version: int) -> dict[str, Any]:
    fine = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": str(version), "state": "AVAILABLE", "status": fine}]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RestServer
    timeout = 60  # seconds that a silent client may hold a thread
    # Without these two a response costs 40 ms: Nagle's algorithm waits for the client's delayed ACK.
    disable_nagle_algorithm = True
    wbufsize = 1 << 20

    def do_GET(self) -> None:
        self._respond("GET")

    def do_POST(self) -> None:
        self._respond("POST")

    def handle_expect_100(self) -> bool:
        going_on = super().handle_expect_100()
        self.wfile.flush()  # the client waits for this line before it sends the body
        return going_on

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: one line per request on stderr slows a small server down."""

    def _respond(self, method: str) -> None:
        status = 200
        try:
            body = self._read_body() if method == "POST" else b""
            answer = self.server.answer(method, self.path, body)
        except HttpError as error:
            status, answer = error.status, _error(str(error))
        except BadRequestError as error:
            status, answer = 400, _error(str(error))
        except tf.errors.OpError as error:
            status, answer = HTTP_STATUS.get(error.error_code, 500), _error(error.message or str(error))
        except (TypeError, ValueError) as error:  # the arrays do not fit the signature
            status, answer = 400, _error(str(error))
        except ConnectionError:
            self.close_connection = True
            return
        except Exception as error:  # noqa: BLE001  a request must not end the server
            status, answer = 500, _error(f"{type(error).__name__}: {error}")
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def _read_body(self) -> bytes:
        limit = self.server.max_body_bytes
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = self._read_chunks(limit)
        else:
            length = self.headers.get("Content-Length", "0")
            if not length.isdecimal():
                self.close_connection = True
                raise HttpError(400, f"Malformed request: Content-Length {length}")
            if int(length) > limit:
                raise self._too_large(limit)
            body = self.rfile.read(int(length))
            if len(body) < int(length):
                raise ConnectionAbortedError
        if self.headers.get("Content-Encoding", "").lower() == "gzip":
            body = _gunzip(body, limit)
        return body

    def _read_chunks(self, limit: int) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            size_text = self.rfile.readline(100).split(b";")[0].strip()
            try:
                size = int(size_text, 16)
            except ValueError:
                self.close_connection = True
                raise HttpError(400, "Malformed request: bad chunk") from None
            total += size
            if total > limit or size < 0:
                raise self._too_large(limit)
            if size == 0:
                while self.rfile.readline(65537).strip():
                    pass  # trailers
                return b"".join(parts)
            parts.append(self.rfile.read(size))
            self.rfile.readline(3)

    def _too_large(self, limit: int) -> HttpError:
        self.close_connection = True  # the unread body would be taken for the next request
        return HttpError(413, f"the request is larger than {limit} bytes")


def _gunzip(body: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise HttpError(400, f"Failed to uncompress the gzip body: {error}") from None
    if len(content) > limit:
        raise HttpError(413, f"the uncompressed request is larger than {limit} bytes")
    return content


def _error(message: str) -> dict[str, str]:
    return {"error": message[:_MAX_MESSAGE]}
