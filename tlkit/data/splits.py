"""Seeded splits: stratified by label, and never through the middle of a group."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tlkit.errors import ConfigError, DataError


def train_val_split(
    labels: npt.ArrayLike, val_fraction: float, seed: int, groups: npt.ArrayLike | None = None
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

    Returns:
        Two sorted arrays of row numbers.

    Raises:
        ConfigError: `val_fraction` is not usable.
        DataError: a class is too small to be on both sides, or its rows all share one group.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

    if not isinstance(val_fraction, int | float) or not 0 < val_fraction < 1:
        raise ConfigError("val_fraction is not usable", received=val_fraction, allowed="a number between 0 and 1")
    labels = np.asarray(labels)
    classes, counts = np.unique(labels, return_counts=True)
    rows = np.arange(len(labels))
    if groups is None:
        if counts.min() < 2:
            raise DataError(
                "a class has a single item and cannot be split into training and validation",
                received=str(classes[counts.argmin()]),
                fix="add items, remove the class, or bring a validation set of your own",
            )
        # At least one item of every class on either side, whatever the fraction.
        n_val = int(np.clip(round(len(labels) * val_fraction), len(classes), len(labels) - len(classes)))
        splitter = StratifiedShuffleSplit(n_splits=1, test_size=n_val, random_state=seed)
        train, val = next(splitter.split(rows, labels))
        train, val = _give_every_class_a_place(labels, train, val)
        return np.sort(train), np.sort(val)

    groups = np.asarray(groups)
    folds = max(2, round(1 / val_fraction)) if val_fraction <= 0.5 else max(2, round(1 / (1 - val_fraction)))
    _check_groups(labels, groups)
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
            raise DataError(
                f"no split by group puts every class into {name}",
                received=str(absent[0]),
                fix="use more groups for each class, another seed or another val_fraction",
            )
    return train, val


def _check_groups(labels: np.ndarray, groups: np.ndarray) -> None:
    for value in np.unique(labels):
        if len(np.unique(groups[labels == value])) < 2:
            raise DataError(
                "all items of a class are in one group, so that it cannot be both in training and in validation",
                received=str(value),
                fix="split without groups, or bring items of another group",
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
