"""Pictures: the learning-rate sweep and the confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tlkit.errors import ConfigError

_SUFFIXES = (".png", ".svg", ".pdf")


def plot_lr_finder(rates: Any, losses: Any, smoothed: Any, suggestion: float, path: Path) -> Path:
    """Draw loss against learning rate with the suggestion marked.

    Args:
        rates: learning rate of each step, [n].
        losses: loss of each step, [n].
        smoothed: smoothed loss, [n].
        suggestion: the learning rate to mark.
        path: where the picture goes; folders are made.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is none of .png, .svg, .pdf.
    """
    figure, axes = _figure(7, 4.2)
    axes.plot(rates, losses, color="#b8c4d0", linewidth=1, label="each step")
    axes.plot(rates, smoothed, color="#1f5f99", linewidth=2, label="smoothed")
    axes.axvline(suggestion, color="#c8502b", linestyle="--", label=f"suggestion {suggestion:.1e}")
    axes.set_xscale("log")
    low, high = float(np.min(smoothed)), float(np.max(smoothed[: max(2, len(smoothed) // 2)]))
    axes.set_ylim(max(0.0, low - 0.1 * (high - low)), high + 0.6 * (high - low) + 1e-6)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.set_title("Learning-rate finder")
    axes.legend(frameon=False)
    return _write(figure, path)


def plot_confusion(matrix: Any, class_names: tuple[str, ...], path: Path) -> Path:
    """Draw a confusion matrix: rows are true classes, colours parts of the row, numbers are counts.

    Args:
        matrix: int [k, k].
        class_names: k names.
        path: where the picture goes; folders are made.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is none of .png, .svg, .pdf.
    """
    matrix = np.asarray(matrix)
    count = len(class_names)
    side = min(3.2 + 0.55 * count, 18.0)
    figure, axes = _figure(side + 0.8, side)
    parts = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    names = [name if len(name) <= 24 else name[:23] + "…" for name in class_names]
    axes.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(count), names, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("Confusion matrix")
    if count <= 40:
        for row, column in np.ndindex(*matrix.shape):
            color = "white" if parts[row, column] > 0.5 else "#222222"
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=color)
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.04, label="part of the true class")
    return _write(figure, path)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    # The object interface keeps no figure in a global list and needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _write(figure: Any, path: Path) -> Path:
    if path.suffix.lower() not in _SUFFIXES:
        raise ConfigError("unknown kind of picture", received=str(path), allowed=_SUFFIXES)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path
