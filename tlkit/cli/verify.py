"""`tlkit verify`: run the named checks on an export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verify(
    export: Annotated[
        Path | None,
        typer.Argument(help="A version folder or a model's folder of versions; the project's newest by default."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")] = False,
) -> None:
    """Check an export as TensorFlow Serving would meet it, in a fresh process without Keras and tlkit.

    Exits with 1 when a check fails.

    Example: tlkit verify saved_models/photos/3
    """
    import json

    from tlkit.export.manifest import resolve_export
    from tlkit.export.verify import CANNOT_CATCH, verify_export

    path = resolve_export(export if export is not None else _project_export_dir())
    results = verify_export(path)
    ok = all(check.ok for check in results)
    if as_json:
        checks = [
            {"name": check.name, "ok": check.ok, "reason": check.reason, "seconds": check.seconds} for check in results
        ]
        print(json.dumps({"export": str(path), "ok": ok, "checks": checks, "cannot_catch": list(CANNOT_CATCH)}))
    else:
        _print_table(path, results, CANNOT_CATCH)
    if not ok:
        raise typer.Exit(1)


def _project_export_dir() -> Path:
    from tlkit.cli.project import find_project

    return find_project().export_dir


def _print_table(path: Path, results: list, cannot_catch: tuple[str, ...]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table("check", "", "what was seen", "s", box=None, pad_edge=False)
    for check in results:
        mark = "[green]ok[/]" if check.ok else "[bold red]FAILED[/]"
        table.add_row(check.name, mark, escape(check.reason), f"{check.seconds:.1f}")
    console.print(table)
    failed = [check.name for check in results if not check.ok]
    console.print()
    if failed:
        console.print(f"[bold red]{len(failed)} of {len(results)} checks failed[/] on {escape(str(path))}")
    else:
        console.print(f"[green]all {len(results)} checks passed[/] on {escape(str(path))}")
    console.print("What this cannot catch:")
    for line in cannot_catch:
        console.print(f"- {line}")
