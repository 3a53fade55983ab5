"""What boosted trees split on: encoded rows of a table, categories as categories and missing numbers as missing."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import numpy as np

from tlkit.inputs.row.columns import Continuous

if TYPE_CHECKING:
    from tlkit.inputs.row.preprocessing import TablePreprocessing

MOST_CATEGORIES = 255  # of a column, that scikit-learn's boosting takes
_log = logging.getLogger("tlkit")


@dataclasses.dataclass(frozen=True, eq=False)
class TreeColumns:
    """The columns that trees see, made from encoded rows float32 [n, D].

    Categories come first. A column of at most 255 categories keeps its codes. Of a wider one, the 254 most frequent
    codes are categories of their own and all others are one; its code is a number besides, since codes follow the order
    of the values. A code that no training row has is missing, as scikit-learn has it for unknown categories. A number
    is missing where its flag says so; the flag itself is no column.

    Attributes:
        names: of the columns, categories first.
        columns: place of each in an encoded row, int [F].
        flags: place of the flag that says where each is missing, int [F]; -1 where it has none.
        categories: for each column of categories, code -> category, int [size]; -1 is missing.
    """

    names: tuple[str, ...]
    columns: np.ndarray
    flags: np.ndarray
    categories: tuple[np.ndarray, ...]

    @property
    def is_category(self) -> np.ndarray:
        """Whether each column holds categories, bool [F]."""
        return np.arange(len(self.names)) < len(self.categories)

    def transform(self, encoded: np.ndarray) -> np.ndarray:
        """Return the columns of encoded rows float32 [n, D]: float64 [n, F], NaN where a value is missing."""
        found = encoded[:, self.columns].astype(np.float64)
        for place, of_code in enumerate(self.categories):
            category = of_code[found[:, place].astype(np.int64)]
            found[:, place] = np.where(category < 0, np.nan, category)
        for place in np.flatnonzero(self.flags >= 0).tolist():
            found[encoded[:, self.flags[place]] > 0.5, place] = np.nan
        return found


def fit_tree_columns(preprocessing: TablePreprocessing, encoded: np.ndarray, *, verbose: bool = True) -> TreeColumns:
    """Return the columns for trees, fitted to encoded training rows.

    Args:
        preprocessing: the `TablePreprocessing` that encoded the rows.
        encoded: float32 [n, D].
        verbose: warn of columns of more than 255 categories.
    """
    codes, first = preprocessing.codes, len(preprocessing.codes)
    categories, ordered = [], []
    for place, code in enumerate(codes):
        counts = np.bincount(encoded[:, place].astype(np.int64), minlength=code.size)
        if (counts > 0).sum() <= MOST_CATEGORIES:
            of_code = np.where(counts > 0, np.cumsum(counts > 0) - 1, -1)
        else:
            of_code = np.full(code.size, MOST_CATEGORIES - 1)
            of_code[np.argsort(-counts, kind="stable")[: MOST_CATEGORIES - 1]] = np.arange(MOST_CATEGORIES - 1)
            ordered.append(place)
        categories.append(of_code.astype(np.int64))
    if ordered and verbose:
        _log.warning(
            "boosted trees take at most %d categories of a column: of %s the %d most frequent ones stay categories, "
            "the others share one; the position of each value in sorted order is added",
            MOST_CATEGORIES, ", ".join(repr(codes[place].name) for place in ordered), MOST_CATEGORIES - 1,
        )  # fmt: skip
    numbers = list(preprocessing.numbers)
    flag_of = _flags(preprocessing)
    values = [place for place in range(len(numbers)) if place not in flag_of.values()]
    return TreeColumns(
        names=(
            *(code.name for code in codes),
            *(f"{codes[place].name} in order" for place in ordered),
            *(numbers[place] for place in values),
        ),
        columns=np.array([*range(first), *ordered, *(first + place for place in values)], np.int64),
        flags=np.array(
            [-1] * (first + len(ordered)) + [first + flag_of[place] if place in flag_of else -1 for place in values],
            np.int64,
        ),
        categories=tuple(categories),
    )


def _flags(preprocessing: TablePreprocessing) -> dict[int, int]:
    """Return for the place of each number that has a flag the place of the flag, both among the numbers."""
    found, place = {}, 0
    for column in preprocessing.columns:
        if isinstance(column, Continuous) and column.flag:
            found[place] = place + 1
        place += len(column.numbers)
    return found
