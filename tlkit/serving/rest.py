"""TensorFlow Serving's REST interface in front of a fleet of models: an ASGI app, and uvicorn's settings for it.

It is not TensorFlow Serving. Bodies are not looked into here: they go to the process that holds the models as they are.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import urllib.parse
from collections.abc import Sequence
from typing import Any

import fastapi
import uvicorn
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tlkit.serving import metrics as metrics_page
from tlkit.serving.access_log import AccessLog
from tlkit.serving.draining import Draining
from tlkit.serving.http_access import HttpAccess
from tlkit.serving.http_guard import GuardedApp, HttpLimits, guarded_protocol
from tlkit.serving.metrics import Metrics
from tlkit.serving.request_body import ClientGoneError, RequestBodies
from tlkit.serving.served_fleet import ServedFleet
from tlkit.serving.status import MAX_MESSAGE, Code, ServingError
from tlkit.serving.tls import Tls

log = logging.getLogger("tlkit.serving")

MAX_BODY_BYTES = 64 * 1024 * 1024
_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
# http_rest_api_util.cc's two patterns.
_CALL = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<metadata>metadata))?", re.IGNORECASE)
# An unread body up to this size is read and forgotten, so that the connection can be kept.
_SMALL_BODY = 64 * 1024
_ALLOW = (b"allow", b"GET, POST, OPTIONS")


def rest_app(
    fleet: ServedFleet,
    *,
    max_body_bytes: int = MAX_BODY_BYTES,
    timeout: float = 60.0,
    access_log: AccessLog | None = None,
    metrics: Metrics | None = None,
    ui: bool = False,
    metrics_path: str = metrics_page.PATH,
    limits: HttpLimits | None = None,
    access: HttpAccess | None = None,
    draining: Draining | None = None,
) -> fastapi.FastAPI:
    """Return the app that answers REST requests.

    Example:
        >>> app = rest_app(fleet, timeout=30)
        >>> uvicorn.Server(uvicorn_config(app, host="127.0.0.1", port=8501)).run()

    Args:
        fleet: the served models.
        max_body_bytes: larger requests, also after gunzip, are refused with 413.
        timeout: seconds for a request, from its body's end; then 504.
        access_log: where each request is noted; None notes nothing.
        metrics: what counts them; None neither counts nor serves a page of metrics.
        ui: also serve the page to try the models at /.
        metrics_path: where the metrics are.
        limits: of heads, times and connections.
        access: which hosts and origins are allowed; None allows all.
        draining: says when the server stops.
    """
    limits = limits or HttpLimits()
    app = fastapi.FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI records and may export spans and exceptions on its own; nothing leaves this server unasked.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        middleware=[Middleware(GuardedApp, limits=limits, access_log=access_log, access=access)],
        exception_handlers={HTTPException: _http_exception, Exception: _exception},
    )
    app.state.limits, app.state.access_log = limits, access_log
    if metrics is not None:

        async def page(_: Request) -> Response:
            return Response(metrics.page(fleet), media_type="text/plain; version=0.0.4; charset=utf-8")

        app.add_route(metrics_path, page, methods=["GET"])
    # What no route knows, which is all of /v1/: a route would decode a name's %2F before it matches, and stop at %0A.
    app.router.default = _Endpoint(fleet, max_body_bytes, timeout, metrics, draining or Draining())
    if ui:
        from tlkit.serving.page import add_page

        add_page(app, fleet)
    return app


def uvicorn_config(
    app: fastapi.FastAPI, host: str, port: int, *, tls: Tls | None = None, graceful_seconds: int = 10
) -> uvicorn.Config:
    """Return the settings to run the app with.

    Args:
        app: from `rest_app`.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        tls: certificate and key; plain HTTP where it is None.
        graceful_seconds: how long requests may go on after the server was told to stop.
    """
    limits: HttpLimits = app.state.limits
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="asyncio",
        http=guarded_protocol(limits, app.state.access_log),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # a client's nonsense is no warning
        access_log=False,
        server_header=False,
        proxy_headers=False,  # anybody could claim any address
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=graceful_seconds,
        h11_max_incomplete_event_size=limits.head_bytes,
        ssl_context_factory=None if tls is None else lambda config, default: tls.context(),
    )


class _Endpoint:
    """A raw ASGI app: no request is parsed twice, and the answer is two messages."""

    def __init__(
        self, fleet: ServedFleet, max_body_bytes: int, timeout: float, metrics: Metrics | None, draining: Draining
    ):
        self.fleet, self.timeout, self.metrics, self.draining = fleet, timeout, metrics, draining
        self.bodies = RequestBodies(max_body_bytes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = _Request(scope)
        metrics = self.metrics
        headers = [(b"content-type", b"application/json")]
        status, code = 200, Code.OK
        began = time.perf_counter()
        if metrics is not None:
            metrics.requests_in_flight["REST"] += 1
        try:
            content = await self._answer(request, receive)
        except ClientGoneError:
            content, code = b"", Code.CANCELLED
        except ServingError as error:
            status, code = error.http_status, error.code
            content = json.dumps({"error": error.message[:MAX_MESSAGE]}).encode("ascii")
            headers += request.headers_of_error(status)
            if metrics is not None:
                metrics.observe_error(error)
        except Exception as error:  # a mistake of ours must not end the connection, nor go unseen
            log.exception("%s %s failed", request.method, request.path)
            status, code = 500, Code.INTERNAL
            content = json.dumps({"error": f"{type(error).__name__}: {error}"[:MAX_MESSAGE]}).encode("ascii")
            headers += request.headers_of_error(status)
        finally:
            if metrics is not None:
                metrics.requests_in_flight["REST"] -= 1
        if metrics is not None and request.path[:4].lower() == "/v1/":
            known = request.name if code is Code.OK or request.name in self.fleet.models() else ""
            metrics.observe_request("REST", known, request.method_of_model, code, time.perf_counter() - began)
        if code is Code.CANCELLED:
            return
        if request.method == "OPTIONS":
            headers.append(_ALLOW)
        headers.append((b"content-length", b"%d" % len(content)))
        if self.draining.has_begun and (b"connection", b"close") not in headers:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, request: _Request, receive: Any) -> bytes:
        if not request.path.lower().startswith("/v1/"):
            raise ServingError(Code.NOT_FOUND, "Not found")
        if request.method == "OPTIONS":
            # As TensorFlow Serving without --enable_cors: the answer allows no other origin anything.
            if b"://" not in request.header(b"origin"):
                raise ServingError(Code.FAILED_PRECONDITION, "Origin header is missing in CORS preflight")
            return b""
        request.route()
        name, version = request.name, request.version
        if request.method_of_model:
            with self.draining.request():
                try:
                    found = self.fleet.resolve(name, version, request.label)
                except ServingError:
                    await self._check_body(request, receive)
                    raise
                return await self._call(request, found, receive)
        if request.wants_metadata:
            self.draining.check()  # it is asked for readiness
            return _json(self.fleet.metadata(name, self.fleet.resolve(name, version, request.label)))
        return _json(_statuses(self.fleet.statuses(name, version)))  # a label is ignored here, as there

    async def _check_body(self, request: _Request, receive: Any) -> None:
        """Raise what is wrong with the body of a request for a model that does not answer.

        TensorFlow Serving parses a body before it looks for the model. A client that asks before
        it sends one is spared.
        """
        if request.header(b"expect"):
            return
        body = await self.bodies.read(request.headers, receive)
        request.body_is_read = True
        try:
            await self.fleet.check_body(method=request.method_of_model, body=body, timeout=self.timeout)
        finally:
            self.bodies.release(body)

    async def _call(self, request: _Request, version: int, receive: Any) -> bytes:
        body = await self.bodies.read(request.headers, receive)
        request.body_is_read = True
        try:
            async with asyncio.timeout(self.timeout):
                call = self.fleet.call(
                    request.name, version, api="rest", method=request.method_of_model, body=body, timeout=self.timeout
                )
                answer = await _while_connected(call, receive)
        except TimeoutError:
            raise ServingError(
                Code.DEADLINE_EXCEEDED, f"the request timed out after {self.timeout:g} seconds"
            ) from None
        finally:
            self.bodies.release(body)
        if self.metrics is not None:
            self.metrics.observe_runtime(request.name, request.method_of_model, answer.runtime_us)
        content: bytes = answer.body
        return content


class _Request:
    """What a request's first line and headers say."""

    def __init__(self, scope: Any):
        self.method: str = scope["method"]
        # As in TensorFlow Serving, what follows the path is a part of it, so that no pattern knows it.
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        self.path: str = (scope["raw_path"] + query).decode("latin-1")
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.name, self.version, self.label = "", None, None
        self.method_of_model, self.wants_metadata, self.body_is_read = "", False, False

    name: str
    version: int | None
    label: str | None

    def route(self) -> None:
        """Read the path.

        Raises:
            ServingError: TensorFlow Serving would not know it.
        """
        pattern = {"POST": _CALL, "GET": _STATUS}.get(self.method)
        match = pattern.fullmatch(self.path) if pattern is not None else None
        found = match.groupdict() if match is not None else {}
        # The patterns ignore case, but a method is only known in small letters.
        if match is None or (found.get("method") or "").lower() != (found.get("method") or ""):
            raise ServingError(Code.INVALID_ARGUMENT, f"Malformed request: {self.method} {self.path}")
        if match["version"]:
            # Python refuses to read numbers of more than 4,300 digits.
            digits = match["version"].lstrip("0") or "0"
            if len(digits) > 19 or int(digits) >= 2**63:
                message = f"Failed to convert version: {match['version']} to numeric."
                raise ServingError(Code.INVALID_ARGUMENT, message)
            self.version = int(digits)
        self.name = urllib.parse.unquote(match["name"] or "")
        if not self.name:
            raise ServingError(Code.INVALID_ARGUMENT, "Missing model name in request.")
        self.label = urllib.parse.unquote(match["label"]) if match["label"] else None
        self.method_of_model = found.get("method") or ""
        self.wants_metadata = found.get("metadata") == "metadata"  # in capitals it is a request for the status

    def header(self, wanted: bytes) -> bytes:
        """Give a header's value, or nothing."""
        return next((value for name, value in self.headers if name == wanted), b"")

    def headers_of_error(self, status: int) -> list[tuple[bytes, bytes]]:
        """Say when to come again, what is allowed, and whether the connection cannot be kept."""
        found = []
        if status in (429, 503):
            found.append((b"retry-after", b"1"))
        if self.method not in ("GET", "POST", "OPTIONS"):
            found.append(_ALLOW)
        length = self.header(b"content-length") or b"0"
        long = int(length) > _SMALL_BODY or self.header(b"transfer-encoding") or self.header(b"expect")
        if long and not self.body_is_read:  # what is still to come would have to be read and forgotten
            found.append((b"connection", b"close"))
        return found


async def _while_connected(call: Any, receive: Any) -> Any:
    """Wait for a call, but end it as soon as the client is gone."""
    mine = asyncio.current_task()
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        if mine is not None:
            mine.cancel()

    watcher = asyncio.create_task(watch())
    try:
        return await call
    except asyncio.CancelledError:
        if gone and mine is not None and mine.uncancel() == 0:
            raise ClientGoneError from None
        raise
    finally:
        watcher.cancel()


def _statuses(statuses: Sequence[Any]) -> dict[str, Any]:
    listed = [
        {
            "version": str(one.version),
            "state": one.state,
            "status": {"error_code": Code(one.code).name, "error_message": one.message},
        }
        for one in statuses
    ]
    return {"model_version_status": listed}


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode("ascii")


async def _http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)[:MAX_MESSAGE]}, error.status_code, error.headers)


async def _exception(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"{type(error).__name__}: {error}"[:MAX_MESSAGE]}, 500)
