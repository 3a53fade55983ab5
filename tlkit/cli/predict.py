"""`tlkit predict`: answers about photos, texts or the rows of a table, as a client of the export would get them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.cli.column_options import Encoding, Label, PathColumn, Separator, Target, check_separator
from tlkit.cli.predict_options import EscapeFormulas, ScoreColumns, Strict
from tlkit.cli.server_options import CaFile, ServedName
from tlkit.errors import ConfigError, ProjectError

if TYPE_CHECKING:
    from tlkit.cli.answers import ServerAddress
    from tlkit.cli.predict_table import TableOptions
    from tlkit.cli.project import Project
    from tlkit.inputs.commands import InputCommands


def predict(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Photos, folders of photos, texts, or a table.", metavar="[INPUT]..."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON: a list with one object per input or row. For folders of photos, and if an input "
            "fails: an object with predictions and failed.",
        ),
    ] = False,
    top: Annotated[int | None, typer.Option("--top", help="Number of classes to show.", min=1)] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Table of texts, or of paths of photos.", metavar="TABLE")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Output table with predictions: .csv, .tsv, .jsonl or .parquet.", metavar="TABLE"),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            "--text-column",
            "--column",
            help="Column with the texts, for a table of texts. Default: the training data's column.",
            metavar="COLUMN",
        ),
    ] = None,
    label: Label = None,
    target: Target = None,
    path_column: PathColumn = None,
    separator: Separator = None,
    encoding: Encoding = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the --out table.")] = False,
    server: Annotated[
        str | None,
        typer.Option(
            "--server", help="Send the inputs to this server: http://HOST:PORT or grpc://HOST:PORT.", metavar="URL"
        ),
    ] = None,
    name: ServedName = None,
    ca_file: CaFile = None,
    trust: Annotated[
        bool | None,
        typer.Option(
            "--trust/--no-trust",
            help="Add conformal sets or intervals, and the distance to the training data. Default: with --json, for "
            "images and texts that are named one by one, where the export has them.",
        ),
    ] = None,
    strict: Strict = False,
    escape_formulas: EscapeFormulas = False,
    score_columns: ScoreColumns = True,
) -> None:
    """Predict with the newest export, or with the trained checkpoint if there is no export.

    With --file, predict every row of a table. The --out table has its columns, the predicted class or value, and a
    probability per class. Label and target columns are copied and not used: --label and --target only check that they
    exist.

    If an input cannot be used, the others are still predicted. The failed input is listed on stderr with the reason
    (for a table also in OUT.errors.*), and the exit code is 1. With --json, failed inputs are in `failed`, next to
    `predictions`. With --strict, nothing is printed or written, and the exit code is 2.

    Example:  tlkit predict photo.jpg --top 2
              tlkit predict "what a film" --json
              tlkit predict --file in.csv --out out.csv
              tlkit predict rows.csv --out scored.csv
              tlkit predict photo.jpg --server http://127.0.0.1:8501

    With --server and --name, photos and texts need no project.
    """
    from tlkit.cli.answers import ServerAddress
    from tlkit.cli.predict_table import TableOptions

    asked = ServerAddress.asked(server, name, ca_file)
    check_separator(separator)
    project = _project(asked)
    rows = project is not None and project.kind.has_rows
    options = TableOptions(
        column=path_column or text,
        label=target if rows else label,
        force=force,
        server=asked,
        strict=strict,
        escape_formulas=escape_formulas,
        separator=separator,
        encoding=encoding,
        trust=bool(trust),
        score_columns=score_columns,
    )
    for_tables = {"--out": out, "--force": force, "--escape-formulas": escape_formulas, "--text": text}
    for_tables |= {"--label": label, "--target": target, "--path-column": path_column}
    for_tables |= {"--separator": separator, "--encoding": encoding, "--no-score-columns": not score_columns}
    if project is not None and rows:
        _refuse_together(
            "rows of a table", {"--top": top, "--text": text, "--label": label, "--path-column": path_column}
        )
        tables = [*map(Path, inputs or ()), *([file] if file is not None else [])]
        if len(tables) != 1:
            what = "there is nothing to predict" if not tables else "rows are read from one table"
            raise ConfigError(what, fix=f"tlkit predict {project.kind.example_input}")
        for option in ("--force", "--escape-formulas"):
            if for_tables[option] and out is None:
                raise ConfigError(f"{option} needs --out", fix=f"add --out, or remove {option}")
        _predict_table(project, tables[0], out, options, as_json)
    elif file is not None:
        if project is None:
            raise ConfigError(
                "--file needs a project, whose config.toml describes the table",
                fix="run the command in the project's folder",
            )
        _refuse_together("--file", {"inputs": inputs, "--top": top})
        if target is not None:
            raise ConfigError(
                "--target is an option for tables of rows", fix=f"use --label for the labels of {project.kind.items}"
            )
        if out is None:
            raise ConfigError("--file needs --out, the output table", fix="for example --out out.csv")
        if path_column is not None and hasattr(project.config.data, "text_column"):
            raise ConfigError(
                "--path-column is an option for tables of photos", fix="use --text for the column of texts"
            )
        if text is not None and path_column is not None:
            raise ConfigError("--text and --path-column cannot be combined", fix="remove one of them")
        _predict_table(project, file, out, options, as_json)
    else:
        if given := [option for option, value in for_tables.items() if value]:
            raise ConfigError(f"{given[0]} needs a table", fix="pass the table with --file")
        if not inputs:
            example = "INPUT..." if project is None else f"{project.kind.example_input}, or --file TABLE --out TABLE"
            raise ConfigError("there is nothing to predict", fix=f"tlkit predict {example}")
        _predict_inputs(project, inputs, asked, top=top, trust=trust, strict=strict, as_json=as_json)


def _predict_table(project: Project, file: Path, out: Path | None, options: TableOptions, as_json: bool) -> None:
    """Predict a table and say what became of it; exit with 1 if rows failed."""
    from tlkit.cli.output import print_json
    from tlkit.cli.predict_table import predict_table, shown

    answers, failures, total = predict_table(project, file, out, options)
    rest = "use --json to list all"
    if isinstance(answers, dict):
        rest = str(answers["errors"])
        if as_json:
            print_json(answers)
        elif failures.count:
            print(f"{answers['out']}: {answers['scored']:,} of {answers['rows']:,} rows, {answers['failed']:,} failed")
            print(f"{answers['errors']}: failed rows with the reasons")
        else:
            print(f"{answers['out']}: {answers['rows']:,} rows")
    elif as_json:
        print_json({"predictions": answers, "failed": failures.listed} if failures.count else answers)
    else:
        for line in shown(answers):
            print(line)
    failures.tell(total, "rows", rest)
    if failures.count:
        raise typer.Exit(1)


def _predict_inputs(
    project: Project | None,
    words: Sequence[str],
    server: ServerAddress | None,
    *,
    top: int | None,
    trust: bool | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Predict the words of the command line and print what became of them; exit with 1 if some failed."""
    from tlkit.cli.answers import has_trust, outputs, predictor, remote_predictor, spec_of_project
    from tlkit.cli.output import native_noise_filtered, note, print_json, stdout_to_stderr
    from tlkit.cli.predict_inputs import predict_inputs

    with contextlib.ExitStack() as stack:
        stack.enter_context(native_noise_filtered())
        stack.enter_context(stdout_to_stderr(as_json))
        if project is not None:
            kind: InputCommands = project.kind
            spec = spec_of_project(project)
            found = kind.gathered(words)
            found.check(strict)
            about = outputs(project) if server is None else ()
            if top is not None and about and not any(one.class_names for one in about):
                raise ConfigError(
                    "--top is an option for classifiers, and this project predicts values", fix="remove --top"
                )
            if trust is None:  # for a folder it would take three times as long
                trust = as_json and not found.has_folder and server is None and has_trust(project)
            model = stack.enter_context(predictor(project, server, trust=trust)) if found.items else None
        elif server is not None:
            if trust:
                raise ConfigError("--trust cannot be combined with --server", fix="remove one of them")
            kind, spec, model = stack.enter_context(remote_predictor(server))
            found = kind.gathered(words)
            found.check(strict)
        done = predict_inputs(kind, spec, words, found, model, strict=strict, decoder=server is None)
    rows, failed = _cut(done.rows, top, as_json), done.failures.listed
    if as_json and (failed or (found.has_folder and not strict)):
        print_json({"predictions": rows, "failed": failed, **done.counts})
    elif as_json:
        print_json(rows)
    else:
        for row in rows:
            print(f"{' '.join(row['input'].split())}: {_words(row)}")
    for row in done.rows:
        if "damaged" in row:
            note(f"warning: {row['input']} can be decoded but is damaged ({row['damaged']})")
    if not done.counts:
        done.failures.tell(len(done.rows) + len(failed), kind.items, "use --json to list all")
    else:
        for one in failed:
            note(f"failed: {one['input']} {one['reason']}")
        if found.has_folder or failed:
            note(done.line)
    if failed:
        raise typer.Exit(1)


def _cut(answers: list[dict[str, Any]], top: int | None, as_json: bool) -> list[dict[str, Any]]:
    """Keep the best classes of each answer; values are kept as they are."""
    count = top or (None if as_json else 3)

    def best(value: Any) -> Any:
        if isinstance(value, dict):  # by target
            return {name: best(own) for name, own in value.items()}
        return [float(one) if not isinstance(one, str) else one for one in value[:count]]

    return [{**row, **{name: best(row[name]) for name in ("classes", "scores") if name in row}} for row in answers]


def _words(row: dict[str, Any]) -> str:
    """Put an answer into one line."""
    from tlkit.targets.survival_columns import CURVE

    parts = []
    for target, value in row.get("predictions", {}).items():
        # A server without a manifest here: a curve comes as a list of numbers.
        values = value if isinstance(value, list) else [value]
        parts.append(f"{target} {' '.join(f'{one:g}' for one in values)}")
    parts += [f"survival at {time} {value:.3f}" for time, value in row.get(CURVE, {}).items()]
    classes, scores = row.get("classes", []), row.get("scores", [])
    ranked = {"": (classes, scores)}
    if isinstance(classes, dict):
        ranked = {f"{target} ": (own, scores[target]) for target, own in classes.items()}
    for target, (names, values) in ranked.items():
        parts += [f"{target}{name} {score:.3f}" for name, score in zip(names, values, strict=True)]
    for name, value in row.get("conformal", {}).items():
        shown = "{" + ", ".join(value) + "}" if isinstance(value, list) else f"{value:g}"
        parts.append(f"{'conformal level' if name == 'level' else name} {shown}")
    if "distance" in row:
        parts.append(f"distance {row['distance']:.3f}{' (unlike the training data)' if row['outlier'] else ''}")
    return "  ".join(parts)


def _project(server: ServerAddress | None) -> Project | None:
    from tlkit.cli.project import find_project

    try:
        return find_project()
    except ProjectError:
        if server is None:
            raise
        return None


def _refuse_together(option: str, others: dict[str, object]) -> None:
    for name, value in others.items():
        if value:
            raise ConfigError(f"{option} and {name} cannot be combined", fix="remove one of them")
