"""`tlkit serve`: answer predictions on this machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tlkit.serving.fleet import Fleet
    from tlkit.serving.server import Running, ServerOptions

_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


class Batching(StrEnum):
    """Whose requests are merged into one run of the model."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class SpareMode(StrEnum):
    """What a second process for the models holds."""

    NONE = "none"
    READY = "ready"
    LOADED = "loaded"


def serve(
    export: Annotated[
        Path | None,
        typer.Argument(help="A version folder or a model's folder of versions; the project's own by default."),
    ] = None,
    rest_port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8501,
    grpc_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="TCP port, 0 for a free one; 8500 by default, or a free one with --rest-port 0."
        ),
    ] = None,
    no_grpc: Annotated[bool, typer.Option("--no-grpc", help="Answer REST only.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 opens it to the network.")] = "127.0.0.1",
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A further name in the Host header of requests, * for any; may be repeated. On a loopback address"
            " only loopback names are taken without it.",
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="An origin whose web pages may use the API, such as https://app.example.org, * for any; may be"
            " repeated.",
        ),
    ] = None,
    allow_reload_config: Annotated[
        bool,
        typer.Option(
            "--allow-reload-config",
            help="Let gRPC requests (HandleReloadConfigRequest) change which folders are served. On a loopback address"
            " they may without it, unless --trust is given.",
        ),
    ] = False,
    engine: Annotated[
        str,
        typer.Option(help="What serves: local, or TensorFlow Serving itself: binary (on PATH) or docker."),
    ] = "local",
    name: Annotated[str | None, typer.Option(help="Model name in the URL; the folder's name by default.")] = None,
    model_config: Annotated[
        Path | None,
        typer.Option(help="A models.config as TensorFlow Serving reads it, for several models, versions and labels."),
    ] = None,
    models_root: Annotated[
        Path | None, typer.Option(help="The folder that stands for /models in --model-config.")
    ] = None,
    config_poll: Annotated[
        float, typer.Option(min=0, help="Seconds between looks at --model-config; 0 reads it once.")
    ] = 1.0,
    poll_seconds: Annotated[float, typer.Option(min=0.05, help="Seconds between looks for new versions.")] = 1.0,
    batching: Annotated[
        Batching, typer.Option(help="Merge waiting requests: auto does for exports that tlkit verified.")
    ] = Batching.AUTO,
    batching_config: Annotated[
        Path | None, typer.Option(help="A batching.config as TensorFlow Serving reads it.")
    ] = None,
    monitoring_config: Annotated[
        Path | None, typer.Option(help="A monitoring.config as TensorFlow Serving reads it.")
    ] = None,
    max_batch: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Rows of one run: a request with more is run in slices. By default what an export was verified with;"
            " 0 runs every request as it is.",
        ),
    ] = None,
    max_rows: Annotated[
        int, typer.Option(min=0, help="Requests with more rows are answered 400; 0 takes any.")
    ] = 10_000,
    spare_worker: Annotated[
        SpareMode,
        typer.Option(
            help="Keep a second process that takes the place of one that ends: ready has imported TensorFlow, loaded"
            " holds the models, too, and as much memory."
        ),
    ] = SpareMode.NONE,
    max_in_flight: Annotated[int, typer.Option(min=1, help="More requests at a time are answered 429.")] = 512,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds for one request, then 504.")] = 60.0,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that requests in flight have when the server is told to stop.")
    ] = 3.0,
    max_body_mb: Annotated[
        float, typer.Option(min=0.001, max=1024, help="MiB of one request over REST (else 413) and gRPC.")
    ] = 64.0,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate (chain), for both ports.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its PEM key.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM authority; clients without a certificate of it are turned away.")
    ] = None,
    access_log: Annotated[str | None, typer.Option(help="A file for a line per request; - for stdout.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load SavedModels that run Python or read files, too.")
    ] = False,
    ui: Annotated[bool, typer.Option("--ui", help="Serve a page to try the models at /.")] = False,
) -> None:
    """Serve exports over TensorFlow Serving's REST and gRPC interfaces, until Ctrl-C.

    A server for this machine, not TensorFlow Serving; --engine binary and docker start that one.

    Example: tlkit serve saved_models/photos --rest-port 8501
    """
    from tlkit.errors import ConfigError, check_choice

    check_choice("engine", engine, ("local", "binary", "docker"))
    _check_together(locals())
    if model_config is not None and (export is not None or name is not None):
        raise ConfigError("--model-config names its models: EXPORT and --name do not go with it")
    if export is None and model_config is None:
        from tlkit.cli.project import find_project

        export = find_project().export_dir
    if no_grpc and grpc_port is not None:
        raise ConfigError("--no-grpc and --grpc-port do not go together")
    port: int | None = None if no_grpc else (8500 if rest_port else 0) if grpc_port is None else grpc_port
    if port and port == rest_port:
        raise ConfigError("REST and gRPC need a port each", received=rest_port)
    if engine != "local":
        _run_engine(
            engine,
            model_config or export,
            name,
            rest_port=rest_port,
            grpc_port=port,
            host=host,
            batching_config=batching_config,
            monitoring_config=monitoring_config,
            poll_seconds=poll_seconds,
            models_root=models_root,
        )
        return
    # What the worker needs is imported here, the rest when it has been started: it imports TensorFlow meanwhile.
    from tlkit.serving.fleet import FleetSettings
    from tlkit.serving.http_access import HttpAccess
    from tlkit.serving.models_config import read_batching_config, read_monitoring_config
    from tlkit.serving.served_model import model_at
    from tlkit.serving.tls import Tls

    HttpAccess.of(host, allowed_hosts=allowed_host or (), cors_origins=cors_origin or ())  # before anything starts
    settings = FleetSettings(
        poll_seconds=poll_seconds,
        max_in_flight=max_in_flight,
        trust=trust,
        batching=batching.value,
        max_batch=max_batch,
        max_rows=max_rows or None,
        spare_worker=spare_worker.value,
    )
    if batching_config is not None:
        settings.batching_parameters.update(read_batching_config(batching_config))
    tls = Tls(tls_cert, tls_key, tls_client_ca) if tls_cert and tls_key else None
    text = ""
    root = models_root.resolve() if models_root is not None else None
    if model_config is not None:
        from tlkit.serving.models_config import read_text
        from tlkit.serving.server import load_models_config

        text = read_text(model_config)
        models = load_models_config(text, model_config, root)
    else:
        assert export is not None
        models = (model_at(export, name),)
    _serve_local(
        {
            "models": models,
            "config": model_config,
            "config_text": text,
            "models_root": root,
            "host": host,
            "rest_port": rest_port,
            "grpc_port": port,
            "tls": tls,
            "timeout": timeout,
            "grace": grace,
            "max_body_bytes": int(max_body_mb * 2**20),
            "ui": ui,
            "allow_reload_config": allow_reload_config or None,
            "allowed_hosts": tuple(allowed_host or ()),
            "cors_origins": tuple(cors_origin or ()),
            "config_poll": config_poll,
            "settings": settings,
            **({} if monitoring_config is None else {"metrics_path": read_monitoring_config(monitoring_config)}),
        },
        access_log,
    )


def _check_together(given: dict[str, Any]) -> None:
    """Refuse options that do not fit each other."""
    from tlkit.errors import ConfigError

    if (given["tls_cert"] is None) != (given["tls_key"] is None):
        raise ConfigError("--tls-cert and --tls-key go together")
    if given["tls_client_ca"] is not None and given["tls_cert"] is None:
        raise ConfigError("--tls-client-ca needs --tls-cert and --tls-key")
    if given["models_root"] is not None and given["model_config"] is None:
        raise ConfigError("--models-root needs --model-config")
    if given["batching_config"] is not None and given["batching"] == "off":
        raise ConfigError("--batching off and --batching-config do not go together")
    if given["batching_config"] is not None and given["max_batch"] is not None:
        raise ConfigError(
            "--max-batch and --batching-config do not go together",
            fix="max_batch_size and enable_large_batch_splitting say it in the file",
        )
    local = ("tls_cert", "access_log", "trust", "ui", "allowed_host", "cors_origin", "allow_reload_config", "max_batch")
    if given["engine"] != "local":
        if given["spare_worker"] is not SpareMode.NONE:
            raise ConfigError("--spare-worker is for --engine local only")
        for option in local:
            if given[option]:
                raise ConfigError(f"--{option.replace('_', '-')} is for --engine local only")


def _run_engine(engine: str, what: Path | None, name: str | None, **options: Any) -> None:
    """Let TensorFlow Serving itself serve; its exit code is ours."""
    from tlkit.serving.engines import run_engine
    from tlkit.serving.served_model import model_at

    assert what is not None
    models: Any = what
    if what.is_dir() or not what.is_file():
        model = model_at(what, name)
        models = [(model.name, what)]
    raise typer.Exit(run_engine(engine, models, **options))


def _serve_local(options: dict[str, Any], access_log: str | None) -> None:
    from tlkit.cli.output import note
    from tlkit.serving.access_log import AccessLog
    from tlkit.serving.server import ServerOptions, listen, run_server
    from tlkit.serving.worker_process import WorkerProcess

    host = options["host"]
    with listen(host, options["rest_port"], "--rest-port") as listening:
        if options["grpc_port"]:
            listen(host, options["grpc_port"], "--grpc-port").close()
        log = None if access_log is None else AccessLog(None if access_log == "-" else Path(access_log))
        worker = WorkerProcess()
        try:
            if host not in _LOCAL_HOSTS:
                note(
                    f"warning: listening on {host}: there is no authentication, so anyone who can reach the port can"
                    f" use the models{'' if options['tls'] else ' and read along'}"
                )
            server = ServerOptions(**options, access_log=log)
            run_server(server, listening, worker, lambda running: print(_banner(server, running), flush=True))
        finally:
            worker.close()
    print("stopped", flush=True)


def _banner(options: ServerOptions, running: Running) -> str:
    from urllib.parse import quote

    from tlkit.export.manifest_schemas import upgraded
    from tlkit.inputs.base import input_spec

    fleet = running.fleet
    where = f" and gRPC at {running.grpc}" if running.grpc else ""
    end = f"{where} (Ctrl-C stops)" + (f"\npage: {running.url}/" if options.ui else "")
    curl = "curl -k" if options.tls else "curl"
    if options.config is not None:
        models = [f"  {name}: {_versions(fleet, name)}" for name in fleet.models()]
        first = quote(options.models[0].name, safe="")
        ask = f"try: {curl} {running.url}/v1/models/{first}/metadata"
        return "\n".join([f"serving {options.config} at {running.url}{end}", *models, ask])
    (model,) = options.models
    version = fleet.resolve(model.name)
    address = f"{running.url}/v1/models/{quote(model.name, safe='')}"
    head = f"serving {fleet.path(model.name, version)} at {address}{end}"
    manifest = fleet.manifest(model.name, version)
    if manifest is None:
        return f"{head}\ntry: {curl} {address}/metadata"
    content = upgraded(manifest)["interface"]["content"]
    return f"{head}\ntry: {input_spec(content).request.replace('CURL', curl)} {address}:predict"


def _versions(fleet: Fleet, name: str) -> str:
    """Write the versions that answer with their labels, such as "2, 1 (stable)"."""
    labels = fleet.labels(name)
    words = []
    for status in fleet.models()[name]:
        own = sorted(label for label, version in labels.items() if version == status.version)
        if status.state == "AVAILABLE":
            words.append(f"{status.version} ({', '.join(own)})" if own else str(status.version))
    return ", ".join(words) or "nothing is available"
