"""Reads the body of a request under limits: its size, its size when unpacked, and what all of them hold together."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from tlkit.serving.status import Code, ServingError

_CHUNK = 64 * 1024
# Unpacking so many bytes makes at most a megabyte: quicker here than in a thread.
_QUICK_GZIP_BYTES = 1024
# Each new member copies what is left of a chunk; millions of empty ones would cost minutes.
_MAX_GZIP_MEMBERS = 10_000


class ClientGoneError(Exception):
    """The client has closed its connection, so nobody waits for an answer."""


class RequestBodies:
    """Reads bodies for one server.

    Example:
        >>> bodies = RequestBodies(64 * 2**20)
        >>> body = await bodies.read(scope["headers"], receive)
        >>> bodies.release(body)

    Args:
        max_bytes: of one body, packed and unpacked.
        max_held_bytes: of all bodies that are being read or answered; 8 of the largest by default.
    """

    def __init__(self, max_bytes: int, max_held_bytes: int | None = None):
        self.max_bytes = max_bytes
        self._left = max_held_bytes or 8 * max_bytes

    async def read(
        self, headers: Sequence[tuple[bytes, bytes]], receive: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> bytes:
        """Return the body of a request, unpacked.

        Args:
            headers: the request's, with names in small letters.
            receive: ASGI's.

        Raises:
            ServingError: 413 and its kin.
            ClientGoneError: the connection has ended.
        """
        encoding = _encoding(headers)
        length = next((value for name, value in headers if name == b"content-length"), b"0")
        if int(length) > self.max_bytes:
            raise self._too_large("")
        parts: list[bytes] = []
        total = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                part = message.get("body", b"")
                total += len(part)
                self._left -= len(part)
                if total > self.max_bytes:
                    raise self._too_large("")
                if self._left < 0:
                    raise ServingError(Code.RESOURCE_EXHAUSTED, "the requests in flight use too much memory")
                parts.append(part)
                if not message.get("more_body"):
                    break
        except BaseException:
            self._left += total
            raise
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if encoding != "gzip" or not body:
            return body
        self._left += total  # the unpacked body takes its place
        if len(body) <= _QUICK_GZIP_BYTES:
            content = self._gunzip(body)
        else:
            content = await asyncio.to_thread(self._gunzip, body)
        self._left -= len(content)
        return content

    def release(self, body: bytes) -> None:
        """Say that a body is answered."""
        self._left += len(body)

    def _too_large(self, which: str) -> ServingError:
        message = f"the {which}request is larger than {self.max_bytes} bytes"
        return ServingError(Code.INVALID_ARGUMENT, message, http_status=413)

    def _gunzip(self, body: bytes) -> bytes:
        try:
            content = gunzip(body, self.max_bytes)
        except zlib.error as error:
            raise ServingError(Code.INVALID_ARGUMENT, f"Failed to uncompress the gzip body: {error}") from None
        if content is None:
            raise self._too_large("uncompressed ")
        return content


def gunzip(body: bytes, limit: int) -> bytes | None:
    """Unpack gzip data of one or more members.

    Args:
        body: the packed bytes.
        limit: the most unpacked bytes.

    Returns:
        The unpacked bytes, or None as soon as there are more than `limit`.

    Raises:
        zlib.error: it is no gzip data, or its end is missing.
    """
    content = bytearray()
    view = memoryview(body)
    unpacker = zlib.decompressobj(wbits=31)
    position, members = 0, 1
    while position < len(view):
        if unpacker.eof:
            unpacker = zlib.decompressobj(wbits=31)
            members += 1
            if members > _MAX_GZIP_MEMBERS:
                raise zlib.error(f"more than {_MAX_GZIP_MEMBERS} members")
        chunk = view[position : position + _CHUNK]
        content += unpacker.decompress(chunk, limit + 1 - len(content))
        if len(content) > limit:
            return None
        position += len(chunk) - len(unpacker.unused_data) - len(unpacker.unconsumed_tail)
    if not unpacker.eof:
        raise zlib.error("the end is missing")
    return bytes(content)


def _encoding(headers: Sequence[tuple[bytes, bytes]]) -> str:
    named = [value.decode("latin-1").strip().lower() for name, value in headers if name == b"content-encoding"]
    found = [one for one in named if one not in ("", "identity")]
    if not found:
        return ""
    if found in (["gzip"], ["x-gzip"]):
        return "gzip"
    message = f"Content-Encoding {', '.join(found)[:100]} is not supported; send gzip or nothing"
    raise ServingError(Code.INVALID_ARGUMENT, message, http_status=415)
