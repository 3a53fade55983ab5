"""`tlkit predict rows.csv`: the rows of a table in, the same table with the answers out, whatever its length."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import tlkit.predicting.row_chunks as chunks
from tlkit.cli.failures import Failures
from tlkit.cli.predict_table import check_out
from tlkit.errors import Advice, ConfigError, DataError, ExportError, ServerError, missing_column
from tlkit.predicting.each import NOT_FINITE, Refusal, predict_each
from tlkit.predicting.output_files import OutputFiles
from tlkit.predicting.row_answers import answer_columns, number_columns, to_columns
from tlkit.predicting.row_chunks import Chunk, RowFile, joined, lacking_columns, like, typed
from tlkit.predicting.summary import Summary
from tlkit.predicting.table_writer import CellRules

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from tlkit.cli.answers import ServerAddress
    from tlkit.cli.project import Project
    from tlkit.inputs.files.fields import Reading

OUT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_SHOWN = 20  # rows that are printed for a person


class Model(Protocol):
    """Answers rows: numbers float32 [n, K], targets side by side."""

    preprocessing: Any
    outputs: Any

    def answer(self, frame: pd.DataFrame) -> np.ndarray: ...  # noqa: D102


def predict_rows(
    project: Project,
    file: Path,
    out: Path | None,
    *,
    target: str | None = None,
    force: bool = False,
    server: ServerAddress | None = None,
    strict: bool = False,
    escape_formulas: bool = False,
    separator: str | None = None,
    encoding: str | None = None,
) -> tuple[list[dict[str, Any]] | dict[str, Any], Failures, int]:
    """Predict the targets of every row of a table.

    That the table can be read to its end is known before TensorFlow loads. Rows are read, answered and written some
    thousand at a time; the result is written beside `out` and renamed when it is complete. A row that cannot be read or
    predicted is left out, and listed in `errors_path(out)` with its reason.

    Args:
        project: a trained or exported one.
        file: a .csv, .tsv, .csv.gz, .tsv.gz, .jsonl, .ndjson or .parquet table with the columns of the training data;
            where the file does not have them, columns of tables that the training joined are looked up, and those
            about events are made, which look back into the project's own data.
        out: a table: the columns of `file`, `predicted_<target>`, and for classes `probability_<class>`; with several
            targets `probability_<target>=<class>`. None gives the answers of all rows instead of writing them.
        target: the column of a target, if the table has one: it must be there, and is copied like every other.
        force: replace `out` if it exists.
        server: answers in place of the export, whose manifest says what the columns are.
        strict: refuse the table for the first row that is wrong.
        escape_formulas: write text that a spreadsheet would run with a leading apostrophe.
        separator, encoding: of `file`; those of the training data when left out.

    Returns:
        With `out`: `out`, `rows`, `scored`, `failed`, `errors` (the table of failures, or None) and `predicted` (how
        often each class, or least, mean and largest value). Otherwise the answers, a dictionary for each row, which
        begins with its `row`. And the failures, and the number of rows.

    Raises:
        ConfigError: `out` exists, is no table or cannot be written.
        DataError: the table cannot be read, or lacks a column; with `strict`, a row holds other values than the
            training data.
        TrainingError: there is nothing to answer with.
        ExportError: a server is to answer, and there is no export.
        ServerError: the server does not answer.
    """
    from tlkit.cli.answers import outputs
    from tlkit.cli.output import counting, stdout_to_stderr

    if out is not None:
        check_out(file, out, force, OUT_SUFFIXES)
    config: Any = project.config
    rules = CellRules(escape_formulas=escape_formulas)
    if out is not None:
        rules.check(out.suffix.lower())
    rows = RowFile(file, separator or config.data.separator, encoding or config.data.encoding, lenient=not strict)
    columns, total = rows.survey()
    if target is not None and target not in columns:
        raise missing_column(target, columns, str(file))
    if server is not None and project.newest_export() is None:
        raise ExportError("--server needs an export, which lists the columns", fix="run `tlkit export`")
    outputs(project)
    summary = Summary()
    told: list[dict[str, Any]] = []
    with stdout_to_stderr(), _model(project, server) as model, counting(total, "rows") as advance:
        own = answer_columns(model.outputs)
        twice = [name for name in own if name in columns]
        if twice and out is not None:
            raise DataError(
                f"{file} already has a column {twice[0]!r}", fix="rename it: the output has a column with this name"
            )
        frame_of = _encoder(project, model.preprocessing, columns, rows)
        with _files(out, [*columns, *own], lambda: _types(rows, columns, model.outputs), rules) as files:
            failures = Failures(strict, None if files is None else files.fail, keep=files is None)
            for chunk in rows:
                results = _predicted(chunk, frame_of, model, strict)
                written = []
                for number, (fields, place) in enumerate(zip(chunk.fields, chunk.places, strict=True)):
                    result, row = results[number], chunk.begin + number + 1
                    try:
                        if isinstance(result, Refusal):
                            raise DataError(result.reason)
                        if files is not None:
                            files.write({**fields, **result}, place)
                    except DataError as error:
                        failures.add(row, fields, place, str(error))
                        continue
                    written.append(result)
                    told.append({"row": row, **result})
                summary.add(written, model.outputs)
                if files is not None:
                    told.clear()
                advance(len(chunk.fields))
    if out is None:
        return told, failures, total
    return {**failures.summary(out, total), "predicted": summary.to_dict()}, failures, total


def _predicted(
    chunk: Chunk, frame_of: Callable[..., Any], model: Model, strict: bool
) -> list[dict[str, Any] | Refusal]:
    """Predict the rows of a chunk; for each the columns of its answer, or why there is none."""
    import numpy as np

    problems = dict(chunk.problems)
    frame = frame_of(chunk, None if strict else problems)
    good = [number for number in range(len(frame)) if number not in problems]

    def predict(numbers: Sequence[int]) -> Sequence[np.ndarray]:
        return [*model.answer(frame.iloc[list(numbers)].reset_index(drop=True))]

    results: dict[int, Any] = {number: Refusal(reason) for number, reason in problems.items()}
    results |= zip(good, predict_each(good, predict, strict=strict), strict=True)
    for number, result in results.items():
        if not isinstance(result, Refusal) and not np.isfinite(result).all():
            results[number] = Refusal(NOT_FINITE)
    answered = [number for number in good if not isinstance(results[number], Refusal)]
    if answered:
        columns = to_columns(np.stack([results[number] for number in answered]), model.outputs)
        for number, values in zip(answered, zip(*columns.values(), strict=True), strict=True):
            results[number] = dict(zip(columns, values, strict=True))
    return [results[number] for number in range(len(frame))]


def _types(rows: RowFile, columns: Sequence[str], outputs: Sequence[Any]) -> Any:
    """Say what an output's columns hold, as an Arrow schema."""
    import pyarrow as pa

    found = rows.types()
    numbers = number_columns(outputs)
    fields = [found.field(name) if name in found.names else pa.field(name, pa.string()) for name in columns]
    for name in answer_columns(outputs):
        fields.append(pa.field(name, pa.float64() if name in numbers else pa.string()))
    return pa.schema(fields)


def shown(answers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines that a person reads of the first rows."""
    for answer in answers[:_SHOWN]:
        parts = []
        for name, value in answer.items():
            if name.startswith("predicted_"):
                parts.append(f"{name.removeprefix('predicted_')} {value}")
            elif name.startswith("probability_"):
                parts.append(f"({name.removeprefix('probability_')} {value:.3f})")
            elif name.startswith("survival_"):
                parts.append(f"({name.removeprefix('survival_')}: {value:.3f})")
        yield f"row {answer['row']}: {' '.join(parts)}"
    if len(answers) > _SHOWN:
        yield f"and {len(answers) - _SHOWN:,} more; use --out to write them all"


def _encoder(project: Project, preprocessing: Any, names: Sequence[str], rows: RowFile) -> Callable[..., Any]:
    """Return what makes the network's columns of a chunk and collects problems; refuses a file that lacks a column."""
    from tlkit.inputs.files.source import read_source
    from tlkit.inputs.row.events import event_columns

    config: Any = project.config
    lacking = lacking_columns(names, preprocessing.columns)
    made = [name for event in config.data.events for name in event_columns(event) if name in lacking]
    keys = _event_keys(config, preprocessing) if made else []
    reading = _reading(config, preprocessing)
    # What the file has not itself is looked up: inputs, and what events are known by.
    wanted = list(dict.fromkeys([*lacking, *(name for name in keys if name not in names)]))
    tables = []
    for other, on in config.reading["join"] if wanted else []:
        if all(name in names for name in on):
            options = {"separator": config.reading["separator"], "encoding": config.reading["encoding"]}
            tables.append((read_source(other, **options, reading=reading).frame, on))
    found = {name for table, _ in tables for name in table.columns}
    missing = [name for name in wanted if name not in found and name not in made]
    if missing:
        raise lacks_columns(rows, names, missing)
    undated: dict[int, str] = {}  # rows of the file about which no events can be made
    events = _events(config, preprocessing, rows, names, keys, tables, undated)[made] if made else None

    unread = None if preprocessing.unreadable is None else preprocessing.unreadable_values

    def frame_of(chunk: Chunk, problems: dict[int, str] | None = None) -> Any:
        frame = typed(chunk, preprocessing.columns, preprocessing.missing, preprocessing.forms, problems, unread)
        if lacking:
            frame = joined(frame, chunk, tables, lacking, reading, problems)
        if problems is not None:
            for number in range(len(frame)):
                if chunk.begin + number in undated:
                    problems.setdefault(number, undated[chunk.begin + number])
        if events is not None:
            own = events.iloc[chunk.begin : chunk.begin + len(frame)].reset_index(drop=True)
            frame = frame.assign(**{name: own[name] for name in made})
        return frame

    return frame_of


def lacks_columns(rows: RowFile, names: Sequence[str], missing: Sequence[str]) -> DataError:
    """Return the error about columns that a file lacks; another separator may show them."""
    from tlkit.inputs.files.frames import SEPARATORS

    fix: str | Advice | None = None
    if len(missing) > 1:
        fix = f"{len(missing)} columns are missing: {', '.join(missing)}"
        header = (rows.separator or ",").join(names)
        others = [mark for mark in SEPARATORS if len({*missing} & {*header.split(mark)}) > 1]
        if others:
            fix = Advice("check the separator: {}", "separator", others[0])
    return DataError(
        f"{rows.path} has no column {missing[0]!r}, which the model needs",
        received=f"columns {', '.join(names)}",
        fix=fix,
    )


def _reading(config: Any, preprocessing: Any) -> Reading:
    """Read the project's further tables as training did: as config.toml says, and as was found of the columns."""
    from tlkit.inputs.files.fields import reading_of, reading_of_fitted

    if preprocessing.forms is None:
        return reading_of_fitted(preprocessing.columns, None, preprocessing.missing)
    found = reading_of(**config.field_options)
    return found.changed(formats={**found.formats, **preprocessing.forms})


def _event_keys(config: Any, preprocessing: Any) -> list[str]:
    """Name the columns that tell events: first that of the days, then the events, then that of the groups."""
    from tlkit.inputs.row.columns import Date

    dates = [column.name for column in preprocessing.columns if isinstance(column, Date)]
    if not config.data.time_column and len(dates) != 1:
        raise ConfigError("event columns need a date column", received=dates, fix="set data.time_column")
    group = [config.data.event_group] if config.data.event_group else []
    return [config.data.time_column or dates[0], *config.data.events, *group]


def _events(
    config: Any,
    preprocessing: Any,
    rows: RowFile,
    names: Sequence[str],
    keys: Sequence[str],
    tables: Sequence[tuple[Any, list[str]]],
    undated: dict[int, str],
) -> pd.DataFrame:
    """Make the columns about events of all rows, which look back into the project's own data as in `evaluate --data`.

    Only the columns that tell events are held of the whole file. Where `rows` is lenient, `undated` gets the reason of
    each row of the file about which no events can be made.
    """
    import pandas as pd

    from tlkit.inputs.files.source import join_tables, read_source
    from tlkit.inputs.row.events import as_moments, event_columns, with_earlier_events

    reading, date = config.reading, keys[0]
    if not config.data_path.exists():
        raise DataError(
            f"{rows.path} has no event columns, and the training data needed to compute them is missing",
            received=f"{config.data_path} does not exist",
            fix="restore the training data, or add the columns to the table with tlkit.event_features",
        )
    fields = _reading(config, preprocessing)
    options: dict[str, Any] = {"separator": reading["separator"], "encoding": reading["encoding"], "reading": fields}
    history = join_tables(read_source(config.data_path, **options), reading["join"], **options).frame
    for name in keys:
        if name not in history.columns:
            raise missing_column(name, history.columns, str(config.data_path))
    history = history[list(keys)]
    form = _form_of(date, config, preprocessing, history[date])
    history = history.assign(**{date: as_moments(history[date], form)})
    parts = []
    for chunk in rows:
        problems = dict(chunk.problems) if rows.lenient else None
        types = {name: history[name].dtype for name in keys}
        part = pd.DataFrame({name: like(chunk, name, dtype, fields, problems, form) for name, dtype in types.items()})
        further = [name for name in keys if name not in names]
        part = joined(part, chunk, tables, further, fields, problems)
        part[date] = as_moments(part[date])
        for number in part[date].isna().to_numpy().nonzero()[0].tolist():
            reason = f"{chunk.places[number]} has no {date!r}, which the event columns need"
            if problems is None:
                raise DataError(reason)
            problems.setdefault(number, reason)
        undated |= {chunk.begin + number: reason for number, reason in (problems or {}).items()}
        parts.append(part)
    whole = pd.concat(parts, ignore_index=True)
    dated = whole.drop(index=list(undated))
    if dated.empty:
        names = [name for event in config.data.events for name in event_columns(event)]
        return pd.DataFrame(columns=names, index=whole.index, dtype="float64")
    group = config.data.event_group or None
    made = with_earlier_events(dated.reset_index(drop=True), history, date, config.data.events, group)
    return made.set_index(dated.index).reindex(whole.index)


def _form_of(date: str, config: Any, preprocessing: Any, known: pd.Series) -> str:
    """Say how the days of events are written: as the model reads them, as config.toml says, or as the values say."""
    from tlkit.inputs.row.columns import Date
    from tlkit.inputs.row.date_inference import find_date_form

    for column in preprocessing.columns:
        if column.name == date and isinstance(column, Date):
            return column.form
    if date in config.dates:
        return str(config.dates[date])
    guess = find_date_form(known, date, lambda rows: f"row {rows[0] + 1}")
    return guess.form if guess is not None and guess.kind == "date" else ""


class _Columns:
    """What the manifest of an export says about its columns and targets."""

    def __init__(self, manifest: Any, config: Any):
        from tlkit.inputs.row.preprocessing import TablePreprocessing
        from tlkit.tasks.tabular.commands import name_of_target

        self._answers = manifest.interface.answers
        self.preprocessing = TablePreprocessing.from_dict(manifest.preprocessing)
        outputs = manifest.interface.outputs_or(manifest.labels, manifest.objective)
        self.outputs = [
            one.model_copy(update={"target": one.target or name_of_target(one.kind, config)}) for one in outputs
        ]


class _Exported(_Columns):
    """The newest export."""

    def __init__(self, predictor: Any, config: Any):
        super().__init__(predictor.manifest, config)
        self._predictor = predictor

    def answer(self, frame: pd.DataFrame) -> np.ndarray:
        """Answer rows."""
        answers: np.ndarray = self._predictor.predict_frame(frame, rows_at_once=chunks.ROWS)[self._answers]
        return answers


class _Served(_Columns):
    """The newest export on a server."""

    def __init__(self, client: Any, config: Any):
        super().__init__(client.manifest, config)
        self._client = client
        ours = client.manifest.signatures[self._answers]
        served = client.metadata().signatures.get(self._answers)
        if served is None or served.inputs.keys() != ours.inputs.keys():
            raise ServerError(
                f"{client.target}: the model {client.model!r} has other input columns than the local export",
                code="FAILED_PRECONDITION",
                received=None if served is None else sorted(served.inputs),
                allowed=sorted(ours.inputs),
                fix="choose another model with --name, or run `tlkit verify --server` to compare the two",
            )

    def answer(self, frame: pd.DataFrame) -> np.ndarray:
        """Answer rows."""
        found = self._client.predict(self.preprocessing.to_arguments(frame), self._answers)
        answers: np.ndarray = found[self._answers]
        width = sum(one.width for one in self.outputs)
        if answers.shape != (len(frame), width):
            raise ServerError(
                f"{self._client.target}: the model {self._client.model!r} has other targets than the local export",
                code="FAILED_PRECONDITION", received=answers.shape, allowed=f"{(len(frame), width)}",
            )  # fmt: skip
        return answers


class _Trained:
    """The trained checkpoint."""

    def __init__(self, learn: Any):
        from tlkit.export.interface import interface_of

        self._task = learn.task
        self.preprocessing = learn.task.preprocessing
        self.outputs = list(interface_of(learn.task).outputs)
        if len(self.outputs) == 1:  # one classification has no name in an export
            self.outputs = [self.outputs[0].model_copy(update={"target": learn.data.targets[0].name})]

    def answer(self, frame: pd.DataFrame) -> np.ndarray:
        """Answer rows."""
        outputs = self._task.model(self.preprocessing.encode_frame(frame), training=False)
        answers: np.ndarray = self._task.objective.probabilities(outputs).numpy()
        return answers


@contextlib.contextmanager
def _model(project: Project, server: ServerAddress | None) -> Iterator[Model]:
    from tlkit.cli.output import import_tensorflow, note
    from tlkit.cli.trained import load_learner

    export = project.newest_export()
    if export is None:
        note("no export found: using the trained checkpoint")
    import_tensorflow()
    if server is not None:
        with server.client(project, batch_size=chunks.ROWS) as client:
            yield _Served(client, project.config)
        return
    if export is not None:
        from tlkit.export.predictor import SavedModelPredictor

        yield _Exported(SavedModelPredictor(export), project.config)
        return
    with project.code() as code:
        yield _Trained(load_learner(project, code))


@contextlib.contextmanager
def _files(
    out: Path | None, columns: Sequence[str], schema: Callable[[], Any], rules: CellRules
) -> Iterator[OutputFiles | None]:
    """Open the files of the results; without `out`, None."""
    if out is None:
        yield None
        return
    with OutputFiles(out, columns, schema, rules) as files:
        yield files
