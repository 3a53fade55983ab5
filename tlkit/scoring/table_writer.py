"""A table written row by row in bounded memory: CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tlkit.errors import DataError
from tlkit.scoring.row_writer import row_writer

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_ROWS = 4096  # of a Parquet file that are in memory at once


def is_binary(path: Path) -> bool:
    """Say whether the file of a table has to be opened for bytes."""
    return path.suffix.lower() == ".parquet"


class TableWriter:
    """A table that is written row by row.

    Args:
        path: a name with the suffix .csv, .tsv, .jsonl, .ndjson or .parquet, which says what the table is.
        file: where to write it, opened for bytes or for text in UTF-8 without translated line ends; see `is_binary`.
        names: the columns.
        schema: gives an Arrow schema of these columns; only asked for Parquet.
    """

    def __init__(self, path: Path, file: IO[Any], names: Sequence[str], schema: Callable[[], Any]):
        self._names = names
        self._pending: list[dict[str, Any]] = []
        self._table: Any = None
        self._write: Callable[[Mapping[str, object], str], None] | None = None
        if is_binary(path):
            import pyarrow.parquet as pq

            self._table = pq.ParquetWriter(file, schema())
        else:
            self._write = row_writer(path, file, names)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._table is None:
            return
        if self._pending and error[0] is None:
            self._flush()
        self._table.close()

    def write(self, fields: Mapping[str, Any], place: str) -> None:
        """Write a row; `place` is where it comes from, for messages."""
        if self._write is not None:
            self._write(fields, place)
            return
        self._pending.append({name: fields.get(name) for name in self._names})
        if len(self._pending) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        try:
            part = pa.Table.from_pylist(self._pending, schema=self._table.schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(f"the rows do not fit a Parquet file: {error}", fix="write .csv or .jsonl") from error
        self._table.write_table(part)
        self._pending = []
