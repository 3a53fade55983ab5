"""The columns that are inputs: their kinds, what is noticed about them, and how they are encoded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlkit.errors import ConfigError, DataError, missing_column
from tlkit.float_digits import lost_digits
from tlkit.inputs.files.fields import Reading
from tlkit.inputs.files.source import FrameSource
from tlkit.inputs.row.check import check_values
from tlkit.inputs.row.column_kinds import Finding, InferredKinds, infer_kinds
from tlkit.inputs.row.columns import ColumnKind, Unreadable
from tlkit.inputs.row.fitting import fit_table
from tlkit.inputs.row.options import ColumnOptions
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.row.problems import Problems
from tlkit.inputs.row.splits import SplitOptions
from tlkit.inputs.row.used_rows import UsedRows
from tlkit.targets.base import Target

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class SeenColumns:
    """What the columns of a table were found to be.

    Attributes:
        inferred: their kinds, with questions and warnings.
        date_formats: column -> how its dates are written.
        unread: values that are taken for missing.
    """

    inferred: InferredKinds
    date_formats: Mapping[str, str]
    unread: tuple[Finding, ...]


def look_at_columns(
    part: UsedRows,
    targets: Sequence[str],
    given: Mapping[str, ColumnKind],
    written: Mapping[str, str],
    unreadable: Unreadable,
    problems: Problems,
) -> SeenColumns:
    """Infer what the columns are, and check their values.

    Args:
        part: the rows.
        targets: columns that hold the labels.
        given: column -> kind, if it need not be inferred.
        written: column -> how its dates are written, as declared.
        unreadable: what a date or boolean is that cannot be read.
        problems: collects what is wrong.
    """
    own = {name: form for name, form in written.items() if given.get(name, "date") == "date" and name not in targets}
    found = infer_kinds(
        part.frame, targets, given=given, place=part.place, date_formats=own, unreadable=unreadable, problems=problems
    )
    forms = {**found.date_formats, **own}
    return SeenColumns(found, forms, check_values(part.frame, found.kinds, part.place, forms, unreadable, problems))


def given_kinds(
    source: FrameSource,
    targets: Sequence[str],
    kinds: Mapping[str, ColumnKind] | None,
    select: Sequence[str] | None,
    options: SplitOptions,
) -> dict[str, ColumnKind]:
    """Return the kinds that need no look at the values."""
    dividing = [name for name in (options.split_column, options.group_column) if name and name not in targets]
    given: dict[str, ColumnKind] = dict.fromkeys(dividing, "ignore")
    if select is not None:
        for name in select:
            if name not in source.frame.columns:
                raise missing_column(name, source.frame.columns, source.origin)
            if name in targets:
                raise ConfigError("a target cannot be an input", received=name)
        given |= {name: "ignore" for name in source.frame.columns if name not in select and name not in targets}
    given |= kinds or {}
    if options.split_column in given:  # never an input, whatever kinds say
        given[options.split_column] = "ignore"
    return given


def compared_columns(
    part: UsedRows, inferred: InferredKinds | None, preprocessing: TablePreprocessing | None
) -> list[str]:
    """Return the input columns whose values make rows copies of each other."""
    if inferred is not None:
        return [name for name, kind in inferred.kinds.items() if kind not in ("id", "ignore")]
    columns = preprocessing.columns if preprocessing is not None else ()
    return [column.name for column in columns if column.name in part.frame.columns]


def digit_findings(
    frame: pd.DataFrame, preprocessing: TablePreprocessing, targets: Sequence[Target]
) -> Iterator[Finding]:
    """Report columns and targets whose values need more digits than float32 has."""
    names = [column.name for column in preprocessing.columns if column.dtype == "float64"]
    for name in [*names, *(target.name for target in targets if target.dtype == "float64")]:
        numbers = frame[name].to_numpy(np.float64, na_value=np.nan)
        yield Finding(name, "continuous", lost_digits(numbers))


def split_findings(options: SplitOptions, kinds: Mapping[str, ColumnKind], events: Sequence[str]) -> Iterator[Finding]:
    """Report columns whose part in the split is not what one might think."""
    group, time = options.group_column, options.time_column
    if group and kinds.get(group) in ("categorical", "continuous", "boolean"):
        yield Finding(group, kinds[group], "is an input, but the held-out groups do not occur in training")
    if time and not options.by_time and not events:
        by = f"by {options.split_column}" if options.split_column else f"in whole groups of {group}"
        yield Finding(time, kinds.get(time, "ignore"), f"is not used for the split: rows are held out {by}")


def fit_columns(
    part: UsedRows,
    train: np.ndarray,
    inferred: InferredKinds,
    options: ColumnOptions,
    reading: Reading,
    date_formats: Mapping[str, str],
    unreadable: Unreadable,
) -> TablePreprocessing:
    """Fit the encoding of the inputs to the training rows.

    Args:
        part: the rows.
        train: int64 [n], the training rows.
        inferred: kinds of the columns.
        options: how columns are encoded.
        reading: how fields are read.
        date_formats: column -> how its dates are written.
        unreadable: what a date or boolean is that cannot be read.

    Raises:
        ConfigError: an option names a column of another kind.
        DataError: no column can be an input.
    """
    hash_buckets = options.hash_buckets or {}
    inputs = {name: kind for name, kind in inferred.kinds.items() if kind not in ("id", "ignore")}
    if not inputs:
        left = [f"{finding.column} ({finding.why})" for finding in inferred.warnings]
        raise DataError(f"{part.source.origin} has no column that can be an input", received=left or None)
    for option, columns, kind in (("hash_buckets", hash_buckets, "categorical"), ("cyclic", options.cyclic, "date")):
        for name in columns:
            if inputs.get(name) != kind:
                raise ConfigError(
                    f"{option} names a column that is not a {kind} column",
                    received=name,
                    allowed=[name for name, own in inputs.items() if own == kind] or f"{kind} columns; there are none",
                )
    fitted = fit_table(
        part.frame[list(inputs)].iloc[train],
        inputs,
        scaling=options.scaling,
        min_count=options.min_count,
        hash_buckets=hash_buckets,
        cyclic=tuple(options.cyclic),
        missing=reading.missing,
        column_missing={name: form.missing for name, form in reading.formats.items() if name in inputs},
        date_formats={name: form for name, form in date_formats.items() if inputs.get(name) == "date"},
    )
    return dataclasses.replace(fitted, forms=dict(part.source.forms), unreadable=unreadable)
