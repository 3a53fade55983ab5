"""The versions of one served model and what is to become of them; no input or output happens here."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.serving.public_message import public_message
from tlkit.serving.served_model import ServedModel
from tlkit.serving.sources import Sighting, Source
from tlkit.serving.status import MAX_MESSAGE, Code

log = logging.getLogger("tlkit.serving")
_ENDED_KEPT = 32  # so many versions that are gone are remembered


class VersionStatus(NamedTuple):
    """The state of one version: "START", "LOADING", "AVAILABLE", "UNLOADING" or "END", and why, for clients."""

    version: int
    state: str
    code: Code
    message: str


class VersionState:
    """One version of a model, wanted or on its way out.

    Args:
        number: the version.
        path: its folder.

    Attributes:
        message: why it is not available, for the operator.
        public_message: the same for clients, without paths of this machine.
    """

    def __init__(self, number: int, path: Path):
        self.number = number
        self.path = path
        self.wanted = True
        self.state = "START"
        self.code = Code.OK
        self.message = self.public_message = ""
        self.metadata: dict[str, Any] | None = None
        self.manifest: dict[str, Any] | None = None
        self.manifest_read = False
        self.deaths = 0  # how often the worker died while loading it
        self.calls = 0  # on their way
        self.cold = False  # it answers, but not all of its warm-up requests were run

    @property
    def coming(self) -> bool:
        """It is to be loaded, or being loaded."""
        return self.state in ("START", "LOADING")

    def end(self, code: Code = Code.OK, message: str = "") -> None:
        """Note that it is not loaded any more, or could not be."""
        self.state, self.code, self.message = "END", code, message[:MAX_MESSAGE]
        self.public_message = public_message(message, self.path.parent)[:MAX_MESSAGE]
        self.metadata = self.manifest = None
        self.cold = False
        self.manifest_read = False


class ModelState:
    """A model that is served, or was.

    Args:
        served: what to serve.

    Attributes:
        versions: what is known, by number.
        labels: where labels point now, which may lag behind what is asked for.
        asked: the configuration names this model.
        looked: its base path was looked at.
        error: why the base path cannot be read.
    """

    def __init__(self, served: ServedModel):
        self.served = served
        self.source = Source(served)
        self.versions: dict[int, VersionState] = {}
        self.labels: dict[str, int] = {}
        self.asked = True
        self.looked = False
        self.error = ""
        self._told_labels: set[tuple[str, int]] = set()

    def follow(self, served: ServedModel) -> None:
        """Serve it by another policy, with other labels or from another base path."""
        self.asked = True
        if (self.served.base_path, self.served.folder) != (served.base_path, served.folder):
            self.source = Source(served)
        self.source.follow(served)
        self.served = served
        self.move_labels()

    def drop(self) -> None:
        """Serve it no more."""
        self.asked = False
        self.labels = {}

    def available(self) -> list[int]:
        """Return the versions that answer."""
        return [one.number for one in self.versions.values() if one.state == "AVAILABLE"]

    @property
    def coming(self) -> bool:
        """Something of it is to be loaded, or its base path was not looked at yet."""
        return self.asked and (not self.looked or any(one.coming for one in self.versions.values()))

    def statuses(self) -> list[VersionStatus]:
        """Return the state of every version, newest first."""
        return [
            VersionStatus(one.number, one.state, one.code, one.public_message)
            for one in sorted(self.versions.values(), key=lambda one: -one.number)
        ]

    def problems(self) -> list[str]:
        """Return a line for everything that should be served and is not."""
        name, served = self.served.name, self.served
        if not self.asked:
            return []
        failed = [one for one in self.versions.values() if one.state == "END" and one.code]
        lines = [f"{name} version {one.number} is not served: {one.message}" for one in failed]
        if self.error:
            lines.append(f"{name}: {self.error}")
        elif self.looked and not self.versions:
            lines.append(f"{name} is not served: {served.base_path} has no version")
        available = set(self.available())
        return lines + [
            f"{name}: the label {label!r} waits for version {version}, which is not available"
            for label, version in served.labels.items()
            if version not in available
        ]

    def take(self, sighting: Sighting) -> list[VersionState]:
        """Note what a look at the base path found.

        Returns:
            The versions whose number another folder now stands for: they have to go first.
        """
        self.looked = True
        if sighting.error and sighting.error != self.error:
            log.warning("%s: %s", self.served.name, sighting.error)
        self.error = sighting.error
        if sighting.error:
            return []
        wanted = sighting.wanted if self.asked else {}
        refused = sighting.refused if self.asked else {}
        replaced = [
            one
            for number, path in wanted.items()
            if (one := self._want(number, path, again=number in sighting.changed)) is not None
        ]
        for number, (code, message) in refused.items():
            self._refuse(number, code, message)
        for one in self.versions.values():
            one.wanted = one.number in wanted
            if not one.wanted and one.state == "START":
                one.end()
        gone = [number for number, one in self.versions.items() if one.state == "END" and not one.wanted]
        for number in sorted(set(gone) - set(refused))[:-_ENDED_KEPT]:
            del self.versions[number]
        return replaced

    def superfluous(self) -> list[VersionState]:
        """Return the available versions that can go: nobody wants them, and what is wanted answers."""
        wanted = [one for one in self.versions.values() if one.wanted]
        if wanted and (not any(one.state == "AVAILABLE" for one in wanted) or any(one.coming for one in wanted)):
            return []
        # A label that waits for its new version still points at the old one.
        asked = self.served.labels
        pinned = {number for label, number in self.labels.items() if number != asked.get(label)} if wanted else set()
        return [
            one
            for one in self.versions.values()
            if not one.wanted and one.state == "AVAILABLE" and one.number not in pinned
        ]

    def move_labels(self) -> None:
        """Point every label at its version once that is available; until then it stays where it was."""
        if not self.asked:
            return
        available = set(self.available())
        self.labels = {label: number for label, number in self.labels.items() if label in self.served.labels}
        self.labels.update((label, number) for label, number in self.served.labels.items() if number in available)

    def stuck_labels(self) -> list[str]:
        """Return a line, once, for each label whose version could not be loaded and that points elsewhere meanwhile."""
        stuck = {
            (label, number)
            for label, number in self.served.labels.items()
            if self.labels.get(label, number) != number
            and (one := self.versions.get(number)) is not None
            and one.state == "END"
            and one.code
        }
        fresh, self._told_labels = sorted(stuck - self._told_labels), stuck
        return [
            f"{self.served.name}: the label {label!r} is kept on version {self.labels[label]}: {number} "
            "is not available"
            for label, number in fresh
        ]

    def lost(self) -> None:
        """Note that the worker has ended, and with it all that it held."""
        for one in self.versions.values():
            if one.state == "AVAILABLE":
                one.state = "LOADING"
            elif one.state == "UNLOADING":
                one.end()

    def _want(self, number: int, path: Path, *, again: bool) -> VersionState | None:
        one = self.versions.get(number)
        if one is not None and one.path != path and one.state != "END":
            # Another folder stands for the number, and the worker can hold only one of them.
            return one if one.state == "AVAILABLE" else None
        # One that failed is tried again when its files have changed; one that was unloaded, when it is wanted again.
        if one is None or (one.state == "END" and (again or not one.wanted or not one.code or one.path != path)):
            self.versions[number] = VersionState(number, path)
        return None

    def _refuse(self, number: int, code: Code, message: str) -> None:
        one = self.versions.get(number)
        if one is None or (one.state == "END" and one.message != message):
            one = self.versions[number] = VersionState(number, self.served.base_path / str(number))
            one.end(code, message)
            log.warning("%s version %d is not served: %s", self.served.name, number, message)
