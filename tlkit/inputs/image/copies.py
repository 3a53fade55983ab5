"""Exact copies among images: kept on one side of a split, counted across splits, named where their labels differ."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.inputs.copies import find_copies, first_alike
from tlkit.inputs.image.listing import Listing
from tlkit.inputs.image.walk import shown
from tlkit.inputs.label_sets import shown_label
from tlkit.inputs.splits import ClassWords, split_labelled

WORDS = ClassWords(item="image")
Draw = Callable[[np.ndarray, np.ndarray, "np.ndarray | None"], tuple[np.ndarray, np.ndarray]]
_log = logging.getLogger("tlkit")


@dataclasses.dataclass(frozen=True)
class CopyReport:
    """Counts and first examples; the same words as for texts, `tlkit.inputs.text.findings.TextReport`.

    Attributes:
        repeated_in_train: training images that are copies of an earlier one.
        leaks: held-out split -> how many of its images are in the training part too.
        disagreeing: how many different images occur with different labels.
        examples: kind -> the first few of them, as pairs of paths.
    """

    repeated_in_train: int
    leaks: dict[str, int]
    disagreeing: int
    examples: dict[str, list[str]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


def copy_numbers(paths: Sequence[Path], sizes: Sequence[int] = ()) -> npt.NDArray[np.int64]:
    """Number files so that those of the same content share a number, that of the first of them.

    Only files of equal size are read.

    Args:
        paths: the files.
        sizes: their bytes; looked up when left out.

    Returns:
        int64 [n]. A file that cannot be read is a copy of no other.
    """
    sizes = sizes or [_size(path) for path in paths]
    counts = Counter(sizes)
    return first_alike(
        [
            (digest_of(path, size=16) or None) if size > 0 and counts[size] > 1 else None
            for path, size in zip(paths, sizes, strict=True)
        ]
    )


def digest_of(path: Path, size: int = 8) -> str:
    """Return a hash of a file's content, of so many bytes in hexadecimal; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=size)).hexdigest()
    except OSError:
        return ""


def assign_splits(
    listing: Listing,
    copies: np.ndarray,
    val_fraction: float,
    seed: int,
    rows: np.ndarray | None = None,
    draw: Draw | None = None,
) -> dict[str, np.ndarray]:
    """Give every image its split: the one that the user chose, or training and validation drawn by class.

    Copies of an image stay on one side, and so do images of a group.

    Args:
        listing: the images.
        copies: what `copy_numbers` returns for them.
        val_fraction: part for validation, between 0 and 1.
        seed: of the split.
        rows: those that are used; all when left out.
        draw: divides rows whose split is open, given their copies and groups (or None) as well: places among them of
            training and validation. By the labels of the listing when left out.

    Returns:
        Split -> row numbers, int64, ascending.

    Raises:
        ConfigError: `val_fraction` is not usable.
        DataError: the images cannot be divided so.
    """
    rows = np.arange(len(listing.paths)) if rows is None else rows
    splits = np.asarray(listing.splits, object)[rows]
    found = {str(name): rows[splits == name] for name in ("train", "val", "test") if (splits == name).any()}
    undecided = rows[[split is None for split in splits]]
    if len(undecided):
        own = copies[undecided]
        groups = united(np.asarray(listing.groups)[undecided], own) if listing.groups else None
        if draw is None:
            labels = [listing.labels[row] for row in undecided.tolist()]
            train, val = split_labelled(labels, own, groups, val_fraction, seed, WORDS)
        else:
            train, val = draw(undecided, own, groups)
        found["train"], found["val"] = undecided[train], undecided[val]
    return found


def warn_of_copies(paths: Sequence[Path], trained_on: Sequence[Path]) -> None:
    """Warn where images to evaluate are exact copies of training images."""
    copied = copies_of(paths, trained_on) if trained_on else {}
    if copied:
        place, other = next(iter(copied.items()))
        _log.warning(
            "%d of the %d photos to evaluate are also in the training set, for example %s = %s",
            len(copied), len(paths), shown(paths[place]), shown(trained_on[other]),
        )  # fmt: skip


def united(groups: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Make one group of all groups that share a copy.

    Example:
        >>> united(np.array(["a", "b", "c", "c"]), np.array([0, 0, 2, 3])).tolist()
        [0, 0, 2, 2]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if len(np.unique(copies)) == len(copies):
        return groups
    _, of_group = np.unique(groups, return_inverse=True)
    _, of_copy = np.unique(copies, return_inverse=True)
    size = int(of_group.max()) + 1
    edges = coo_array(
        (np.ones(len(groups), np.int8), (of_group, of_copy + size)), shape=(size + len(groups), size + len(groups))
    )
    _, component = connected_components(edges, directed=False)
    joined = component[of_group]
    _, first, inverse = np.unique(joined, return_index=True, return_inverse=True)
    return first[inverse]


def group_numbers(groups: Sequence[str] | None, copies: np.ndarray, rows: np.ndarray) -> npt.NDArray[np.int64]:
    """Number some of the items so that those that must stay together share a number.

    Args:
        groups: the group of each item, or None.
        copies: what `copy_numbers` returns for the items.
        rows: which items.

    Returns:
        int64 [len(rows)].
    """
    together = united(np.asarray(groups), copies) if groups else copies
    return np.unique(together[rows], return_inverse=True)[1]


def report(listing: Listing, rows: Mapping[str, np.ndarray], copies: np.ndarray) -> CopyReport:
    """Look for copies within training, between training and held-out splits, and with different labels.

    Args:
        listing: the images.
        rows: split -> its row numbers.
        copies: what `copy_numbers` returns for the images.
    """
    found = find_copies(rows, copies, listing.labels)

    def say(kind: str, row: int, twin: int) -> str:
        labelled = kind == "disagreeing"
        return " = ".join(
            shown(listing.paths[one]) + (f" ({shown_label(listing.labels[one])})" if labelled else "")
            for one in (row, twin)
        )

    return CopyReport(len(found.repeated), found.leaks, len(found.disagreeing), found.examples(copies, say))


def copies_of(paths: Sequence[Path], others: Sequence[Path]) -> dict[int, int]:
    """Find images that are exact copies of one of the others: place in `paths` -> place in `others`.

    Args:
        paths: such as those to evaluate.
        others: such as those of the training.
    """
    sizes = [_size(path) for path in [*paths, *others]]
    wanted = set(sizes[: len(paths)])
    # Training images of other sizes are not read.
    sizes = [*sizes[: len(paths)], *(size if size in wanted else 0 for size in sizes[len(paths) :])]
    numbers = copy_numbers([*others, *paths], [*sizes[len(paths) :], *sizes[: len(paths)]])
    return {place: int(number) for place, number in enumerate(numbers[len(others) :].tolist()) if number < len(others)}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
