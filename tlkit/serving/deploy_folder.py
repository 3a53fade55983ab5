"""Write rendered files into a folder that its owner edits too: what they changed is theirs."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlkit.errors import ConfigError
from tlkit.files import atomic_write

RECORD = ".tlkit-deploy.json"
_FORMAT = 1


class DeployFolder:
    """A folder of deployment files, and the record of what was rendered into it.

    A file is replaced only if it is as it was rendered: its sha256 is in the record, or, where there is no record yet,
    it is as in a new project.

    Example:
        DeployFolder("serving").write(render(deployment), settings={"stable": 3})

    Args:
        path: the folder; it is made when something is written.

    Attributes:
        settings: what was recorded at the last time; empty where nothing was.

    Raises:
        ConfigError: there is a record, but it cannot be read.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._digests, self.settings = self._read()

    def write(
        self,
        files: Mapping[str, str],
        *,
        settings: Mapping[str, Any],
        pristine: Mapping[str, str] | None = None,
        force: bool = False,
    ) -> dict[str, str]:
        """Write what is missing or unchanged; put the rest beside the user's file as NAME.new.

        Args:
            files: relative path -> content.
            settings: what to remember; must be JSON.
            pristine: what a new project held, for files of which the record knows nothing.
            force: overwrite the user's changes too.

        Returns:
            Relative path -> "written", "unchanged", "kept" (changed by the user, and nothing new to say) or
            "beside" (changed by the user; the new content is in NAME.new).

        Raises:
            ConfigError: the folder cannot be written to.
        """
        try:
            return self._write_all(files, settings, pristine or {}, force)
        except OSError as error:
            raise ConfigError(
                f"{self.path} cannot be written to: {error.strerror}", fix="choose another folder"
            ) from error

    def _write_all(
        self, files: Mapping[str, str], settings: Mapping[str, Any], pristine: Mapping[str, str], force: bool
    ) -> dict[str, str]:
        outcome = {}
        for name, content in files.items():
            offered = self._digests.get(name, _digest(pristine[name]) if name in pristine else None)
            outcome[name] = self._write_one(name, content, offered, force)
        record = {
            "format": _FORMAT,
            "settings": dict(settings),
            "files": {name: _digest(content) for name, content in sorted(files.items())},
        }
        _replace(self.path / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        self._digests, self.settings = record["files"], record["settings"]  # type: ignore[assignment]
        return outcome

    def _write_one(self, name: str, content: str, offered: str | None, force: bool) -> str:
        path = self.path / name
        beside = path.with_name(f"{path.name}.new")
        new = content.encode("utf-8")
        try:
            there = path.read_bytes()
        except FileNotFoundError:
            there = None
        if there == new:
            outcome = "unchanged"
        elif there is None or force or hashlib.sha256(there).hexdigest() == offered:
            _replace(path, content)
            outcome = "written"
        elif offered == _digest(content):
            return "kept"  # the user has seen this rendering before, perhaps as NAME.new
        else:
            _replace(beside, content)
            return "beside"
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()  # of an earlier time: it has nothing to say any more
        return outcome

    def _read(self) -> tuple[dict[str, str], dict[str, Any]]:
        path = self.path / RECORD
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["format"] != _FORMAT:
                raise ValueError(f"its format is {record['format']!r}, and this version of tlkit supports {_FORMAT}")
            files, settings = record["files"], record["settings"]
            if not isinstance(files, dict) or not isinstance(settings, dict):
                raise TypeError("files and settings must be objects")
        except FileNotFoundError:
            return {}, {}
        except NotADirectoryError:
            raise ConfigError(
                f"{self.path} is a file", allowed="a folder, which is created if it does not exist"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} cannot be read: {error}", fix="remove it; all files are then kept as edited files"
            ) from error
        return files, settings


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8")).hexdigest()


def _replace(path: Path, content: str) -> None:
    """Write a file in one step: a server that reads it again must never see half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(content)
