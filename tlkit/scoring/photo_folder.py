"""The photos of a folder as items: listed folder by folder, never held as a whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlkit.errors import DataError
from tlkit.scoring.items import Item, Shard, cut

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")


@dataclasses.dataclass(frozen=True)
class PhotoFolder:
    """The image files of a folder and of the folders inside, in the order of their names.

    The listing is written to a file, one JSON string a line: what is scored is what was there in the beginning, and a
    shard begins in the middle of it without listing the folder again. Hidden files are photos like others, as for
    `tlkit predict`; folders that are links are not followed.

    Args:
        folder: of the photos.
        listing: the file of the listing; None until `placed` has written it.
        origin: what the folder is called in the output, `folder` itself when empty.
    """

    folder: Path
    listing: Path | None = None
    origin: str = ""
    columns: tuple[str, ...] = ("input",)

    def placed(self, folder: Path) -> PhotoFolder:
        """Write the listing into `folder`."""
        listing = folder / "listing.jsonl"
        with listing.open("w", encoding="ascii") as file:
            file.writelines(json.dumps(name) + "\n" for name, _ in _photos(self.folder))
        return PhotoFolder(self.folder.absolute(), listing.absolute(), str(self.folder))

    def digest(self) -> str:
        """Hash names, sizes and times of change: photos are not read twice."""
        found = hashlib.sha256()
        for name, status in _photos(self.folder):
            found.update(json.dumps([name, status.st_size, status.st_mtime_ns]).encode())
        return found.hexdigest()

    def types(self) -> dict[str, Any]:
        """A path is text."""
        return {}

    def shards(self, size: int) -> Iterator[Shard]:
        """Divide the listing; see `Source`."""
        yield from cut(self._offsets(), size)

    def read(self, shard: Shard) -> Iterator[Item]:
        """Give the photos of a shard by path; they are not opened here."""
        with self._listed().open("rb") as file:
            file.seek(shard.offset)
            for number in range(shard.begin, shard.begin + shard.items):
                name = json.loads(file.readline())
                shown = str(Path(self.origin or self.folder) / name)
                shown = shown.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                yield Item(number, shown, str(self.folder / name), {"input": shown})

    def _offsets(self) -> Iterator[tuple[int, int]]:
        offset = 0
        with self._listed().open("rb") as file:
            for number, line in enumerate(file):
                yield offset, number
                offset += len(line)

    def _listed(self) -> Path:
        if self.listing is None:
            raise DataError("the folder has not been listed yet", fix="use placed(folder)")
        return self.listing


def _photos(root: Path, inside: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Give relative paths, sorted as `sorted(root.rglob("*"))` would; one folder's names are held at once."""
    try:
        with os.scandir(root / inside) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        raise DataError(f"{root / inside} cannot be listed: {error.strerror}") from error
    for name, is_folder in found:
        relative = f"{inside}/{name}" if inside else name
        if is_folder:
            yield from _photos(root, relative)
        elif name.lower().endswith(SUFFIXES):
            path = root / relative
            if path.is_file():
                yield relative, path.stat()
