"""One line a request, written by a thread of its own so that a slow disk never holds up a response."""

from __future__ import annotations

import atexit
import logging
import queue
import sys
import time
from logging.handlers import QueueListener, WatchedFileHandler
from pathlib import Path
from typing import Any

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
        try:
            self._handler = (
                logging.StreamHandler(sys.stdout) if path is None else WatchedFileHandler(path, encoding="utf-8")
            )
        except OSError as error:
            raise ConfigError(
                f"the access log cannot be written: {error.strerror or error}", received=str(path)
            ) from error
        formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(message)s", "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        self._handler.setFormatter(formatter)
        self._handler.handleError = self._lose  # type: ignore[method-assign]
        self._lost = 0
        self._lines: queue.Queue[Any] = queue.Queue(MAX_WAITING)
        self._writer: _Writer | None = _Writer(self._lines, self._handler)
        self._writer.start()
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
        fields = (client or "-", method, path[:_LONGEST], str(status), str(size), f"{seconds * 1000:.1f}")
        try:
            self._note_lost(wait=False)
            self._lines.put_nowait(_record(" ".join(map(escaped, fields))))
        except queue.Full:
            self._lost += 1

    def close(self) -> None:
        """Write what waits and end; a second time does nothing."""
        if self._writer is None:
            return
        atexit.unregister(self.close)
        self._note_lost(wait=True)
        self._writer.stop()
        self._writer = None
        self._handler.close()

    def _note_lost(self, *, wait: bool) -> None:
        if self._lost:
            self._lines.put(_record(f"- - - - 0 0.0 {self._lost} lines were dropped"), wait)
            self._lost = 0

    def _lose(self, record: logging.LogRecord) -> None:
        self._lost += 1


class _Writer(QueueListener):
    """A full disk or a closed stream must not end the thread, nor a full queue the program."""

    def handle(self, record: logging.LogRecord) -> None:
        try:
            super().handle(record)
        except (OSError, ValueError):  # WatchedFileHandler cannot open the file anew
            self.handlers[0].handleError(record)

    def enqueue_sentinel(self) -> None:
        self.queue.put(None)  # type: ignore[attr-defined]


def _record(message: str) -> logging.LogRecord:
    return logging.LogRecord("tlkit.access", logging.INFO, "", 0, message, None, None)


def escaped(text: str) -> str:
    r"""Return the text with everything but printable ASCII, and spaces and backslashes, as \xNN, \uNNNN.

    >>> escaped("a b\n")
    'a\\x20b\\n'
    """
    if text.isascii() and text.isprintable() and " " not in text and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode("ascii").replace(" ", r"\x20")
