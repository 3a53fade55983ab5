"""The dates that events and a split by time need: their column, how it is written, and where the splits begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tlkit.errors import Advice, ConfigError
from tlkit.inputs.files.source import FrameSource
from tlkit.inputs.row.column_kinds import infer_kinds
from tlkit.inputs.row.columns import ColumnKind, Date, kinds_of
from tlkit.inputs.row.date_inference import find_date_form
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.row.splits import SplitOptions, border_of, first_moments
from tlkit.inputs.row.used_rows import UsedRows


def date_form(
    source: FrameSource,
    name: str,
    written: Mapping[str, str],
    kinds: Mapping[str, ColumnKind] | None,
    preprocessing: TablePreprocessing | None,
) -> str:
    """Return how the dates of a column are written: as declared, as the model reads it, or as its values show."""
    import pandas as pd

    fitted = preprocessing.columns if preprocessing is not None else ()
    known = {column.name: column.form for column in fitted if isinstance(column, Date)} | dict(written)
    column = source.frame[name]
    is_text = not pd.api.types.is_numeric_dtype(column.dtype)
    if name in known or not (is_text or (kinds or {}).get(name) == "date"):
        return known.get(name, "")
    guess = find_date_form(column, name, source.place)
    return guess.form if guess is not None else ""


def only_date(
    source: FrameSource,
    targets: Sequence[str],
    kinds: Mapping[str, ColumnKind] | None,
    preprocessing: TablePreprocessing | None,
) -> str:
    """Return the only column of dates, on which the events are."""
    known = kinds_of(preprocessing.columns) if preprocessing is not None else dict(kinds or {})
    dates = [name for name, kind in known.items() if kind == "date"]
    if not dates and preprocessing is None:
        rest = [name for name in source.frame.columns if name not in known]
        found = infer_kinds(source.frame[rest], targets, place=source.place)
        dates = [name for name, kind in found.kinds.items() if kind == "date"]
    if len(dates) != 1:
        raise ConfigError(
            "event columns need a date column",
            received=dates,
            fix=Advice("{}", "time_column", dates[0] if dates else None),
        )
    return dates[0]


def borders(
    part: UsedRows, date: str, rows: Mapping[str, np.ndarray], options: SplitOptions, form: str
) -> list[object]:
    """Return the first days that training, and then validation, must not see: as declared, or as rows are divided."""
    declared = {"val": options.val_from, "test": options.test_from}
    if form:  # events know ISO dates
        times = np.zeros(0, "M8[us]")
        declared = {
            name: None if day is None else border_of(day, f"{name}_from", times, form) for name, day in declared.items()
        }
    firsts = first_moments(part.frame, date, rows, form)
    held_out = [name for name in rows if name != "train"]
    # A day that was declared counts even where `where` took away all its rows.
    return [
        declared[name] if declared[name] is not None else first for name, first in zip(held_out, firsts, strict=False)
    ]
