"""The photos of a folder as items: listed folder by folder, never held as a whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlkit.errors import DataError
from tlkit.scoring.items import Item, Shard, cut, readable

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
_NAMED = 10  # linked folders, in the warning
_log = logging.getLogger("tlkit")


@dataclasses.dataclass(frozen=True)
class PhotoFolder:
    """The image files of a folder and of the folders inside, in the order of their names.

    The listing is written to a file, one JSON string a line: what is scored is what was there in the beginning, and a
    shard begins in the middle of it without listing the folder again. Hidden files are photos like others, as for
    `tlkit predict`. Folders that are links are not followed, for they may lead back; a warning names them. A link that
    leads to no file is a photo that cannot be read.

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
        """Write the listing into `folder`; warns of folders that are links."""
        listing = folder / "listing.jsonl"
        linked: list[str] = []
        with listing.open("w", encoding="ascii") as file:
            file.writelines(json.dumps(name) + "\n" for name, _, _ in _photos(self.folder, linked))
        if linked:
            shown = ", ".join(readable(str(self.folder / name)) for name in linked[:_NAMED])
            more = f" and {len(linked) - _NAMED:,} more" if len(linked) > _NAMED else ""
            _log.warning("folders that are links are not followed: %s%s; score them on their own", shown, more)
        return PhotoFolder(self.folder.absolute(), listing.absolute(), str(self.folder))

    def digest(self) -> str:
        """Hash names, sizes and times of change: photos are not read twice."""
        found = hashlib.sha256()
        for photo in _photos(self.folder, []):
            found.update(json.dumps(photo).encode())
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
                path, shown = self.folder / name, readable(str(Path(self.origin or self.folder) / name))
                dangles = path.is_symlink() and not path.exists()
                problem = f"{shown} cannot be read: it is a link that leads to no file" if dangles else ""
                yield Item(number, shown, str(path), {"input": shown}, problem)

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


def _photos(root: Path, linked: list[str], inside: str = "") -> Iterator[tuple[str, int, int]]:
    """Give relative paths, sorted as `sorted(root.rglob("*"))` would, with sizes and times of change, 0 where unknown.

    One folder's names are held at once, and those of folders that are links are added to `linked`.
    """
    try:
        with os.scandir(root / inside) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in entries)
    except OSError as error:
        raise DataError(f"{root / inside} cannot be listed: {error.strerror}") from error
    for name, is_folder, is_link in found:
        relative = f"{inside}/{name}" if inside else name
        is_named = name.lower().endswith(SUFFIXES)
        if is_folder:
            yield from _photos(root, linked, relative)
        elif is_named or is_link:
            status = _status(root / relative)
            if status is not None and stat.S_ISDIR(status.st_mode):
                linked.append(relative)
            elif is_named and status is None:
                yield relative, 0, 0
            elif is_named and status is not None and stat.S_ISREG(status.st_mode):
                yield relative, status.st_size, status.st_mtime_ns


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # a link that leads nowhere or in a circle; what it is to hold cannot be read
        return None
