"""Options that say which columns of a table are read and how: the same in every command."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from tlkit.errors import ConfigError

Text = Annotated[
    str | None, typer.Option("--text", help="Column with the texts, for a table of texts.", metavar="COLUMN")
]
Label = Annotated[
    str | None,
    typer.Option("--label", help="Column with the labels, for a table of photos or texts.", metavar="COLUMN"),
]
Target = Annotated[
    str | None, typer.Option("--target", help="Column to predict, for a table of rows or photos.", metavar="COLUMN")
]
PathColumn = Annotated[
    str | None,
    typer.Option("--path-column", help="Column with the file paths, for a table of photos.", metavar="COLUMN"),
]
Separator = Annotated[
    str | None,
    typer.Option(
        "--separator", help="Field separator of a CSV or TSV file. Default: by file suffix.", metavar="CHARACTER"
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", help="Encoding of a text file, such as latin-1. Default: UTF-8.", metavar="CODEC"),
]

# Option -> key of [data]. A template asks for the same names, but for the targets.
_KEYS = {
    "--text": "text_column",
    "--label": "label_column",
    "--target": "targets",
    "--path-column": "path_column",
    "--separator": "separator",
    "--encoding": "encoding",
}


def check_separator(separator: str | None) -> None:
    """Refuse a separator of several characters.

    Raises:
        ConfigError: with what was given.
    """
    if separator and len(separator) != 1:
        raise ConfigError("--separator must be one character", received=separator)


def answers_of(options: dict[str, str | None], questions: Any, template: str) -> dict[str, str]:
    """Return the answers to a template's questions that options give.

    Args:
        options: option -> value; None where it was left out.
        questions: what the template asks for.
        template: its name.

    Raises:
        ConfigError: an option is not for this template.
    """
    given = {option: value for option, value in options.items() if value is not None}
    names = {option: "target" if option == "--target" else key for option, key in _KEYS.items()}
    for option in given:
        if names[option] not in questions:
            fitting = [other for other, name in names.items() if name in questions]
            raise ConfigError(f"{option} is not an option of the template {template}", allowed=fitting)
    return {names[option]: value for option, value in given.items()}


def overrides_of(options: dict[str, str | None], data: Any, items: str) -> list[str]:
    """Return options as overrides of config.toml, `SECTION.KEY=VALUE`.

    Args:
        options: option -> value; None where it was left out.
        data: [data] of the project's config.
        items: what the project is about, in the plural.

    Raises:
        ConfigError: an option is not for this kind of project.
    """
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if not hasattr(data, _KEYS[option]):
            fitting = [other for other in options if hasattr(data, _KEYS[other])]
            raise ConfigError(f"{option} is not an option of a project on {items}", allowed=fitting)
    return [f"data.{_KEYS[option]}={json.dumps(value)}" for option, value in given.items()]
