"""The files of a monitored model: a sketch for each day, which several processes may add to."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tlkit.errors import ConfigError
from tlkit.export.baseline import Baseline
from tlkit.export.sketch import Sketch
from tlkit.files import atomic_write

IDENTITY = "monitor.json"
SAMPLES = "samples"
SCHEMA_VERSION = 1
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class MonitorFolder:
    """The sketches of one version of a model, in `DIR/NAME/VERSION/`.

    `monitor.json` says which baseline they belong to. `2026-12-01.json` is a day in UTC. A sketch is added under a
    lock, and the file is replaced at once: no counts are lost when several processes add, or when one is killed.

    Example:
        >>> folder = MonitorFolder.prepared(Path("monitor"), "bees", 3, baseline)
        >>> folder.add("2026-12-01", sketch)

    Args:
        path: of the version's folder.
        baseline: which the sketches belong to.
    """

    def __init__(self, path: Path, baseline: Baseline):
        self.path = path
        self.baseline = baseline

    @classmethod
    def prepared(cls, root: Path, name: str, version: int, baseline: Baseline) -> MonitorFolder:
        """Make the folder of a version, or continue the one that is there.

        Raises:
            ConfigError: it cannot be written, or belongs to another model.
        """
        path = folder_of(root, name, version)
        known = path / IDENTITY
        try:
            path.mkdir(parents=True, exist_ok=True)
            with _locked(path):
                if not known.exists():
                    identity = {
                        "schema_version": SCHEMA_VERSION,
                        "model": name,
                        "version": version,
                        "baseline": baseline.digest,
                    }
                    with atomic_write(known) as file:
                        file.write(json.dumps(identity, indent=1, ensure_ascii=False) + "\n")
            with atomic_write(path / ".writable") as file:
                file.write("")
            (path / ".writable").unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the monitor directory cannot be written: {error.strerror}",
                received=str(path),
                fix="choose another directory, or change its permissions",
            ) from None
        check_identity(path, baseline)
        return cls(path, baseline)

    def days(self) -> list[str]:
        """Return the days that there are sketches of, oldest first."""
        return sorted(file.stem for file in self.path.glob("*.json") if _DAY.fullmatch(file.stem))

    def read(self, day: str) -> Sketch:
        """Return the sketch of a day; an empty one where there is none.

        Raises:
            ConfigError: the file is damaged.
        """
        path = self._of(day)
        try:
            return self.baseline.read_sketch(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Sketch()
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} is damaged: {error!r}", fix="move the file away") from None

    def add(self, day: str, sketch: Sketch, samples: Mapping[str, bytes] | None = None, most: int = 0) -> None:
        """Add counts to those of a day. A file that is damaged is moved aside.

        Args:
            day: such as "2026-12-01".
            sketch: the counts.
            samples: raw inputs by file name, whose beginnings are drawn at random: the `most` first names stay.
            most: how many inputs of a day are kept.

        Raises:
            OSError: the file cannot be written; what was there is unchanged.
        """
        path = self._of(day)
        with _locked(self.path):
            try:
                whole = self.read(day)
            except ConfigError:
                path.rename(path.with_name(f"{day}.damaged-{os.urandom(4).hex()}"))
                whole = Sketch()
            whole.merge(sketch)
            with atomic_write(path) as file:
                file.write(json.dumps(whole.to_dict(), allow_nan=False) + "\n")
            if samples:
                self._keep(day, samples, most)

    def _keep(self, day: str, samples: Mapping[str, bytes], most: int) -> None:
        """Keep a uniform sample of inputs: those with the smallest of the drawn names."""
        folder = self.path / SAMPLES / day
        folder.mkdir(parents=True, exist_ok=True)
        there = {file.name for file in folder.iterdir() if not file.name.startswith(".")}
        kept = set(sorted(there | set(samples))[:most])
        for name in kept & set(samples):
            with atomic_write(folder / name, binary=True) as file:
                file.write(samples[name])
        for name in there - kept:
            (folder / name).unlink(missing_ok=True)

    def _of(self, day: str) -> Path:
        return self.path / f"{day}.json"


def folder_of(root: Path, name: str, version: int) -> Path:
    """Return where the sketches of a version are."""
    return root / quote(name, safe=" ") / str(version)


def today(days_ago: int = 0) -> str:
    """Return the present day in UTC, or one before it."""
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days_ago)).date().isoformat()


def is_monitor(path: Path) -> bool:
    """Return whether a folder holds sketches, of one model or of several."""
    return bool(_identities(path))


def find_monitor(path: Path, baseline: Baseline) -> MonitorFolder:
    """Return the sketches of a baseline in a monitor directory, or in the folder of one version.

    Raises:
        ConfigError: they are of other models, or of another schema.
    """
    found = _identities(path)
    for one in found:
        if _identity(one).get("baseline") == baseline.digest:
            check_identity(one, baseline)
            return MonitorFolder(one, baseline)
    if len(found) == 1:
        check_identity(found[0], baseline)
    raise ConfigError(
        "the monitor directory belongs to another model",
        received=str(path),
        allowed="the directory of a server that served this export",
        fix=f"it has {', '.join(_called(one) for one in found[:3])}",
    )


def check_identity(path: Path, baseline: Baseline) -> None:
    """Refuse the folder of another baseline.

    Raises:
        ConfigError: it belongs to another model, or to another schema.
    """
    identity = _identity(path)
    if identity.get("schema_version") != SCHEMA_VERSION:
        raise ConfigError(
            f"{path / IDENTITY} has another schema, or is damaged",
            received=f"schema_version {identity.get('schema_version')}",
            allowed=f"schema_version {SCHEMA_VERSION}",
            fix="choose another directory",
        )
    if identity.get("baseline") != baseline.digest:
        raise ConfigError(
            "the monitor directory belongs to another model",
            received=f"{path}, of {_called(path)} with baseline {str(identity.get('baseline'))[:12]}",
            allowed=f"baseline {baseline.digest[:12]}",
            fix="choose another directory; this one stays as it is",
        )


def _identities(path: Path) -> list[Path]:
    places = (path, *sorted(path.glob("*/")), *sorted(path.glob("*/*/")))
    return [place for place in places if (place / IDENTITY).is_file()]


def _identity(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / IDENTITY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _called(path: Path) -> str:
    identity = _identity(path)
    return f"{identity.get('model')} version {identity.get('version')}"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process changes the folder."""
    with (path / ".lock").open("a") as file:
        with contextlib.suppress(ImportError):  # Windows has none; there a server has one process that writes
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
