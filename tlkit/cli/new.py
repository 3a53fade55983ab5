"""`tlkit new`: a project of the user's own from a template."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.cli.column_options import (
    Encoding,
    Label,
    PathColumn,
    Separator,
    Target,
    Text,
    answers_of,
    check_separator,
)
from tlkit.cli.output import note
from tlkit.errors import DataError, ProjectError

if TYPE_CHECKING:
    from tlkit.tasks.commands import TaskCommands


def new(
    template: Annotated[str, typer.Argument(help="Template name, see `tlkit templates`.")],
    directory: Annotated[Path, typer.Argument(help="Folder of the new project.", metavar="DIR")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of photos or texts, or a table file.", metavar="PATH"),
    ] = None,
    text: Text = None,
    label: Label = None,
    target: Target = None,
    path_column: PathColumn = None,
    separator: Separator = None,
    encoding: Encoding = None,
    force_columns: Annotated[
        bool,
        typer.Option(
            "--force-columns",
            help="For a table: create the project even if columns cannot be used. They are set to `ignore` "
            "in config.toml, "
            "with the reason.",
        ),
    ] = False,
    answers: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Value for a template question, or SECTION.KEY=VALUE for its config.toml.",
            metavar="KEY=VALUE",
        ),
    ] = None,
) -> None:
    """Create a project from a template.

    Example:  tlkit new text-sentiment reviews --data train.csv --text review --label stars
              tlkit new image-classification bees --data photos.csv --path-column file --label species
              tlkit new image-classification tags --data photos.csv --set target.separator=";"
              tlkit new tabular-embeddings houses --data train.csv --target price
              tlkit new image-regression angles --data angles.csv --target angle
              tlkit new image-regression risk --data scans.csv --set target.kind=survival --set target.time=days
                --set target.event=died
    """
    from tlkit.config import parse_override
    from tlkit.scaffold.new import change_config, check_target, get_template, new_project
    from tlkit.tasks.commands import Asked, commands_of

    chosen = get_template(template)
    kind = commands_of(chosen.task)
    given = parse_answers(answers or ())
    settings = {name: given.pop(name) for name in list(given) if "." in name}
    changes = [parse_override(f"{name}={value}", chosen.task) for name, value in settings.items()]
    # Where the template asks for a key of config.toml, setting the key answers the question, so the data is checked
    # with it.
    answered = {
        key: str(value)
        for section, key, value in changes
        if section != "target" and isinstance(chosen.questions.get(key), str)  # see `Asked.target_answers`
    }
    options = {"--text": text, "--label": label, "--target": target, "--path-column": path_column}
    options |= {"--separator": separator, "--encoding": encoding}
    check_separator(separator)
    given |= answers_of(options, chosen.questions, chosen.name)
    repeated = [key for key in answered if key in given]
    if data is not None and "data.path" in settings:
        repeated.append("data.path")
    if (target is not None or label is not None) and "target.columns" in settings:
        repeated.append("target.columns")
    if repeated:
        raise ProjectError(f"{repeated[0]} is given twice", fix="remove one of the two")
    values = {f"{section}.{key}": value for section, key, value in changes}
    asked = Asked(force_columns, values, ask if _somebody_is_there() else None)
    given |= answered | asked.target_answers(chosen.questions)
    chosen.check(given)
    check_target(directory)
    if data is not None:
        given["data_path"] = data_path_for(directory, data, kind)
        data = data.expanduser()
    if force_columns and (data is None or not kind.has_rows):
        raise ProjectError("--force-columns needs a table", fix="pass a table with --data, or remove --force-columns")
    if asked.survival is not None and target is not None:
        raise ProjectError("--target cannot be combined with a survival target", fix="remove --target")
    changes = [*kind.further(asked), *changes]
    complete = kind.complete(given, data, asked)

    def finish(baked: Path) -> None:
        if complete is not None:
            complete(baked)
        if changes:
            kind.check(change_config(baked / "config.toml", changes, root=directory))

    project = new_project(chosen, directory, given, finish)
    print(f"{directory} is ready. Next:")
    if Path.cwd() != project:
        print(f"  cd {shlex.quote(os.path.relpath(project))}")
    if "data_path" not in given:
        print(f"  copy {kind.put_data} into data/")
    print(f"  tlkit check\n  tlkit train\n  tlkit evaluate\n  tlkit export\n  tlkit predict {kind.example_input}")


def _somebody_is_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str, default: str, allowed: Sequence[str]) -> str:
    """Ask a person until the answer is one of those allowed."""
    while True:
        said = str(typer.prompt(question, default=default, err=True)).strip()
        if said in allowed:
            return said
        note(f"one of: {', '.join(allowed)}")


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
        if not value.isascii() and value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") != value:
            raise ProjectError(f"the value of {key.strip()} is not UTF-8", received=repr(value))
        answers[key.strip()] = value
    return answers


def data_path_for(project: Path, data: Path, kind: TaskCommands) -> str:
    """Return what the project's config says for `data`.

    It is relative to the project if it was given relative or lies beside the project, so that both can move together.

    Args:
        project: the folder that the project will have.
        data: a folder or a table.
        kind: what the project is to classify.

    Raises:
        DataError: there is no such folder or table, or it is empty.
        ProjectError: the project would lie inside the data's folder.
    """
    from tlkit.scaffold.origin import is_beside

    real, root = data.expanduser().resolve(), project.resolve()
    if not real.exists():
        raise DataError(f"{data} does not exist", fix=f"--data takes {kind.data_forms}")
    if real.is_dir():
        if not any(real.iterdir()):
            raise DataError(f"the data folder {data} is empty", fix=f"copy {kind.put_data} into it")
        if root.is_relative_to(real):
            raise ProjectError(
                f"the project folder {project} is inside its own data folder {data}", fix="choose another folder"
            )
    elif real.suffix.lower() not in kind.suffixes:
        raise DataError(f"{data} is not a folder or a table", allowed=kind.suffixes)
    if data.expanduser().is_absolute() and not is_beside(root, real):
        return str(real)
    return Path(os.path.relpath(real, root)).as_posix()
