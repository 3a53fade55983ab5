"""A Parquet file as items: shards begin at any row, and a few hundred rows are in memory at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlkit.files import sha256_of
from tlkit.inputs.files.records import rows_of_batch
from tlkit.inputs.files.table_files import check_header, parquet_errors
from tlkit.inputs.items import Item, Shard, cut

_ROWS = 1024  # that are in memory at once


@dataclasses.dataclass(frozen=True)
class ParquetTable:
    """The rows of a Parquet file.

    Args:
        path: the file.
        column: the one that holds the texts; empty where the items are rows.
        columns: of the table.
        origin: what messages call it, `path` itself when empty.
    """

    path: Path
    column: str
    columns: tuple[str, ...]
    origin: str = ""

    @classmethod
    def of(cls, path: Path, *, column: str = "") -> ParquetTable:
        """Look at a file.

        Raises:
            DataError: it cannot be read, or has two columns of one name.
        """
        import pyarrow.parquet as pq

        with parquet_errors(str(path)):
            names = pq.read_schema(path).names
        check_header(names, str(path))
        return cls(path, column, tuple(names))

    def placed(self, folder: Path) -> ParquetTable:
        """Name the file by its absolute path; nothing needs to be kept."""
        return dataclasses.replace(self, path=self.path.absolute(), origin=str(self.path))

    def digest(self) -> str:
        """Hash the file."""
        return sha256_of(self.path)

    def types(self) -> dict[str, Any]:
        """Give the types that the file itself names."""
        import pyarrow.parquet as pq

        return {field.name: field.type for field in pq.read_schema(self.path)}

    def shards(self, size: int) -> Iterator[Shard]:
        """Divide the rows; nothing but the footer is read."""
        import pyarrow.parquet as pq

        with parquet_errors(str(self.path)):
            rows = pq.read_metadata(self.path).num_rows
        yield from cut(((0, number) for number in range(rows)), size)

    def read(self, shard: Shard) -> Iterator[Item]:
        """Give the rows of a shard; row groups without any of them are passed over."""
        import pyarrow.parquet as pq

        with parquet_errors(str(self.path)), pq.ParquetFile(self.path) as file:
            groups, skipped, before = [], 0, 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if before + rows <= shard.row:
                    skipped = before + rows
                elif before < shard.row + shard.items:
                    groups.append(group)
                before += rows
            at, end = skipped, shard.row + shard.items
            for batch in file.iter_batches(batch_size=_ROWS, row_groups=groups):
                wanted = batch.slice(max(shard.row - at, 0), max(end - max(at, shard.row), 0))
                first = max(at, shard.row)
                at += batch.num_rows
                for row, (fields, problem) in enumerate(rows_of_batch(wanted), first):
                    yield self._item(shard.begin + row - shard.row, row, fields, problem)
                if at >= end:
                    return

    def _item(self, number: int, row: int, fields: dict[str, Any], problem: str) -> Item:
        place, content = f"{self.origin or self.path} data row {row + 1}", None
        if self.column and not problem:
            content = fields[self.column]
            if not isinstance(content, str):
                problem = f"column {self.column!r} contains no text"
        return Item(number, place, None if problem else content, fields, problem)
