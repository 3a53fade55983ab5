"""The reader of records: rows of a CSV, TSV, JSONL or Parquet file one after another, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.errors import DataError, missing_column
from tlkit.inputs.files.table_files import MAX_FIELD_BYTES, Quoting, check_header, check_table, parquet_errors
from tlkit.inputs.files.text_records import Record, TextRecords

if TYPE_CHECKING:
    import pandas as pd

_PARQUET_ROWS = 1024  # that are in memory at once


class TableStream:
    """A table that is read row by row, as often as needed; `read_columns` keeps some columns of all rows instead.

    Example:
        >>> stream = TableStream("reviews.csv")
        >>> stream.columns, stream.survey("text")
        (['text', 'label'], 500)
        >>> next(iter(stream)).fields["label"]
        'good'

    Args:
        file: a .csv, .tsv, .jsonl, .ndjson or .parquet file.
        encoding, quoting, max_field_bytes, separator: as for `read_columns`.
        lenient: yield a row that cannot be read with its problem, and go on; as for `TextRecords`.

    Attributes:
        columns: names of the columns; after `survey`, also those that only later JSON objects have.

    Raises:
        ConfigError: there is no such codec or way of quoting.
        DataError: the file is missing, empty or of another type, or its header cannot be read.
    """

    def __init__(
        self,
        file: str | Path,
        *,
        encoding: str = "utf-8",
        quoting: Quoting = "auto",
        max_field_bytes: int = MAX_FIELD_BYTES,
        lenient: bool = False,
        separator: str = "",
    ):
        self.path = check_table(file, encoding, quoting)
        self._name = str(file)
        self._lenient = lenient
        self._rows = TextRecords(self.path, self._name, encoding, quoting, max_field_bytes, lenient, separator)
        header = next(self._raw(), None)
        if header is None:
            raise DataError("the table is empty", received=self._name)
        self.columns = [str(name) for name in header.fields]

    def __iter__(self) -> Iterator[Record]:
        """Yield the rows from the first one on.

        Raises:
            DataError: a row cannot be read; the message names it.
        """
        return self.rows()

    def rows(self, only: Sequence[str] | None = None) -> Iterator[Record]:
        """Yield the rows from the first one on.

        Args:
            only: the columns that are needed; of a Parquet file no others are read.

        Raises:
            DataError: a row cannot be read; the message names it.
        """
        rows = self._raw(only)
        next(rows)  # the header
        yield from rows

    def survey(self, column: str, check: Callable[[object, str], object] | None = None) -> int:
        """Read the whole table once, so that what is wrong with it is known before work is spent on it.

        Args:
            column: one that every row must have.
            check: is called with the value and the place of each row, to refuse what cannot be used.

        Returns:
            The number of rows.

        Raises:
            DataError: the column is missing, there are no rows, or a row cannot be read.
        """
        if column not in self.columns:
            raise missing_column(column, self.columns, self._name)
        seen, count = dict.fromkeys(self.columns), 0
        for row in self:
            if row.problem:
                count += 1
                continue
            if column not in row.fields and not self._lenient:
                raise missing_column(column, row.fields, row.place)
            if check is not None:
                check(row.fields[column], row.place)
            seen |= dict.fromkeys(row.fields)
            count += 1
        if not count:
            raise DataError("the table has a header and no rows", received=self._name)
        self.columns = list(seen)
        return count

    def _raw(self, only: Sequence[str] | None = None) -> Iterator[Record]:
        """Yield the header, without values, and then the rows."""
        if self.path.suffix.lower() == ".parquet":
            yield from self._parquet(only)
        else:
            yield from self._rows

    def _parquet(self, only: Sequence[str] | None) -> Iterator[Record]:
        import pyarrow.parquet as pq

        with parquet_errors(self._name), pq.ParquetFile(self.path) as file:
            names = file.schema_arrow.names
            check_header(names, self._name)
            yield Record(self._name, dict.fromkeys(names))
            number = 0
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=only):
                for fields, problem in rows_of_batch(batch):
                    number += 1
                    place = f"{self._name} data row {number}"
                    if problem and not self._lenient:
                        raise DataError(f"{place}: {problem}")
                    yield Record(place, fields, problem, number)


def rows_of_batch(batch: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the values of each row, and what is wrong with it: Arrow does not check that texts are UTF-8.

    Args:
        batch: a `pyarrow.RecordBatch`.
    """
    try:
        yield from ((fields, "") for fields in batch.to_pylist())
        return
    except UnicodeDecodeError:
        pass
    for row in range(batch.num_rows):
        fields, problem = {}, ""
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                fields[name] = column[row].as_py()
            except UnicodeDecodeError as error:
                problem = f"column {name!r} contains a byte that is not utf-8: 0x{error.object[error.start]:02x}"
        yield fields, problem


class Columns(NamedTuple):
    """The wanted columns of a table.

    Attributes:
        values: column name -> one value a row; text for CSV and TSV, any JSON or Parquet value otherwise.
        places: the location of each row, for messages: "reviews.csv row 17", where the header is row 1.
    """

    values: dict[str, list[object]]
    places: list[str]

    def only(self, rows: Sequence[int]) -> Columns:
        """Return some of the rows."""
        values = {name: [column[row] for row in rows] for name, column in self.values.items()}
        return Columns(values, [self.places[row] for row in rows])


def read_columns(
    file: str | Path,
    wanted: Sequence[str] | None = None,
    *,
    encoding: str = "utf-8",
    quoting: Quoting = "auto",
    max_field_bytes: int = MAX_FIELD_BYTES,
    separator: str = "",
) -> Columns:
    r"""Read some columns of a .csv, .tsv, .jsonl, .ndjson or .parquet file.

    A field keeps every character that is in it: a quoted line break as well as NEL (U+0085), U+2028 or \x0b, which
    many programs take for the end of a line. CSV follows RFC 4180, strictly: a stray quote is an error, not a guess.

    Example:
        >>> read_columns("reviews.csv", ["text", "label"]).values["label"][:2]
        ['good', 'bad']

    Args:
        file: the file; its suffix says what it is.
        wanted: names of the columns to keep; all by default.
        encoding: of a text file, any codec that Python has; a byte order mark is passed over.
        quoting: `"minimal"` reads "…" as one field, `"none"` leaves quotes as they are, `"auto"` is `"minimal"` for
            CSV and `"none"` for TSV, whose texts often hold single quotes of their own.
        max_field_bytes: a row with more than this (in UTF-8) is refused before it is read to its end.
        separator: between the fields of a CSV or TSV; by the suffix when empty.

    Returns:
        The columns, one value a row.

    Raises:
        ConfigError: there is no such codec or way of quoting.
        DataError: the file is missing, of another type, cannot be decoded, or a row or column is wrong.
    """
    table = TableStream(file, encoding=encoding, quoting=quoting, max_field_bytes=max_field_bytes, separator=separator)
    origin = str(file)
    names = table.columns if wanted is None else wanted
    for column in names:
        if column not in table.columns:
            raise missing_column(column, table.columns, origin)
    values: dict[str, list[object]] = {column: [] for column in names}
    places: list[str] = []
    for row in table.rows(list(values)):
        for column, kept in values.items():
            if column not in row.fields:
                raise missing_column(column, row.fields, row.place)
            kept.append(row.fields[column])
        places.append(row.place)
    if not places:
        rows = "no rows" if table.path.suffix.lower() == ".parquet" else "a header and no rows"
        raise DataError(f"the table has {rows}", received=origin)
    return Columns(values, places)


def frame_columns(frame: pd.DataFrame, wanted: Sequence[str], origin: str) -> Columns:
    """Return the wanted columns of a DataFrame; its rows are counted from 1.

    Raises:
        DataError: a column is missing or there twice, or there are no rows.
    """
    names = [str(name) for name in frame.columns]
    for column in wanted:
        if column not in names:
            raise missing_column(column, names, origin)
    check_header(names, origin)
    if len(frame) == 0:
        raise DataError("the table has no rows", received=origin)
    values = {column: list(frame.iloc[:, names.index(column)].tolist()) for column in wanted}
    return Columns(values, [f"{origin} data row {number}" for number in range(1, len(frame) + 1)])
