"""A table written row by row in bounded memory: CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tlkit.errors import ConfigError, DataError
from tlkit.separated import separated_writer, without_formula

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_ROWS = 4096  # of a Parquet file that are in memory at once


@dataclasses.dataclass(frozen=True)
class CellRules:
    """How values are written into the cells of a CSV or TSV.

    Attributes:
        quoted_tsv: whether fields of a TSV can be quoted. Tables of rows are read so; tables of texts are read without
            quotes, and then a TSV cannot hold a tab or a line break.
        escape_formulas: whether text that a spreadsheet would run gets a leading apostrophe.
    """

    quoted_tsv: bool = True
    escape_formulas: bool = False

    def check(self, suffix: str) -> None:
        """Refuse escaping where no spreadsheet reads the file as text.

        Raises:
            ConfigError: `escape_formulas` for another kind of file than CSV and TSV.
        """
        if self.escape_formulas and suffix not in _SEPARATORS:
            raise ConfigError(
                "--escape-formulas is an option for .csv and .tsv",
                received=suffix,
                fix="remove it",
            )


def is_binary(path: Path) -> bool:
    """Return whether the file of a table has to be opened for bytes."""
    return path.suffix.lower() == ".parquet"


class TableWriter:
    """Write a table row by row.

    Example:
        with out.open("w", encoding="utf-8", newline="") as file, TableWriter(out, file, ["text"], schema) as table:
            table.write({"text": "what a film"}, "reviews.csv row 2")

    Args:
        path: a name with the suffix .csv, .tsv, .jsonl, .ndjson or .parquet, which says what the table is.
        file: where to write it, opened for bytes or for text in UTF-8 without translated line ends; see `is_binary`.
        names: the columns.
        schema: returns an Arrow schema of these columns; only called for Parquet.
        rules: for the cells of a CSV or TSV.

    Raises:
        DataError: such a file cannot hold the name of a column.
    """

    def __init__(
        self,
        path: Path,
        file: IO[Any],
        names: Sequence[str],
        schema: Callable[[], Any],
        rules: CellRules | None = None,
    ):
        self._names = list(names)
        self._suffix = path.suffix.lower()
        self._rules = rules or CellRules()
        self._file = file
        self._pending: list[dict[str, Any]] = []
        self._table: Any = None
        self._write: Callable[[Sequence[Any]], None] | None = None
        if is_binary(path):
            import pyarrow.parquet as pq

            self._table = pq.ParquetWriter(file, schema())
        elif self._suffix in _SEPARATORS:
            quoted = self._suffix == ".csv" or self._rules.quoted_tsv
            self._write = separated_writer(file, _SEPARATORS[self._suffix], quoted=quoted)
            self._write_record(self._write, self._names, "the header")

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is not None:
            self._pending = []
        self.close()

    def close(self) -> None:
        """Write what is held back; the file itself stays open.

        Raises:
            DataError: the rows do not fit a Parquet file.
        """
        if self._table is None:
            return
        try:
            if self._pending:
                self._flush()
        finally:
            self._pending = []
            self._table.close()

    def write(self, fields: Mapping[str, Any], place: str) -> None:
        """Write a row.

        Args:
            fields: column -> value; missing ones are left empty.
            place: where the row comes from, for messages.

        Raises:
            DataError: such a file cannot hold the row; nothing of it is written.
        """
        if self._table is not None:
            row = {name: fields.get(name) for name in self._names}
            with self._explained(place):
                for value in row.values():
                    if isinstance(value, str) and not value.isascii():
                        value.encode("utf-8")  # Arrow would fail for all rows that are pending
            self._pending.append(row)
            if len(self._pending) >= _ROWS:
                self._flush()
        elif self._write is not None:
            self._write_record(self._write, [fields.get(name) for name in self._names], place)
        else:
            with self._explained(place):
                self._file.write(json.dumps(fields, ensure_ascii=False, default=str) + "\n")

    def _write_record(self, write: Callable[[Sequence[Any]], None], values: Sequence[Any], place: str) -> None:
        cells = [_plain(value) for value in values]
        if self._rules.escape_formulas:
            cells = [without_formula(cell) for cell in cells]
        with self._explained(place):
            write(cells)

    @contextlib.contextmanager
    def _explained(self, place: str) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as error:
            raise DataError(f"{place} holds half of a surrogate pair, which is not a character") from error
        except ValueError as error:
            other = ".jsonl or .parquet" if self._suffix == ".csv" else ".csv, .jsonl or .parquet"
            raise DataError(
                f"{place} holds {error}, which this {self._suffix} cannot hold", fix=f"write {other}"
            ) from error

    def _flush(self) -> None:
        import pyarrow as pa

        try:
            part = pa.Table.from_pylist(self._pending, schema=self._table.schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(f"the rows do not fit a Parquet file: {error}", fix="write .csv or .jsonl") from error
        self._table.write_table(part)
        self._pending = []


def _plain(value: object) -> object:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value
