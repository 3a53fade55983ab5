"""The rows of a CSV, TSV, JSONL or Parquet file one after another, every column of them, in bounded memory."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from tlkit.data import text_files
from tlkit.data.text_files import MAX_FIELD_BYTES, SUFFIXES, Quoting, check_encoding, check_is_text, missing_column
from tlkit.errors import DataError, check_choice, did_you_mean

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
        self.path = Path(file).expanduser()
        self._name, self._encoding, self._limit = str(file), encoding, max_field_bytes
        suffix = self.path.suffix.lower()
        self._delimiter = {".csv": ",", ".tsv": "\t"}.get(suffix)
        self._plain = quoting == "none" or (quoting == "auto" and suffix == ".tsv")
        self._is_parquet = suffix == ".parquet"
        self._word = "row" if self._delimiter else "line"
        check_choice("quoting", quoting, get_args(Quoting))
        check_encoding(encoding)
        if not self.path.is_file():
            folder = self.path.parent
            near = did_you_mean(self.path.name, [item.name for item in folder.glob("*")] if folder.is_dir() else [])
            what = "the table is a folder" if self.path.is_dir() else "there is no such table"
            raise DataError(what, received=self._name, fix=near or None)
        if suffix not in SUFFIXES:
            raise DataError("unknown kind of table", received=self._name, allowed=SUFFIXES)
        if not self._is_parquet:
            check_is_text(self.path, encoding)
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
        if self._is_parquet:
            yield from self._parquet()
            return
        try:
            for row in self._decoded("strict"):
                yield StreamedRow(f"{self._name} {self._word} {row.number}", row.fields)
        except UnicodeDecodeError as error:
            place = f"{self._name} {self._word}"
            text_files._explain_undecodable(self._decoded("surrogateescape"), place, self._encoding, error)

    def _decoded(self, errors: str) -> Iterator[text_files._Row]:
        codec = text_files.text_codec(self._encoding)
        # Without newline translation: a carriage return inside a quoted field stays one.
        newline = "" if self._delimiter else "\n"
        with self.path.open("r", encoding=codec, errors=errors, newline=newline) as stream:
            lines = text_files._Lines(stream, self._name, self._limit, self._word)
            if self._delimiter:
                quoting: Literal[0, 3] = csv.QUOTE_NONE if self._plain else csv.QUOTE_MINIMAL
                yield from text_files._separated(lines, self._delimiter, quoting)
            else:
                yield from text_files._json_objects(lines)

    def _parquet(self) -> Iterator[StreamedRow]:
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.path) as file:
                names = file.schema_arrow.names
                text_files._check_header(names, self._name)
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
