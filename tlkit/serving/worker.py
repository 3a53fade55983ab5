"""The process that holds the models: `python -m tlkit.serving.worker --fd N`.

It reads frames (see `wire`) from the socket with the number N, and answers on it. A tensor that aborts TensorFlow
ends this process and not the server. It imports TensorFlow, but neither Keras nor the training half of tlkit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.serving import wire
from tlkit.serving.status import Code, ServingError

if TYPE_CHECKING:
    import numpy as np

    from tlkit.serving.batching import Batcher, BatchSettings
    from tlkit.serving.call import Call
    from tlkit.serving.monitor import Monitor
    from tlkit.serving.servable import Servable
    from tlkit.serving.warmup_replay import WarmUp

#: Seconds that a thread may keep Python to itself while others want it; with Python's own 5 ms, requests that
#: arrive while another is parsed would wait so long.
_SWITCH_INTERVAL = 0.0005
#: Of 1000; see proc(5).
_OOM_SCORE = 500


class Worker:
    """Answers the frames of one connection.

    Example:
        >>> Worker(connection).serve()  # returns when it is told to stop or the other side has gone

    Args:
        connection: a connected stream socket.
    """

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self._writing = threading.Lock()
        self._models: dict[tuple[str, int], _Model] = {}
        self._requests: dict[Any, _Request] = {}  # those that have not begun, by id
        self._begun: dict[Any, _Request] = {}
        self._checker = ThreadPoolExecutor(1, thread_name_prefix="check")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._unloader = ThreadPoolExecutor(1, thread_name_prefix="unload")

    def serve(self) -> bool:
        """Answer until the end.

        Returns:
            True after a stop frame, when everything that ran has been answered; False when the other side is gone.
        """
        while True:
            try:
                frame = wire.receive(self._connection)
            except OSError:
                return False
            if frame is None:
                return False
            header, payload = frame
            operation = header.get("op")
            if operation == "call":
                self._call(header, payload)
            elif operation == "ping":
                self.reply({"id": header.get("id"), "code": int(Code.OK)})
            elif operation == "cancel":
                self._cancel(header.get("id"))
            elif operation == "load":
                self._loader.submit(self._load, header)
            elif operation == "warm":
                self._loader.submit(self._warm, header)
            elif operation == "unload":
                self._unloader.submit(self._unload, header)
            elif operation == "stop":
                self._stop()
                return True
            else:
                self.fail(header.get("id"), ServingError(Code.UNIMPLEMENTED, f"unknown operation {operation!r}"))

    def reply(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Send a frame; a front that has gone is noticed by the reader."""
        frame = wire.pack(header, payload)
        with self._writing, contextlib.suppress(OSError):
            self._connection.sendall(frame)

    def fail(self, identity: Any, error: ServingError) -> None:
        """Answer a frame by an error."""
        self.reply({"id": identity, "code": int(error.code), "message": error.message})

    def expects(self, identity: Any) -> bool:
        """Say whether a request is still wanted and has not begun."""
        return identity in self._requests

    def take(self, identity: Any) -> bool:
        """Say whether a request is still wanted, and count it as begun."""
        request = self._requests.pop(identity, None)
        if request is None:
            return False
        self._begun[identity] = request
        return True

    def finish(self, identity: Any) -> None:
        """Forget a request that is answered."""
        self._begun.pop(identity, None)

    def _cancel(self, identity: Any) -> None:
        self._requests.pop(identity, None)
        begun = self._begun.get(identity)
        if begun is not None:
            begun.cancelled = True

    def _call(self, header: dict[str, Any], payload: bytes) -> None:
        identity = header.get("id")
        model = self._models.get(_key(header))
        if model is not None:
            self._requests[identity] = request = _Request(self, model, header, payload)
            try:
                model.threads.submit(request.run)
                return
            except RuntimeError:  # it is being unloaded at this moment
                del self._requests[identity]
        self._checker.submit(self._miss, header, payload)

    def _miss(self, header: dict[str, Any], payload: bytes) -> None:
        """Answer a call for a version that is not here; what is wrong with its body comes first."""
        from tlkit.serving.batching import as_serving_error
        from tlkit.serving.rest_calls import check_body

        text = f"Servable not found for request: Specific({header.get('name')}, {header.get('version')})"
        error: Exception = ServingError(Code.NOT_FOUND, text)
        try:
            if header.get("api") == "rest":
                check_body(header.get("method", ""), payload)
        except Exception as caught:  # noqa: BLE001  a request must not end the process
            error = caught
        self.fail(header.get("id"), as_serving_error(error))

    def _load(self, header: dict[str, Any]) -> None:
        from tlkit.errors import TlkitError
        from tlkit.serving.batching import as_serving_error

        began = time.perf_counter()
        try:
            if _key(header) in self._models:
                raise ServingError(Code.ALREADY_EXISTS, f"version {header['version']} of {header['name']} is loaded")
            model = _load_model(header)
        except TlkitError as error:
            self.fail(header.get("id"), ServingError(Code.FAILED_PRECONDITION, str(error)))
        except Exception as error:  # noqa: BLE001  one model must not take the others with it
            self.fail(header.get("id"), as_serving_error(error))
        else:
            self._models[_key(header)] = model
            self.reply(
                {
                    "id": header.get("id"),
                    "code": int(Code.OK),
                    "metadata": model.servable.metadata(),
                    "warmed": model.warmed.run,
                    "left": model.warmed.left,
                    "seconds": round(time.perf_counter() - began, 3),
                    "bytes": model.servable.disk_bytes(),
                }
            )

    def _warm(self, header: dict[str, Any]) -> None:
        """Run what a load left of the warm-up."""
        from tlkit.serving.batching import as_serving_error

        model = self._models.get(_key(header))
        try:
            warmed = model.warm_up_rest() if model is not None else 0
        except Exception as error:  # noqa: BLE001  one model must not take the others with it
            self.fail(header.get("id"), as_serving_error(error))
        else:
            self.reply({"id": header.get("id"), "code": int(Code.OK), "warmed": warmed})

    def _unload(self, header: dict[str, Any]) -> None:
        model = self._models.pop(_key(header), None)
        if model is not None:
            model.close()
        self.reply({"id": header.get("id"), "code": int(Code.OK)})

    def _stop(self) -> None:
        for model in [*self._models.values()]:
            model.closing.set()
        self._loader.shutdown(cancel_futures=True)
        self._unloader.shutdown()
        for model in self._models.values():
            model.threads.shutdown()
            if model.monitor is not None:
                model.monitor.close()


class _Model:
    """A loaded version with its threads: one that is slow keeps nobody but its own clients waiting."""

    def __init__(
        self, servable: Servable, batcher: Batcher, threads: int, warmed: WarmUp, monitor: Monitor | None = None
    ):
        self.servable = servable
        self.monitor = monitor
        self.batcher = batcher
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix=f"{servable.name}/{servable.version}")
        self.warmed = warmed
        self.closing = threading.Event()
        self._warming = threading.Lock()

    def warm_up_rest(self) -> int:
        """Run what the load left of the warm-up; return how many requests that were until the end, or `close`."""
        from tlkit.serving.warmup_replay import warm_up

        with self._warming:
            return warm_up(self.servable, "rest", self.closing.is_set).run

    def close(self) -> None:
        """Free the memory once every call that came has been answered, and the warm-up has noticed."""
        self.closing.set()
        self.threads.shutdown(wait=True)
        if self.monitor is not None:
            self.monitor.close()
        with self._warming:
            self.servable.close()


def _key(header: dict[str, Any]) -> tuple[str, int]:
    return header.get("name", ""), header.get("version", 0)


def _load_model(header: dict[str, Any]) -> _Model:
    from tlkit.serving.batching import Batcher, BatchSettings, RowLimits
    from tlkit.serving.servable import Servable, cores
    from tlkit.serving.warmup_replay import warm_up

    wanted = header.get("batching")
    settings = None
    if wanted is not None:
        values = {"num_batch_threads": cores()} | {key: value for key, value in wanted.items() if value is not None}
        values["allowed_batch_sizes"] = tuple(values.get("allowed_batch_sizes", ()))
        settings = BatchSettings(**values)
    servable = Servable(
        header["path"],
        header["name"],
        version=header["version"],
        trust=bool(header.get("trust")),
        run_seconds=header.get("run_seconds"),
    )
    slice_rows = _slice_rows(header, servable, settings)
    if settings is not None and slice_rows is not None:  # neither does a batch of several requests get larger
        settings = replace(settings, max_batch_size=min(settings.max_batch_size, slice_rows))
    try:
        warmed = warm_up(servable, header.get("warm", "all"))
    except BaseException:
        servable.close()
        raise
    # Those that run batches, and as many that parse requests meanwhile.
    threads = cores() + (settings.num_batch_threads if settings else cores())
    limits = RowLimits(slice_rows, header.get("max_rows"))
    monitor = None
    if header.get("monitor"):
        from tlkit.serving.monitor import monitor_of

        monitor = monitor_of(header["monitor"], servable, header.get("monitor_samples") or 0)
    return _Model(servable, Batcher(servable.execute, settings, limits), threads, warmed, monitor)


def _slice_rows(header: dict[str, Any], servable: Servable, settings: BatchSettings | None) -> int | None:
    """Return how many rows a run may have: what the server was told, or what the export was verified with."""
    given = header.get("max_batch")
    if given is not None:
        return given or None
    splits = (header.get("batching") or {}).get("enable_large_batch_splitting")
    if splits is not None and settings is not None:  # from a batching.config, which decides by itself
        return settings.max_batch_size if splits else None
    return servable.max_batch()


class _Request:
    """A call on its way: parsed in a thread of its model, run there or in a batch, answered where it ran."""

    call: Call

    def __init__(self, worker: Worker, model: _Model, header: dict[str, Any], payload: bytes):
        self._worker = worker
        self._model = model
        self._header = header
        self._payload = payload
        timeout = header.get("timeout")
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self.cancelled = False

    def run(self) -> None:
        """Parse the request and hand it on."""
        from tlkit.serving import grpc_calls, rest_calls
        from tlkit.serving.batching import as_serving_error

        identity = self._header.get("id")
        if not self._worker.expects(identity):  # cancelled
            return
        if self._is_late():
            self.begin()
            return
        prepare = rest_calls.prepare if self._header.get("api") == "rest" else grpc_calls.prepare
        try:
            self.call = prepare(self._model.servable, self._header.get("method", ""), self._payload)
            self._payload = b""
            self._model.batcher.run(self)
        except Exception as error:  # noqa: BLE001  a request must not end the process
            if self._worker.take(identity):
                self._worker.finish(identity)
                self._worker.fail(identity, as_serving_error(error))

    def begin(self) -> bool:
        """Say whether the request is still wanted; one whose time is over is answered here."""
        identity = self._header.get("id")
        if not self._worker.take(identity):
            return False
        if self._is_late():
            text = "Deadline exceeded: the request waited for longer than its timeout"
            self._worker.finish(identity)
            self._worker.fail(identity, ServingError(Code.DEADLINE_EXCEEDED, text))
            return False
        return True

    def check(self) -> None:
        """Raise if nobody waits for the request any more."""
        if self.cancelled:
            raise ServingError(Code.CANCELLED, "the client closed the connection")
        if self._is_late():
            raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded: the request took longer than its timeout")

    def done(self, fetched: list[np.ndarray] | None, error: Exception | None, runtime_us: int) -> None:
        """Answer the request."""
        from tlkit.serving.batching import as_serving_error

        identity = self._header.get("id")
        self._worker.finish(identity)
        try:
            if error is not None:
                raise error
            payload = self.call.finish(fetched or [])
        except Exception as caught:  # noqa: BLE001  a request must not end the process
            self._worker.fail(identity, as_serving_error(caught))
            return
        header = {"id": identity, "code": int(Code.OK), "runtime_us": runtime_us, "rows": self.call.rows}
        self._worker.reply(header, payload)
        if self._model.monitor is not None:
            self._model.monitor.offer(self.call, fetched or [])

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline


def _volunteer() -> None:
    """Let Linux, when it is short of memory, end this process rather than the server, which starts another one."""
    with contextlib.suppress(OSError, ValueError):
        score = Path("/proc/self/oom_score_adj")
        if int(score.read_text()) < _OOM_SCORE:
            score.write_text(str(_OOM_SCORE))


def main() -> None:
    """Serve the socket that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="number of the inherited socket")
    connection = socket.socket(fileno=parser.parse_args().fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which tells its worker to stop
    _volunteer()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TensorFlow imports Keras, if there is one, to find its folder. That takes seconds and is needed for nothing.
    sys.modules["keras"] = None  # type: ignore[assignment]
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    worker = Worker(connection)
    worker.reply({"event": "ready", "tensorflow": tf.__version__, "pid": os.getpid()})
    stopped = worker.serve()
    # Interpreter shutdown would wait for threads that wait for nobody, and unload TensorFlow piece by piece.
    os._exit(0 if stopped else 1)


if __name__ == "__main__":
    main()
