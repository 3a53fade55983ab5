"""`tlkit predict`: answers about photos, texts or the rows of a table, as a client of the export would get them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.cli.predict_options import EscapeFormulas, Strict
from tlkit.cli.server_options import CaFile, ServedName
from tlkit.errors import ConfigError, DataError, ProjectError

if TYPE_CHECKING:
    from tlkit.cli.answers import Predictor, Server
    from tlkit.cli.failures import Failures
    from tlkit.cli.kinds import Kind
    from tlkit.cli.project import Project


def predict(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Photos, folders of photos, texts, or a table.", metavar="[INPUT]..."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: a list of objects, one for each input or row.")
    ] = False,
    top: Annotated[int | None, typer.Option("--top", help="How many classes to show.", min=1)] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A table of texts, or of paths of photos.", metavar="TABLE")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where to write it with the answers: .csv, .tsv or .jsonl.", metavar="TABLE"),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option("--text-column", "--column", help="The column to read; the training data's when left out."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the table that --out names.")] = False,
    server: Annotated[
        str | None,
        typer.Option("--server", help="Ask this server instead: http://HOST:PORT or grpc://HOST:PORT.", metavar="URL"),
    ] = None,
    name: ServedName = None,
    ca_file: CaFile = None,
    strict: Strict = False,
    escape_formulas: EscapeFormulas = False,
) -> None:
    """Answer with the newest export, or with the trained checkpoint when there is no export.

    With --file, every row of a table: --out gets its columns, the class, and a score for each class.

    An input that cannot be read does not stop the others: it is listed with its reason on stderr, of a table also in
    OUT.errors.*, and the exit code is 1. With --strict nothing is answered then, and the exit code is 2.

    Example:  tlkit predict photo.jpg --top 2
              tlkit predict "what a film" --json
              tlkit predict --file in.csv --out out.csv
              tlkit predict rows.csv --out scored.csv
              tlkit predict photo.jpg --server http://127.0.0.1:8501

    With --server and --name no project is needed for photos and texts.
    """
    from tlkit.cli.answers import Server, anywhere, outputs, predictor
    from tlkit.cli.failures import Failures
    from tlkit.cli.output import print_json, stdout_to_stderr
    from tlkit.cli.predict_table import predict_table

    asked = Server.asked(server, name, ca_file)
    project = _project(asked)
    if project is not None and project.kind.has_rows:
        _refuse_together("rows of a table", {"--top": top, "--text-column": column})
        tables = [*map(Path, inputs or ()), *([file] if file is not None else [])]
        _predict_rows(project, tables, out, force, as_json, asked, strict, escape_formulas)
        return
    if file is not None:
        if project is None:
            raise ConfigError("--file needs the project, which says how the table is read", fix="go into it")
        _refuse_together("--file", {"inputs": inputs, "--top": top})
        if out is None:
            raise ConfigError("--file needs --out, the table to write", fix="for example --out out.csv")
        summary, failures = predict_table(
            project, file, out, column=column, force=force, server=asked, strict=strict, escape_formulas=escape_formulas
        )
        _end(summary, failures, as_json)
        return
    if out is not None or column is not None or force or escape_formulas:
        what = "--out, --text-column, --force and --escape-formulas are for a table"
        raise ConfigError(what, fix="name it with --file")
    if not inputs:
        example = "INPUT..." if project is None else f"{project.kind.example_input}, or --file TABLE --out TABLE"
        raise ConfigError("there is nothing to predict", fix=f"tlkit predict {example}")
    with contextlib.ExitStack() as stack:
        stack.enter_context(stdout_to_stderr(as_json))
        failures = Failures(strict)
        if project is not None:
            kind = project.kind
            items = _read(kind, inputs, failures)
            if asked is None:
                outputs(project)
            model = stack.enter_context(predictor(project, asked))
        elif asked is not None:
            kind, model = stack.enter_context(anywhere(asked))
            items = _read(kind, inputs, failures)
        answers = _predicted(kind, items, model, failures)
    count = top or (None if as_json else 3)
    rows = [
        {**row, "classes": list(row["classes"][:count]), "scores": [float(s) for s in row["scores"][:count]]}
        if "classes" in row
        else row
        for row in answers
    ]
    if as_json:
        print_json(rows)
    for row in [] if as_json else rows:
        if "classes" not in row:
            continue
        shown = "  ".join(f"{name} {score:.3f}" for name, score in zip(row["classes"], row["scores"], strict=True))
        print(f"{' '.join(row['input'].split())}: {shown}")
    _fail(failures, len(rows), kind.items, "--json shows all")


def _read(kind: Kind, words: Sequence[str], failures: Failures) -> list[Any]:
    """Return what each word stands for; for a word that cannot be read itself and a `Refusal`."""
    from tlkit.predicting.each import Refusal

    found: list[Any] = []
    for number, word in enumerate(words, 1):
        try:
            found += kind.inputs([word], number)
        except DataError as error:
            if failures.strict or len(words) == 1:
                raise
            found.append((word, Refusal(str(error))))
    return found


def _predicted(kind: Kind, items: Sequence[Any], model: Predictor, failures: Failures) -> list[dict[str, Any]]:
    """Predict items; for each its record, which has `error` where it failed."""
    from tlkit.cli.predict_table import finite
    from tlkit.predicting.bad_items import readable
    from tlkit.predicting.each import Refusal, predict_each

    usable = [item for item in items if not isinstance(item, tuple)]
    results = iter(predict_each(usable, model.predict, strict=failures.strict))
    records: list[dict[str, Any]] = []
    for number, item in enumerate(items, 1):
        word, result = item if isinstance(item, tuple) else (str(item), finite(next(results)))
        if not isinstance(result, Refusal):
            records.append(result)
            continue
        place = word if isinstance(item, Path) else f"{kind.items.removesuffix('s')} number {number}"
        failures.add(number, word, place, result.reason)
        records.append({"input": readable(word), "error": readable(result.reason)})
    return records


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
        print(f"{summary['errors']}: what failed, and why")
    else:
        print(f"{summary['out']}: {summary['rows']:,} rows")
    _fail(failures, summary["rows"], "rows", str(summary["errors"]))


def _predict_rows(
    project: Project,
    tables: list[Path],
    out: Path | None,
    force: bool,
    as_json: bool,
    server: Server | None,
    strict: bool,
    escape_formulas: bool,
) -> None:
    from tlkit.cli.output import print_json
    from tlkit.cli.predict_rows import predict_rows, shown

    if len(tables) != 1:
        what = "there is nothing to predict" if not tables else "rows come as one table"
        raise ConfigError(what, fix=f"tlkit predict {project.kind.example_input}")
    for option, given in (("--force", force), ("--escape-formulas", escape_formulas)):
        if given and out is None:
            raise ConfigError(f"{option} is for --out", fix="leave it out")
    answers, failures, total = predict_rows(
        project, tables[0], out, force=force, server=server, strict=strict, escape_formulas=escape_formulas
    )
    if isinstance(answers, dict):
        _end(answers, failures, as_json)
        return
    if as_json:
        print_json(answers)
    else:
        for line in shown(answers):
            print(line)
    _fail(failures, total, "rows", "--json shows all")


def _project(server: Server | None) -> Project | None:
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
            raise ConfigError(f"{option} and {name} do not go together", fix="leave out one of them")
