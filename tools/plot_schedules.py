"""Draw every learning-rate schedule of tlkit into docs/images/schedules.png (or the path given).

python tools/plot_schedules.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tlkit.schedules import Cyclical, OneCycle, Restarts

STEPS = 700
HIGH, LOW = 1e-2, 1e-3
SCHEDULES = {
    'Cyclical(…, step_size=50)\nmode="triangular"': Cyclical(LOW, HIGH, 50),
    'Cyclical(…, step_size=50)\nmode="triangular2"': Cyclical(LOW, HIGH, 50, "triangular2"),
    'Cyclical(…, step_size=50)\nmode="exp_range", gamma=0.997': Cyclical(LOW, HIGH, 50, "exp_range", gamma=0.997),
    "Restarts(…, cycle_steps=100)": Restarts(HIGH, 100),
    "Restarts(…, cycle_steps=100,\ncycle_mult=2, cycle_decay=0.8)": Restarts(HIGH, 100, 2, cycle_decay=0.8),
    "OneCycle(…, total_steps=700)": OneCycle(HIGH, STEPS),
}


def draw(path: Path) -> None:
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    steps = np.arange(STEPS)
    panels = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    for axes, (title, schedule) in zip(panels, SCHEDULES.items(), strict=True):
        axes.plot(steps, schedule.rate(steps), color="#1f5f99", linewidth=1.8)
        for end in schedule.cycle_ends(STEPS - 1):
            axes.axvline(end, color="#b8c4d0", linewidth=0.8, linestyle=":")
        axes.set_title(title, fontsize=9)
        axes.set_ylim(0, HIGH * 1.08)
        momentum = schedule.momentum(steps)
        if momentum is not None:
            second = axes.twinx()
            second.plot(steps, momentum, color="#c8502b", linewidth=1.8, linestyle="--")
            second.set_ylim(0.8, 1.0)
            second.set_ylabel("momentum", color="#c8502b")
    for axes in panels[3:]:
        axes.set_xlabel("step")
    for axes in panels[::3]:
        axes.set_ylabel("learning rate")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "images" / "schedules.png")
