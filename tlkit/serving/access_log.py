"""One line a request, written by a thread of its own so that a slow disk never holds up an answer."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from tlkit.errors import ConfigError

#: When the disk does not keep up, so many lines wait; what comes on top is counted and left out.
MAX_WAITING = 100_000
_LONGEST = 2048  # characters of a path that are kept


class AccessLog:
    """Lines of time (UTC), client, method, path, status, bytes of the answer and milliseconds.

    A file that was renamed or removed is opened anew, so logrotate needs no signal. Control characters, spaces and what
    is not ASCII are escaped in what comes from clients: a line is always one line of seven fields.

    Example:
        >>> log = AccessLog(Path("access.log"))
        >>> log.write("127.0.0.1:40112", "POST", "/v1/models/photos:predict", 200, 812, 0.0123)
        >>> log.close()

    2026-11-22T08:00:00.123Z 127.0.0.1:40112 POST /v1/models/photos:predict 200 812 12.3

    Args:
        path: the file, which is appended to; None writes to the standard output.

    Raises:
        ConfigError: the file cannot be written.
    """

    def __init__(self, path: Path | None = None):
        self._path = path
        self._lines: queue.SimpleQueue[tuple[float, str] | None] = queue.SimpleQueue()
        self._lost = 0
        self._file = self._open()
        self._thread = threading.Thread(target=self._write, name="access log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, client: str, method: str, path: str, status: int | str, size: int, seconds: float) -> None:
        """Note a request; returns at once.

        Args:
            client: address and port.
            method: of HTTP, or "gRPC".
            path: as it was sent.
            status: HTTP status or the name of a gRPC code; 499 where the client did not wait.
            size: bytes of the answer's body.
            seconds: from the request's head to the answer.
        """
        if self._lines.qsize() >= MAX_WAITING:
            self._lost += 1
            return
        fields = (client or "-", method, path[:_LONGEST], str(status), str(size), f"{seconds * 1000:.1f}")
        self._lines.put((time.time(), " ".join(map(escaped, fields))))

    def close(self) -> None:
        """Write what waits and end; a second time does nothing."""
        if not self._thread.is_alive():
            return
        atexit.unregister(self.close)
        self._lines.put(None)
        self._thread.join()
        if self._path is not None:
            self._file.close()

    def _open(self) -> TextIO:
        if self._path is None:
            return sys.stdout
        try:
            return self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"the access log cannot be written: {error.strerror or error}", received=str(self._path)
            ) from error

    def _write(self) -> None:
        while True:
            batch = [self._lines.get()]
            with contextlib.suppress(queue.Empty):
                while batch[-1] is not None and len(batch) < 1000:
                    batch.append(self._lines.get_nowait())
            lines = [f"{_utc(item[0])} {item[1]}\n" for item in batch if item is not None]
            if self._lost:
                lines.append(f"{_utc(time.time())} - - - - 0 0.0 {self._lost} lines were dropped\n")
                self._lost = 0
            try:
                self._follow_rename()
                self._file.write("".join(lines))
                self._file.flush()
            except (OSError, ValueError, ConfigError):  # a full disk or a closed stream must not end the server
                self._lost += len(lines)
            if batch[-1] is None:
                return

    def _follow_rename(self) -> None:
        if self._path is None:
            return
        mine = os.fstat(self._file.fileno())
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            anew = self._open()
            self._file.close()
            self._file = anew


def escaped(text: str) -> str:
    r"""Return the text with everything but printable ASCII, and spaces and backslashes, as \xNN, \uNNNN.

    >>> escaped("a b\n")
    'a\\x20b\\n'
    """
    if text.isascii() and text.isprintable() and " " not in text and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode("ascii").replace(" ", r"\x20")


def _utc(seconds: float) -> str:
    parts = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{parts}.{int(seconds % 1 * 1000):03d}Z"
