"""Statistics of rows that are compared with those of later rows: of each column, and missing cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.inputs.base import Statistic, Statistics
from tlkit.inputs.row.columns import (
    FALSE_SPELLINGS,
    TRUE_SPELLINGS,
    WEEKDAYS,
    Categorical,
    Column,
    Continuous,
    Date,
    column_from_dict,
)
from tlkit.inputs.row.date_form import read_moments
from tlkit.inputs.wire import MISSING_INTEGER

UNSEEN = "(unseen)"
_MISSING_CELLS = "missing cells"


def statistics(settings: Mapping[str, Any]) -> Statistics:
    """Return a function of rows as clients send them, a value [n] for each column, that gives their statistics.

    Categories that training did not see are one category. A date counts by its day of the week: that time goes on is
    no change of the data.

    Args:
        settings: of the preprocessing: its columns, and strings that stand for no value.
    """
    columns = [column_from_dict(plain) for plain in settings["columns"]]
    names = {column.name for column in columns}
    cells = _MISSING_CELLS if _MISSING_CELLS not in names else f"{_MISSING_CELLS} of all columns"
    look = [(column, _of_column(column, settings.get("missing", ()))) for column in columns]

    def found(arguments: Mapping[str, np.ndarray]) -> dict[str, Statistic]:
        own: dict[str, Statistic] = {}
        missing: Any = 0
        for column, values_of in look:
            one = values_of(arguments[column.argument])
            own[f"{column.name} (day of the week)" if isinstance(column, Date) else column.name] = one
            missing = missing + (one.values == "" if one.values.dtype == object else np.isnan(one.values))
        return own | {cells: Statistic(np.asarray(missing, np.float64))}

    return found


def suffix(content: bytes) -> str:
    """Return how the file of a row is called."""
    return ".json"


def _of_column(column: Column, missing: Sequence[str]) -> Callable[[np.ndarray], Statistic]:
    if isinstance(column, Continuous):
        return _number
    absent = {text.strip() for text in ("", *missing, *column.missing)}
    known = frozenset(column.values) if isinstance(column, Categorical) and not column.hash_buckets else None
    is_boolean = isinstance(column, Categorical) and column.boolean

    def categories(values: np.ndarray) -> Statistic:
        if values.dtype == object:
            texts = [value.decode("utf-8", "replace").strip() for value in values.tolist()]
        else:
            texts = ["" if value == MISSING_INTEGER else str(value) for value in values.tolist()]
        texts = ["" if text in absent else text for text in texts]
        if isinstance(column, Date):
            texts = [_day(moment) for moment in read_moments(texts, column.form)]
        if is_boolean:
            texts = [_boolean(text) for text in texts]
        if known is None:
            return Statistic(np.array(texts, object))
        return Statistic(np.array([text if text in known or not text else UNSEEN for text in texts], object), (UNSEEN,))

    return categories


def _number(values: np.ndarray) -> Statistic:
    numbers = np.asarray(values, np.float64)
    return Statistic(np.where(np.isfinite(numbers), numbers, np.nan))


def _boolean(text: str) -> str:
    plain = text.lower()
    return "true" if plain in TRUE_SPELLINGS else "false" if plain in FALSE_SPELLINGS else text


def _day(moment: np.datetime64) -> str:
    """Return the day of the week; 1970-01-01 was a Thursday."""
    return "" if np.isnat(moment) else WEEKDAYS[(int(moment.astype("M8[D]").astype(np.int64)) + 3) % 7]
