"""Where the parts of a partial dependence lie on its chart."""

from __future__ import annotations

import dataclasses

import numpy as np

from tlkit.report.charts import BOTTOM, TOP, Chart, Frame, pairs, path_of
from tlkit.tasks.tabular.partial_dependence import PartialDependence

_ROW = 19.0  # pixels of a category
_LONGEST = 17  # characters of a category


def dependence_chart(found: PartialDependence, output: int = 0) -> Chart:
    """Lay out a partial dependence: a line over numbers, a row with a dot for each of other values.

    Args:
        found: what `partial_dependence` gives.
        output: which of the answers.
    """
    mean, low, high = (part[:, output] for part in (found.means, found.low, found.high))
    if found.kind == "number" and len(mean) > 1:
        frame = Frame(320, 200, found.positions, np.concatenate([mean, low, high]), pad=0.06)
        over = path_of(frame.x(found.positions), frame.y(high))
        under = path_of(frame.x(found.positions[::-1]), frame.y(low[::-1]))
        line = path_of(frame.x(found.positions), frame.y(mean))
        dots = pairs(frame.x(found.positions), frame.y(mean)) if len(mean) <= 12 else []
        return frame.chart("line", line=line, band=f"{over} {under}", dots=dots)
    longest = max(len(_shorter(label)) for label in found.labels)
    left, height = 18.0 + 6.3 * longest, TOP + BOTTOM + _ROW * len(mean)
    frame = Frame(320, height, np.concatenate([mean, low, high]), np.zeros(1), left=left, pad=0.06)
    middles = TOP + _ROW * (np.arange(len(mean)) + 0.5)
    bars = [
        (float(a), float(y), float(b), float(y)) for a, b, y in zip(frame.x(low), frame.x(high), middles, strict=True)
    ]
    ticks = [(float(y), _shorter(label)) for y, label in zip(middles, found.labels, strict=True)]
    return dataclasses.replace(frame.chart("rows", dots=pairs(frame.x(mean), middles), bars=bars), y_ticks=ticks)


def _shorter(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
