"""What the columns of a table are: inferred from their values, asked about where the values do not tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np

from tlkit.errors import ConfigError, DataError, check_choice, did_you_mean
from tlkit.inputs.row.columns import ColumnKind, Unreadable
from tlkit.inputs.row.date_inference import DateGuess, find_date_form
from tlkit.inputs.row.mixed_columns import UnreadableError, check_dates, mixed_types, number_like
from tlkit.inputs.row.near_unique import describe_near_unique
from tlkit.inputs.row.problems import Problems
from tlkit.inputs.row.unread_texts import describe_flags, describe_unread

if TYPE_CHECKING:
    import pandas as pd

FEW_VALUES = 50  # whole numbers of which there are at most so many may well be categories
_ID_ROWS = 20  # below this, "a different value in each row" says nothing
_ISO = r"[+-]?\d{4,6}-\d{2}-\d{2}([T ]\d{2}(:?\d{2}(:?\d{2}(\.\d+)?)?)?\s?(Z|[+-]\d{2}:?\d{2})?)?"
_DATE_SHARE = 0.5  # of the values; the others are then mistakes


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something about a column that a user should know, or decide.

    Attributes:
        column: its name.
        guess: the kind that is taken for it.
        why: the reason, one line.
        is_question: whether the values alone do not decide it.
    """

    column: str
    guess: str
    why: str
    is_question: bool = False

    def comment(self) -> str:
        """Give what stands behind the column in config.toml, such as "24 whole numbers: categorical or continuous?"."""
        return self.why


@dataclasses.dataclass(frozen=True)
class InferredKinds:
    """The kind of each column, and what was noticed.

    Attributes:
        kinds: column -> kind, in the order of the table, without targets.
        questions: columns whose kind was a guess between two.
        warnings: columns that are left out, and why; and how dates are written, where not as ISO 8601.
        dates: for columns whose values are dates in another form than ISO 8601, or may be, what was found.
    """

    kinds: dict[str, ColumnKind]
    questions: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    dates: Mapping[str, DateGuess] = dataclasses.field(default_factory=dict)

    @property
    def date_formats(self) -> dict[str, str]:
        """How the dates of a column are written, where not as ISO 8601."""
        return {name: guess.form for name, guess in self.dates.items() if self.kinds.get(name) == "date"}


def infer_kinds(
    frame: pd.DataFrame,
    targets: Sequence[str],
    *,
    given: Mapping[str, ColumnKind] | None = None,
    place: Callable[[np.ndarray], str] | None = None,
    date_formats: Mapping[str, str] | None = None,
    unreadable: Unreadable = "error",
    problems: Problems | None = None,
) -> InferredKinds:
    """Say of each column what kind it is.

    | values | kind |
    |---|---|
    | true and false | boolean |
    | mostly true and false, and other texts | categorical, asked; boolean where all are spellings of the two |
    | text that repeats | categorical; asked where it looks like amounts, times or dates that are not read |
    | text with almost one value a row | id, with a warning that says why (see `describe_near_unique`) |
    | dates (half of the values; all must then be, in one form) | date |
    | whole numbers that are all days, as 20140623 | date, asked |
    | whole numbers that may be seconds since 1970 | asked: date where the name says so, else continuous |
    | numbers with a fraction, many whole numbers | continuous |
    | 3 to 50 whole numbers, or codes without gaps that come equally often | asked, with a guess |
    | whole numbers of which none comes twice | continuous, asked: they may be the numbers of customers |
    | the same beyond 2**53, where floats lose digits | id, asked |
    | 0 and 1 (or any two whole numbers) | categorical |
    | 1, 2, 3 and so on, each once | id, with a warning |
    | numbers whose zeros belong to them, such as 007 and 38.10, kept as text | categorical, asked |
    | one value, or none | ignore, with a warning |

    Example:
        >>> found = infer_kinds(flights, ["arr_delay"])
        >>> found.kinds["carrier"], found.questions[0].comment()
        ('categorical', '20 whole numbers: categorical or continuous?')

    Args:
        frame: the rows, as `tlkit.inputs.files.source.read_source` gives them.
        targets: columns that are to be predicted, and so no inputs.
        given: kinds that are known; these columns are not looked at.
        place: says where rows stand, for messages.
        date_formats: how the dates of a column are written, where that is known; these columns are dates.
        unreadable: with `"missing"`, a few values that are no dates do not matter.
        problems: collects columns that cannot be used, which are then ignored; all of them are raised together where it
            is left out.

    Returns:
        The kinds.

    Raises:
        ConfigError: a kind in `given` does not exist.
        DataError: `given` names a column that is not there, or a column holds values of several types, dates in several
            forms, or what no column can hold.
    """
    given = dict(given or {})
    names = [str(name) for name in frame.columns]
    for name, kind in given.items():
        check_choice(f"kind of column {name!r}", kind, get_args(ColumnKind))
        if name in targets:
            raise ConfigError(
                "a target is not an input and has no kind", received=name, fix="remove it from the columns"
            )
        if name not in names:
            raise DataError(
                f"the table has no column {name!r}, which [columns] names",
                allowed=names,
                fix=did_you_mean(name, names) or "correct the file, or remove the column from the config",
            )
    known = dict(date_formats or {})
    kinds: dict[str, ColumnKind] = {}
    notes: list[Finding] = []
    where = place or (lambda rows: f"data row{'s' * (len(rows) > 1)} {', '.join(str(row + 1) for row in rows[:3])}")
    dates: dict[str, DateGuess] = {}
    wrong = Problems() if problems is None else problems
    for name in names:
        if name in targets:
            continue
        with wrong.of(name):
            if name in known:
                kinds[name] = given.get(name, "date")
                continue
            dated = None
            if given.get(name, "date") == "date" and (name in given or _varies(frame[name])):
                dated = find_date_form(frame[name], name, where, lenient=unreadable == "missing")
            if dated is not None:
                dates[name] = dated
            if name in given:
                kinds[name] = given[name]
                continue
            if dated is not None:
                kinds[name] = dated.kind or _infer(frame[name], name, where)[0]
                notes.append(Finding(name, kinds[name], dated.why, dated.is_question))
                continue
            try:
                guess, why, asked = _infer(frame[name], name, where)
            except UnreadableError:
                if unreadable == "error":
                    raise
                guess, why, asked = "date", "", False
            kinds[name] = guess
            if why:
                notes.append(Finding(name, guess, why, asked))
        if name in wrong.found:
            kinds[name] = "ignore"
            dates.pop(name, None)
    if problems is None:
        wrong.raise_all()
    return InferredKinds(
        kinds,
        tuple(note for note in notes if note.is_question),
        tuple(note for note in notes if not note.is_question),
        dates,
    )


_Guess = tuple[ColumnKind, str, bool]


def _varies(column: pd.Series) -> bool:
    """Return whether a column has several values; lists cannot be compared, and are no dates."""
    return not any(isinstance(value, list | dict | set) for value in column.head(1)) and column.nunique() > 1


def _infer(column: pd.Series, name: str, place: Callable[[np.ndarray], str]) -> _Guess:
    import pandas as pd

    types = pd.api.types
    present = column.dropna()
    if not len(present):
        return "ignore", "no value at all", False
    if column.dtype == object:
        raise mixed_types(column, name, place)
    if types.is_bool_dtype(column.dtype):
        return ("boolean", "", False) if present.nunique() > 1 or len(present) < len(column) else _constant(present)
    if types.is_datetime64_any_dtype(column.dtype):
        return ("date", "", False) if present.nunique() > 1 else _constant(present)
    if types.is_integer_dtype(column.dtype):
        return _infer_integers(present.to_numpy(np.int64), len(column))
    if types.is_float_dtype(column.dtype) and (present % 1 == 0).all() and (present.abs() >= 2.0**53).any():
        why = "whole numbers beyond 2**53 as floats, which have lost digits: read them as text if they are ids"
        return ("continuous", why, True) if present.nunique() > 1 else _constant(present)
    if types.is_float_dtype(column.dtype):
        finite = present[np.isfinite(present.to_numpy(np.float64))]
        return _constant(present) if finite.nunique() < 2 else ("continuous", "", False)
    if isinstance(column.dtype, pd.StringDtype):
        return _infer_texts(column, present, name, place)
    raise DataError(
        f"column {name!r} has values of an unsupported type",
        received=str(column.dtype),
        allowed="text, numbers, true and false, dates",
        fix=f'convert it, or set {name} = "ignore"',
    )


def _constant(present: pd.Series) -> _Guess:
    return "ignore", f"always {str(present.iloc[0])[:40]!r}", False


def _infer_integers(values: np.ndarray, rows: int) -> _Guess:
    distinct, counts = np.unique(values, return_counts=True)
    k = len(distinct)
    if k == 1:
        return "ignore", f"always {distinct[0]}", False
    span = int(distinct[-1]) - int(distinct[0]) + 1
    if k == rows >= _ID_ROWS and span <= 2 * k:
        return "id", "a row number: useless as an input, and it leaks the order of the table", False
    if k == 2:
        return "categorical", "", False
    if k == len(values) >= _ID_ROWS:
        if (values.astype(np.float64).astype(np.int64) != values).any():
            return "id", f"{k} whole numbers beyond 2**53, none twice: an id, or continuous with digits lost?", True
        return "continuous", f"{k} whole numbers, none twice: continuous, or an id?", True
    if k <= FEW_VALUES:
        guess: ColumnKind = "categorical" if len(values) >= 10 * k else "continuous"
        return guess, f"{k} whole numbers: categorical or continuous?", True
    if len(np.unique(values.astype(np.float64))) < 0.9 * k:
        return "categorical", f"{k} whole numbers, of which floats make fewer: categorical or continuous?", True
    # Codes such as the number of a shop: no gaps, each many times, and about equally often.
    if len(values) >= 20 * k and k >= 0.9 * span:
        even = counts.std() < 0.5 * counts.mean()
        guess = "categorical" if even else "continuous"
        return guess, f"{k} whole numbers without gaps: categorical or continuous?", True
    return "continuous", "", False


def _infer_texts(column: pd.Series, present: pd.Series, name: str, place: Callable[[np.ndarray], str]) -> _Guess:
    counts = present.value_counts()
    texts, k = counts.index.to_series(), len(counts)

    def share(pattern: str) -> float:
        return float(counts[texts.str.fullmatch(pattern).to_numpy(bool)].sum()) / len(present)

    if share(_ISO) >= _DATE_SHARE:
        check_dates(column, name, place)
        return ("date", "", False) if k > 1 else _constant(present)
    if k == 1:
        return _constant(present)
    numeric = float(counts[number_like(counts)].sum()) / len(present)
    if numeric == 1.0:
        return "categorical", f"{k} numbers kept as text: categorical, or continuous (without the leading zeros)?", True
    is_own = k > 0.9 * len(present) and len(present) >= _ID_ROWS
    if numeric >= (0.9 if is_own and k <= FEW_VALUES else 0.5) and (k > FEW_VALUES or is_own):
        raise mixed_types(column, name, place)
    if is_own:
        return *describe_near_unique(texts), False
    by_text = dict(zip(texts.tolist(), counts.tolist(), strict=True))
    are_flags, why = describe_flags(by_text)
    if why:
        return "boolean" if are_flags else "categorical", why, True
    if unread := describe_unread(by_text):
        return "categorical", f"{k} {unread}, or use them as categories", True
    if numeric >= 0.5:
        return "categorical", f"{k} values, most of them numbers: categorical, or are some of them errors?", True
    if k > 1000 and k > 0.2 * len(present):
        return "categorical", f"{k} different texts in {len(present)} rows: categorical, hashed, or ignore?", True
    return "categorical", "", False
