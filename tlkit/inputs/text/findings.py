"""What is odd about a set of texts: empty ones, copies, copies on both sides of a split, copies that disagree."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.inputs.text.listing import TextListing

_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class TextReport:
    """Counts and first examples.

    Attributes:
        empty: split -> how many texts are empty or only white space.
        repeated_in_train: training texts that are copies of an earlier one.
        leaks: held-out split -> how many of its texts are in the training part too.
        disagreeing: how many different texts occur with different labels.
        examples: kind -> the first few of them, with their places.
    """

    empty: dict[str, int]
    repeated_in_train: int
    leaks: dict[str, int]
    disagreeing: int
    examples: dict[str, list[str]]

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return dataclasses.asdict(self)


def normalized(text: str) -> str:
    """Give the form in which two texts count as the same: without case, white space collapsed.

    >>> normalized("  Good\\nfilm ") == normalized("GOOD film")
    True
    """
    return " ".join(text.split()).casefold()


def copy_numbers(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number the texts so that copies share a number: that of the first of them, int64 [n].

    >>> copy_numbers(["a", "b", "A "]).tolist()
    [0, 1, 0]
    """
    first: dict[bytes, int] = {}  # by digest: the normalized texts together would take as much memory as the texts
    numbers = np.empty(len(texts), np.int64)
    for row, text in enumerate(texts):
        digest = hashlib.blake2b(normalized(text).encode("utf-8"), digest_size=16).digest()
        numbers[row] = first.setdefault(digest, row)
    return numbers


def digest_of(text: str) -> str:
    """Return a hash of a text as it stands in the file."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def report(listing: TextListing, rows: Mapping[str, np.ndarray], copies: np.ndarray, dropped: np.ndarray) -> TextReport:
    """Look for empty and repeated texts.

    Args:
        listing: the texts.
        rows: split -> its row numbers.
        copies: what `copy_numbers` gives for the texts.
        dropped: row numbers of the empty texts that were left out of training.

    Returns:
        A `TextReport`. Empty texts do not count as copies of each other.
    """
    full = np.array([bool(text.strip()) for text in listing.texts], bool)
    examples: dict[str, list[str]] = {}

    def show(kind: str, found: np.ndarray, other: Mapping[int, int] | None = None) -> None:
        for row in found[:_SHOWN].tolist():
            twin = f" = {listing.places[other[int(copies[row])]]}" if other else ""
            text = f": {listing.texts[row][:80]!r}" if full[row] else ""
            examples.setdefault(kind, []).append(f"{listing.places[row]}{twin}{text}")

    empty = {name: own[~full[own]] for name, own in rows.items()}
    empty = {"train": dropped, **{name: found for name, found in empty.items() if name != "train"}}
    for found in empty.values():
        show("empty", found[: _SHOWN - len(examples.get("empty", []))])
    train = rows.get("train", np.zeros(0, np.int64))
    train = train[full[train]]
    seen, first = np.unique(copies[train], return_index=True)
    place_in_train = dict(zip(seen.tolist(), train[first].tolist(), strict=True))
    repeated = np.delete(train, first)
    show("repeated_in_train", repeated, place_in_train)
    leaks = {}
    for name, own in rows.items():
        if name != "train":
            leaked = own[full[own] & np.isin(copies[own], seen)]
            leaks[name] = len(leaked)
            show(f"in_train_and_{name}", leaked, place_in_train)
    label_of: dict[int, Any] = {}
    disagreeing: dict[int, int] = {}
    for row in np.sort(np.concatenate([*rows.values(), np.zeros(0, np.int64)])).tolist():
        number = int(copies[row])
        if full[row] and label_of.setdefault(number, listing.labels[row]) != listing.labels[row]:
            disagreeing.setdefault(number, row)
    show("disagreeing", np.array(list(disagreeing.values()), np.int64), {number: number for number in disagreeing})
    counts = {name: len(found) for name, found in empty.items()}
    return TextReport(counts, len(repeated), leaks, len(disagreeing), examples)


def without_copies(rows: Mapping[str, np.ndarray], copies: np.ndarray) -> dict[str, np.ndarray]:
    """Take out of the training rows what a held-out split has too, and all but the first of each text.

    Args:
        rows: split -> its row numbers, ascending.
        copies: what `copy_numbers` gives for the texts.

    Returns:
        The rows; those of the other splits as they were.
    """
    if "train" not in rows:
        return dict(rows)
    held_out = np.concatenate([copies[own] for name, own in rows.items() if name != "train"] + [np.zeros(0, np.int64)])
    train = rows["train"][~np.isin(copies[rows["train"]], held_out)]
    _, first = np.unique(copies[train], return_index=True)
    return {**rows, "train": train[np.sort(first)]}
