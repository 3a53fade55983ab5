"""`tlkit report`: what a trained network does with its data, as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.errors import DataError


def report(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Report on other labelled data with the same columns or classes.", metavar="PATH"),
    ] = None,
) -> None:
    """Write reports/report.html: metrics, learning curves, confusions, largest errors with explanations, worst groups.

    The page is one file without scripts that loads nothing. Results of `tlkit check` are on it if there are any.

    Example:  tlkit report --data test.csv
    """
    from tlkit.cli.check import RESULT
    from tlkit.cli.output import import_tensorflow, native_noise_filtered, stdout_to_stderr
    from tlkit.cli.project import find_project
    from tlkit.cli.trained import load_learner, require_trained

    project = find_project()
    if data is not None and not data.exists():
        raise DataError(f"{data} does not exist", fix=f"--data takes {project.kind.data_forms}")
    require_trained(project)
    with native_noise_filtered(), stdout_to_stderr():
        import_tensorflow()
        with project.code() as code:
            learn = load_learner(project, code, data)
            title, split = project.config.project.name, "val" if data is None else "test"
            page = project.reports / "report.html"
            path = learn.report(page, title=title, split=split, check=project.reports / RESULT)
    print(path)
