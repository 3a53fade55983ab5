"""Counts of what a model is given and answers: small, the same size for any number of items, and they add up.

NumPy alone: the process that holds a server's models, its front and the commands all use them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np

Source = Literal["input", "prediction", "embedding"]
OTHER, MISSING = "(other)", "(missing)"
_EDGES = 40  # bins of a number
_RARE = 0.01  # of the items: names that fewer have share a bin
_FEWEST = 5  # items, likewise


@dataclasses.dataclass(frozen=True)
class Bins:
    """How the values of one statistic are counted.

    A number falls into the first bin whose upper edge is not below it; the last bin has none. A name has a bin of its
    own, or shares that of all others. The bin after these is of missing values.

    Args:
        name: of the statistic.
        source: what it is about.
        edges: rising upper edges, in the unit; empty for names.
        names: categories, empty for numbers.
        unit: of numbers, for people.
    """

    name: str
    source: Source
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    unit: str = ""

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers."""
        return bool(self.edges)

    @property
    def size(self) -> int:
        """How many bins there are, with that of missing values."""
        return (len(self.edges) if self.is_number else len(self.names)) + 2

    @property
    def labels(self) -> tuple[str, ...]:
        """What each bin holds, for people."""
        if not self.is_number:
            return (*self.names, OTHER, MISSING)
        edges = [f"{edge:.4g}" for edge in self.edges]
        between = []
        for low, high in itertools.pairwise(range(len(edges))):
            alone = np.nextafter(self.edges[low], np.inf) == self.edges[high]
            between.append(edges[high] if alone else f"{edges[low]} to {edges[high]}")
        first = f"below {edges[1]}" if between and between[0] == edges[1] else f"up to {edges[0]}"
        return (first, *between, f"above {edges[-1]}", MISSING)

    def count(self, values: np.ndarray) -> np.ndarray:
        """Return how many values fall into each bin, int64 [size].

        Args:
            values: float [n] with NaN where it is missing, or str objects [n], "" where it is missing.
        """
        missing = self.size - 1
        if self.is_number:
            numbers = np.asarray(values, np.float64)
            places = np.where(np.isnan(numbers), missing, np.searchsorted(self.edges, numbers, side="left"))
        else:
            known = {name: place for place, name in enumerate(self.names)} | {"": missing}
            places = np.fromiter((known.get(value, missing - 1) for value in values.tolist()), np.int64, len(values))
        return np.bincount(places, minlength=self.size).astype(np.int64)


def bins_of(name: str, source: Source, values: np.ndarray, *, names: Sequence[str] = (), unit: str = "") -> Bins:
    """Choose the bins of a statistic.

    Numbers: between up to 40 quantiles. Names: each that at least one in a hundred items has, and no fewer than five:
    the share of a rarer name is too uncertain to be compared.

    Args:
        name: of the statistic.
        source: what it is about.
        values: as for `Bins.count`.
        names: categories that get a bin in any case.
        unit: of numbers.
    """
    if values.dtype == object:
        found, counts = np.unique(values[values != ""].astype(str), return_counts=True)
        order = np.argsort(-counts, kind="stable")
        least = max(_FEWEST, _RARE * len(values))
        often = [str(found[place]) for place in order if counts[place] >= least]
        return Bins(name, source, names=tuple(dict.fromkeys((*names, *often))))
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return Bins(name, source, edges=(0.0,), unit=unit)
    places = np.linspace(0, 1, _EDGES + 1)[1:-1]
    edges = np.unique(np.quantile(known, places, method="inverted_cdf"))
    if edges[0] == known.min():  # a value that many have: what is below it is something else
        edges = np.concatenate([[np.nextafter(edges[0], -np.inf)], edges])
    return Bins(name, source, edges=tuple(edges.tolist()), unit=unit)


@dataclasses.dataclass(frozen=True, eq=False)
class Landmarks:
    """A few embeddings that others are compared with: an embedding becomes its likeness to each of them.

    Two samples differ by the distance of their mean likenesses. That is the maximum mean discrepancy (Gretton et al.
    2012, JMLR 13) of the kernel `sum_j k(x, z_j) k(y, z_j)`, where k is Gaussian; Jitkrittum et al. 2016, arXiv
    1605.06796, test at such locations. Sums of likenesses are all that has to be kept.

    Args:
        points: embeddings z of length 1, float32 [J, F].
        width: squared width of the Gaussian kernel.
        mean: of the likenesses of the baseline's items, float64 [J].
        covariance: of them, float64 [J, J].
        items: how many these are from.
    """

    points: np.ndarray
    width: float
    mean: np.ndarray
    covariance: np.ndarray
    items: int

    def likenesses(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings float [n, F] -> their likeness to each landmark, float64 [n, J], 0 to 1."""
        squares = 2 - 2 * (unit_length(embeddings) @ self.points.T)
        return np.exp(-np.maximum(squares, 0).astype(np.float64) / (2 * self.width))


def landmarks_of(embeddings: np.ndarray, most: int = 64) -> Landmarks:
    """Choose landmarks among embeddings, and describe the others by them.

    Args:
        embeddings: float [n, F], n from 8, in random order; the first ones, up to a quarter, become landmarks.
        most: how many.
    """
    count = min(most, len(embeddings) // 4)
    points = unit_length(embeddings[:count]).astype(np.float16).astype(np.float32)  # as they are written
    squares = 2 - 2 * (points @ points.T)[np.triu_indices(count, 1)]
    width = max(float(np.median(squares)) if count > 1 else 1.0, 1e-6) / 2
    likenesses = Landmarks(points, width, np.zeros(count), np.zeros((count, count)), 0).likenesses(embeddings[count:])
    return Landmarks(
        points, width, likenesses.mean(0), np.atleast_2d(np.cov(likenesses, rowvar=False)), len(likenesses)
    )


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Return vectors [n, F] of length 1, float32; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: np.ndarray = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found


@dataclasses.dataclass(eq=False)
class Sketch:
    """Counts of a number of items.

    Args:
        items: how many were counted.
        counts: statistic -> count of each of its bins, int64.
        embeddings: how many embeddings were compared with the landmarks.
        likeness: the sum of their likenesses, float64 [J]; empty where there are none.
        dropped: items that were left out to save time.
    """

    items: int = 0
    counts: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    embeddings: int = 0
    likeness: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    dropped: int = 0

    def add(self, bins: Iterable[Bins], values: Mapping[str, np.ndarray]) -> None:
        """Count the values [n] of statistics; those without values are left as they are."""
        for one in bins:
            if one.name in values:
                found = one.count(values[one.name])
                self.counts[one.name] = self.counts[one.name] + found if one.name in self.counts else found

    def add_likeness(self, likenesses: np.ndarray) -> None:
        """Add likenesses to landmarks, float64 [n, J]."""
        self.embeddings += len(likenesses)
        total = likenesses.sum(0)
        self.likeness = self.likeness + total if len(self.likeness) else total

    def merge(self, other: Sketch) -> None:
        """Add the counts of other items."""
        self.items += other.items
        self.dropped += other.dropped
        for name, found in other.counts.items():
            self.counts[name] = self.counts[name] + found if name in self.counts else found.copy()
        self.embeddings += other.embeddings
        if len(other.likeness):
            self.likeness = self.likeness + other.likeness if len(self.likeness) else other.likeness.copy()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "items": self.items,
            "dropped": self.dropped,
            "counts": {name: found.tolist() for name, found in self.counts.items()},
            "embeddings": self.embeddings,
            "likeness": [float(f"{value:.9g}") for value in self.likeness],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], bins: Iterable[Bins], landmarks: int) -> Self:
        """Return the counts from the values of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: they are none, or of other bins.
        """
        sizes = {one.name: one.size for one in bins}
        counts = {name: np.asarray(found, np.int64) for name, found in plain["counts"].items()}
        likeness = np.asarray(plain["likeness"], np.float64)
        if any(found.shape != (sizes[name],) or (found < 0).any() for name, found in counts.items()):
            raise ValueError("counts of other bins")
        if len(likeness) not in (0, landmarks):
            raise ValueError("likenesses to other landmarks")
        numbers = [int(plain[name]) for name in ("items", "embeddings", "dropped")]
        return cls(numbers[0], counts, numbers[1], likeness, numbers[2])


def stability_index(expected: np.ndarray, actual: np.ndarray) -> float:
    """Return the population stability index (PSI) of two histograms with the same bins: 0 for the same shares.

    `sum (a - e) ln(a / e)` over the shares e and a of each bin (Kullback's divergence both ways, added). Half an item
    is added to each bin, so that an empty one gives a finite number. Bins that are empty in both are left out.

    >>> round(stability_index(np.array([500, 500]), np.array([667, 333])), 3)
    0.116
    """
    used = (expected + actual) > 0
    e, a = (np.asarray(counts, np.float64)[used] + 0.5 for counts in (expected, actual))
    e, a = e / e.sum(), a / a.sum()
    return float(((a - e) * np.log(a / e)).sum())


def grouped(bins: Bins, expected: np.ndarray, most: int = 10) -> np.ndarray:
    """Return the number of the group of each bin: neighbours are joined until each has a tenth of what was expected.

    Args:
        bins: of the histogram; each name and the missing values are groups of their own.
        expected: counts of each bin.
        most: groups of numbers.

    Returns:
        int64 [size]; of numbers without the bin of missing values.
    """
    if not bins.is_number:
        return np.arange(bins.size)
    counts = expected[:-1]
    middle = np.cumsum(counts) - counts / 2
    return np.minimum((most * middle / max(int(counts.sum()), 1)).astype(np.int64), most - 1)


def coarser(groups: np.ndarray, *histograms: np.ndarray) -> list[np.ndarray]:
    """Return histograms of groups; what no group has is left out."""
    count = int(groups.max()) + 1
    return [np.bincount(groups, counts[: len(groups)], count) for counts in histograms]
