"""A verification in a fork of a process that has TensorFlow loaded and nothing else: seconds less than a fresh process.

Stands in for tlkit/export/verify_worker.py: `python -I forked_verifier.py EXPORT` has the checks made by a fork of a
server, which the first call starts, and ends as the fork ended. Like a fresh process, a fork has neither Keras nor
tlkit, nor anything that an earlier verification left. The server ends with the test run.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PLACE = "TLKIT_TEST_EXPORTS"  # see exports.py
WORKER = Path(__file__).resolve().parents[1] / "tlkit" / "export" / "verify_worker.py"


def serve(place: Path) -> None:
    """Answer calls one after another, each with a fork, as long as the folder exists."""
    spec = importlib.util.spec_from_file_location("worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))  # bars the way to keras and tlkit
    import tensorflow  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place / "coming"))
        listening.listen()
        listening.settimeout(1.0)
        (place / "coming").rename(place / "verifier")
        while owned(place):
            try:
                call, _ = listening.accept()
            except TimeoutError:
                continue
            if not os.fork():
                listening.close()
                answer(call)
            call.close()


def owned(place: Path) -> bool:
    """Whether the test run that made the folder goes on."""
    try:
        os.kill(int((place / "owner").read_text()), 0)
    except OSError:
        return False
    return True


def answer(call: socket.socket) -> None:
    """Run the checks in a fork, and end it if the caller ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asked, streams, _, _ = socket.recv_fds(call, 65536, 2)
    worker = os.fork()
    if not worker:
        work(json.loads(asked), streams)
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            call.sendall(json.dumps(os.waitstatus_to_exitcode(status)).encode())
            break
        if select.select([call], [], [], 0.01)[0]:  # nothing more is sent: the caller is gone
            os.kill(worker, signal.SIGKILL)
            break
    os._exit(0)


def work(export: str, streams: list[int]) -> None:
    for stream, number in zip(streams, (1, 2), strict=True):
        os.dup2(stream, number)
    sys.argv = [str(WORKER), export]
    code = 1
    try:
        runpy.run_path(str(WORKER), run_name="__main__")
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(export: str) -> None:
    place = Path(os.environ[PLACE])
    with (place / "verifier.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "verifier").exists():
            command = [sys.executable, "-I", __file__, "--serve", str(place)]
            quiet = subprocess.DEVNULL
            server = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
            while not (place / "verifier").exists():
                assert server.poll() is None, "the server of verifications ended"
                time.sleep(0.02)
    with socket.socket(socket.AF_UNIX) as call:
        call.connect(str(place / "verifier"))
        socket.send_fds(call, [json.dumps(export).encode()], [1, 2])
        code = json.loads(call.recv(100))
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[2])) if sys.argv[1] == "--serve" else main(sys.argv[1])
