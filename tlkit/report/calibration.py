"""Measure calibration: of all predictions with probability 0.8, eight in ten should be true."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.errors import ConfigError, DataError
from tlkit.report.bootstrap import FEWEST, bootstrap_intervals
from tlkit.report.plots import write_figure
from tlkit.report.table_plots import BLUE, GREY, plain_figure


@dataclasses.dataclass(frozen=True, eq=False)
class CalibrationCurve:
    """Predicted probabilities in bins of about equal size, with the fraction that was true.

    Attributes:
        of: what the probability is about.
        predicted: mean probability in each bin, float64 [m].
        observed: part of each bin that was true, float64 [m].
        low: lower end of the 95 % Wilson interval of `observed`, float64 [m].
        high: its upper end, float64 [m].
        counts: answers in each bin, int64 [m].
        ece: expected calibration error: the mean distance of observed and predicted, weighted by counts, 0..1.
        brier: Brier score: the mean square of probability minus truth, 0..1, over these answers.
        n: number of answers.
        ece_interval: ends of the 95 % interval of `ece`; None where it was not computed.
    """

    of: str
    predicted: npt.NDArray[np.float64]
    observed: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    ece: float
    brier: float
    n: int
    ece_interval: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: `of`, `ece`, `ece_interval`, `brier`, `n` and an object for each of the `bins`.

        `ece_interval` is left out where it was not computed.
        """
        keys = ("predicted", "observed", "low", "high", "counts")
        columns = [getattr(self, key).tolist() for key in keys]
        bins = [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]
        interval = {} if self.ece_interval is None else {"ece_interval": list(self.ece_interval)}
        return {"of": self.of, "ece": self.ece, **interval, "brier": self.brier, "n": self.n, "bins": bins}

    def plot(self, path: str | Path) -> Path:
        """Draw observed frequencies against predicted probabilities.

        Args:
            path: where the picture goes; folders are made.

        Returns:
            The path.

        Raises:
            ConfigError: the suffix is none of .png, .svg, .pdf.
        """
        figure, axes = plain_figure(5.4, 5.2)
        axes.plot((0, 1), (0, 1), color=GREY, linewidth=1, linestyle="--", label="perfect")
        bars = (self.observed - self.low, self.high - self.observed)
        axes.errorbar(self.predicted, self.observed, yerr=bars, color=BLUE, marker="o", capsize=3, label="model")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel(f"predicted probability: {self.of}", parse_math=False)
        axes.set_ylabel("observed frequency")
        axes.set_title(f"Calibration   ECE {self.ece:.3f}   Brier score {self.brier:.3f}")
        axes.legend(frameon=False, loc="upper left")
        return write_figure(figure, Path(path))

    def __str__(self) -> str:
        return f"calibration {self.of}: {self.figures}   n {self.n}"

    @property
    def figures(self) -> str:
        """The calibration error with its interval, and the Brier score, in one line."""
        low_high = "" if self.ece_interval is None else " (95 % {:.3f} to {:.3f})".format(*self.ece_interval)
        return f"ECE {self.ece:.3f}{low_high}   Brier score {self.brier:.3f}"


def calibration_curve(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    class_names: Sequence[str],
    *,
    bins: int = 10,
    interval: bool = False,
) -> CalibrationCurve:
    """Compare probabilities with observed frequencies (reliability diagram).

    Of two classes it is the probability of the second one; of more, that of the class that is predicted (Guo et al.
    2017, arXiv 1706.04599); where any number of labels can be true, those of all labels together. Bins hold about
    equally many answers, so that none is a matter of chance; equal probabilities stay in one bin.

    Example:
        >>> calibration_curve([[0.8, 0.2], [0.8, 0.2], [0.1, 0.9]], [0, 1, 1], ["no", "yes"], bins=2).observed
        array([0.5, 1. ])

    Args:
        probabilities: float [n, k], 0..1.
        labels: class numbers, int [n]; or 0 and 1, [n, k], where any number of labels can be true.
        class_names: k names.
        bins: how many bins at most.
        interval: whether the interval of the calibration error is computed: bootstrap over items, with bins anew for
            each of 200 to 1,000 samples, seed 0. Samples have higher errors than all items, so that the interval is
            shifted by the mean difference. Not with fewer than 30 items.

    Returns:
        A `CalibrationCurve`.

    Raises:
        ConfigError: there is not at least one bin.
        DataError: there are no rows, the shapes do not fit, or a number is no probability.
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise ConfigError("a calibration curve needs bins", received=bins, allowed="a whole number, 1 or more")
    chances, truth = np.asarray(probabilities, np.float64), np.asarray(labels)
    shape = (len(chances), len(class_names))
    if chances.shape != shape or truth.shape not in {shape, shape[:1]} or not len(chances):
        raise DataError(
            "the shapes of probabilities, labels and class names do not match",
            received=(chances.shape, truth.shape, len(class_names)),
            allowed=f"[n, {shape[1]}] and [n] or [n, {shape[1]}], n from 1",
        )
    if not ((chances >= 0) & (chances <= 1 + 1e-6)).all():
        bad = chances[~((chances >= 0) & (chances <= 1 + 1e-6))]
        raise DataError("probabilities must be between 0 and 1", received=float(bad[0]))
    of, asked, true = _answers(np.minimum(chances, 1.0), truth, class_names)
    numbers = _bins(asked, bins)
    counts = np.bincount(numbers)
    ends = _ece_interval(asked, true, len(chances), bins) if interval and len(chances) >= FEWEST else None
    predicted = np.bincount(numbers, asked) / counts
    observed = np.bincount(numbers, true) / counts
    low, high = _wilson(observed, counts)
    return CalibrationCurve(
        of=of,
        predicted=predicted,
        observed=observed,
        low=low,
        high=high,
        counts=counts,
        ece=float((counts * np.abs(observed - predicted)).sum() / len(asked)),
        brier=float(np.square(asked - true).mean()),
        n=len(asked),
        ece_interval=ends,
    )


def _answers(
    chances: npt.NDArray[np.float64], truth: npt.NDArray[Any], class_names: Sequence[str]
) -> tuple[str, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if truth.ndim == 2:
        return "of every label", chances.ravel(), (truth.ravel() > 0.5).astype(np.float64)
    if chances.shape[1] == 2:
        return f"of “{class_names[1]}”", chances[:, 1], (truth == 1).astype(np.float64)
    best = chances.argmax(axis=1)
    return "of the predicted class", chances.max(axis=1), (best == truth).astype(np.float64)


def _ece_interval(
    asked: npt.NDArray[np.float64], true: npt.NDArray[np.float64], items: int, bins: int
) -> tuple[float, float]:
    """Return the interval of the calibration error; the answers about an item are drawn together."""
    chances, right = asked.reshape(items, -1), true.reshape(items, -1)

    def measure(rows: npt.NDArray[np.int64]) -> dict[str, float | None]:
        own, hits = chances[rows].ravel(), right[rows].ravel()
        numbers = _bins(own, bins)
        gaps = np.bincount(numbers, own) - np.bincount(numbers, hits)
        return {"ece": float(np.abs(gaps).sum() / len(own))}

    _, low, high = bootstrap_intervals(measure, items, centered=True)["ece"]
    return max(float(low or 0.0), 0.0), float(high or 0.0)


def _bins(asked: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.int64]:
    """Return the bin of each prediction, from 0, without gaps."""
    # Edges are values that occur, so that equal values are in the same bin.
    places = np.arange(1, bins) * len(asked) // bins
    edges = np.unique(np.sort(asked)[places])
    numbers = np.searchsorted(edges, asked, side="right")
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def _wilson(
    part: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    z = 1.959964
    middle = (part + z**2 / (2 * counts)) / (1 + z**2 / counts)
    half = z / (1 + z**2 / counts) * np.sqrt(part * (1 - part) / counts + z**2 / (4 * counts**2))
    return np.clip(middle - half, 0.0, part), np.clip(middle + half, part, 1.0)
