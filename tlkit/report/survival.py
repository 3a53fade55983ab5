"""Metrics of predicted risks and survival curves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.errors import DataError
from tlkit.report import survival_plots
from tlkit.report.regression import figure

HEADINGS = {
    "concordance": "C-index (Harrell)",
    "ipcw_concordance": "C-index (IPCW)",
    "integrated_brier_score": "integrated Brier score",
}
_BLOCK = 512  # rows that are compared with all others at once


@dataclasses.dataclass(frozen=True, eq=False)
class SurvivalMetrics:
    """Metrics of predicted risks on a split.

    Attributes:
        name: of the target.
        concordance: part of the comparable pairs in which the one with the earlier event has the higher risk (Harrell
            et al. 1996), equal risks count half; None where no pair can be compared.
        ipcw_concordance: the same with pairs weighted by the inverse probability of censoring (Uno et al. 2011), which
            does not depend on how much is censored; None likewise.
        integrated_brier_score: mean of the Brier score over the answered times (Graf et al. 1999); None where there are
            no curves, or fewer than two of the times lie within the split's. Lower is better; a curve that is 0.5
            everywhere scores 0.25.
        events: rows whose event was seen.
        n: number of rows.
        risks, times, seen: float64 [n] each, and whether the event was seen, bool [n].
    """

    name: str
    concordance: float | None
    ipcw_concordance: float | None
    integrated_brier_score: float | None
    events: int
    n: int
    risks: npt.NDArray[np.float64] = dataclasses.field(repr=False)
    times: npt.NDArray[np.float64] = dataclasses.field(repr=False)
    seen: npt.NDArray[np.bool_] = dataclasses.field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: `metrics`, an empty `per_class`, `events` and `n`; undefined metrics are None."""
        figures = {name: getattr(self, name) for name in HEADINGS}
        return {"metrics": figures, "per_class": {}, "events": self.events, "n": self.n}

    def __getitem__(self, name: str) -> Any:
        """Return a figure, `events`, `n`, `risks`, `times` or `seen` by name."""
        if name not in {field.name for field in dataclasses.fields(self)}:
            raise KeyError(name)
        return getattr(self, name)

    def tertiles(self) -> dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], int]]:
        """Return Kaplan-Meier curves of the rows with low, middle and high risk: times, survival, and how many rows.

        A tertile without rows is left out, as where all risks are equal.
        """
        borders = np.quantile(self.risks, [1 / 3, 2 / 3])
        third = np.searchsorted(borders, self.risks, side="left")
        found = {}
        for number, name in enumerate(("low", "middle", "high")):
            own = third == number
            if own.any():
                found[name] = (*kaplan_meier(self.times[own], self.seen[own]), int(own.sum()))
        return found

    def plot(self, path: str | Path) -> Path:
        """Draw Kaplan-Meier curves by tertile of the predicted risk as a picture; returns the path."""
        title = f"{HEADINGS['concordance']} {figure(self.concordance)}   n {self.n}, {self.events} events"
        return survival_plots.plot_tertiles(self.tertiles(), title, Path(path))

    def table(self) -> Any:
        """Return the figures as a rich renderable."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(f"{self.name}   n {self.n}, {self.events} events"), min_width=44)
        table.add_column("metric")
        table.add_column("value", justify="right")
        for key, heading in HEADINGS.items():
            table.add_row(heading, figure(getattr(self, key)))
        return table

    def __str__(self) -> str:
        parts = [f"{heading} {figure(getattr(self, key))}" for key, heading in HEADINGS.items()]
        return "   ".join([f"{self.name}:", *parts, f"events {self.events}", f"n {self.n}"])


def survival_metrics(
    risks: npt.ArrayLike,
    times: npt.ArrayLike,
    seen: npt.ArrayLike,
    survival: npt.ArrayLike | None = None,
    at: Sequence[float] = (),
    name: str = "risk",
) -> SurvivalMetrics:
    """Compare risks and survival curves with times of events.

    The censoring that the weighted figures need is estimated on the same rows.

    Example:
        >>> survival_metrics([2.0, 0.5], [3.0, 9.0], [1, 0]).concordance
        1.0

    Args:
        risks: float [n]; higher is worse.
        times: of the event, or of the last observation, float [n].
        seen: 1 where the event was seen, 0 where the time is censored, [n].
        survival: probability to be without event at each of the times `at`, float [n, T]; None without curves.
        at: times of the curves, rising.
        name: of the target.

    Raises:
        DataError: there are no rows, the shapes do not fit, or a number is missing or infinite.
    """
    risk, time, event = (np.asarray(one, np.float64).ravel() for one in (risks, times, seen))
    if not len(risk) or risk.shape != time.shape or risk.shape != event.shape:
        raise DataError(
            f"the shapes of risks and times of {name!r} do not match",
            received=(risk.shape, time.shape, event.shape),
            allowed="[n]",
        )
    curves = None if survival is None or not len(at) else np.asarray(survival, np.float64)
    if curves is not None and curves.shape != (len(risk), len(at)):
        raise DataError(
            f"the shapes of the curves of {name!r} do not match",
            received=curves.shape,
            allowed=f"{(len(risk), len(at))}",
        )
    if not np.isin(event, (0.0, 1.0)).all():
        bad_event = event[~np.isin(event, (0.0, 1.0))][0]
        raise DataError(f"events of {name!r} are 1, or 0 where the time is censored", received=float(bad_event))
    if (time < 0).any():
        raise DataError(f"times of {name!r} are negative", received=float(time.min()))
    for what, numbers in (("risks", risk), ("times", time), ("curves", risk if curves is None else curves.ravel())):
        bad = np.flatnonzero(~np.isfinite(numbers))
        if len(bad):
            raise DataError(f"{len(bad)} {what} of {name!r} are not finite, the first in row {bad[0] + 1}")
    happened = event > 0.5
    free = censoring(time, happened, time)  # part that is not censored by the time of each row
    weights = np.zeros(len(free))
    counted = happened & (free > 0)
    weights[counted] = 1 / free[counted] ** 2
    return SurvivalMetrics(
        name=name,
        concordance=_concordance(risk, time, happened, np.ones(len(risk))),
        ipcw_concordance=_concordance(risk, time, happened, weights),
        integrated_brier_score=None
        if curves is None
        else _integrated_brier(curves, np.asarray(at, np.float64), time, happened, free),
        events=int(happened.sum()),
        n=len(risk),
        risks=risk,
        times=time,
        seen=happened,
    )


def kaplan_meier(
    time: npt.NDArray[np.float64], seen: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the different times, rising, and the part that is without event after each (Kaplan & Meier 1958).

    >>> [part.tolist() for part in kaplan_meier(np.array([1.0, 2.0, 3.0]), np.array([True, False, True]))]
    [[1.0, 2.0, 3.0], [0.6666666666666667, 0.6666666666666667, 0.0]]
    """
    times, place = np.unique(time, return_inverse=True)
    events = np.bincount(place, weights=seen, minlength=len(times))
    left = np.bincount(place, minlength=len(times))
    at_risk = left[::-1].cumsum()[::-1]
    return times, np.cumprod(1 - events / at_risk)


def censoring(
    time: npt.NDArray[np.float64], seen: npt.NDArray[np.bool_], at: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the part that is not yet censored at some times, float64 [m]; at equal times events come first."""
    times, place = np.unique(time, return_inverse=True)
    events = np.bincount(place, weights=seen, minlength=len(times))
    both = np.bincount(place, minlength=len(times))
    at_risk = both[::-1].cumsum()[::-1] - events
    free = np.cumprod(1 - (both - events) / np.maximum(at_risk, 1))
    return np.append(1.0, free)[np.searchsorted(times, at, side="right")]


def discordance(
    risk: npt.NDArray[np.float64], time: npt.NDArray[np.float64], seen: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return for each row the fraction of its comparable rows that are ordered wrongly; NaN where there is none.

    >>> discordance(np.array([2.0, 1.0, 3.0]), np.array([1.0, 2.0, 3.0]), np.array([True, True, False])).tolist()
    [0.5, 0.5, 1.0]
    """
    wrong, pairs = np.zeros(len(risk)), np.zeros(len(risk))
    rows = np.flatnonzero(seen)
    for start in range(0, len(rows), _BLOCK):
        own = rows[start : start + _BLOCK, None]
        later = (time > time[own]) | ((time == time[own]) & ~seen)
        bad = later * np.where(risk > risk[own], 1.0, np.where(risk == risk[own], 0.5, 0.0))
        wrong += bad.sum(0)
        pairs += later.sum(0)
        wrong[own[:, 0]] += bad.sum(1)
        pairs[own[:, 0]] += later.sum(1)
    return np.divide(wrong, pairs, out=np.full(len(risk), np.nan), where=pairs > 0)


def _concordance(
    risk: npt.NDArray[np.float64],
    time: npt.NDArray[np.float64],
    seen: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64],
) -> float | None:
    """Sum over pairs of a row with an event and one that was without event longer, weighted by the first row."""
    right = pairs = 0.0
    rows = np.flatnonzero(seen & (weights > 0))
    for start in range(0, len(rows), _BLOCK):
        own = rows[start : start + _BLOCK, None]
        later = (time > time[own]) | ((time == time[own]) & ~seen)
        lower = np.where(risk < risk[own], 1.0, np.where(risk == risk[own], 0.5, 0.0))
        right += float((weights[own] * later * lower).sum())
        pairs += float((weights[own] * later).sum())
    return right / pairs if pairs else None


def _integrated_brier(
    survival: npt.NDArray[np.float64],
    at: npt.NDArray[np.float64],
    time: npt.NDArray[np.float64],
    seen: npt.NDArray[np.bool_],
    free: npt.NDArray[np.float64],
) -> float | None:
    usable = np.flatnonzero((at >= time.min()) & (at < time.max()))
    left = censoring(time, seen, at)
    usable = usable[left[usable] > 0]
    if len(usable) < 2:
        return None
    died = np.zeros(len(free))
    counted = seen & (free > 0)
    died[counted] = 1 / free[counted]
    scores = [
        np.mean(
            survival[:, place] ** 2 * (time <= at[place]) * died
            + (1 - survival[:, place]) ** 2 * (time > at[place]) / left[place]
        )
        for place in usable
    ]
    return float(np.trapezoid(scores, at[usable]) / (at[usable[-1]] - at[usable[0]]))
