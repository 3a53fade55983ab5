"""How a column of texts writes numbers: decimal mark, thousands, unit and missing marks, inferred from all values."""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from tlkit.inputs.row.number_forms import PLAIN, USUAL_MISSING, NumberForm, alike, number_pattern
from tlkit.inputs.row.number_words import CURRENCIES, LIKELY_MISSING, UNITS

_FEW_TEXTS = 20_000  # of a column that are looked at to find its form; all are read with it
_FEW = 0.05  # of the values: these are mistakes
# Of numbers with three decimals whose last zeros are left out, one in ten has fewer.
_PERHAPS_FEW = 0.1
_IN_GROUPS = re.compile(r"[0-9]{2,3}([. ])[0-9]{3}(\1[0-9]{3})+|[0-9]{2,3} [0-9]{3} [0-9]{3,4}")
_SYMBOL = r"[^\w\s()+\-.,'\"<>=~≤≥/:;\\|&!?*#@]"  # such as € and %
_BEFORE = rf"[^\W\d_][^\d()+\-,']{{0,9}}?|{_SYMBOL}{{1,3}}|[A-Z]{{1,3}}{_SYMBOL}"
_AFTER = r"[^\d\s()+\-.,'\"<>=~≤≥:;\\|&!?*#@](?:[^\d()+<>=:;]{0,19}[^\d\s()+<>=:;])?[23]?"
_CORE = r"[.,]?[0-9](?:[0-9.,' ]*[0-9])?[.,]?(?:[eE][+-]?[0-9]+(?![0-9a-zA-Z]))?"
_TOKEN = re.compile(
    rf"(?P<open>\(\s*)?(?P<sign>[+-]?)\s*(?P<before>{_BEFORE})?\s*(?P<open2>\(\s*)?(?P<inner>[+-]?)\s*"
    rf"(?P<core>{_CORE})\s*(?P<close>\)\s*)?(?P<after>{_AFTER})?\s*(?P<close2>\))?"
)


@dataclasses.dataclass(frozen=True)
class FoundForm:
    """How a column of texts writes numbers, as far as it does.

    Attributes:
        form: the form that most values have.
        share: of the values (missing ones left aside) that are numbers of this form; 1 where all are.
        marks: missing marks that were met, with their counts; the empty text left aside.
        other: another form that reads the values as other numbers, all or most of them: 1,234 with commas between
            thousands or a decimal comma.
        against: a value that `other` does not read, though it reads most of them.
        odd: texts of this form that are not what the other values are, and so no part of `share`: a number that is not
            finite, 007 among numbers with a fraction, 20 digits among short whole numbers.
        bare: how many values lack the unit that the others have.
        is_code: whether zeros would be lost that belong to the values, as those of 007 and 38.10.
        sample: one of the numbers, as it is written.
    """

    form: NumberForm
    share: float
    marks: Mapping[str, int]
    other: NumberForm | None = None
    against: str = ""
    odd: frozenset[str] = frozenset()
    bare: int = 0
    is_code: bool = False
    sample: str = ""

    @property
    def is_number(self) -> bool:
        """Whether the column is one of numbers."""
        return self.share == 1.0 and not self.is_code


def find_form(counts: Mapping[str, int], *, decimal: str = "", missing: Sequence[str] = ()) -> FoundForm | None:
    """Find the form of the numbers of a column.

    Example:
        >>> find_form({"1.234,50 €": 1, "7,00 €": 2, "-": 1}).form
        NumberForm(decimal=',', thousands='.', unit='€', brackets=False, missing=('-',))

    Args:
        counts: the different texts of a column, and how often each occurs.
        decimal: what the other columns of the table have for a decimal mark, where that is known; decides what 1,234
            and 1.234 are.
        missing: what stands for no value, besides the usual marks.

    Returns:
        The form, or None where fewer than two different numbers are found, or less than half of the values are numbers.
    """
    marks: dict[str, int] = {}
    texts: dict[str, int] = {}
    for text, count in counts.items():
        stripped = text.strip()
        if not stripped:
            continue
        if stripped in USUAL_MISSING or stripped in missing or stripped.lower() in LIKELY_MISSING:
            marks[stripped] = marks.get(stripped, 0) + count
        else:
            plain = alike(stripped)
            texts[plain] = texts.get(plain, 0) + count
    if len(texts) < 2:
        return None
    step = max(1, len(texts) // _FEW_TEXTS)
    looked_at = dict(list(texts.items())[::step])
    tokens = {text: found for text in looked_at if (found := _TOKEN.fullmatch(text)) and _balanced(found)}
    if sum(looked_at[text] for text in tokens) < 0.5 * sum(looked_at.values()):
        return None
    unit = _common_unit(tokens, looked_at)
    cores = Counter[str]()
    brackets = signed = bare = 0
    for text, found in tokens.items():
        own = found["before"] or found["after"] or ""
        if own not in ("", unit) or (found["before"] and found["after"]):
            continue
        if unit and not own:
            bare += looked_at[text]
        if found["open"] or found["open2"]:
            brackets += 1
        else:
            signed += 1
        cores[found["core"]] += looked_at[text]
    if not cores or not signed:  # (1), (2) and (3) are no negative numbers
        return None
    if all(_IN_GROUPS.fullmatch(core) for core in cores):  # telephone numbers and addresses of computers
        return None
    first, other = _marks_of(cores, decimal)
    if first is None:
        return None
    given = tuple(text for text in marks if text not in missing)
    form = NumberForm(*first, unit=unit, brackets=bool(brackets), missing=tuple(sorted(given)))
    numbers: dict[str, int | float] = {}
    for text in texts:
        number = _number(form, text)
        if number is not None:
            numbers[text] = number
    odd = _odd_ones(numbers, texts, form)
    read, sample = 0, ""
    for text in numbers:
        if text not in odd:
            read += texts[text]
            if not sample or (len(text) > len(sample) and len(text) < 24):
                sample = text
    share = read / sum(texts.values())
    if len(set(numbers.values())) < 2 or share < 0.5:
        return None
    alike_ones = {text: count for text, count in texts.items() if text not in odd}
    code = (
        not unit
        and not brackets
        and not first[1]
        and is_code(text.replace(first[0], ".") for text in _repeated(alike_ones))
    )
    second, against = None, ""
    if other:
        second = dataclasses.replace(form, decimal=other[0], thousands=other[1])
        against = next((text for text in numbers if _number(second, text) is None), "")
    return FoundForm(form, share, marks, second, against, frozenset(odd), bare, code, sample)


def _number(form: NumberForm, text: str) -> int | float | None:
    try:
        return form.read(text)
    except ValueError:
        return None


def _odd_ones(numbers: Mapping[str, int | float], counts: Mapping[str, int], form: NumberForm) -> set[str]:
    """Return the few numbers that are not what the others are: 007 among 3.25, 20 digits among whole numbers."""
    total = sum(counts[text] for text in numbers)
    whole = all(isinstance(number, int) for number in numbers.values())
    if whole:
        large = {text for text, number in numbers.items() if abs(number) >= 2**63}
        rest = max((abs(number) for text, number in numbers.items() if text not in large), default=0)
        # Random ids of 19 digits may be just beyond int64.
        return large if rest < 2**53 and _are_few(large, counts, total) else set()
    zeros = {text for text in numbers if re.match(r"0[0-9]", text)}
    fractions = sum(counts[text] for text in numbers if form.decimal in text and text not in zeros)
    # Codes such as 038.1 repeat, and are as long as 250.0; measured values do and are neither.
    varies = total < 2 * len(numbers)
    if not varies and zeros:
        lengths = Counter[int]()
        for text in numbers:
            lengths[len(text.partition(form.decimal)[0])] += counts[text]
        usual, _ = lengths.most_common(1)[0]
        zeros = {text for text in zeros if len(text.partition(form.decimal)[0]) != usual}
    return zeros if fractions >= 0.5 * total and _are_few(zeros, counts, total) else set()


def _are_few(texts: Collection[str], counts: Mapping[str, int], total: int) -> bool:
    return sum(counts[text] for text in texts) <= _FEW * total


def why_odd(text: str, found: FoundForm | None) -> str:
    """Say why a number is not what the others of its column are; empty where it is."""
    plain = alike(text.strip())
    number = _number(PLAIN if found is None else found.form, plain)
    if number is None:
        try:
            return "" if math.isfinite(float(plain)) else "is not a finite number"
        except ValueError:
            return ""
    if found is None or plain not in found.odd:
        return ""
    return "is beyond 64 bits" if abs(number) >= 2**63 else "has zeros in front"


def looks_like_number(text: str) -> bool:
    """Return whether a text is a number in some form, such as 1,5 and €7."""
    found = _TOKEN.fullmatch(alike(text.strip()))
    if found is None or not _balanced(found):
        return False
    return all(not found[side] or _is_unit(found[side], side, alike(text.strip())) for side in ("before", "after"))


def _repeated(texts: Mapping[str, int]) -> Iterable[str]:
    for text, count in texts.items():
        yield text
        if count > 1:
            yield from [text] * min(count - 1, 3)


def _balanced(found: re.Match[str]) -> bool:
    opened, closed = bool(found["open"]) + bool(found["open2"]), bool(found["close"]) + bool(found["close2"])
    signs = bool(found["sign"]) + bool(found["inner"])
    return opened == closed <= 1 and signs + opened <= 1


def _common_unit(tokens: Mapping[str, re.Match[str]], counts: Mapping[str, int]) -> str:
    """Return the unit that most values have, or nothing."""
    units = Counter[str]()
    for text, found in tokens.items():
        for side in ("before", "after"):
            if found[side] and _is_unit(found[side], side, text):
                units[found[side]] += counts[text]
    if not units:
        return ""
    unit, count = units.most_common(1)[0]
    return unit if count >= 0.5 * sum(counts[text] for text in tokens) else ""


def _is_unit(text: str, side: str, whole: str) -> bool:
    """Whether a text beside a number is a unit: the A of A12 and of 12A is none."""
    symbol = text.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ") if len(text) > 1 else text
    if symbol and len(symbol) <= 2 and all(unicodedata.category(letter) == "Sc" for letter in symbol):
        return True  # $, US$, R$, €
    if text in CURRENCIES:
        return True
    if side == "before":
        return False
    if text in UNITS:
        return True
    spaced = whole[: whole.rfind(text)].endswith(" ")
    return spaced and bool(re.fullmatch(r"[^\W\d_]{2,12}\.?(?:[/·*][^\W\d_]{1,12}\.?)?[²³23]?", text))


_Marks = tuple[str, str]  # decimal, thousands


def _marks_of(cores: Mapping[str, int], decimal: str) -> tuple[_Marks | None, _Marks | None]:
    """Return decimal mark and mark between thousands, and another pair that reads all numbers otherwise."""
    has = {mark: any(mark in core for core in cores) for mark in "., '"}
    spaced = " " if has[" "] else "'" if has["'"] else ""
    candidates: list[_Marks]
    if spaced:
        candidates = (
            [(".", spaced)] if not has[","] else [(",", spaced)] if not has["."] else [(".", spaced), (",", spaced)]
        )
    elif has["."] and has[","]:
        candidates = [(".", ","), (",", ".")]
    elif has[","]:
        candidates = [(",", ""), (".", ",")]
    elif has["."]:
        candidates = [(".", ""), (",", ".")]
    else:
        candidates = [(".", "")]
    shares = [_share(cores, *marks) for marks in candidates]
    best = max(shares)
    if not best:
        return None, None
    fitting = [marks for marks, share in zip(candidates, shares, strict=True) if share == best]
    wanted = decimal or "."
    expected = next((marks for marks in candidates if marks[0] == wanted and marks[1]), None)
    if expected is not None and expected not in fitting and not spaced:
        # A few values in another form must not decide how all others are read.
        grouped = {core: count for core, count in cores.items() if expected[1] in core}
        others = sum(grouped.values()) - _share(grouped, *expected)
        if others <= _FEW * sum(grouped.values()):
            return expected, fitting[0]
        rare = others <= _FEW * sum(cores.values()) and 2 * others < sum(grouped.values())
        if rare or others <= _PERHAPS_FEW * sum(grouped.values()):
            return fitting[0], expected
    if spaced and not (has["."] or has[","]) and decimal:
        return (decimal, spaced), None
    if len(fitting) == 1 or spaced:
        return fitting[0], None
    fitting.sort(key=lambda marks: marks[0] != wanted)
    return fitting[0], fitting[1]


def _share(cores: Mapping[str, int], decimal: str, thousands: str) -> int:
    """Count the numbers that are well written with these marks: each group of three digits, none begins with 0."""
    pattern = re.compile(number_pattern(decimal, thousands))
    mark = re.escape(thousands)
    zero = re.compile(rf"0+{mark}[0-9]{{3}}.*") if thousands else None
    return sum(
        count
        for core, count in cores.items()
        if pattern.fullmatch(core) and not (zero is not None and zero.fullmatch(core))
    )


class Zeros:
    """Whether zeros at the ends of numbers belong to them, seen value by value: 007, 038.1 and 38.10 are codes.

    A 0 before other digits makes a code, whatever the other values are. Zeros at the end do so only where the values
    are not formatted alike: 12.50 and 3.00 have two decimals each, 1.50 and 12.3 three digits each, 0.5 and 3.0 are how
    programs write numbers. Codes repeat, and have no signs.
    """

    def __init__(self) -> None:
        self.are_numbers = True  # digits, perhaps with one point
        self.leading = self.trailing = False
        self._decimals: set[int] = set()
        self._digits: set[int] = set()
        self._count = 0
        self._different: set[str] = set()

    def add(self, texts: Iterable[str]) -> None:
        """Look at some values, as often as they occur."""
        for text in texts:
            self._count += 1
            if text in self._different:
                continue
            self._different.add(text)
            if _CODE.fullmatch(text) is None:
                self.are_numbers = False
                return
            whole, _, rest = text.partition(".")
            self.leading |= len(whole) > 1 and whole[0] == "0"
            if rest:
                self._decimals.add(len(rest))
                self.trailing |= len(rest) > 1 and rest[-1] == "0"
            self._digits.add(len((whole + rest).lstrip("0")))

    @property
    def belong(self) -> bool:
        """Whether the values seen so far are codes."""
        if not self.are_numbers:
            return False
        formatted = len(self._decimals) < 2 or len(self._digits) < 2
        repeats = self._count >= 2 * len(self._different)
        return self.leading or (self.trailing and not formatted and repeats)


_CODE = re.compile(r"[0-9]+(\.[0-9]+)?")


def is_code(texts: Iterable[str]) -> bool:
    """Return whether zeros at the ends of these values belong to them; see `Zeros`."""
    zeros = Zeros()
    zeros.add(texts)
    return zeros.belong
