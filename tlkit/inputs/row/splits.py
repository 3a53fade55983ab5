"""Which rows of a table are for training, for validation and for testing."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.row.date_form import shown_form
from tlkit.inputs.row.events import as_moments
from tlkit.inputs.row.target_kinds import or_regression
from tlkit.inputs.splits import ClassWords, multi_label_split, split_with_copies, time_split, train_val_split
from tlkit.inputs.text.listing import SPLIT_NAMES

if TYPE_CHECKING:
    import pandas as pd

    from tlkit.inputs.row.targets import TargetValues

_BINS = 10  # a regression's values are stratified by these many quantiles


@dataclasses.dataclass(frozen=True)
class SplitOptions:
    """How the rows of a table are divided.

    Args:
        split_column: `train`, `val` or `test` for each row; never an input.
        group_column: rows with the same value (patient, customer) are kept in one split; no input unless `kinds`
            makes it one (which is then reported), since held-out groups are never seen in training.
        time_column: dates or numbers; the newest rows are held out, unless there is a split or group column.
        val_fraction, test_fraction: fractions of all rows that are held out if the data does not come in parts; at
            random they are stratified by class, or by the decile of a number.
        val_from, test_from: dates or numbers of `time_column` from which on rows are held out, instead of fractions.
        time_form: how the dates of `time_column` are written, if not as ISO 8601; set by the reader.

    Raises:
        ConfigError: options that exclude each other, or a fraction that is not one.
    """

    split_column: str | None = None
    group_column: str | None = None
    time_column: str | None = None
    val_fraction: float = 0.2
    test_fraction: float = 0.0
    val_from: object = None
    test_from: object = None
    time_form: str = dataclasses.field(default="", metadata={"internal": True})

    def __post_init__(self) -> None:
        named = {
            name: column
            for name, column in (
                ("split_column", self.split_column),
                ("group_column", self.group_column),
                ("time_column", self.time_column),
            )
            if column
        }
        # A time column may stand beside the others: the events need a date.
        if self.split_column and self.group_column:
            raise ConfigError(
                "a split by column cannot be combined with a split by group", received=named, fix="remove one of them"
            )
        if (self.val_from is not None or self.test_from is not None) and not self.time_column:
            raise ConfigError("val_from and test_from need a time_column", received=(self.val_from, self.test_from))
        if (self.val_from is not None or self.test_from is not None) and (self.split_column or self.group_column):
            raise ConfigError("val_from and test_from cannot be combined with another split", received=named)
        for name in ("val_fraction", "test_fraction"):
            part = getattr(self, name)
            if isinstance(part, bool) or not isinstance(part, int | float) or not 0 <= part < 1:
                raise ConfigError(f"{name} is invalid", received=part, allowed="a number from 0 to below 1")
        if self.val_fraction + self.test_fraction >= 1:
            raise ConfigError(
                "val_fraction and test_fraction leave nothing for training",
                received=(self.val_fraction, self.test_fraction),
                allowed="a sum below 1",
            )

    @property
    def by_time(self) -> bool:
        """Whether the newest rows are held out."""
        return self.time_column is not None and not self.split_column and not self.group_column


Divide = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]


def split_rows(
    frame: pd.DataFrame,
    options: SplitOptions,
    *,
    labels: np.ndarray | None,
    values: np.ndarray | None,
    given: np.ndarray | None,
    seed: int,
    place: Callable[[np.ndarray], str],
    copies: np.ndarray | None = None,
    target: TargetValues | None = None,
) -> dict[str, np.ndarray]:
    """Give every row its split.

    Rows that came in parts, or with a split column, keep their place; what training has is divided further where
    there is no validation part. Otherwise the newest rows are held out (by time), or whole groups, or rows at random,
    stratified by class, by labels, or by the decile of a number.

    Args:
        frame: the rows.
        options: how to divide them.
        labels: class number of each row int [n], or 0/1 labels [n, k], to stratify by; or None.
        values: number to stratify by, float [n]; or None.
        given: object [n], the part that each row came in; or None.
        seed: the same seed gives the same split.
        place: says where rows stand, for messages.
        copies: int64 [n]; rows that share a number stay on one side where rows are divided at random.
        target: what `labels` are of, for messages.

    Returns:
        Split -> row numbers, int64, ascending; always with `"train"`.

    Raises:
        ConfigError: options that exclude each other.
        DataError: a column is missing or holds what is no split or time, or a side would have no rows.
    """
    if options.split_column:
        if given is not None:
            raise ConfigError(
                "a table for each split cannot be combined with split_column", received=options.split_column
            )
        given = _named_splits(frame[options.split_column], options.split_column, place)
    if options.by_time and given is None and (options.val_from is not None or options.test_from is not None):
        return _by_date(frame[options.time_column], options, place)
    rows = {}
    rest = np.arange(len(frame))
    if given is not None:
        rows = {name: np.flatnonzero(given == name) for name in ("train", "val", "test")}
        rows = {name: own for name, own in rows.items() if len(own)}
        if "train" not in rows:
            raise DataError("there are no training rows", received=sorted(rows), allowed="train, val, test")
        if "val" in rows:
            return rows
        rest = rows.pop("train")

    divide = _divider(frame, options, labels, values, seed, place, copies, target)
    test_fraction = 0.0 if "test" in rows else options.test_fraction
    if test_fraction:
        rest, rows["test"] = divide(rest, test_fraction)
    if options.val_fraction:
        rest, rows["val"] = divide(rest, options.val_fraction / (1 - test_fraction))
    rows["train"] = rest
    return {name: rows[name] for name in ("train", "val", "test") if name in rows}


def _divider(
    frame: pd.DataFrame,
    options: SplitOptions,
    labels: np.ndarray | None,
    values: np.ndarray | None,
    seed: int,
    place: Callable[[np.ndarray], str],
    copies: np.ndarray | None,
    target: TargetValues | None,
) -> Divide:
    words = ClassWords(item="row")
    if target is not None and target.class_names:
        words = ClassWords(target.class_names, "row", or_regression(target.name, target.class_names).lstrip("; "))
    if options.by_time:
        times = times_of(frame[options.time_column], str(options.time_column), place, options.time_form)
        return lambda rows, part: _pick(rows, _newest(times[rows], part))
    if options.group_column:
        import pandas as pd

        groups = pd.factorize(frame[options.group_column], use_na_sentinel=False)[0]
        if labels is None:
            return lambda rows, part: _pick(rows, whole_groups(groups[rows], part, seed))
        if labels.ndim == 2:
            return lambda rows, part: _pick(rows, multi_label_split(labels[rows], part, seed, groups[rows]))
        return lambda rows, part: _pick(rows, train_val_split(labels[rows], part, seed, groups[rows], words=words))
    if labels is not None and labels.ndim == 2:
        return lambda rows, part: _pick(
            rows, multi_label_split(labels[rows], part, seed, None if copies is None else copies[rows])
        )
    strata = bins_of(values, len(frame)) if labels is None else labels

    def at_random(rows: np.ndarray, part: float) -> tuple[np.ndarray, np.ndarray]:
        own = strata[rows]
        items = rows if copies is None else rows[np.unique(copies[rows], return_index=True)[1]]
        if len(items) < 2:
            what = "rows" if copies is None else "different rows"
            raise DataError(f"too few {what} to split", received=len(items), allowed="2 or more")
        if values is not None and np.unique(strata[items], return_counts=True)[1].min() < 2:
            own = np.zeros(len(rows), np.int64)
        classes, counts = np.unique(own, return_counts=True)
        if target is not None and target.class_names and values is None and counts.min() < 2:
            row = rows[own == classes[counts.argmin()]]
            label = target.class_names[int(strata[row[0]])]
            raise DataError(
                f"{place(row)}: a class of {target.name!r} has a single row: it cannot be in training and validation",
                received=f"{label!r}: 1 row; {len(counts)} classes in {len(rows)} rows",
                fix="add rows of it, remove it, or provide your own validation set"
                + or_regression(target.name, target.class_names),
            )
        if copies is None:
            return _pick(rows, train_val_split(own, part, seed, words=words))
        return _pick(rows, split_with_copies(own, copies[rows], part, seed, words=words))

    return at_random


def bins_of(values: np.ndarray | None, count: int) -> np.ndarray:
    """Return the decile of each value (fewer parts of fewer rows), int64 [n], to stratify by."""
    bins = min(_BINS, count // 20)
    if values is None or bins < 2:
        return np.zeros(count, np.int64)
    return np.searchsorted(np.nanquantile(values, np.arange(1, bins) / bins), values, side="right")


def _pick(rows: np.ndarray, parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return rows[parts[0]], rows[parts[1]]


def _newest(times: np.ndarray, part: float) -> tuple[np.ndarray, np.ndarray]:
    moments, ranks = np.unique(times, return_inverse=True)
    if len(moments) < 2:
        raise DataError("all rows have the same time: a split by time is not possible", received=str(moments[0]))
    return time_split(ranks.tolist(), part)


def whole_groups(groups: np.ndarray, part: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold out whole groups, drawn at random, whose rows come nearest to a part of all."""
    _, own, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise DataError("all rows are in one group: no group can be held out", allowed="two groups or more")
    drawn = np.random.default_rng(seed).permutation(len(counts))
    held = np.cumsum(counts[drawn])[:-1]
    border = int(np.abs(held - len(groups) * part).argmin()) + 1
    out = np.isin(own, drawn[:border])
    return np.flatnonzero(~out), np.flatnonzero(out)


def _named_splits(column: pd.Series, name: str, place: Callable[[np.ndarray], str]) -> np.ndarray:
    import pandas as pd

    codes, values = pd.factorize(column)
    named = np.array([SPLIT_NAMES.get(str(value).strip().lower()) for value in values] + [None], object)
    splits = named[codes]
    bad = np.flatnonzero([split is None for split in splits])
    if len(bad):
        raise DataError(
            f"{place(bad)}: column {name!r} is not the name of a split",
            received=str(column.iloc[bad[0]]),
            allowed="train, val, test",
        )
    return splits


def times_of(column: pd.Series, name: str, place: Callable[[np.ndarray], str], form: str = "") -> np.ndarray:
    """Read a column of times: numbers as they are, dates as datetime64.

    Args:
        column: the times.
        name: of the column.
        place: says where rows stand.
        form: how dates are written, where not as ISO 8601; numbers are then dates too.

    Raises:
        DataError: a time is missing or cannot be read.
    """
    import pandas as pd

    if not form and pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        whole = pd.api.types.is_integer_dtype(column.dtype)
        numbers = column.to_numpy(np.float64, na_value=np.nan)
        bad = np.flatnonzero(~np.isfinite(numbers))
        # Whole numbers stay exact: nanoseconds since 1970 are beyond what a float tells apart.
        times = column.to_numpy(np.int64) if whole and not len(bad) else numbers
    else:
        moments = as_moments(column, form)
        bad = np.flatnonzero(moments.isna())
        times = moments.to_numpy()
    if len(bad):
        raise DataError(
            f"{place(bad)}: column {name!r} has a time that is missing or cannot be read",
            received=str(column.iloc[bad[0]]),
            allowed=shown_form(form) if form else "numbers, or ISO dates such as 2024-01-31",
        )
    return times


def border_of(value: object, name: str, times: np.ndarray, form: str = "") -> object:
    """Read `val_from` or `test_from` in the type of the times: an ISO date, or as the column is written.

    Raises:
        ConfigError: it is of another type.
    """
    import pandas as pd

    if times.dtype.kind in "if":
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise ConfigError(f"{name} is invalid", received=value, allowed="a number, like the values of time_column")
        return value
    moment = as_moments(pd.Series([value], dtype=object)).iloc[0] if not isinstance(value, int | float) else pd.NaT
    if pd.isna(moment) and form:
        moment = as_moments(pd.Series([value], dtype=object), form).iloc[0]
    if moment is pd.NaT or pd.isna(moment):
        raise ConfigError(f"{name} is invalid", received=value, allowed=_allowed_border(form))
    return np.datetime64(moment.to_pydatetime(), "us")


def _allowed_border(form: str) -> str:
    return "an ISO date such as 2024-01-31" + (f", or {shown_form(form)}" if form else "")


def _by_date(column: pd.Series, options: SplitOptions, place: Callable[[np.ndarray], str]) -> dict[str, np.ndarray]:
    times = times_of(column, str(options.time_column), place, options.time_form)
    borders: list[tuple[str, object]] = [
        (name, border_of(value, f"{name}_from", times, options.time_form))
        for name, value in (("val", options.val_from), ("test", options.test_from))
        if value is not None
    ]
    if len(borders) == 2 and not borders[0][1] < borders[1][1]:  # type: ignore[operator]
        raise ConfigError("val_from must come before test_from", received=(options.val_from, options.test_from))
    part = np.zeros(len(times), np.int64)
    for number, (_, border) in enumerate(borders, start=1):
        part[times >= border] = number
    rows = {"train": np.flatnonzero(part == 0)}
    rows |= {name: np.flatnonzero(part == number) for number, (name, _) in enumerate(borders, start=1)}
    for name, own in rows.items():
        if not len(own):
            raise DataError(
                f"the split by {options.time_column} has no rows for {name}",
                received=f"{times.min()} to {times.max()}",
                allowed=f"values in this range ({', '.join(f'{n}_from {b}' for n, b in borders)})",
            )
    if "val" not in rows and options.val_fraction:
        older, newer = _newest(times[rows["train"]], options.val_fraction)
        rows = {"train": rows["train"][older], "val": rows["train"][newer], "test": rows["test"]}
    return rows


def first_moments(frame: pd.DataFrame, column: str, rows: Mapping[str, np.ndarray], form: str = "") -> Sequence[object]:
    """Give the borders between the splits, earliest first; none where the splits lie across each other in time."""
    moments = as_moments(frame[column], form)
    spans = [(moments.iloc[own].min(), moments.iloc[own].max()) for own in rows.values() if len(own)]
    if any(later[0] <= earlier[1] for earlier, later in itertools.pairwise(spans)):
        return []
    return [first for first, _ in spans[1:]]
