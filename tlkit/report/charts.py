"""Where the parts of a page's charts lie: pure geometry, drawn as SVG by the templates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.report.calibration import CalibrationCurve
from tlkit.report.survival import SurvivalMetrics

_LEFT, _RIGHT, TOP, BOTTOM = 48.0, 12.0, 10.0, 26.0  # pixels around the plot
_FEW = 300  # points that are drawn one by one
_BINS = 36

Tick = tuple[float, str]


@dataclasses.dataclass(frozen=True)
class Chart:
    """One chart, all numbers in pixels from the upper left corner.

    Attributes:
        kind: `"line"`, `"rows"`, `"calibration"`, `"scatter"`, `"tertiles"` or `"curves"`.
        width, height: of the whole.
        left, right, top, bottom: sides of the plot.
        x_ticks, y_ticks: places and texts; of `"rows"`, the y ticks are the categories.
        line: points of the line, as SVG has them.
        band: points of the area around it, as SVG has them.
        dots: x and y.
        bars: x and y of the beginnings and ends of lines.
        cells: x, y, width, height and strength (0..1) of the rectangles.
        diagonal: whether a line where both axes are equal is drawn, and its ends.
        steps: names and points of lines, as SVG has them.
        note: what the chart leaves out.
    """

    kind: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    line: str = ""
    band: str = ""
    dots: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    bars: list[tuple[float, float, float, float]] = dataclasses.field(default_factory=list)
    cells: list[tuple[float, float, float, float, float]] = dataclasses.field(default_factory=list)
    diagonal: tuple[float, float, float, float] | None = None
    steps: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    note: str = ""


def survival_chart(metrics: SurvivalMetrics) -> Chart:
    """Lay out Kaplan-Meier curves of the rows with low, middle and high predicted risk."""
    curves = metrics.tertiles()
    frame = Frame(420, 300, np.array([0.0, metrics.times.max()]), np.array([0.0, 1.0]))
    steps = []
    for name, (times, left, count) in curves.items():
        xs = np.repeat(np.append(0.0, times), 2)[1:]
        ys = np.repeat(np.append(1.0, left), 2)[:-1]
        steps.append((f"{name} risk ({count:,} rows)", path_of(frame.x(xs), frame.y(ys))))
    return frame.chart("tertiles", steps=steps)


def curves_chart(lines: Mapping[str, npt.ArrayLike], marks: Sequence[float] = ()) -> Chart:
    """Lay out values by epoch.

    Args:
        lines: name -> float [epochs], NaN where an epoch has none.
        marks: where stages of the training begin, in epochs.
    """
    values = {name: np.asarray(line, np.float64) for name, line in lines.items()}
    known = np.concatenate([line[np.isfinite(line)] for line in values.values()])
    epochs = max(len(line) for line in values.values())
    frame = Frame(420, 260, np.array([1.0, max(epochs, 2)]), known, pad=0.06)
    steps, dots = [], []
    for name, line in values.items():
        places = np.flatnonzero(np.isfinite(line))
        steps.append((name, path_of(frame.x(places + 1.0), frame.y(line[places]))))
        dots += pairs(frame.x(places + 1.0), frame.y(line[places])) if len(places) == 1 else []
    bars = [(float(x), frame.top, float(x), frame.bottom) for x in frame.x(np.asarray(marks, np.float64))]
    chart = frame.chart("curves", steps=steps, dots=dots, bars=bars)
    return dataclasses.replace(chart, x_ticks=[tick for tick in chart.x_ticks if "." not in tick[1]])


def calibration_chart(curve: CalibrationCurve) -> Chart:
    """Lay out a reliability diagram with its intervals."""
    frame = Frame(320, 300, np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    xs = frame.x(curve.predicted)
    ends = zip(xs, frame.y(curve.low), xs, frame.y(curve.high), strict=True)
    return frame.chart(
        "calibration",
        line=path_of(xs, frame.y(curve.observed)),
        dots=pairs(xs, frame.y(curve.observed)),
        bars=[(float(a), float(b), float(c), float(d)) for a, b, c, d in ends],
        diagonal=frame.diagonal(),
    )


def scatter_chart(true: npt.NDArray[np.float64], said: npt.NDArray[np.float64]) -> Chart:
    """Lay out predicted against true numbers: points where there are few, else shaded squares.

    Of many rows the axes hold all but the half percent at each end, so that one far value does not squeeze the rest.
    """
    both = np.concatenate([true, said])
    low, high = (both.min(), both.max()) if len(true) <= _FEW else np.quantile(both, (0.005, 0.995))
    if low == high:
        low, high = low - 0.5, high + 0.5
    inside = (true >= low) & (true <= high) & (said >= low) & (said <= high)
    ends = np.array([low, high])
    frame = Frame(420, 360, ends, ends)
    xs, ys = frame.x(true[inside]), frame.y(said[inside])
    out = int((~inside).sum())
    note = f"{out:,} of {len(true):,} rows lie beyond the axes" if out else ""
    if len(true) <= _FEW:
        return frame.chart("scatter", dots=pairs(xs, ys), diagonal=frame.diagonal(), note=note)
    counts, x_edges, y_edges = np.histogram2d(
        xs, ys, bins=_BINS, range=((frame.left, frame.right), (frame.top, frame.bottom))
    )
    strength = np.sqrt(counts / counts.max())
    width, height = x_edges[1] - x_edges[0], y_edges[1] - y_edges[0]
    cells = [
        (float(x_edges[i]), float(y_edges[j]), float(width), float(height), float(strength[i, j]))
        for i, j in np.argwhere(counts > 0)
    ]
    return frame.chart("scatter", cells=cells, diagonal=frame.diagonal(), note=note)


class Frame:
    """The axes of a chart: values -> pixels.

    Args:
        width, height: of the whole, in pixels.
        xs, ys: values that have to have room.
        left: pixels before the plot.
        pad: room around the values, as a fraction of their range.
    """

    def __init__(
        self, width: float, height: float, xs: npt.NDArray[Any], ys: npt.NDArray[Any], *, left: float = _LEFT,
        pad: float = 0.0,
    ):  # fmt: skip
        self.width, self.height = width, height
        self.left, self.right, self.top, self.bottom = left, width - _RIGHT, TOP, height - BOTTOM
        self.x_range, self.y_range = _range(xs, pad), _range(ys, pad)

    def x(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the places of values on the horizontal axis, in pixels."""
        low, high = self.x_range
        return np.asarray(self.left + (values - low) / (high - low) * (self.right - self.left), np.float64)

    def y(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the places of values on the vertical axis, in pixels."""
        low, high = self.y_range
        return np.asarray(self.bottom - (values - low) / (high - low) * (self.bottom - self.top), np.float64)

    def diagonal(self) -> tuple[float, float, float, float]:
        """Return the ends of the line where both axes are equal."""
        ends = np.array([max(self.x_range[0], self.y_range[0]), min(self.x_range[1], self.y_range[1])])
        (x0, x1), (y0, y1) = self.x(ends).tolist(), self.y(ends).tolist()
        return x0, y0, x1, y1

    def chart(self, kind: str, **parts: Any) -> Chart:
        """Return a chart with ticks and further parts."""
        x_ticks, y_ticks = _ticks(*self.x_range, 4), _ticks(*self.y_range, 4)
        return Chart(
            kind=kind,
            width=self.width,
            height=self.height,
            left=self.left,
            right=self.right,
            top=self.top,
            bottom=self.bottom,
            x_ticks=[(float(self.x(np.float64(value))), text) for value, text in x_ticks],  # type: ignore[arg-type]
            y_ticks=[(float(self.y(np.float64(value))), text) for value, text in y_ticks],  # type: ignore[arg-type]
            **parts,
        )


def _range(values: npt.NDArray[Any], pad: float) -> tuple[float, float]:
    low, high = float(np.min(values)), float(np.max(values))
    if low == high:
        room = abs(low) * 0.1 or 1.0
        return low - room, high + room
    return low - pad * (high - low), high + pad * (high - low)


def _ticks(low: float, high: float, count: int) -> list[Tick]:
    from matplotlib.ticker import MaxNLocator

    values = [float(value) for value in MaxNLocator(count).tick_values(low, high)]
    slack = 1e-9 * (high - low)
    return [(value, _tick(value)) for value in values if low - slack <= value <= high + slack]


def _tick(value: float) -> str:
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if limit <= abs(value) < 1e12:
            return f"{value / (1e3 if letter == 'k' else limit):.6g}{letter}".replace("-", "−")
    return f"{round(value, 12):.6g}".replace("-", "−")


def pairs(xs: npt.NDArray[Any], ys: npt.NDArray[Any]) -> list[tuple[float, float]]:
    """Return places as plain numbers."""
    return [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]


def path_of(xs: Sequence[float] | npt.NDArray[Any], ys: Sequence[float] | npt.NDArray[Any]) -> str:
    """Return places as the points of an SVG line."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
