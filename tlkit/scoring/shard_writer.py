"""One shard's rows, bad items and report: written aside, and there as a whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.errors import DataError
from tlkit.predicting.bad_items import BadItem
from tlkit.predicting.table_writer import CellRules, TableWriter, is_binary
from tlkit.scoring.items import Item, Shard, readable

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
        self._rules = rules
        self._files, self._shard, self._plan = files, shard, plan
        # Beam may run a shard twice, at once and on different machines.
        self._mark = f".tmp-{os.uname().nodename}-{os.getpid()}-{threading.get_ident()}-"
        self._began = time.monotonic()
        self.scored = self.failed = self.damaged = 0
        self._damaged_items: list[str] = []
        self._schema = schema
        self._stack = contextlib.ExitStack()
        self._errors: TableWriter | None = None
        self._data = self._open(files.data, schema)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
        for path in self._files:
            self._aside(path).unlink(missing_ok=True)

    def write(self, fields: Mapping[str, Any], place: str) -> None:
        """Write the row of an item that was scored.

        Raises:
            DataError: this kind of file cannot hold it.
        """
        self._data.write(fields, place)
        self.scored += 1

    def note_damage(self, item: Item, damage: str) -> None:
        """Count an item that was scored and is damaged."""
        self.damaged += 1
        if len(self._damaged_items) < DAMAGED_NAMED:
            self._damaged_items.append(readable(f"{item.place} ({damage})"))

    def fail(self, item: Item, reason: str) -> dict[str, Any]:
        """Note an item that was not; returns what was written, a `BadItem` as a dictionary."""
        if self._errors is None:
            self._errors = self._open(self._files.errors, BadItem.schema())
        content = item.fields if item.content is None else item.content
        bad = BadItem.of(item.number + 1, content, item.place, reason)._asdict()
        self._errors.write(bad, item.place)
        self.failed += 1
        return bad

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
        self._stack.close()
        report = ShardReport(
            self._plan,
            self._shard.number,
            read,
            self.scored,
            self.failed,
            _sha256(self._aside(self._files.data)),
            _sha256(self._aside(self._files.errors)),
            round(time.monotonic() - self._began, 3),
            self.damaged,
            self._damaged_items,
        )
        self._aside(self._files.report).write_text(json.dumps(report._asdict()) + "\n", encoding="utf-8")
        if not self.failed:
            self._files.errors.unlink(missing_ok=True)
        for path in self._files:
            if self._aside(path).exists():
                put_in_place(self._aside(path), path)
        return report

    def _aside(self, path: Path) -> Path:
        return path.with_name(self._mark + path.name)

    def _open(self, path: Path, schema: Any) -> TableWriter:
        aside = self._aside(path)
        how: dict[str, Any] = {"mode": "xb"} if is_binary(path) else {"mode": "x", "encoding": "utf-8", "newline": ""}
        file = self._stack.enter_context(aside.open(**how))
        return self._stack.enter_context(TableWriter(path, file, schema.names, lambda: schema, self._rules))


def put_in_place(aside: Path, path: Path) -> None:
    """Rename a file so that, after a crash, the whole of it is there or nothing."""
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sha256(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
