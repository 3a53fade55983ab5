"""What a model says on average when one column is given one value after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tlkit.errors import ConfigError, DataError, check_choice, did_you_mean
from tlkit.tasks.tabular.cells import as_dates

if TYPE_CHECKING:
    import pandas as pd

DependenceKind = Literal["number", "category", "month", "weekday", "hour"]
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclasses.dataclass(frozen=True, eq=False)
class PartialDependence:
    """The mean answer over some rows for each value of a column.

    Attributes:
        column: its name in the table.
        kind: `"number"`, `"category"`, or of a date the `"month"`, the `"weekday"` or the `"hour"`.
        labels: the values as text, m of them.
        positions: where they lie on an axis, float64 [m]: numbers where they are, all others 0, 1, 2.
        means: mean answers, float64 [m, K].
        low: lower quartile of the rows' answers, float64 [m, K].
        high: upper quartile, float64 [m, K].
        rows: how many rows were averaged over.
    """

    column: str
    kind: DependenceKind
    labels: tuple[str, ...]
    positions: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    rows: int

    def to_frame(self, output: int = 0) -> pd.DataFrame:
        """Give a table with the columns `value`, `mean`, `low` and `high` for one of the answers."""
        import pandas as pd

        parts = {"mean": self.means, "low": self.low, "high": self.high}
        return pd.DataFrame({"value": self.labels, **{name: part[:, output] for name, part in parts.items()}})


def partial_dependence(
    predict: Callable[[pd.DataFrame], npt.NDArray[Any]],
    frame: pd.DataFrame,
    column: str,
    *,
    kind: DependenceKind | None = None,
    points: int = 20,
    rows: int = 500,
    seed: int = 0,
) -> PartialDependence:
    """Put each of some values into a column of the same rows and average the answers (Friedman 2001, Ann. Stat. 29).

    All else stays as it is in each row, also where the two do not go together: where columns are closely related, the
    answers are about rows that no one has seen.

    Example:
        >>> partial_dependence(predict, frame, "hour").to_frame()
           value   mean    low   high
        0      5  -4.21  -9.03   0.55

    Args:
        predict: raw rows -> answers, [n, K] or [n].
        frame: raw rows.
        column: which column.
        kind: how its values are chosen: `"number"` (quantiles), `"category"` (the most frequent values, as they stand
            in the table, missing ones too), and for dates `"month"`, `"weekday"` (another day of the same week) or
            `"hour"`. Left out, numbers and categories are told apart by the dtype, and a date is moved through the
            months if its dates lie in several, else through the days of the week.
        points: most values.
        rows: most rows to average over, chosen at random.
        seed: of that choice.

    Returns:
        A `PartialDependence`.

    Raises:
        ConfigError: there is no such column, or an argument is not usable.
        DataError: the column has no value, or none that can be read as a date.
    """
    for name, value, least in (("points", points, 2), ("rows", rows, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{name} of a partial dependence", received=value, allowed=f"a whole number from {least}")
    if column not in frame.columns:
        near = did_you_mean(str(column), map(str, frame.columns)) or None
        raise ConfigError("there is no such column", received=column, allowed=list(frame.columns), fix=near)
    if not len(frame) or (kind != "category" and not frame[column].notna().any()):
        raise DataError(f"column {column!r} has no values")
    kind = _kind(frame[column]) if kind is None else kind
    check_choice("kind of dependence", kind, get_args(DependenceKind))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(frame))[:rows])
    if kind in ("number", "category"):
        labels, values = _values(frame[column], kind, points)
        sample = frame.iloc[chosen]
        parts = [_filled(sample[column], value) for value in values]
        positions = np.asarray(values, np.float64) if kind == "number" else np.arange(len(values), dtype=np.float64)
    else:
        dates = _dates(frame[column])
        chosen = chosen[dates.notna().to_numpy()[chosen]]
        if not len(chosen):
            chosen = np.flatnonzero(dates.notna().to_numpy())[:rows]
        sample = frame.iloc[chosen]
        labels, moved = _moved(dates.iloc[chosen], kind)
        parts = [_as_given(one, sample[column]) for one in moved]
        positions = np.arange(len(labels), dtype=np.float64)
    answers = _answers(predict, sample, column, parts)
    low, high = np.quantile(answers, (0.25, 0.75), axis=1)
    return PartialDependence(
        str(column), kind, tuple(labels), positions, answers.mean(axis=1), low, high, len(sample)
    )  # fmt: skip


def _answers(predict: Any, sample: pd.DataFrame, column: str, parts: list[Any]) -> npt.NDArray[np.float64]:
    """Predict all values at once; float64 [m, rows, K]."""
    import pandas as pd

    # One long table: a model's answer to it costs less than many answers.
    stacked = pd.concat([sample] * len(parts), ignore_index=True)
    stacked[column] = pd.concat(parts, ignore_index=True)
    return np.asarray(predict(stacked), np.float64).reshape(len(parts), len(sample), -1)


def _kind(values: pd.Series[Any]) -> DependenceKind:
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        dates = _dates(values)
        return "month" if dates.dt.month.nunique() > 2 else "weekday"
    number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return "number" if number else "category"


def _values(column: pd.Series[Any], kind: str, points: int) -> tuple[list[str], list[Any]]:
    import pandas as pd

    if kind == "category":
        counts = column.value_counts(dropna=False)
        values = list(counts.index[:points])
        if all(isinstance(value, int | float) and not pd.isna(value) for value in values):
            values.sort()  # days and grades read best in their own order
        return ["(missing)" if pd.isna(value) else str(value) for value in values], values
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        raise DataError(f"column {column.name!r} has no numbers")
    grid = np.unique(numbers)
    if len(grid) > points:
        # From the first to the last percent: a single far value would stretch the picture.
        grid = np.unique(np.quantile(numbers, np.linspace(0.01, 0.99, points)))
    if (numbers == np.round(numbers)).all():
        grid = np.unique(np.round(grid))  # no half children
    return [f"{value:.6g}" for value in grid], [float(value) for value in grid]


def _filled(column: pd.Series[Any], value: Any) -> pd.Series[Any]:
    import pandas as pd

    whole = pd.api.types.is_integer_dtype(column.dtype) and isinstance(value, float) and value.is_integer()
    given = int(value) if whole else value
    try:
        return pd.Series([given] * len(column), dtype=column.dtype)
    except (TypeError, ValueError):  # a half in a column of whole numbers
        return pd.Series([given] * len(column))


# Dates


def _dates(column: pd.Series[Any]) -> pd.Series[Any]:
    dates = as_dates(column)
    if not dates.notna().any():
        raise DataError(f"column {column.name!r} has no dates", received=str(column.dropna().iloc[0]))
    return dates


def _moved(dates: pd.Series[Any], kind: str) -> tuple[list[str], list[pd.Series[Any]]]:
    import pandas as pd

    if kind == "hour":
        start = dates.dt.normalize()
        rest = dates - dates.dt.floor("h")
        return [str(hour) for hour in range(24)], [start + pd.Timedelta(hours=hour) + rest for hour in range(24)]
    if kind == "weekday":
        monday = dates - pd.to_timedelta(dates.dt.dayofweek, unit="D")
        return list(_DAYS), [monday + pd.Timedelta(days=day) for day in range(7)]
    moved = []
    for month in range(1, 13):
        first = pd.to_datetime(pd.DataFrame({"year": dates.dt.year, "month": month, "day": 1}))
        # The 31st becomes the last day of a shorter month.
        day = np.minimum(dates.dt.day, first.dt.days_in_month)
        moved.append(first + pd.to_timedelta(day - 1, unit="D") + (dates - dates.dt.normalize()))
    return list(_MONTHS), moved


def _as_given(dates: pd.Series[Any], column: pd.Series[Any]) -> pd.Series[Any]:
    """Write dates as the column has them: as dates, or as text."""
    if _is_date(column):
        zone = column.dt.tz
        dates = dates if zone is None else dates.dt.tz_localize(zone, ambiguous=False, nonexistent="shift_forward")
        return dates.astype(column.dtype)
    timed = bool((dates != dates.dt.normalize()).any())
    return dates.dt.strftime("%Y-%m-%dT%H:%M:%S" if timed else "%Y-%m-%d").astype(column.dtype)


def _is_date(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return pd.api.types.is_datetime64_any_dtype(column)
