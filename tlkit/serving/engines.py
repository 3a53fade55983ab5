"""TensorFlow Serving itself on this machine: its binary, or its Docker image, on the folders that tlkit exports.

Neither could be run where tlkit is made; what is tested is what they are asked, with stand-ins.

The image is started by `docker run` and not from the rendered compose.yaml: that file is for one model, user 10001 and
fixed ports, and needs Docker's Compose plugin, which many machines with Docker do not have.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from tlkit.errors import ConfigError, check_choice
from tlkit.separated import separated_writer
from tlkit.serving.deploy import IMAGE, check_image
from tlkit.serving.engine_config import EngineModel, engine_models, write_configs
from tlkit.serving.engine_process import EngineProcess, note
from tlkit.serving.server import listen

ENGINES = ("binary", "docker")
BINARY = "tensorflow_model_server"


def run_engine(
    engine: str,
    models: Sequence[tuple[str, Path]] | Path,
    *,
    rest_port: int = 8501,
    grpc_port: int | None = 8500,
    host: str = "127.0.0.1",
    batching_config: Path | None = None,
    monitoring_config: Path | None = None,
    image: str = IMAGE,
    poll_seconds: float = 1.0,
    models_root: Path | None = None,
    ready_timeout: float = 600.0,
    announce: Callable[[int, int | None], None] | None = None,
) -> int:
    """Run the real server until Ctrl-C or SIGTERM, with configurations made for this run.

    Example:
        run_engine("docker", [("photos", Path("saved_models/photos"))])

    Args:
        engine: "binary" (tensorflow_model_server on PATH) or "docker".
        models: (name, folder of versions or one version) each, or the path of a models.config.
        rest_port, grpc_port: TCP ports; 0 takes a free one, None is no gRPC.
        host: the address to publish; only Docker can be told, the binary listens on every address.
        batching_config: a BatchingParameters text proto; without it nothing is batched.
        monitoring_config: a MonitoringConfig text proto; Prometheus' metrics are on without it.
        image: the image for Docker.
        poll_seconds: how often the server looks for new versions.
        models_root: for a models.config: the folder that stands for /models.
        ready_timeout: seconds until every model must answer.
        announce: is called with the two ports when every model answers; prints the addresses by default.

    Returns:
        0 after a stop that was asked for; 1 when the server ended on its own or did not become ready.

    Raises:
        ConfigError: the binary, Docker or its daemon is absent, or a configuration cannot be used.
    """
    check_choice("engine", engine, ENGINES)
    check_image(image)
    found = engine_models(models, models_root)
    program = _binary() if engine == "binary" else _docker()
    if rest_port and rest_port == grpc_port:
        raise ConfigError("REST and gRPC need different ports", received=rest_port)
    open_to = host if engine == "docker" and host else "0.0.0.0"
    # Another server on one of the ports would be mistaken for this one.
    with listen(open_to, rest_port, "--rest-port") as rest, contextlib.ExitStack() as grpc:
        rest_port = rest.getsockname()[1]
        if grpc_port is not None:
            grpc_port = grpc.enter_context(listen(open_to, grpc_port, "--grpc-port")).getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="tlkit-serving-") as scratch:
        folder = Path(scratch)
        place = _place_for_binary if engine == "binary" else _place_for_docker
        base_paths = place(found, folder)
        (folder / "config").mkdir()
        files = write_configs(folder / "config", found, base_paths, batching_config, monitoring_config)
        if engine == "binary":
            ports, stop = (rest_port, grpc_port), None
            command = [program, *_flags(folder / "config", files, ports, poll_seconds)]
            note(
                f"{BINARY} has no option for an address: its ports are open on every address of this machine;"
                " --engine docker publishes them on 127.0.0.1 only"
            )
        else:
            name = f"tlkit-serving-{secrets.token_hex(4)}"
            stop = [program, "stop", "--time", "10", name]
            inner = _flags(Path("/config"), files, (8501, None if grpc_port is None else 8500), poll_seconds)
            publish = [(rest_port, 8501)] + ([] if grpc_port is None else [(grpc_port, 8500)])
            command = [program, *_docker_run(name, host, publish, found, base_paths, folder / "config", image), *inner]
        if announce is None:
            announce = _announcement(found, host)
        address = "127.0.0.1" if engine == "binary" or host in ("0.0.0.0", "::", "") else host
        server = EngineProcess(command, stop)
        return server.run((address, rest_port), [model.name for model in found], ready_timeout, announce, grpc_port)


def _binary() -> str:
    program = shutil.which(BINARY)
    if program is None:
        raise ConfigError(
            f"{BINARY} is not on PATH",
            fix="install TensorFlow Serving, or use --engine docker or --engine local",
        )
    return program


def _docker() -> str:
    program = shutil.which("docker")
    if program is None:
        raise ConfigError("docker is not installed", fix="install it, or use --engine local")
    try:
        asked = subprocess.run(
            [program, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=30,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError("docker's daemon does not respond", fix="start it again, or use --engine local") from None
    if asked.returncode != 0:
        lines = asked.stderr.strip().splitlines()
        raise ConfigError(
            "docker cannot reach its daemon",
            received=lines[-1] if lines else f"exit code {asked.returncode}",
            fix="start the daemon or join its group, or use --engine local",
        )
    return program


def _place_for_binary(models: Sequence[EngineModel], folder: Path) -> dict[str, str]:
    paths = {}
    for number, model in enumerate(models):
        path = model.base.resolve()
        if model.alone:
            (folder / "models" / str(number)).mkdir(parents=True)
            (folder / "models" / str(number) / "1").symlink_to(path)
            path = folder / "models" / str(number)
        paths[model.name] = str(path)
    return paths


def _place_for_docker(models: Sequence[EngineModel], folder: Path) -> dict[str, str]:
    return {model.name: f"/models/{number}" for number, model in enumerate(models)}


def _flags(config: Path, files: list[str], ports: tuple[int, int | None], poll_seconds: float) -> list[str]:
    flags = [
        f"--rest_api_port={ports[0]}",
        f"--port={ports[1] or 0}",  # 0 is no gRPC
        f"--model_config_file={config / 'models.config'}",
        f"--monitoring_config_file={config / 'monitoring.config'}",
        f"--file_system_poll_wait_seconds={max(1, round(poll_seconds))}",
        # A label that is there from the start names a version that is only about to be loaded.
        "--allow_version_labels_for_unavailable_models=true",
    ]
    if "batching.config" in files:
        flags += ["--enable_batching=true", f"--batching_parameters_file={config / 'batching.config'}"]
    return flags


def _docker_run(
    name: str,
    host: str,
    publish: list[tuple[int, int]],
    models: Sequence[EngineModel],
    base_paths: dict[str, str],
    config: Path,
    image: str,
) -> list[str]:
    address = f"[{host}]" if ":" in host else host
    mounts = [(config.resolve(), "/config")]
    mounts += [(model.base.resolve(), base_paths[model.name] + ("/1" if model.alone else "")) for model in models]
    return [
        "run",
        "--rm",
        "--init",  # the server has no handler for SIGTERM: as process 1 it would not stop
        f"--name={name}",
        f"--user={os.getuid()}:{os.getgid()}",  # reads what you can read
        "--read-only",
        "--tmpfs=/tmp",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        *(f"--publish={address}:{outside}:{inside}" for outside, inside in publish),
        *(
            f"--mount={_csv('type=bind', f'source={source}', f'target={target}', 'readonly')}"
            for source, target in mounts
        ),
        f"--entrypoint=/usr/bin/{BINARY}",
        image,
    ]


def _csv(*fields: str) -> str:
    """Join fields as `docker run --mount` parses them: a path may hold a comma."""
    text = io.StringIO()
    separated_writer(text)(fields)
    return text.getvalue().removesuffix("\n")


def _announcement(models: Sequence[EngineModel], host: str) -> Callable[[int, int | None], None]:
    def announce(rest_port: int, grpc_port: int | None) -> None:
        address = f"[{host}]" if ":" in host else host
        for model in models:
            print(f"serving {model.base} at http://{address}:{rest_port}/v1/models/{quote(model.name, safe='')}")
        grpc = "" if grpc_port is None else f"gRPC on {address}:{grpc_port}; "
        print(f"{grpc}Ctrl-C stops", flush=True)

    return announce
