"""A whole server in a thread of this process, for notebooks and tests."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType

from tlkit.serving.fleet import FleetSettings
from tlkit.serving.served_model import model_at
from tlkit.serving.server import Running, Server, ServerOptions, listen


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
        max_body_bytes: int = ServerOptions.max_body_bytes,
        timeout: float = ServerOptions.timeout,
        ui: bool = False,
        settings: FleetSettings | None = None,
    ):
        model = model_at(Path(path), name)
        self._options = ServerOptions(
            models=(model,),
            rest_port=0,
            grpc_port=0,
            max_body_bytes=max_body_bytes,
            timeout=timeout,
            ui=ui,
            settings=settings or FleetSettings(),
        )
        self.name = model.name
        self.url = self.grpc_address = ""
        self._ready, self._error = threading.Event(), None
        self._thread = threading.Thread(target=self._work, name="tlkit server", daemon=True)

    _error: BaseException | None
    _loop: asyncio.AbstractEventLoop
    _server: Server

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
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join()

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  it is raised where the block is entered
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = Server(self._options, listen(self._options.host, 0, "port"), self._announce)
        await self._server.run()

    def _announce(self, running: Running) -> None:
        self.url, self.grpc_address = running.url, running.grpc or ""
        self._ready.set()
