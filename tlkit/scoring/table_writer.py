"""A table written row by row in bounded memory: CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlkit.errors import DataError
from tlkit.scoring.row_writer import row_writer

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_ROWS = 4096  # of a Parquet file that are in memory at once


class TableWriter:
    """A table that is written row by row; the suffix of its file says what it is.

    Args:
        path: a .csv, .tsv, .jsonl, .ndjson or .parquet file, which must not exist.
        schema: an Arrow schema; only Parquet looks at the types.
    """

    def __init__(self, path: Path, schema: Any):
        self._names: Sequence[str] = schema.names
        self._pending: list[dict[str, Any]] = []
        self._table: Any = None
        self._write: Callable[[Mapping[str, object], str], None] | None = None
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            self._table = pq.ParquetWriter(path, schema)
        else:
            self._file = path.open("x", encoding="utf-8", newline="")
            self._write = row_writer(path, self._file, self._names)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._table is None:
            self._file.close()
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
