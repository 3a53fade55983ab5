"""A curve in characters, for terminals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def ascii_plot(x: Any, y: Any, marks: Mapping[str, float] | None = None, *, width: int = 64, height: int = 12) -> str:
    """Draw y over x.

    Example:
        >>> print(ascii_plot([0, 1, 2], [0, 1, 4], width=20, height=5))

    Args:
        x: float [n], growing.
        y: float [n]; values far above the first half's are cut off.
        marks: x positions to mark with a vertical line, by name.
        width: columns of the drawing.
        height: lines of the drawing.

    Returns:
        Lines joined by newlines, without the last one.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    low = float(np.min(y))
    high = max(float(np.max(y[: max(2, len(y) // 2)])), low + 1e-12)
    columns = np.linspace(x[0], x[-1], width)
    values = np.interp(columns, x, y)
    rows = np.round((high - values) / (high - low) * (height - 1)).astype(int)
    canvas = [[" "] * width for _ in range(height)]
    for position in (marks or {}).values():
        column = int(np.argmin(np.abs(columns - position)))
        for line in canvas:
            line[column] = "|"
    for column, row in enumerate(rows):
        if 0 <= row < height:
            canvas[row][column] = "*"
    labels = [f"{high:9.3f} "] + [" " * 10] * (height - 2) + [f"{low:9.3f} "]
    drawn = [label + "".join(line).rstrip() for label, line in zip(labels, canvas, strict=True)]
    axis = " " * 10 + f"{x[0]:<{width // 2}.1f}{x[-1]:>{width - width // 2}.1f}"
    return "\n".join([*drawn, axis])
