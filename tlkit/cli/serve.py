"""`tlkit serve`: answer REST predictions on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    export: Annotated[
        Path | None,
        typer.Argument(help="A version folder or a model's folder of versions; the project's newest by default."),
    ] = None,
    rest_port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 opens it to the network.")] = "127.0.0.1",
    engine: Annotated[str, typer.Option(help="What serves: local.")] = "local",
    name: Annotated[str | None, typer.Option(help="Model name in the URL; the folder's name by default.")] = None,
) -> None:
    """Serve an export over TensorFlow Serving's REST interface, until Ctrl-C.

    A small server for this machine, not TensorFlow Serving.

    Example: tlkit serve saved_models/photos --rest-port 8501
    """
    from tlkit.cli.output import import_tensorflow
    from tlkit.errors import ConfigError
    from tlkit.export.manifest import Manifest, resolve_export

    if engine != "local":
        raise ConfigError("unknown engine", received=engine, allowed=("local",))
    if export is None:
        from tlkit.cli.project import find_project

        export = find_project().export_dir
    path = resolve_export(export)
    import_tensorflow()

    from tlkit.serving.rest import RestServer
    from tlkit.serving.servable import Servable

    servable = Servable(path, name)
    servable.warm_up()
    try:
        server = RestServer(servable, host, rest_port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{rest_port}: {error.strerror or error}",
            fix="choose another --rest-port (0 takes a free one) or --host",
        ) from error
    with server:
        print(_banner(server.url, servable.name, path, Manifest.read(path).interface.content), flush=True)
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            print("stopped", flush=True)


def _banner(url: str, name: str, path: Path, content: str) -> str:
    from urllib.parse import quote

    address = f"{url}/v1/models/{quote(name, safe='')}"
    photo = """(printf '{"instances": [{"b64": "'; base64 < photo.jpg | tr -d '\\n'; printf '"}]}') | curl -d @-"""
    row = """curl -d '{"instances": [{"COLUMN": VALUE, ...}]}'"""
    ask = {"image": photo, "text": """curl -d '{"instances": ["SOME TEXT"]}'""", "row": row}[content]
    return f"serving {path} at {address} (Ctrl-C stops)\ntry: {ask} {address}:predict"
