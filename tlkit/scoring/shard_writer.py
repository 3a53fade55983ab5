"""One shard's rows, bad items and report: written aside, and there as a whole or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.errors import DataError
from tlkit.files import atomic_write, sha256_of
from tlkit.inputs.items import Item, Shard, readable
from tlkit.predicting.bad_items import BadItem
from tlkit.predicting.output_files import OutputFiles
from tlkit.predicting.table_writer import CellRules

DAMAGED_NAMED = 20  # damaged items, in a report


class ShardReport(NamedTuple):
    """What became of a shard; read = scored + failed.

    Attributes:
        plan: the id of the plan that it belongs to.
        number: of the shard.
        read, scored, failed: items.
        data, errors: sha256 of the two files; `errors` is empty where nothing failed.
        seconds: that it took, wall clock.
        damaged: scored items that decode although they are damaged.
        damaged_items: the first of them, each with what is wrong.
    """

    plan: str
    number: int
    read: int
    scored: int
    failed: int
    data: str
    errors: str
    seconds: float
    damaged: int = 0
    damaged_items: Sequence[str] = ()


class ShardFiles(NamedTuple):
    """Where a shard lies: its rows, its bad items, and its report, which is written last and makes it finished."""

    data: Path
    errors: Path
    report: Path


class ShardWriter:
    """Takes the rows of a shard; `commit` makes it finished.

    Example:
        with ShardWriter(files, shard, schema, plan="1f0c…") as out:
            out.write({"text": "what a film", "predicted": "good"}, item)
            report = out.commit()

    Args:
        files: where it will lie.
        shard: which one it is.
        schema: an Arrow schema: names, and for Parquet types, of the columns.
        plan: the id of the plan.
        rules: for the cells of a CSV or TSV.
    """

    def __init__(self, files: ShardFiles, shard: Shard, schema: Any, *, plan: str, rules: CellRules | None = None):
        self._files, self._shard, self._plan = files, shard, plan
        # Beam may run a shard twice, at once and on different machines: files that are written have names of their own.
        self._out = OutputFiles(files.data, schema.names, lambda: schema, rules, files.errors)
        self._began = time.monotonic()
        self.scored = self.failed = self.damaged = 0
        self._damaged_items: list[str] = []

    def __enter__(self) -> ShardWriter:
        self._out.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._out.discard()  # what is committed stays

    def write(self, fields: Mapping[str, Any], place: str) -> None:
        """Write the row of an item that was scored.

        Raises:
            DataError: this kind of file cannot hold it.
        """
        self._out.write(fields, place)
        self.scored += 1

    def note_damage(self, item: Item, damage: str) -> None:
        """Count an item that was scored and is damaged."""
        self.damaged += 1
        if len(self._damaged_items) < DAMAGED_NAMED:
            self._damaged_items.append(readable(f"{item.place} ({damage})"))

    def fail(self, item: Item, reason: str) -> dict[str, Any]:
        """Note an item that was not; returns what was written, a `BadItem` as a dictionary."""
        bad = BadItem.of(item.number + 1, item.describe(), item.place, reason)
        self._out.fail(bad)
        self.failed += 1
        return bad._asdict()

    def commit(self) -> ShardReport:
        """Put the files in their places, the report last.

        Raises:
            DataError: there are more or fewer items than the shard has: the input has changed.
        """
        read = self.scored + self.failed
        if read != self._shard.items:
            raise DataError(
                f"shard {self._shard.number} has {read:,} items where the plan has {self._shard.items:,}",
                fix="the input has changed: start again with --restart",
            )
        self._out.__exit__(None, None, None)
        report = ShardReport(
            self._plan,
            self._shard.number,
            read,
            self.scored,
            self.failed,
            hash_if_there(self._files.data),
            hash_if_there(self._files.errors),
            round(time.monotonic() - self._began, 3),
            self.damaged,
            self._damaged_items,
        )
        with atomic_write(self._files.report) as file:
            file.write(json.dumps(report._asdict()) + "\n")
        return report


def hash_if_there(path: Path) -> str:
    """Return the hash of a file, or nothing where there is none."""
    return sha256_of(path) if path.exists() else ""
