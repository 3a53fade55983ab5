"""What a target is: a value or classes, inferred from its values as the kinds of columns are; without TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlkit.errors import DataError
from tlkit.inputs.class_names import composed
from tlkit.inputs.row.column_kinds import FEW_VALUES, Finding
from tlkit.inputs.row.date_inference import are_dates
from tlkit.inputs.row.mixed_columns import mixed_types, number_like
from tlkit.inputs.row.unread_texts import describe_flags, describe_unread

if TYPE_CHECKING:
    import pandas as pd

    from tlkit.targets.base import TargetKind

_MOST_WHOLE_NUMBERS = 20  # whole numbers of which there are more are a measure
_MANY_ROWS = 20  # from which on "another text in each row" says something
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d*[1-9]|\.0)?")  # as a table's numbers are written when they are classes

Place = Callable[[np.ndarray], str]


@dataclasses.dataclass(frozen=True)
class TargetGuess:
    """What a target is taken for.

    Attributes:
        kind: regression, or one class of several.
        why: what decides it, or leaves it open, one line.
        is_question: whether the values leave it open.
    """

    kind: TargetKind
    why: str = ""
    is_question: bool = False


def guess_target(column: pd.Series, name: str, place: Place) -> TargetGuess:
    """Say what a target is: by the same rules as the inputs, and with the same refusals.

    | values | kind |
    |---|---|
    | numbers with a fraction, more than 50 whole numbers | regression |
    | 3 to 50 whole numbers | asked: regression above 20 of them, else classes |
    | true and false, two whole numbers, text | classes |
    | numbers whose zeros belong to them, such as 007 | classes, asked |
    | amounts such as 10k, up to 50 dates, true and false beside other texts | classes, asked |

    Args:
        column: its values; missing ones are left aside.
        name: of the target.
        place: says where rows stand.

    Raises:
        DataError: numbers and text are mixed, almost every row has a text of its own, more than 50 dates, or the type
            is no target's.
    """
    import pandas as pd

    types = pd.api.types
    if column.dtype == object:
        raise mixed_types(column, name, place, is_target=True)
    present = column.dropna()
    k = present.nunique()
    if types.is_bool_dtype(column.dtype):
        return TargetGuess("single_label")
    if isinstance(column.dtype, pd.StringDtype):
        return _guess_texts(column, present, name, place)
    if types.is_integer_dtype(column.dtype) or (types.is_float_dtype(column.dtype) and _all_whole(present)):
        kind: TargetKind = "regression" if k > _MOST_WHOLE_NUMBERS else "single_label"
        asked = 2 < k <= FEW_VALUES
        return TargetGuess(kind, f"{k} whole numbers: regression or classes?" if asked else "", asked)
    if types.is_float_dtype(column.dtype):
        return TargetGuess("regression")
    raise DataError(f"the target {name!r} is neither a number nor a class", received=str(column.dtype))


def _guess_texts(column: pd.Series, present: pd.Series, name: str, place: Place) -> TargetGuess:
    counts = present.value_counts()
    numbers = number_like(counts)
    share = float(counts[numbers].sum()) / max(len(present), 1)
    k, distinct = len(counts), int(numbers.sum())
    by_text = dict(zip(counts.index.tolist(), counts.tolist(), strict=True))
    if share >= 0.5 and distinct > _MOST_WHOLE_NUMBERS and share < 1.0:
        raise mixed_types(column, name, place, is_target=True)
    first = f"{str(present.iloc[0])[:60]!r} ({place(np.flatnonzero(column.notna())[:1])})"
    if k > FEW_VALUES and are_dates(by_text):
        raise DataError(
            f"the target {name!r} has {k} different dates, which are neither numbers nor classes",
            received=first,
            allowed="numbers, or classes with several rows each",
            fix="write days since a start date, or months as classes",
        )
    is_own = k > 0.9 * len(present) and len(present) >= _MANY_ROWS
    zeros = np.flatnonzero(column.str.fullmatch(r"\s*0\d.*").fillna(False).to_numpy(bool))
    if is_own and share == 1.0 and len(zeros):
        raise DataError(
            f"{place(zeros)}: the target {name!r} has numbers with leading zeros, almost all different",
            received=str(column.iloc[zeros[0]])[:60],
            allowed="numbers, or classes with several rows each",
            fix="remove the leading zeros",
        )
    unread = describe_unread(by_text)
    if k > FEW_VALUES and unread:
        raise DataError(
            f"the target {name!r} has {k} different {unread.partition(' such as ')[0]} that cannot be read",
            received=first,
            allowed="numbers, or classes with several rows each",
            fix=unread.partition(": ")[2],
        )
    if is_own:
        raise DataError(
            f"the target {name!r} has a different text in almost every row: neither numbers nor classes",
            received=first,
            allowed="numbers, or classes with several rows each",
            fix=unread or None,
        )
    if share == 1.0:
        return TargetGuess(
            "single_label", f"{k} numbers kept as text: classes, or regression without the leading zeros?", True
        )
    if share >= 0.5:
        return TargetGuess("single_label", f"{k} classes, most of them numbers: are the others errors?", True)
    unread = unread or ("dates: use them as classes?" if are_dates(by_text) else "")
    if unread:
        return TargetGuess("single_label", f"{k} classes, {unread}", True)
    flags, why = describe_flags(by_text)
    if why and not flags:
        return TargetGuess("single_label", f"{k} classes, {why}", True)
    return TargetGuess("single_label")


def check_varies(column: pd.Series, name: str) -> None:
    """Refuse a target that has one value.

    Raises:
        DataError: with the value.
    """
    if column.nunique() < 2:
        raise DataError(
            f"the target {name!r} is constant: there is nothing to learn", received=str(column.dropna().iloc[0])[:60]
        )


def target_findings(
    frame: pd.DataFrame,
    columns: Sequence[str],
    marks: Mapping[str, Mapping[str, int]],
    place: Place,
    target_kinds: Mapping[str, TargetKind] | None = None,
) -> list[Finding]:
    """Report what targets are taken for where the values leave it open, and classes that are called as missing values.

    Args:
        frame: the rows.
        columns: of the targets.
        marks: column -> usual missing marks that are values there, with their counts.
        place: says where rows stand.
        target_kinds: kinds that were said, which are no questions.
    """
    found = []
    for name in columns:
        if name not in (target_kinds or {}):
            guess = guess_target(frame[name], name, place)
            if guess.is_question:
                found.append(Finding(name, "ignore", f"the target: {guess.why} Used as {guess.kind}", True))
        for mark, count in marks.get(name, {}).items():
            found.append(Finding(name, "ignore", class_called_missing(name, mark, count, len(frame)), True))
    return found


def class_called_missing(name: str, mark: str, count: int, rows: int) -> str:
    """Say that a class has the name of a missing value."""
    return f"{mark!r} is a class of {name} ({count} of {rows} rows); set missing = [{mark!r}] to skip these rows"


def describe_target(column: pd.Series, kind: TargetKind, unit: str = "", most: int = 5) -> str:
    """Return what a target is taken for: kind, classes with their counts or the range, and rows without a value.

    Example:
        >>> describe_target(pd.Series(["a", "b", "a", None]), "single_label")
        "2 classes: 'a' 2, 'b' 1; 1 row without a value"
    """
    present = column.dropna()
    gaps = len(column) - len(present)
    if kind == "regression":
        ends = float(present.min()), float(present.max())
        digits = next((digits for digits in (7, 10, 13) if f"{ends[0]:.{digits}g}" != f"{ends[1]:.{digits}g}"), 17)
        low, high = (f"{end:.{digits}g}" for end in ends)
        words = f"regression, {present.nunique()} different values from {low} to {high}{f' {unit}' if unit else ''}"
    else:
        codes, names = classes_of(present)
        counts = np.bincount(codes[codes >= 0], minlength=len(names))
        order = np.argsort(-counts, kind="stable")[:most]
        shown = ", ".join(f"{names[place]!r} {counts[place]}" for place in order)
        words = f"{len(names)} classes: {shown}{', ...' if len(names) > most else ''}"
    return f"{words}; {gaps} row{'s' * (gaps != 1)} without a value" if gaps else words


def are_texts(class_names: Sequence[str]) -> bool:
    """Return whether classes are texts that a file must not make other values of, such as 007 and "1.50"."""
    if set(class_names) <= {"true", "false"}:
        return False
    return not all(_PLAIN_NUMBER.fullmatch(name) for name in class_names)


def or_regression(name: str, class_names: Sequence[str]) -> str:
    """Return the advice to predict numbers as numbers, where all classes are numbers; else nothing."""
    if not class_names or not all(_PLAIN_NUMBER.fullmatch(label) for label in class_names):
        return ""
    key = json.dumps(name, ensure_ascii=False) if not re.fullmatch(r"[A-Za-z0-9_-]+", name) else name
    return (
        f'; or predict it as a number: kinds = {{ {key} = "regression" }} under [target] of config.toml '
        "(in Python: target_kinds)"
    )


def classes_of(column: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers int32 [n], and the names of the classes: numbers in their order, text sorted.

    Text is in Unicode's normal form NFC. Whole numbers are written alike (1, not 1.0) whether pandas has them as floats
    or not.
    """
    import pandas as pd

    codes, values = pd.factorize(column, sort=True)
    if pd.api.types.is_bool_dtype(column.dtype):
        names = [str(bool(value)).lower() for value in values]
    elif pd.api.types.is_integer_dtype(column.dtype):
        names = [str(int(value)) for value in values]
    elif pd.api.types.is_float_dtype(column.dtype):
        names = [str(int(value)) if _is_whole(value) else str(value) for value in values]
    else:
        # Texts that differ only by Unicode normal form are one class.
        own, texts = pd.factorize(np.array([composed(str(value)) for value in values], object), sort=True)
        codes, names = np.where(codes < 0, -1, own[codes]), [str(text) for text in texts]
    return codes.astype(np.int32), tuple(names)


def _all_whole(column: pd.Series) -> bool:
    """Whether floats are whole numbers: pandas makes floats of them in a column with gaps."""
    import pandas as pd

    return pd.api.types.is_float_dtype(column.dtype) and bool(_is_whole(column.to_numpy(np.float64)).all())


def _is_whole(values: np.ndarray) -> np.ndarray:
    return (values == np.floor(values)) & (np.abs(values) < 2**53)
