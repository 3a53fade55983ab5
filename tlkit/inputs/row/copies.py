"""Rows of a table that are exact copies of others: found by hash, kept on one side of a split, reported."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlkit.inputs.copies import first_alike

if TYPE_CHECKING:
    import pandas as pd

Hashes = npt.NDArray[np.uint64]

_SHOWN = 3
_MANY = 0.2  # of the rows; few copies do no harm to a split, whatever they come from
_BY_CHANCE = 0.2  # share of the equal pairs from which on copies are no accident of the file
_log = logging.getLogger("tlkit")


@dataclasses.dataclass(frozen=True, eq=False)
class RowCopies:
    """Which rows of a table are copies of others.

    Attributes:
        numbers: int64 [n]; rows with the same inputs and targets share the number of the first of them.
        inputs: int64 [n]; likewise for rows with the same inputs.
        by_chance: whether the columns have so few different values that whole rows repeat by themselves. Such rows are
            no copies of one observation, and are split one by one.
    """

    numbers: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.int64]
    by_chance: bool

    @property
    def repeated(self) -> npt.NDArray[np.int64]:
        """The rows that are copies of an earlier one."""
        return np.flatnonzero(self.numbers != np.arange(len(self.numbers)))

    @property
    def conflicting(self) -> npt.NDArray[np.int64]:
        """The first row of each different value of the targets that an earlier row with the same inputs has not."""
        own = np.arange(len(self.numbers))
        return np.flatnonzero((self.inputs != own) & (self.numbers == own))

    @property
    def to_keep_together(self) -> npt.NDArray[np.int64] | None:
        """`numbers` where copies must not be divided by a split, else None."""
        return None if self.by_chance or not len(self.repeated) else self.numbers


def find_copies(frame: pd.DataFrame, inputs: Sequence[str], targets: Sequence[str]) -> RowCopies:
    """Find rows with the same inputs and targets, and rows with the same inputs and other targets.

    A million rows of 20 columns take about three seconds. Where more than a fifth of the rows are copies, it is
    estimated how many rows would agree by chance: from rows that agree in all columns but one, and how often two rows
    agree in that one.

    Args:
        frame: the rows.
        inputs: names of the input columns.
        targets: names of the target columns.

    Returns:
        A `RowCopies`.
    """
    inputs = list(dict.fromkeys(inputs))
    aims = [name for name in dict.fromkeys(targets) if name not in inputs]
    hashes = [_hashes(frame[name], number) for number, name in enumerate([*inputs, *aims])]
    of_inputs = _sum(hashes[: len(inputs)], len(frame))
    of_rows = _sum([of_inputs, *hashes[len(inputs) :]], len(frame))
    numbers = first_alike(of_rows)
    own = np.arange(len(numbers))
    by_chance = False
    if len(numbers) and (numbers != own).mean() > _MANY:
        by_chance = _agree_by_chance(hashes, of_rows, numbers)
    return RowCopies(numbers, first_alike(of_inputs), by_chance)


def digest_of(row: pd.DataFrame) -> str:
    """Return a hash of one row as it was read."""
    texts = row.astype(object).where(row.notna(), "").astype(str)
    return hashlib.blake2b("\x1f".join(texts.iloc[0]).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def log_copies(
    copies: RowCopies, rows: Mapping[str, npt.NDArray[np.int64]], place: Callable[[npt.NDArray[np.int64]], str]
) -> dict[str, Any]:
    """Log what was found, with counts and the first rows, and return it as plain values.

    Args:
        copies: of all rows.
        rows: split -> row numbers.
        place: says where rows stand.

    Returns:
        Counts: `repeated`, `conflicting`, `by_chance`, and for each held-out split `in_train_and_val` or the like.
    """

    def shown(found: npt.NDArray[np.int64], of: npt.NDArray[np.int64]) -> str:
        pairs = [f"{place(np.array([row]))} = {place(np.array([of[row]]))}" for row in found[:_SHOWN].tolist()]
        return ", ".join(pairs) + (", ..." if len(found) > _SHOWN else "")

    repeated, conflicting = copies.repeated, copies.conflicting
    found: dict[str, Any] = {
        "repeated": len(repeated),
        "conflicting": len(conflicting),
        "by_chance": copies.by_chance,
    }
    train = np.unique(copies.numbers[rows["train"]]) if "train" in rows else np.zeros(0, np.int64)
    for name, own in rows.items():
        if name == "train":
            continue
        leaked = own[np.isin(copies.numbers[own], train)]
        found[f"in_train_and_{name}"] = len(leaked)
        if len(leaked) and not copies.by_chance:
            first = _first_in(copies.numbers, rows["train"])
            _log.warning(
                "%s of the %s rows are also in the training set, for example %s",
                f"{len(leaked):,}",
                name,
                f"{place(leaked[:1])} = {place(first[copies.numbers[leaked[:1]]])}",
            )
    if copies.by_chance:
        different = len(copies.numbers) - len(repeated)
        _log.info(
            "%s rows repeat an earlier row. With only %s different rows these are treated as "
            "coincidences and split one "
            "by one",
            f"{len(repeated):,}",
            f"{different:,}",
        )
    elif len(repeated):
        divided = any(found[name] for name in found if name.startswith("in_train_and_"))
        _log.info(
            "%s rows are duplicates of earlier rows%s: %s",
            f"{len(repeated):,}",
            "" if divided or len(rows) < 2 else " and are kept in the same split",
            shown(repeated, copies.numbers),
        )
    if len(conflicting):
        _log.log(
            logging.INFO if copies.by_chance else logging.WARNING,
            "%s rows have the same inputs as an earlier row but other targets: %s",
            f"{len(conflicting):,}",
            shown(conflicting, copies.inputs),
        )
    return found


def _hashes(column: pd.Series, number: int) -> Hashes:
    """Hash the values of a column; equal values of different columns get different hashes."""
    import pandas as pd

    hashes = pd.util.hash_pandas_object(column, index=False).to_numpy(np.uint64)
    mixed: Any = (hashes + np.uint64(number)) * np.uint64(0x9E3779B97F4A7C15 + 2 * number)
    folded: Hashes = mixed ^ (mixed >> np.uint64(29))
    return folded


def _sum(hashes: Sequence[Hashes], count: int) -> Hashes:
    total = np.zeros(count, np.uint64)
    for own in hashes:
        total += own
    return total


def _first_in(numbers: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Give for each number of a copy the first of some rows that has it."""
    first = np.zeros(len(numbers), np.int64)
    first[numbers[rows[::-1]]] = rows[::-1]
    return first


def _agree_by_chance(hashes: Sequence[Hashes], of_rows: Hashes, numbers: npt.NDArray[np.int64]) -> bool:
    first = np.flatnonzero(numbers == np.arange(len(numbers)))
    if len(first) < 2:
        return True
    equal = _pairs(of_rows)
    scale = (len(numbers) / len(first)) ** 2  # from pairs of different rows to pairs of all rows
    expected = 0.0
    for own in hashes:
        column = own[first]
        agree = _pairs(column) / (len(first) * (len(first) - 1) / 2)
        if 0 < agree < 1:
            expected = max(expected, scale * _pairs(of_rows[first] - column) * agree / (1 - agree))
    return expected >= _BY_CHANCE * equal


def _pairs(hashes: Hashes) -> float:
    """Count the pairs of rows with the same hash."""
    counts = np.unique(hashes, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())
