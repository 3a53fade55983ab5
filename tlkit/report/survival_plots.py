"""Pictures of survival curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.report.plots import new_figure, write_figure

_COLORS = {"low": "#3c8c5a", "middle": "#b08a1e", "high": "#c8502b"}


def plot_tertiles(curves: Mapping[str, tuple[Any, Any, int]], title: str, path: Path) -> Path:
    """Draw a survival curve for each tertile of the predicted risk.

    Args:
        curves: tertile -> times [m], survival [m], and number of rows.
        title: of the picture.
        path: where the picture goes; folders are made.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is none of .png, .svg, .pdf.
    """
    figure, axes = new_figure(7, 4.6)
    for name, (times, left, count) in curves.items():
        x, y = np.append(0.0, times), np.append(1.0, left)
        axes.step(x, y, where="post", color=_COLORS[name], linewidth=2, label=f"{name} risk (n {count})")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.set_xlabel("time")
    axes.set_ylabel("fraction without event")
    axes.set_title(title)
    axes.legend(frameon=False)
    return write_figure(figure, path)
