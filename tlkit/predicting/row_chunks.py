"""The rows that `tlkit predict` answers: some thousands at a time, as they stand in the file and as the network's."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.errors import DataError
from tlkit.inputs.row.date_form import shown_form
from tlkit.inputs.row.number_forms import PLAIN, USUAL_MISSING, NumberForm

if TYPE_CHECKING:
    import pandas as pd

    from tlkit.inputs.files.fields import Reading

_ALLOWED = {"int64": "whole numbers", "float32": "numbers, finite ones", "float64": "numbers, finite ones"}
ROWS = 4096  # that are in memory at once
_BOOLEANS = {"True": 1.0, "TRUE": 1.0, "true": 1.0, "False": 0.0, "FALSE": 0.0, "false": 0.0}  # as pandas reads them


class Chunk(NamedTuple):
    """Some rows that follow each other.

    Attributes:
        fields: of each row, by column, as they stand in the file: text for CSV and TSV.
        places: where each stands, for messages.
        begin: how many rows of the file are before them.
        problems: why rows could not be read, by their place in the chunk, counted from 0; their fields are empty.
    """

    fields: list[dict[str, Any]]
    places: list[str]
    begin: int = 0
    problems: Mapping[int, str] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class RowFile:
    """A table that is read chunk by chunk, as often as it is iterated.

    Args:
        path: a .csv, .tsv, .csv.gz, .tsv.gz, .jsonl, .ndjson or .parquet file.
        separator: between the fields of a CSV or TSV; by the suffix when empty.
        encoding: of a text file.
        lenient: give rows that cannot be read with their problem instead of raising the first one.

    Raises:
        DataError: while it is iterated, or asked for its columns: the file is missing, of another kind, or a row of it
            is wrong. With `lenient`, what hides where the next row begins is raised all the same.
    """

    path: Path
    separator: str = ""
    encoding: str = "utf-8"
    lenient: bool = False

    def survey(self) -> tuple[list[str], int]:
        """Read it once; returns the columns and the number of rows, those that cannot be read included."""
        columns: dict[str, None] = {}
        count, bad = 0, ""
        for fields, place, problem in self._rows():
            columns |= dict.fromkeys(fields)
            count += 1
            if problem and not bad:
                bad = problem if problem.startswith(place) else f"{place}: {problem}"
        if not count:
            raise DataError("the table has no rows", received=str(self.path))
        if not columns:
            raise DataError(f"no row of the table can be read: {bad}", received=str(self.path))
        return list(columns), count

    def __iter__(self) -> Iterator[Chunk]:
        """Give the rows, `ROWS` at a time."""
        problems: dict[int, str] = {}
        chunk = Chunk([], [], 0, problems)
        for fields, place, problem in self._rows():
            if problem:
                problems[len(chunk.fields)] = problem
            chunk.fields.append(fields)
            chunk.places.append(place)
            if len(chunk.fields) == ROWS:
                yield chunk
                problems = {}
                chunk = Chunk([], [], chunk.begin + len(chunk.fields), problems)
        if chunk.fields:
            yield chunk

    def types(self) -> Any:
        """Say what columns hold, as an Arrow schema: in JSON what all values go into; what is not named holds text."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.path.suffix.lower() == ".parquet":
            return pq.read_schema(self.path.expanduser()).remove_metadata()
        if self._suffix is not None:
            return pa.schema([])
        found = pa.schema([])
        try:
            for chunk in self:
                names = dict.fromkeys(name for fields in chunk.fields for name in fields)
                part = pa.table({name: [fields.get(name) for fields in chunk.fields] for name in names})
                found = pa.unify_schemas([found, part.schema], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(f"the rows do not fit a Parquet file: {error}", fix="write .csv or .jsonl") from error
        return pa.schema([(part.name, pa.string() if pa.types.is_null(part.type) else part.type) for part in found])

    @property
    def _suffix(self) -> str | None:
        """Of a CSV or TSV, packed or not."""
        from tlkit.inputs.files.frames import table_suffix

        suffix = table_suffix(self.path)
        return None if suffix == ".parquet" else suffix

    def _rows(self) -> Iterator[tuple[dict[str, Any], str, str]]:
        """Yield the fields of each row, its place, and why it cannot be used."""
        if self._suffix is not None:
            yield from self._separated(self._suffix)
            return
        from tlkit.inputs.files.records import TableStream

        for row in TableStream(self.path, encoding=self.encoding, lenient=self.lenient):
            yield ({} if row.problem else dict(row.fields)), row.place, row.problem

    def _separated(self, suffix: str) -> Iterator[tuple[dict[str, Any], str, str]]:
        """Yield the rows of a CSV or TSV, as they are read in training."""
        from itertools import islice

        from tlkit.inputs.files.frames import csv_header, undecodable
        from tlkit.inputs.files.table_files import (
            MAX_FIELD_BYTES,
            check_encoding,
            check_table,
            gzip_errors,
            no_character,
        )
        from tlkit.inputs.files.text_records import TextRecords

        path, origin = self.path.expanduser(), str(self.path)
        if suffix.endswith(".gz") and path.is_file():
            check_encoding(self.encoding)
        else:
            check_table(path, self.encoding, "minimal")
        separator = self.separator or ("\t" if ".tsv" in suffix else ",")
        with gzip_errors(origin):
            try:
                errors = "surrogateescape" if self.lenient else "strict"
                names, spaced = csv_header(path, origin, separator, self.encoding, errors)
            except UnicodeDecodeError as error:
                raise undecodable(path, origin, self.encoding) from error
            if broken := no_character("".join(names), self.encoding):
                raise DataError(f"the header of {origin} contains {broken}")
            rows = TextRecords(
                path, origin, self.encoding, "minimal", MAX_FIELD_BYTES, self.lenient, separator, spaced, tuple(names)
            )
            for row in islice(rows, 1, None):
                yield row.fields, row.place, row.problem


def typed(
    chunk: Chunk,
    columns: Sequence[Any],
    missing: Sequence[str],
    forms: Mapping[str, NumberForm] | None = None,
    problems: dict[int, str] | None = None,
    unread: Callable[[pd.DataFrame], Mapping[int, Any]] | None = None,
) -> pd.DataFrame:
    """Make the columns that a network reads of fields as they stand in the file.

    What is text in a CSV becomes what its column was in training, whatever else stands in the chunk: `3`, `3.0` and an
    empty field are whole numbers and a missing one.

    Args:
        chunk: the rows.
        columns: of the preprocessing.
        missing: texts that stand for a missing value in every column.
        forms: column -> how its numbers are written, as the preprocessing has them; None where it was fitted by release
            0.1.0, which knew plain numbers and `missing` alone.
        problems: gets the reason of each row that cannot be read, by its place in the chunk, counted from 0. What
            such a row holds in the frame means nothing. None raises that of the first such row.
        unread: finds booleans and dates that cannot be read, `TablePreprocessing.unreadable_values`; None where the
            preprocessing was fitted by release 0.1.0, whose graph takes such dates for missing.

    Raises:
        DataError: a field is not of the type that its column had in training; names row, column, value and type.
    """
    import pandas as pd

    from tlkit.inputs.row.columns import Date

    found = {}
    reasons: dict[int, str] = {} if problems is None else problems
    for column in columns:
        form = (forms or {}).get(column.name, PLAIN)
        allowed = _ALLOWED.get(column.dtype, "text")
        if column.dtype != "string" and form != PLAIN:
            allowed += f" ({form.describe()})"
        if isinstance(column, Date):
            allowed = shown_form(column.form)
        gone = {"", *missing, *getattr(column, "missing", ())}
        if forms is not None and (column.dtype != "string" or isinstance(column, Date)):
            gone |= {*USUAL_MISSING, *form.missing}
        made = _read(chunk, column.name, _reader(column, form), allowed, gone, reasons)
        if isinstance(column, Date) and unread is None:
            _check_dates(made, chunk, column.name, allowed, reasons)
        dtype = {"int64": "Int64", "float32": "float64", "float64": "float64"}.get(column.dtype, "str")
        found[column.name] = pd.Series(made, dtype=dtype)
    frame = pd.DataFrame(found)
    for number, wrong in (unread(frame) if unread is not None else {}).items():
        error = _other_type(chunk.places[number], wrong.column, wrong.value, wrong.allowed)
        reasons.setdefault(number, str(error))
    if problems is None and reasons:
        raise DataError(reasons[min(reasons)])
    return frame


def _read(
    chunk: Chunk,
    name: str,
    read: Callable[[Any], Any],
    allowed: str,
    missing: Collection[str],
    problems: dict[int, str] | None = None,
) -> list[Any]:
    """Read the fields of one column; None is a missing value, or one with a problem."""
    made: list[Any] = []
    for number, fields in enumerate(chunk.fields):
        value = fields.get(name)
        if value is None or value != value or (isinstance(value, str) and value.strip() in missing):
            made.append(None)
            continue
        try:
            made.append(read(value))
        except (ValueError, TypeError, OverflowError) as error:
            wanted = error.allowed if isinstance(error, _NotExactError) else allowed
            _note(problems, number, _other_type(chunk.places[number], name, value, wanted))
            made.append(None)
    return made


def _note(problems: dict[int, str] | None, number: int, error: DataError) -> None:
    """Keep the first problem of a row, or raise it where problems are not collected."""
    if problems is None:
        raise error
    problems.setdefault(number, str(error))


def _other_type(place: str, name: str, value: Any, allowed: str) -> DataError:
    return DataError(f"{place}, column {name!r} has another type than in training", received=value, allowed=allowed)


def _check_dates(
    texts: Sequence[str | None], chunk: Chunk, name: str, allowed: str, problems: dict[int, str] | None
) -> None:
    """Refuse what the network's own graph would take for a missing date."""
    import tensorflow as tf

    from tlkit.inputs.row.dates import read_dates

    known = [text or "" for text in texts]
    valid = read_dates(tf.strings.strip(tf.constant(known, tf.string))).valid.numpy()
    for number, text in enumerate(texts):
        if text is not None and not valid[number]:
            _note(problems, number, _other_type(chunk.places[number], name, text, allowed))


def _reader(column: Any, form: NumberForm = PLAIN) -> Callable[[Any], Any]:
    """Give a function that turns a field into what its column holds."""
    from tlkit.inputs.row.columns import Date
    from tlkit.inputs.row.given import is_number

    if column.dtype == "int64":
        return lambda value: _whole(value, form)
    if column.dtype != "string":
        return lambda value: _number(value, form)
    if isinstance(column, Date):
        return lambda value: _as_written(value, column.form)
    if column.boolean:
        return lambda value: str(value).lower() if isinstance(value, bool) else _text(value)
    values = set(getattr(column, "values", ()))
    if values and values <= {"true", "false"}:
        return lambda value: _text(value).lower()
    if any(map(is_number, values)):
        return lambda value: _as_known(value, values)
    return _text


def _as_written(value: Any, form: str) -> str:
    """Write a date as its column has it; files of JSON and Parquet may hold numbers and dates."""
    if isinstance(value, datetime.date):
        return value.strftime(form) if form else value.isoformat().removesuffix("T00:00:00")
    return _text(value)


def _number(value: Any, form: NumberForm = PLAIN) -> float:
    if isinstance(value, str) and value in _BOOLEANS:
        return _BOOLEANS[value]
    read = form.read(value) if isinstance(value, str) else value
    number = float(read)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(value)
    return number


class _NotExactError(ValueError):
    """A whole number that cannot be taken as it is; says what can."""

    def __init__(self, value: object, allowed: str):
        super().__init__(value)
        self.allowed = allowed


def _whole(value: Any, form: NumberForm = PLAIN) -> int:
    read: Any = value
    if isinstance(value, bool):
        raise ValueError(value)
    if isinstance(value, str):
        if "e" in value.lower() and form == PLAIN:  # 1e3 is how a measure is written
            raise ValueError(value)
        read = form.read_whole(value)
    whole = int(read)
    if whole != read:
        raise ValueError(value)
    if not -(2**63) < whole < 2**63:
        raise _NotExactError(value, "whole numbers between -2**63 and 2**63")
    if isinstance(read, float) and abs(read) >= 2.0**53:
        raise _NotExactError(value, "whole numbers; a float beyond 2**53 has lost digits: write a whole number or text")
    return whole


def _boolean(value: Any) -> bool:
    if isinstance(value, str) and value not in _BOOLEANS:
        raise ValueError(value)
    return bool(_BOOLEANS[value]) if isinstance(value, str) else bool(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _as_known(value: Any, known: set[str]) -> str:
    """Write a number as the training's table has it: 0.50 is the category 0.5, while 007 stays what it is."""
    from tlkit.inputs.row.given import is_number

    text = _text(value).strip()
    return text if text in known or not is_number(text) or str(float(text)) not in known else str(float(text))


def joined(
    frame: pd.DataFrame,
    chunk: Chunk,
    tables: Sequence[tuple[Any, list[str]]],
    lacking: Sequence[str],
    reading: Reading,
    problems: dict[int, str] | None = None,
) -> pd.DataFrame:
    """Add columns of further tables, as training did.

    Args:
        frame: rows as `typed` makes them; its columns that are `lacking` are replaced.
        chunk: the same rows, for the columns to join on.
        tables: DataFrames, and the columns to join each on.
        lacking: columns that the file does not have.
        reading: how the fields of the project's files are read.
        problems: as for `typed`.

    Raises:
        DataError: a column to join on is of another type than in the further table.
    """
    import pandas as pd

    for other, on in tables:
        taken = [name for name in lacking if name in other.columns and name not in on]
        if not taken:
            continue
        keys = pd.DataFrame({name: like(chunk, name, other[name].dtype, reading, problems) for name in on})
        found = keys.merge(other[[*on, *taken]], on=on, how="left", validate="m:1")
        frame = frame.assign(**{name: found[name] for name in taken})
    return frame


def like(
    chunk: Chunk,
    name: str,
    dtype: Any,
    reading: Reading,
    problems: dict[int, str] | None = None,
    date_form: str = "",
) -> pd.Series:
    """Make a column of fields what it is in another table.

    Args:
        chunk: the rows.
        name: of the column; where a row lacks it, its value is missing.
        dtype: of the other table's column.
        reading: how the fields of the project's files are read.
        problems: as for `typed`.
        date_form: how dates are written in the file, where the other column holds dates.

    Raises:
        DataError: a field does not go into that type; names row, column and value.
    """
    import pandas as pd

    types = pd.api.types
    form = reading.form_of(name)
    text = isinstance(dtype, pd.StringDtype) or types.is_object_dtype(dtype)
    missing = {"", *reading.missing_of(name), *(() if text else (*reading.usual, *form.missing))}
    if types.is_datetime64_any_dtype(dtype):
        from tlkit.inputs.row.events import as_moments

        allowed = shown_form(date_form) if date_form else "dates as 2015-06-19"
        made = _read(chunk, name, lambda value: value, allowed, missing, problems)
        moments = as_moments(pd.Series(made, dtype=object), date_form)
        for number in moments.isna().to_numpy().nonzero()[0].tolist():
            if made[number] is not None:
                _note(problems, number, _other_type(chunk.places[number], name, made[number], allowed))
        return moments.dt.tz_localize(getattr(dtype, "tz", None) and "UTC").astype(dtype)
    if types.is_bool_dtype(dtype):
        return pd.Series(_read(chunk, name, _boolean, "true and false", missing, problems), dtype="boolean")
    if types.is_integer_dtype(dtype):
        whole = _read(chunk, name, lambda value: _whole(value, form), "whole numbers", missing, problems)
        return pd.Series(whole, dtype="Int64")
    if types.is_float_dtype(dtype):
        allowed = "numbers, finite ones"
        numbers = _read(chunk, name, lambda value: _number(value, form), allowed, missing, problems)
        return pd.Series(numbers, dtype="float64")
    return pd.Series(_read(chunk, name, _text, "text", missing, problems), dtype="str")


def lacking_columns(names: Mapping[str, Any] | Sequence[str], columns: Sequence[Any]) -> list[str]:
    """Name the columns of the preprocessing that a file does not have."""
    return [column.name for column in columns if column.name not in names]
