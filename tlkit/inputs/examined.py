"""What an input reports of its items, so that a check can look at them without knowing what they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

FactUse = Literal["shortcut", "column", "described"]


@dataclasses.dataclass(frozen=True, eq=False)
class Fact:
    """One property of every item.

    Attributes:
        values: float64 [n] with NaN where it is missing, or str objects [n] for names such as a format.
        use: `"shortcut"` for what must not give the label away (file size, background); `"column"` for an input of the
            model, which may; `"described"` for what is only looked at for outliers.
        sizes: whether values far from the others are reported; they are compared by their logarithm.
        rare: whether names that few items have are reported.
        bad: names that are reported however many have them.
        unit: of numbers, for people.
    """

    values: np.ndarray
    use: FactUse = "described"
    sizes: bool = False
    rare: bool = False
    bad: tuple[str, ...] = ()
    unit: str = ""

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers."""
        return self.values.dtype != object


class Shown(NamedTuple):
    """How a person sees an item.

    Attributes:
        text: a line of text; empty for an image.
        image: the bytes of a small JPEG; empty for what is no image.
        cells: column -> value of a row.
    """

    text: str = ""
    image: bytes = b""
    cells: Mapping[str, str] = {}


class Pairs(NamedTuple):
    """Items that are alike: `left` and `right`, int64 [m], and `similarity`, float64 [m], at most 1."""

    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray


class Unusable(NamedTuple):
    """An item that cannot be read, or is damaged.

    Attributes:
        name: for people and for a list of exclusions.
        reason: one clause.
        damaged: it can be read, and is used.
        left_out: training does without it whatever is set, so it is no reason to stop.
    """

    name: str
    reason: str
    damaged: bool = False
    left_out: bool = False


def no_pairs(features: np.ndarray | None = None) -> Pairs:
    """Return no pairs: for inputs without near duplicates."""
    return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


@dataclasses.dataclass(frozen=True, eq=False)
class Examined:
    """The items of all splits, in the order of `data.splits` and within a split of `data.ordered`.

    Attributes:
        items: what they are, in the plural.
        splits: str objects [n].
        names: of each item, for people and for a list of exclusions.
        digest: item -> a hash of its content, for a list of exclusions.
        facts: name -> property.
        blocks: name -> float32 [n, d], numbers that must not give the label away together, such as a corner's pixels.
        copies: int64 [n]; items with the same content share the number of the first of them.
        by_chance: whether items agree by chance, because there are few different contents.
        near: features float32 [n, F] or None -> pairs of items that are nearly copies.
        show: item -> how a person sees it.
        unusable: items that are left out, or damaged.
        unlabelled: how many items were left out because they have no label.
        groups: str objects [n]: what must not be divided by a split; None where nothing is named.
        guessed: name of a guessed grouping -> str objects [n], "" where an item has none.
        times: float64 [n]; None where nothing is named.
        time_name: the column of times, or of dates that were found.
        by_time: whether the splits were made by time.
        features: items int [m] -> float32 [m, F], in place of a frozen network's features; None where there are none.
        notes: what else reading the data found, one sentence each.
    """

    items: str
    splits: np.ndarray
    names: Sequence[str]
    digest: Callable[[int], str]
    copies: np.ndarray
    facts: Mapping[str, Fact] = dataclasses.field(default_factory=dict)
    blocks: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    by_chance: bool = False
    near: Callable[[np.ndarray | None], Pairs] = no_pairs
    show: Callable[[int], Shown] = lambda item: Shown()
    unusable: Sequence[Unusable] = ()
    unlabelled: int = 0
    groups: np.ndarray | None = None
    guessed: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    times: np.ndarray | None = None
    time_name: str = ""
    by_time: bool = False
    features: Callable[[np.ndarray], np.ndarray] | None = None
    notes: Sequence[str] = ()


def splits_of(data: Any) -> np.ndarray:
    """Return the split of each item of a data set, str objects [n]."""
    return np.repeat(np.array(list(data.splits), object), [len(data.labels(name)) for name in data.splits])


def root_of(origin: str) -> str:
    """Return the folder that names of items are relative to: the data itself, or the folder of a table."""
    path = Path(origin)
    return str(path if path.is_dir() else path.parent)


def relative_name(name: str, root: str) -> str:
    """Return the name of an item relative to the folder that the data lies in.

    >>> relative_name("/data/reviews.csv row 3", "/data")
    'reviews.csv row 3'
    """
    start = root.rstrip("/\\")
    return name[len(start) + 1 :] if start and name.startswith((start + "/", start + "\\")) else name
