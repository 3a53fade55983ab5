"""Groups of items on which a model is worse than on the others, by a test that is corrected for how many were tried."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.report.regression import figure

FEWEST = 20  # items of a slice, and outside it
FEWEST_ITEMS = 30  # of all
LEVEL = 0.05
_FEW_VALUES = 8  # different numbers that are slices of their own
_QUANTILES = (0.25, 0.5, 0.75)
_MOST_NAMES = 50  # of a column
_NAME = 40  # characters


@dataclasses.dataclass(frozen=True)
class Slice:
    """Items on which the model is worse.

    Attributes:
        column: the property that they share.
        value: what it is for them, in words.
        n: how many they are.
        error: their mean error.
        rest: the mean error of the other items.
        p: chance of such a difference where there is none, corrected for the number of slices.
        target: what is predicted; empty for a single target.
        is_rate: whether errors are rates of wrong predictions, and not of a size.
    """

    column: str
    value: str
    n: int
    error: float
    rest: float
    p: float
    target: str = ""
    is_rate: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)

    @property
    def words(self) -> str:
        """Say it in one line."""
        said = f"{self.column} {self.value}"
        if self.is_rate:
            return f"{said}: {self.error:.0%} of {self.n:,} wrong, {self.rest:.0%} elsewhere"
        return f"{said}: mean error {figure(self.error)} on {self.n:,}, {figure(self.rest)} elsewhere"


@dataclasses.dataclass(frozen=True)
class SliceTests:
    """What a search for slices found.

    Attributes:
        found: the slices that are significantly worse, the clearest first.
        tested: how many were compared.
        skipped: why nothing could be compared; empty where it could.
    """

    found: tuple[Slice, ...] = ()
    tested: int = 0
    skipped: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"found": [one.to_dict() for one in self.found], "tested": self.tested, "skipped": self.skipped}


@dataclasses.dataclass(frozen=True, eq=False)
class ErrorsOf:
    """The errors of one target.

    Attributes:
        errors: float [n]; NaN where there is none.
        is_rate: whether they are 0 and 1.
        target: the target's name; empty for a single one.
    """

    errors: npt.NDArray[np.float64]
    is_rate: bool
    target: str = ""


def worst_slices(
    errors: list[ErrorsOf], columns: Mapping[str, npt.NDArray[Any]], *, fewest: int = FEWEST, level: float = LEVEL
) -> SliceTests:
    """Find the slices with a significantly higher error than the other items.

    Numbers are divided at their quartiles, names make a slice each. Rates are compared by Fisher's exact test, sizes by
    the Mann-Whitney test, one-sided. Holm's correction (1979) over all slices, columns and targets keeps the chance of
    any false one below `level`, however the slices overlap.

    Example:
        >>> wrong = np.repeat([1.0, 0.0], [20, 80])
        >>> night = np.repeat(["night", "day"], [20, 80]).astype(object)
        >>> worst_slices([ErrorsOf(wrong, True)], {"time": night}).found[0].words
        'time night: 100% of 20 wrong, 0% elsewhere'

    Args:
        errors: of each target, float [n].
        columns: property -> float [n] with NaN where it is missing, or str objects [n], "" where it is missing.
        fewest: items that a slice must have, and that must be outside it.
        level: chance of a false slice.
    """
    count = len(errors[0].errors) if errors else 0
    if count < FEWEST_ITEMS:
        return SliceTests(skipped=f"groups cannot be compared: {count} items, {FEWEST_ITEMS} are needed")
    tested: list[tuple[float, Slice]] = []
    for one in errors:
        known = np.isfinite(one.errors)
        for column, values in columns.items():
            for words, inside in _slices_of(values):
                own, rest = one.errors[inside & known], one.errors[~inside & known]
                if min(len(own), len(rest)) < fewest:
                    continue
                p = _fisher(own, rest) if one.is_rate else _mann_whitney(own, rest)
                means = float(own.mean()), float(rest.mean())
                tested.append((p, Slice(column, words, len(own), *means, p, one.target, one.is_rate)))
    if not tested:
        return SliceTests(skipped=f"groups cannot be compared: no property has {fewest} items on both sides")
    corrected = holm([p for p, _ in tested])
    found = [
        dataclasses.replace(one, p=float(p))
        for (_, one), p in zip(tested, corrected, strict=True)
        if p <= level and one.error > one.rest
    ]
    return SliceTests(tuple(sorted(found, key=lambda one: one.p)), len(tested))


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return p-values corrected by Holm's method, float64 [m].

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected


def _slices_of(values: npt.NDArray[Any]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield slices of a property, each with its description."""
    if values.dtype == object:
        names, counts = np.unique(values.astype(str), return_counts=True)
        for place in np.argsort(-counts, kind="stable")[:_MOST_NAMES]:
            name = str(names[place])
            shown = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
            yield (f"“{shown}”" if name else "missing"), values == name
        return
    missing = ~np.isfinite(values)
    if missing.any():
        yield "missing", missing
    different = np.unique(values[~missing])
    if len(different) <= _FEW_VALUES:
        for value in different:
            yield figure_of(float(value)), values == value
        return
    edges = np.quantile(values[~missing], _QUANTILES)
    numbers = np.where(missing, -1, np.searchsorted(edges, values, side="left"))
    for number in range(len(edges) + 1):
        inside = numbers == number
        if inside.any():
            yield f"{figure_of(values[inside].min())} to {figure_of(values[inside].max())}", inside


def figure_of(value: float) -> str:
    """Write a number shortly.

    >>> figure_of(12.0), figure_of(0.12345)
    ('12', '0.1234')
    """
    return f"{value:,.0f}" if value == round(value) else f"{value:,.4g}" if abs(value) >= 1e-3 else f"{value:.3g}"


def _fisher(own: npt.NDArray[np.float64], rest: npt.NDArray[np.float64]) -> float:
    """Return the chance of so many errors in a slice, given those of all (Fisher's exact test, one-sided)."""
    from scipy.stats import hypergeom

    wrong = int(own.sum())
    return float(hypergeom.sf(wrong - 1, len(own) + len(rest), wrong + int(rest.sum()), len(own)))


def _mann_whitney(own: npt.NDArray[np.float64], rest: npt.NDArray[np.float64]) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(own, rest, alternative="greater", method="asymptotic").pvalue)
