"""The models of a server: which versions there are, in what state, and the way to call them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.serving.model_state import ModelState, VersionState, VersionStatus
from tlkit.serving.served_model import ServedModel
from tlkit.serving.sources import Sighting, Source
from tlkit.serving.status import Code, ServingError
from tlkit.serving.supervisor import Supervisor, WorkerDiedError
from tlkit.serving.suspects import Request
from tlkit.serving.worker_process import WorkerProcess

log = logging.getLogger("tlkit.serving")
MANIFEST_NAME = "manifest.json"
#: A body is checked for so long where no model waits for it.
_CHECK_SECONDS = 10.0
#: A request with more rows is refused unless the server was told otherwise.
MAX_ROWS = 10_000
#: What TensorFlow Serving's batching.config says, by the wire's names; threads are the cores.
DEFAULT_BATCHING: dict[str, Any] = {
    "max_batch_size": 32,
    "batch_timeout_micros": 0,
    "max_enqueued_batches": 100,
    "num_batch_threads": os.cpu_count() or 1,
    "allowed_batch_sizes": [],
}


class WorkerResponse(NamedTuple):
    """What the worker answered: the bytes for the client, and how many microseconds the model ran."""

    body: bytes
    runtime_us: int


@dataclass(frozen=True)
class FleetSettings:
    """How a fleet works.

    Args:
        poll_seconds: how often the base paths are read.
        max_in_flight: more calls at a time are refused.
        trust: load SavedModels that run Python or read files.
        batching: "auto" merges requests of exports that tlkit verified, "on" of every model, "off" of none.
        batching_parameters: the wire's batching settings.
        max_batch: rows of one run; a request with more is run in slices. None takes what each export was verified with,
            0 runs every request as it is.
        max_rows: a request with more rows is refused; None takes any.
        spare_worker: "ready" keeps a second process for the models, "loaded" one that holds them; see `Supervisor`.
        monitor: the directory in which each version's calls are counted; None counts none.
        monitor_samples: how many raw inputs of a day are kept there.
        unload_seconds: a version that is no longer wanted stays callable for so long, for requests that were routed
            to it a moment ago.
    """

    poll_seconds: float = 1.0
    max_in_flight: int = 512
    trust: bool = False
    batching: str = "auto"
    batching_parameters: dict[str, Any] = field(default_factory=lambda: dict(DEFAULT_BATCHING))
    max_batch: int | None = None
    max_rows: int | None = MAX_ROWS
    spare_worker: str = "none"
    monitor: Path | None = None
    monitor_samples: int = 0
    unload_seconds: float = 1.0


class Fleet:
    """All models of a server, held by one worker process.

    Example:
        fleet = Fleet([ServedModel("photos", Path("saved_models/photos"))])
        await fleet.start()
        await fleet.settled()
        version = fleet.resolve("photos")
        answer = await fleet.call("photos", version, api="rest", method="predict", body=body, timeout=30)

    Args:
        models: what to serve.
        settings: how.
        run_seconds: a run of the graph is ended after so long: nobody waits for it any more. None lets it go on.
        first: a worker that was started before there was an event loop.
        spawn: starts a worker process.
        on_load: told name, version, seconds and whether it went well of every load.

    Attributes:
        supervisor: the worker's.
        max_in_flight: more calls at a time are refused with RESOURCE_EXHAUSTED.
        in_flight: calls that are being answered.
    """

    def __init__(
        self,
        models: Iterable[ServedModel],
        settings: FleetSettings | None = None,
        *,
        run_seconds: float | None = None,
        first: WorkerProcess | None = None,
        spawn: Callable[[], WorkerProcess] = WorkerProcess,
        on_load: Callable[[str, int, float, bool], None] = lambda name, version, seconds, fine: None,
        **supervision: Any,
    ):
        self.settings = settings or FleetSettings()
        self.max_in_flight = self.settings.max_in_flight
        self._run_seconds = run_seconds
        self.in_flight = 0
        self.on_load = on_load
        self.supervisor = Supervisor(
            spawn=spawn,
            first=first,
            on_up=self._worker_up,
            on_down=self._worker_down,
            spare=self.settings.spare_worker,
            **supervision,
        )
        self._models: dict[str, ModelState] = {}
        self._work = asyncio.Event()
        self._poll_now = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = self._started = False
        self.configure(models)

    @property
    def restarts(self) -> int:
        """How often the worker had to be started again."""
        return self.supervisor.restarts

    async def start(self) -> None:
        """Begin to look at base paths and to load."""
        await self.supervisor.start()
        self._spawn_task(self._poll())
        self._spawn_task(self._loader())

    async def stop(self, grace: float = 2.0) -> None:
        """End the worker, after what it is running or after `grace` seconds."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await self.supervisor.stop(grace)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def configure(self, models: Iterable[ServedModel]) -> None:
        """Serve these models from now on; what is no longer named is unloaded, what moved is loaded first.

        Labels whose versions are all available move at once.
        """
        asked = {model.name: model for model in models}
        for name, state in self._models.items():
            if name not in asked:
                state.drop()
        for name, served in asked.items():
            if name in self._models:
                self._models[name].follow(served)
            else:
                self._models[name] = ModelState(served)
        self._poll_now.set()
        self._changed.set()

    async def settled(self) -> None:
        """Wait until every base path was looked at and every wanted version is available or has failed.

        Raises:
            ServingError: the first worker ended before it was ready.
        """
        await asyncio.shield(self.supervisor.ready)
        while any(model.coming for model in self._models.values()):
            self._changed.clear()
            await self._changed.wait()
        self._started = True

    async def wait_available(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Wait until each of these models answers or cannot; return name and reason of those that cannot."""
        failed: list[tuple[str, str]] = []
        for name in names:
            while True:
                model = self._models.get(name)
                if model is None or not model.asked or model.available():
                    break
                if not model.coming:
                    failed.append((name, next(iter(model.problems()), "")))
                    break
                self._changed.clear()
                await self._changed.wait()
        return failed

    def configured(self) -> list[str]:
        """Return the names of the models that are to be served."""
        return [name for name, model in self._models.items() if model.asked]

    def models(self) -> dict[str, list[VersionStatus]]:
        """Return the statuses of every model that is served, or was, by name."""
        return {name: model.statuses() for name, model in self._models.items()}

    def labels(self, name: str) -> dict[str, int]:
        """Return where the labels of a model point now."""
        model = self._models.get(name)
        return dict(model.labels) if model else {}

    def problems(self) -> list[str]:
        """Return a line for each version, or whole model, that should be served and is not."""
        return [line for model in self._models.values() for line in model.problems()]

    def resolve(self, name: str, version: int | None = None, label: str | None = None) -> int:
        """Return the version that a request means.

        Args:
            name: the model.
            version: this one.
            label: the one with this label; the newest available one where neither is given.

        Raises:
            ServingError: NOT_FOUND, INVALID_ARGUMENT for an unknown label, UNAVAILABLE while it is being loaded.
        """
        model = self._models.get(name)
        if version is not None:
            return self._available(model, name, version).number
        if label is not None:
            # TensorFlow Serving looks for the label first, whatever the model.
            if model is None or (label not in model.labels and label not in model.served.labels):
                raise ServingError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
            target = model.labels.get(label, model.served.labels.get(label, -1))
            return self._available(model, name, target).number
        available = model.available() if model is not None else []
        if available:
            return max(available)
        if model is not None and model.coming:
            raise ServingError(Code.UNAVAILABLE, f"the model {name} is being loaded; try again later")
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Latest({name})")

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Return the states of a model's versions, newest first, or of one version.

        Raises:
            ServingError: NOT_FOUND.
        """
        model = self._models.get(name)
        found = model.statuses() if model is not None else []
        if not found:
            asked = "any versions" if version is None else f"version {version}"
            raise ServingError(Code.NOT_FOUND, f"Could not find {asked} of model {name}")
        if version is None:
            return found
        one = [status for status in found if status.version == version]
        if not one:
            raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
        return one

    def metadata(self, name: str, version: int) -> dict[str, Any]:
        """Return what GET .../metadata answers for a version.

        Raises:
            ServingError: it is not available.
        """
        return self._available(self._models.get(name), name, version).metadata or {}

    def manifest(self, name: str, version: int) -> dict[str, Any] | None:
        """Return a version's manifest.json as it is, or None where there is no readable one.

        Raises:
            ServingError: the version is not available.
        """
        one = self._available(self._models.get(name), name, version)
        if not one.manifest_read:
            one.manifest_read = True
            with contextlib.suppress(OSError, ValueError):
                content = json.loads((one.path / MANIFEST_NAME).read_text(encoding="utf-8"))
                one.manifest = content if isinstance(content, dict) else None
        return one.manifest

    def path(self, name: str, version: int) -> Path:
        """Return the folder of an available version.

        Raises:
            ServingError: it is not available.
        """
        return self._available(self._models.get(name), name, version).path

    async def call(
        self, name: str, version: int, *, api: str, method: str, body: bytes, timeout: float
    ) -> WorkerResponse:
        """Run one request.

        Args:
            name: the model.
            version: what `resolve` gave.
            api: "rest" or "grpc", which says what the body and the answer are.
            method: "predict", "classify", "regress", "multi_inference" or "metadata".
            body: JSON text or a serialized request.
            timeout: seconds.

        Returns:
            The answer.

        Raises:
            ServingError: what the worker says, UNAVAILABLE, DEADLINE_EXCEEDED or RESOURCE_EXHAUSTED.
        """
        one = self._available(self._models.get(name), name, version, leaving=True)
        if self.in_flight >= self.max_in_flight:
            raise ServingError(
                Code.RESOURCE_EXHAUSTED, f"the server has reached its limit of {self.max_in_flight} concurrent requests"
            )
        self.in_flight += 1
        one.calls += 1
        try:
            header, payload = await self.supervisor.call(Request(name, version, method, api, body), timeout)
        finally:
            self.in_flight -= 1
            one.calls -= 1
            self._changed.set()
        if header.get("code"):
            raise ServingError(Code(header["code"]), str(header.get("message", "")))
        return WorkerResponse(payload, int(header.get("runtime_us") or 0))

    async def check_body(self, *, method: str, body: bytes, timeout: float) -> None:
        """Check the body of a REST request for a model that does not answer, as far as that needs no model.

        A worker that is busy or away checks nothing.

        Args:
            method: "predict", "classify" or "regress".
            body: JSON text.
            timeout: seconds.

        Raises:
            ServingError: INVALID_ARGUMENT: no request of that method can have this body.
        """
        if self.in_flight >= self.max_in_flight:
            return
        self.in_flight += 1
        try:
            header, _ = await self.supervisor.call(Request("", 0, method, "rest", body), min(timeout, _CHECK_SECONDS))
        except ServingError:
            return
        finally:
            self.in_flight -= 1
        if header.get("code") == Code.INVALID_ARGUMENT:
            raise ServingError(Code.INVALID_ARGUMENT, str(header.get("message", "")))

    def _available(self, model: ModelState | None, name: str, version: int, *, leaving: bool = False) -> VersionState:
        one = model.versions.get(version) if model is not None else None
        if one is not None:
            if one.state == "AVAILABLE" or (leaving and one.state == "UNLOADING"):
                return one
            if one.coming:
                raise ServingError(Code.UNAVAILABLE, f"version {version} of the model {name} is being loaded")
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Specific({name}, {version})")

    def _spawn_task(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a component of the server has failed", exc_info=task.exception())

    async def _poll(self) -> None:
        while True:
            self._poll_now.clear()
            models = list(self._models.values())
            served = [model.served for model in models]
            sightings = await asyncio.to_thread(_look, [model.source for model in models])
            for model, meant, sighting in zip(models, served, sightings, strict=True):
                if model.served is meant:  # else the configuration has changed meanwhile
                    self._take(model, sighting)
            # Not wait_for: until Python 3.12 that loses a cancellation that comes together with what it waits for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.poll_seconds):
                    await self._poll_now.wait()

    def _take(self, model: ModelState, sighting: Sighting) -> None:
        """Compare what is wanted with what is there, and set loads and unloads going."""
        for one in model.take(sighting):
            self._begin_unload(model, one)
        self._work.set()
        self._settle(model)

    def _settle(self, model: ModelState) -> None:
        """Move labels, and unload what nobody wants once what is wanted answers."""
        model.move_labels()
        for line in model.stuck_labels():
            log.warning("%s", line)
        for one in model.superfluous():
            self._begin_unload(model, one)
        self._changed.set()

    def _begin_unload(self, model: ModelState, one: VersionState) -> None:
        one.state = "UNLOADING"
        self._spawn_task(self._unload(model, one))

    async def _unload(self, model: ModelState, one: VersionState) -> None:
        await asyncio.sleep(self.settings.unload_seconds)
        while one.calls and one.state == "UNLOADING":
            self._changed.clear()
            await self._changed.wait()
        if one.state == "UNLOADING":
            with contextlib.suppress(WorkerDiedError):
                await self.supervisor.unload(model.served.name, one.number)
            if one.state == "UNLOADING":
                one.end()
        log.info("%s version %d is unloaded", model.served.name, one.number)
        self._poll_now.set()
        self._changed.set()

    async def _loader(self) -> None:
        """Load what is to be loaded, one after the other, and then run what loads left of the warm-up."""
        while True:
            if not self.supervisor.up:
                found = None
            elif found := self._next(lambda one: one.coming):
                await self._load(*found)
                self._settle(found[0])
            elif found := self._next(lambda one: one.cold and one.state == "AVAILABLE"):
                await self._warm(*found)
            if found is None:
                self._work.clear()
                await self._work.wait()

    def _next(self, is_meant: Callable[[VersionState], bool]) -> tuple[ModelState, VersionState] | None:
        for model in self._models.values():
            for one in sorted(model.versions.values(), key=lambda one: -one.number):
                if is_meant(one):
                    return model, one
        return None

    async def _warm(self, model: ModelState, one: VersionState) -> None:
        """Run the rest of a version's warm-up while it answers; one that fails ends it, as it would have its load."""
        one.cold = False
        try:
            answer = await self.supervisor.warm(model.served.name, one.number)
        except WorkerDiedError as error:
            self._died_loading(model, one, error)
            return
        if answer.get("code") and one.state == "AVAILABLE":
            with contextlib.suppress(WorkerDiedError):
                await self.supervisor.unload(model.served.name, one.number)
            self._fail(model, one, Code(answer["code"]), str(answer.get("message", "")))
            self._settle(model)

    async def _load(self, model: ModelState, one: VersionState) -> None:
        name = model.served.name
        one.state = "LOADING"
        # Where nothing answers yet, a version that is warm enough to answer is better than none.
        answers = any(other.state == "AVAILABLE" for other in model.versions.values())
        verified = self.settings.batching == "auto" and (one.path / MANIFEST_NAME).is_file()
        header = {
            "name": name,
            "version": one.number,
            "path": str(one.path.absolute()),
            "trust": self.settings.trust,
            "warm": "all" if answers or one.deaths else "first",
            "run_seconds": self._run_seconds,
            "max_batch": self.settings.max_batch,
            "max_rows": self.settings.max_rows,
            "monitor": None if self.settings.monitor is None else str(self.settings.monitor.absolute()),
            "monitor_samples": self.settings.monitor_samples,
            "batching": self.settings.batching_parameters if verified or self.settings.batching == "on" else None,
        }
        began = time.monotonic()
        try:
            answer = await self.supervisor.load(header, alone=one.deaths > 0)
        except WorkerDiedError as error:
            self._died_loading(model, one, error)
            return
        except ServingError:  # it has to be alone and the worker does not come to rest
            await asyncio.sleep(self.settings.poll_seconds)
            return
        seconds = time.monotonic() - began
        if answer.get("code"):
            self._fail(model, one, Code(answer["code"]), str(answer.get("message", "")))
        else:
            one.state, one.code, one.deaths = "AVAILABLE", Code.OK, 0
            one.message = one.public_message = ""
            one.metadata = answer.get("metadata") or {}
            one.cold = bool(answer.get("left"))
            # At the start a server's banner says it all.
            level = logging.INFO if self._started else logging.DEBUG
            log.log(level, "%s version %d is loaded (%.1f s)", name, one.number, seconds)
        self.on_load(name, one.number, seconds, not answer.get("code"))

    def _died_loading(self, model: ModelState, one: VersionState, error: WorkerDiedError) -> None:
        """Try once more, alone, so that no call can be what ended the process; then give up."""
        one.deaths += error.begun
        if one.deaths >= 2 and one.state != "END":  # else it is not wanted any more
            self._fail(model, one, Code.INTERNAL, f"loading it crashed the worker process twice: {error}")

    def _fail(self, model: ModelState, one: VersionState, code: Code, message: str) -> None:
        one.end(code, message)
        model.source.failed(one.number)
        # At the start a server tells all that is not served when it knows it, once.
        level = logging.WARNING if self._started else logging.DEBUG
        log.log(level, "%s version %d could not be loaded: %s", model.served.name, one.number, message)

    def _worker_up(self) -> None:
        self._work.set()

    def _worker_down(self, reason: str) -> None:
        """What the worker held is gone; what is wanted is loaded again when there is a new one."""
        if self._stopping:
            return
        for model in self._models.values():
            model.lost()
        self._changed.set()


def _look(sources: list[Source]) -> list[Sighting]:
    return [source.look() for source in sources]
