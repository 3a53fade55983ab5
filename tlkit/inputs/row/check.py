"""The gate of a table: what makes training on it useless or dishonest is found before anything is fitted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.errors import ConfigError, DataError, missing_column
from tlkit.inputs.files.fields import FormNote
from tlkit.inputs.files.source import FrameSource
from tlkit.inputs.row.column_kinds import FEW_VALUES, Finding
from tlkit.inputs.row.columns import FALSE_SPELLINGS, TRUE_SPELLINGS, ColumnKind, Unreadable
from tlkit.inputs.row.mixed_columns import UnreadableError, check_dates, mixed_types
from tlkit.inputs.row.number_forms import USUAL_MISSING, NumberForm
from tlkit.inputs.row.problems import Problems

if TYPE_CHECKING:
    import pandas as pd

Place = Callable[[np.ndarray], str]
_SAME_ORDER = 0.99999  # rank correlation from which a column is the target in other words
_FEWEST_ROWS = 10  # with fewer, columns agree by chance


def check_target_columns(frame: pd.DataFrame, targets: Sequence[str], origin: str) -> None:
    """Refuse targets that are not there, twice, or never given.

    Raises:
        ConfigError: no target is named, or one twice.
        DataError: a target column is missing, or has no value.
    """
    if not targets or not all(isinstance(name, str) and name for name in targets):
        raise ConfigError("target is invalid", received=list(targets), allowed="the name of a column, or several")
    if len(set(targets)) < len(targets):
        raise ConfigError("a target is named twice", received=list(targets))
    for name in targets:
        if name not in frame.columns:
            raise missing_column(name, frame.columns, origin)
        if frame[name].isna().all():
            raise DataError(f"the target column {name!r} of {origin} has no value in any row")


def check_formats(
    frame: pd.DataFrame, formats: Mapping[str, NumberForm], kinds: Mapping[str, str], place: Place
) -> None:
    """Refuse columns that a format says to be numbers, and that hold something else.

    Args:
        frame: the rows, read.
        formats: column -> its declared form.
        kinds: of the columns; those that are `id`, `ignore` or `categorical` may hold text.
        place: says where rows stand.

    Raises:
        ConfigError: a format is of a column that the table lacks.
        DataError: with the column, its rows and the value.
    """
    for name, form in formats.items():
        if name not in frame.columns:
            raise ConfigError("formats names an unknown column", received=name, allowed=list(map(str, frame.columns)))
        of_text = form.missing and form == NumberForm(form.decimal, form.thousands, missing=form.missing)
        if of_text or kinds.get(name) in ("id", "ignore", "categorical"):
            continue
        check_numbers(frame[name], name, form, place)


def check_numbers(column: pd.Series, name: str, form: NumberForm, place: Place) -> None:
    """Refuse a column of numbers that stayed text because of some of its values.

    Raises:
        DataError: with the column, its rows and the value.
    """
    import pandas as pd

    bad = np.flatnonzero([isinstance(column.dtype, pd.StringDtype) and not _reads(form, value) for value in column])
    if len(bad):
        raise DataError(
            f"{place(bad)}: column {name!r} has a value that is not a number of its format",
            received=str(column.iloc[bad[0]])[:60],
            allowed=f"numbers ({form.describe() or 'plain ones'})",
            fix=f"correct these rows, or the format of {name} (list missing values in missing = [...])",
        )


def check_exact(column: pd.Series, name: str, place: Place) -> None:
    """Refuse floats that may have lost digits in a column of whole numbers.

    Raises:
        DataError: with the column, its rows and the value.
    """
    if column.dtype.kind != "f":
        return
    bad = np.flatnonzero(np.abs(column.to_numpy(np.float64, na_value=np.nan)) >= 2.0**53)
    if len(bad):
        raise DataError(
            f"{place(bad)}: column {name!r} has a float beyond 2**53, which has lost digits",
            received=f"{column.iloc[bad[0]]:.17g}",
            allowed="whole numbers",
            fix="write them as whole numbers or text",
        )


def _reads(form: NumberForm, value: object) -> bool:
    try:
        return not isinstance(value, str) or form.read(value) is not False
    except ValueError:
        return False


def form_findings(source: FrameSource, kinds: Mapping[str, str]) -> tuple[Finding, ...]:
    """Report how numbers were found to be written, in columns that are used."""
    return tuple(
        Finding(note.column, kinds.get(note.column, "continuous"), form_words(note), note.other is not None)
        for note in source.form_notes
        if kinds.get(note.column) not in ("id", "ignore")
    )


def form_words(note: FormNote) -> str:
    """Say in one line how a column's numbers were read, and how else they could be."""
    readings = note.readings()
    if readings is None:
        return f"numbers ({note.why})"
    return f"numbers ({note.why}); {note.sample} is read as {readings[0]:.12g}, and could be {readings[1]:.12g}"


def check_values(
    frame: pd.DataFrame,
    kinds: Mapping[str, ColumnKind],
    place: Place,
    date_formats: Mapping[str, str] | None = None,
    unreadable: Unreadable = "error",
    problems: Problems | None = None,
) -> tuple[Finding, ...]:
    """Refuse infinities, dates and booleans that are none, and columns whose values do not fit the kind that they have.

    Args:
        frame: the rows.
        kinds: of the columns.
        place: says where rows stand, for messages.
        date_formats: how dates are written, where not as ISO 8601.
        unreadable: with `"missing"`, dates and booleans that cannot be read are counted instead.
        problems: collects what is wrong; all of it is raised together where it is left out.

    Returns:
        How many values count as missing because they cannot be read.

    Raises:
        DataError: with the column and its rows.
    """
    import pandas as pd

    found: list[Finding] = []
    wrong = Problems() if problems is None else problems
    for name, kind in kinds.items():
        if kind in ("id", "ignore"):
            continue
        with wrong.of(name):
            column = frame[name]
            if column.dtype == object:
                raise mixed_types(column, name, place)
            numeric = pd.api.types.is_numeric_dtype(column.dtype)
            if kind == "continuous":
                if isinstance(column.dtype, pd.StringDtype):
                    raise _not_numbers(column, name, place)
                if not numeric:
                    raise DataError(f"column {name!r} is not a number", received=str(column.dtype), allowed="numbers")
            form = (date_formats or {}).get(name, "")
            if kind in ("date", "boolean"):
                try:
                    check_booleans(column, name, place) if kind == "boolean" else None
                    check_dates(column, name, place, form) if kind == "date" and (form or not numeric) else None
                except UnreadableError as error:
                    if unreadable == "error":
                        raise
                    found.append(Finding(name, kind, f"{error.count} values count as missing, such as {error.value!r}"))
            if kind == "date" and numeric and not form:
                raise DataError(
                    f"column {name!r} holds numbers, not dates",
                    received=str(column.dropna().iloc[0]) if column.notna().any() else "nothing",
                    allowed="ISO dates such as 2015-12-31",
                )
            if numeric and not pd.api.types.is_bool_dtype(column.dtype):
                check_finite(column, name, place)
    if problems is None:
        wrong.raise_all()
    return tuple(found)


def check_booleans(column: pd.Series, name: str, place: Place) -> None:
    """Refuse a column of true and false, in any of their spellings, in which some values are neither.

    A column of two other values passes: they are categories.

    Raises:
        UnreadableError: with the rows.
    """
    import pandas as pd

    if pd.api.types.is_bool_dtype(column.dtype):
        return
    codes, values = pd.factorize(column)
    texts = [str(value).strip().lower() for value in values]
    known = {*FALSE_SPELLINGS, *TRUE_SPELLINGS}
    read = np.array([text in known for text in texts], bool)
    gone = {text.lower() for text in USUAL_MISSING}
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    if counts[read].sum() <= counts.sum() / 2:
        return
    bad = np.flatnonzero(np.append(~read & [text not in gone for text in texts], False)[codes])
    if len(bad):
        raise UnreadableError(
            f"{place(bad)}: column {name!r} has a value that is not true or false",
            count=len(bad),
            value=str(column.iloc[bad[0]])[:60],
            allowed=", ".join(f"{no}/{yes}" for no, yes in zip(FALSE_SPELLINGS, TRUE_SPELLINGS, strict=True)),
            fix=f'correct these rows, or set {name} = "categorical"; unreadable = "missing" treats them as missing',
        )


def check_finite(column: pd.Series, name: str, place: Place) -> None:
    """Refuse infinities.

    Raises:
        DataError: with the rows.
    """
    bad = np.flatnonzero(np.isinf(column.to_numpy(np.float64, na_value=np.nan)))
    if len(bad):
        raise DataError(
            f"{place(bad)}: column {name!r} is infinite",
            received=str(column.iloc[bad[0]]),
            fix="leave such fields empty, or write a number",
        )


def _not_numbers(column: pd.Series, name: str, place: Place) -> DataError:
    import pandas as pd

    numbers = pd.to_numeric(column.astype(object), errors="coerce")
    bad = np.flatnonzero((numbers.isna() & column.notna()).to_numpy(bool))
    if not len(bad):
        return DataError(
            f"column {name!r} is continuous but has numbers as text",
            received=str(column.dropna().iloc[0]),
            fix="remove leading zeros and quotes",
        )
    return DataError(
        f"{place(bad)}: column {name!r} is continuous but has text",
        received=str(column.iloc[bad[0]])[:60],
        fix=f'correct these rows, or set {name} = "categorical"',
    )


def find_leaks(
    frame: pd.DataFrame,
    kinds: Mapping[str, ColumnKind],
    targets: Sequence[str],
    allow: Collection[str],
    copies: np.ndarray | None = None,
    problems: Problems | None = None,
) -> tuple[Finding, ...]:
    """Refuse input columns that are a target in other words, and report those that determine one.

    A column is refused that equals a target, names its values otherwise (one value for one value), or is a number in
    the same or the opposite order throughout (rank correlation above 0.99999). Rows where it is missing do not count;
    with fewer than 10 rows nothing can be said. A column that determines a target's class without being it (a finer
    category, a number with one threshold) is only reported: it may be a good input.

    Args:
        frame: the rows.
        kinds: of the inputs; `id` and `ignore` columns are none.
        targets: their columns.
        allow: columns that may be inputs all the same.
        copies: int64 [n], a number for each row that its exact copies share; a value that comes again only in copies
            says nothing. All rows count where it is left out.
        problems: collects columns that are a target; all of them are raised together where it is left out.

    Returns:
        What is reported, with the columns that were allowed.

    Raises:
        ConfigError: `allow` names a column that is no input.
        DataError: a column is a target.
    """
    inputs = [name for name, kind in kinds.items() if kind not in ("id", "ignore")]
    for name in allow:
        if name not in inputs:
            raise ConfigError("allow names a column that is not an input", received=name, allowed=inputs)
    found = []
    wrong = Problems() if problems is None else problems
    is_first = np.ones(len(frame), bool)
    if copies is not None:
        is_first = copies == np.arange(len(frame))
    for target in targets:
        aim, memo = frame[target], _Memo()
        for name in inputs:
            why, is_leak = _likeness(frame[name], aim, memo, is_first)
            if why and is_leak and name not in allow:
                fix = f'ignore it ({name} = "ignore"), or set allow = ["{name}"] if it is known at prediction time'
                with wrong.of(name):
                    raise DataError(f"column {name!r} {why} the target {target!r}: this is leakage", fix=fix)
            elif why:
                found.append(Finding(name, kinds[name], f"{why} the target {target}", False))
    if problems is None:
        wrong.raise_all()
    return tuple(found)


class _Memo:
    """What was computed of a whole target: of 2,000 columns without gaps it is asked 2,000 times."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def of(self, key: str, whole: bool, compute: Callable[[], Any]) -> Any:
        """Return what `compute` gives, once for all calls about the `whole` target."""
        if not whole:
            return compute()
        if key not in self._found:
            self._found[key] = compute()
        return self._found[key]


def _likeness(column: pd.Series, target: pd.Series, memo: _Memo, is_first: np.ndarray) -> tuple[str, bool]:
    """Say how a column is like a target, and whether that is a leak."""
    import pandas as pd

    both = (column.notna() & target.notna()).to_numpy(bool)
    if both.sum() < max(_FEWEST_ROWS, 0.5 * len(column)):
        return "", False
    whole = bool(both.all())
    if not whole:
        column, target = column[both], target[both]
    own, values = pd.factorize(column)
    other, labels = memo.of("values", whole, lambda: pd.factorize(target))
    rows, k, m = len(column), len(values), len(labels)
    if k < 2 or m < 2:
        return "", False
    if m > FEW_VALUES or rows < 5 * m:  # a few classes repeat in any table
        rows = int(is_first[both].sum())
    repeats = m <= rows / 2  # else any column of different values "names" a target of different values
    if k == m and (repeats or _same_numbers(values, labels)):
        pairs = len(np.unique(own.astype(np.int64) * m + other))
        if pairs == k:
            return ("equals", True) if list(map(str, values)) == list(map(str, labels)) else ("is a recoding of", True)
    types = pd.api.types
    numeric = [types.is_numeric_dtype(side.dtype) and not types.is_bool_dtype(side.dtype) for side in (column, target)]
    if all(numeric) and m > 2:
        first, second = _ranks(column), memo.of("ranks", whole, lambda: _ranks(target))
        if abs(np.corrcoef(first, second)[0, 1]) >= _SAME_ORDER:
            return "has the same order as", True
    if repeats and m <= 20:
        pairs = len(np.unique(own.astype(np.int64) * m + other))
        if k <= rows / 2 and pairs == k:
            return "determines", False
        if numeric[0] and m == 2:
            by_class = [column[other == number].astype(np.float64) for number in (0, 1)]
            if by_class[0].max() < by_class[1].min() or by_class[1].max() < by_class[0].min():
                return "predicts perfectly, by one threshold,", False
    return "", False


def _ranks(side: pd.Series) -> np.ndarray:
    import pandas as pd

    whole = pd.api.types.is_integer_dtype(side.dtype)  # float64 would make one of ids beyond 2^53
    return (side if whole else side.astype(np.float64)).rank().to_numpy(np.float64)


def _same_numbers(values: pd.Index, labels: pd.Index) -> bool:
    import pandas as pd

    if not all(pd.api.types.is_numeric_dtype(side.dtype) for side in (values, labels)):
        return list(map(str, values)) == list(map(str, labels))
    return bool(np.array_equal(np.asarray(values, np.float64), np.asarray(labels, np.float64)))
