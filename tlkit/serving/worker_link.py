"""The connection to one worker process: frames in and out, and why it ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from tlkit.serving.wire import pack, receive_async
from tlkit.serving.worker_process import WorkerProcess
from tlkit.serving.worker_stderr import WorkerStderr

_READ_AHEAD = 1 << 22


class WorkerLink:
    """Reads what a worker says, from `open` until it ends.

    Example:
        link = WorkerLink(WorkerProcess(), take)
        await link.open()
        link.send({"op": "ping", "id": 1})
        reason = await link.ended()

    Args:
        worker: the process.
        on_frame: called with header and payload of each frame, in the event loop; it may be replaced at any time.

    Attributes:
        stderr: what the process writes there.
    """

    stderr: WorkerStderr
    _writer: asyncio.StreamWriter
    _reading: asyncio.Task[str]

    def __init__(self, worker: WorkerProcess, on_frame: Callable[[dict[str, Any], bytes], None]):
        self.worker, self.on_frame = worker, on_frame

    async def open(self) -> None:
        """Begin to read."""
        reader, self._writer = await _open_stream(self.worker.connection)
        self.stderr = WorkerStderr(self.worker.process.stderr)
        self._reading = asyncio.create_task(self._read(reader))

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Send a frame; a worker that has ended is noticed by `ended`."""
        self._writer.write(pack(header, payload))

    @property
    def has_ended(self) -> bool:
        """The worker has closed its connection."""
        return self._reading.done()

    async def ended(self) -> str:
        """Wait until the worker has ended, kill it if it does not end by itself, and return why it did."""
        what = await asyncio.shield(self._reading)
        code = await asyncio.to_thread(_last_breath, self.worker)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = self.stderr.last_words()
        return f"the worker process {what} ({how})" + (f": {said[:300]}" if said else "")

    def close(self) -> None:
        """End the process and let go of the connection."""
        self._reading.cancel()
        self.stderr.close()
        self._writer.close()
        self.worker.close()

    async def _read(self, reader: asyncio.StreamReader) -> str:
        try:
            while (frame := await receive_async(reader)) is not None:
                self.on_frame(*frame)
        except (BrokenPipeError, ConnectionResetError):
            pass
        except (OSError, TypeError, ValueError) as error:
            return f"broke its connection ({error})"
        return "ended"


def _last_breath(worker: WorkerProcess) -> int:
    """Return the exit code of a worker that has closed its connection, killed if it does not end by itself."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return worker.process.wait(timeout=1)
    worker.process.kill()
    return worker.process.wait()


async def _open_stream(connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connection.setblocking(False)
    return await asyncio.open_unix_connection(sock=connection, limit=_READ_AHEAD)
