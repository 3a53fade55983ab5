"""Plots: the learning-rate sweep, learning rates and losses of a training, and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.errors import ConfigError

_SUFFIXES = (".png", ".svg", ".pdf")


def plot_lr_finder(
    rates: Any, losses: Any, smoothed: Any, suggestions: Mapping[str, float], recommended: str, path: Path
) -> Path:
    """Draw loss against learning rate with the suggestions marked.

    Args:
        rates: learning rate of each step, [n].
        losses: loss of each step, [n].
        smoothed: smoothed loss, [n].
        suggestions: learning rates to mark, by name.
        recommended: the name of the one that is drawn as a full line.
        path: where the picture goes; folders are made.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is none of .png, .svg, .pdf.
    """
    figure, axes = new_figure(7, 4.2)
    axes.plot(rates, losses, color="#b8c4d0", linewidth=1, label="each step")
    axes.plot(rates, smoothed, color="#1f5f99", linewidth=2, label="smoothed")
    colors = ("#c8502b", "#3c8c5a", "#8a5fa8", "#b08a1e")
    for color, (name, rate) in zip(colors, suggestions.items(), strict=False):
        style = "-" if name == recommended else ":"
        axes.axvline(rate, color=color, linestyle=style, linewidth=1.6, label=f"{name} {rate:.1e}")
    axes.set_xscale("log")
    low, high = float(np.min(smoothed)), float(np.max(smoothed[: max(2, len(smoothed) // 2)]))
    axes.set_ylim(max(0.0, low - 0.1 * (high - low)), high + 0.6 * (high - low) + 1e-6)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.set_title("Learning-rate finder")
    axes.legend(frameon=False)
    return write_figure(figure, path)


def plot_rates(rates: Any, momentums: Any, path: Path) -> Path:
    """Draw the learning rate of each step, and below it the momentum if there is one.

    Args:
        rates: learning rate of each step, [n].
        momentums: momentum of each step, [n]; NaN where the optimizer has none.
        path: where the picture goes; folders are made.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is none of .png, .svg, .pdf.
    """
    has_momentum = bool(np.any(np.isfinite(momentums)))
    figure, axes = new_figure(7, 5.4 if has_momentum else 3.4, rows=1 + has_momentum)
    rows = np.atleast_1d(axes)
    rows[0].plot(rates, color="#1f5f99", linewidth=2)
    rows[0].ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
    rows[0].set_ylabel("learning rate")
    rows[0].set_title("Learning rate per step" if not has_momentum else "Learning rate and momentum per step")
    if has_momentum:
        rows[1].plot(momentums, color="#c8502b", linewidth=2)
        rows[1].set_ylabel("momentum")
    rows[-1].set_xlabel("step")
    return write_figure(figure, path)


def plot_losses(losses: Any, path: Path) -> Path:
    """Draw the training loss of each step and its moving mean.

    Args:
        losses: loss of each step, [n]; what is not finite leaves a gap.
        path: where the picture goes; folders are made.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is none of .png, .svg, .pdf.
    """
    losses = np.asarray(losses, np.float64)
    steps = np.flatnonzero(np.isfinite(losses))
    figure, axes = new_figure(7, 4.2)
    axes.plot(losses, color="#b8c4d0", linewidth=1, label="each step")
    axes.plot(steps, _moving_mean(losses[steps]), color="#1f5f99", linewidth=2, label="smoothed")
    axes.set_xlabel("step")
    axes.set_ylabel("training loss")
    axes.set_title("Training loss per step")
    axes.legend(frameon=False)
    return write_figure(figure, path)


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
    figure, axes = new_figure(side + 0.8, side)
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
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.04, label="fraction of the true class")
    return write_figure(figure, path)


def plot_label_confusions(matrices: Any, class_names: tuple[str, ...], path: Path) -> Path:
    """Draw one two-by-two matrix for each label: rows are true no and yes, columns predicted ones.

    Args:
        matrices: int [k, 2, 2].
        class_names: k names.
        path: where the picture goes; folders are made.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is none of .png, .svg, .pdf.
    """
    matrices = np.asarray(matrices)
    count = len(class_names)
    columns = min(count, max(4, int(np.ceil(np.sqrt(count)))))
    rows = -(-count // columns)
    figure, axes = new_figure(1.9 * columns + 0.4, 2.2 * rows + 0.4, rows=rows, columns=columns)
    panels = np.ravel(axes)
    for panel, matrix, name in zip(panels, matrices, class_names, strict=False):
        parts = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        panel.imshow(parts, cmap="Blues", vmin=0, vmax=1)
        panel.set_title(name if len(name) <= 18 else name[:17] + "…", fontsize=9, parse_math=False)
        panel.set_xticks((0, 1), ("no", "yes"))
        panel.set_yticks((0, 1), ("no", "yes"))
        panel.tick_params(labelbottom=True)
        for row, column in np.ndindex(2, 2):
            color = "white" if parts[row, column] > 0.5 else "#222222"
            panel.text(column, row, str(matrix[row, column]), ha="center", va="center", color=color)
    for panel in panels[count:]:
        panel.set_axis_off()
    figure.supxlabel("predicted", fontsize=10)
    figure.supylabel("true", fontsize=10)
    return write_figure(figure, path)


def _moving_mean(values: np.ndarray) -> np.ndarray:
    """Return an exponential moving average over 1/20 of the run (4 to 50 steps), corrected for bias."""
    keep = 1 - 1 / min(max(len(values) / 20, 4.0), 50.0)
    means, total, weight = np.empty(len(values)), 0.0, 0.0
    for index, value in enumerate(values):
        total, weight = keep * total + value, keep * weight + 1.0
        means[index] = total / weight
    return means


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, *, share: bool = True) -> tuple[Any, Any]:
    """Return a figure and its panels, which share the horizontal axis if `share` is set."""
    # The object interface keeps no figure in a global list and needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, sharex=share)


def write_figure(figure: Any, path: Path) -> Path:
    """Write a figure in the format of the path's suffix, and return the path."""
    if path.suffix.lower() not in _SUFFIXES:
        raise ConfigError("unknown image format", received=str(path), allowed=_SUFFIXES)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path
