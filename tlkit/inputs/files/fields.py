"""How the fields of a table's files become values: what was declared, and what is inferred for the other columns."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.errors import ConfigError
from tlkit.inputs.row.columns import Date
from tlkit.inputs.row.date_form import MONTHS
from tlkit.inputs.row.number_forms import PLAIN, USUAL_MISSING, NumberForm
from tlkit.inputs.row.number_inference import FoundForm, find_form

if TYPE_CHECKING:
    import pandas as pd

_FRACTION = re.compile(r"-?\d+\.\d+|-?\d+(\.\d+)?e[+-]?\d+")
_TRUE_OR_FALSE = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
# What begins as dates do, in whatever order and with whatever marks; a column of it has the usual missing marks.
_DATE_LIKE = re.compile(
    r"[+-]?\d{1,6}[-./]\d{1,2}[-./]\d{1,4}([ T,].*)?|(\d{1,2}[ .-]*)?[^\W\d_]{3,9}\.?[ -]*\d{1,2},?[ -]*\d{2,4}( .*)?"
    r"|\d{1,2}\.?[ -][^\W\d_]{3,9}\.?,?[ -]\d{2,4}( .*)?"
    r"|(19|20)\d{2}[-./](0[1-9]|1[0-2])|(0?[1-9]|1[0-2])[-./](19|20)\d{2}"
    rf"|(?i:{'|'.join(f'{name[:3]}({name[3:]})?' for name in MONTHS)})(, |[ /.'-])((19|20)\d{{2}}|\d{{2}})"
)


@dataclasses.dataclass(frozen=True)
class Reading:
    """How fields are read.

    Args:
        decimal, thousands: of the numbers in columns without a format of their own; the latter may be empty.
        missing: texts that stand for no value in any column; the empty text does in any case.
        formats: column -> how its numbers are written, where that differs; of a column of text, `missing` alone counts.
        text_columns: columns that are text whatever they look like.
        number_columns: columns that are numbers even where zeros make them look like codes.
        marked_columns: columns of dates and booleans, which have the usual marks whatever their values look like.
        usual: what stands for no value in columns of numbers, dates and booleans, besides `missing`.
        infer: whether the forms of columns without a format are inferred.

    Raises:
        ConfigError: the marks are not usable.
    """

    decimal: str = "."
    thousands: str = ""
    missing: tuple[str, ...] = ()
    formats: Mapping[str, NumberForm] = dataclasses.field(default_factory=dict)
    text_columns: frozenset[str] = frozenset()
    number_columns: frozenset[str] = frozenset()
    marked_columns: frozenset[str] = frozenset()
    usual: tuple[str, ...] = USUAL_MISSING
    infer: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.missing, str) or not all(isinstance(text, str) for text in self.missing):
            raise ConfigError("missing is invalid", received=self.missing, allowed="a list of texts")
        object.__setattr__(self, "missing", tuple(self.missing))
        NumberForm(self.decimal, self.thousands)

    @property
    def form(self) -> NumberForm:
        """The form of columns without a format."""
        return NumberForm(self.decimal, self.thousands)

    def form_of(self, column: str) -> NumberForm:
        """Return the form that was declared for a column, with the missing marks of the whole table."""
        own = self.formats.get(column, self.form)
        return dataclasses.replace(own, missing=(*own.missing, *self.missing)) if self.missing else own

    def missing_of(self, column: str) -> tuple[str, ...]:
        """Return what stands for no value in a column of text, besides the empty text."""
        own = self.formats.get(column)
        return (*self.missing, *(own.missing if own else ()))

    def changed(self, **values: Any) -> Reading:
        """Return a copy with other values."""
        return dataclasses.replace(self, **values)


def reading_of_fitted(
    columns: Sequence[Any], forms: Mapping[str, NumberForm] | None, missing: Sequence[str]
) -> Reading:
    """Make the reading of a table whose columns are known: as in training, nothing is inferred.

    Args:
        columns: of the preprocessing, with `name`, `dtype` and, for categories, `values` and `missing`.
        forms: how numbers are written in files; None for what release 0.1.0 has trained, which knows `missing` alone.
        missing: texts that stand for no value in any column.
    """
    texts = [column for column in columns if column.dtype == "string"]
    own = dict(forms or {})
    for column in texts:
        if getattr(column, "missing", ()):
            own[column.name] = NumberForm(missing=column.missing)
    return Reading(
        missing=tuple(missing),
        formats=own,
        text_columns=frozenset(column.name for column in texts if not was_read_otherwise(column)),
        number_columns=frozenset(column.name for column in columns if column.dtype != "string"),
        marked_columns=frozenset(column.name for column in texts if isinstance(column, Date) or column.boolean),
        usual=USUAL_MISSING if forms is not None else tuple(missing),
        infer=False,
    )


def was_read_otherwise(column: Any) -> bool:
    """Return whether a client's strings stand for what a file holds as true and false, or as floats."""
    if getattr(column, "boolean", False):
        return False  # the graph reads them, in any of their spellings
    values = getattr(column, "values", ())
    return bool(values) and (set(values) <= {"false", "true"} or all(map(_FRACTION.fullmatch, values)))


def reading_of(
    *,
    decimal: str = ".",
    thousands: str = "",
    missing: Sequence[str] = (),
    formats: Mapping[str, NumberForm | Mapping[str, Any]] | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Reading:
    """Make a reading of the arguments of `tlkit.inputs.row.reading.table_from_file`.

    Raises:
        ConfigError: an argument is not usable.
    """
    found = {}
    for column, form in (formats or {}).items():
        try:
            if isinstance(form, NumberForm):
                found[column] = form
                continue
            own = dict(form)
            # What a format leaves out is as in the rest of the table.
            marks = {"decimal": decimal}
            if own.get("decimal", decimal) == decimal:
                marks["thousands"] = thousands
            found[column] = NumberForm.from_dict({**marks, **own})
        except (TypeError, ConfigError) as error:
            raise ConfigError(f"the format of column {column!r} is invalid: {error}") from error
    numbers = frozenset(name for name, kind in (kinds or {}).items() if kind == "continuous")
    marked = frozenset(name for name, kind in (kinds or {}).items() if kind in ("date", "boolean"))
    return Reading(decimal, thousands, tuple(missing), found, number_columns=numbers, marked_columns=marked)


@dataclasses.dataclass(frozen=True)
class FormNote:
    """How a column was found to be written, where nobody had said it.

    Attributes:
        column: its name.
        form: the form that was taken.
        why: what was seen, one line.
        other: another form that reads the values, all or most of them, as other numbers; a question then.
        sample: a value that the two forms read as different numbers, or else any.
        marks: missing marks that were met, with their counts.
        example: a number, as it is written.
        seen: the form without what only the other columns of the table say, for messages.
        bare: how many values lack the unit that the others have.
    """

    column: str
    form: NumberForm
    why: str
    other: NumberForm | None = None
    sample: str = ""
    marks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    example: str = ""
    seen: NumberForm = PLAIN
    bare: int = 0

    def readings(self) -> tuple[float, float] | None:
        """Return what the sample is by either form."""
        if self.other is None:
            return None
        return self.form.read(self.sample), self.other.read(self.sample)  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True, eq=False)
class Settled:
    """Columns whose texts were read.

    Attributes:
        frame: the rows.
        forms: column -> how its numbers are written in files; columns of plain numbers are left out.
        notes: what was inferred.
        kept_as_text: columns of numbers with zeros that would have been lost.
        marks: column of text -> usual missing marks that are values there, with their counts.
    """

    frame: pd.DataFrame
    forms: dict[str, NumberForm]
    notes: tuple[FormNote, ...] = ()
    kept_as_text: tuple[str, ...] = ()
    marks: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)


def settle(
    frame: pd.DataFrame, reading: Reading, raw: Collection[str], again: Callable[[Sequence[str]], pd.DataFrame | None]
) -> Settled:
    """Make numbers, booleans or text of the columns of text.

    Args:
        frame: rows; columns that pandas could read are numbers already.
        reading: what was declared.
        raw: columns that stand as in a file. Other text (of a DataFrame or a Parquet file) stays text where its numbers
            are plain ones: it was meant as text.
        again: reads columns once more as they stand in the files; None where there are no files. Numbers such as 1.234
            are looked at again where the other columns have decimal commas.

    Returns:
        The columns with their forms.
    """
    import pandas as pd

    columns = {name: _Column(frame[name]) for name in frame.columns if isinstance(frame[name].dtype, pd.StringDtype)}
    declared = reading.form
    hint = "" if declared == PLAIN else declared.decimal
    found = {
        name: find_form(column.counts, decimal=hint, missing=reading.missing_of(name))
        for name, column in columns.items()
        if name not in reading.formats and name not in reading.text_columns and reading.infer
    }
    doubtful: list[str] = []
    if not hint and reading.infer:
        hint = _decimal_of_table(frame, found)
        doubtful = _doubtful_floats(frame, reading) if hint == "," else []
        texts = again(doubtful) if doubtful else None
        if texts is not None:
            columns |= {name: _Column(texts[name]) for name in doubtful}
            found |= dict.fromkeys(doubtful)
            frame = _with(frame, {name: texts[name] for name in doubtful})
        again_found = [name for name, one in found.items() if name in doubtful or (one is not None and one.other)]
        for name in again_found if hint else ():
            found[name] = find_form(columns[name].counts, decimal=hint, missing=reading.missing_of(name))
    changed: dict[str, pd.Series] = {}
    forms: dict[str, NumberForm] = {}
    notes: list[FormNote] = []
    kept: list[str] = []
    marks: dict[str, dict[str, int]] = {}
    for name, column in columns.items():
        form, note, is_code = None, None, False
        if name not in reading.text_columns:
            is_raw = name in raw or name in doubtful
            form, note, is_code = _form_of(name, column, found.get(name), reading, is_raw, hint)
        values = column.numbers(form, refused=set(USUAL_MISSING) - {*reading.usual, *form.missing}) if form else None
        if is_code:
            kept.append(name)
        if values is not None and form is not None:
            changed[name] = values
            if form != PLAIN:
                forms[name] = dataclasses.replace(form, missing=tuple(dict.fromkeys(form.missing)))
            notes += [note] if note else []
            continue
        flags = column.booleans(reading) if name in raw and name not in reading.text_columns else None
        if flags is not None:
            changed[name] = flags
            continue
        dates = name in reading.marked_columns or column.looks_like_dates(reading)
        gone = {"", *reading.missing_of(name), *(reading.usual if dates else ())}
        own = column.without(gone)
        if own is not None:
            changed[name] = own
        if name in reading.formats and reading.formats[name].missing:
            forms[name] = NumberForm(missing=reading.formats[name].missing)
        if not dates and (usual := {t: n for t, n in column.counts.items() if t in reading.usual and t not in gone}):
            marks[name] = usual
    for name in frame.columns:  # so that a later file is read in the same way, whatever stands in this one
        if name not in columns and pd.api.types.is_numeric_dtype(frame[name].dtype):
            form = reading.form_of(name)
            if hint == "," and form == PLAIN and frame[name].dtype.kind in "iu":
                form = NumberForm(",")
            if form != PLAIN and not pd.api.types.is_bool_dtype(frame[name].dtype):
                forms[name] = form
    return Settled(_with(frame, changed), forms, tuple(notes), tuple(kept), marks)


def _form_of(
    name: str, column: _Column, found: FoundForm | None, reading: Reading, is_raw: bool, decimal: str
) -> tuple[NumberForm | None, FormNote | None, bool]:
    """Return the form in which a column's numbers are read (None where it is text), what to say, and if it is codes."""
    declared = reading.form_of(name)
    if name in reading.formats or not reading.infer:
        is_number = name in reading.number_columns or name in reading.formats
        return (declared if is_number or is_raw else None), None, False
    if found is None or found.share < 1:
        return (declared if name in reading.number_columns else None), None, False
    if found.is_code and name not in reading.number_columns:
        return None, None, is_raw
    form = dataclasses.replace(found.form, missing=(*found.form.missing, *reading.missing))
    marked = dataclasses.replace(form, decimal=declared.decimal, thousands=declared.thousands)
    said = reading.form != PLAIN and column.reads(marked)  # the marks were declared
    if said:
        form = marked
    is_plain = form == PLAIN or (said and form == declared)
    if is_plain and not is_raw and name not in reading.number_columns:
        return None, None, False
    shown = dataclasses.replace(form, missing=found.form.missing)
    if said:
        shown = dataclasses.replace(shown, decimal=".", thousands="")
    why = _why(found, shown)
    if decimal == "," and form.decimal == "." and not form.thousands:
        as_others = dataclasses.replace(form, decimal=",")  # whole numbers, in a table of decimal commas
        form = as_others if column.reads(as_others) else form
    other = None if said or found.other is None else dataclasses.replace(found.other, missing=form.missing)
    written = dataclasses.replace(form, missing=found.form.missing)
    note = None
    if why or other:
        sample, bare = column.sample_of(form, other), found.bare if form.unit else 0
        note = FormNote(name, written, why, other, sample, found.marks, found.sample, shown, bare)
    return form, note, False


def _why(found: FoundForm, form: NumberForm) -> str:
    marks = ", ".join(f"{count} x {text!r}" for text, count in sorted(found.marks.items()))
    words = dataclasses.replace(form, missing=()).describe()
    parts = [f"{words}, as in {found.sample!r}"] if words else []
    if found.against:
        parts.append(f"{found.against!r} is not a number with {_marks_words(found.other)}")
    if found.bare and form.unit:
        parts.append(bare_words(found.bare))
    return "; ".join(parts + ([f"missing: {marks}"] if marks else []))


def bare_words(count: int) -> str:
    """Say how many values lack the unit that the others have."""
    return f"{count} value{'s' * (count != 1)} without the unit"


def _marks_words(form: NumberForm | None) -> str:
    return NumberForm(form.decimal, form.thousands).describe() if form is not None else ""


class _Column:
    """The different texts of a column, and where each stands."""

    def __init__(self, series: pd.Series):
        import pandas as pd

        self._series = series
        self._codes, values = pd.factorize(series)
        self.texts = [str(value) for value in values]
        often = np.bincount(self._codes[self._codes >= 0], minlength=len(self.texts))
        self.counts = dict(zip(self.texts, often.tolist(), strict=True))

    def numbers(self, form: NumberForm, refused: Collection[str] = ()) -> pd.Series | None:
        """Read all values, exactly; None where one is no number or `refused`, or a whole number is beyond int64."""
        import pandas as pd

        if any(text.strip() in refused for text in self.texts if refused):
            return None
        try:
            values = [form.read(text) for text in self.texts]
        except ValueError:
            return None
        given = [value for value in values if value is not None]
        if given and all(isinstance(value, int) for value in given):
            return self._whole(form)
        if any(abs(value) >= 2**53 for value in given):
            exact = self._whole(form)
            if exact is not None:
                return exact
        floats = np.array([np.nan if value is None else float(value) for value in (*values, None)], np.float64)
        return pd.Series(floats[self._codes], index=self._series.index, name=self._series.name)

    def _whole(self, form: NumberForm) -> pd.Series | None:
        """Read whole numbers; None where one is none, or is beyond int64."""
        import pandas as pd

        try:
            values = [form.read_whole(text) for text in self.texts]
        except ValueError:
            return None
        if not all(value is None or -(2**63) < value < 2**63 for value in values):
            return None
        whole = pd.array([*values, None], dtype="Int64").take(self._codes)
        column = pd.Series(whole, index=self._series.index, name=self._series.name)
        return column if column.isna().any() else column.astype("int64")

    def reads(self, form: NumberForm) -> bool:
        """Return whether all values are numbers of a form."""
        return self.numbers(form) is not None

    def sample_of(self, form: NumberForm, other: NumberForm | None) -> str:
        """Return a value that two forms read as different numbers."""
        if other is not None:
            for text in self.texts:
                with contextlib.suppress(ValueError):
                    if form.read(text) != other.read(text):
                        return text.strip()
        return ""

    def booleans(self, reading: Reading) -> pd.Series | None:
        """Read true and false; None where a value is neither."""
        import pandas as pd

        gone = {"", *reading.usual, *reading.missing_of(str(self._series.name))}
        words = [text.strip() for text in self.texts]
        given = [word for word in words if word not in gone]
        if not given or not all(word in _TRUE_OR_FALSE for word in given):
            return None
        flags = pd.array([_TRUE_OR_FALSE.get(word) for word in (*words, "")], dtype="boolean").take(self._codes)
        column = pd.Series(flags, index=self._series.index, name=self._series.name)
        return column if column.isna().any() else column.astype(bool)

    def looks_like_dates(self, reading: Reading) -> bool:
        """Return whether half of the values, the missing ones left aside, begin as dates do."""
        few = {text: count for text, count in self.counts.items() if text.strip() not in reading.usual}
        dates = sum(count for text, count in few.items() if _DATE_LIKE.fullmatch(text.strip()))
        return bool(few) and dates >= 0.5 * sum(few.values())

    def without(self, gone: Collection[str]) -> pd.Series | None:
        """Return the column with some texts missing, or None where none of them is there."""
        places = np.array([text.strip() in gone for text in self.texts] + [False], bool)
        return self._series.mask(places[self._codes]) if places.any() else None


def _with(frame: pd.DataFrame, columns: Mapping[str, pd.Series]) -> pd.DataFrame:
    if not columns:
        return frame
    frame = frame.copy(deep=False)  # not assign(**...): a column may be called "self"
    for name, column in columns.items():
        frame[name] = column
    return frame


def _decimal_of_table(frame: pd.DataFrame, found: Mapping[str, FoundForm | None]) -> str:
    """Return the decimal mark that the columns agree on, as far as their values leave no doubt; else nothing."""
    marks = {
        one.form.decimal
        for one in found.values()
        if one is not None and one.is_number and one.other is None and (one.form.decimal == "," or one.form.thousands)
    }
    if any(frame[name].dtype.kind == "f" and not _in_thousands(frame[name]) for name in frame.columns):
        marks.add(".")
    return marks.pop() if len(marks) == 1 else ""


def _doubtful_floats(frame: pd.DataFrame, reading: Reading) -> list[str]:
    return [
        name
        for name in frame.columns
        if frame[name].dtype.kind == "f" and _in_thousands(frame[name]) and name not in reading.formats
    ]


def _in_thousands(column: pd.Series) -> bool:
    """Whether floats may be whole numbers whose thousands pandas took for decimals, such as 1.234."""
    values = np.abs(column.to_numpy(np.float64))
    values = values[np.isfinite(values)]
    fractions = values[values != np.floor(values)]
    near = np.abs(fractions * 1000 - np.rint(fractions * 1000)) < 1e-6
    return bool((fractions >= 1).all() and (fractions < 1000).all() and near.all())
