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
        typer.Argument(help="Version folder, or a model's folder of versions. Default: the project's export."),
    ] = None,
    rest_port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port for REST; 0 for a free port.")] = 8501,
    grpc_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="TCP port for gRPC; 0 for a free port. Default: 8500, or a free port with --rest-port 0.",
        ),
    ] = None,
    no_grpc: Annotated[bool, typer.Option("--no-grpc", help="Serve REST only.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all network interfaces.")] = "127.0.0.1",
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Additional host name to accept in the Host header, * for any; repeatable. On a loopback address"
            " the default is loopback names only.",
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Origin whose web pages may call the API (CORS), such as https://app.example.org, * for any;"
            " repeatable.",
        ),
    ] = None,
    allow_reload_config: Annotated[
        bool,
        typer.Option(
            "--allow-reload-config",
            help="Allow gRPC requests (HandleReloadConfigRequest) to change the served folders. On a loopback address"
            " this is the default, unless --trust is given.",
        ),
    ] = False,
    engine: Annotated[
        str,
        typer.Option(help="Server to run: local, or TensorFlow Serving as binary (on PATH) or docker."),
    ] = "local",
    name: Annotated[str | None, typer.Option(help="Model name in the URL. Default: the folder's name.")] = None,
    model_config: Annotated[
        Path | None,
        typer.Option(help="TensorFlow Serving models.config file, for several models, versions and labels."),
    ] = None,
    models_root: Annotated[
        Path | None, typer.Option(help="Local folder for the path /models in --model-config.")
    ] = None,
    config_poll: Annotated[
        float, typer.Option(min=0, help="Poll interval of --model-config in seconds; 0 reads it once.")
    ] = 1.0,
    poll_seconds: Annotated[float, typer.Option(min=0.05, help="Poll interval for new versions in seconds.")] = 1.0,
    batching: Annotated[
        Batching, typer.Option(help="Batch waiting requests. auto: for exports that tlkit verified.")
    ] = Batching.AUTO,
    batching_config: Annotated[Path | None, typer.Option(help="TensorFlow Serving batching.config file.")] = None,
    monitoring_config: Annotated[Path | None, typer.Option(help="TensorFlow Serving monitoring.config file.")] = None,
    max_batch: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Maximum batch size. Larger requests are run in slices. Default: the size the export was "
            "verified with;"
            " 0 never slices.",
        ),
    ] = None,
    max_rows: Annotated[
        int, typer.Option(min=0, help="Reject requests with more rows with status 400; 0 for no limit.")
    ] = 10_000,
    spare_worker: Annotated[
        SpareMode,
        typer.Option(
            help="Keep a spare worker process to replace one that exits. ready: TensorFlow is imported. loaded: the"
            " models are loaded too, which doubles memory use."
        ),
    ] = SpareMode.NONE,
    max_in_flight: Annotated[
        int, typer.Option(min=1, help="Maximum concurrent requests; more are rejected with status 429.")
    ] = 512,
    timeout: Annotated[float, typer.Option(min=0.001, help="Timeout of a request in seconds, then status 504.")] = 60.0,
    grace: Annotated[float, typer.Option(min=0, help="Seconds to wait for requests in flight at shutdown.")] = 3.0,
    max_body_mb: Annotated[
        float,
        typer.Option(
            min=0.001, max=1024, help="Maximum request size in MiB; larger REST requests are rejected with status 413."
        ),
    ] = 64.0,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate (chain) for both ports.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of the certificate.")] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(help="PEM certificate authority. Clients without a certificate signed by it are rejected."),
    ] = None,
    access_log: Annotated[str | None, typer.Option(help="Access log file, one line per request; - for stdout.")] = None,
    monitor: Annotated[
        Path | None,
        typer.Option(
            "--monitor",
            help="Count inputs and predictions of each day in this directory, for `tlkit drift`.",
            metavar="DIR",
        ),
    ] = None,
    monitor_samples: Annotated[
        int,
        typer.Option("--monitor-samples", min=0, help="Number of raw inputs of a day to keep there. Default: none."),
    ] = 0,
    trust: Annotated[
        bool, typer.Option("--trust", help="Also load SavedModels that run Python or read files.")
    ] = False,
    ui: Annotated[bool, typer.Option("--ui", help="Serve a web page at / to try the models.")] = False,
) -> None:
    """Serve exports over TensorFlow Serving's REST and gRPC API until Ctrl-C.

    The default is a local server, not TensorFlow Serving. Use --engine binary or docker to run TensorFlow Serving.

    Example: tlkit serve saved_models/photos --rest-port 8501
             tlkit serve saved_models/photos --monitor monitor/
    """
    from tlkit.errors import ConfigError, check_choice

    check_choice("engine", engine, ("local", "binary", "docker"))
    _check_together(locals())
    if model_config is not None and (export is not None or name is not None):
        raise ConfigError("--model-config cannot be combined with EXPORT or --name")
    if export is None and model_config is None:
        from tlkit.cli.project import find_project

        export = find_project().export_dir
    if no_grpc and grpc_port is not None:
        raise ConfigError("--no-grpc and --grpc-port cannot be combined")
    port: int | None = None if no_grpc else (8500 if rest_port else 0) if grpc_port is None else grpc_port
    if port and port == rest_port:
        raise ConfigError("REST and gRPC need different ports", received=rest_port)
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
        monitor=monitor,
        monitor_samples=monitor_samples,
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
    if monitor is not None:
        from tlkit.cli.output import note
        from tlkit.serving.monitor_front import prepare_monitor

        for line in prepare_monitor(monitor, models):
            note(f"warning: {line}")
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
        raise ConfigError("--tls-cert and --tls-key must be used together")
    if given["tls_client_ca"] is not None and given["tls_cert"] is None:
        raise ConfigError("--tls-client-ca needs --tls-cert and --tls-key")
    if given["models_root"] is not None and given["model_config"] is None:
        raise ConfigError("--models-root needs --model-config")
    if given["batching_config"] is not None and given["batching"] == "off":
        raise ConfigError("--batching off and --batching-config cannot be combined")
    if given["batching_config"] is not None and given["max_batch"] is not None:
        raise ConfigError(
            "--max-batch and --batching-config cannot be combined",
            fix="set max_batch_size and enable_large_batch_splitting in the file",
        )
    if given["monitor_samples"] and given["monitor"] is None:
        raise ConfigError("--monitor-samples needs --monitor")
    local = (
        "monitor",
        "tls_cert",
        "access_log",
        "trust",
        "ui",
        "allowed_host",
        "cors_origin",
        "allow_reload_config",
        "max_batch",
    )
    if given["engine"] != "local":
        if given["spare_worker"] is not SpareMode.NONE:
            raise ConfigError("--spare-worker needs --engine local")
        for option in local:
            if given[option]:
                raise ConfigError(f"--{option.replace('_', '-')} needs --engine local")


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
                    f"warning: listening on {host} without authentication: anyone who can reach the port can"
                    f" use the models{'' if options['tls'] else ' and read the traffic'}"
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
    return ", ".join(words) or "no version is available"
