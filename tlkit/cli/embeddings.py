"""`tlkit embeddings`: what a network for tables has learned about each category, as tables and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.errors import ConfigError, ProjectError, check_choice

app = typer.Typer(no_args_is_help=True, help="Export the trained category embeddings of a table.")


@app.callback()
def _group() -> None:
    """Keep `export` a command of its own, though it is the only one."""


@app.command("export")
def export_embeddings(
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder to write the tables to. Default: embeddings/ in the project.", metavar="DIR"),
    ] = None,
    form: Annotated[str, typer.Option("--form", help="File format: csv or parquet.")] = "csv",
    maps: Annotated[bool, typer.Option("--maps", help="Also plot each embedding as a 2-D map into reports/.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing tables.")] = False,
) -> None:
    """Write one table per categorical column: each category and its vector.

    Use them in scikit-learn with tlkit.EmbeddingFeatures, or start another project from them with `start_from` in its
    config.toml.

    Example:  tlkit embeddings export --form parquet --maps
    """
    from tlkit.cli.output import import_tensorflow, stdout_to_stderr
    from tlkit.cli.project import find_project
    from tlkit.cli.trained import load_learner, require_trained
    from tlkit.lazy import loaded
    from tlkit.tasks.base import spec_of

    check_choice("form of the tables", form, ("csv", "parquet"))
    project = find_project()
    write = spec_of(project.config.project.task).embeddings
    if not write:
        raise ConfigError(
            f"a project on {project.kind.items} has no category embeddings",
            fix="run this command in a project on tables",
        )
    folder = to if to is not None else project.config.root / "embeddings"
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise ProjectError(
            f"{folder} is not empty", fix="choose another folder with --to, or overwrite it with --force"
        )
    require_trained(project)
    with stdout_to_stderr():
        import_tensorflow()
        with project.code() as code:
            task = load_learner(project, code).task
            files = loaded(write)(task, folder, form, overwrite=force, maps=project.reports if maps else None)
    for path in files:
        print(path)
