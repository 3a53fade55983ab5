"""Splits: stratified by label or labels, by time, and never through the middle of a group."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.label_sets import Label, as_numbers, seen, several

_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*")
_NAMED = 5  # classes, in a message


@dataclasses.dataclass(frozen=True)
class ClassWords:
    """How messages about classes speak of them.

    Attributes:
        names: the name of each class number; None where labels are names themselves.
        item: what is classified, in the singular.
        on_numbers: what to do where all classes are numbers.
    """

    names: Sequence[str] | None = None
    item: str = "item"
    on_numbers: str = "all classes are numbers, and each number is one class; for regression use a table"

    def name(self, label: object) -> str:
        """Return the name of a class."""
        return str(label) if self.names is None else str(self.names[int(str(label))])

    def count(self, number: int) -> str:
        """Return such as "1 image" or "3 images"."""
        return f"{number:,} {self.item}{'' if number == 1 else 's'}"

    def advice(self, classes: np.ndarray, usual: str) -> str:
        """Return the usual advice, and more where all classes are numbers."""
        numbers = len(classes) > 2 and all(_NUMBER.fullmatch(self.name(label)) for label in classes)
        return f"{usual}; {self.on_numbers}" if numbers and self.on_numbers else usual


def train_val_split(
    labels: npt.ArrayLike,
    val_fraction: float,
    seed: int,
    groups: npt.ArrayLike | None = None,
    *,
    words: ClassWords | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split row numbers into training and validation, each class in the same proportion.

    Example:
        >>> train, val = train_val_split([0, 0, 1, 1], val_fraction=0.5, seed=0)
        >>> len(train), len(val)
        (2, 2)

    Args:
        labels: class of each row, [n].
        val_fraction: part of the rows for validation, between 0 and 1 (both exclusive).
        seed: the same seed gives the same split.
        groups: a value for each row, [n]; rows that share it (one patient, one scene) stay on the same side. The
            proportions then hold as nearly as whole groups allow (scikit-learn's StratifiedGroupKFold).
        words: how messages speak of classes and items.

    Returns:
        Two sorted arrays of row numbers.

    Raises:
        ConfigError: `val_fraction` is not usable.
        DataError: a class is too small to be on both sides, or its rows all share one group.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

    _check_fraction(val_fraction)
    words = words or ClassWords()
    labels = np.asarray(labels)
    classes, counts = np.unique(labels, return_counts=True)
    rows = np.arange(len(labels))
    if groups is None:
        _check_counts(classes, counts, words)
        # At least one item of every class on either side, whatever the fraction.
        n_val = int(np.clip(round(len(labels) * val_fraction), len(classes), len(labels) - len(classes)))
        splitter = StratifiedShuffleSplit(n_splits=1, test_size=n_val, random_state=seed)
        train, val = next(splitter.split(rows, labels))
        train, val = _give_every_class_a_place(labels, train, val)
        return np.sort(train), np.sort(val)

    groups = np.asarray(groups)
    folds = max(2, round(1 / val_fraction)) if val_fraction <= 0.5 else max(2, round(1 / (1 - val_fraction)))
    _check_groups(labels, groups, words)
    folds = min(folds, len(np.unique(groups)))
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    candidates = [(tuple(np.sort(part) for part in split)) for split in splitter.split(rows, labels, groups)]
    if val_fraction > 0.5:
        candidates = [(val, train) for train, val in candidates]

    def distance(split: tuple[np.ndarray, ...]) -> float:
        train, val = split
        missing = sum(len(np.setdiff1d(classes, labels[part])) for part in (train, val))
        return missing * 1e6 + abs(len(val) / len(labels) - val_fraction)

    train, val = min(candidates, key=distance)
    for part, name in ((train, "training"), (val, "validation")):
        absent = np.setdiff1d(classes, labels[part])
        if len(absent):
            own = labels == absent[0]
            raise DataError(
                f"no split by group has every class in {name}: class {words.name(absent[0])!r} has "
                f"{words.count(int(own.sum()))} in {len(np.unique(groups[own]))} groups",
                fix=words.advice(classes, "use more groups for each class, another seed or another val_fraction"),
            )
    return train, val


def split_labelled(
    labels: Sequence[Label],
    copies: npt.NDArray[np.int64],
    groups: npt.NDArray[Any] | None,
    val_fraction: float,
    seed: int,
    words: ClassWords,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split items as their labels ask for, groups or else copies on one side.

    Args:
        labels: the class of each item, or the set of its labels.
        copies: a number for each item, [n], which copies share.
        groups: a value for each item, [n], or None.
        val_fraction, seed, words: as for `train_val_split`.

    Returns:
        Two sorted arrays of row numbers.

    Raises:
        ConfigError, DataError: see `multi_label_split`, `train_val_split` and `split_with_copies`.
    """
    if several(labels):
        marks = as_numbers(labels, sorted(seen(labels)), multi_label=True)
        return multi_label_split(marks, val_fraction, seed, copies if groups is None else groups)
    classes = [str(label) for label in labels]
    if groups is None:
        return split_with_copies(classes, copies, val_fraction, seed, words=words)
    return train_val_split(classes, val_fraction, seed, groups, words=words)


def split_with_copies(
    labels: npt.ArrayLike,
    copies: npt.ArrayLike,
    val_fraction: float,
    seed: int,
    *,
    words: ClassWords | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split as `train_val_split` does, with all copies of an item on one side.

    Made for few copies of most items: they are drawn like single ones, so that proportions and speed stay those of a
    split without groups. Where copies carry different labels, the rarest of these stands for them.

    Example:
        >>> train, val = split_with_copies([0, 0, 0, 1, 1], [7, 7, 8, 9, 5], val_fraction=0.5, seed=0)
        >>> (0 in val) == (1 in val)
        True

    Args:
        labels: class of each row, [n].
        copies: a number for each row, [n]; copies of one item share it.
        val_fraction: part of the items for validation, between 0 and 1 (both exclusive).
        seed: the same seed gives the same split.
        words: how messages speak of classes and items.

    Returns:
        Two sorted arrays of row numbers.

    Raises:
        ConfigError: `val_fraction` is not usable.
        DataError: a class has a single item, copies not counted.
    """
    words = words or ClassWords()
    labels = np.asarray(labels)
    classes, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    _, item_of_row = np.unique(np.asarray(copies), return_inverse=True)
    order = np.lexsort((counts[numbers], item_of_row))  # the rarest label of each item first
    _, first = np.unique(item_of_row[order], return_index=True)
    standing, left = np.unique(labels[order[first]], return_counts=True)
    different = np.zeros(len(classes), np.int64)
    different[np.searchsorted(classes, standing)] = left
    _check_counts(classes, different, words, counts)
    _, val = train_val_split(labels[order[first]], val_fraction, seed, words=words)
    in_val = np.isin(item_of_row, val)
    return np.flatnonzero(~in_val), np.flatnonzero(in_val)


def time_split(
    times: Sequence[object], val_fraction: float, places: Sequence[str] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split row numbers so that the newest rows are for validation, as a model in use meets only what is newer.

    Rows of the same moment are never parted; of the possible borders, the one nearest to `val_fraction` is taken.

    Example:
        >>> train, val = time_split(["2024-03-01", "2024-01-01", "2024-02-01"], val_fraction=0.3)
        >>> train.tolist(), val.tolist()
        ([1, 2], [0])

    Args:
        times: numbers (years, seconds), dates, or text that pandas reads as a date, [n].
        val_fraction: part of the rows for validation, between 0 and 1 (both exclusive).
        places: where each row stands, for messages.

    Returns:
        Two sorted arrays of row numbers.

    Raises:
        ConfigError: `val_fraction` is not usable.
        DataError: a time is missing or cannot be read, or all are the same.
    """
    _check_fraction(val_fraction)
    moments, numbers = np.unique(moments_of(times, places), return_inverse=True)
    if len(moments) < 2:
        raise DataError("all times are equal: a split by time is not possible", received=str(times[0]))
    older = np.cumsum(np.bincount(numbers))[:-1]  # rows before each border
    border = int(np.abs(older - len(numbers) * (1 - val_fraction)).argmin())
    return np.flatnonzero(numbers <= border), np.flatnonzero(numbers > border)


def multi_label_split(
    targets: npt.ArrayLike, val_fraction: float, seed: int, groups: npt.ArrayLike | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split row numbers into training and validation where a row has any number of labels.

    Iterative stratification (Sechidis, Tsoumakas & Vlahavas 2011, "On the Stratification of Multi-Label Data"): the
    rarest label is dealt out first, each row to the side that lacks it most. Training has every label; validation has
    every label of which training can spare a row.

    Example:
        >>> train, val = multi_label_split([[1, 0], [1, 1], [1, 1], [1, 0]], val_fraction=0.5, seed=0)
        >>> len(train), len(val)
        (2, 2)

    Args:
        targets: 0 or 1 for each row and label, [n, k].
        val_fraction: part of the rows for validation, between 0 and 1 (both exclusive).
        seed: the same seed gives the same split.
        groups: a value for each row, [n]; rows that share it stay on the same side.

    Returns:
        Two sorted arrays of row numbers.

    Raises:
        ConfigError: `val_fraction` is not usable.
        DataError: there are fewer than two groups or rows, or none that training can spare.
    """
    _check_fraction(val_fraction)
    targets = np.asarray(targets, np.int64)
    _, unit_of_row = np.unique(np.arange(len(targets)) if groups is None else np.asarray(groups), return_inverse=True)
    units = int(unit_of_row.max(initial=-1)) + 1
    if units < 2:
        raise DataError("too few items or groups to split", received=units, allowed="2 or more")
    sizes = np.bincount(unit_of_row)
    counts = np.zeros((units, targets.shape[1]), np.int64)
    np.add.at(counts, unit_of_row, targets)
    random = np.random.default_rng(seed)
    part = np.array([1 - val_fraction, val_fraction])
    wanted = part[:, None] * counts.sum(0)  # [side, label], falls as rows are dealt out
    room = part * len(targets)
    side = np.full(units, -1)

    def deal(unit: int, lack: np.ndarray) -> None:
        best = 1 if (lack[1], room[1]) > (lack[0], room[0]) else 0
        side[unit] = best
        wanted[best] -= counts[unit]
        room[best] -= sizes[unit]

    shuffled = random.permutation(units)
    while True:
        waiting = counts[side < 0].sum(0)
        if not waiting.any():
            break
        label = int(np.where(waiting > 0, waiting, np.iinfo(np.int64).max).argmin())
        for unit in shuffled[(side[shuffled] < 0) & (counts[shuffled, label] > 0)]:
            deal(unit, wanted[:, label])
    for unit in shuffled[side[shuffled] < 0]:  # rows without any label
        deal(unit, room)
    _give_every_label_a_place(counts, sizes, side)
    if not (side == 1).any():
        raise DataError("every item is the only one of some label: no item can be used for validation", received=units)
    return np.flatnonzero(side[unit_of_row] == 0), np.flatnonzero(side[unit_of_row] == 1)


def _give_every_label_a_place(counts: np.ndarray, sizes: np.ndarray, side: np.ndarray) -> None:
    """Move the smallest unit that can be spared where a label, or everything, is on one side only."""
    has = counts > 0
    for lacking in (0, 1):  # training first: it must have every label, validation gets what it can spare
        for label in np.append(np.argsort(has.sum(0), kind="stable"), -1):
            own = np.ones(len(side), bool) if label < 0 else has[:, label]
            if not own.any() or (own & (side == lacking)).any() or (lacking == 1 and own.sum() < 2):
                continue
            there = side != lacking
            units: list[int] = np.flatnonzero(own).tolist()
            spared = [unit for unit in units if not (has[unit] & (has[there].sum(0) == 1)).any()]
            movable = spared or (units if lacking == 0 else [])
            if movable:
                side[min(movable, key=lambda unit: (has[unit].sum(), sizes[unit], unit))] = lacking


def moments_of(times: Sequence[object], places: Sequence[str] | None = None) -> np.ndarray:
    """Return times as numbers or datetime64 [n]; `places` are for messages."""
    import pandas as pd

    values = pd.Series(list(times), dtype=object)
    if not _any_dates(times):
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
        if np.isfinite(numbers).all():
            return numbers
    # ISO 8601 first: it takes dates with and without a time of day; then whatever form the first one has.
    read = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    if read.isna().any():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on days before months: the form is that of the first date
            read = pd.to_datetime(values, errors="coerce", utc=True)
    bad = np.flatnonzero(read.isna())
    if len(bad):
        where = places[bad[0]] if places is not None else f"row {bad[0] + 1}"
        raise DataError(
            f"{where} has a time that cannot be read ({len(bad)} such rows)",
            received=str(times[bad[0]]),
            allowed="numbers, or dates such as 2024-01-31, all in one format",
        )
    return read.to_numpy()


def _any_dates(values: Sequence[object]) -> bool:
    import datetime

    return any(isinstance(value, datetime.date) for value in values)


def _check_fraction(val_fraction: float) -> None:
    if not isinstance(val_fraction, int | float) or not 0 < val_fraction < 1:
        raise ConfigError("val_fraction is invalid", received=val_fraction, allowed="a number between 0 and 1")


def _check_counts(
    classes: np.ndarray, counts: np.ndarray, words: ClassWords, with_copies: np.ndarray | None = None
) -> None:
    """Refuse classes that cannot be in training and in validation."""
    few = np.flatnonzero(counts == 1)
    if not len(few):
        return
    if len(few) == 1:
        own = few[0]
        what = f"class {words.name(classes[own])!r} has {words.count(1)}"
        if with_copies is not None and with_copies[own] > 1:
            what += f" that is not a copy of another ({words.count(int(with_copies[own]))} with copies)"
    else:
        named = ", ".join(repr(words.name(classes[own])) for own in few[:_NAMED])
        what = f"{len(few):,} of {len(classes):,} classes have a single {words.item}: {named}"
        what += ", ..." if len(few) > _NAMED else ""
    raise DataError(
        f"{what}; a split into training and validation needs 2 of each class",
        fix=words.advice(classes, f"add {words.item}s, remove the class, or provide your own validation set"),
    )


def _check_groups(labels: np.ndarray, groups: np.ndarray, words: ClassWords) -> None:
    classes = np.unique(labels)
    for value in classes:
        own = labels == value
        if len(np.unique(groups[own])) < 2:
            raise DataError(
                f"class {words.name(value)!r} has all of its {words.count(int(own.sum()))} in one group, so that it "
                "cannot be both in training and in validation",
                received=str(groups[own][0]),
                fix=words.advice(classes, f"split without groups, or add {words.item}s of another group"),
            )


def _give_every_class_a_place(labels: np.ndarray, train: np.ndarray, val: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move single items where rounding left a small class on one side only."""
    in_val = np.zeros(len(labels), bool)
    in_val[val] = True
    for value in np.unique(labels):
        rows = np.flatnonzero(labels == value)
        if in_val[rows].all() or not in_val[rows].any():
            in_val[rows[0]] = not in_val[rows[0]]
    return np.flatnonzero(~in_val), np.flatnonzero(in_val)
