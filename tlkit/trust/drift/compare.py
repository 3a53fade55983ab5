"""Compare later data with the baseline of an export."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.errors import ConfigError, DataError
from tlkit.export.baseline import FEWEST, Baseline
from tlkit.export.sketch import Bins, Sketch, Source, coarser, grouped, stability_index
from tlkit.trust.drift.statistics import Tested, adjusted, homogeneity, kolmogorov_smirnov, mean_discrepancy

ALPHA, PSI = 0.05, 0.02
_SAID = 3  # categories of a change
_LARGEST_PSI = 100.0


@dataclasses.dataclass(frozen=True)
class Compared:
    """One statistic of the baseline and of later data.

    Attributes:
        name: of the statistic.
        source: what it is about.
        items: of the later data that it is from.
        method: the test; empty where nothing could be tested.
        statistic: of the test.
        p: its p-value.
        adjusted: the p-value, corrected for how many statistics were tested.
        psi: the population stability index; None for embeddings.
        drifted: whether it is above the thresholds.
        change: what changed, for people.
        skipped: why nothing could be tested.
        groups: label, share in the baseline and share in the later data, of each group of values.
        unit: of numbers.
    """

    name: str
    source: Source
    items: int
    method: str = ""
    statistic: float = 0.0
    p: float = 1.0
    adjusted: float = 1.0
    psi: float | None = None
    drifted: bool = False
    change: str = ""
    skipped: str = ""
    groups: tuple[tuple[str, float, float], ...] = ()
    unit: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain = dataclasses.asdict(self)
        plain["groups"] = [{"values": label, "baseline": e, "data": a} for label, e, a in self.groups]
        return plain


@dataclasses.dataclass(frozen=True)
class Drift:
    """How later data differ from the baseline.

    Attributes:
        items: of the later data.
        dropped: items that a monitor had no time for.
        unusable: items that the export cannot take.
        baseline_items: of the baseline.
        split: of the baseline.
        alpha, psi: the thresholds.
        compared: each statistic, those that drifted first.
    """

    items: int
    dropped: int
    unusable: int
    baseline_items: int
    split: str
    alpha: float
    psi: float
    compared: Sequence[Compared]

    @property
    def drifted(self) -> list[Compared]:
        """The statistics that are above the thresholds."""
        return [one for one in self.compared if one.drifted]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "drifted": [one.name for one in self.drifted],
            "items": self.items,
            "dropped": self.dropped,
            "unusable": self.unusable,
            "baseline": {"items": self.baseline_items, "split": self.split},
            "alpha": self.alpha,
            "psi": self.psi,
            "statistics": [one.to_dict() for one in self.compared],
        }


def check_thresholds(alpha: float, psi: float) -> None:
    """Refuse thresholds that mean nothing.

    Raises:
        ConfigError: one is out of range.
    """
    if not 0 < alpha < 1:
        raise ConfigError("--alpha is out of range", received=alpha, allowed="above 0 and below 1")
    if not (math.isfinite(psi) and 0 <= psi <= _LARGEST_PSI):
        raise ConfigError("--psi is out of range", received=psi, allowed=f"0 to {_LARGEST_PSI:g}")


def compare(baseline: Baseline, sketch: Sketch, *, alpha: float = ALPHA, psi: float = PSI, unusable: int = 0) -> Drift:
    """Test each statistic, and correct the p-values for how many there are.

    A statistic has drifted if its corrected p-value is below `alpha` and its stability index is at least `psi`: with
    many items, a change is significant long before it matters.

    Args:
        baseline: of an export.
        sketch: of later data.
        alpha: a corrected p-value below it is significant.
        psi: the smallest stability index that matters.
        unusable: items that the export could not take.

    Raises:
        ConfigError: a threshold is out of range.
        DataError: there are fewer than 30 items.
    """
    check_thresholds(alpha, psi)
    if sketch.items < FEWEST:
        raise DataError(
            "there are too few items: neither histograms nor shares nor embeddings can be compared",
            received=sketch.items,
            allowed=f"{FEWEST} or more",
            fix="collect more items",
        )
    found: list[Compared] = []
    for bins in baseline.bins:
        expected, actual = baseline.sketch.counts[bins.name], sketch.counts.get(bins.name)
        found += _compared(bins, expected, np.zeros_like(expected) if actual is None else actual)
    if baseline.landmarks is not None:
        found.append(_embeddings(baseline, sketch))
    tested = [place for place, one in enumerate(found) if not one.skipped]
    corrected = adjusted(np.array([found[place].p for place in tested]))
    for place, value in zip(tested, corrected.tolist(), strict=True):
        one = found[place]
        drifted = value < alpha and (one.psi is None or one.psi >= psi)
        found[place] = dataclasses.replace(one, adjusted=value, drifted=drifted)
    order = sorted(found, key=lambda one: (not one.drifted, bool(one.skipped), one.adjusted, -(one.psi or 0)))
    return Drift(
        sketch.items, sketch.dropped, unusable, baseline.sketch.items, baseline.split, alpha, psi, tuple(order)
    )


def _compared(bins: Bins, expected: np.ndarray, actual: np.ndarray) -> list[Compared]:
    """Compare one statistic; of numbers also how many are missing, where some are."""
    if not bins.is_number:
        return [_tested(bins, expected, actual, homogeneity)]
    found = [_tested(bins, expected, actual, kolmogorov_smirnov)]
    missing = [np.array([counts[:-1].sum(), counts[-1]]) for counts in (expected, actual)]
    if missing[0][1] or missing[1][1]:
        own = Bins(f"{bins.name} is missing", bins.source, names=("no", "yes"))
        before, after = (np.append(counts, [0, 0]) for counts in missing)
        found.append(_tested(own, before, after, homogeneity))
    return found


def _tested(bins: Bins, expected: np.ndarray, actual: np.ndarray, test: Any) -> Compared:
    used = slice(0, -1) if bins.is_number else slice(None)
    known, items = int(expected[used].sum()), int(actual[used].sum())
    for count, where in ((known, "the baseline"), (items, "the data")):
        if count < FEWEST:
            said = f"not estimated: {where} has {count} values, and {FEWEST} are needed"
            return Compared(bins.name, bins.source, items, skipped=said, unit=bins.unit)
    result: Tested = test(expected[used], actual[used])
    groups = grouped(bins, expected)
    coarse = coarser(groups, expected, actual)
    shares = _shares(_labels(bins, groups), *coarse)
    return Compared(
        bins.name,
        bins.source,
        items,
        method=result.method,
        statistic=result.statistic,
        p=result.p,
        psi=stability_index(*coarse),
        change=_change(bins, expected, actual, shares),
        groups=shares,
        unit=bins.unit,
    )


def _embeddings(baseline: Baseline, sketch: Sketch) -> Compared:
    assert baseline.landmarks is not None
    if sketch.embeddings < FEWEST:
        said = f"not estimated: {sketch.embeddings} embeddings were computed, and {FEWEST} are needed"
        return Compared("embedding", "embedding", sketch.embeddings, skipped=said)
    result = mean_discrepancy(baseline.landmarks, sketch.likeness, sketch.embeddings)
    change = f"squared discrepancy {result.statistic:.3g}"
    return Compared("embedding", "embedding", sketch.embeddings, *result, change=change)


def _labels(bins: Bins, groups: np.ndarray) -> list[str]:
    """Return what each group holds, for people."""
    if not bins.is_number:
        return list(bins.labels)
    labels, names = [], bins.labels
    for group in range(int(groups.max()) + 1):
        places = np.flatnonzero(groups == group)
        if not len(places):
            labels.append("")
            continue
        first, last = int(places[0]), int(places[-1])
        low = f"{bins.edges[first - 1]:.4g}" if first else ""
        if first == last:
            labels.append(names[first])
        elif last == len(bins.edges):
            labels.append(f"above {low}" if low else "all")
        else:
            high = f"{bins.edges[last]:.4g}"
            labels.append(f"{low} to {high}" if low else f"up to {high}")
    return labels


def _shares(labels: Sequence[str], expected: np.ndarray, actual: np.ndarray) -> tuple[tuple[str, float, float], ...]:
    e, a = expected / max(expected.sum(), 1), actual / max(actual.sum(), 1)
    return tuple(
        (label, round(float(one), 6), round(float(other), 6))
        for label, one, other in zip(labels, e, a, strict=True)
        if one or other
    )


def _change(bins: Bins, expected: np.ndarray, actual: np.ndarray, shares: Sequence[tuple[str, float, float]]) -> str:
    """Say what changed: medians, or the shares that differ most."""
    if bins.is_number:
        unit = f" {bins.unit}" if bins.unit else ""
        return f"median {_median(bins, expected)} -> {_median(bins, actual)}{unit}"
    most = sorted(shares, key=lambda one: -abs(one[2] - one[1]))[:_SAID]
    return ", ".join(f"{label} {e:.1%} -> {a:.1%}" for label, e, a in most if e != a)


def _median(bins: Bins, counts: np.ndarray) -> str:
    place = int(np.searchsorted(np.cumsum(counts[:-1]), counts[:-1].sum() / 2))
    if place == 0:
        return bins.labels[0]
    if place == len(bins.edges):
        return bins.labels[place]
    low, high = bins.edges[place - 1], bins.edges[place]
    return f"{high if np.nextafter(low, np.inf) == high else (low + high) / 2:.4g}"
