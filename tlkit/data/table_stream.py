"""The rows of a CSV, TSV, JSONL or Parquet file one after another, every column of them, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tlkit.data.table_rows import Quoting, TableRows, check_header
from tlkit.data.text_files import MAX_FIELD_BYTES, check_table, missing_column
from tlkit.errors import DataError

_PARQUET_ROWS = 1024  # that are in memory at once


class StreamedRow(NamedTuple):
    """One row.

    Attributes:
        place: where it stands, for messages: "reviews.csv row 17", where the header is row 1.
        fields: column name -> value; text for CSV and TSV, any JSON or Parquet value otherwise.
    """

    place: str
    fields: dict[str, object]


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
        encoding, quoting, max_field_bytes: as for `tlkit.data.text_files.read_columns`.

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
    ):
        self.path = check_table(file, encoding, quoting)
        self._name = str(file)
        self._rows = TableRows(self.path, self._name, encoding, quoting, max_field_bytes)
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
            if column not in row.fields:
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
            yield StreamedRow(f"{self._name} {self._rows.word} {row.number}", row.fields)

    def _parquet(self) -> Iterator[StreamedRow]:
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.path) as file:
                names = file.schema_arrow.names
                check_header(names, self._name)
                yield StreamedRow(self._name, dict.fromkeys(names))
                number = 0
                for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                    for fields in batch.to_pylist():
                        number += 1
                        yield StreamedRow(f"{self._name} data row {number}", fields)
        except (ValueError, OSError) as error:  # pyarrow's parse errors are ValueErrors
            if isinstance(error, DataError):
                raise
            reason = (str(error).split("\n") or [""])[0]
            raise DataError(f"the table cannot be read: {reason}", received=self._name) from error
