"""The shards of a run on disk: which are finished, and how they become one file."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from tlkit.errors import ScoringError
from tlkit.files import atomic_write
from tlkit.predicting.bad_items import BadItem, errors_suffix
from tlkit.predicting.table_writer import CellRules, TableWriter
from tlkit.scoring.plan import PLAN_NAME
from tlkit.scoring.shard_writer import ShardFiles, ShardReport, hash_if_there

SUMMARY_NAME = "_summary.json"
_ERRORS, _REPORTS, _INPUT = "_errors", "_reports", "_input"
_BLOCK = 1 << 20  # bytes
# Readers of folders of tables (Arrow, Spark) pass over names that begin with an underscore.
_OURS = {PLAN_NAME, SUMMARY_NAME, _ERRORS, _REPORTS, _INPUT}


class ShardStore:
    """A folder of shards: part-00000.parquet and so on, with their bad items and reports beside them.

    Example:
        >>> store = ShardStore(Path("scores.parquet.shards"), ".parquet")
        >>> store.files(0).data.name
        'part-00000.parquet'

    Args:
        folder: of the shards.
        suffix: of the files of rows and of bad items.
        rules: for the cells of a CSV or TSV.
    """

    def __init__(self, folder: Path, suffix: str, rules: CellRules | None = None):
        self.folder, self.suffix, self._rules = folder, suffix, rules

    @property
    def input_folder(self) -> Path:
        """Where a source keeps what workers need."""
        return self.folder / _INPUT

    def files(self, number: int) -> ShardFiles:
        """Say where a shard lies."""
        return ShardFiles(
            self.folder / f"part-{number:05}{self.suffix}",
            self.folder / _ERRORS / f"part-{number:05}{errors_suffix(self.suffix)}",
            self.folder / _REPORTS / f"{number:05}.json",
        )

    def make(self) -> None:
        """Make the folders."""
        for name in (_ERRORS, _REPORTS, _INPUT):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def is_ours(self) -> bool:
        """Whether the folder holds nothing but what a run writes, and may therefore be cleared."""
        return all(
            path.name in _OURS or path.name.startswith(("part-", ".tmp-", ".lock")) for path in self.folder.iterdir()
        )

    def clear(self) -> None:
        """Remove what runs have written, and nothing else."""
        for path in [*self.folder.iterdir()]:
            if path.name in _OURS and path.is_dir():
                shutil.rmtree(path)
            elif path.name in _OURS or path.name.startswith(("part-", ".tmp-")):
                path.unlink()

    def sweep(self) -> None:
        """Remove what a run that was killed has left half written."""
        for folder in (self.folder, self.folder / _ERRORS, self.folder / _REPORTS):
            for path in folder.glob(".tmp-*"):
                path.unlink(missing_ok=True)

    def report(self, number: int, plan: str) -> ShardReport | None:
        """Give the report of a shard if it is finished: its files are there and are what was written."""
        files = self.files(number)
        try:
            report = ShardReport(**json.loads(files.report.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        same = report.plan == plan and (report.data, report.errors) == (
            hash_if_there(files.data),
            hash_if_there(files.errors),
        )
        return report if same else None

    def count(self) -> int:
        """Count the finished shards, without looking into them."""
        return sum(1 for _ in (self.folder / _REPORTS).glob("[0-9]*.json"))

    def merge(self, numbers: Sequence[int], out: Path, names: Sequence[str]) -> None:
        """Make one file of the shards' rows, which takes its place at once; `names` are its columns."""
        _merge([self.files(number).data for number in numbers], out, names, self._rules)

    def merge_errors(self, numbers: Iterable[int], out: Path) -> bool:
        """Make one file of the bad items; without any, remove the one that an earlier run left."""
        found = [path for number in numbers if (path := self.files(number).errors).exists()]
        if not found:
            out.unlink(missing_ok=True)
            return False
        _merge(found, out, BadItem._fields, self._rules)
        return True


def _merge(parts: Sequence[Path], out: Path, names: Sequence[str], rules: CellRules | None) -> None:
    with atomic_write(out, binary=True) as whole:
        if out.suffix.lower() == ".parquet":
            _merge_parquet(parts, whole)
        else:
            _merge_text(parts, whole, _header(names, out.suffix.lower(), rules))


def _merge_parquet(parts: Sequence[Path], out: IO[bytes]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(out, pq.read_schema(parts[0])) as table:
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    table.write_table(file.read_row_group(group))


def _merge_text(parts: Sequence[Path], out: IO[bytes], header: bytes) -> None:
    out.write(header)
    for part in parts:
        with part.open("rb") as file:
            if file.read(len(header)) != header:
                raise ScoringError(f"{part} has another header than the run's plan")
            shutil.copyfileobj(file, out, _BLOCK)


def _header(names: Sequence[str], suffix: str, rules: CellRules | None) -> bytes:
    """Return what a CSV or TSV begins with; a column's name may hold a line break."""
    if suffix not in (".csv", ".tsv"):
        return b""
    line = io.StringIO(newline="")
    TableWriter(Path(f"shard{suffix}"), line, names, dict, rules)
    return line.getvalue().encode("utf-8")
