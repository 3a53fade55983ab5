"""How the dates of a column are written: inferred from all of its values, said where they leave it open."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlkit.errors import DataError
from tlkit.inputs.row.columns import ColumnKind
from tlkit.inputs.row.date_form import DATE_FORM, EPOCHS, MONTHS, read_moments

if TYPE_CHECKING:
    import pandas as pd

Place = Callable[[np.ndarray], str]

_SHARE = 0.5  # of the values; the others are then mistakes
_ISO = re.compile(r"[+-]?\d{4,6}-\d{2}-\d{2}([T ]\d{2}(:?\d{2}(:?\d{2}(\.\d+)?)?)?\s?(Z|[+-]\d{2}:?\d{2})?)?")
_ABBREVIATED = "|".join(name[:3] for name in MONTHS)
_MONTH = f"(?P<month>{'|'.join(MONTHS)}|{_ABBREVIATED})"
_DAYS = "(?P<name>monday|tuesday|wednesday|thursday|friday|saturday|sunday|mon|tue|wed|thu|fri|sat|sun)"
_MARK = r"(?P<mark>\. |[/.\- ])"
_TIME = re.compile(
    r"(?P<apart>,? |T)(?P<hour>\d{1,2})(?P<minute>:\d{2})?(?P<second>:\d{2})?(?P<fraction>\.\d{1,9})?"
    r"(?P<half> ?[ap]\.?m\.?)?(?P<zone> ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?",
    re.IGNORECASE,
)
# A date without time -> the formats that it may have; %b stands for a month's name of either length.
_SHAPES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), formats)
    for pattern, formats in (
        (rf"\d{{1,2}}{_MARK}\d{{1,2}}(?P=mark)\d{{4}}", ("%m{0}%d{0}%Y", "%d{0}%m{0}%Y")),
        (rf"\d{{1,2}}{_MARK}\d{{1,2}}(?P=mark)\d{{2}}", ("%m{0}%d{0}%y", "%d{0}%m{0}%y", "%y{0}%m{0}%d")),
        (rf"\d{{4}}{_MARK}\d{{1,2}}(?P=mark)\d{{1,2}}", ("%Y{0}%m{0}%d",)),
        (rf"\d{{1,2}}{_MARK}{_MONTH}(?P=mark)\d{{4}}", ("%d{0}%b{0}%Y",)),
        (rf"\d{{1,2}}{_MARK}{_MONTH}(?P=mark)\d{{2}}", ("%d{0}%b{0}%y",)),
        (rf"\d{{1,2}}(?P<mark>\. ){_MONTH} \d{{4}}", ("%d{0}%b %Y",)),
        (rf"\d{{1,2}} {_MONTH}(?P<mark>, )\d{{4}}", ("%d %b{0}%Y",)),
        (rf"\d{{1,2}}{_MONTH}\d{{4}}", ("%d%b%Y",)),
        (rf"{_MONTH} \d{{1,2}}(?P<mark>, ?| )\d{{4}}", ("%b %d{0}%Y",)),
        (rf"{_MONTH}{_MARK}\d{{1,2}}(?P=mark)\d{{4}}", ("%b{0}%d{0}%Y",)),
        (rf"\d{{4}}{_MARK}{_MONTH}(?P=mark)\d{{1,2}}", ("%Y{0}%b{0}%d",)),
        (r"\d{8}", ("%Y%m%d", "%d%m%Y", "%m%d%Y")),
    )
)
# Months of a year; all values of a column must be these.
_MONTHS_ONLY: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), form)
    for pattern, form in (
        (r"(?:19|20)\d{2}(?P<mark>[/.-])(?:0[1-9]|1[0-2])", "%Y{0}%m"),
        (r"(?:0?[1-9]|1[0-2])(?P<mark>[/.-])(?:19|20)\d{2}", "%m{0}%Y"),
        (rf"{_MONTH}(?P<mark>, |[ /.-])(?:19|20)\d{{2}}", "%b{0}%Y"),
        (rf"{_MONTH}(?P<mark>[ /.'-])\d{{2}}", "%b{0}%y"),
        (rf"(?:19|20)\d{{2}}(?P<mark>[ /.-]){_MONTH}", "%Y{0}%b"),
        (rf"\d{{2}}(?P<mark>[ /.-]){_MONTH}", "%y{0}%b"),
    )
)
_WHOLE = (  # with a time inside
    (re.compile(rf"(?P<name>[a-z]{{3}}) {_MONTH} +\d{{1,2}} \d\d:\d\d:\d\d \d{{4}}", re.IGNORECASE),
     "%a %b %d %H:%M:%S %Y"),
    (re.compile(r"\d{14}"), "%Y%m%d%H%M%S"),
    (re.compile(r"\d{8}T\d{6}", re.IGNORECASE), "%Y%m%dT%H%M%S"),
    (re.compile(r"\d{8}T\d{6}Z", re.IGNORECASE), "%Y%m%dT%H%M%S%z"),
)  # fmt: skip
_PACKED_YEARS = ("1900", "2100")  # of whole numbers that are read as 20140623
_EPOCH_RANGE = (946_684_800, 2_208_988_800)  # 2000 to 2039, in seconds since 1970
_TIME_NAME = re.compile(r"(^|[^a-z])(date|time|timestamp|ts|epoch|created|updated|at|when|day|seconds)($|[^a-z])")
_MOST_YEARS = 12  # of two digits up to 31; of more, May-14 is rather a day of May
_FEWEST = 5  # different whole numbers from which on they are no date by chance


@dataclasses.dataclass(frozen=True)
class DateGuess:
    """What a column of dates was found to be.

    Attributes:
        form: a format of `strptime`, or `"epoch seconds"` or `"epoch milliseconds"`.
        why: what was seen, one line.
        other: another form that reads all values, as other days; a question then.
        sample: a value that the two read as different days, or else any.
        kind: what the column is taken for; whole numbers that may be seconds since 1970 can be a measure. None where
            it is what it would be if it were no date.
        is_question: whether the values leave form or kind open.
    """

    form: str
    why: str
    other: str = ""
    sample: str = ""
    kind: ColumnKind | None = "date"
    is_question: bool = False

    def readings(self) -> tuple[str, str]:
        """Return the day that the sample is by either form."""
        days = [read_moments([self.sample], form)[0].astype("M8[D]") for form in (self.form, self.other)]
        return str(days[0]), str(days[1])


def find_date_form(column: pd.Series, name: str, place: Place, lenient: bool = False) -> DateGuess | None:
    """Say how the dates of a column are written; None for ISO 8601, and for what are no dates.

    Args:
        column: text, or whole numbers.
        name: of the column.
        place: says where rows stand, for messages.
        lenient: values that are no dates do not matter; dates in several forms do.

    Raises:
        DataError: dates are written in several forms, or some values are no dates; with the rows.
    """
    import pandas as pd

    if isinstance(column.dtype, pd.StringDtype):
        return _of_texts(column, name, place, lenient)
    if pd.api.types.is_integer_dtype(column.dtype):
        return _of_numbers(column.dropna(), name)
    return None


def are_dates(counts: Mapping[str, int]) -> bool:
    """Return whether texts are dates: nine in ten of them, in any form that is read.

    Args:
        counts: the different texts, and how often each occurs.
    """
    texts = {text.strip(): count for text, count in counts.items()}
    dates = sum(count for text, count in texts.items() if _ISO.fullmatch(text) or _formats_of(text))
    return dates >= 0.9 * sum(texts.values())


def _of_texts(column: pd.Series, name: str, place: Place, lenient: bool) -> DateGuess | None:
    import pandas as pd

    codes, values = pd.factorize(column)
    texts = [str(value).strip() for value in values]
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    given = int(counts.sum())
    if form := _of_six_digits(texts):
        why = f"digits that are all days, such as {texts[0]!r} ({_day(texts[0], form)}): are they dates?"
        return DateGuess(form, why, sample=texts[0], kind=None, is_question=True)
    if months := _of_months(texts, counts, codes, name, place):
        return months
    # Free text is long, and most columns hold no dates at all: the first values say so.
    if not given or not any(_formats_of(text) for text in texts[:200]):
        return None
    if sum(int(counts[place]) for place, text in enumerate(texts) if _ISO.fullmatch(text)) >= _SHARE * given:
        return None
    formats = [_formats_of(text) for text in texts]
    if sum(int(count) for own, count in zip(formats, counts, strict=True) if own) < _SHARE * given:
        return None
    if all(re.fullmatch(r"\d{8}", text) for text in texts) and not any(
        _packed(texts, form) for form in ("%Y%m%d", "%d%m%Y", "%m%d%Y")
    ):
        return None
    candidates = list(dict.fromkeys(form for own in formats for form in own))
    read = {form: ~np.isnat(read_moments(texts, form)) for form in candidates}
    covered = {form: int(counts[own].sum()) for form, own in read.items()}
    most = max(covered.values())
    best = [form for form in candidates if covered[form] == most]
    best = [form for form in best if not form.startswith("%y")] or best  # 05.01.12 is hardly ever 2005
    if not most:
        return None
    _check_all(texts, codes, read[best[0]], formats, best[0], name, place, lenient)
    sample = next(text for text, fits in zip(texts, read[best[0]], strict=True) if fits)
    if len(best) == 1 or best[1] == best[0].replace("%b", "%B"):
        return DateGuess(best[0], f"dates as {sample!r}, read as {_day(sample, best[0])}", sample=sample)
    return _chosen(best, texts, codes)


def _formats_of(text: str) -> tuple[str, ...]:
    """Return the formats that a text may have, each as `strptime` writes it."""
    for pattern, form in _WHOLE:
        found = pattern.fullmatch(text)
        if found:
            return _named(form, found)
    date, time = text, ""
    weekday = re.match(rf"{_DAYS}(?P<mark>,? )", text, re.IGNORECASE)
    before = ""
    if weekday:
        before = ("%a" if len(weekday["name"]) == 3 else "%A") + weekday["mark"]
        date = text[weekday.end() :]
    for found in _TIME.finditer(date):
        if found.end() == len(date) and (found["minute"] or found["half"]):
            date, time = date[: found.start()], _time_format(found)
            break
    for pattern, formats in _SHAPES:
        match = pattern.fullmatch(date)
        if match:
            mark = match.groupdict().get("mark") or ""
            plain = [f"{before}{form.format(mark)}{time}" for form in formats]
            return tuple(one for form in plain for one in _named(form, match))
    return ()


def _named(form: str, found: re.Match[str]) -> tuple[str, ...]:
    """Write months as they are named: short, in full, or May, which is both."""
    month = found.groupdict().get("month")
    if month is None:
        return (form,)
    if month.lower() == "may":
        return form, form.replace("%b", "%B")
    return (form if len(month) == 3 else form.replace("%b", "%B"),)


def _time_format(found: re.Match[str]) -> str:
    half, zone = found["half"] or "", found["zone"] or ""
    parts = [found["apart"], "%I" if half else "%H", ":%M" if found["minute"] else "", ":%S" if found["second"] else ""]
    parts += [".%f" if found["fraction"] else "", " %p" if half.startswith(" ") else "%p" if half else ""]
    if zone:
        space, word = (" " if zone.startswith(" ") else ""), zone.strip()
        parts.append(space + (word if word.upper() in ("UTC", "GMT") else "%z"))
    return "".join(parts)


def _packed(texts: Sequence[str], form: str = "%Y%m%d") -> bool:
    years = slice(0, 4) if form.startswith("%Y") else slice(4, 8)
    inside = all(_PACKED_YEARS[0] <= text[years] < _PACKED_YEARS[1] for text in texts)
    return len(texts) >= _FEWEST and inside and not np.isnat(read_moments(texts, form)).any()


def _of_months(
    texts: Sequence[str], counts: np.ndarray, codes: np.ndarray, name: str, place: Place
) -> DateGuess | None:
    """Say how the months of years are written, such as 2014-05; None where a twentieth of the values are none."""
    sample = next((text for text in texts[:20] for pattern, _ in _MONTHS_ONLY if pattern.fullmatch(text)), "")
    pattern, shape = next((one for one in _MONTHS_ONLY if one[0].fullmatch(sample)), (None, ""))
    if pattern is None:
        return None
    mark = pattern.fullmatch(sample)["mark"]  # type: ignore[index]
    forms = [shape.format(mark), shape.format(mark).replace("%b", "%B")]
    read = {form: ~np.isnat(read_moments(texts, form)) for form in forms}
    form = max(forms, key=lambda one: int(counts[read[one]].sum()))
    others = int(counts[~read[form]].sum())
    if others > 0.05 * counts.sum() or int(read[form].sum()) < _FEWEST:
        return None
    if "%m" in form and _are_seasons(texts):
        return None
    if others:
        rows = np.flatnonzero(np.append(~read[form], False)[codes])
        raise DataError(
            f"{place(rows)}: column {name!r} has a value that is not a date",
            received=texts[int(codes[rows[0]])][:60],
            allowed=f"dates of the form {form}, as in most rows",
            fix=fix_of_dates(name, texts[int(codes[rows[0]])][:60]),
        )
    why = f"months as {sample!r}, read as {_day(sample, form)}"
    if "%y" not in form:
        return DateGuess(form, why, sample=sample)
    numbers = {int(digits) for text in texts for digits in re.findall(r"\d{2}", text)}
    if max(numbers) <= 31 and len(numbers) > _MOST_YEARS:
        return None  # days of a month, without a year
    return DateGuess(form, f"{why}: date or categorical?", sample=sample, is_question=True)


def _of_six_digits(texts: Sequence[str]) -> str:
    """Return the form in which six digits are all days or months of years; empty where they are not."""
    if len(texts) < _FEWEST or not all(re.fullmatch(r"\d{6}", text) for text in texts):
        return ""
    if all(re.fullmatch(r"(19|20)\d\d(0[1-9]|1[0-2])", text) for text in texts):
        return "%Y%m"
    forms = ("%y%m%d", "%d%m%y", "%m%d%y") if len(texts) >= 4 * _FEWEST else ()
    moments = {form: read_moments(texts, form) for form in forms}
    spans = {form: np.ptp(own.astype(np.int64)) for form, own in moments.items() if not np.isnat(own).any()}
    return min(spans, key=lambda form: spans[form], default="")  # of several forms, that of the fewest years


def _are_seasons(texts: Sequence[str]) -> bool:
    """Return whether texts such as 2009/10 and 2010/11 are years that begin in one and end in the next."""
    parts = [re.fullmatch(r"(\d{4})\D(\d{2})", text) for text in texts]
    return all(part is not None and (int(part[1]) + 1) % 100 == int(part[2]) for part in parts)


def _check_all(
    texts: Sequence[str],
    codes: np.ndarray,
    read: np.ndarray,
    formats: Sequence[tuple[str, ...]],
    form: str,
    name: str,
    place: Place,
    lenient: bool,
) -> None:
    """Refuse rows that a form does not read: dates in another form, or none at all."""
    others = {code: _other_form(texts[code], formats[code]) for code in np.flatnonzero(~read).tolist()}
    mixed = [code for code, other in others.items() if other]
    if mixed:
        rows = np.flatnonzero(np.isin(codes, mixed))
        raise DataError(
            f"{place(rows)}: column {name!r} has dates in several forms: {others[int(codes[rows[0]])]} here, "
            f"{form} in most rows",
            received=texts[int(codes[rows[0]])],
            fix=f'use one form, or set {name} = "categorical"',
        )
    rows = np.flatnonzero(np.append(~read, False)[codes])
    if len(rows) and not lenient:
        raise DataError(
            f"{place(rows)}: column {name!r} has a value that is not a date",
            received=texts[int(codes[rows[0]])][:60],
            allowed=f"dates of the form {form}, as in most rows",
            fix=fix_of_dates(name, texts[int(codes[rows[0]])][:60]),
        )


def name_date_form(text: str) -> str:
    """Return the form in which a text is a date, `"ISO 8601"` for that; empty where it is none."""
    return _other_form(text, _formats_of(text.strip()))


def fix_of_dates(name: str, value: str) -> str:
    """Say what can be done about a value of a column that is no date."""
    fix = f'correct these rows, or set {name} = "categorical"'
    if not re.search(r"\d", value):
        mark = json.dumps(value.strip(), ensure_ascii=False)
        fix += f"; missing = [{mark}] for {name} under [formats] if it is a missing value"
    return fix + '; unreadable = "missing" treats them as missing'


def _other_form(text: str, formats: Sequence[str]) -> str:
    """Name a form in which a text is a date; empty where it is none."""
    if re.fullmatch(DATE_FORM, text.strip()):
        return "ISO 8601"
    return next((one for one in formats if not np.isnat(read_moments([text], one)[0])), "")


def _chosen(best: Sequence[str], texts: Sequence[str], codes: np.ndarray) -> DateGuess:
    """Choose between forms that read all values: by the order of the rows, or else by what the marks are used for."""
    moments = {form: read_moments(texts, form) for form in best}
    differing = [place for place in range(len(texts)) if len({moments[form][place] for form in best[:2]}) > 1]
    sample = texts[differing[0]] if differing else texts[0]
    given = codes[codes >= 0]
    in_order = [form for form in best if len(texts) >= _FEWEST and _is_sorted(moments[form][given])]
    day_first = next((form for form in best if form.index("%d") < _month_at(form)), best[0])
    month_first = next((form for form in best if form.index("%d") > _month_at(form)), best[0])
    if len(in_order) == 1:
        form, reason = in_order[0], "this puts the rows in date order"
    elif "/" in best[0]:
        form, reason = month_first, "month first, as is usual for dates with slashes in the United States"
    else:
        form, reason = day_first, "day first, as is usual for dates with this separator"
    other = next((one for one in best if one != form and differing), "")
    if not differing:
        return DateGuess(form, f"dates as {sample!r}, read as {_day(sample, form)}", sample=sample)
    why = f"{sample!r} is read as {_day(sample, form)} ({reason}), and could be {_day(sample, other)}"
    return DateGuess(form, why, other, sample, is_question=True)


def _month_at(form: str) -> int:
    return max(form.find(one) for one in ("%m", "%b", "%B"))


def _is_sorted(moments: np.ndarray) -> bool:
    steps = np.diff(moments).astype(np.int64)
    return bool((steps >= 0).all() or (steps <= 0).all()) and bool(steps.any())


def _day(text: str, form: str) -> str:
    moment = read_moments([text], form)[0]
    return str(moment if "%H" in form or "%I" in form or form in EPOCHS else moment.astype("M8[D]"))


def _of_numbers(present: pd.Series, name: str) -> DateGuess | None:
    values = np.unique(present.to_numpy(np.int64))
    if len(values) < _FEWEST:
        return None
    short = [str(value) for value in values.tolist()] if values[0] >= 100_000 and values[-1] < 10**6 else []
    if form := _of_six_digits(short):
        what = "months" if form == "%Y%m" else "days"
        why = f"whole numbers that are all {what}, such as {short[0]} ({_day(short[0], form)}): are they dates?"
        return DateGuess(form, why, sample=short[0], kind=None, is_question=True)
    if values[0] >= 19_000_101 and values[-1] < 21_010_101 and _packed([str(value) for value in values.tolist()]):
        first, last = (_day(str(value), "%Y%m%d") for value in (values[0], values[-1]))
        why = f"whole numbers that are all days, {values[0]} ({first}) to {values[-1]} ({last}): date or continuous?"
        return DateGuess("%Y%m%d", why, sample=str(values[0]), is_question=True)
    for form, unit in EPOCHS.items():
        low, high = (bound * unit for bound in _EPOCH_RANGE)
        if low <= values[0] and values[-1] < high:
            first, last = (_day(str(value), form) for value in (values[0], values[-1]))
            why = f"whole numbers that are {form} from {first} to {last}: date or continuous?"
            is_time = _TIME_NAME.search(name.lower()) is not None
            kind: ColumnKind = "date" if is_time else "continuous"
            return DateGuess(form, why, sample=str(values[0]), kind=kind, is_question=True)
    return None
