"""Draw docs/images/architecture.svg: `python tools/plot_architecture.py`."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

BOXES = {
    "files": (0, 1, "images, texts,\ntables"),
    "inputs": (1, 1, "read, check,\npreprocess"),
    "tasks": (2, 1, "backbone,\ntargets, head"),
    "training": (3, 1, "Learner,\nlearning rates"),
    "export": (4, 1, "SavedModel,\nverified"),
    "serving": (5, 1, "REST and\ngRPC"),
    "catalogue": (1, 0, "pretrained\nweights"),
    "report": (3, 0, "metrics,\nplots, pages"),
    "scoring": (5, 0, "files and\ntables"),
}
ARROWS = [
    ("files", "inputs"), ("inputs", "tasks"), ("tasks", "training"), ("training", "export"), ("export", "serving"),
    ("catalogue", "tasks"), ("training", "report"), ("export", "scoring"),
]  # fmt: skip


def main() -> None:
    """Draw boxes and arrows."""
    matplotlib.rcParams |= {"svg.hashsalt": "tlkit", "svg.fonttype": "none", "font.family": "sans-serif"}
    figure, axes = plt.subplots(figsize=(11, 3.4))
    for name, (column, row, what) in BOXES.items():
        axes.text(
            column, row, f"$\\bf{{{name}}}$\n{what}", ha="center", va="center", fontsize=10,
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "#e8eefc" if row else "#f4f4f4", "edgecolor": "#4a5a8a"},
        )  # fmt: skip
    for one, two in ARROWS:
        (x, y, _), (to_x, to_y, _) = BOXES[one], BOXES[two]
        style = {"arrowstyle": "->", "color": "#4a5a8a", "shrinkA": 34, "shrinkB": 38}
        axes.annotate("", (to_x, to_y), (x, y), arrowprops=style)
    axes.set_xlim(-0.5, 5.5)
    axes.set_ylim(-0.5, 1.5)
    axes.axis("off")
    out = Path(__file__).resolve().parents[1] / "docs" / "images" / "architecture.svg"
    figure.savefig(out, bbox_inches="tight", metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main()
