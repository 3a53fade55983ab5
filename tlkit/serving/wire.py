"""Frames between the server and the process that holds the models: a JSON header and raw bytes, never pickle.

A frame is two unsigned 32-bit sizes (big-endian), the header as UTF-8 JSON, and the payload. Both sides are ours
and of one version, so a frame that does not fit this form ends the connection.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

_SIZES = struct.Struct("!II")
#: Larger frames are a bug, not a request: bodies are limited far below this.
MAX_FRAME_BYTES = 2**31 - 1


class WireError(ConnectionError):
    """The other side sent something that is no frame."""


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """Return the bytes of a frame.

    Args:
        header: what JSON can hold.
        payload: any bytes.

    Returns:
        Sizes, header and payload in one piece, for one write.
    """
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    return b"".join((_SIZES.pack(len(text), len(payload)), text, payload))


def receive(connection: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    """Read one frame from a blocking socket.

    Args:
        connection: a connected stream socket.

    Returns:
        Header and payload, or None when the other side has closed between two frames.

    Raises:
        WireError: the connection ended inside a frame, or the frame is malformed.
    """
    sizes = _read(connection, _SIZES.size)
    if not sizes:
        return None
    header_size, payload_size = _checked(sizes)
    body = memoryview(_read(connection, header_size + payload_size))
    if len(body) < header_size + payload_size:
        raise WireError("the connection closed inside a frame")
    return _header(bytes(body[:header_size])), bytes(body[header_size:])


async def receive_async(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes] | None:
    """Read one frame from an asyncio stream: `receive` for the event loop."""
    try:
        sizes = await reader.readexactly(_SIZES.size)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise WireError("the connection closed inside a frame") from None
        return None
    header_size, payload_size = _checked(sizes)
    try:
        text = await reader.readexactly(header_size)
        payload = await reader.readexactly(payload_size)
    except asyncio.IncompleteReadError:
        raise WireError("the connection closed inside a frame") from None
    return _header(text), payload


def _read(connection: socket.socket, size: int) -> bytearray:
    buffer = bytearray(size)
    view = memoryview(buffer)
    done = 0
    while done < size:
        count = connection.recv_into(view[done:])
        if not count:
            break
        done += count
    if 0 < done < size:
        raise WireError("the connection closed inside a frame")
    return buffer if done else bytearray()


def _checked(sizes: bytes | bytearray) -> tuple[int, int]:
    header_size, payload_size = _SIZES.unpack(sizes)
    if header_size + payload_size > MAX_FRAME_BYTES:
        raise WireError(f"a frame of {header_size + payload_size} bytes is too large")
    return header_size, payload_size


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError as error:
        raise WireError(f"a frame's header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise WireError("a frame's header is not an object")
    return header
