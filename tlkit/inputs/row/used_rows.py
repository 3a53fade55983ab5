"""Which rows of a table are used: those that meet the conditions, have every target, and are not excluded."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tlkit.errors import DataError
from tlkit.inputs.examined import relative_name, root_of
from tlkit.inputs.exclusions import excluded_rows
from tlkit.inputs.files.source import FrameSource, rows_where
from tlkit.inputs.row.copies import digest_of

_log = logging.getLogger("tlkit")


class UsedRows:
    """Some rows of a source, as a source of their own.

    Args:
        source: all rows.
        kept: bool [n], which of them are used.

    Attributes:
        frame: the rows.
        splits: as in `FrameSource`.
        source: the rows as a source.
        place: returns the location of rows, for messages.
    """

    def __init__(self, source: FrameSource, kept: np.ndarray):
        rows = np.flatnonzero(kept)
        self.frame = source.frame if kept.all() else source.frame.iloc[rows].reset_index(drop=True)
        self.splits = None if source.splits is None else source.splits[rows]
        begins = [int(np.searchsorted(rows, begin)) for _, begin in source.parts]
        parts = tuple((name, begin) for (name, _), begin in zip(source.parts, begins, strict=True))
        self.source = dataclasses.replace(
            source, frame=self.frame, splits=self.splits, parts=parts, numbers=source.numbers[rows]
        )
        self.place = self.source.place


def kept_rows(source: FrameSource, where: Sequence[str], targets: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Return which rows are used, bool [n], and how many are not, by reason."""
    dropped = {}
    kept = np.ones(len(source.frame), bool)
    if where:
        kept = rows_where(source, where)
        dropped["where"] = int((~kept).sum())
    given = source.frame[list(targets)].notna().all(axis=1).to_numpy(bool)
    dropped["missing_target"] = int((kept & ~given).sum())
    kept = kept & given
    if not kept.any():
        raise DataError(f"no row of {source.origin} has every target", received=list(targets))
    return kept, dropped


def excluded(source: FrameSource, exclude: str | Path, dropped: dict[str, int]) -> np.ndarray:
    """Return which rows a list of exclusions names, bool [n], and count them."""
    root = root_of(source.origin)
    names = [relative_name(source.place([row]), root) for row in range(len(source.frame))]
    found = excluded_rows(exclude, names, lambda row: digest_of(source.frame.iloc[[row]]), source.origin)
    dropped["excluded"] = int(found.sum())
    _log.info("%d rows are left out: %s", dropped["excluded"], exclude)
    return found
