"""What a run is about to do, written down before it begins: a later run goes on only with the very same plan."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.errors import ConfigError, DataError
from tlkit.export.manifest import MANIFEST_NAME, sha256_of_files
from tlkit.files import atomic_write
from tlkit.inputs.items import Shard

SCHEMA_VERSION = 2  # 2: columns probability_CLASS for images and texts
PLAN_NAME = "_plan.json"


class Plan(NamedTuple):
    """The input, the model and the settings, each as data, and the shards.

    How the work is done (runner, workers, batch size) is no part of it and may differ from run to run.

    Example:
        >>> plan = Plan.make(source.digest(), Path("photos"), Path("saved_models/photos/1"), {}, shards)
        >>> plan.write(Path("scores.csv.shards"))

    Attributes:
        input, model, settings: what must not change.
        shards: the parts of the input.
    """

    input: dict[str, Any]
    model: dict[str, Any]
    settings: dict[str, Any]
    shards: tuple[Shard, ...]

    @classmethod
    def make(cls, digest: str, path: Path, export: Path, settings: dict[str, Any], shards: Sequence[Shard]) -> Plan:
        """Describe a run.

        Args:
            digest: of the input.
            path: of the input.
            export: a version folder; all of its files are hashed.
            settings: what else the output depends on.
            shards: the parts of the input.
        """
        manifest = hashlib.sha256((export / MANIFEST_NAME).read_bytes()).hexdigest()
        files = hashlib.sha256(json.dumps([manifest, sha256_of_files(export)], sort_keys=True).encode()).hexdigest()
        return cls(
            {"path": os.fsencode(path.absolute()).decode("utf-8", "backslashreplace"), "digest": digest},
            {"path": str(export.absolute()), "digest": files},
            {"schema_version": SCHEMA_VERSION, **settings},
            tuple(shards),
        )

    @property
    def items(self) -> int:
        """How many items the shards have together."""
        return sum(shard.items for shard in self.shards)

    @property
    def id(self) -> str:
        """A number that differs for plans that differ; the places of input and model do not matter."""
        facts = [self.input["digest"], self.model["digest"], self.settings, self.shards]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def write(self, folder: Path) -> None:
        """Write it into a folder, at once."""
        with atomic_write(folder / PLAN_NAME) as file:
            file.write(json.dumps(self._asdict()) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Plan | None:
        """Read the plan of a folder; None where there is none.

        Raises:
            DataError: it is damaged.
        """
        try:
            raw = json.loads((folder / PLAN_NAME).read_text(encoding="utf-8"))
            shards = tuple(Shard(*shard) for shard in raw["shards"])
            return cls(raw["input"], raw["model"], raw["settings"], shards)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{folder / PLAN_NAME} is damaged: {type(error).__name__}", fix="start again with --restart"
            ) from error

    def check_same(self, other: Plan, folder: Path) -> None:
        """Refuse to go on with other input, another model or other settings than the run that made `folder`.

        Raises:
            ConfigError: naming what has changed.
        """
        if self.id == other.id:
            return
        changed = []
        if self.input["digest"] != other.input["digest"]:
            changed.append("the input")
        if self.model["digest"] != other.model["digest"]:
            changed.append("the model")
        if self.settings != other.settings:
            names = sorted(
                name
                for name in self.settings.keys() | other.settings.keys()
                if self.settings.get(name) != other.settings.get(name)
            )
            changed.append(f"{', '.join(names)}")
        changed = changed or ["the shards"]
        raise ConfigError(
            f"{folder} has an unfinished run, and {' and '.join(changed)} changed since",
            fix="restore it to continue, or start again with --restart",
        )
