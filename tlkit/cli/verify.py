"""`tlkit verify`: run the named checks on an export, or on a server that should serve it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.cli.server_options import CaFile, ServedName


def verify(
    export: Annotated[
        Path | None,
        typer.Argument(help="Version folder, or a model's folder of versions. Default: the project's newest export."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            help="Compare this running server with the export: http://HOST:PORT or grpc://HOST:PORT.",
            metavar="URL",
        ),
    ] = None,
    name: ServedName = None,
    ca_file: CaFile = None,
    wait: Annotated[
        float | None,
        typer.Option("--wait", help="Seconds to wait until the server is ready. Default: 10.", min=0),
    ] = None,
) -> None:
    """Check an export the way TensorFlow Serving loads it, in a fresh process without Keras and tlkit.

    With --server, compare a running server (TensorFlow Serving or the local one) with the predictions in the export's
    manifest. Exits with 1 if a check fails.

    Example:  tlkit verify saved_models/photos/3
              tlkit verify --server http://127.0.0.1:8501 saved_models/photos
    """
    import json

    from tlkit.cli.answers import ServerAddress
    from tlkit.cli.project import find_project
    from tlkit.errors import ConfigError
    from tlkit.export.manifest import resolve_export

    asked = ServerAddress.asked(server, name, ca_file)
    if wait is not None and server is None:
        raise ConfigError("--wait needs --server", fix="add --server URL")
    path = resolve_export(export if export is not None else find_project().export_dir)
    if asked is not None:
        from tlkit.serving.canary import CANNOT_CATCH, verify_server

        waiting = {} if wait is None else {"wait": wait}
        results = verify_server(asked.url, path, name=asked.name, ca_file=asked.ca_file, **waiting)
        subject = f"{server}, compared with {path}"
    else:
        from tlkit.export.verify import CANNOT_CATCH, verify_export

        results = verify_export(path)
        subject = str(path)
    ok = all(check.ok for check in results)
    if as_json:
        checks = [
            {"name": check.name, "ok": check.ok, "reason": check.reason, "seconds": check.seconds} for check in results
        ]
        where = {} if server is None else {"server": server}
        document = {"export": str(path), **where, "ok": ok, "checks": checks, "cannot_catch": list(CANNOT_CATCH)}
        print(json.dumps(document))
    else:
        _print_table(subject, results, CANNOT_CATCH)
    if not ok:
        raise typer.Exit(1)


def _print_table(subject: str, results: list, cannot_catch: tuple[str, ...]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table("check", "", "result", "s", box=None, pad_edge=False)
    skipped = [check for check in results if not check.ok and check.reason.startswith("not run: ")]
    for check in results:
        mark = "[green]ok[/]" if check.ok else "-" if check in skipped else "[bold red]FAILED[/]"
        table.add_row(check.name, mark, escape(check.reason), "" if check in skipped else f"{check.seconds:.1f}")
    console.print(table)
    failed = sum(not check.ok for check in results) - len(skipped)
    console.print()
    if failed or skipped:
        left = f", {len(skipped)} could not be run," if skipped else ""
        said = f"[bold red]{failed} of {len(results)} checks failed[/]{left} on {escape(subject)}"
    else:
        said = f"[green]all {len(results)} checks passed[/] on {escape(subject)}"
    console.print(said, soft_wrap=True)
    console.print("Not checked:")
    for line in cannot_catch:
        console.print(f"- {escape(line)}", soft_wrap=True)
