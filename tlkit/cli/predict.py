"""`tlkit predict`: answers about photos, texts or the rows of a table, as a client of the export would get them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.cli.column_options import Encoding, Label, PathColumn, Separator, Target, check_separator
from tlkit.cli.predict_options import EscapeFormulas, Strict
from tlkit.cli.server_options import CaFile, ServedName
from tlkit.errors import ConfigError, ProjectError

if TYPE_CHECKING:
    from tlkit.cli.answers import Predictor, ServerAddress
    from tlkit.cli.failures import Failures
    from tlkit.cli.predict_images import Answered
    from tlkit.cli.project import Project
    from tlkit.inputs.commands import Gathered, InputCommands


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
        typer.Option("--out", help="Output table with predictions: .csv, .tsv or .jsonl.", metavar="TABLE"),
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
        bool,
        typer.Option(
            "--trust",
            help="Images and texts: add conformal sets or intervals, and the distance to the training data.",
        ),
    ] = False,
    strict: Strict = False,
    escape_formulas: EscapeFormulas = False,
) -> None:
    """Predict with the newest export, or with the trained checkpoint if there is no export.

    With --file, predict every row of a table. The --out table has its columns, the predicted class, and a score per
    class. Label and target columns are copied and not used: --label and --target only check that they exist.

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
    from tlkit.cli.answers import ServerAddress, outputs, predictor, remote_predictor
    from tlkit.cli.output import native_noise_filtered, print_json, stdout_to_stderr
    from tlkit.cli.predict_images import predict_images
    from tlkit.cli.predict_table import predict_table

    asked = ServerAddress.asked(server, name, ca_file)
    if trust and (file is not None or out is not None):
        raise ConfigError("--trust cannot be combined with tables", fix="remove --file and --out, or remove --trust")
    check_separator(separator)
    project = _project(asked)
    if project is not None and project.kind.has_rows:
        _refuse_together(
            "rows of a table",
            {"--trust": trust, "--top": top, "--text": text, "--label": label, "--path-column": path_column},
        )
        tables = [*map(Path, inputs or ()), *([file] if file is not None else [])]
        _predict_rows(project, tables, out, target, force, as_json, asked, strict, escape_formulas, separator, encoding)
        return
    if file is not None:
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
        is_text = hasattr(project.config.data, "text_column")
        if path_column is not None and is_text:
            raise ConfigError(
                "--path-column is an option for tables of photos", fix="use --text for the column of texts"
            )
        if text is not None and path_column is not None:
            raise ConfigError("--text and --path-column cannot be combined", fix="remove one of them")
        summary, failures = predict_table(
            project,
            file,
            out,
            column=path_column or text,
            label=label,
            force=force,
            server=asked,
            strict=strict,
            escape_formulas=escape_formulas,
            separator=separator,
            encoding=encoding,
        )
        _end(summary, failures, as_json)
        return
    for_tables = {"--out": out, "--force": force, "--escape-formulas": escape_formulas, "--text": text}
    for_tables |= {"--label": label, "--target": target, "--path-column": path_column}
    for_tables |= {"--separator": separator, "--encoding": encoding}
    if given := [option for option, value in for_tables.items() if value]:
        raise ConfigError(f"{given[0]} needs a table", fix="pass the table with --file")
    if not inputs:
        example = "INPUT..." if project is None else f"{project.kind.example_input}, or --file TABLE --out TABLE"
        raise ConfigError("there is nothing to predict", fix=f"tlkit predict {example}")
    with contextlib.ExitStack() as stack:
        stack.enter_context(native_noise_filtered())
        stack.enter_context(stdout_to_stderr(as_json))
        if project is not None:
            kind: InputCommands = project.kind
            found = kind.gathered(inputs)
            found.check(strict)
            about = outputs(project) if asked is None else ()
            if top is not None and about and not any(one.class_names for one in about):
                raise ConfigError(
                    "--top is an option for classifiers, and this project predicts values", fix="remove --top"
                )
            model = stack.enter_context(predictor(project, asked, trust=trust)) if found.items else None
        elif asked is not None:
            if trust:
                raise ConfigError("--trust cannot be combined with --server", fix="remove one of them")
            kind, model = stack.enter_context(remote_predictor(asked))
            found = kind.gathered(inputs)
            found.check(strict)
        if found.tally is not None and not strict:
            answered = predict_images(model, found, decoder=asked is None)
            stack.close()
            _print_photos(answered, found, top, as_json)
            return
        answers, failures = _predicted(kind, inputs, found, model, strict)
    if as_json and failures.count:
        print_json({"predictions": _cut(answers, top, as_json), "failed": failures.listed})
    else:
        _print_answers(answers, top, as_json)
    _fail(failures, len(answers) + failures.count, kind.items, "use --json to list all")


def _print_photos(answered: Answered, found: Gathered, top: int | None, as_json: bool) -> None:
    """Print the predictions and what failed; exit with 1 where something did."""
    from tlkit.cli.output import note, print_json

    rows = _cut(answered.rows, top, as_json)
    if as_json and (found.has_folder or answered.failed):
        print_json({"predictions": rows, "failed": answered.failed, **answered.counts})
    else:
        _print_answers(answered.rows, top, as_json)
    for row in answered.rows:
        if "damaged" in row:
            note(f"warning: {row['input']} can be decoded but is damaged ({row['damaged']})")
    for one in answered.failed:
        note(f"failed: {one['input']} {one['reason']}")
    if found.has_folder or answered.failed:
        note(answered.line)
    if answered.failed:
        raise typer.Exit(1)


def _cut(answers: list[dict[str, Any]], top: int | None, as_json: bool) -> list[dict[str, Any]]:
    """Keep the best classes of each answer; values are kept as they are."""
    count = top or (None if as_json else 3)

    def best(value: Any) -> Any:
        if isinstance(value, dict):  # by target
            return {name: best(own) for name, own in value.items()}
        return [float(one) if not isinstance(one, str) else one for one in value[:count]]

    return [{**row, **{name: best(row[name]) for name in ("classes", "scores") if name in row}} for row in answers]


def _print_answers(answers: list[dict[str, Any]], top: int | None, as_json: bool) -> None:
    from tlkit.cli.output import print_json

    rows = _cut(answers, top, as_json)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(f"{' '.join(row['input'].split())}: {_words(row)}")


def _words(row: dict[str, Any]) -> str:
    """Put an answer into one line."""
    parts = []
    for target, value in row.get("predictions", {}).items():
        # A server without a manifest here: a curve comes as a list of numbers.
        values = value if isinstance(value, list) else [value]
        parts.append(f"{target} {' '.join(f'{one:g}' for one in values)}")
    parts += [f"survival at {time} {value:.3f}" for time, value in row.get("survival", {}).items()]
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


def _predicted(
    kind: InputCommands, words: Sequence[str], found: Gathered, model: Predictor | None, strict: bool
) -> tuple[list[dict[str, Any]], Failures]:
    """Predict what the words of the command line stand for; what fails is counted with its reason."""
    from tlkit.cli.failures import Failures
    from tlkit.cli.predict_table import finite
    from tlkit.predicting.each import Refusal, predict_each

    failures = Failures(strict, keep=True)
    for name, reason in found.failed:
        failures.add(0, name, name, f"{name} {reason}")
    results = [] if model is None else predict_each(found.items, model.predict, strict=strict)
    bad = {name for name, _ in found.failed}
    numbers = [number for number in range(1, len(words) + 1) if kind.called(number) not in bad]
    answers = []
    for place, (item, result) in enumerate(zip(found.items, map(finite, results), strict=True)):
        if isinstance(result, Refusal):
            name = str(item) if isinstance(item, Path) else kind.called(numbers[place])
            failures.add(0, name, name, result.reason)
        else:
            answers.append(result)
    return answers, failures


def _fail(failures: Failures, total: int, items: str, rest: str) -> None:
    """Show what failed, and exit with 1 if something did."""
    failures.tell(total, items, rest)
    if failures.count:
        raise typer.Exit(1)


def _end(summary: dict[str, Any], failures: Failures, as_json: bool) -> None:
    """Print what was written, and exit with 1 if rows failed."""
    from tlkit.cli.output import print_json

    if as_json:
        print_json(summary)
    elif failures.count:
        print(f"{summary['out']}: {summary['scored']:,} of {summary['rows']:,} rows, {summary['failed']:,} failed")
        print(f"{summary['errors']}: failed rows with the reasons")
    else:
        print(f"{summary['out']}: {summary['rows']:,} rows")
    _fail(failures, summary["rows"], "rows", str(summary["errors"]))


def _predict_rows(
    project: Project,
    tables: list[Path],
    out: Path | None,
    target: str | None,
    force: bool,
    as_json: bool,
    server: ServerAddress | None,
    strict: bool,
    escape_formulas: bool,
    separator: str | None,
    encoding: str | None,
) -> None:
    from tlkit.cli.output import print_json
    from tlkit.cli.predict_rows import predict_rows, shown

    if len(tables) != 1:
        what = "there is nothing to predict" if not tables else "rows are read from one table"
        raise ConfigError(what, fix=f"tlkit predict {project.kind.example_input}")
    for option, given in (("--force", force), ("--escape-formulas", escape_formulas)):
        if given and out is None:
            raise ConfigError(f"{option} needs --out", fix=f"add --out, or remove {option}")
    answers, failures, total = predict_rows(
        project,
        tables[0],
        out,
        target=target,
        force=force,
        server=server,
        strict=strict,
        escape_formulas=escape_formulas,
        separator=separator,
        encoding=encoding,
    )
    if isinstance(answers, dict):
        _end(answers, failures, as_json)
        return
    if as_json:
        print_json({"predictions": answers, "failed": failures.listed} if failures.count else answers)
    else:
        for line in shown(answers):
            print(line)
    _fail(failures, total, "rows", "use --json to list all")


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
