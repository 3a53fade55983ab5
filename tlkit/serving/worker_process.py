"""Starts the process that holds the models; imports little, so that it can be started before anything else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[2]
#: Room for a photo or two in either direction without waiting for the reader; the system may give less.
_BUFFER_BYTES = 4 << 20


class WorkerProcess:
    """A started worker: the process, our end of its socket and its stderr.

    Example:
        worker = WorkerProcess()
        worker.connection.sendall(pack({"op": "ping", "id": 1}))

    Args:
        command: what to run in place of `python -m tlkit.serving.worker`; `--fd N` is added.
    """

    def __init__(self, command: Sequence[str] = ()):
        # -P: the current folder must not lend its modules to a server.
        words = [*command] or [sys.executable, "-P", "-m", "tlkit.serving.worker"]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            for end in (ours, theirs):
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    end.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
            try:
                self.process = subprocess.Popen(
                    [*words, "--fd", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=(theirs.fileno(),),
                    env=_environment(),
                    start_new_session=True,  # Ctrl-C in a terminal is for the server, which then stops the worker
                )
            except BaseException:
                ours.close()
                raise
        self.connection = ours

    def kill(self) -> None:
        """End the process at once and collect it; harmless when it has ended."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the process and close our ends."""
        self.kill()
        self.connection.close()
        if self.process.stderr is not None:
            self.process.stderr.close()


def _environment() -> dict[str, str]:
    """Let the worker find this very tlkit, also where it is not installed."""
    environment = dict(os.environ)
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    if _ROOT.name not in ("site-packages", "dist-packages") and str(_ROOT) not in paths:
        paths.append(str(_ROOT))
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return environment
