"""Images that are nearly the same: resized, compressed again, or cut a little at the edges."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from tlkit.inputs.examined import Pairs
from tlkit.inputs.pairs import joined_by_products

SIDE = 64  # pixels of the small grey images that are compared
_COARSE = 8  # pixels each way, for the choice of candidates
_LEAST_COARSE = 0.92  # correlation of two coarse images from which on they are compared closely
_COARSE_CUTS = ((64, 0, 0), (61, 1, 1), (58, 3, 3), (61, 0, 0), (61, 0, 3), (61, 3, 0), (61, 3, 3))  # size, top, left
_LEAST_FEATURES = 0.93  # cosine of two centred feature vectors, likewise
_FLAT = 4.0  # grey levels: images with a smaller spread are not compared
_FINE = 32
_BLOCK = 4096  # images at once
_WINDOWS = (64, 62, 61, 60, 58, 56)  # pixels that a cut leaves
_MOST = 20_000  # pairs that are compared closely


def near_images(small: np.ndarray, features: np.ndarray | None = None, least: float = 0.97) -> Pairs:
    """Find pairs of images that show the same picture.

    Candidates agree at 8 x 8 pixels, one of them cut or not, or in the features of a network. A pair is one where
    the correlation of the grey values at 32 x 32 pixels reaches `least`, for the best of some cuts of either image.

    Args:
        small: uint8 [n, 64, 64], grey images, squashed.
        features: float [n, F] of a pretrained network; more candidates.
        least: smallest correlation.

    Returns:
        Pairs with `left` before `right`; the similarity is the correlation.
    """
    starts = range(0, len(small), _BLOCK)
    spreads = [small[start : start + _BLOCK].reshape(-1, SIDE**2).std(1, dtype=np.float32) for start in starts]
    rows = np.flatnonzero(np.concatenate([np.zeros(0, np.float32), *spreads]) >= _FLAT)
    plain = _coarse(small, rows, SIDE, 0, 0)
    found = []
    for size, y, x in _COARSE_CUTS:
        a, b = joined_by_products(plain, _LEAST_COARSE, _coarse(small, rows, size, y, x))
        found.append(np.stack([rows[a], rows[b]], 1))
    if features is not None:
        centred = features[rows].astype(np.float32) - features[rows].mean(0, dtype=np.float32)
        centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
        a, b = joined_by_products(centred, _LEAST_FEATURES)
        found.append(np.stack([rows[a], rows[b]], 1))
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    if len(pairs) > _MOST:  # the most likely ones
        unit = np.zeros((len(small), plain.shape[1]), np.float32)
        unit[rows] = plain
        alike = np.einsum("ij,ij->i", unit[pairs[:, 0]], unit[pairs[:, 1]])
        pairs = pairs[np.sort(np.argsort(-alike)[:_MOST])]
    similarity = np.array([correlation(small[a], small[b]) for a, b in pairs.tolist()], np.float64)
    kept = similarity >= least
    return Pairs(pairs[kept, 0], pairs[kept, 1], similarity[kept])


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest correlation of two grey images, uint8 [64, 64], over some cuts of either."""
    return max(
        float((_cut(a.astype(np.float32)) @ _plain(b.astype(np.float32))).max())
        for a, b in ((one, other), (other, one))
    )


def _coarse(small: np.ndarray, rows: np.ndarray, size: int, y: int, x: int) -> np.ndarray:
    """Return a window of images at 8 x 8 pixels, of mean 0 and length 1: float32 [m, 64]."""
    down, across = _scaling(size, y, _COARSE), _scaling(size, x, _COARSE)
    parts = [
        (down @ small[rows[start : start + _BLOCK]].astype(np.float32) @ across.T).reshape(-1, _COARSE**2)
        for start in range(0, len(rows), _BLOCK)
    ]
    return _unit(np.concatenate([np.zeros((0, _COARSE**2), np.float32), *parts]))


def _plain(image: np.ndarray) -> np.ndarray:
    return _unit((_scaling(SIDE, 0) @ image @ _scaling(SIDE, 0).T).reshape(1, -1))[0]


def _cut(image: np.ndarray) -> np.ndarray:
    """Return the cuts of an image at one size, of mean 0 and length 1: float32 [cuts, pixels]."""
    across = _all_scalings()
    columns = image @ across.transpose(0, 2, 1)  # [windows, SIDE, FINE]
    cuts = [across[y] @ columns[x] for y, x in _places()]
    return _unit(np.stack(cuts).reshape(len(cuts), -1))


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def _windows() -> Iterator[tuple[int, int]]:
    for size in _WINDOWS:
        for start in sorted({0, (SIDE - size) // 2, SIDE - size}):
            yield size, start


@functools.cache
def _places() -> tuple[tuple[int, int], ...]:
    """Pairs of windows, down and across, of the same size."""
    windows = list(_windows())
    return tuple((y, x) for y, (high, _) in enumerate(windows) for x, (wide, _) in enumerate(windows) if high == wide)


@functools.cache
def _all_scalings() -> np.ndarray:
    return np.stack([_scaling(size, start) for size, start in _windows()])


@functools.cache
def _scaling(size: int, start: int, count: int = _FINE) -> np.ndarray:
    """Return the matrix that averages a window of a line into `count` pixels: float32 [count, SIDE]."""
    edges = start + np.linspace(0, size, count + 1)
    pixels = np.arange(SIDE)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shares = np.maximum(covered, 0)
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)
