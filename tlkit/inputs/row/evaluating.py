"""Tables that a trained model is measured on: read as its training rows were, and checked against its columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.inputs.files.fields import Reading, reading_of_fitted
from tlkit.inputs.files.source import join_tables, read_source
from tlkit.inputs.row.check import Place, check_exact, check_numbers, check_target_columns, check_values
from tlkit.inputs.row.column_kinds import Finding
from tlkit.inputs.row.columns import Date, kinds_of
from tlkit.inputs.row.data import TabularData, check_table_options
from tlkit.inputs.row.event_dates import date_form, only_date
from tlkit.inputs.row.events import with_earlier_events
from tlkit.inputs.row.frames import check_frame
from tlkit.inputs.row.number_forms import PLAIN
from tlkit.inputs.row.options import TableLike
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.row.problems import Problems
from tlkit.inputs.row.target_kinds import are_texts
from tlkit.inputs.row.targets import TargetValues, read_known_targets, target_columns
from tlkit.inputs.row.used_rows import UsedRows, kept_rows
from tlkit.targets.base import Target

if TYPE_CHECKING:
    import pandas as pd


def table_to_evaluate(
    path: str | Path | pd.DataFrame | Mapping[str, Any],
    preprocessing: TablePreprocessing,
    targets: Sequence[Target],
    *,
    join: Sequence[tuple[TableLike, str | Sequence[str]]] = (),
    where: Sequence[str] = (),
    time_column: str | None = None,
    events: Sequence[str] = (),
    event_group: str | None = None,
    history: TableLike | None = None,
    batch_size: int = 256,
    separator: str | None = None,
    encoding: str = "utf-8",
    date_formats: Mapping[str, str] | None = None,
) -> TabularData:
    """Read a table only to measure a model on it; its rows become the `test` split.

    Example:
        >>> data = table_to_evaluate("new.csv", learn.task.preprocessing, learn.task.targets)
        >>> list(data.splits)
        ['test']

    Args:
        path: a table as for `tlkit.table_from_file`. Of data in parts, the test rows are taken, or else the
            validation rows.
        preprocessing: that of the model.
        targets: those of the model.
        history: rows before these, which events may be looked up in; joined as `path` is, not measured on.
        date_formats: as for `tlkit.table_from_file`, of columns that the model does not read.
        join, where, time_column, events, event_group, batch_size, separator, encoding: as for
            `tlkit.table_from_file`.

    Returns:
        A `TabularData` whose only split is `test`.

    Raises:
        ConfigError: an argument is not usable.
        DataError: the table lacks a column, has one of another type, or a class that the model does not know.
    """
    check_table_options(batch_size, 0, "none", "shuffle", 0.0)
    reading: dict[str, Any] = {
        "separator": separator,
        "encoding": encoding,
        "reading": reading_of_model(preprocessing, targets),
    }
    source = join_tables(read_source(path, **reading), join, **reading)
    names = target_columns(targets)
    check_target_columns(source.frame, names, source.origin)
    kept, dropped = kept_rows(source, where, names)
    part = UsedRows(source, kept)
    held_out = np.arange(len(part.frame))
    if part.splits is not None:
        split = next(name for name in ("test", "val", "train") if name in part.splits.tolist())
        held_out = np.flatnonzero(part.splits == split)
    if events:
        date = time_column or only_date(source, names, None, preprocessing)
        earlier = join_tables(read_source(history, **reading), join, **reading).frame if history is not None else None
        form = date_form(source, date, date_formats or {}, None, preprocessing)
        frame = with_earlier_events(source.frame, earlier, date, events, event_group, form)
        source = source.replaced(frame)
        part = UsedRows(source, kept)

    def place(rows: np.ndarray) -> str:
        return part.place(held_out[rows])

    problems = Problems()
    rows = part.frame.iloc[held_out]
    unread = check_known(rows, preprocessing, place, problems)
    values = read_known_targets(rows, targets, place, forms=preprocessing.forms, problems=problems)
    problems.raise_all()
    whole = [_spread(target, held_out, len(part.frame)) for target in values]
    return TabularData(
        part.source,
        {"test": held_out},
        preprocessing=preprocessing,
        targets=targets,
        values=whole,
        kinds=kinds_of(preprocessing.columns),
        findings=unread,
        dropped=dropped,
        batch_size=batch_size,
        unknown_rate=0.0,
    )


def reading_of_model(preprocessing: TablePreprocessing, targets: Sequence[Target]) -> Reading:
    """Return how a table is read whose columns and targets are known."""
    found = reading_of_fitted(preprocessing.columns, preprocessing.forms, preprocessing.missing)
    names = {name for target in targets if are_texts(target.class_names) for name in target.columns_of_names}
    numbers = {name for target in targets for name in target.columns_of_numbers}
    return found.changed(text_columns=found.text_columns | names, number_columns=found.number_columns | numbers)


def check_known(
    frame: pd.DataFrame, preprocessing: TablePreprocessing, place: Place, problems: Problems | None = None
) -> tuple[Finding, ...]:
    """Refuse rows that a preprocessing would not read as they are meant; report what it takes for missing."""
    wrong = Problems() if problems is None else problems
    number_forms = preprocessing.forms
    for column in preprocessing.columns:
        if column.dtype == "string" or column.name not in frame.columns:
            continue
        with wrong.of(column.name):
            if number_forms is not None:
                check_numbers(frame[column.name], column.name, number_forms.get(column.name, PLAIN), place)
            if column.dtype == "int64":
                check_exact(frame[column.name], column.name, place)
    for column in preprocessing.columns:
        with wrong.of(column.name):
            check_frame([column], frame)
    read = [column for column in preprocessing.columns if column.name not in wrong.found]
    # A column without any value has no type that could be wrong.
    known = kinds_of(preprocessing.columns)
    kinds = {column.name: known[column.name] for column in read if frame[column.name].notna().any()}
    forms = {column.name: column.form for column in read if isinstance(column, Date) and column.form}
    unread = check_values(frame, kinds, place, forms, preprocessing.unreadable or "error", wrong)
    if problems is None:
        wrong.raise_all()
    return unread


def _spread(target: TargetValues, rows: np.ndarray, count: int) -> TargetValues:
    """Put the values of some rows at their places among all."""
    values = np.zeros((count, *target.values.shape[1:]), target.values.dtype)
    values[rows] = target.values
    return dataclasses.replace(target, values=values)
