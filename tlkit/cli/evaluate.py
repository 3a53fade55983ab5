"""`tlkit evaluate`: how good the trained network is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.errors import DataError


def evaluate(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Other labelled photos of the same classes.", metavar="PATH"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with metrics, per_class and n.")
    ] = False,
) -> None:
    """Measure the best weights on photos that training has not seen.

    Example:  tlkit evaluate --json
    """
    from tlkit.cli.output import import_tensorflow, print_json, stdout_to_stderr
    from tlkit.cli.project import find_project
    from tlkit.cli.trained import load_learner, require_trained

    project = find_project()
    if data is not None and not data.exists():
        raise DataError(f"there is no {data}", fix="--data takes a folder of photos, or a CSV or Parquet table")
    require_trained(project)
    with stdout_to_stderr(as_json):
        import_tensorflow()
        with project.code() as code:
            metrics = load_learner(project, code, data).evaluate("val" if data is None else "test")
    if as_json:
        print_json({key: value for key, value in metrics.to_dict().items() if key in ("metrics", "per_class", "n")})
        return
    from rich.console import Console

    Console().print(metrics.table())
