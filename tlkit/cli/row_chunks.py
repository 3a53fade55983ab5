"""The rows that `tlkit predict` answers: some thousands at a time, as they stand in the file and as the network's."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
ROWS = 4096  # that are in memory at once
_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")


class Chunk(NamedTuple):
    """Some rows that follow each other.

    Attributes:
        fields: of each row, by column, as they stand in the file: text for CSV and TSV.
        places: where each stands, for messages.
    """

    fields: list[dict[str, Any]]
    places: list[str]


@dataclasses.dataclass(frozen=True)
class RowFile:
    """A table that is read chunk by chunk, as often as it is iterated.

    Args:
        path: a .csv, .tsv, .jsonl, .ndjson or .parquet file.
        separator: between the fields of a CSV or TSV; by the suffix when empty.
        encoding: of a text file.

    Raises:
        DataError: while it is iterated, or asked for its columns: the file is missing, of another kind, or a row of it
            is wrong.
    """

    path: Path
    separator: str = ""
    encoding: str = "utf-8"

    def survey(self) -> tuple[list[str], int]:
        """Read it once; gives the columns and the number of rows."""
        columns: dict[str, None] = {}
        count = 0
        for fields, _ in self._rows():
            columns |= dict.fromkeys(fields)
            count += 1
        if not count:
            raise DataError("the table has no rows", received=str(self.path))
        return list(columns), count

    def __iter__(self) -> Iterator[Chunk]:
        """Give the rows, `ROWS` at a time."""
        chunk = Chunk([], [])
        for fields, place in self._rows():
            chunk.fields.append(fields)
            chunk.places.append(place)
            if len(chunk.fields) == ROWS:
                yield chunk
                chunk = Chunk([], [])
        if chunk.fields:
            yield chunk

    def _rows(self) -> Iterator[tuple[dict[str, Any], str]]:
        if self.path.suffix.lower() not in (".csv", ".tsv"):
            from tlkit.data.table_stream import TableStream

            for row in TableStream(self.path, encoding=self.encoding):
                yield dict(row.fields), row.place
            return
        from tlkit.data.table_rows import TableRows
        from tlkit.data.text_files import MAX_FIELD_BYTES, check_table

        separator = self.separator or ("," if self.path.suffix.lower() == ".csv" else "\t")

        class Rows(TableRows):
            @property
            def delimiter(self) -> str:
                return separator

        path = check_table(self.path, self.encoding, "minimal")
        rows = iter(Rows(path, str(self.path), self.encoding, "minimal", MAX_FIELD_BYTES))
        header = next(rows, None)
        if header is None:
            raise DataError("the table is empty", received=str(self.path))
        names = [str(name) for name in header.fields]
        # As in training: where a space follows each separator, it belongs to neither name nor value.
        spaced = len(names) > 1 and all(name.startswith(" ") for name in names[1:])
        for line in rows:
            fields = {key.strip(): str(value).strip() for key, value in line.fields.items()} if spaced else line.fields
            yield fields, f"{self.path} row {line.number}"


def typed(chunk: Chunk, columns: Sequence[Any], missing: Sequence[str]) -> pd.DataFrame:
    """Make the columns that a network reads of fields as they stand in the file.

    What is text in a CSV becomes what its column was in training, whatever else stands in the chunk: `3`, `3.0` and an
    empty field are whole numbers and a missing one.

    Args:
        chunk: the rows.
        columns: of the preprocessing.
        missing: texts that stand for a missing value.

    Raises:
        DataError: a field is not of the type that its column had in training; names row, column, value and type.
    """
    import pandas as pd

    found = {}
    for column in columns:
        values = [fields.get(column.name) for fields in chunk.fields]
        read = _reader(column)
        made: list[Any] = []
        for value, place in zip(values, chunk.places, strict=True):
            if value is None or value != value or (isinstance(value, str) and value.strip() in missing):
                made.append(None)
                continue
            try:
                made.append(read(value))
            except (ValueError, TypeError, OverflowError):
                raise DataError(
                    f"{place}, column {column.name!r} is not what it was in training",
                    received=value,
                    allowed={"int64": "whole numbers", "float32": "numbers"}.get(column.dtype, "text"),
                ) from None
        dtype = {"int64": "Int64", "float32": "float64"}.get(column.dtype, "str")
        found[column.name] = pd.Series(made, dtype=dtype)
    return pd.DataFrame(found)


def _reader(column: Any) -> Callable[[Any], Any]:
    """Give a function that turns a field into what its column holds."""
    if column.dtype == "float32":
        return _number
    if column.dtype == "int64":
        return _whole
    values = set(getattr(column, "values", ()))
    if values and values <= {"true", "false"}:
        return lambda value: _text(value).lower()
    if any(map(_is_number, values)):
        return lambda value: _as_known(value, values)
    return _text


def _number(value: Any) -> float:
    if isinstance(value, str) and "_" in value:  # which Python reads, and pandas does not
        raise ValueError(value)
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, str) and not _WHOLE.fullmatch(value.strip()):
        raise ValueError(value)
    whole = int(value.strip().partition(".")[0]) if isinstance(value, str) else int(value)
    if (not isinstance(value, str) and whole != value) or not -(2**63) < whole < 2**63:
        raise ValueError(value)
    return whole


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _as_known(value: Any, known: set[str]) -> str:
    """Write a number as the training's table has it: 0.50 is the category 0.5, while 007 stays what it is."""
    text = _text(value).strip()
    return text if text in known or not _is_number(text) or str(float(text)) not in known else str(float(text))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def joined(frame: pd.DataFrame, chunk: Chunk, tables: Sequence[tuple[Any, list[str]]], lacking: Sequence[str]) -> Any:
    """Add columns of further tables, as training did.

    Args:
        frame: rows as `typed` makes them; its columns that are `lacking` are replaced.
        chunk: the same rows, for the columns to join on.
        tables: DataFrames, and the columns to join each on.
        lacking: columns that the file does not have.
    """
    import pandas as pd

    for other, on in tables:
        taken = [name for name in lacking if name in other.columns and name not in on]
        if not taken:
            continue
        keys = pd.DataFrame({name: [fields.get(name) for fields in chunk.fields] for name in on})
        for name in on:
            if pd.api.types.is_numeric_dtype(other[name].dtype):
                keys[name] = pd.to_numeric(keys[name], errors="coerce")
            keys[name] = keys[name].astype(other[name].dtype) if keys[name].notna().all() else keys[name]
        found = keys.merge(other[[*on, *taken]], on=on, how="left", validate="m:1")
        frame = frame.assign(**{name: found[name].to_numpy() for name in taken})
    return frame


def lacking_columns(names: Mapping[str, Any] | Sequence[str], columns: Sequence[Any]) -> list[str]:
    """Name the columns of the preprocessing that a file does not have."""
    return [column.name for column in columns if column.name not in names]
