"""The photos of a folder as items: walked folder by folder, never held as a whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tlkit.errors import DataError
from tlkit.inputs.image.walk import LINKED, Tally, walk
from tlkit.inputs.items import Item, Shard, cut, readable

_log = logging.getLogger("tlkit")


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """The image files of a folder and of the folders inside, in the order of their names.

    Files are told apart by their content; see `tlkit.inputs.image.walk`. What is an image by name or content but
    cannot be decoded, or a link that leads to no file, is an item with a problem; everything else is left out and
    counted.

    The listing is written to a file, one JSON list a line: what is scored is what was there in the beginning, and a
    shard begins in the middle of it without walking the folder again.

    Args:
        folder: of the photos.
        listing: the file of the listing; None until `placed` has written it.
        origin: what the folder is called in the output, `folder` itself when empty.
        counts: entries found, used and left out by reason, once `placed` has counted them.
    """

    folder: Path
    listing: Path | None = None
    origin: str = ""
    columns: tuple[str, ...] = ("input",)
    counts: Mapping[str, Any] | None = None

    def placed(self, folder: Path) -> ImageFolder:
        """Write the listing into `folder`; says what is left out."""
        listing = folder / "listing.jsonl"
        tally = Tally()
        with listing.open("w", encoding="ascii") as file:
            for entry in walk(self.folder):
                tally.add(entry, str(self.folder))
                if entry.use != "left_out":
                    line = [entry.name, entry.size, entry.changed, entry.problem]
                    file.write(json.dumps(line) + "\n")
        _log.info("%s", readable(str(tally)))
        if tally.left_out[LINKED]:
            shown = ", ".join(readable(name) for name in tally.examples[LINKED])
            more = tally.left_out[LINKED] - len(tally.examples[LINKED])
            _log.warning(
                "linked folders are not followed: %s%s; score them separately",
                shown, f" and {more:,} more" if more else "",
            )  # fmt: skip
        return ImageFolder(self.folder.absolute(), listing.absolute(), str(self.folder), counts=tally.to_dict())

    def digest(self) -> str:
        """Hash names, sizes and times of change of what is scored: photos are not read for it."""
        found = hashlib.sha256()
        if self.listing is not None:
            with self.listing.open("rb") as file:
                for line in file:
                    found.update(line)
            return found.hexdigest()
        for entry in walk(self.folder):
            if entry.use != "left_out":
                known = [entry.name, entry.size, entry.changed, entry.problem]
                found.update((json.dumps(known) + "\n").encode("ascii"))
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
                name, _, _, problem = json.loads(file.readline())
                shown = readable(str(Path(self.origin or self.folder) / name))
                problem = readable(f"{shown} {problem}") if problem else ""
                yield Item(number, shown, str(self.folder / name), {"input": shown}, problem)

    def _offsets(self) -> Iterator[tuple[int, int]]:
        offset = 0
        with self._listed().open("rb") as file:
            for number, line in enumerate(file):
                yield offset, number
                offset += len(line)

    def _listed(self) -> Path:
        if self.listing is None:
            raise DataError("the folder is not listed yet", fix="call placed(folder) first")
        return self.listing
