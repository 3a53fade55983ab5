"""The photos that a column of a table leads to, as items: the table is read as one of texts, its texts are paths."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlkit.inputs.items import Item, Shard, Source


@dataclasses.dataclass(frozen=True)
class ImageTable:
    """Photos by the paths in a table, relative to the folder that it lies in.

    Args:
        table: gives the paths as the contents of its items.
        folder: what relative paths begin at.
        column: the one that holds the paths.
    """

    table: Source
    folder: Path
    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Name those of the table."""
        return self.table.columns

    def placed(self, folder: Path) -> ImageTable:
        """Name the table and its folder by absolute paths."""
        return ImageTable(self.table.placed(folder), self.folder.absolute(), self.column)

    def digest(self) -> str:
        """Hash the table, and sizes and times of change of the photos: they are not read for it."""
        found = hashlib.sha256(self.table.digest().encode("ascii"))
        for shard in self.shards(1 << 20):
            for item in self.read(shard):
                if not item.problem:
                    known = Path(item.content).stat()
                    found.update(f"{item.number} {known.st_size} {known.st_mtime_ns}\n".encode("ascii"))
        return found.hexdigest()

    def types(self) -> dict[str, Any]:
        """Give the types of the table."""
        return self.table.types()

    def shards(self, size: int) -> Iterator[Shard]:
        """Divide the table; see `Source`."""
        return self.table.shards(size)

    def read(self, shard: Shard) -> Iterator[Item]:
        """Give the photos of a shard by path; they are not opened here."""
        for item in self.table.read(shard):
            if item.problem:
                yield item
            elif not item.content:
                yield item._replace(problem=f"column {self.column!r} contains no path")
            else:
                path = self.folder / Path(item.content).expanduser()
                is_file = "\0" not in item.content and path.is_file()
                yield item._replace(content=str(path), problem="" if is_file else f"the photo {path} does not exist")
