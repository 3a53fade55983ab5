"""Texts that are nearly the same: MinHash over runs of five bytes, then their exact share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkit.inputs.examined import Pairs
from tlkit.inputs.pairs import joined_by_buckets

_RUN = 5  # bytes; they fit into 40 bits, so that a run is its own number
_BANDS, _ROWS = 20, 5
_SHORTEST = 24  # bytes; shorter texts agree by chance
_CHUNK = 4_000_000  # runs at once


def near_texts(texts: Sequence[str], least: float = 0.8) -> Pairs:
    """Find pairs of texts that share most of their runs of five bytes (Broder 1997, "resemblance" by min-wise hashing).

    Texts in a pair may be equal. A pair that shares `least` of its runs is missed with a probability below 0.001.

    Args:
        texts: in one form, such as lower case with single spaces.
        least: share of the runs of both that both have (Jaccard).

    Returns:
        Pairs with `left` before `right`; of many texts that are alike, each is in at least one pair with the others.
    """
    runs = [_runs(text) for text in texts]
    long = np.array([row for row, own in enumerate(runs) if len(own) > _SHORTEST - _RUN], np.int64)
    factors = np.random.default_rng(0).integers(0, 2**63, _BANDS * _ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    signatures = np.zeros((len(long), len(factors)), np.uint32)
    start = 0
    while start < len(long):
        end, size = start, 0
        while end < len(long) and (end == start or size + len(runs[long[end]]) <= _CHUNK):
            size += len(runs[long[end]])
            end += 1
        own = [runs[row] for row in long[start:end].tolist()]
        flat = np.concatenate(own)
        begins = np.concatenate([[0], np.cumsum([len(part) for part in own])[:-1]])
        for number, factor in enumerate(factors):
            signatures[start:end, number] = np.minimum.reduceat((flat * factor) >> np.uint64(32), begins)
        start = end
    left, right = joined_by_buckets(signatures.reshape(len(long), _BANDS, _ROWS))
    left, right = long[left], long[right]
    similarity = np.array([_share(runs[a], runs[b]) for a, b in zip(left.tolist(), right.tolist(), strict=True)])
    kept = similarity >= least
    return Pairs(left[kept], right[kept], similarity[kept])


def _runs(text: str) -> np.ndarray:
    """Return the different runs of a text as numbers, uint64, rising."""
    letters = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.uint64)
    if len(letters) < _RUN:
        return np.zeros(0, np.uint64)
    count = len(letters) - _RUN + 1
    found = np.zeros(count, np.uint64)
    for place in range(_RUN):
        found |= letters[place : place + count] << np.uint64(8 * place)
    return np.unique(found)


def _share(one: np.ndarray, other: np.ndarray) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)
