"""Texts that stand for amounts, times, dates or flags and that no column reads as such: what to say about them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tlkit.inputs.row.columns import FALSE_SPELLINGS, TRUE_SPELLINGS
from tlkit.inputs.row.date_form import MONTHS
from tlkit.inputs.row.number_forms import USUAL_MISSING, alike

_MOST = 0.9  # of the values
_FEW_TEXTS = 20_000  # of a column that are looked at
_SIGN = r"[$€£¥₹₽₩₺₪฿₫₴₱]|[A-Z]{1,3}[$€£]?|[A-Za-z]{2,4}"
_DIGITS = r"(\d{1,3}([., '’]\d{3})+([.,]\d+)?|\d+([.,]\d+)?|[.,]\d+)"
_SCALE = r"([kKmMbBT]|MM|[bB]n|BN|mn|mio|Mio\.?|mln|mld|Mrd\.?|[tT]sd\.?|[cC]r|lakhs?|crores?|thousand|million|billion)"
# 85.3k, $1,234K, €2.5 Mio, 3M USD
SCALED = rf"\(?[+-]?\s?({_SIGN})?\s?[+-]?{_DIGITS}\s?{_SCALE}(\s?({_SIGN}))?\)?"
_TIME = r"\d{1,2}([:.h]\d{2}){1,2}(\.\d+)?(\s?[AaPp]\.?[Mm]\.?)?|\d{1,2}\s?[AaPp]\.?[Mm]\.?"
_WORD = r"[^\W\d_]{3,10}\.?"
_DAY = r"\d{1,2}(st|nd|rd|th|\.|º|er)?"
_YEAR = r"(19|20)\d{2}"
_DATE = (
    rf"({_WORD},?\s)?{_DAY}[\s-](of\s|de\s)?{_WORD},?[\s-](de\s)?({_YEAR}|\d{{2}})|({_WORD},?\s)?{_WORD}\s{_DAY},?\s{_YEAR}"
    rf"|{_WORD}[\s-]{_YEAR}|{_YEAR}[\s-]{_WORD}|{_YEAR}年\d{{1,2}}月(\d{{1,2}}日)?|{_YEAR}-[0-3]\d{{2}}"
)
_PERIOD = rf"{_YEAR}[\s/-]?[WwKkQq]{{1,2}}\s?\d{{1,2}}(-\d)?|[WwKkQq]{{1,2}}\s?\d{{1,2}}[\s/-]{_YEAR}"
_OTHER_DIGITS = r"(?=.*[^\W0-9_])[+-]?[\d.,٫٬]+"
_SHAPES = (
    (_OTHER_DIGITS, "numbers such as {} with digits other than 0 to 9, which are not supported: write plain numbers"),
    (SCALED, "amounts such as {} that are not read as numbers: write plain numbers"),
    (_TIME, "times such as {} that are not read as numbers: write hours, minutes or seconds as numbers"),
    (_PERIOD, "weeks or quarters such as {} that are not read as dates: write their first day, such as 2014-06-23"),
    (_DATE, "dates such as {} in an unsupported format: write 2014-06-23"),
)


def describe_unread(counts: Mapping[str, int]) -> str:
    """Say in one line what the texts of a column look like, where they are amounts, times or dates that are not read.

    Example:
        >>> describe_unread({"85.3k": 4, "$1M": 2})
        "amounts such as '85.3k' that are not read as numbers: write plain numbers"

    Args:
        counts: the different texts, and how often each occurs.

    Returns:
        The line; empty for other texts.
    """
    some = list(counts)[:: max(1, len(counts) // _FEW_TEXTS)]
    texts = {alike(text.strip()): counts[text] for text in some if text.strip() not in USUAL_MISSING}
    total = sum(texts.values())
    for pattern, words in _SHAPES:
        found = re.compile(pattern)
        fitting = [text for text in texts if found.fullmatch(text)]
        if fitting and sum(texts[text] for text in fitting) >= _MOST * total:
            english = [any(month in text.lower() for month in MONTHS) for text in fitting]
            return words.format(repr(fitting[english.index(False) if False in english else 0][:20]))
    plain, scaled = re.compile(rf"({_SIGN})?\s?[+-]?{_DIGITS}"), re.compile(SCALED)
    fitting = [text for text in texts if scaled.fullmatch(text)]
    both = sum(count for text, count in texts.items() if scaled.fullmatch(text) or plain.fullmatch(text))
    if both >= _MOST * total and sum(texts[text] for text in fitting) >= total / 2:
        return dict(_SHAPES)[SCALED].format(repr(fitting[0][:20]))
    return ""


def describe_flags(counts: Mapping[str, int]) -> tuple[bool, str]:
    """Say what stands beside true and false in a column that holds mostly these.

    Args:
        counts: the different texts, and how often each occurs.

    Returns:
        Whether all of them can be read as true and false, and the line; it is empty for other columns.
    """
    words = {text: text.strip().lower() for text in counts}
    flags = sum(count for text, count in counts.items() if words[text] in ("true", "false"))
    if flags < sum(counts.values()) / 2:
        return False, ""
    known = {*FALSE_SPELLINGS, *TRUE_SPELLINGS, *(text.lower() for text in USUAL_MISSING)}
    others = {text: count for text, count in counts.items() if words[text] not in known}
    if not others:
        return True, "true and false in several spellings: boolean or categorical?"
    text, count = max(others.items(), key=lambda item: item[1])
    more = f" and {len(others) - 1} other texts" if len(others) > 1 else ""
    return False, (
        f"true and false, and {count} x {text[:40]!r}{more}: correct them, or list them in missing under [formats]"
    )
