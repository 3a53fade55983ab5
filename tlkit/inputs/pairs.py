"""Candidates for pairs of items that are alike, without comparing all with all."""

from __future__ import annotations

import itertools

import numpy as np

_MOST_EACH = 50  # items of a bucket that are compared with all others in it


def joined_by_buckets(signatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of items that agree in all numbers of at least one band (locality-sensitive hashing).

    Args:
        signatures: uint32 [n, bands, rows].

    Returns:
        `left` and `right`, int64 [m], `left` before `right`, each pair once. In a bucket of more than 50 items, each
        item is paired with the first and the one before it.
    """
    count, bands, _ = signatures.shape
    found: set[int] = set()
    for band in range(bands):
        keys = np.ascontiguousarray(signatures[:, band]).view([("", signatures.dtype)] * signatures.shape[2]).ravel()
        order = np.argsort(keys, kind="stable")
        for part in np.split(order, np.flatnonzero(keys[order][1:] != keys[order][:-1]) + 1):
            bucket = part.tolist()
            if len(bucket) < 2:
                continue
            if len(bucket) <= _MOST_EACH:
                found.update(a * count + b for place, a in enumerate(bucket) for b in bucket[place + 1 :])
            else:
                found.update(bucket[0] * count + b for b in bucket[1:])
                found.update(a * count + b for a, b in itertools.pairwise(bucket))
    pairs = np.array(sorted(found), np.int64)
    return pairs // max(count, 1), pairs % max(count, 1)


def joined_by_products(
    vectors: np.ndarray, least: float, others: np.ndarray | None = None, block: int = 4096
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of different rows whose cosine is at least `least`, compared block by block.

    Args:
        vectors: float32 [n, d], of length 1.
        least: the smallest cosine.
        others: float32 [n, d], of length 1: the same items seen otherwise; `vectors` when left out.
        block: rows that are compared at once; memory grows with its square.

    Returns:
        Two rows of each pair, int64 [m] each; in any order, and twice where `others` are given.
    """
    right = vectors if others is None else others
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(vectors), block):
        own = vectors[start : start + block]
        for other in range(start if others is None else 0, len(right), block):
            products = own @ right[other : other + block].T
            if products.max() < least:  # nearly all of them
                continue
            pairs = np.argwhere(products >= least) + np.array([start, other])
            found.append(pairs[pairs[:, 0] < pairs[:, 1]] if others is None else pairs[pairs[:, 0] != pairs[:, 1]])
    both = np.concatenate(found)
    return both[:, 0], both[:, 1]
