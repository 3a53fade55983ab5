"""Exact copies among items: numbered, kept out of training, and reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

_SHOWN = 3


def first_alike(digests: Sequence[Hashable] | npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return for each item the number of the first one with the same digest, int64 [n].

    >>> first_alike(["a", "b", "a"]).tolist()
    [0, 1, 0]
    >>> first_alike(["a", None, None]).tolist()
    [0, 1, 2]

    Args:
        digests: of the items; an item whose digest is None is a copy of no other.
    """
    if isinstance(digests, np.ndarray):
        import pandas as pd

        codes, _ = pd.factorize(digests)
        first = np.zeros(int(codes.max(initial=-1)) + 1, np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        return first[codes]
    seen: dict[Hashable, int] = {}
    found = [row if digest is None else seen.setdefault(digest, row) for row, digest in enumerate(digests)]
    return np.array(found, np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class Copies:
    """Copies within training, between training and held-out splits, and with different labels.

    Attributes:
        repeated: int64 [r], training items that are copies of an earlier one.
        leaked: held-out split -> its items that are in the training part too.
        disagreeing: int64 [d], the first item of each group of copies whose label differs from that of its first one.
        in_train: number of a copy -> the first training item that has it.
        first: number of a copy -> the first item that has it.
    """

    repeated: npt.NDArray[np.int64]
    leaked: Mapping[str, npt.NDArray[np.int64]]
    disagreeing: npt.NDArray[np.int64]
    in_train: Mapping[int, int]
    first: Mapping[int, int]

    @property
    def leaks(self) -> dict[str, int]:
        """How many items of each held-out split are in the training part too."""
        return {name: len(own) for name, own in self.leaked.items()}

    def examples(self, numbers: np.ndarray, say: Callable[[str, int, int], str]) -> dict[str, list[str]]:
        """Return the first few copies of each kind.

        Args:
            numbers: as for `find_copies`.
            say: writes one of them, given its kind, the item and the one that it is a copy of.
        """
        kinds = {"repeated_in_train": (self.repeated, self.in_train)}
        kinds |= {f"in_train_and_{name}": (own, self.in_train) for name, own in self.leaked.items()}
        kinds["disagreeing"] = (self.disagreeing, self.first)
        return {
            kind: [say(kind, row, twins[int(numbers[row])]) for row in rows[:_SHOWN].tolist()]
            for kind, (rows, twins) in kinds.items()
            if len(rows)
        }


def find_copies(rows: Mapping[str, np.ndarray], numbers: np.ndarray, labels: Sequence[object]) -> Copies:
    """Find the copies within and between splits.

    Args:
        rows: split -> its row numbers, ascending.
        numbers: int64 [n], as `first_alike` returns them.
        labels: of all items.
    """
    train = rows.get("train", np.zeros(0, np.int64))
    seen, first = np.unique(numbers[train], return_index=True)
    label_of: dict[int, int] = {}
    disagreeing: dict[int, int] = {}
    for row in np.sort(np.concatenate([*rows.values(), np.zeros(0, np.int64)])).tolist():
        number = int(numbers[row])
        if labels[label_of.setdefault(number, row)] != labels[row]:
            disagreeing.setdefault(number, row)
    return Copies(
        np.delete(train, first),
        {name: own[np.isin(numbers[own], seen)] for name, own in rows.items() if name != "train"},
        np.array(list(disagreeing.values()), np.int64),
        dict(zip(seen.tolist(), train[first].tolist(), strict=True)),
        label_of,
    )


def without_copies(rows: Mapping[str, np.ndarray], numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Take out of the training rows what a held-out split has too, and all but the first of each item.

    Args:
        rows: split -> its row numbers, ascending.
        numbers: int64 [n], as `first_alike` returns them.

    Returns:
        The rows; those of the other splits as they were.
    """
    if "train" not in rows:
        return dict(rows)
    held_out = np.concatenate([numbers[own] for name, own in rows.items() if name != "train"] + [np.zeros(0, np.int64)])
    train = rows["train"][~np.isin(numbers[rows["train"]], held_out)]
    _, first = np.unique(numbers[train], return_index=True)
    return {**rows, "train": train[np.sort(first)]}
