"""Ratings of items by users as training data: read, cleaned, and split as recommenders are measured."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tlkit.errors import ConfigError, DataError, check_choice, missing_column
from tlkit.inputs.files.fields import reading_of
from tlkit.inputs.files.source import FrameSource, join_tables, read_source
from tlkit.inputs.row.columns import ColumnKind
from tlkit.inputs.row.data import TabularData
from tlkit.inputs.row.event_dates import date_form
from tlkit.inputs.row.events import as_moments
from tlkit.inputs.row.reading import table_from_file

if TYPE_CHECKING:
    import pandas as pd

RatingSplit = Literal["random", "last", "user"]
MARGIN = 0.1  # of the range of the ratings, by which answers may leave it: a sigmoid never reaches its ends
_SPLIT = "split of the ratings"
_FEWEST = 3  # ratings of a user whose last one is held out
_log = logging.getLogger("tlkit")


def ratings_from_file(
    data: str | Path | pd.DataFrame,
    *,
    user: str,
    item: str,
    rating: str,
    time: str | None = None,
    user_columns: Sequence[str] = (),
    item_columns: Sequence[str] = (),
    kinds: Mapping[str, ColumnKind] | None = None,
    join: Sequence[tuple[Any, str | Sequence[str]]] = (),
    split: RatingSplit = "random",
    split_column: str | None = None,
    val_fraction: float = 0.2,
    rating_range: Sequence[float] | None = None,
    least_of_user: int = 1,
    least_of_item: int = 1,
    separator: str | None = None,
    encoding: str = "utf-8",
    batch_size: int = 512,
    unknown_rate: float = 0.01,
    seed: int = 0,
) -> TabularData:
    """Read ratings, clean them, split them, and encode users and items.

    Where a user has rated an item more than once, the newest rating is kept: the last one by `time`, or in the file.
    Rows that are left out are counted in `dropped`.

    Example:
        >>> data = ratings_from_file("ratings.csv", user="userId", item="movieId", rating="rating", time="timestamp")
        >>> data.summary()["rows"]
        {'train': 80669, 'val': 20167}

    Args:
        data: a .csv, .tsv or .parquet file, or a DataFrame; a row for each rating.
        user, item: columns of ids; they are categories whatever they look like.
        rating: column of numbers.
        time: column of dates or numbers that says which ratings are newer; the order of the file when left out.
        user_columns, item_columns: further columns that describe the user or the item; all others are not used.
        kinds: what these are, as for `table_from_file`; otherwise it is inferred.
        join: further tables, such as the items, each with the column that it shares with `data`.
        split: `"random"` rows; `"last"`, the newest rating of each user with three or more; or `"user"`, all ratings of
            some users, which are then as good as new.
        split_column: `train`, `val` or `test` for each row, in place of `split`.
        val_fraction: part that is held out, of rows or of users; not used for `"last"`.
        rating_range: lowest and highest rating that there can be; that of the data when left out. Answers may leave it
            by a tenth of its width, since a sigmoid never reaches its ends.
        least_of_user, least_of_item: users and items with fewer ratings are left out, until none is left (k-core).
        separator, encoding: of a text file.
        batch_size: ratings per batch.
        unknown_rate: share of the ids in training batches that are shown as unknown, so that new users and items have a
            vector that was trained.
        seed: of split and order.

    Returns:
        A `TabularData` whose only target is the rating.

    Raises:
        ConfigError: an argument is invalid.
        DataError: a column is missing, has one value only, or holds what cannot be read; a rating is out of range; or
            nothing is left.
    """
    check_choice("split", split, get_args(RatingSplit))
    for name, least in (("least_of_user", least_of_user), ("least_of_item", least_of_item)):
        if isinstance(least, bool) or not isinstance(least, int) or least < 1:
            raise ConfigError(f"{name} is invalid", received=least, allowed="a whole number from 1")
    columns = [user, item, *user_columns, *item_columns]
    if len({*columns, rating, *([time] if time else [])}) < len(columns) + 1 + bool(time):
        raise ConfigError("a column of the ratings is named twice", received=[*columns, rating, time])
    fields = reading_of(kinds={user: "categorical", item: "categorical", rating: "continuous", **(kinds or {})})
    options: dict[str, Any] = {"separator": separator, "encoding": encoding, "reading": fields}
    source = join_tables(read_source(data, **options), join, **options)
    for name in (*columns, rating, *(name for name in (time, split_column) if name)):
        if name not in source.frame.columns:
            raise missing_column(name, source.frame.columns, source.origin)
    limits = _checked_range(source, rating, rating_range)
    order = _order(source, time)
    kept, dropped = _kept(source, user, item, rating, order, least_of_user, least_of_item)
    frame = source.frame.iloc[kept].reset_index(drop=True)
    for name in (user, item):
        if frame[name].nunique() < 2:
            raise DataError(
                f"column {name!r} has a single value: there is nothing to recommend",
                received=frame[name].iloc[0] if len(frame) else "no row",
                fix="name the right columns",
            )
    where: dict[str, Any] = {}
    if split_column:
        where = {"split_column": split_column}
    elif split == "user":
        where = {"group_column": user}
    elif split == "last":
        frame[_SPLIT] = _last_of_each(frame[user], order[kept])
        where = {"split_column": _SPLIT}
    given: dict[str, Any] = {user: "categorical", item: "categorical", **(kinds or {})}
    margin = MARGIN * (limits[1] - limits[0])
    found = table_from_file(
        frame,
        rating,
        kinds=given,
        select=columns,
        target_kinds={rating: "regression"},
        y_range=[limits[0] - margin, limits[1] + margin],
        val_fraction=val_fraction,
        batch_size=batch_size,
        unknown_rate=unknown_rate,
        seed=seed,
        **where,
    )
    found.dropped |= dropped
    # That a column has very many values is no finding about an id.
    found.findings = tuple(finding for finding in found.findings if finding.column not in (user, item))
    return found


def _checked_range(source: FrameSource, rating: str, given: Sequence[float] | None) -> tuple[float, float]:
    import pandas as pd

    values = pd.to_numeric(source.frame[rating], errors="coerce")
    if not values.notna().any():
        raise DataError(f"column {rating!r} has no ratings", received=source.frame[rating].iloc[0], allowed="numbers")
    low, high = float(values.min()), float(values.max())
    if given is not None:
        if len(given) != 2 or not given[0] < given[1]:
            raise ConfigError("rating_range is invalid", received=list(given), allowed="a lower, a higher number")
        outside = np.flatnonzero((values < given[0]) | (values > given[1]))
        if len(outside):
            raise DataError(
                f"a rating is outside of the range: {source.place(outside)}",
                received=float(values.iloc[outside[0]]),
                allowed=f"{given[0]:g} to {given[1]:g}",
                fix="correct it, or widen rating_range",
            )
        low, high = float(given[0]), float(given[1])
    if low == high:
        raise DataError(
            f"all ratings in {rating!r} are the same: there is nothing to learn",
            received=low,
            fix="rows that say only who took what need a rating; choose another column",
        )
    return low, high


def _order(source: FrameSource, time: str | None) -> np.ndarray:
    """Return numbers that rise with the age of the rows: their time, or their place in the file.

    Raises:
        DataError: a time cannot be read.
    """
    import pandas as pd

    if not time:
        return np.arange(len(source.frame))
    column = source.frame[time]
    if pd.api.types.is_numeric_dtype(column.dtype):
        moments = column
    else:
        moments = as_moments(column, date_form(source, time, {}, None, None))
    bad = np.flatnonzero(moments.isna())
    if len(bad):
        raise DataError(
            f"a time in column {time!r} cannot be read: {source.place(bad)}",
            received=column.iloc[bad[0]],
            allowed="a date such as 2015-06-19, or a number",
        )
    # Rows of one moment stand as in the file.
    places = np.empty(len(column), np.int64)
    places[np.argsort(moments.to_numpy(), kind="stable")] = np.arange(len(column))
    return places


def _kept(
    source: FrameSource, user: str, item: str, rating: str, order: np.ndarray, of_user: int, of_item: int
) -> tuple[np.ndarray, dict[str, int]]:
    """Return the rows that are used, in the order of the file, and how many were left out by reason."""
    frame = source.frame
    named = frame[user].notna() & frame[item].notna() & (frame[user] != "") & (frame[item] != "")
    kept = np.flatnonzero(named)
    dropped = {"no user or item": len(frame) - len(kept)}
    pairs = frame.iloc[kept][[user, item]].assign(order=order[kept], rated=frame[rating].notna().to_numpy()[kept])
    newest = pairs.sort_values(["rated", "order"]).duplicated([user, item], keep="last")
    repeated = newest.sort_index().to_numpy()
    dropped["rated again later"] = int(repeated.sum())
    kept = kept[~repeated]
    before = len(kept)
    while True:
        part = frame.iloc[kept]
        few = (part.groupby(user)[item].transform("size") < of_user) | (
            part.groupby(item)[user].transform("size") < of_item
        )
        if not few.any():
            break
        kept = kept[~few.to_numpy()]
    dropped["of a user or item with few ratings"] = before - len(kept)
    if not len(kept):
        raise DataError(
            "no rating is left",
            received=dropped,
            fix="lower least_of_user and least_of_item, or check the columns of users and items",
        )
    for why, count in dropped.items():
        if count:
            _log.info("ratings left out: %d (%s)", count, why)
    return kept, {why: count for why, count in dropped.items() if count}


def _last_of_each(users: pd.Series, order: np.ndarray) -> np.ndarray:
    """Return the split of each row: `val` for the newest of every user with three or more.

    Raises:
        DataError: there is no such user.
    """
    import pandas as pd

    ranks = pd.Series(order).groupby(users.to_numpy()).rank(method="first", ascending=False).to_numpy()
    sizes = users.groupby(users).transform("size").to_numpy()
    held = (ranks == 1) & (sizes >= _FEWEST)
    if not held.any():
        raise DataError(
            "no user has three ratings, so that none can be held out",
            received=f"{int(sizes.max())} at most",
            fix='set split = "random"',
        )
    return np.where(held, "val", "train").astype(object)
