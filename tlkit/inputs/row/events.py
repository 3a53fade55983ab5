"""Columns about events such as holidays: how long ago the last was, when the next comes, how many there were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlkit.errors import ConfigError, DataError, missing_column
from tlkit.inputs.files.source import tidy
from tlkit.inputs.row.date_form import read_moments, shown_form

if TYPE_CHECKING:
    import pandas as pd

WINDOWS = (7, 28)  # days that the counts look back
_NO = {"", "0", "0.0", "false", "no", "nan", "none", "<na>", "nat"}


def event_features(
    frame: pd.DataFrame,
    *,
    date: str,
    events: Sequence[str],
    group: str | None = None,
    known_from: Sequence[object] = (),
    date_format: str = "",
) -> pd.DataFrame:
    """Add days since the last event, days until the next event, and running counts for each event column.

    A day is an event's where its value is not empty, 0, false or "no"; if a group has several rows for a day, where
    any of them is. On that day itself both distances are 0 and both counts hold it. What cannot be known is missing:
    no event before, or none yet to come. Counts look back a week and four weeks, not to the beginning: such a count
    grows with the calendar, and no held-out row would be like any in training.

    The rows before a border (the first moment of validation, of testing) see no event of the rows from that border
    on, not even on the same day, so that nothing of the held-out part reaches training; later rows look back across it.

    Example:
        >>> days = pd.DataFrame({"day": ["2024-01-01", "2024-01-03", "2024-01-04"], "promo": [1, 0, 1]})
        >>> event_features(days, date="day", events=["promo"]).iloc[1, 2:].tolist()
        [2.0, 1.0, 1.0, 1.0]

    Args:
        frame: the rows, in any order.
        date: column of dates: datetimes, or text.
        events: columns that say whether there is an event, or which.
        group: column whose values (such as stores) have events of their own.
        known_from: borders, ISO dates or datetimes.
        date_format: how `date` is written where not as ISO 8601, such as `"%m/%d/%Y"`.

    Returns:
        A copy of the frame with `<event> days since`, `<event> days until`, `<event> last 7 days` and
        `<event> last 28 days` (today included) for each event, float64.

    Raises:
        ConfigError: no event is named, or a border is not a date.
        DataError: a column is missing, a date is missing or cannot be read, or a column that would be added is there.
    """
    import pandas as pd

    if isinstance(events, str) or not events:
        raise ConfigError("events is invalid", received=events, allowed="a list of columns")
    for column in (date, *events, *([group] if group else [])):
        if column not in frame.columns:
            raise missing_column(column, frame.columns, "the table")
    moments = _moments(frame[date], date, date_format)
    days = moments.astype("datetime64[D]").astype(np.int64)
    borders = np.sort(_borders(known_from))
    groups = np.zeros(len(frame), np.int64)
    if group:
        groups = pd.factorize(frame[group], use_na_sentinel=False)[0].astype(np.int64)
    first, span = int(days.min()), int(days.max() - days.min()) + 1
    # One number for each group and day; groups are so far apart that no window reaches the next.
    stride = span + max(WINDOWS)
    keys = groups * stride + (days - first)
    starts = groups * stride
    # Rows see the events of their own period between two borders and of those before; 0 comes before all borders.
    periods = np.searchsorted(borders, moments, side="right")
    added = []
    for event in events:
        for name in event_columns(event):
            if name in frame.columns:
                raise DataError("the table already has a column of that name", received=name, fix="rename it")
        is_marked = is_event(frame[event])
        values = np.empty((len(frame), 2 + len(WINDOWS)))
        for period in np.unique(periods):
            own = periods == period
            # Ascending, one for each group and day with an event.
            marked = np.unique(keys[is_marked & (periods <= period)])
            values[own] = _distances_and_counts(marked, keys[own], starts[own], stride)
        added.append(pd.DataFrame(values, index=frame.index, columns=list(event_columns(event))))
    return pd.concat([frame, *added], axis=1)


def with_earlier_events(
    frame: pd.DataFrame,
    earlier: pd.DataFrame | None,
    date: str,
    events: Sequence[str],
    group: str | None,
    date_format: str = "",
) -> pd.DataFrame:
    """Add event columns to rows, which may look back into earlier ones."""
    import pandas as pd

    if earlier is None:
        return event_features(frame, date=date, events=list(events), group=group, date_format=date_format)
    columns = [date, *events, *([group] if group else [])]
    for column in columns:
        for side, name in ((earlier, "the history"), (frame, "the table")):
            if column not in side.columns:
                raise missing_column(column, side.columns, name)
    first = as_moments(frame[date], date_format).min()
    earlier = earlier[(as_moments(earlier[date], date_format) < first).to_numpy(bool)]
    both = tidy(pd.concat([earlier[columns], frame[columns]], ignore_index=True))
    added = event_features(both, date=date, events=list(events), group=group, date_format=date_format)
    added = added.iloc[len(earlier) :]
    return pd.concat([frame, added.drop(columns=columns).reset_index(drop=True)], axis=1)


def _distances_and_counts(marked: np.ndarray, keys: np.ndarray, starts: np.ndarray, stride: int) -> np.ndarray:
    """Look up days [n] among days with an event (ascending): float64 [n, 4], the columns of `event_columns`.

    A group's days lie from its start to a stride later.
    """
    values = np.full((len(keys), 2 + len(WINDOWS)), np.nan)
    until_today = np.searchsorted(marked, keys, side="right")
    seen = until_today > np.searchsorted(marked, starts)  # more than the events of earlier groups
    values[seen, 0] = keys[seen] - marked[until_today[seen] - 1]
    next_one = np.searchsorted(marked, keys)
    ahead = next_one < np.searchsorted(marked, starts + stride)
    values[ahead, 1] = marked[next_one[ahead]] - keys[ahead]
    for column, window in enumerate(WINDOWS, start=2):
        values[:, column] = until_today - np.searchsorted(marked, np.maximum(keys - window + 1, starts))
    return values


def event_columns(event: str) -> tuple[str, ...]:
    """Name the columns that `event_features` adds for an event."""
    return f"{event} days since", f"{event} days until", *(f"{event} last {window} days" for window in WINDOWS)


def is_event(column: pd.Series) -> np.ndarray:
    """Say of each value whether it means an event: bool [n]."""
    import pandas as pd

    codes, values = pd.factorize(column)
    marks = np.array([str(value).strip().lower() not in _NO and value != 0 for value in values], bool)
    return np.append(marks, False)[codes]  # code -1, missing, is none


def _moments(column: pd.Series, name: str, form: str) -> np.ndarray:
    moments = as_moments(column, form)
    bad = np.flatnonzero(moments.isna())
    if len(bad):
        raise DataError(
            f"column {name!r} has no usable date in data row {bad[0] + 1} ({len(bad)} such rows)",
            received=str(column.iloc[bad[0]]),
            allowed=shown_form(form) if form else "ISO dates such as 2024-01-31",
        )
    return moments.to_numpy("datetime64[us]")


def as_moments(column: pd.Series, form: str = "") -> pd.Series:
    """Read a column of datetimes or dates: datetimes without time zone, NaT where there is none.

    Args:
        column: datetimes, or dates as `form` says.
        form: `""` for ISO 8601, whose offsets are taken into account; otherwise see
            `tlkit.inputs.row.columns.Date.form`, whose offsets are left aside, as in the exported graph.
    """
    import pandas as pd

    codes, values = pd.factorize(column)  # dates repeat: read each once
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        moments = pd.Series(values)
    elif form:
        moments = pd.Series(read_moments(values, form))
    else:
        moments = pd.to_datetime(pd.Series(values, dtype=object), errors="coerce", utc=True, format="ISO8601")
    if getattr(moments.dt, "tz", None) is not None:
        moments = moments.dt.tz_convert("UTC").dt.tz_localize(None)
    taken = np.append(moments.to_numpy("datetime64[us]"), np.datetime64("NaT", "us"))[codes]
    return pd.Series(taken, index=column.index)


def _borders(known_from: Sequence[object]) -> np.ndarray:
    import pandas as pd

    try:
        borders = pd.to_datetime(pd.Series(list(known_from), dtype=object), utc=True, format="ISO8601")
    except (ValueError, TypeError) as error:
        raise ConfigError("known_from contains no date", received=list(known_from), allowed="ISO dates") from error
    if borders.isna().any():
        raise ConfigError("known_from contains no date", received=list(known_from), allowed="ISO dates")
    return borders.dt.tz_localize(None).to_numpy("datetime64[us]")
