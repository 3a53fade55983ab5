"""`tlkit predict --file`: a table in, the same table with the answers out, whatever its length."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tlkit.errors import ConfigError, DataError
from tlkit.predicting.row_answers import predicted_classes
from tlkit.predicting.table_writer import CellRules, TableWriter

if TYPE_CHECKING:
    from tlkit.cli.answers import Server
    from tlkit.cli.project import Project
    from tlkit.data.table_stream import StreamedRow

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
PREDICTED = "predicted"
_CHUNK_ROWS, _CHUNK_CHARACTERS = 512, 4_000_000  # what is in memory at once


def predict_table(
    project: Project,
    file: Path,
    out: Path,
    *,
    column: str | None = None,
    force: bool = False,
    server: Server | None = None,
) -> dict[str, Any]:
    """Classify every row of a table.

    What can be wrong with the table is found before TensorFlow loads. Rows are read, answered and written a few
    hundred at a time; the result is written beside `out` and renamed when it is complete.

    Args:
        project: a trained or exported one.
        file: a .csv, .tsv, .jsonl, .ndjson or .parquet table.
        out: a .csv, .tsv, .jsonl or .ndjson table: the columns of `file`, `predicted` (with several labels, those above
            0.5, joined as the training data joins them) and `score_<class>` for each class.
        column: what to read; the column of the training data when left out.
        force: replace `out` if it exists.
        server: answers in place of the export; the classes are those of the export or the training here.

    Returns:
        `out`, `rows`, and `predicted`: how often each class was the answer.

    Raises:
        ConfigError: `out` exists, is no table or cannot be written.
        DataError: the table cannot be read or holds something that is no text (or path of a photo).
        TrainingError: there is nothing to answer with.
        ServerError: the server does not answer.
    """
    from tlkit.cli.answers import outputs, predictor
    from tlkit.cli.output import counting, stdout_to_stderr
    from tlkit.data.table_stream import TableStream

    check_out(file, out, force)
    kind, config = project.kind, project.config
    column = column or kind.column(config)
    stream = TableStream(file, **kind.table_options(config))
    folder = file.expanduser().parent
    total = stream.survey(column, lambda value, place: kind.item(value, place, column, folder))
    answers = outputs(project)
    own = [PREDICTED, *(f"score_{label}" for label in answers.labels)]
    twice = [name for name in own if name in stream.columns]
    if twice:
        raise DataError(f"{file} already has a column {twice[0]!r}", fix="rename it: the answers need the name")
    separator = getattr(config.data, "label_separator", "") or "|"
    # A TSV is written as the project reads it: without quotes, unless config.toml says otherwise.
    rules = CellRules(quoted_tsv=kind.table_options(config).get("quoting") == "minimal")
    counts = dict.fromkeys(answers.labels, 0)
    with (
        stdout_to_stderr(),
        predictor(project, server) as model,
        replacing(out) as stream_out,
        counting(total, kind.items) as advance,
    ):
        table = TableWriter(out, stream_out, [*stream.columns, *own], dict, rules)
        for rows in _chunks(stream, column):
            items = [kind.item(row.fields[column], row.place, column, folder) for row in rows]
            for row, answer in zip(rows, model.predict(items), strict=True):
                said = predicted_classes(answer, answers.labels, answers.multi_label)
                for name in said:
                    counts[name] += 1
                scores = dict(zip(answer["classes"], answer["scores"], strict=True))
                added = [separator.join(said), *(round(float(scores[label]), 6) for label in answers.labels)]
                table.write({**row.fields, **dict(zip(own, added, strict=True))}, row.place)
            advance(len(rows))
    return {"out": str(out), "rows": total, "predicted": counts}


def check_out(file: Path, out: Path, force: bool, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Refuse an `--out` that is no table, is the input, exists already, or has no folder to lie in."""
    if out.suffix.lower() not in suffixes:
        raise ConfigError("--out is a table", received=str(out), allowed=suffixes)
    if out.is_dir():
        raise ConfigError(f"{out} is a folder", fix="name a table")
    if out.exists() and file.exists() and out.samefile(file):
        raise ConfigError("--out is the table of --file", received=str(out), fix="write another one")
    if out.exists() and not force:
        raise ConfigError(f"{out} already exists", fix="choose another name, or replace it with --force")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {out.parent} to write {out.name} to")


def _chunks(rows: Iterable[StreamedRow], column: str) -> Iterator[list[StreamedRow]]:
    chunk: list[StreamedRow] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += len(str(row.fields[column]))
        if len(chunk) == _CHUNK_ROWS or characters > _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


@contextlib.contextmanager
def replacing(out: Path, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a file beside `out` that takes its place when all went well, and is gone otherwise."""
    temporary = out.with_name(f".tmp-{os.getpid()}-{out.name}")
    try:
        with temporary.open("xb") if binary else temporary.open("x", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
