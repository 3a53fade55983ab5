"""Limits where HTTP is read: what a client may send before it has proved to be one, and how long it may take.

h11 reads the requests: it is strict, holds the head of a request below a limit, and is pure Python. httptools' parser
saves 0.08 ms of a request's 0.13 ms (measured with one kept connection on two cores), has no such limit, and is
a compiled dependency more; beside a model's milliseconds that is a bad bargain.

uvicorn has options for the size of an incomplete head and the time of an unused connection, and none for the rest of
`HttpLimits`; what subclasses and wraps its parts here is what the tests of slow and hostile clients need.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tlkit.serving.access_log import AccessLog
from tlkit.serving.http_access import HttpAccess

_LINGER_BYTES = 16 * 2**20
#: Where the protocol tells the app in a scope that it has answered itself: status and bytes.
REFUSED = "tlkit.refused"


@dataclass(frozen=True)
class HttpLimits:
    """What one client, and all of them, may take.

    Args:
        connections: at a time; a new one takes the place of the one that is idle longest, or is answered 503.
        head_bytes: of a request's first line and headers.
        headers: of a request.
        head_seconds: for a request's head, and for the first byte on a new connection.
        body_seconds: for a request's body, and one second more for each `body_bytes_per_second` that came.
        body_bytes_per_second: the pace that is slow enough.
        idle_seconds: an unused connection is kept for so long.
        write_seconds: for a client to take the rest of a response, after `idle_seconds` or when the server closes.
        linger_seconds: what a refused client still sends is thrown away for so long, so that it reads the answer.
    """

    connections: int = 512
    head_bytes: int = 32 * 1024
    headers: int = 100
    head_seconds: float = 10.0
    body_seconds: float = 20.0
    body_bytes_per_second: int = 256 * 1024
    idle_seconds: int = 60
    write_seconds: float = 60.0
    linger_seconds: float = 2.0


def guarded_protocol(limits: HttpLimits, access_log: AccessLog | None = None) -> type[H11Protocol]:
    """Return uvicorn's HTTP protocol with limits, for `uvicorn.Config(http=...)`.

    Every answer that comes from the protocol itself is JSON, too, and stands in the access log.

    Args:
        limits: what is allowed.
        access_log: where refusals are noted.
    """
    return type("GuardedProtocol", (_GuardedProtocol,), {"limits": limits, "log": access_log})


class _GuardedProtocol(H11Protocol):
    limits: HttpLimits
    log: AccessLog | None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._phase, self._began, self._received = "", self.loop.time(), 0
        self._alarm: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._lingers, self._linger_left = False, _LINGER_BYTES
        self._since = self.loop.time()
        full = len(self.connections) >= self.limits.connections and not self._make_room()
        super().connection_made(cast("asyncio.Transport", _OneWrite(transport, self)))
        if full:
            self._refuse(503, "too many connections; try again later")
        else:
            self._enter("idle")

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            self._linger_left -= len(data)
            if self._linger_left < 0:
                self.transport.abort()
            return
        # h11 looks at its limit only when a head is incomplete, so no piece may be longer than that: parsing 250 kB of
        # short headers takes 220 ms, refusing them after the first piece 1 ms.
        size = self.limits.head_bytes
        for start in range(0, len(data), size):
            super().data_received(data if len(data) <= size else data[start : start + size])
            if self.transport.is_closing():
                return
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            self._received += len(data)
            self._enter("body")
        else:
            self._enter("head" if state is h11.IDLE else "")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._since = self.loop.time()
        if self.transport.is_closing():
            return
        # The next request may have come with the last one; between requests uvicorn's timer watches.
        self._enter("body" if self.conn.their_state is h11.SEND_BODY else "")

    def connection_lost(self, exc: Exception | None) -> None:
        self._enter("")
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        seconds = self.limits.idle_seconds + self.limits.write_seconds
        self._unread = self.loop.call_later(seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def send_400_response(self, msg: str) -> None:
        error = sys.exception()  # uvicorn calls this while it handles h11's
        hint = getattr(error, "error_status_hint", 400)
        running = self.cycle is not None and not self.cycle.response_complete
        if hint == 431 and not running:  # h11 says the same of the line before a chunk
            self._refuse(431, f"the request headers are larger than {self.limits.head_bytes} bytes")
        else:
            self._refuse(501 if hint == 501 else 400, msg)

    def linger(self) -> bool:
        """Go on reading, and forgetting, what the client sends: closing now would destroy the answer on its way."""
        if self.conn.their_state not in (h11.SEND_BODY, h11.ERROR, h11.IDLE) or not self.transport.can_write_eof():
            return False
        self._lingers = True
        self._enter("")
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(self.limits.linger_seconds, self.transport.abort)
        return True

    def _make_room(self) -> bool:
        idle = [one for one in self.connections if isinstance(one, _GuardedProtocol) and one._is_idle()]
        if not idle:
            return False
        min(idle, key=lambda one: one._since).transport.abort()
        return True

    def _is_idle(self) -> bool:
        """Nothing of a request has come since the last answer."""
        if self.transport is None or self.transport.is_closing():
            return False
        return self.conn.their_state is h11.IDLE and self._phase != "head"

    def _enter(self, phase: str) -> None:
        """Watch the time of a phase, from the first call that names it."""
        if phase == self._phase:
            return
        self._phase = phase
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if phase:
            self._began, self._received = self.loop.time(), 0
            seconds = self.limits.body_seconds if phase == "body" else self.limits.head_seconds
            self._alarm = self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self._phase == "body":
            paid = self._received / self.limits.body_bytes_per_second
            left = self._began + self.limits.body_seconds + paid - self.loop.time()
            if left > 0.01:
                self._alarm = self.loop.call_later(left, self._late)
                return
        if self._phase == "idle":
            self.transport.close()
        else:
            self._refuse(408, f"the request's {self._phase} took too long")

    def _refuse(self, status: int, message: str) -> None:
        self._unset_keepalive_if_required()
        running = self.cycle is not None and not self.cycle.response_complete
        if (running and self.cycle.response_started) or self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()  # there is an answer already
            return
        content = json.dumps({"error": message}).encode("ascii")
        if running:
            self.cycle.disconnected = True
            cast("dict[str, Any]", self.scope)[REFUSED] = (status, len(content))
            self.cycle.message_event.set()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii"))
        self.transport.write(content)
        if self.log is not None and not running:  # else GuardedApp notes it
            client = f"{self.client[0]}:{self.client[1]}" if self.client else ""
            self.log.write(client, "-", "-", status, len(content), self.loop.time() - self._began)
        self.transport.close()


class _OneWrite:
    """A transport that holds an answer's head back until its body comes: one packet, and one wake-up of the client."""

    def __init__(self, transport: asyncio.Transport, protocol: _GuardedProtocol):
        self._transport, self._protocol = transport, protocol
        self._head: bytes | None = None
        self._closing = False
        connection = transport.get_extra_info("socket")
        # asyncio does this only for sockets that were made with their protocol's number; without it a request on a
        # kept connection can cost 40 ms, Nagle's algorithm waiting for the client's delayed acknowledgement.
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.writelines((head, data))
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1"):
            self._head = data
        else:
            self._transport.write(data)

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        if self._closing:
            return
        if self._head is not None:
            self.write(b"")
        lingers = not self._transport.is_closing() and self._protocol.linger()
        self._closing = True
        if lingers:
            return
        # Asked before: asyncio's transport of TLS has no buffer once it is closed, and says so by an error.
        is_unsent = not self._transport.is_closing() and self._transport.get_write_buffer_size() > 0
        self._transport.close()
        if is_unsent:
            self._protocol.loop.call_later(self._protocol.limits.write_seconds, self._transport.abort)


class GuardedApp:
    """The outermost part of the ASGI app: refuses heads that are too large or ambiguous, or that come from elsewhere.

    It also writes the access log.

    Args:
        app: what answers.
        limits: what is allowed.
        access_log: where each request is noted; None notes nothing.
        access: which hosts and origins are allowed; None allows all.
    """

    def __init__(self, app: Any, limits: HttpLimits, access_log: AccessLog | None, access: HttpAccess | None = None):
        self.app, self.limits, self.access_log, self.access = app, limits, access_log, access

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status, size = 499, 0  # what the log says where nobody waited for the answer

        async def noted(message: Any) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                size += len(message.get("body", b""))
            await send(message)

        if self.access_log is None:
            await self._answer(scope, receive, send)
            return
        try:
            await self._answer(scope, receive, noted)
        finally:
            client = scope.get("client")
            status, size = scope.get(REFUSED, (status, size))
            self.access_log.write(
                f"{client[0]}:{client[1]}" if client else "",
                scope["method"],
                scope["raw_path"].decode("latin-1"),
                status,
                0 if scope["method"] == "HEAD" else size,
                time.perf_counter() - began,
            )

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        headers = scope["headers"]
        if not scope["http_version"].startswith("1."):
            await _refuse_head(send, "only HTTP/1.1 and HTTP/1.0 are supported", 505)
        elif {b"content-length", b"transfer-encoding"} <= {name for name, _ in headers}:
            # A proxy before this server may believe the other one, and take a part of this body for a request.
            await _refuse_head(send, "a request must not have both Content-Length and Transfer-Encoding", 400)
        elif len(headers) > self.limits.headers:
            await _refuse_head(send, f"the request has more than {self.limits.headers} headers")
        elif _head_bytes(scope) > self.limits.head_bytes:
            await _refuse_head(send, f"the request headers are larger than {self.limits.head_bytes} bytes")
        else:
            await self._admit(scope, receive, send)

    async def _admit(self, scope: Any, receive: Any, send: Any) -> None:
        if self.access is None:
            await self.app(_origin_form(scope), receive, send)
            return
        headers = scope["headers"]
        # A preflight of a foreign page is answered as TensorFlow Serving does: well, but it allows nothing.
        refusal = self.access.refusal(headers, scope["raw_path"], preflight=scope["method"] == "OPTIONS")
        if refusal:
            await _refuse_head(send, refusal, 403)
            return
        scope = _origin_form(scope)
        more = self.access.response_headers(headers) if scope["raw_path"][:4].lower() == b"/v1/" else []

        async def allowed(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        await self.app(scope, receive, allowed if more else send)


def _head_bytes(scope: Any) -> int:
    first = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"]) + 14
    return first + sum(len(name) + len(value) + 4 for name, value in scope["headers"])


def _origin_form(scope: Any) -> Any:
    """Take http://host off a path: every server must accept what is meant for proxies (RFC 9112, 3.2.2)."""
    raw: bytes = scope["raw_path"]
    if raw[:1] == b"/" or not raw.lower().startswith((b"http://", b"https://")):
        return scope
    path = b"/" + raw.split(b"/", 3)[3] if raw.count(b"/") > 2 else b"/"
    return {**scope, "raw_path": path, "path": path.decode("ascii", "replace")}


async def _refuse_head(send: Any, message: str, status: int = 431) -> None:
    content = json.dumps({"error": message}).encode("ascii")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(content)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
