"""`tlkit new`: a project of the user's own from a template."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tlkit.errors import DataError, ProjectError


def new(
    template: Annotated[str, typer.Argument(help="A name from `tlkit templates`.")],
    directory: Annotated[Path, typer.Argument(help="The new project's folder.", metavar="DIR")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of photos, or a CSV or Parquet table.", metavar="PATH"),
    ] = None,
    answers: Annotated[
        list[str] | None, typer.Option("--set", help="An answer to the template.", metavar="KEY=VALUE")
    ] = None,
) -> None:
    """Make a project from a template.

    Example:  tlkit new image-classification bees --data photos --set augment=top_down
    """
    from tlkit.catalogue import image
    from tlkit.scaffold.new import check_target, get_template, new_project

    chosen = get_template(template)
    given = parse_answers(answers or ())
    chosen.check(given)
    check_target(directory.absolute())
    if "backbone" in given:
        given.setdefault("image_size", str(image.get(given["backbone"]).size))
    if data is not None:
        given["data_path"] = data_path_for(directory, data)
    project = new_project(chosen, directory, given)
    print(f"{project} is ready. Next:")
    if Path.cwd() != project:
        print(f"  cd {shlex.quote(os.path.relpath(project))}")
    if "data_path" not in given:
        print("  put one folder of photos per class into data/")
    print("  tlkit train\n  tlkit evaluate\n  tlkit export\n  tlkit predict SOME.jpg")


def parse_answers(pairs: Sequence[str]) -> dict[str, str]:
    """Split KEY=VALUE strings.

    Raises:
        ProjectError: one of them has no `=`.
    """
    answers = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise ProjectError("--set takes KEY=VALUE", received=pair)
        answers[key.strip()] = value
    return answers


def data_path_for(project: Path, data: Path) -> str:
    """Return what the project's config says for `data`: relative to the project if it was given relative.

    Raises:
        DataError: there is no such folder or table, or it is empty.
        ProjectError: the project would lie inside the photos' folder.
    """
    real, root = data.expanduser().resolve(), project.resolve()
    if not real.exists():
        raise DataError(f"there is no {data}", fix="--data takes a folder of photos, or a CSV or Parquet table")
    if real.is_dir():
        if not any(real.iterdir()):
            raise DataError(f"the data folder {data} is empty", fix="put one folder of photos per class into it")
        if root.is_relative_to(real):
            raise ProjectError(
                f"the project {project} would lie inside its own photos {data}", fix="choose another folder"
            )
    elif real.suffix.lower() not in (".csv", ".parquet"):
        raise DataError(f"{data} is neither a folder nor a table", allowed=".csv, .parquet")
    return str(real) if data.expanduser().is_absolute() else Path(os.path.relpath(real, root)).as_posix()
