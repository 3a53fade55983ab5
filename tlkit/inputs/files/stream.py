"""The rows of a CSV, TSV, JSONL or Parquet file one after another, every column of them, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.errors import DataError
from tlkit.inputs.files.columns import MAX_FIELD_BYTES, check_table, missing_column
from tlkit.inputs.files.records import Quoting, TableRows, check_header

_PARQUET_ROWS = 1024  # that are in memory at once


class StreamedRow(NamedTuple):
    """One row.

    Attributes:
        place: where it stands, for messages: "reviews.csv row 17", where the header is row 1.
        fields: column name -> value; text for CSV and TSV, any JSON or Parquet value otherwise.
        problem: why the row cannot be used; an empty text where it can.
    """

    place: str
    fields: dict[str, object]
    problem: str = ""


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
        encoding, quoting, max_field_bytes, separator: as for `tlkit.inputs.files.columns.read_columns`.
        lenient: give a row that cannot be read with its problem, and go on; as for `TableRows`.

    Attributes:
        columns: names of the columns; after `survey`, also those that only later JSON objects have.

    Raises:
        ConfigError: there is no such codec or way of quoting.
        DataError: the file is missing, empty or of another kind, or its header cannot be read.
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
        self._rows = TableRows(self.path, self._name, encoding, quoting, max_field_bytes, lenient, separator)
        header = next(self._raw(), None)
        if header is None:
            raise DataError("the table is empty", received=self._name)
        self.columns = [str(name) for name in header.fields]

    def __iter__(self) -> Iterator[StreamedRow]:
        """Give the rows from the first one on.

        Raises:
            DataError: a row cannot be read; the message names it.
        """
        rows = self._raw()
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

    def _raw(self) -> Iterator[StreamedRow]:
        """Give the header, whose values mean nothing, and then the rows."""
        if self.path.suffix.lower() == ".parquet":
            yield from self._parquet()
            return
        for row in self._rows:
            yield StreamedRow(f"{self._name} {self._rows.word} {row.number}", row.fields, row.problem)

    def _parquet(self) -> Iterator[StreamedRow]:
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.path) as file:
                names = file.schema_arrow.names
                check_header(names, self._name)
                yield StreamedRow(self._name, dict.fromkeys(names))
                number = 0
                for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                    for fields, problem in rows_of_batch(batch):
                        number += 1
                        place = f"{self._name} data row {number}"
                        if problem and not self._lenient:
                            raise DataError(f"{place}: {problem}")
                        yield StreamedRow(place, fields, problem)
        except (ValueError, OSError) as error:  # pyarrow's parse errors are ValueErrors
            if isinstance(error, DataError):
                raise
            reason = (str(error).split("\n") or [""])[0]
            raise DataError(f"the table cannot be read: {reason}", received=self._name) from error


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
