"""Looks at a model's base path and says which versions are there, whole, and to be served."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from tlkit.export.manifest import holds_graph, version_number
from tlkit.serving.served_model import ServedModel
from tlkit.serving.status import Code

#: Relative path, size in bytes and time of the last change in ns of every file of a folder.
Print = tuple[tuple[str, int, int], ...]


@dataclass
class Sighting:
    """What one look at a base path found.

    Attributes:
        wanted: version -> folder, newest first: what the policy serves of what is whole.
        refused: version -> (code, reason): what the policy would serve but that cannot be.
        waiting: versions that came after the start and whose files still changed.
        changed: wanted versions that had failed to load and whose files have changed and settled since.
        error: why the base path could not be read, or an empty string.
    """

    wanted: dict[int, Path] = field(default_factory=dict)
    refused: dict[int, tuple[Code, str]] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    error: str = ""


class Source:
    """Polls one base path.

    What is there at the first look is taken as it is. A version that comes later is taken when two looks in a row saw
    the same files of the same sizes and times, so that half-copied ones are left alone. The same holds for the files
    of a version that failed to load: once they have changed, and settled, it is tried again.

    Example:
        >>> source = Source(ServedModel("photos", Path("saved_models/photos")))
        >>> source.look().wanted
        {3: PosixPath('saved_models/photos/3')}

    Args:
        model: what to serve of the base path.
    """

    def __init__(self, model: ServedModel):
        self.model = model
        self._first = True
        self._taken: dict[int, Print] = {}
        self._seen: dict[int, Print] = {}
        self._failed: set[int] = set()

    def follow(self, model: ServedModel) -> None:
        """Go on with another policy for the same base path."""
        self.model = model

    def failed(self, version: int) -> None:
        """Note that a version could not be loaded, so that a change of its files is worth another try."""
        self._failed.add(version)

    def look(self) -> Sighting:
        """Look at the base path once; it reads folders, so it may block.

        Returns:
            What is there. After an error the old versions stay wanted, also where the base path itself is missing: as
            in TensorFlow Serving that is a storage which is away, not an order to stop.
        """
        sighting = Sighting()
        try:
            found = self._find(sighting)
        except OSError as error:
            sighting.error = f"cannot read {self.model.base_path}: {error.strerror or error}"
            return sighting
        for version in [*self._taken]:
            if version not in found:
                self._taken.pop(version)
                self._failed.discard(version)
        self._seen = {version: seen for version, seen in self._seen.items() if version in found}
        for version, folder in found.items():
            self._settle(version, folder, sighting)
        self._first = False
        for version in self.model.chosen(self._taken):
            sighting.wanted[version] = found[version]
        sighting.changed &= set(sighting.wanted)
        return sighting

    def _find(self, sighting: Sighting) -> dict[int, Path]:
        """Return version -> folder of what may be served, and note what may not."""
        model = self.model
        if model.folder is not None:
            return {model.specific[0]: model.folder} if holds_graph(model.folder) else {}
        found: dict[int, Path] = {}
        graphless: dict[int, Path] = {}
        outside: dict[int, Path] = {}
        base = model.base_path.resolve()
        for child in sorted(model.base_path.iterdir(), key=lambda child: (len(child.name), child.name)):
            version = version_number(child.name)
            if version is None or version in found or not child.is_dir():
                continue
            if not child.resolve().is_relative_to(base):
                outside[version] = child
            elif not holds_graph(child):
                graphless[version] = child
            else:
                found[version] = child
        # The newest folder that cannot be served takes no older one's place, but its reason is told.
        told = {**graphless, **outside, **found}
        for version in model.chosen(told):
            if version in found:
                continue
            if version in outside:
                reason = f"{outside[version]} links to a path outside of {model.base_path}; it is not followed"
                sighting.refused[version] = (Code.PERMISSION_DENIED, reason)
            else:
                sighting.refused[version] = (Code.NOT_FOUND, f"there is no saved_model.pb in {graphless[version]}")
        for version in model.specific:
            if version not in told:
                reason = f"there is no version {version} in {model.base_path}"
                sighting.refused[version] = (Code.NOT_FOUND, reason)
        return found

    def _settle(self, version: int, folder: Path, sighting: Sighting) -> None:
        """Take a folder whose files have settled; leave one that still changes."""
        if version in self._taken and version not in self._failed:
            return
        now = _print_of(folder)
        if version in self._taken:
            if now != self._taken[version] and now == self._seen.get(version):
                self._taken[version] = now
                self._failed.discard(version)
                sighting.changed.add(version)
        elif self._first or now == self._seen.get(version):
            self._taken[version] = now
        else:
            sighting.waiting.add(version)
        self._seen[version] = now


def _print_of(folder: Path) -> Print:
    entries = []
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            try:
                facts = path.stat()
            except OSError:  # removed between listing and asking: it will differ at the next look
                entries.append((str(path), -1, -1))
                continue
            entries.append((path.relative_to(folder).as_posix(), facts.st_size, facts.st_mtime_ns))
    return tuple(sorted(entries))
