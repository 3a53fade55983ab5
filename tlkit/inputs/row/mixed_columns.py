"""Columns whose values are not all of one kind: which texts are numbers, and the errors that name the other rows."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.errors import DataError
from tlkit.inputs.row.date_form import read_moments, shown_form
from tlkit.inputs.row.date_inference import fix_of_dates, name_date_form
from tlkit.inputs.row.number_forms import alike
from tlkit.inputs.row.number_inference import FoundForm, find_form, looks_like_number, why_odd

if TYPE_CHECKING:
    import pandas as pd

_LONGEST_MARK = 20  # of texts that may stand for no value
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def number_like(counts: pd.Series) -> np.ndarray:
    """Say which texts are numbers: plain ones, or numbers in the form that most of them have.

    Args:
        counts: how often each different text occurs, with the texts as its index.

    Returns:
        bool [k].
    """
    texts = counts.index.tolist()
    found = find_form(dict(zip(texts, counts.tolist(), strict=True)))
    odd = found.odd if found is not None else frozenset()
    plain = np.array([_is_plain(text) and text.strip() not in odd for text in texts], bool)
    if found is None or counts[plain].sum() >= found.share * counts.sum():
        return plain

    def reads(text: str) -> bool:
        try:
            return alike(text.strip()) not in odd and found.form.read(text) is not None
        except ValueError:
            return False

    return np.array([reads(text) for text in texts], bool)


def _is_plain(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and math.isfinite(float(text))


class UnreadableError(DataError):
    """Values of a column cannot be read as what the column is.

    Attributes:
        count: how many rows there are.
        value: the first of them.
    """

    def __init__(self, message: str, *, count: int, value: str, allowed: str, fix: str):
        super().__init__(message, received=value, allowed=allowed, fix=fix)
        self.count, self.value = count, value


def check_dates(column: pd.Series, name: str, place: Callable[[np.ndarray], str], form: str = "") -> None:
    """Refuse a column of dates in which some are none, or are written as the exported graph does not read them.

    Args:
        column: the dates.
        name: of the column.
        place: says where rows stand.
        form: how they are written; see `tlkit.inputs.row.columns.Date.form`.

    Raises:
        UnreadableError: with the rows.
    """
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return
    codes, values = pd.factorize(column)  # dates repeat: look at each once
    is_date = ~np.isnat(read_moments(values, form))
    bad = np.flatnonzero(np.append(~is_date, False)[codes])
    if len(bad):
        value = str(column.iloc[bad[0]])[:60]
        other = name_date_form(value)
        several = f" of the form of the others: {other} here" if other and other != (form or "ISO 8601") else ""
        raise UnreadableError(
            f"{place(bad)}: column {name!r} has a value that is not a date{several}",
            count=len(bad),
            value=value,
            allowed=shown_form(form),
            fix=fix_of_dates(name, value),
        )


def mixed_types(column: pd.Series, name: str, place: Callable[[np.ndarray], str], is_target: bool = False) -> DataError:
    """Make the error about a column, or a target, of several types, with the rows of the rarer ones."""
    import pandas as pd

    if column.dtype == object:
        kinds = np.array([_type_of(value) for value in column], object)
    else:
        of_value = column.value_counts()
        numbers = set(of_value.index[number_like(of_value)])
        kinds = np.array(["numbers" if text in numbers else "text" for text in column], object)
        kinds[column.isna().to_numpy(bool)] = ""
    counts = pd.Series(kinds[kinds != ""]).value_counts()
    if len(counts) == 1:
        return DataError(
            f"column {name!r} has values of an unsupported type",
            received=str(counts.index[0]),
            allowed="text, numbers, true and false, dates",
            fix=f'convert it, or set {name} = "ignore"',
        )
    rare = np.flatnonzero((kinds != counts.index[0]) & (kinds != ""))
    value: Any = column.iloc[rare[0]]
    clause = ""
    if column.dtype == object:
        fix = f'make the column one type (column.astype("str") for names), or set {name} = "ignore"'
    else:
        said = f'kinds = {{ {name} = "single_label" }} under [target]' if is_target else f'{name} = "categorical"'
        fix = f"correct these rows, or set {said} if the numbers are names"
        if kinds[rare[0]] == "text":
            clause, more = _of_odd_text(column, name, value)
            fix += more
    return DataError(
        f"{place(rare)}: column {name!r} mixes types: {kinds[rare[0]]}, but most rows have {counts.index[0]}{clause}",
        received=str(value)[:60],
        fix=fix,
    )


def _of_odd_text(column: pd.Series, name: str, value: str) -> tuple[str, str]:
    """Return what a text among numbers is, as a clause, and more advice; both may be empty."""
    found = find_form({str(text): int(count) for text, count in column.value_counts().items()})
    if why := why_odd(value, found):
        return f", and this one {why}", ""
    if looks_like_number(value):
        return ", so there are several units or forms of numbers", _as_other_form(name, value, found)
    if len(value) <= _LONGEST_MARK and not re.search(r"\d", value):
        mark = json.dumps(value.strip(), ensure_ascii=False)
        return "", f"; missing = [{mark}] for {name} under [formats] if it is a missing value"
    return "", ""


def _as_other_form(name: str, value: str, found: FoundForm | None) -> str:
    """Return the advice to read all values as the odd one must be read, where that is possible."""
    if found is None or found.other is None:
        return ""
    try:
        readings = (form.read(text) for form, text in ((found.other, value), (found.other, found.sample)))
        number, sample = readings
    except ValueError:
        return ""
    said = f'{name} = {{ decimal = "{found.other.decimal}" }} under [formats]'
    return f"; or set {said} if {value} is {number} and {found.sample} is {sample}"


def _type_of(value: Any) -> str:
    import datetime
    import numbers

    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return "true or false"
    if isinstance(value, numbers.Number):
        return "numbers"
    if isinstance(value, str):
        return "text"
    return "dates" if isinstance(value, datetime.date) else f"values of type {type(value).__name__}"
