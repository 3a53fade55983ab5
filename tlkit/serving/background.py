"""A whole server in a thread of this process, for notebooks and tests."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn

from tlkit.errors import ExportError, TlkitError
from tlkit.serving.fleet import Fleet, FleetSettings
from tlkit.serving.grpc_door import grpc_server
from tlkit.serving.metrics import Metrics
from tlkit.serving.rest import MAX_BODY_BYTES, rest_app, uvicorn_config
from tlkit.serving.served_model import ServedModel, model_at
from tlkit.serving.server import address_of, listen
from tlkit.serving.status import ServingError

_STOP_SECONDS = 2.0


class BackgroundServer:
    """Serves one model while a `with` block runs: `tlkit serve` without a terminal.

    The event loop has a thread of its own and the model its own process, so a notebook's cells and loop go on. The
    ports are free ones of 127.0.0.1.

    Example:
        >>> with BackgroundServer("saved_models/photos") as server:
        ...     requests.get(server.url + "/v1/models/photos")

    Args:
        path: a version folder, or a model's base path.
        name: the name to serve it under; None takes the folder's.
        max_body_bytes: larger requests are refused, also after gunzip.
        timeout: seconds for one request.
        ui: serve the page to try the model with.
        settings: how the fleet works.

    Attributes:
        url: of REST, such as "http://127.0.0.1:40213".
        grpc_address: "127.0.0.1:port" of gRPC.
        name: of the model.

    Raises:
        ExportError: there is no model at `path`, or on entering, it cannot be loaded.
        TlkitError: on entering, the model's process cannot be started.
    """

    def __init__(
        self,
        path: str | Path,
        name: str | None = None,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        timeout: float = 60.0,
        ui: bool = False,
        settings: FleetSettings | None = None,
    ):
        self._model: ServedModel = model_at(Path(path), name)
        self._options: dict[str, Any] = {"max_body_bytes": max_body_bytes, "timeout": timeout, "ui": ui}
        self._settings = settings
        self.name = self._model.name
        self.url = self.grpc_address = ""
        self._ready, self._error = threading.Event(), None
        self._thread = threading.Thread(target=self._work, name="tlkit server", daemon=True)

    _error: BaseException | None
    _loop: asyncio.AbstractEventLoop
    _stop: asyncio.Event

    def __enter__(self) -> BackgroundServer:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  it is raised where the block is entered
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        metrics = Metrics()
        listening = listen("127.0.0.1", 0, "port")
        fleet = Fleet([self._model], self._settings, on_load=metrics.observe_load)
        rest: asyncio.Task[None] | None = None
        grpc = None
        try:
            await fleet.start()
            await self._loaded(fleet)
            app = rest_app(fleet, metrics=metrics, **self._options)
            config = uvicorn_config(app, host="127.0.0.1", port=0, graceful_seconds=int(_STOP_SECONDS))
            server = uvicorn.Server(config)
            grpc, port = await grpc_server(
                fleet,
                host="127.0.0.1",
                port=0,
                max_message_bytes=self._options["max_body_bytes"],
                timeout=self._options["timeout"],
                metrics=metrics,
            )
            rest = asyncio.create_task(server.serve(sockets=[listening]))
            while not server.started and not rest.done():
                await asyncio.sleep(0.005)
            self.url = "http://" + address_of("127.0.0.1", listening.getsockname()[1])
            self.grpc_address = address_of("127.0.0.1", port)
            self._ready.set()
            await self._stop.wait()
            server.should_exit = True
        finally:
            if grpc is not None:
                await grpc.stop(_STOP_SECONDS)
            if rest is not None:
                await asyncio.wait([rest])
            await fleet.stop(grace=_STOP_SECONDS)
            listening.close()

    async def _loaded(self, fleet: Fleet) -> None:
        try:
            await fleet.settled()
        except ServingError as error:
            raise TlkitError(error.message) from error
        try:
            fleet.resolve(self.name)
        except ServingError as error:
            raise ExportError((fleet.problems() or [error.message])[0]) from error
