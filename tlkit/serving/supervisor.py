"""Keeps one worker process alive: sends it calls, starts it again when it dies, and finds the requests that kill it.

A call is on its way to the worker ("pending") until the worker has answered it, also when its client has given up
waiting: it may still be what ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from tlkit.serving.spare_keeper import SpareKeeper
from tlkit.serving.spare_worker import SpareWorker, key_of
from tlkit.serving.status import Code, ServingError
from tlkit.serving.suspects import Request, Suspects
from tlkit.serving.worker_link import WorkerLink
from tlkit.serving.worker_process import WorkerProcess

log = logging.getLogger("tlkit.serving")
#: Seconds before each new start in a row; the last one repeats.
BACK_OFF = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
#: A worker that lived so many seconds is not counted as one of a row.
STEADY_SECONDS = 60.0
#: A suspect waits so long, at most, for the worker to be empty; others wait behind it.
DRAIN_SECONDS = 10.0
#: However little time a client gives, silence shorter than this is none, and a suspect has so long to prove itself.
SILENCE_SECONDS = 30.0
_CLOCK_SLACK = 0.005
_STOPPING = "the server is stopping"


class WorkerDiedError(Exception):
    """The worker ended while it had this to do; `begun` is False where there was none to begin with."""

    def __init__(self, reason: str, *, begun: bool):
        super().__init__(reason)
        self.begun = begun


class _Pending:
    """Something sent to the worker that it has not answered."""

    __slots__ = ("abandoned", "alone", "deadline", "future", "request", "sent")

    def __init__(self, request: Request | None, deadline: float | None, alone: bool):
        loop = asyncio.get_running_loop()
        self.request = request
        self.alone = alone
        self.abandoned = False  # the client has gone, and the worker was told to forget it
        self.sent = loop.time()
        self.deadline = deadline  # on the clock of the loop
        self.future: asyncio.Future[tuple[dict[str, Any], bytes]] = loop.create_future()


class Supervisor:
    """One worker process, for ever.

    Example:
        supervisor = Supervisor(on_up=load_everything)
        await supervisor.start()
        header, answer = await supervisor.call(request, timeout=30)

    Args:
        spawn: starts a worker process.
        first: a worker that was started before there was an event loop.
        on_up: called when a worker is ready for loads, in the event loop.
        on_down: called with the reason when it ended.
        back_off: seconds before each new start in a row.
        watch_seconds: how often silence is looked for.
        silence_seconds: shorter silence is none, however little time the clients gave.
        spare: "ready" keeps a second process that has imported TensorFlow and takes the place of one that ends;
            "loaded" lets it hold the models, too; "none" keeps no such process.

    Attributes:
        up: a worker is ready.
        restarts: how often a worker had to be started again.
        suspects: what is known about requests.
        spare: the spare worker's keeper.
        ready: is done when the first worker is ready; holds a ServingError when it ended before that.
    """

    def __init__(
        self,
        *,
        spawn: Callable[[], WorkerProcess] = WorkerProcess,
        first: WorkerProcess | None = None,
        on_up: Callable[[], None] = lambda: None,
        on_down: Callable[[str], None] = lambda reason: None,
        back_off: tuple[float, ...] = BACK_OFF,
        watch_seconds: float = 1.0,
        silence_seconds: float = SILENCE_SECONDS,
        spare: str = "none",
    ):
        self._spawn, self._worker = spawn, first
        self._on_up, self._on_down = on_up, on_down
        self._back_off, self._watch_seconds, self._silence_seconds = back_off, watch_seconds, silence_seconds
        self.suspects = Suspects()
        self.up = False
        self.restarts = 0
        self.tensorflow = ""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ready.add_done_callback(lambda future: future.exception())  # nobody has to ask
        self._link: WorkerLink | None = None
        self.spare = SpareKeeper(spawn, spare)
        self._former: SpareWorker | None = None  # what the worker was before it took another one's place
        self._loaded: dict[tuple[str, int], dict[str, Any]] = {}  # the frames of what the worker holds
        self._pending: dict[int, _Pending] = {}
        self._next_id = 0
        self._last_reply = 0.0
        self._loads = 0
        self._hung = False
        self._stopping = False
        self._open = asyncio.Event()  # clear while something runs alone, or waits for that
        self._open.set()
        self._changed = asyncio.Event()  # set whenever something pending or loading has ended
        self._alone = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int | None:
        """Process id of the worker, or None while there is none."""
        return self._worker.process.pid if self._worker is not None else None

    @property
    def pending(self) -> int:
        """How much the worker has not answered yet."""
        return len(self._pending)

    async def start(self) -> None:
        """Take the first worker into care; `ready` tells when it can load."""
        self._tasks = [asyncio.create_task(self._live()), asyncio.create_task(self._watch())]

    async def stop(self, grace: float = 2.0) -> None:
        """Let the worker end after what is running, and end it after `grace` seconds in any case."""
        self._stopping = True
        self.spare.close()
        worker = self._worker
        if worker is not None and worker.process.poll() is None:
            if self._link is not None and self.up:
                with contextlib.suppress(OSError):
                    self._link.send({"op": "stop"})
            else:
                worker.process.kill()  # it still imports TensorFlow and holds nothing
            deadline = asyncio.get_running_loop().time() + grace
            while worker.process.poll() is None and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.02)
            worker.process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._worker is not None:
            self._lose(self._worker, _STOPPING)

    def kill(self, *, final: bool = False) -> None:
        """End the worker at once, as the watchdog does; with `final` no other one is started."""
        self._stopping = self._stopping or final
        if self._worker is not None:
            self._worker.process.kill()

    async def call(self, request: Request, timeout: float) -> tuple[dict[str, Any], bytes]:
        """Run one request in the worker.

        Args:
            request: what to run.
            timeout: seconds until nobody waits for the answer any more.

        Returns:
            Header and payload of the worker's answer, which may be an error.

        Raises:
            ServingError: UNAVAILABLE when the worker is not there or ended, DEADLINE_EXCEEDED, or INVALID_ARGUMENT for
                a request that was proved to end the process.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        standing = self.suspects.standing(request)
        if standing == "quarantined":
            raise _refusal()
        try:
            async with asyncio.timeout_at(deadline):
                if standing != "clear":
                    # A client that goes away, or has little time, must not end the quarantine: it is still running.
                    task = asyncio.ensure_future(self._call_alone(request, deadline, standing))
                    task.add_done_callback(lambda done: done.cancelled() or done.exception())
                    return await asyncio.shield(task)
                while not self._open.is_set():
                    await self._open.wait()
                return await self._run(request, deadline)
        except TimeoutError:
            raise ServingError(Code.DEADLINE_EXCEEDED, f"timed out after {timeout:g} s") from None
        except WorkerDiedError as error:
            again = "" if self._stopping else "; it is being restarted, try again later"
            raise ServingError(Code.UNAVAILABLE, f"{error}{again}") from None

    async def load(self, header: dict[str, Any], *, alone: bool = False) -> dict[str, Any]:
        """Let the worker load a version.

        Args:
            header: the frame without op and id.
            alone: hold all calls until it is done: a load that was running when the process ended is tried so.

        Returns:
            The header of the worker's answer, which may be an error.

        Raises:
            WorkerDiedError: the worker ended first.
            ServingError: UNAVAILABLE when it had to run alone and the worker did not come to rest.
        """
        frame = {"op": "load", **header}
        answer = await self._former.adopt(frame) if self._former is not None else None
        if answer is not None:
            pass
        elif alone:
            async with self._alone, self._quiet(asyncio.get_running_loop().time() + DRAIN_SECONDS):
                answer = (await self._exchange(frame, alone=True))[0]
        else:
            answer = await self._exchange_load(frame)
        if answer.get("code") == Code.OK and self.up:
            self._loaded[key_of(frame)] = frame
        return answer

    async def warm(self, name: str, version: int) -> dict[str, Any]:
        """Let the worker run what a load with `"warm": "first"` left of the warm-up requests.

        Returns:
            The header of the worker's answer, which may be an error.

        Raises:
            WorkerDiedError: the worker ended first.
        """
        return await self._exchange_load({"op": "warm", "name": name, "version": version})

    async def _exchange_load(self, frame: dict[str, Any]) -> dict[str, Any]:
        async with self._alone:  # behind those who came first and must run alone
            self._loads += 1
        try:
            return (await self._exchange(frame))[0]
        finally:
            self._loads -= 1
            self._changed.set()

    async def unload(self, name: str, version: int) -> None:
        """Let the worker give up a version, after the calls that it runs.

        Raises:
            WorkerDiedError: the worker ended first, and with it the version.
        """
        self._loaded.pop((name, version), None)
        await self._exchange({"op": "unload", "name": name, "version": version})

    async def _call_alone(self, request: Request, deadline: float, standing: str) -> tuple[dict[str, Any], bytes]:
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout_at(deadline):
                await stack.enter_async_context(self._alone)
                while self._loads:  # others need not wait for this
                    self._changed.clear()
                    await self._changed.wait()
                await stack.enter_async_context(self._quiet(min(deadline, loop.time() + DRAIN_SECONDS)))
            if self.suspects.standing(request) == "quarantined":  # the same request waited before this one
                raise _refusal()
            until = max(deadline, loop.time() + self._silence_seconds)
            try:
                async with asyncio.timeout_at(until):
                    answer = await self._run(request, until, alone=True)
            except TimeoutError:
                if standing == "hung":  # it silenced the last process, and now this one
                    self.suspects.quarantine(request)
                    self.kill()
                raise
            self.suspects.clear(request)
            return answer

    @contextlib.asynccontextmanager
    async def _quiet(self, until: float) -> AsyncIterator[None]:
        """Hold new calls and loads, and wait until the worker has nothing to do."""
        self._open.clear()
        try:
            try:
                async with asyncio.timeout_at(until):
                    while self._pending or self._loads:
                        self._changed.clear()
                        await self._changed.wait()
            except TimeoutError:
                raise ServingError(
                    Code.UNAVAILABLE, "the request must run alone and the worker process is busy; try again later"
                ) from None
            yield
        finally:
            self._open.set()

    async def _run(self, request: Request, deadline: float, *, alone: bool = False) -> tuple[dict[str, Any], bytes]:
        left = deadline - asyncio.get_running_loop().time()
        header = {
            "op": "call",
            "name": request.name,
            "version": request.version,
            "api": request.api,
            "method": request.method,
            "timeout": round(max(left, 0.001), 3),
        }
        return await self._exchange(header, request, deadline, alone=alone)

    async def _exchange(
        self,
        header: dict[str, Any],
        request: Request | None = None,
        deadline: float | None = None,
        *,
        alone: bool = False,
    ) -> tuple[dict[str, Any], bytes]:
        if not self.up or self._link is None:
            raise WorkerDiedError("the worker process is not running", begun=False)
        self._next_id += 1
        number = self._next_id
        pending = self._pending[number] = _Pending(request, deadline, alone)
        try:
            self._link.send({**header, "id": number}, request.body if request else b"")
            return await pending.future
        except asyncio.CancelledError:
            pending.alone = False  # from here on others may run beside it
            # When its time is over the worker knows it by itself, and what it has begun it will answer.
            over = deadline is None or asyncio.get_running_loop().time() >= deadline - _CLOCK_SLACK
            if not over and self.up:
                pending.abandoned = True
                self._link.send({"op": "cancel", "id": number})
            raise

    async def _live(self) -> None:
        """Start, follow and bury worker after worker."""
        loop = asyncio.get_running_loop()
        row = 0
        while not self._stopping:
            began = loop.time()
            try:
                if self._worker is None and (former := self.spare.take()) is not None:
                    self._former, self._worker = former, former.link.worker
                elif self._worker is None:
                    self._worker = await asyncio.to_thread(self._spawn)
                reason = await self._follow(self._worker)
            except OSError as error:
                reason = f"the worker process cannot be started: {error.strerror or error}"
            if self._worker is not None:
                self._lose(self._worker, _STOPPING if self._stopping else reason)
            if self._stopping:
                return
            if not self.ready.done():
                self.ready.set_exception(ServingError(Code.UNAVAILABLE, reason))
            row = 1 if loop.time() - began >= STEADY_SECONDS else row + 1
            pause = self._back_off[min(row, len(self._back_off)) - 1]
            again = "switching to the spare worker" if self.spare.has_one else "restarting it"
            log.warning("%s; %s%s", reason, again, f" in {pause:g} s" if pause else "")
            await asyncio.sleep(pause)
            self.restarts += 1

    async def _follow(self, worker: WorkerProcess) -> str:
        """Read what the worker says until it ends; return why it did."""
        if self._former is not None:
            self._link = self._former.link
            self._link.on_frame = self._take
            if self._former.ready is not None:
                self._take(self._former.ready, b"")
        else:
            self._link = WorkerLink(worker, self._take)
            await self._link.open()
        return await self._link.ended()

    def _take(self, header: dict[str, Any], payload: bytes) -> None:
        loop = asyncio.get_running_loop()
        if self._former is not None and self._former.take(header):
            return
        if header.get("event") == "ready":
            self.tensorflow = str(header.get("tensorflow", ""))
            self.up = True
            if self._link is not None:
                self._link.stderr.shown = True
            if not self.ready.done():
                self.ready.set_result(None)
            self._on_up()
            return
        pending = self._pending.pop(int(header.get("id", 0)), None)
        self._last_reply = loop.time()
        self._changed.set()
        if pending is not None and not pending.future.done():
            pending.future.set_result((header, payload))

    def _lose(self, worker: WorkerProcess, reason: str) -> None:
        """Tell everybody who waits for the worker that it is gone, and remember what it was doing."""
        self.up, self._worker = False, None
        lost, self._pending = self._pending, {}
        hung, self._hung = self._hung, False
        for one in lost.values():
            if one.request is not None and not self._stopping:
                if one.alone:
                    self.suspects.quarantine(one.request)
                else:
                    self.suspects.suspect(one.request, hung=hung)
            if not one.future.done():
                one.future.set_exception(WorkerDiedError(reason, begun=True))
                one.future.exception()  # who waited may have gone
        self._changed.set()
        if self._former is not None:
            self._former.fail(WorkerDiedError(reason, begun=True))
            self._former = None
        self._loaded.clear()
        if self._link is not None:
            self._link.close()
            self._link = None
        worker.close()
        self._on_down(reason)

    async def _watch(self) -> None:
        """End a worker that has been silent for twice the time of a call."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._watch_seconds)
            if self.up and not self._loads:
                await self.spare.tend(self._loaded)
            now = loop.time()
            for number, one in list(self._pending.items()):
                if one.deadline is None or now < one.sent + max(2 * (one.deadline - one.sent), self._silence_seconds):
                    continue
                if one.abandoned:  # forgotten by the worker, as it was asked to
                    del self._pending[number]
                    self._changed.set()
                elif self._last_reply < one.sent and not self._hung:
                    log.warning("the worker process has not responded for %.3g s and is killed", now - one.sent)
                    self._hung = True
                    self.kill()


def _refusal() -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, "this request crashed the worker process twice and is rejected")
