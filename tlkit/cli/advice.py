"""How an argument of Python is given on the command line: as an option of the command, or as a key of config.toml."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from typing import Any

# Parameters of commands that are called otherwise than the argument.
_PARAMETERS = {
    "text_column": "text",
    "label_column": "label",
    "targets": "target",
    "overwrite": "force",
}
# Arguments that config.toml has, by section; `tests/cli/test_advice.py` compares it with the sections.
SECTIONS = {
    "data": (
        "separator",
        "encoding",
        "quoting",
        "on_error",
        "label_separator",
        "label_columns",
        "label_column",
        "path_column",
        "text_column",
        "targets",
        "time_column",
        "val_fraction",
    ),
    "model": ("weights",),
    "train": ("head",),
}


def sayer(words: Sequence[str], app: Any) -> Callable[[str, object], str]:
    """Return how the command of a command line is given an argument, for `TlkitError.message`.

    Args:
        words: what follows `tlkit`.
        app: the command `tlkit` with its subcommands.
    """
    options = _options_of(words, app)

    def say(name: str, value: object) -> str:
        option = options.get(_PARAMETERS.get(name, name))
        if option is not None:
            return f"pass {option}" if value is None or value is True else f"pass {option} {_quoted(value)}"
        for section, names in SECTIONS.items():
            if name in names:
                shown = name if value is None else f"{name} = {json.dumps(value, ensure_ascii=False)}"
                return f"set {shown} under [{section}] of config.toml"
        return f"set {name}" if value is None else f"set {name} to {value}"

    return say


def _options_of(words: Sequence[str], app: Any) -> dict[str, str]:
    """Return parameter -> option of the command that the words call."""
    command = app
    for word in words:
        found = getattr(command, "commands", {}).get(word)
        if found is None:
            break
        command = found
    return {
        parameter.name: next((word for word in parameter.opts if word.startswith("--")), parameter.opts[0])
        for parameter in getattr(command, "params", ())
        if parameter.opts and parameter.opts[0].startswith("-")
    }


def _quoted(value: object) -> str:
    text = str(value)
    return "$'\\t'" if text == "\t" else shlex.quote(text)
