"""`tlkit predict --file`: a table in, the same table with the answers out, whatever its length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.cli.failures import Failures
from tlkit.errors import ConfigError, DataError, missing_column
from tlkit.predicting.answer_columns import AnswerColumns
from tlkit.predicting.bad_items import errors_path
from tlkit.predicting.each import NOT_FINITE, Refusal, predict_each
from tlkit.predicting.output_files import OutputFiles
from tlkit.predicting.row_answers import numbers_of
from tlkit.predicting.summary import Summary
from tlkit.predicting.table_writer import CellRules

if TYPE_CHECKING:
    from tlkit.cli.answers import Predictor, ServerAddress
    from tlkit.cli.project import Project
    from tlkit.inputs.commands import InputCommands
    from tlkit.inputs.files.records import Record

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
_CHUNK_ROWS, _CHUNK_CHARACTERS = 512, 4_000_000  # what is in memory at once


def predict_table(
    project: Project,
    file: Path,
    out: Path,
    *,
    column: str | None = None,
    label: str | None = None,
    force: bool = False,
    server: ServerAddress | None = None,
    strict: bool = False,
    escape_formulas: bool = False,
    separator: str | None = None,
    encoding: str | None = None,
) -> tuple[dict[str, Any], Failures]:
    """Answer about what a column of a table names: paths of photos, or texts.

    Rows are read, answered and written a few hundred at a time; the result is written beside `out` and renamed when it
    is complete. A row that cannot be read or predicted is left out, and listed in `errors_path(out)` with its reason.

    Args:
        project: a trained or exported one.
        file: a .csv, .tsv, .jsonl, .ndjson or .parquet table.
        out: a .csv, .tsv, .jsonl or .ndjson table: the columns of `file` and those of `AnswerColumns`; several labels,
            those above their threshold, are joined as the training data joins them.
        column: what to read; the column of the training data when left out.
        label: the column of classes, if the table has one: it must be there, and is copied like every other.
        force: replace `out` if it exists.
        server: answers in place of the export; the classes are those of the export or the training here.
        strict: refuse the table for the first row that is wrong, if possible before TensorFlow loads.
        escape_formulas: write text that a spreadsheet would run with a leading apostrophe.
        separator, encoding: of `file`; those of the training data when left out.

    Returns:
        `out`, `rows`, `scored`, `failed`, `errors` (the table of failures, or None), and `predicted`: how often each
        class was the answer, or of each target least, mean and largest value. And the failures.

    Raises:
        ConfigError: `out` exists, is no table or cannot be written.
        DataError: the table cannot be read; with `strict`, it holds something that is no text (or path of a photo).
        TrainingError: there is nothing to answer with.
        ServerError: the server does not answer.
    """
    from tlkit.cli.answers import outputs, predictor
    from tlkit.cli.output import counting, stdout_to_stderr
    from tlkit.inputs.files.records import TableStream

    check_out(file, out, force)
    kind, config = project.kind, project.config
    column = column or kind.column(config)
    given = {"separator": separator, "encoding": encoding}
    options = {**kind.table_options(config), **{name: value for name, value in given.items() if value is not None}}
    stream = TableStream(file, **options, lenient=not strict)
    folder = file.expanduser().parent
    if label is not None and label not in stream.columns:
        raise missing_column(label, stream.columns, str(file))
    total = stream.survey(column, (lambda value, place: kind.item(value, place, column, folder)) if strict else None)
    separator = getattr(config.data, "label_separator", "") or "|"
    columns = AnswerColumns(outputs(project), separator=separator)
    own = columns.names
    twice = [name for name in own if name in stream.columns]
    if twice:
        raise DataError(
            f"{file} already has a column {twice[0]!r}", fix="rename it: the output has a column with this name"
        )
    summary = Summary()
    counts = dict.fromkeys(columns.labels, 0)
    # A TSV is written as the project reads it: without quotes, unless config.toml says otherwise.
    rules = CellRules(quoted_tsv=options.get("quoting") == "minimal", escape_formulas=escape_formulas)
    rules.check(out.suffix.lower())
    done = 0
    with (
        stdout_to_stderr(),
        predictor(project, server) as model,
        OutputFiles(out, [*stream.columns, *own], rules=rules) as files,
        counting(total, kind.items) as advance,
    ):
        failures = Failures(strict, files.fail)
        for rows in _chunks(stream, column):
            for number, (row, result) in enumerate(
                zip(rows, _predicted(rows, column, folder, kind, model, strict), strict=True), done + 1
            ):
                if isinstance(result, Refusal):
                    failures.add(number, row.fields.get(column, ""), row.place, result.reason)
                    continue
                added = columns.of_record(result)
                try:
                    files.write({**row.fields, **added}, row.place)
                except DataError as error:
                    failures.add(number, row.fields[column], row.place, str(error))
                    continue
                if columns.by_target:
                    summary.add([added], columns.outputs)
                    continue
                for name in columns.chosen(result):
                    counts[name] += 1
            done += len(rows)
            advance(len(rows))
    predicted = summary.to_dict() if columns.by_target else counts
    return {**failures.summary(out, total), "predicted": predicted}, failures


def _predicted(
    rows: Sequence[Record], column: str, folder: Path, kind: InputCommands, model: Predictor, strict: bool
) -> list[dict[str, Any] | Refusal]:
    """Predict what stands in a column of some rows; for each its record, or why there is none."""

    found: list[Any] = []
    for row in rows:
        try:
            if row.problem:
                raise DataError(row.problem)
            if column not in row.fields:
                raise missing_column(column, row.fields, row.place)
            found.append(kind.item(row.fields[column], row.place, column, folder))
        except DataError as error:
            found.append(Refusal(str(error)))
    items = [item for item in found if not isinstance(item, Refusal)]
    results = iter(predict_each(items, model.predict, strict=strict))
    return [item if isinstance(item, Refusal) else finite(next(results)) for item in found]


def finite(record: Any) -> Any:
    """Return a record, or a `Refusal` where one of its numbers is not finite."""
    if isinstance(record, Refusal) or all(map(math.isfinite, numbers_of(record))):
        return record
    return Refusal(NOT_FINITE)


def check_out(file: Path, out: Path, force: bool, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Refuse an `--out` that is no table, is the input, exists already, or has no folder to lie in."""
    if out.suffix.lower() not in suffixes:
        raise ConfigError("--out must be a table", received=str(out), allowed=suffixes)
    if out.is_dir():
        raise ConfigError(f"{out} is a folder", fix="pass the path of a table")
    if out.exists() and file.exists() and out.samefile(file):
        raise ConfigError("--out is the same file as --file", received=str(out), fix="choose another name for --out")
    errors = errors_path(out)
    if errors.exists() and file.exists() and errors.samefile(file):
        raise ConfigError(f"{errors} is the file for the failed rows of {out}", fix="choose another name for --out")
    if errors.is_dir():
        raise ConfigError(
            f"failed rows are written to {errors}, which is a folder", fix="choose another name for --out"
        )
    there = next((path for path in (out, errors) if path.exists()), None)
    if there is not None and not force:
        raise ConfigError(f"{there} already exists", fix="choose another name, or overwrite it with --force")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"the folder {out.parent} for {out.name} does not exist")


def _chunks(rows: Iterable[Record], column: str) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += len(str(row.fields.get(column, "")))
        if len(chunk) == _CHUNK_ROWS or characters > _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
