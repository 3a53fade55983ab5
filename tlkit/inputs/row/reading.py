"""Tables as training data: read, joined, checked, split, encoded once."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.errors import Advice, ConfigError, DataError, TlkitError, missing_column
from tlkit.float_digits import lost_digits
from tlkit.inputs.examined import relative_name, root_of
from tlkit.inputs.exclusions import excluded_rows
from tlkit.inputs.files.fields import Reading, reading_of, reading_of_fitted
from tlkit.inputs.files.source import FrameSource, join_tables, read_source, rows_where
from tlkit.inputs.labelled import ClassWeight
from tlkit.inputs.row.check import (
    Place,
    check_exact,
    check_formats,
    check_numbers,
    check_target_columns,
    check_values,
    find_leaks,
    form_findings,
)
from tlkit.inputs.row.column_kinds import Finding, InferredKinds, infer_kinds
from tlkit.inputs.row.columns import Categorical, ColumnKind, Date, Unreadable
from tlkit.inputs.row.copies import digest_of, find_copies, log_copies
from tlkit.inputs.row.data import TabularData, check_table_options
from tlkit.inputs.row.date_form import check_date_form
from tlkit.inputs.row.date_inference import find_date_form
from tlkit.inputs.row.events import event_features, with_earlier_events
from tlkit.inputs.row.feature_fitting import FeatureOptions, with_features
from tlkit.inputs.row.fitting import Scaling, fit_table
from tlkit.inputs.row.frames import check_frame
from tlkit.inputs.row.number_forms import PLAIN, NumberForm
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.row.problems import Problems
from tlkit.inputs.row.splits import SplitOptions, border_of, first_moments, split_rows
from tlkit.inputs.row.target_kinds import are_texts, target_findings
from tlkit.inputs.row.targets import (
    TargetValues,
    fit_targets,
    read_known_targets,
    read_survival,
    read_targets,
    target_columns,
)
from tlkit.inputs.row.transform_choice import choose_transforms
from tlkit.inputs.sampling import Sampling
from tlkit.targets.base import Target, TargetKind
from tlkit.targets.regression import AutoTransform
from tlkit.targets.survival_columns import SurvivalColumns

if TYPE_CHECKING:
    import pandas as pd

_USED = ("categorical", "continuous", "date", "boolean")
TableLike = Any  # a path, a DataFrame, or a mapping from split to one of them


def table_from_file(
    data: str | Path | pd.DataFrame | Mapping[str, Any],
    targets: str | Sequence[str] | SurvivalColumns,
    *,
    kinds: Mapping[str, ColumnKind] | None = None,
    select: Sequence[str] | None = None,
    join: Sequence[tuple[TableLike, str | Sequence[str]]] = (),
    where: Sequence[str] = (),
    split_column: str | None = None,
    group_column: str | None = None,
    time_column: str | None = None,
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
    val_from: object = None,
    test_from: object = None,
    events: Sequence[str] = (),
    event_group: str | None = None,
    scaling: Scaling = "quantile",
    min_count: int = 1,
    hash_buckets: Mapping[str, int] | None = None,
    cyclic: Sequence[str] = (),
    transform: AutoTransform | Mapping[str, AutoTransform] = "none",
    y_range: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
    target_kinds: Mapping[str, TargetKind] | None = None,
    loss_weights: Mapping[str, float] | None = None,
    batch_size: int = 256,
    seed: int = 0,
    class_weight: ClassWeight = "none",
    sampling: Sampling = "shuffle",
    unknown_rate: float = 0.01,
    allow: Collection[str] = (),
    preprocessing: TablePreprocessing | None = None,
    target_specs: Sequence[Target] | None = None,
    separator: str | None = None,
    encoding: str = "utf-8",
    decimal: str = ".",
    thousands: str = "",
    missing: Sequence[str] = (),
    formats: Mapping[str, NumberForm | Mapping[str, Any]] | None = None,
    date_formats: Mapping[str, str] | None = None,
    unreadable: Unreadable = "error",
    features: FeatureOptions | Mapping[str, Any] | None = None,
    exclude: str | Path | None = None,
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
        kinds: column -> `"categorical"`, `"continuous"`, `"date"`, `"boolean"`, `"id"` or `"ignore"`; the others are
            inferred (see `infer_kinds`). `id` and `ignore` are no inputs.
        select: the only columns that are inputs; all others are ignored.
        join: further tables, each with the column or columns that it shares with `data`; see `join_tables`.
        where: conditions that rows must meet, such as `"Open == 1"`; see `rows_where`.
        split_column: `train`, `val` or `test` for each row; never an input.
        group_column: rows with the same value (patient, customer) are kept in one split; no input unless `kinds`
            says so (which is then reported), since held-out groups are never seen in training.
        time_column: dates or numbers; the newest rows are held out, unless there is a split or group column.
        val_fraction, test_fraction: parts of all rows that are held out where the data does not come in parts; at
            random they are stratified by class, or by the decile of a number.
        val_from, test_from: dates or numbers of `time_column` from which on rows are held out, in place of fractions.
        events: columns that mark days (holidays, promotions); they are used as they are, and days since the last and
            until the next event and counts are added. Needs a date: `time_column`, or the only date column. They are
            made before `where` takes rows away. See `event_features` for what a row may see.
        event_group: column such as a store, whose values have events of their own.
        scaling: of continuous columns: `"quantile"` (normal scores of their ranks), `"standard"` or `"robust"`.
        min_count: values of a category that occur less often in training count as unknown.
        hash_buckets: column -> number of codes, for categories with too many values for a list.
        cyclic: date columns that also become sines and cosines.
        transform: of regression targets: `"none"`, `"log"`, `"log1p"` or `"yeo_johnson"`, or target -> transform.
            `"auto"` takes the one that predicts best in the target's own unit; see `choose_transforms`.
        y_range: lowest and highest answer of a regression, or target -> range.
        target_kinds: target -> `"regression"`, `"single_label"` or `"multi_label"`, in place of what is inferred:
            numbers with a fraction and whole numbers with more than 20 values are regressions, all else is classes;
            3 to 50 whole numbers are reported in `questions`.
            Two or more columns of 0 and 1 that are all `"multi_label"` make one target, `labels`.
        loss_weights: target -> weight of its loss.
        batch_size: rows per batch.
        seed: of split and order.
        class_weight: `"balanced"` weights the loss so that all classes have the same weight.
        sampling: `"balanced"` draws rows with replacement, so that every class comes equally often.
        unknown_rate: share of the category codes in training batches that are shown as unknown; see `TabularData`.
        allow: columns that may be inputs although they look like a target.
        preprocessing: an earlier one; nothing is inferred or fitted, and the table must have its columns.
        target_specs: earlier targets, with their classes and scales, in place of `transform` and the like.
        separator: between the fields of a text file, where it is not that of its suffix.
        encoding: of a text file.
        decimal, thousands: how numbers are written: the decimal mark, `"."` or `","`, and what stands between groups of
            three digits, `","`, `"."`, `" "` or `"'"`. Where nothing is said, it is inferred column by column, and
            reported in `findings`.
        missing: texts that stand for no value in every column. The empty text does in any case, and in columns of
            numbers, dates and booleans the usual marks do (`USUAL_MISSING`): a category or class NA is none of them.
        formats: column -> a `NumberForm` or its fields, where a column is written otherwise, such as
            `{"price": {"unit": "€", "missing": ["-"]}}`. Of a column of text, `missing` alone counts.
        date_formats: how the dates of a column are written: a format of `strptime` such as `"%m/%d/%Y"`, `"epoch
            seconds"` or `"epoch milliseconds"`. Other columns are looked at: ISO 8601, or what all values have in
            common. It also says how `time_column`, `val_from` and `test_from` are written.
        unreadable: what a date or boolean is that cannot be read, here and in the export: `"error"` refuses it,
            `"missing"` takes it for a missing value.
        features: `FeatureOptions` or its fields: counts and target means of categories, ratios, differences of dates.
        exclude: a list of rows that are left out, as `tlkit check --fix` writes it.

    Returns:
        A `TabularData`.

    Raises:
        ConfigError: an argument is invalid.
        DataError: the table, a column or a row cannot be used.
    """
    check_table_options(batch_size, seed, class_weight, sampling, unknown_rate)
    computed = features if isinstance(features, FeatureOptions) else FeatureOptions(**(features or {}))
    earlier = preprocessing
    written = {name: check_date_form(form) for name, form in (date_formats or {}).items()}
    options = SplitOptions(split_column, group_column, time_column, val_fraction, test_fraction, val_from, test_from)
    survival = targets if isinstance(targets, SurvivalColumns) else None
    if survival is not None and (target_kinds or loss_weights):
        raise ConfigError(
            "target_kinds and loss_weights cannot be combined with a survival target",
            received=target_kinds or loss_weights,
        )
    names = target_columns(target_specs) if target_specs else names_of(targets)
    numbers = {name: "continuous" for name, kind in (target_kinds or {}).items() if kind == "regression"}
    if isinstance(targets, SurvivalColumns):
        numbers[targets.time] = "continuous"
    fields = reading_of(
        decimal=decimal, thousands=thousands, missing=missing, formats=formats, kinds={**(kinds or {}), **numbers}
    )
    if preprocessing is not None:
        fields = _reading_of(preprocessing, target_specs or ())
    reading: dict[str, Any] = {"separator": separator, "encoding": encoding, "reading": fields}
    source = join_tables(read_source(data, **reading), join, **reading)
    check_target_columns(source.frame, names, source.origin)
    for column in (split_column, group_column, time_column, event_group, *written):
        if column and column not in source.frame.columns:
            raise missing_column(column, source.frame.columns, source.origin)
    if time_column:
        options = dataclasses.replace(options, time_form=_date_form(source, time_column, written, kinds, preprocessing))
    kept, dropped = _kept_rows(source, where, names)
    if exclude is not None:
        kept &= ~_excluded(source, exclude, dropped)
    part = _Part(source, kept)
    columns_read = tuple(source.frame.columns)
    problems = Problems()
    values = (
        read_known_targets(
            part.frame, target_specs, part.place, forms=None if preprocessing is None else preprocessing.forms
        )
        if target_specs
        else [read_survival(part.frame, survival, part.place)]
        if survival is not None
        else read_targets(part.frame, names, part.place, target_kinds=target_kinds, problems=problems)
    )

    def look(later: bool = False) -> tuple[InferredKinds, dict[str, str], tuple[Finding, ...]]:
        """Infer what the columns are, and check their values; `later` more of them will be made."""
        given = _given(source, names, kinds, select, options)
        if later:
            given = {name: kind for name, kind in given.items() if name in part.frame.columns}
        own = {name: form for name, form in written.items() if given.get(name, "date") == "date" and name not in names}
        found = infer_kinds(
            part.frame,
            names,
            given=given,
            place=part.place,
            date_formats=own,
            unreadable=unreadable,
            problems=problems,
        )
        forms = {**found.date_formats, **own}
        return found, forms, check_values(part.frame, found.kinds, part.place, forms, unreadable, problems)

    try:
        looked = look(later=bool(events)) if preprocessing is None else None
    except TlkitError:
        problems.raise_all()  # about the targets
        raise
    if problems.found and looked is not None:  # columns that are a target are raised with the others
        good = {name: kind for name, kind in looked[0].kinds.items() if name not in problems.found}
        rest = [name for name in names if name not in problems.found]
        find_leaks(part.frame, good, rest, [name for name in allow if good.get(name) in _USED], problems=problems)
    problems.raise_all()
    copies = find_copies(part.frame, _compared(part, None if looked is None else looked[0], preprocessing), names)
    found_of_targets: list[Finding] = []
    if not target_specs and survival is None:
        marks = {name: source.marks[name] for name in names if name in source.marks}
        found_of_targets = target_findings(part.frame, names, marks, part.place, target_kinds)
    strata = _strata(values)
    classes = next((target for target in values if target.class_names), None)
    rows = split_rows(
        part.frame,
        options,
        **strata,
        given=part.splits,
        seed=seed,
        place=part.place,
        copies=copies.to_keep_together,
        target=classes,
    )
    repeated = log_copies(copies, rows, part.place)
    if events:
        date = time_column or _only_date(source, names, kinds, preprocessing)
        form = _date_form(source, date, written, kinds, preprocessing)
        borders = _borders(part, date, rows, options, form)
        marked = event_features(
            source.frame, date=date, events=events, group=event_group, known_from=borders, date_format=form
        )
        source = source.replaced(marked)
        part = _Part(source, kept)
    specs, to_choose = tuple(target_specs or ()), list[str]()
    if not specs:
        units = {name: form.unit for name, form in source.forms.items()}
        plain, to_choose = _without_auto(transform, values)
        specs = fit_targets(values, rows, transform=plain, y_range=y_range, loss_weights=loss_weights, units=units)
    if preprocessing is None:
        # The features of events are columns, too.
        inferred, written, unread = look() if events or looked is None else looked
        problems.raise_all()
        leaks = find_leaks(part.frame, inferred.kinds, names, allow, copies.numbers)
        check_formats(part.frame, fields.formats, {**dict.fromkeys(names, "target"), **inferred.kinds}, part.place)
        preprocessing = _fit(part, rows["train"], inferred, scaling, min_count, hash_buckets, cyclic, fields, written)
        preprocessing = dataclasses.replace(preprocessing, unreadable=unreadable)
    else:
        unread = _check_known(part.frame, preprocessing, part.place)
        inferred, leaks = InferredKinds(_kinds_of(preprocessing)), ()
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
            *_split_findings(options, inferred.kinds, events),
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
        path: a table as for `table_from_file`. Of data in parts, the test rows are taken, or else the validation rows.
        preprocessing: that of the model.
        targets: those of the model.
        history: rows before these, which events may be looked up in; joined as `path` is, not measured on.
        date_formats: as for `table_from_file`, of columns that the model does not read.
        join, where, time_column, events, event_group, batch_size, separator, encoding: as for
            `table_from_file`.

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
        "reading": _reading_of(preprocessing, targets),
    }
    source = join_tables(read_source(path, **reading), join, **reading)
    names = target_columns(targets)
    check_target_columns(source.frame, names, source.origin)
    kept, dropped = _kept_rows(source, where, names)
    part = _Part(source, kept)
    held_out = np.arange(len(part.frame))
    if part.splits is not None:
        split = next(name for name in ("test", "val", "train") if name in part.splits.tolist())
        held_out = np.flatnonzero(part.splits == split)
    if events:
        date = time_column or _only_date(source, names, None, preprocessing)
        earlier = join_tables(read_source(history, **reading), join, **reading).frame if history is not None else None
        form = _date_form(source, date, date_formats or {}, None, preprocessing)
        frame = with_earlier_events(source.frame, earlier, date, events, event_group, form)
        source = source.replaced(frame)
        part = _Part(source, kept)

    def place(rows: np.ndarray) -> str:
        return part.place(held_out[rows])

    problems = Problems()
    rows = part.frame.iloc[held_out]
    unread = _check_known(rows, preprocessing, place, problems)
    values = read_known_targets(rows, targets, place, forms=preprocessing.forms, problems=problems)
    problems.raise_all()
    whole = [_spread(target, held_out, len(part.frame)) for target in values]
    return TabularData(
        part.source,
        {"test": held_out},
        preprocessing=preprocessing,
        targets=targets,
        values=whole,
        kinds=_kinds_of(preprocessing),
        findings=unread,
        dropped=dropped,
        batch_size=batch_size,
        unknown_rate=0.0,
    )


def names_of(targets: str | Sequence[str] | SurvivalColumns) -> list[str]:
    """Return the columns that hold the labels."""
    if isinstance(targets, SurvivalColumns):
        return targets.names
    return [targets] if isinstance(targets, str) else list(targets)


class _Part:
    """Some rows of a source, as a source of their own."""

    def __init__(self, source: FrameSource, kept: np.ndarray):
        rows = np.flatnonzero(kept)
        self.frame = source.frame if kept.all() else source.frame.iloc[rows].reset_index(drop=True)
        self.splits = None if source.splits is None else source.splits[rows]
        begins = [int(np.searchsorted(rows, begin)) for _, begin in source.parts]
        parts = tuple((name, begin) for (name, _), begin in zip(source.parts, begins, strict=True))
        self.source = dataclasses.replace(
            source, frame=self.frame, splits=self.splits, parts=parts, numbers=source.numbers[rows]
        )
        self.place = self.source.place


def _kept_rows(source: FrameSource, where: Sequence[str], targets: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Say which rows count, and how many do not, by reason."""
    dropped = {}
    kept = np.ones(len(source.frame), bool)
    if where:
        kept = rows_where(source, where)
        dropped["where"] = int((~kept).sum())
    given = source.frame[list(targets)].notna().all(axis=1).to_numpy(bool)
    dropped["missing_target"] = int((kept & ~given).sum())
    kept = kept & given
    if not kept.any():
        raise DataError(f"no row of {source.origin} has every target", received=list(targets))
    return kept, dropped


def _excluded(source: FrameSource, exclude: str | Path, dropped: dict[str, int]) -> np.ndarray:
    """Say which rows a list of exclusions names, and count them."""
    root = root_of(source.origin)
    names = [relative_name(source.place([row]), root) for row in range(len(source.frame))]
    found = excluded_rows(exclude, names, lambda row: digest_of(source.frame.iloc[[row]]), source.origin)
    dropped["excluded"] = int(found.sum())
    return found


def _strata(values: Sequence[TargetValues]) -> dict[str, np.ndarray | None]:
    """Give what a random split is stratified by: the first classes there are, or else the first number."""
    for target in values:
        if target.strata is not None:
            return {"labels": target.strata, "values": None}
    return {"labels": None, "values": values[0].values}


def _compared(part: _Part, inferred: InferredKinds | None, preprocessing: TablePreprocessing | None) -> list[str]:
    """Name the input columns whose values make rows copies of each other."""
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


def _given(
    source: FrameSource,
    targets: Sequence[str],
    kinds: Mapping[str, ColumnKind] | None,
    select: Sequence[str] | None,
    options: SplitOptions,
) -> dict[str, ColumnKind]:
    """Give the kinds that need no look at the values."""
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


def _split_findings(options: SplitOptions, kinds: Mapping[str, ColumnKind], events: Sequence[str]) -> Iterator[Finding]:
    """Report columns whose part in the split is not what one might think."""
    group, time = options.group_column, options.time_column
    if group and kinds.get(group) in ("categorical", "continuous", "boolean"):
        yield Finding(group, kinds[group], "is an input, but the held-out groups do not occur in training")
    if time and not options.by_time and not events:
        by = f"by {options.split_column}" if options.split_column else f"in whole groups of {group}"
        yield Finding(time, kinds.get(time, "ignore"), f"is not used for the split: rows are held out {by}")


def _fit(
    part: _Part,
    train: np.ndarray,
    inferred: InferredKinds,
    scaling: Scaling,
    min_count: int,
    hash_buckets: Mapping[str, int] | None,
    cyclic: Sequence[str],
    reading: Reading,
    date_formats: Mapping[str, str],
) -> TablePreprocessing:
    inputs = {name: kind for name, kind in inferred.kinds.items() if kind not in ("id", "ignore")}
    if not inputs:
        left = [f"{finding.column} ({finding.why})" for finding in inferred.warnings]
        raise DataError(f"{part.source.origin} has no column that can be an input", received=left or None)
    for option, columns, kind in (("hash_buckets", hash_buckets or {}, "categorical"), ("cyclic", cyclic, "date")):
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
        scaling=scaling,
        min_count=min_count,
        hash_buckets=hash_buckets or {},
        cyclic=tuple(cyclic),
        missing=reading.missing,
        column_missing={name: form.missing for name, form in reading.formats.items() if name in inputs},
        date_formats={name: form for name, form in date_formats.items() if inputs.get(name) == "date"},
    )
    return dataclasses.replace(fitted, forms=dict(part.source.forms))


def _reading_of(preprocessing: TablePreprocessing, targets: Sequence[Target]) -> Reading:
    """Make the reading of a table whose columns and targets are known."""
    found = reading_of_fitted(preprocessing.columns, preprocessing.forms, preprocessing.missing)
    classes = {target.name for target in targets if target.kind == "single_label" and are_texts(target.class_names)}
    times = {target.columns[0] for target in targets if target.kind == "survival"}
    return found.changed(text_columns=found.text_columns | classes, number_columns=found.number_columns | times)


def _kinds_of(preprocessing: TablePreprocessing) -> dict[str, ColumnKind]:
    def kind(column: object) -> ColumnKind:
        if isinstance(column, Categorical):
            return "boolean" if column.boolean else "categorical"
        return "date" if isinstance(column, Date) else "continuous"

    return {column.name: kind(column) for column in preprocessing.columns}


def _check_known(
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
    known = _kinds_of(preprocessing)
    kinds = {column.name: known[column.name] for column in read if frame[column.name].notna().any()}
    forms = {column.name: column.form for column in read if isinstance(column, Date) and column.form}
    unread = check_values(frame, kinds, place, forms, preprocessing.unreadable or "error", wrong)
    if problems is None:
        wrong.raise_all()
    return unread


def _date_form(
    source: FrameSource,
    name: str,
    written: Mapping[str, str],
    kinds: Mapping[str, ColumnKind] | None,
    preprocessing: TablePreprocessing | None,
) -> str:
    """Say how the dates of a column are written: as was said, as the model reads it, or as its values say."""
    import pandas as pd

    fitted = preprocessing.columns if preprocessing is not None else ()
    known = {column.name: column.form for column in fitted if isinstance(column, Date)} | dict(written)
    column = source.frame[name]
    is_text = not pd.api.types.is_numeric_dtype(column.dtype)
    if name in known or not (is_text or (kinds or {}).get(name) == "date"):
        return known.get(name, "")
    guess = find_date_form(column, name, source.place)
    return guess.form if guess is not None else ""


def _only_date(
    source: FrameSource,
    targets: Sequence[str],
    kinds: Mapping[str, ColumnKind] | None,
    preprocessing: TablePreprocessing | None,
) -> str:
    """Find the column that says on which day an event was."""
    known = _kinds_of(preprocessing) if preprocessing is not None else dict(kinds or {})
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


def _borders(part: _Part, date: str, rows: Mapping[str, np.ndarray], options: SplitOptions, form: str) -> list[object]:
    """Give the first days that training, and then validation, must not see: as they were said, or as rows fell."""
    said = {"val": options.val_from, "test": options.test_from}
    if form:  # events know ISO dates
        times = np.zeros(0, "M8[us]")
        said = {
            name: None if day is None else border_of(day, f"{name}_from", times, form) for name, day in said.items()
        }
    firsts = first_moments(part.frame, date, rows, form)
    held_out = [name for name in rows if name != "train"]
    # A day that was said counts even where `where` took away all its rows.
    return [said[name] if said[name] is not None else first for name, first in zip(held_out, firsts, strict=False)]


def _spread(target: TargetValues, rows: np.ndarray, count: int) -> TargetValues:
    """Put the values of some rows at their places among all."""
    values = np.zeros((count, *target.values.shape[1:]), target.values.dtype)
    values[rows] = target.values
    return dataclasses.replace(target, values=values)
