"""Tables as training data: read, joined, checked, split, encoded once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.errors import ConfigError, TlkitError, missing_column
from tlkit.inputs.files.fields import Reading
from tlkit.inputs.files.source import FrameSource, join_tables, read_source
from tlkit.inputs.labelled import ClassWeight
from tlkit.inputs.options import TargetOptions, grouped, with_fields_of
from tlkit.inputs.row.check import check_formats, check_target_columns, find_leaks, form_findings
from tlkit.inputs.row.column_kinds import Finding, InferredKinds
from tlkit.inputs.row.columns import kinds_of
from tlkit.inputs.row.copies import find_copies, log_copies
from tlkit.inputs.row.data import TabularData, check_table_options
from tlkit.inputs.row.date_form import check_date_form
from tlkit.inputs.row.evaluating import check_known, reading_of_model
from tlkit.inputs.row.event_dates import borders, date_form, only_date
from tlkit.inputs.row.events import event_features
from tlkit.inputs.row.feature_fitting import FeatureOptions, with_features
from tlkit.inputs.row.input_columns import (
    SeenColumns,
    compared_columns,
    digit_findings,
    fit_columns,
    given_kinds,
    look_at_columns,
    split_findings,
)
from tlkit.inputs.row.options import ColumnOptions, ReadOptions
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.row.problems import Problems
from tlkit.inputs.row.splits import SplitOptions, split_rows
from tlkit.inputs.row.target_kinds import target_findings
from tlkit.inputs.row.targets import (
    TargetValues,
    fit_targets,
    names_of,
    read_known_targets,
    read_survival,
    read_targets,
    strata_of,
    target_columns,
)
from tlkit.inputs.row.transform_choice import choose_transforms
from tlkit.inputs.row.used_rows import UsedRows, excluded, kept_rows
from tlkit.inputs.sampling import Sampling
from tlkit.targets.base import Target
from tlkit.targets.regression import AutoTransform
from tlkit.targets.survival_columns import SurvivalColumns

if TYPE_CHECKING:
    import pandas as pd

_OTHERS = (
    "batch_size", "seed", "class_weight", "sampling", "unknown_rate", "preprocessing", "target_specs",
)  # fmt: skip
_USED = ("categorical", "continuous", "date", "boolean")


@with_fields_of(ReadOptions, ColumnOptions, TargetOptions, SplitOptions)
def table_from_file(
    data: str | Path | pd.DataFrame | Mapping[str, Any],
    targets: str | Sequence[str] | SurvivalColumns,
    *,
    read: ReadOptions | None = None,
    columns: ColumnOptions | None = None,
    target: TargetOptions | None = None,
    split: SplitOptions | None = None,
    batch_size: int = 256,
    seed: int = 0,
    class_weight: ClassWeight = "none",
    sampling: Sampling = "shuffle",
    unknown_rate: float = 0.01,
    preprocessing: TablePreprocessing | None = None,
    target_specs: Sequence[Target] | None = None,
    **options: Any,
) -> TabularData:
    """Read a table with the columns to predict, split it, and encode its rows.

    What is fitted (vocabularies, medians, scales, target transforms) is fitted on the training rows alone. Rows without
    a target are counted and left out. A column that is the target in other words is refused. Rows that are exact copies
    of others stay with them in one split, unless the split is by time, group or column; they are counted in `copies`
    and logged, as are rows with the same inputs and other targets.

    Example:
        >>> data = table_from_file(
        ...     "train.csv", "Sales", join=[("store.csv", "Store")], where=["Open == 1", "Sales > 0"],
        ...     time_column="Date", test_from="2015-06-19", kinds={"Store": "categorical"}, transform="log",
        ... )
        >>> data.summary()["rows"]
        {'train': 640842, 'val': 163239, 'test': 40282}

    Args:
        data: a .csv, .tsv, .csv.gz, .tsv.gz or .parquet file; a folder with train.csv and, where there are, val.csv and
            test.csv; a DataFrame; or a mapping from `train`, `val` and `test` to files or DataFrames.
        targets: the column to predict, or several; or the columns of times and events of a survival target.
        read: which rows there are, and how the files are written.
        columns: which columns are inputs, and how they are encoded.
        target: kinds, transforms, ranges and loss weights of the targets.
        split: how the rows are divided.
        batch_size: rows per batch.
        seed: of split and order.
        class_weight: `"balanced"` weights the loss so that all classes have the same weight.
        sampling: `"balanced"` draws rows with replacement, so that every class comes equally often.
        unknown_rate: share of the category codes in training batches that are shown as unknown; see `TabularData`.
        preprocessing: an earlier one; nothing is inferred or fitted, and the table must have its columns.
        target_specs: earlier targets, with their classes and scales, in place of `transform` and the like.
        **options: the fields of `ReadOptions`, `ColumnOptions`, `TargetOptions` and `SplitOptions`, such as
            `separator`, `kinds`, `transform` and `time_column`, instead of the objects.

    Returns:
        A `TabularData`.

    Raises:
        ArgumentError: there is no such argument; it is a `TypeError`, too.
        ConfigError: an argument is invalid, or an object and one of its fields are both given.
        DataError: the table, a column or a row cannot be used.
    """
    groups = {
        "read": (ReadOptions, read),
        "columns": (ColumnOptions, columns),
        "target": (TargetOptions, target),
        "split": (SplitOptions, split),
    }
    read, columns, target, split = grouped("table_from_file", options, groups, _OTHERS)
    check_table_options(batch_size, seed, class_weight, sampling, unknown_rate)
    features = columns.features
    computed = features if isinstance(features, FeatureOptions) else FeatureOptions(**(features or {}))
    earlier = preprocessing
    written = {name: check_date_form(form) for name, form in (read.date_formats or {}).items()}
    survival = targets if isinstance(targets, SurvivalColumns) else None
    names = target_columns(target_specs) if target_specs else names_of(targets)
    fields = _fields(read, columns, target, survival, preprocessing, target_specs)
    reading: dict[str, Any] = {"separator": read.separator, "encoding": read.encoding, "reading": fields}
    source = join_tables(read_source(data, **reading), read.join, **reading)
    check_target_columns(source.frame, names, source.origin)
    for column in (split.split_column, split.group_column, split.time_column, columns.event_group, *written):
        if column and column not in source.frame.columns:
            raise missing_column(column, source.frame.columns, source.origin)
    if split.time_column:
        form = date_form(source, split.time_column, written, columns.kinds, preprocessing)
        split = dataclasses.replace(split, time_form=form)
    kept, dropped = kept_rows(source, read.where, names)
    if read.exclude is not None:
        kept &= ~excluded(source, read.exclude, dropped)
    part = UsedRows(source, kept)
    columns_read = tuple(source.frame.columns)
    problems = Problems()
    values = _values(part, names, survival, target, target_specs, preprocessing, problems)

    def look(later: bool = False) -> SeenColumns:
        """Look at the columns; `later` more of them will be made."""
        given = given_kinds(source, names, columns.kinds, columns.select, split)
        if later:
            given = {name: kind for name, kind in given.items() if name in part.frame.columns}
        return look_at_columns(part, names, given, written, read.unreadable, problems)

    try:
        looked = look(later=bool(columns.events)) if preprocessing is None else None
    except TlkitError:
        problems.raise_all()  # about the targets
        raise
    if problems.found and looked is not None:  # columns that are a target are raised with the others
        good = {name: kind for name, kind in looked.inferred.kinds.items() if name not in problems.found}
        rest = [name for name in names if name not in problems.found]
        allowed = [name for name in columns.allow if good.get(name) in _USED]
        find_leaks(part.frame, good, rest, allowed, problems=problems)
    problems.raise_all()
    compared = compared_columns(part, None if looked is None else looked.inferred, preprocessing)
    copies = find_copies(part.frame, compared, names)
    found_of_targets: list[Finding] = []
    if not target_specs and survival is None:
        marks = {name: source.marks[name] for name in names if name in source.marks}
        found_of_targets = target_findings(part.frame, names, marks, part.place, target.target_kinds)
    rows = split_rows(
        part.frame,
        split,
        **strata_of(values),
        given=part.splits,
        seed=seed,
        place=part.place,
        copies=copies.to_keep_together,
        target=next((one for one in values if one.class_names), None),
    )
    repeated = log_copies(copies, rows, part.place)
    if columns.events:
        date = split.time_column or only_date(source, names, columns.kinds, preprocessing)
        form = date_form(source, date, written, columns.kinds, preprocessing)
        known_from = borders(part, date, rows, split, form)
        marked = event_features(
            source.frame, date=date, events=columns.events, group=columns.event_group, known_from=known_from,
            date_format=form,
        )  # fmt: skip
        source = source.replaced(marked)
        part = UsedRows(source, kept)
    specs, to_choose = tuple(target_specs or ()), list[str]()
    if not specs:
        specs, to_choose = _fit_targets(values, rows, target, source)
    if preprocessing is None:
        # The features of events are columns, too.
        seen = look() if columns.events or looked is None else looked
        problems.raise_all()
        inferred, unread = seen.inferred, seen.unread
        leaks = find_leaks(part.frame, inferred.kinds, names, columns.allow, copies.numbers)
        check_formats(part.frame, fields.formats, {**dict.fromkeys(names, "target"), **inferred.kinds}, part.place)
        preprocessing = fit_columns(part, rows["train"], inferred, columns, fields, seen.date_formats, read.unreadable)
    else:
        unread = check_known(part.frame, preprocessing, part.place)
        inferred, leaks = InferredKinds(kinds_of(preprocessing.columns)), ()
    found = TabularData(
        part.source,
        rows,
        preprocessing=preprocessing,
        targets=specs,
        values=values,
        kinds=inferred.kinds,
        questions=(*inferred.questions, *found_of_targets),
        findings=(
            *inferred.warnings,
            *form_findings(source, inferred.kinds),
            *unread,
            *digit_findings(part.frame, preprocessing, specs),
            *leaks,
            *split_findings(split, inferred.kinds, columns.events),
        ),
        dropped=dropped,
        copies=repeated,
        batch_size=batch_size,
        seed=seed,
        class_weight=class_weight,
        sampling=sampling,
        unknown_rate=unknown_rate,
        columns_read=columns_read,
    )
    found = choose_transforms(found, to_choose) if to_choose else found
    return with_features(found, computed) if computed and earlier is None else found


def _fields(
    read: ReadOptions,
    columns: ColumnOptions,
    target: TargetOptions,
    survival: SurvivalColumns | None,
    preprocessing: TablePreprocessing | None,
    target_specs: Sequence[Target] | None,
) -> Reading:
    """Return how fields are read."""
    kinds = target.target_kinds or {}
    if survival is not None and (kinds or target.loss_weights):
        raise ConfigError(
            "target_kinds and loss_weights cannot be combined with a survival target",
            received=kinds or target.loss_weights,
        )
    if preprocessing is not None:
        return reading_of_model(preprocessing, target_specs or ())
    numbers = {name: "continuous" for name, kind in kinds.items() if kind == "regression"}
    if survival is not None:
        numbers[survival.time] = "continuous"
    return read.reading({**(columns.kinds or {}), **numbers})


def _values(
    part: UsedRows,
    names: Sequence[str],
    survival: SurvivalColumns | None,
    target: TargetOptions,
    target_specs: Sequence[Target] | None,
    preprocessing: TablePreprocessing | None,
    problems: Problems,
) -> list[TargetValues]:
    """Read the targets of the rows: those of a model, or those that are named."""
    if target_specs:
        forms = None if preprocessing is None else preprocessing.forms
        return read_known_targets(part.frame, target_specs, part.place, forms=forms)
    if survival is not None:
        return [read_survival(part.frame, survival, part.place)]
    return read_targets(part.frame, names, part.place, target_kinds=target.target_kinds, problems=problems)


def _fit_targets(
    values: Sequence[TargetValues], rows: Mapping[str, np.ndarray], target: TargetOptions, source: FrameSource
) -> tuple[tuple[Target, ...], list[str]]:
    """Fit the targets to the training rows; name those for which a transform is still to be chosen."""
    units = {name: form.unit for name, form in source.forms.items()}
    plain, to_choose = _without_auto(target.transform, values)
    specs = fit_targets(
        values, rows, transform=plain, y_range=target.y_range, loss_weights=target.loss_weights, units=units
    )
    return specs, to_choose


def _without_auto(
    transform: AutoTransform | Mapping[str, AutoTransform], values: Sequence[TargetValues]
) -> tuple[Any, list[str]]:
    """Return the transforms with "none" in place of "auto", and the names of the regressions that have it."""
    numeric = [target.name for target in values if target.kind == "regression"]
    if isinstance(transform, Mapping):
        chosen = [name for name, own in transform.items() if own == "auto"]
        return {name: "none" if name in chosen else own for name, own in transform.items()}, chosen
    if transform == "auto" and not numeric:
        raise ConfigError("transform needs a regression target", received=transform)
    return ("none", numeric) if transform == "auto" else (transform, [])
