"""Plots for tables: predicted against true numbers, and maps of embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.report.plots import new_figure, write_figure

BLUE, ORANGE, GREY = "#1f5f99", "#c85c14", "#8a94a3"
_DRAWN = 5000  # points of a picture
_NAME = 40  # characters of a title


def plot_predictions(name: str, values: npt.ArrayLike, predictions: npt.ArrayLike, path: Path) -> Path:
    """Draw predicted against true numbers, and the errors against the predictions.

    Args:
        name: of the target.
        values: the truth, float [n].
        predictions: float [n].
        path: where the picture goes; folders are made.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is none of .png, .svg, .pdf.
    """
    figure, panels = plain_figure(9.6, 4.4, columns=2)
    true, said = _thinned(np.asarray(values), np.asarray(predictions))
    _diagonal(panels[0], name, true, said)
    panels[1].axhline(0, color=GREY, linewidth=1)
    panels[1].plot(said, said - true, **_dots(len(true)))
    panels[1].set_xlabel("predicted")
    panels[1].set_ylabel("predicted − true")
    panels[1].set_title("Errors")
    return write_figure(figure, path)


def plot_targets(by_target: Mapping[str, Any], path: Path) -> Path:
    """Draw a panel for each target: predicted against true numbers, or a confusion matrix.

    Args:
        by_target: `RegressionMetrics` or `ClassificationMetrics` by target.
        path: where the picture goes; folders are made.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is none of .png, .svg, .pdf.
    """
    columns = min(3, len(by_target))
    rows = -(-len(by_target) // columns)
    figure, axes = plain_figure(4.8 * columns, 4.4 * rows, rows=rows, columns=columns)
    panels = np.ravel(axes)
    for panel, (name, metrics) in zip(panels, by_target.items(), strict=False):
        if hasattr(metrics, "confusion_matrix"):
            _matrix(panel, name, metrics.confusion_matrix, metrics.class_names)
        else:
            _diagonal(panel, name, *_thinned(metrics.values, metrics.predictions))
    for panel in panels[len(by_target) :]:
        panel.set_axis_off()
    return write_figure(figure, path)


def plot_map(
    title: str,
    points: npt.NDArray[np.float64],
    labels: Sequence[Any],
    *,
    size: tuple[float, float],
    font: float,
    note: str,
    path: Path,
) -> Path:
    """Draw points with labels at given positions.

    Args:
        title: heading.
        points: places in pixels from the upper left corner, float [n, 2].
        labels: one a point, with an empty text for none.
        size: width and height in pixels.
        font: height of the letters in pixels.
        note: a line below.
        path: where the picture goes; folders are made.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is none of .png, .svg, .pdf.
    """
    inch = 100.0  # pixels
    figure, axes = plain_figure(size[0] / inch, size[1] / inch + 0.8)
    axes.set_xlim(0, size[0])
    axes.set_ylim(size[1], 0)
    axes.set_aspect("equal")
    axes.set_xticks(())
    axes.set_yticks(())
    for side in axes.spines.values():
        side.set_color("#d9dee6")
    axes.plot(points[:, 0], points[:, 1], linestyle="none", marker="o", markersize=4, color=BLUE, alpha=0.8)
    sides = {"start": "left", "middle": "center", "end": "right"}
    for label, (left, top) in zip(labels, points, strict=True):
        if label.line:
            axes.plot((left, label.line[0]), (top, label.line[1]), color=GREY, linewidth=0.6, zorder=0)
        if label.text:
            # 72 points are an inch.
            style = {"fontsize": 72 / inch * font, "ha": sides[label.anchor], "va": "center", "clip_on": True}
            axes.text(label.x, label.y, label.text, parse_math=False, **style)
    axes.set_title(title, parse_math=False)
    axes.set_xlabel(note, parse_math=False)
    return write_figure(figure, path)


def _diagonal(panel: Any, name: str, true: npt.NDArray[Any], said: npt.NDArray[Any]) -> None:
    low, high = min(true.min(), said.min()), max(true.max(), said.max())
    panel.plot((low, high), (low, high), color=GREY, linewidth=1, linestyle="--")
    panel.plot(true, said, **_dots(len(true)))
    panel.set_xlabel("true")
    panel.set_ylabel("predicted")
    panel.set_title(name if len(name) <= _NAME else name[: _NAME - 1] + "…", parse_math=False)


def _matrix(panel: Any, name: str, matrix: npt.NDArray[Any], class_names: Sequence[str]) -> None:
    parts = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    panel.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    names = [one if len(one) <= 12 else one[:11] + "…" for one in class_names]
    panel.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    panel.set_yticks(range(len(names)), names, parse_math=False)
    panel.set_xlabel("predicted")
    panel.set_ylabel("true")
    panel.set_title(name if len(name) <= _NAME else name[: _NAME - 1] + "…", parse_math=False)
    if len(names) <= 12:
        for row, column in np.ndindex(*matrix.shape):
            color = "white" if parts[row, column] > 0.5 else "#222222"
            panel.text(column, row, str(matrix[row, column]), ha="center", va="center", color=color)


def _dots(count: int) -> dict[str, Any]:
    alpha = float(np.clip(30 / np.sqrt(count), 0.12, 0.8))
    return {"linestyle": "none", "marker": "o", "markersize": 3, "markeredgewidth": 0, "color": BLUE, "alpha": alpha}


def _thinned(*columns: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    chosen = np.random.default_rng(0).permutation(len(columns[0]))[:_DRAWN]
    return [column[chosen] for column in columns]


def plain_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """Return a figure and its panels, which, unlike those of a training, have axes of their own; sizes in inches."""
    return new_figure(width, height, rows, columns, share=False)
