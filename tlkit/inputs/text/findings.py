"""What is odd about a set of texts: empty ones, copies, copies on both sides of a split, copies that disagree."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.inputs.copies import find_copies, first_alike
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
    # By digest: the normalized texts together would take as much memory as the texts.
    return first_alike([hashlib.blake2b(normalized(text).encode("utf-8"), digest_size=16).digest() for text in texts])


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
    empty = {name: own[~full[own]] for name, own in rows.items()}
    empty = {"train": dropped, **{name: found for name, found in empty.items() if name != "train"}}
    examples = {"empty": [listing.places[row] for found in empty.values() for row in found.tolist()][:_SHOWN]}
    found = find_copies({name: own[full[own]] for name, own in rows.items()}, copies, listing.labels)

    def say(kind: str, row: int, twin: int) -> str:
        return f"{listing.places[row]} = {listing.places[twin]}: {listing.texts[row][:80]!r}"

    examples = {kind: shown for kind, shown in examples.items() if shown} | found.examples(copies, say)
    counts = {name: len(rows_of) for name, rows_of in empty.items()}
    return TextReport(counts, len(found.repeated), found.leaks, len(found.disagreeing), examples)
