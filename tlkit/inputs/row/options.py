"""Options of `table_from_file`: how files are read, what columns are, and how rows are divided."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlkit.inputs.options import FileOptions
from tlkit.inputs.row.columns import ColumnKind, Unreadable
from tlkit.inputs.row.feature_fitting import FeatureOptions
from tlkit.inputs.row.fitting import Scaling

TableLike = Any  # a path, a DataFrame, or a mapping from split to one of them


@dataclasses.dataclass(frozen=True)
class ReadOptions(FileOptions):
    """Which rows a table has, and how its files are written.

    Args:
        separator, encoding, decimal, thousands, missing, formats: see `FileOptions`.
        date_formats: how the dates of a column are written: a format of `strptime` such as `"%m/%d/%Y"`, `"epoch
            seconds"` or `"epoch milliseconds"`. Other columns are inferred: ISO 8601, or what all values have in
            common. It also applies to `time_column`, `val_from` and `test_from`.
        unreadable: treatment of a date or boolean that cannot be read, here and in the export: `"error"` refuses it,
            `"missing"` takes it for a missing value.
        join: further tables, each with the column or columns that it shares with the table; see `join_tables`.
        where: conditions that rows must meet, such as `"Open == 1"`; see `rows_where`.
        exclude: a list of rows that are left out, as `tlkit check --fix` writes it.
    """

    date_formats: Mapping[str, str] | None = None
    unreadable: Unreadable = "error"
    join: Sequence[tuple[TableLike, str | Sequence[str]]] = ()
    where: Sequence[str] = ()
    exclude: str | Path | None = None


@dataclasses.dataclass(frozen=True)
class ColumnOptions:
    """Which columns are inputs, and how they are encoded.

    Args:
        kinds: column -> `"categorical"`, `"continuous"`, `"date"`, `"boolean"`, `"id"` or `"ignore"`; the others are
            inferred (see `infer_kinds`). `id` and `ignore` are no inputs.
        select: the only columns that are inputs; all others are ignored.
        allow: columns that may be inputs although they look like a target.
        events: columns that mark days (holidays, promotions); they are used as they are, and days since the last and
            until the next event and counts are added. Needs a date: `time_column`, or the only date column. They are
            made before `where` takes rows away. See `event_features` for what a row may see.
        event_group: column such as a store, whose values have events of their own.
        scaling: of continuous columns: `"quantile"` (normal scores of their ranks), `"standard"` or `"robust"`.
        min_count: values of a category that occur less often in training count as unknown.
        hash_buckets: column -> number of codes, for categories with too many values for a list.
        cyclic: date columns that also become sines and cosines.
        features: `FeatureOptions` or its fields: counts and target means of categories, ratios, differences of dates.
    """

    kinds: Mapping[str, ColumnKind] | None = None
    select: Sequence[str] | None = None
    allow: Collection[str] = ()
    events: Sequence[str] = ()
    event_group: str | None = None
    scaling: Scaling = "quantile"
    min_count: int = 1
    hash_buckets: Mapping[str, int] | None = None
    cyclic: Sequence[str] = ()
    features: FeatureOptions | Mapping[str, Any] | None = None
