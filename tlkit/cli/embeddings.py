"""`tlkit embeddings`: what a network for tables has learned about each category, as tables and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.errors import ConfigError, ProjectError, check_choice

app = typer.Typer(no_args_is_help=True, help="Learned vectors of a table's categories: export.")


@app.callback()
def _group() -> None:
    """Keep `export` a command of its own, though it is the only one."""


@app.command("export")
def export_embeddings(
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for the tables; embeddings/ in the project.", metavar="DIR")
    ] = None,
    form: Annotated[str, typer.Option("--form", help="csv or parquet.")] = "csv",
    maps: Annotated[bool, typer.Option("--maps", help="Also draw each embedding as a map, into reports/.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace tables of an earlier call.")] = False,
) -> None:
    """Write a table for each column of categories: the category, and its vector.

    tlkit.EmbeddingFeatures puts them in front of any model of scikit-learn; another project begins with them where its
    config.toml says start_from.

    Example:  tlkit embeddings export --form parquet --maps
    """
    from tlkit.cli.output import import_tensorflow, stdout_to_stderr
    from tlkit.cli.project import find_project
    from tlkit.cli.trained import load_learner, require_trained

    check_choice("form of the tables", form, ("csv", "parquet"))
    project = find_project()
    if not project.kind.has_rows:
        raise ConfigError(f"there are no embeddings of categories in {project.kind.items}", fix="they are for tables")
    folder = to if to is not None else project.config.root / "embeddings"
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise ProjectError(f"{folder} is not empty", fix="name another folder with --to, or replace it with --force")
    require_trained(project)
    with stdout_to_stderr():
        import_tensorflow()
        from tlkit.tasks.tabular.embedding_maps import embedding_map
        from tlkit.tasks.tabular.embedding_tables import embedding_tables, write_embedding_tables

        with project.code() as code:
            task = load_learner(project, code).task
            files = write_embedding_tables(task, folder, "parquet" if form == "parquet" else "csv", overwrite=force)
            if maps:
                for file, (name, table) in zip(list(files), embedding_tables(task).items(), strict=True):
                    files.append(embedding_map(table, project.reports / f"embedding_{file.stem}.png", title=name))
    for path in files:
        print(path)
