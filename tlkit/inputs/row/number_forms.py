"""How numbers are written in the files of a table, as plain data: decimal mark, thousands, unit, missing marks.

Numbers travel to a model as numbers. How people write them is the business of those who read files: training,
evaluation, `tlkit predict`, `tlkit score`. All of them read a field with `NumberForm.read`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Mapping
from typing import Any

from tlkit.errors import ConfigError

# What stands for no value in columns of numbers, of dates and of true and false: what pandas takes for it, and "?".
USUAL_MISSING = (
    "", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
DECIMALS = (".", ",")
THOUSANDS = ("", ",", ".", " ", "'")
_PARTS = ("%", "‰")  # 12 and 12% are two numbers, unlike 12 and 12 kg
# Signs, spaces and apostrophes that a computer tells apart and a reader does not.
_ALIKE = str.maketrans(
    dict.fromkeys("\u2212\u2012\u2013\u2010\u2011\uff0d\ufe63", "-")
    | dict.fromkeys("\u00a0\u202f\u2009\u2007\u2008\u200a\u2002\u2003\u3000", " ")
    | dict.fromkeys("\u2019\u02bc\uff07", "'")
    | {"\ufeff": None, "\u200b": None, "\u200e": None, "\u200f": None}
)


@dataclasses.dataclass(frozen=True)
class NumberForm:
    """How the numbers of a column are written in files.

    Example:
        >>> NumberForm(decimal=",", thousands=".", unit="€").read("1.234,50 €")
        1234.5
        >>> NumberForm(unit="%").read("12 %")
        12

    Args:
        decimal: the decimal mark, `"."` or `","`.
        thousands: what stands between groups of three digits: `""` (nothing), `","`, `"."`, `" "` (any kind of space)
            or `"'"`. Groups may be there or not; where they are, they are whole.
        unit: what stands before or after a number, such as `"€"`, `"USD"`, `"kg"` or `"%"`. The number is taken as it
            is written: `12%` is 12. A percent sign must be there, other units may be left out.
        brackets: whether (1,234) is -1234.
        missing: what stands for no value, besides `USUAL_MISSING`.

    Raises:
        ConfigError: a field is not usable.
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""
    brackets: bool = False
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "missing", tuple(self.missing))
        if self.decimal not in DECIMALS:
            raise ConfigError("the decimal mark is invalid", received=self.decimal, allowed=DECIMALS)
        if self.thousands not in THOUSANDS:
            raise ConfigError("the mark between thousands is invalid", received=self.thousands, allowed=THOUSANDS)
        if self.decimal == self.thousands:
            raise ConfigError("the decimal mark and the mark between thousands are the same", received=self.decimal)
        if not isinstance(self.unit, str) or re.search(
            r"[0-9](?!$)|[014-9]$|[()+\n\r]|^\s|\s$", self.unit.translate(_ALIKE)
        ):
            raise ConfigError(
                "a unit is invalid", received=self.unit, allowed='text such as "€" or "km/h", no digits, no brackets'
            )
        if not all(isinstance(text, str) for text in self.missing):
            raise ConfigError("missing is invalid", received=self.missing, allowed="a list of texts")

    def read(self, text: str) -> int | float | None:
        """Read a field.

        Args:
            text: the field as it stands in the file.

        Returns:
            The number, an int where it has digits alone (of any length, exactly), or None for a missing mark.

        Raises:
            ValueError: the text is no number of this form, or is not finite.
        """
        return self._read(text.strip(), is_whole=False)

    def read_whole(self, text: str) -> int | None:
        """Read a field of a column of whole numbers, exactly: a fraction of zeros is none.

        Example:
            >>> NumberForm().read_whole("1234567890123456781.0")
            1234567890123456781

        Args:
            text: the field as it stands in the file.

        Returns:
            The number, or None for a missing mark.

        Raises:
            ValueError: the text is no whole number of this form.
        """
        number = self._read(text.strip(), is_whole=True)
        if isinstance(number, float):
            if number != int(number) or abs(number) >= 2**53:
                raise ValueError(text)
            return int(number)
        return number

    def _read(self, text: str, is_whole: bool) -> int | float | None:
        if text in USUAL_MISSING or text in self.missing:
            return None
        plain = alike(text)
        inside = _BRACKETS.fullmatch(plain) if self.brackets else None
        if inside is not None:
            plain = " ".join(part for part in inside.groups() if part)
        found = _pattern(self.decimal, self.thousands, self.unit).fullmatch(plain)
        if found is None:
            raise ValueError(text)
        parts = found.groupdict()
        signs = [parts[name] for name in ("sign", "inner") if parts[name]]
        if len(signs) > (0 if inside is not None else 1) or (parts.get("before") and parts.get("after")):
            raise ValueError(text)
        digits = parts["number"].replace(self.thousands, "") if self.thousands else parts["number"]
        number: int | float
        whole, _, fraction = digits.partition(self.decimal)
        if digits.isdigit() or (is_whole and whole.isdigit() and not fraction.strip("0")):
            number = int(whole)
        else:
            number = float(digits.replace(self.decimal, "."))
            if not math.isfinite(number):
                raise ValueError(text)
        if self.unit in _PARTS and not (parts.get("before") or parts.get("after")) and number:
            raise ValueError(text)
        return -number if inside is not None or signs == ["-"] else number

    def describe(self) -> str:
        """Return the form in a few words, such as `decimal comma, unit "€"`; empty for plain numbers."""
        words = []
        if self.decimal == ",":
            words.append("decimal comma")
        if self.thousands:
            name = {",": "commas", ".": "points", " ": "spaces", "'": "apostrophes"}[self.thousands]
            words.append(f"{name} between thousands")
        if self.unit:
            words.append(f'unit "{self.unit}"')
        if self.brackets:
            words.append("negative numbers in brackets")
        if self.missing:
            words.append(f"missing: {', '.join(repr(text) for text in self.missing)}")
        return ", ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that differ from those of plain numbers, fit for JSON and TOML."""
        plain = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NumberForm:
        """Make the form that `to_dict` described.

        Raises:
            ConfigError: a field is unknown or not usable.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := [name for name in values if name not in known]:
            raise ConfigError("unknown key of a format", received=unknown, allowed=known)
        given: dict[str, Any] = dict(values)
        if isinstance(given.get("missing"), list):
            given["missing"] = tuple(given["missing"])
        return cls(**given)


PLAIN = NumberForm()


def alike(text: str) -> str:
    """Return a text without surrounding spaces, its minus signs, spaces and apostrophes as ASCII has them."""
    return text if text.isascii() else text.translate(_ALIKE).strip()


_BRACKETS = re.compile(r"(.*?)\s*\(\s*(.*?)\s*\)\s*(.*)")


def number_pattern(decimal: str, thousands: str) -> str:
    """Return the regular expression of an unsigned number without unit."""
    mark = re.escape(decimal)
    plain = rf"(?:[0-9]+(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    if not thousands:
        return plain
    group = re.escape(thousands)
    grouped = rf"[0-9]{{1,3}}(?:{group}[0-9]{{3}})+"
    grouped += r"|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}" if thousands == "," else ""  # lakhs: 12,34,567
    return rf"(?:(?:{grouped})(?:{mark}[0-9]*)?|{plain})"  # nobody groups the digits before an exponent


@functools.lru_cache(maxsize=256)
def _pattern(decimal: str, thousands: str, unit: str) -> re.Pattern[str]:
    sign = r"(?P<sign>[+-]?)\s*"
    number = rf"(?P<number>{number_pattern(decimal, thousands)})"
    if not unit:
        return re.compile(rf"{sign}(?P<inner>){number}")
    plain = re.escape(alike(unit))
    return re.compile(rf"{sign}(?P<before>{plain})?\s*(?P<inner>[+-]?)\s*{number}\s*(?P<after>{plain})?")
