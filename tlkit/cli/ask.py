"""Commands that a task declares: they ask a signature of an export that has inputs of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.errors import ConfigError, DataError, ExportError

if TYPE_CHECKING:
    from tlkit.tasks.base import AskCommand

_EXPORT = "Version folder, or a model's folder of versions. Default: the project's newest export."


def ask_commands() -> list[tuple[str, Callable[..., None]]]:
    """Return the commands that tasks declare, by name."""
    from tlkit.tasks.base import TASKS, spec_of

    return [(asked.name, _command(asked)) for task in TASKS for asked in spec_of(task).ask_commands]


def _command(asked: AskCommand) -> Callable[..., None]:
    def command(
        values: list[str],
        top: int = 10,
        export: Path | None = None,
        as_json: bool = False,
        flag: bool = False,
    ) -> None:
        _ask(asked, values, top, export, as_json, flag)

    # Typer reads the options from here; what they are depends on the task.
    command.__annotations__ = {
        "values": Annotated[list[str], typer.Argument(help=asked.argument_help, metavar=f"{asked.argument}...")],
        "top": Annotated[int, typer.Option("-k", "--top", help="Number of items to list.", min=1)],
        "export": Annotated[Path | None, typer.Option("--export", help=_EXPORT, metavar="DIR")],
        "as_json": Annotated[bool, typer.Option("--json", help="Print one JSON list.")],
        "flag": Annotated[bool, typer.Option(asked.flag or "--no-flag", help=asked.flag_help, hidden=not asked.flag)],
        "return": None,
    }
    command.__doc__ = f"{asked.help}\n\nExample:  {asked.example}"
    return command


def _ask(asked: AskCommand, values: Sequence[str], top: int, export: Path | None, as_json: bool, flag: bool) -> None:
    from tlkit.cli.output import import_tensorflow, print_json, stdout_to_stderr
    from tlkit.cli.project import find_project
    from tlkit.export.manifest import Manifest, resolve_export

    folder = resolve_export(export if export is not None else find_project().export_dir)
    manifest = Manifest.read(folder)
    if asked.signature not in manifest.queries:
        raise ExportError(
            f"{folder} has no signature {asked.signature!r}",
            received=manifest.kind,
            fix="export a model of a task that has it, with this version of tlkit",
        )
    signature = manifest.signatures[asked.signature]
    name = next(iter(manifest.queries[asked.signature].inputs))
    given = {name: _typed(values, signature.inputs[name].dtype, asked.argument), "k": [top] * len(values)}
    if asked.flag:
        given[asked.flag_input] = [flag != asked.flag_inverts] * len(values)
    with stdout_to_stderr():
        import_tensorflow()
        answers = _answered(folder, asked.signature, given)
    rows: list[dict[str, Any]] = [
        {
            "input": value,
            "items": [
                {"item": item.decode("utf-8"), "score": float(score)}
                for item, score in zip(items, scores, strict=True)
                if item
            ],
        }
        for value, items, scores in zip(values, answers["items"], answers["scores"], strict=True)
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(row["input"])
        for item in row["items"]:
            print(f"  {item['score']:8.4f}  {item['item']}")
        if not row["items"]:
            print("  nothing: it is not in the training data, or nothing is left")


def _typed(values: Sequence[str], dtype: str, argument: str) -> list[Any]:
    """Return ids as the export takes them.

    Raises:
        DataError: one is no whole number, and the ids of the training data are.
    """
    if dtype == "string":
        return list(values)
    bad = [value for value in values if not re.fullmatch(r"[+-]?[0-9]{1,18}", value.strip())]
    if bad:
        raise DataError(f"{argument} is a whole number in the training data", received=bad[0])
    return [int(value) for value in values]


def _answered(folder: Path, signature: str, given: dict[str, list[Any]]) -> dict[str, Any]:
    import tensorflow as tf

    call = tf.saved_model.load(str(folder)).signatures[signature]
    dtypes = call.structured_input_signature[1]
    try:
        found = call(**{name: tf.constant(values, dtypes[name].dtype) for name, values in given.items()})
    except tf.errors.InvalidArgumentError as error:
        reason = re.search(r"k must be 1 to ([0-9]+)", str(error))
        if reason is None:
            raise
        raise ConfigError("-k is out of range", received=given["k"][0], allowed=f"1 to {reason[1]}") from error
    return {name: value.numpy() for name, value in found.items()}
