"""`tlkit predict` for tables: a table in, the same table with the predictions out, whatever its length."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.cli.answers import spec_of_project
from tlkit.cli.failures import Failures
from tlkit.errors import ConfigError, DataError, ExportError, missing_column
from tlkit.predicting.bad_items import errors_path
from tlkit.predicting.engine import Answer, Answered, Engine, contents, rows, written
from tlkit.predicting.output_files import OutputFiles
from tlkit.predicting.summary import Summary
from tlkit.predicting.table_writer import SUFFIXES, CellRules

if TYPE_CHECKING:
    from tlkit.cli.answers import ServerAddress
    from tlkit.cli.project import Project
    from tlkit.predicting.answer_columns import AnswerColumns

_SHOWN = 20  # rows that are printed for a person
_STEP = 64  # rows, of progress


@dataclass(frozen=True)
class TableOptions:
    """How a table is predicted.

    Attributes:
        column: what to read; the column of the training data when left out. None for rows, which are all their columns.
        label: the column of labels or of a target, if the table has one: it must be there, and is copied like others.
        force: replace an output that exists.
        server: predicts in place of the export, whose manifest says what the columns are.
        strict: refuse the table for the first row that is wrong.
        escape_formulas: as for `CellRules`.
        separator, encoding: of the table; those of the training data when left out.
        trust, score_columns: as for `AnswerColumns`.
    """

    column: str | None = None
    label: str | None = None
    force: bool = False
    server: ServerAddress | None = None
    strict: bool = False
    escape_formulas: bool = False
    separator: str | None = None
    encoding: str | None = None
    trust: bool = False
    score_columns: bool = True


def predict_table(
    project: Project, file: Path, out: Path | None, options: TableOptions
) -> tuple[list[dict[str, Any]] | dict[str, Any], Failures, int]:
    """Predict every row of a table.

    That the table can be read to its end is known before TensorFlow loads. Rows are read, predicted and written a
    batch at a time; the result is written beside `out` and renamed when it is complete. A row that cannot be read or
    predicted is left out, and listed in `errors_path(out)` with its reason.

    Args:
        project: a trained or exported one.
        file: a .csv, .tsv, .jsonl, .ndjson or .parquet table; of rows also .csv.gz and .tsv.gz. Columns that rows lack
            are looked up in tables that the training joined; those about events look back into the project's data.
        out: a .csv, .tsv, .jsonl, .ndjson or .parquet table: the columns of `file` and those of `AnswerColumns`. None
            returns the predictions of rows instead of writing them.
        options: as above.

    Returns:
        With `out`: `out`, `rows`, `scored`, `failed`, `errors` (the table of failures, or None) and `predicted`: how
        often each class was predicted, and least, mean and largest of values, by target where targets have names.
        Otherwise a dictionary for each row, which begins with its `row`. And the failures, and the number of rows.

    Raises:
        ConfigError: `out` exists, is no table or cannot be written.
        DataError: the table cannot be read, or lacks a column; with `strict`, a row cannot be used.
        TrainingError: there is nothing to predict with.
        ExportError: the export cannot be read, or a server is to predict rows and there is no export.
        ServerError: the server does not respond.
    """
    from tlkit.cli.answers import check_trust, outputs
    from tlkit.cli.output import counting, stdout_to_stderr

    kind, config = project.kind, project.config
    check_trust(project, options.server, options.trust)
    if out is not None:
        check_out(file, out, options.force)
    given = {"separator": options.separator, "encoding": options.encoding}
    reading = kind.table_options(config) | {name: value for name, value in given.items() if value is not None}
    # A TSV is written as the project reads it: without quotes, unless config.toml says otherwise.
    quoted = kind.has_rows or reading.get("quoting") == "minimal"
    rules = CellRules(quoted_tsv=quoted, escape_formulas=options.escape_formulas)
    if out is not None:
        rules.check(out.suffix.lower())
    column = "" if kind.has_rows else options.column or kind.column(config)
    source = _source(project, file, column, reading, options)
    names, total = source.survey()
    if options.label is not None and options.label not in names:
        raise missing_column(options.label, names, str(file))
    if options.server is not None and kind.has_rows and project.newest_export() is None:
        raise ExportError("--server needs an export, which lists the columns", fix="run `tlkit export`")
    outputs(project)

    def check(columns: AnswerColumns) -> None:
        twice = [name for name in columns.names if name in names]
        if twice and out is not None:
            fix = "rename it: the output has a column with this name"
            raise DataError(f"{file} already has a column {twice[0]!r}", fix=fix)

    model = _rows(project, source, names, options) if kind.has_rows else _contents(project, options, check)
    listed: list[dict[str, Any]] = []
    with stdout_to_stderr(), model as (answer, columns), contextlib.ExitStack() as stack:
        check(columns)
        engine = Engine(answer, spec_of_project(project), strict=options.strict)
        answers: Iterator[Answered] = engine.answers(source)
        files = None
        if out is not None:
            files = stack.enter_context(
                OutputFiles(out, [*names, *columns.names], lambda: _schema(source, names, columns), rules)
            )
            answers = written(answers, files.write)
        advance = stack.enter_context(counting(total, kind.items))
        failures = Failures(options.strict, None if files is None else files.fail, keep=files is None)
        summary = Summary(columns.separator)
        summary.add([], columns.outputs)
        for one in answers:
            item = one.item
            if one.reason:
                shown = item.fields.get(column, "") if column else item.fields
                failures.add(item.number + 1, shown, item.place, one.reason)
            elif files is None:
                listed.append({"row": item.number + 1, **one.answer})
            else:
                summary.add([one.answer], columns.outputs)
            done = item.number + 1
            if done % _STEP == 0 or done == total:
                advance((done - 1) % _STEP + 1)
    if out is None:
        return listed, failures, total
    return {**failures.summary(out, total), "predicted": summary.to_dict()}, failures, total


def _source(project: Project, file: Path, column: str, reading: Mapping[str, Any], options: TableOptions) -> Any:
    """Return the rows of a table as items."""
    from tlkit.lazy import loaded
    from tlkit.predicting.content_table import ContentTable

    table = spec_of_project(project).row_source
    if table is not None:
        config: Any = project.config
        separator = options.separator or config.data.separator
        return loaded(table.rows)(file, separator, reading["encoding"], lenient=not options.strict)
    folder = file.expanduser().parent

    def content(value: object, place: str) -> Any:
        return project.kind.item(value, place, column, folder)

    return ContentTable(file, column, content, lenient=not options.strict, **reading)


@contextlib.contextmanager
def _contents(
    project: Project, options: TableOptions, check: Callable[[AnswerColumns], None]
) -> Iterator[tuple[Answer, AnswerColumns]]:
    from tlkit.cli.answers import newest_manifest, outputs, predictor
    from tlkit.predicting.answer_columns import AnswerColumns

    separator = getattr(project.config.data, "label_separator", "") or "|"
    manifest, about = newest_manifest(project), outputs(project)
    has_aliases = options.score_columns and not any(one.target for one in about)
    columns = AnswerColumns(about, separator=separator, score_columns=has_aliases)
    if manifest is not None and options.trust:
        columns = AnswerColumns.of(manifest, separator=separator, score_columns=has_aliases, trust=True)
    check(columns)  # before anything is loaded
    with predictor(project, options.server, trust=options.trust) as model:
        yield contents(model.predict, columns), columns


@contextlib.contextmanager
def _rows(
    project: Project, source: Any, names: Sequence[str], options: TableOptions
) -> Iterator[tuple[Answer, AnswerColumns]]:
    from tlkit.cli.row_models import row_model
    from tlkit.lazy import loaded

    with row_model(project, options.server, options.trust) as model:
        table: Any = spec_of_project(project).row_source
        looked_up = loaded(table.looked_up)
        frame_of = looked_up(project.config, model.preprocessing, names, source).frame
        yield rows(model.predict, frame_of, model.columns, strict=options.strict), model.columns


def _schema(source: Any, names: Sequence[str], columns: AnswerColumns) -> Any:
    """Return what an output's columns hold, as an Arrow schema."""
    import pyarrow as pa

    found = source.types()
    own = [found.field(name) if name in found.names else pa.field(name, pa.string()) for name in names]
    return pa.schema([*own, *(pa.field(name, kind) for name, kind in columns.types().items())])


def shown(answers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines that a person reads of the first rows."""
    from tlkit.targets.survival_columns import CURVE

    for answer in answers[:_SHOWN]:
        parts = []
        for name, value in [*answer.items()][1:]:
            what, _, rest = name.partition("_")
            if what == "predicted":
                parts.append(f"{rest} {value}")
            elif what == "probability":
                parts.append(f"({rest} {value:.3f})")
            elif what == CURVE:
                parts.append(f"({rest}: {value:.3f})")
            else:
                parts.append(f"({name} {f'{value:g}' if isinstance(value, float) else value})")
        yield f"row {answer['row']}: {' '.join(parts)}"
    if len(answers) > _SHOWN:
        yield f"and {len(answers) - _SHOWN:,} more; use --out to write them all"


def check_out(file: Path, out: Path, force: bool) -> None:
    """Refuse an `--out` that is no table, is the input, exists already, or has no folder to lie in."""
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError("--out must be a table", received=str(out), allowed=SUFFIXES)
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
