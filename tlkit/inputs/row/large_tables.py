"""Parquet tables that are larger than memory: fitted in two passes, trained on row group by row group."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.errors import ConfigError, DataError, missing_column
from tlkit.inputs.files.row_groups import RowGroups
from tlkit.inputs.files.source import tidy
from tlkit.inputs.labelled import ClassWeight
from tlkit.inputs.row.check import check_finite, check_target_columns, check_values, find_leaks
from tlkit.inputs.row.column_kinds import infer_kinds
from tlkit.inputs.row.columns import Column, ColumnKind, Continuous, Unreadable
from tlkit.inputs.row.data import check_table_options
from tlkit.inputs.row.date_form import check_date_form
from tlkit.inputs.row.fitting import Scaling, fit_table
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.row.row_group_data import RowGroupData
from tlkit.inputs.row.targets import fit_targets, read_targets
from tlkit.inputs.wire import argument_names
from tlkit.targets.base import TargetKind
from tlkit.targets.regression import Transform

if TYPE_CHECKING:
    import pandas as pd


def table_from_row_groups(
    path: str | Path,
    targets: str | Sequence[str],
    *,
    kinds: Mapping[str, ColumnKind] | None = None,
    select: Sequence[str] | None = None,
    val_fraction: float = 0.2,
    scaling: Scaling = "quantile",
    min_count: int = 2,
    hash_buckets: Mapping[str, int] | None = None,
    cyclic: Sequence[str] = (),
    transform: Transform | Mapping[str, Transform] = "none",
    y_range: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
    target_kinds: Mapping[str, TargetKind] | None = None,
    loss_weights: Mapping[str, float] | None = None,
    batch_size: int = 256,
    seed: int = 0,
    class_weight: ClassWeight = "none",
    allow: Collection[str] = (),
    sample_rows: int = 200_000,
    missing: Sequence[str] = (),
    date_formats: Mapping[str, str] | None = None,
    unreadable: Unreadable = "error",
) -> RowGroupData:
    """Load a Parquet file that is larger than memory. Only its targets are kept in memory.

    Two passes: the first draws a sample of the training rows and reads the targets; the second counts the values of
    the categories, exactly. Kinds, likeness to a target, medians and scales are those of the sample. Validation rows
    are drawn at random, not stratified. Rows that are copies of others are not looked for.

    Example:
        >>> data = table_from_row_groups("sales.parquet", "amount", batch_size=1024)

    Args:
        path: the file.
        targets: the column to predict, or several.
        min_count: values of a category that occur less often in training count as unknown; nothing else trains the
            embedding of what is unknown here.
        sample_rows: about how many training rows the sample has.
        missing: texts that stand for no value in columns of text; the empty text does in any case.
        date_formats, unreadable: as for `tlkit.inputs.row.reading.table_from_file`.
        kinds, select, val_fraction, scaling, hash_buckets, cyclic, transform, y_range, target_kinds,
            loss_weights, batch_size, seed, class_weight, allow: as for `tlkit.inputs.row.reading.table_from_file`.

    Returns:
        The data.

    Raises:
        ConfigError: an argument is invalid.
        DataError: the table, a column or a row cannot be used.
    """
    import pandas as pd

    check_table_options(batch_size, seed, class_weight, "shuffle", 0.0)
    if isinstance(val_fraction, bool) or not isinstance(val_fraction, int | float) or not 0 < val_fraction < 1:
        raise ConfigError("val_fraction is invalid", received=val_fraction, allowed="a number between 0 and 1")
    groups = RowGroups(path, missing)
    names = [targets] if isinstance(targets, str) else list(targets)
    for name in (*names, *(select or ())):
        if name not in groups.columns:
            raise missing_column(name, groups.columns, groups.origin)
    random = np.random.default_rng(seed)
    in_val = random.random(groups.starts[-1]) < val_fraction
    in_sample = ~in_val & (random.random(len(in_val)) < sample_rows / len(in_val))
    samples, aims = [], []
    for number, (begin, end) in enumerate(itertools.pairwise(groups.starts)):
        frame = groups.read(number)
        aims.append(frame[names])
        samples.append(frame[in_sample[begin:end]])
    aim = tidy(pd.concat(aims, ignore_index=True))
    sample = tidy(pd.concat(samples, ignore_index=True))

    def place(rows: np.ndarray) -> str:
        return f"{groups.origin} data row {rows[0] + 1}" + (f" ({len(rows)} such rows)" if len(rows) > 1 else "")

    def in_the_sample(rows: np.ndarray) -> str:
        return place(np.flatnonzero(in_sample)[rows])

    check_target_columns(aim, names, groups.origin)
    given = aim.notna().all(axis=1).to_numpy(bool)
    kept = np.flatnonzero(given)
    values = read_targets(aim.iloc[kept], names, lambda rows: place(kept[rows]), target_kinds=target_kinds)
    rows = {"train": np.flatnonzero(given & ~in_val), "val": np.flatnonzero(given & in_val)}
    if not len(rows["val"]) or not len(rows["train"]):
        raise DataError("too few rows to split", received=len(kept))
    position = np.cumsum(given) - 1
    specs = fit_targets(
        values,
        {name: position[own] for name, own in rows.items()},
        transform=transform,
        y_range=y_range,
        loss_weights=loss_weights,
    )
    ignored: dict[str, ColumnKind] = {}
    if select is not None:
        ignored = {name: "ignore" for name in groups.columns if name not in select and name not in names}
    written = {name: check_date_form(form) for name, form in (date_formats or {}).items()}
    given_kinds = {**ignored, **(kinds or {})}
    found = infer_kinds(
        sample, names, given=given_kinds, place=in_the_sample, date_formats=written, unreadable=unreadable
    )
    written = {**found.date_formats, **{name: form for name, form in written.items() if found.kinds[name] == "date"}}
    unread = check_values(sample, found.kinds, in_the_sample, written, unreadable)
    leaks = find_leaks(sample, found.kinds, names, allow)
    inputs = {name: kind for name, kind in found.kinds.items() if kind not in ("id", "ignore")}
    if not inputs:
        raise DataError(f"{groups.origin} has no column that can be an input")
    options: dict[str, Any] = {
        "scaling": scaling,
        "min_count": min_count,
        "hash_buckets": hash_buckets or {},
        "cyclic": cyclic,
        "missing": tuple(missing),
        "date_formats": written,
        "unreadable": unreadable,
    }
    preprocessing, fingerprint = _fit(groups, sample, inputs, ~in_val, options, place)
    return RowGroupData(
        groups,
        {name: (own, position[own]) for name, own in rows.items()},
        preprocessing=preprocessing,
        targets=specs,
        values=values,
        kinds=found.kinds,
        questions=found.questions,
        findings=(*found.warnings, *unread, *leaks),
        batch_size=batch_size,
        seed=seed,
        class_weight=class_weight,
        fingerprint=fingerprint,
    )


def _fit(
    groups: RowGroups,
    sample: pd.DataFrame,
    inputs: Mapping[str, ColumnKind],
    in_train: np.ndarray,
    options: Mapping[str, Any],
    place: Callable[[np.ndarray], str],
) -> tuple[TablePreprocessing, str]:
    """Fit measures on the sample and vocabularies on all training rows; give a fingerprint of the file as well."""
    import pandas as pd

    fitted = fit_table(sample[list(inputs)], inputs, **options)
    listed = {
        column.name
        for column in fitted.columns
        if not isinstance(column, Continuous) and not getattr(column, "hash_buckets", 0)
    }
    counts: dict[str, pd.Series] = {}
    gaps: set[str] = set()
    digest = hashlib.sha256()
    starts = groups.starts
    for number in range(len(groups)):
        frame = groups.read(number)
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy("<u8").tobytes())

        def in_the_group(rows: np.ndarray, begin: int = starts[number]) -> str:
            return place(rows + begin)

        for name, kind in inputs.items():
            if kind == "continuous":
                check_finite(frame[name], name, in_the_group)
            elif options["unreadable"] == "error" and frame[name].notna().any():
                form = options["date_formats"].get(name, "")
                check_values(frame[[name]], {name: kind}, in_the_group, {name: form} if form else {})
        frame = frame[in_train[starts[number] : starts[number + 1]]]
        gaps |= {name for name in inputs if frame[name].isna().any()}
        for name in listed:
            own = frame[name].value_counts()
            counts[name] = own if name not in counts else counts[name].add(own, fill_value=0)
    arguments = argument_names(inputs)
    columns: list[Column] = []
    for column in fitted.columns:
        if column.name in listed:
            # Each value as often as decides whether it is rare: the vocabulary of all rows, without the rows.
            often = counts[column.name].clip(upper=options["min_count"]).astype(int)
            values = often.index.repeat(often)
            one = {column.name: inputs[column.name]}
            chosen = {**options, "hash_buckets": {}, "cyclic": [name for name in options["cyclic"] if name in one]}
            chosen["date_formats"] = {name: form for name, form in options["date_formats"].items() if name in one}
            whole = fit_table(pd.DataFrame({column.name: values}), one, **chosen).columns[0]
            columns.append(dataclasses.replace(whole, argument=arguments[column.name]))
        elif isinstance(column, Continuous):
            columns.append(dataclasses.replace(column, flag=column.name in gaps))
        else:
            columns.append(column)
    return dataclasses.replace(fitted, columns=tuple(columns)), digest.hexdigest()
