"""What a worker process writes to stderr: shown as it comes, and kept to say why the process ended."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from typing import IO

_TAIL_BYTES = 8192
#: How TensorFlow ends a process on purpose: "F0000 00:00:1795337634.689 15118 tensor_format.h:428] Check failed: ...".
_FATAL = re.compile(rb"F\d{4} [^\]]*\] (.+)")
_STACK = (b"    @ ", b"*** Check failure stack trace")


class WorkerStderr:
    """Reads the stderr of one process in the running event loop.

    Args:
        stream: the pipe; None where there is none, and nothing was ever said.

    Attributes:
        shown: pass on what comes. False at first: what TensorFlow says while it is imported tells nobody here.
    """

    def __init__(self, stream: IO[bytes] | None):
        self.shown = False
        self._tail = bytearray()
        self._fatal, self._line = "", b""
        self._loop = asyncio.get_running_loop()
        self._descriptor = None if stream is None else stream.fileno()
        if self._descriptor is not None:
            os.set_blocking(self._descriptor, False)
            self._loop.add_reader(self._descriptor, self._read)

    def last_words(self) -> str:
        """Read what is left of a process that has ended, and give the line that says why; "" where none does."""
        self._read()
        if self._line:
            self._show(b"\n")
        last = bytes(self._tail).decode("utf-8", "replace").strip().splitlines()[-1:]
        return self._fatal or (last[0] if last and not self.shown else "")

    def close(self) -> None:
        """Read no more; called before the pipe is closed."""
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            self._descriptor = None

    def _read(self) -> None:
        if self._descriptor is None:
            return
        try:
            while text := os.read(self._descriptor, 65536):
                self._tail = (self._tail + text)[-_TAIL_BYTES:]
                if self.shown:
                    self._show(text)
        except BlockingIOError:
            return
        except OSError:
            pass
        self.close()

    def _show(self, text: bytes) -> None:
        """Show whole lines, but not a failed check: its text is part of the reason, and its stack tells nobody here."""
        *lines, self._line = (self._line + text).split(b"\n")
        if len(self._line) > _TAIL_BYTES:
            lines, self._line = [*lines, self._line], b""
        for line in lines:
            if failed := _FATAL.match(line):
                self._fatal = failed[1].decode("utf-8", "replace")
            elif not line.startswith(_STACK):
                sys.stderr.write(line.decode("utf-8", "replace") + "\n")
        sys.stderr.flush()
