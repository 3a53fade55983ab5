"""What `tlkit check` looks at in rows of a table: their columns, missing cells, copies, keys, groups and dates."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.inputs.examined import Examined, Fact, Pairs, Shown, relative_name, root_of, splits_of
from tlkit.inputs.row.columns import Date
from tlkit.inputs.row.copies import digest_of, find_copies
from tlkit.inputs.row.events import as_moments
from tlkit.inputs.row.targets import target_columns

if TYPE_CHECKING:
    import pandas as pd

_MOST_CODES = 64  # of a column that is turned into features; the others share one
_MOST_CELLS = 16
_GROUP = re.compile(
    r"(^|[^a-z])(patient|subject|person|user|customer|client|member|session|scene|visit|device|household|family|account)",
    re.IGNORECASE,
)


def examine(data: Any, *, quick: bool = False, **columns: str) -> Examined:
    """Look at the rows of a `TabularData`.

    Args:
        data: the rows.
        quick: leave out facts and features.
        columns: `group_column` and `time_column`, where config.toml names them.
    """
    import pandas as pd

    frame = pd.concat([data.frame(name) for name in data.splits])
    splits = splits_of(data)
    inputs = [column.name for column in data.preprocessing.columns]
    targets = target_columns(data.targets)
    copies = find_copies(frame, inputs, targets)
    group = columns.get("group_column", "")
    shown = [*targets, *(name for name in frame.columns if name not in targets)][:_MOST_CELLS]
    forms = {column.name: column.form for column in data.preprocessing.columns if isinstance(column, Date)}
    time = columns.get("time_column", "") or next(iter(forms), "")
    root = root_of(data.origin)
    names = [relative_name(place, root) for name in data.splits for place in data.places(name)]
    return Examined(
        items="rows",
        splits=splits,
        names=names,
        digest=lambda item: digest_of(frame[list(data.columns_read)].iloc[[item]]),
        facts={} if quick else _facts(frame, data) | {"missing cells": Fact(_missing(frame, inputs), "shortcut")},
        copies=copies.inputs,
        by_chance=copies.by_chance,
        near=lambda features: _same_keys(frame, [name for name, kind in data.kinds.items() if kind == "id"]),
        show=lambda item: Shown(cells={name: str(frame[name].iloc[item]) for name in shown}),
        unlabelled=data.dropped.get("missing_target", 0),
        groups=_texts(frame[group]) if group else None,
        guessed={
            repr(name): _texts(frame[name])
            for name in frame.columns
            if not group and name not in targets and _GROUP.search(name)
        },
        times=_moments(frame[time], forms.get(time, "")) if time else None,
        time_name=time,
        features=None if quick else features_of(data),
        notes=[f"{one.column}: {one.why}" for one in (*data.questions, *data.findings) if one.why],
    )


def _moments(column: pd.Series, form: str) -> np.ndarray:
    """Return the times of a column, NaN or NaT where they cannot be read."""
    import pandas as pd

    if not form and pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(np.float64, na_value=np.nan)
    moments: np.ndarray = as_moments(column, form).to_numpy()
    return moments


def _facts(frame: pd.DataFrame, data: Any) -> dict[str, Fact]:
    """Return each input column as a property."""
    facts = {}
    for name in (column.name for column in data.preprocessing.columns):
        kind, column = data.kinds.get(name), frame[name]
        if kind == "continuous":
            values = column.to_numpy(np.float64, na_value=np.nan)
        elif kind == "date":
            form = next(one.form for one in data.preprocessing.columns if one.name == name)
            values = _moments(column, form)
            if values.dtype.kind == "M":
                values = np.where(np.isnat(values), np.nan, values.astype("M8[s]").astype(np.float64))
        else:
            values = _texts(column)
        facts[name] = Fact(values, "column")
    return facts


def _missing(frame: pd.DataFrame, inputs: list[str]) -> np.ndarray:
    return frame[inputs].isna().sum(axis=1).to_numpy(np.float64)


def _texts(column: pd.Series) -> np.ndarray:
    """Return values as text, "" where one is missing: str objects [n]."""
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy(object)


def _same_keys(frame: pd.DataFrame, keys: list[str]) -> Pairs:
    """Return rows that share the value of a column of keys, each with the first of them."""
    left, right = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for name in keys:
        values = _texts(frame[name])
        _, first, inverse = np.unique(values.astype(str), return_index=True, return_inverse=True)
        again = np.flatnonzero((first[inverse] != np.arange(len(values))) & (values != ""))
        left.append(first[inverse][again])
        right.append(again)
    both = np.concatenate(left), np.concatenate(right)
    return Pairs(*both, np.ones(len(both[0])))


def features_of(data: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that gives rows as numbers: a column for each value of a code, then the scaled numbers.

    Args:
        data: the rows, which the function numbers split after split.
    """
    encoded = np.concatenate([data.encoded(name) for name in data.splits])
    codes = data.preprocessing.codes
    # Without numbers that were computed from the labels: training rows have others than held-out rows.
    end = len(codes) + sum(len(column.numbers) for column in data.preprocessing.columns)
    places = []  # of each code of a column among its features: the most frequent ones, and one for all others
    for number, code in enumerate(codes):
        place = np.arange(code.size)
        if code.size > _MOST_CODES:
            often = np.argsort(-np.bincount(encoded[:, number].astype(np.int64), minlength=code.size))
            place = np.full(code.size, _MOST_CODES - 1)
            place[often[: _MOST_CODES - 1]] = np.arange(_MOST_CODES - 1)
        places.append(place)

    def features(items: np.ndarray) -> np.ndarray:
        own = encoded[items]
        parts = [
            np.eye(int(place.max()) + 1, dtype=np.float32)[place[own[:, number].astype(np.int64)]]
            for number, place in enumerate(places)
        ]
        return np.concatenate([*parts, own[:, len(codes) : end]], axis=1).astype(np.float32)

    return features
