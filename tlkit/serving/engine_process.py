"""A process that serves: started, watched, told to stop."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from urllib.parse import quote

_SHOWN_LINES = 20
_STOP_SECONDS = 20.0


class EngineProcess:
    """One run of the real server, from its start to its end.

    Args:
        command: starts it; it must stay in the foreground.
        stop: a command that stops it; None sends SIGTERM.
    """

    def __init__(self, command: list[str], stop: list[str] | None):
        # The command line quiets TensorFlow in its own process; the server's log is what explains a failure.
        environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
        self._stop_command = stop
        self._asked = threading.Event()
        self._shown = threading.Event()
        self._lines: deque[str] = deque(maxlen=_SHOWN_LINES)
        self._command, self._environment = command, environment

    def run(
        self,
        address: tuple[str, int],
        names: list[str],
        ready_timeout: float,
        announce: Callable[[int, int | None], None],
        grpc_port: int | None,
    ) -> int:
        """Start it, wait until every model answers, and then until it ends or is to stop.

        Args:
            address: where its REST interface is.
            names: the models.
            ready_timeout: seconds until each of them must answer.
            announce: is called with the ports when they do.
            grpc_port: for `announce`.

        Returns:
            0 after SIGINT or SIGTERM, 1 where it ended on its own or was not ready in time.
        """
        with self._signals():
            # A session of its own: Ctrl-C in the terminal comes to this process, which passes it on once.
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            reader = threading.Thread(target=self._read, daemon=True)
            reader.start()
            try:
                ready = self._wait_ready(address, names, time.monotonic() + ready_timeout)
                if ready:
                    self._shown.set()
                    announce(address[1], grpc_port)
                    while not self._asked.wait(0.2) and self._process.poll() is None:
                        pass
            finally:
                self._stop()
                reader.join(5)
        if self._asked.is_set():
            print("stopped", flush=True)
            return 0
        if not ready:
            for line in self._lines:
                note(f"  {line}")
        what = "did not respond in time" if not ready and self._stopped_by_us else f"exited with code {self._code}"
        note(f"error: the server {what}; its last lines are above")
        return 1

    def _wait_ready(self, address: tuple[str, int], names: list[str], deadline: float) -> bool:
        waiting = list(names)
        while waiting:
            if self._asked.is_set() or self._process.poll() is not None or time.monotonic() > deadline:
                return False
            if _answers(address, f"/v1/models/{quote(waiting[0], safe='')}/metadata"):
                waiting.pop(0)
            else:
                self._asked.wait(0.2)
        return True

    def _stop(self) -> None:
        self._stopped_by_us = self._process.poll() is None
        if self._stopped_by_us:
            if self._stop_command is not None:
                subprocess.run(self._stop_command, capture_output=True, check=False, timeout=60)
            else:
                self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
            if self._process.poll() is None:
                self._process.kill()
        self._code = self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.rstrip())
            if self._shown.is_set():
                note(line.rstrip())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def ask(number: int, frame: FrameType | None) -> None:
            self._asked.set()

        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers
            return
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _answers(address: tuple[str, int], path: str) -> bool:
    connection = http.client.HTTPConnection(*address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def note(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)
