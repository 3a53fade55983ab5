"""The table of per-class metrics: one row per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

HEADINGS = {"precision": "precision", "recall": "recall", "f1": "F1", "average_precision": "average precision"}


def per_class_rows(
    class_names: Sequence[str], support: npt.ArrayLike, **columns: npt.ArrayLike
) -> dict[str, dict[str, float]]:
    """Return plain numbers by class name.

    Example:
        >>> per_class_rows(["ants"], [4], precision=[0.5], recall=[1.0], f1=[2 / 3])
        {'ants': {'precision': 0.5, 'recall': 1.0, 'f1': 0.666..., 'n': 4}}

    Args:
        class_names: k names.
        support: true items of each class, [k].
        **columns: float [k] each, in the order of the table.

    Returns:
        The columns and `n`, by class name.
    """
    counts = np.asarray(support)
    values = {key: np.asarray(column, np.float64) for key, column in columns.items()}
    return {
        name: {**{key: float(column[i]) for key, column in values.items()}, "n": int(counts[i])}
        for i, name in enumerate(class_names)
    }


def per_class_table(title: str, per_class: Mapping[str, Mapping[str, float]]) -> Any:
    """Return the rows as a rich table.

    Args:
        title: the line above it.
        per_class: as `per_class_rows` gives it.

    Returns:
        A `rich.table.Table`.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, min_width=68)
    columns = _columns(per_class)
    table.add_column("class")
    for key in columns:
        table.add_column(HEADINGS[key], justify="right")
    table.add_column("n", justify="right")
    for name, row in per_class.items():
        # A class called "[red]" is a name, not a colour.
        table.add_row(Text(name), *(f"{row[key]:.3f}" for key in columns), str(int(row["n"])))
    return table


def per_class_lines(per_class: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the rows as lines of text, without line ends."""
    columns = _columns(per_class)
    return [
        f"  {name}: {'   '.join(f'{HEADINGS[key]} {row[key]:.3f}' for key in columns)}   n {int(row['n'])}"
        for name, row in per_class.items()
    ]


def _columns(per_class: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [key for key in next(iter(per_class.values()), {}) if key != "n"]
