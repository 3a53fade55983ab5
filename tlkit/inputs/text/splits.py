"""Which texts are for training and which for validation."""

from __future__ import annotations

import numpy as np

from tlkit.inputs.splits import ClassWords, split_labelled, time_split
from tlkit.inputs.text.listing import TextListing

_WORDS = ClassWords(item="text")


def assign_splits(
    listing: TextListing, copies: np.ndarray, val_fraction: float, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Give every text its split, and leave empty texts out of training.

    Texts without a split of their own are divided by time where they have times, by group where they have groups, or
    else so that copies of a text stay on one side; stratified by label or labels except by time. Held-out parts that
    the user brought keep their empty texts: a model in use meets such texts too.

    Args:
        listing: the texts.
        copies: what `tlkit.inputs.text.findings.copy_numbers` gives for them.
        val_fraction: part for validation, between 0 and 1.
        seed: of the split.

    Returns:
        Split -> row numbers, int64, ascending; and the rows of empty texts that were left out.

    Raises:
        ConfigError: `val_fraction` is not usable.
        DataError: the texts cannot be divided so.
    """
    splits = np.asarray(listing.splits, object)
    undecided = np.array([split is None for split in listing.splits], bool)
    empty = np.array([not text.strip() for text in listing.texts], bool)
    dropped = empty & (undecided | (splits == "train"))
    rows = {name: np.flatnonzero((splits == name) & ~dropped) for name in ("train", "val", "test")}
    rows = {name: own for name, own in rows.items() if len(own)}
    divided = np.flatnonzero(undecided & ~dropped)
    if len(divided):
        train, val = _divide(listing, divided, copies, val_fraction, seed)
        rows = {"train": divided[train], "val": divided[val], **rows}
    return rows, np.flatnonzero(dropped)


def _divide(
    listing: TextListing, rows: np.ndarray, copies: np.ndarray, val_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    chosen = rows.tolist()
    if listing.times:
        return time_split([listing.times[row] for row in chosen], val_fraction, [listing.places[row] for row in chosen])
    groups = np.asarray([listing.groups[row] for row in chosen]) if listing.groups else None
    labels = [listing.labels[row] for row in chosen]
    return split_labelled(labels, copies[rows], groups, val_fraction, seed, _WORDS)
