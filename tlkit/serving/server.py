"""Puts a server together: the fleet, the two doors and the configuration file in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlkit.errors import ConfigError, ExportError, TlkitError
from tlkit.export.manifest import version_number
from tlkit.serving.access_log import AccessLog
from tlkit.serving.draining import Draining
from tlkit.serving.fleet import Fleet, FleetSettings
from tlkit.serving.http_access import HttpAccess, is_loopback
from tlkit.serving.metrics import PATH as METRICS_PATH
from tlkit.serving.metrics import Metrics
from tlkit.serving.models_config import check_labels, parse_models_config
from tlkit.serving.reload_config import ConfigReloader
from tlkit.serving.served_model import ServedModel
from tlkit.serving.status import ServingError
from tlkit.serving.tls import Tls
from tlkit.serving.worker_process import WorkerProcess

log = logging.getLogger("tlkit.serving")
#: Requests in flight have so many seconds when the server is told to stop, and the rest so many more.
GRACE_SECONDS = 3.0
_LAST_SECONDS = 2.0


@dataclass(frozen=True)
class ServerOptions:
    """What a server is told.

    Args:
        models: what to serve.
        config: the models.config that they came from, which is read again when it changes.
        config_text: what it held.
        models_root: the folder that stands for /models in `config`.
        host: the address to listen on.
        rest_port, grpc_port: TCP ports; 0 takes a free one, and no gRPC is None.
        tls: for both ports.
        timeout: seconds for one request.
        grace: seconds that requests in flight have when the server is told to stop.
        max_body_bytes: larger requests are refused, also after gunzip.
        access_log: a line for each request; closed with the server.
        metrics_path: where Prometheus asks; None counts nothing.
        ui: serve the page to try models with.
        allowed_hosts: further names that may stand in a request's Host header; see `HttpAccess.of`.
        cors_origins: origins whose web pages may use the API; "*" is any.
        allow_reload_config: let gRPC requests change which models are served; None allows it on loopback addresses
            unless `settings.trust`.
        config_poll: how often `config` is read, in seconds; 0 for never again.
        settings: how the fleet works.
    """

    models: tuple[ServedModel, ...]
    config: Path | None = None
    config_text: str = ""
    models_root: Path | None = None
    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int | None = 8500
    tls: Tls | None = None
    timeout: float = 60.0
    grace: float = GRACE_SECONDS
    max_body_bytes: int = 64 << 20
    access_log: AccessLog | None = None
    metrics_path: str | None = METRICS_PATH
    ui: bool = False
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    allow_reload_config: bool | None = None
    config_poll: float = 1.0
    settings: FleetSettings = field(default_factory=FleetSettings)


@dataclass(frozen=True)
class Running:
    """A server that is ready.

    Attributes:
        url: of REST, as this machine reaches it.
        grpc: "address:port" of gRPC, or None.
        fleet: its models.
    """

    url: str
    grpc: str | None
    fleet: Fleet


def listen(host: str, port: int, option: str) -> socket.socket:
    """Open a listening socket, so that a taken port is told before anything is started.

    Args:
        host: a name or an address.
        port: TCP port; 0 takes a free one.
        option: the command line option to name in the message.

    Raises:
        ConfigError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(1024)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise cannot_listen(host, port, error, option) from error
    listening.setblocking(False)
    return listening


def cannot_listen(host: str, port: int, error: OSError, option: str) -> ConfigError:
    """Say that an address cannot be had, and what to do."""
    reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or error
    return ConfigError(
        f"cannot listen on {host}:{port}: {reason}", fix=f"choose another {option} (0 for a free port) or --host"
    )


def load_models_config(text: str, path: Path, root: Path | None) -> tuple[ServedModel, ...]:
    """Parse a models.config and hold its labels against what lies in the base paths.

    Raises:
        ConfigError: it cannot be served.
    """
    models = parse_models_config(text, path, root)
    for model in models:
        if model.labels and not model.specific:
            check_labels(model, _versions_in(model.base_path), path)
    return tuple(models)


def run_server(
    options: ServerOptions,
    listening: socket.socket,
    worker: WorkerProcess,
    announce: Callable[[Running], None],
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        options: what to serve and how.
        listening: for REST, from `listen`.
        worker: the first one, started before this module was imported.
        announce: called when every model is available or has failed.

    Raises:
        ConfigError: an address cannot be had.
        ExportError: the only model could not be loaded.
        TlkitError: the model's process cannot be started.
    """
    server = Server(options, listening, announce)

    async def run() -> None:
        # Not one is lost while the doors are imported; a test's shell may have told us to ignore SIGINT.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, server.stop)
        await server.run(worker)

    asyncio.run(run())


class Server:
    """A server in the running event loop.

    Args:
        options: what to serve and how.
        listening: for REST, from `listen`; closed with the server.
        announce: called when every model is available or has failed.
    """

    def __init__(self, options: ServerOptions, listening: socket.socket, announce: Callable[[Running], None]):
        self._options = options
        self._listening = listening
        self._announce = announce
        self._stop = asyncio.Event()
        self._asked = 0
        self._draining = Draining()
        self._access = HttpAccess.of(
            options.host,
            str(listening.getsockname()[0]),
            allowed_hosts=options.allowed_hosts,
            cors_origins=options.cors_origins,
        )

    def stop(self) -> None:
        """Let `run` end after the requests in flight, or the grace; asked again, it does not wait for them."""
        self._asked += 1
        self._stop.set()
        if self._asked > 1:  # impatience
            self._fleet.supervisor.kill(final=True)

    async def run(self, worker: WorkerProcess | None = None) -> None:
        """Serve until `stop`.

        Args:
            worker: one that was started before; None starts it.

        Raises:
            ConfigError: an address cannot be had.
            ExportError: the only model could not be loaded.
            TlkitError: the model's process cannot be started.
        """
        options = self._options
        self._metrics = Metrics()
        self._fleet = Fleet(
            options.models,
            options.settings,
            run_seconds=options.timeout,
            first=worker,
            on_load=self._metrics.observe_load,
        )
        if options.settings.monitor is not None:
            from tlkit.serving.monitor_front import MonitorGauges

            self._metrics.sources.append(MonitorGauges(options.settings.monitor, self._fleet).lines)
        doors: list[Any] = []
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._fleet.start()
            rest, grpc, grpc_port = await self._open_doors()
            doors = [rest, grpc]
            tasks.append(asyncio.create_task(rest.serve(sockets=[self._listening])))
            if await self._ready():
                self._check_loaded()
                url = address_of(options.host, self._listening.getsockname()[1])
                scheme = "https" if options.tls else "http"
                grpc_address = address_of(options.host, grpc_port) if grpc_port is not None else None
                self._announce(Running(f"{scheme}://{url}", grpc_address, self._fleet))
                if options.config is not None and options.config_poll > 0:
                    tasks.append(asyncio.create_task(self._follow_config(options.config)))
                await self._wait(tasks[0])
        finally:
            await self._close(doors, tasks)

    async def _open_doors(self) -> tuple[Any, Any, int | None]:
        """Import and make the two doors: the worker imports TensorFlow meanwhile, which takes longer."""
        import uvicorn

        from tlkit.serving.rest import rest_app, uvicorn_config

        options = self._options

        class Quiet(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Any:  # they are ours
                yield

        app = rest_app(
            self._fleet,
            max_body_bytes=options.max_body_bytes,
            timeout=options.timeout,
            access_log=options.access_log,
            metrics=self._metrics if options.metrics_path is not None else None,
            metrics_path=options.metrics_path or METRICS_PATH,
            ui=options.ui,
            access=self._access,
            draining=self._draining,
        )
        rest = Quiet(
            uvicorn_config(
                app,
                host=options.host,
                port=options.rest_port,
                tls=options.tls,
                graceful_seconds=int(options.grace + 2 * _LAST_SECONDS),
            )
        )
        if options.grpc_port is None:
            return rest, None, None
        from tlkit.serving.grpc_server import grpc_server

        try:
            grpc, port = await grpc_server(
                self._fleet,
                host=options.host,
                port=options.grpc_port,
                max_message_bytes=options.max_body_bytes,
                timeout=options.timeout,
                tls=options.tls,
                metrics=self._metrics,
                access_log=options.access_log,
                reload=self._reloader().apply,
                draining=self._draining,
            )
        except (OSError, RuntimeError) as error:
            taken = OSError(errno.EADDRINUSE, "") if isinstance(error, RuntimeError) else error
            raise cannot_listen(options.host, options.grpc_port, taken, "--grpc-port") from error
        return rest, grpc, port

    def _reloader(self) -> ConfigReloader:
        options = self._options
        allowed = options.allow_reload_config
        if allowed is None:
            # Whoever can use the port could else let the server run Python of his own.
            allowed = is_loopback(self._listening.getsockname()[0]) and not options.settings.trust
        return ConfigReloader(self._fleet, models_root=options.models_root, allowed=allowed)

    async def _ready(self) -> bool:
        """Wait until the models are there; return False when the server is told to stop before."""
        settled = asyncio.ensure_future(self._fleet.settled())
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((settled, stop), return_when=asyncio.FIRST_COMPLETED)
            if not settled.done():
                return False
            settled.result()
        except ServingError as error:
            raise TlkitError(error.message, fix="run `tlkit doctor` to check the TensorFlow installation") from error
        finally:
            for task in (settled, stop):
                task.cancel()
        return True

    def _check_loaded(self) -> None:
        """A server for one export is of no use without it; one with a configuration file goes on."""
        problems = self._fleet.problems()
        if self._options.config is None:
            (model,) = self._options.models
            try:
                self._fleet.resolve(model.name)
            except ServingError as error:
                raise ExportError(problems[0] if problems else error.message) from error
        for line in problems:
            log.warning("%s", line)

    async def _wait(self, rest: asyncio.Task[None]) -> None:
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((stop, rest), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if rest.done():
            rest.result()

    async def _close(self, doors: list[Any], tasks: list[asyncio.Task[None]]) -> None:
        """Take no new requests, let those in flight end or end them, and stop the worker."""
        rest, grpc = doors or (None, None)
        self._draining.begin()
        is_done = await self._draining.wait(self._options.grace)
        ending: list[asyncio.Future[Any]] = []
        if rest is not None:
            rest.should_exit = True
            ending.append(tasks[0])
        if grpc is not None:
            ending.append(asyncio.ensure_future(grpc.stop(_LAST_SECONDS)))
        for task in tasks[1:]:
            task.cancel()
        if ending and is_done:
            await asyncio.wait(ending, timeout=_LAST_SECONDS)
        await self._fleet.stop(grace=_LAST_SECONDS if self._fleet.in_flight == 0 else 0.0)
        if ending:  # who still waited was told that the worker is gone
            await asyncio.wait(ending, timeout=_LAST_SECONDS)
        if rest is not None:
            rest.force_exit = True
        for one in ending:
            one.cancel()
        await asyncio.gather(*ending, *tasks, return_exceptions=True)
        self._listening.close()
        if self._options.access_log is not None:
            await asyncio.to_thread(self._options.access_log.close)

    async def _follow_config(self, path: Path) -> None:
        """Read the configuration file again and again; one that cannot be used is told once, and tried again."""
        options = self._options
        served, told = options.config_text, ""
        while True:
            await asyncio.sleep(options.config_poll)
            try:
                text = await asyncio.to_thread(path.read_text, "utf-8")
                if text == served:
                    continue
                models = await asyncio.to_thread(load_models_config, text, path, options.models_root)
            except (ConfigError, OSError, UnicodeDecodeError) as error:
                why = f"{path} cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
                if why != told:
                    log.warning("keeping the last valid configuration: %s", why)
                told = why
                continue
            self._fleet.configure(models)
            served, told = text, ""
            log.info("reloaded %s: %s", path, ", ".join(model.name for model in models))


def address_of(host: str, port: int) -> str:
    """Return "host:port" as this machine reaches a server that listens on `host`."""
    here = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{here}]:{port}" if ":" in here else f"{here}:{port}"


def _versions_in(base: Path) -> list[int]:
    try:
        names = [child.name for child in base.iterdir() if child.is_dir()]
    except OSError:
        return []
    return [number for number in map(version_number, names) if number is not None]
