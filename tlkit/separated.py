"""Write the records of CSV and TSV files; every writer of such files uses this one."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from typing import IO, Any

_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")
# Digits with separators, a currency sign or a percent sign, and nothing that computes or calls a function.
_NUMBER = re.compile(
    r"[+-]?(?:[$€£¥]\s?)?(?:(?:\d[\d.,'\u00a0\u202f ]*|[.,]\d+)(?:[eE][+-]?\d+)?|inf(?:inity)?|nan)(?:\s?[$€£¥%])?",
    re.IGNORECASE,
)


def separated_writer(file: IO[str], separator: str = ",", *, quoted: bool = True) -> Callable[[Sequence[Any]], None]:
    r"""Return a function that writes one record of a CSV or TSV.

    A field that holds the separator, a quote, `\r` or `\n` is quoted. Python's csv module quotes `\r` only from 3.11.9
    on, unless the line terminator holds it.

    Example:
        >>> write = separated_writer(sys.stdout)
        >>> write(["a", "b,c", 1.5])
        a,"b,c",1.5

    Args:
        file: text in UTF-8, opened without translation of line ends (`newline=""`).
        separator: one character between fields.
        quoted: whether fields can be quoted; where they cannot, quotes are text.

    Returns:
        The function. It raises ValueError, naming what a record holds that such a file cannot hold: NUL, and without
        quotes also the separator and line breaks.
    """
    # csv quotes what its line terminator holds; only "\n" reaches the file.
    options: dict[str, Any] = {"delimiter": separator, "lineterminator": "\r\n"}
    plain = options | {"quoting": csv.QUOTE_NONE, "quotechar": None}
    lines = _Lines(file)
    writer = csv.writer(lines, **(options if quoted else plain))
    everything = csv.writer(lines, **options, quoting=csv.QUOTE_ALL)
    begun = False

    def write(record: Sequence[Any]) -> None:
        nonlocal begun
        # A reader takes the first character of a file for a byte order mark, unless it is quoted.
        marked = not begun and str(record[0] if record else "").startswith("\ufeff")
        if marked and not quoted:
            raise ValueError("a byte order mark")
        try:
            (everything if marked else writer).writerow(record)
        except csv.Error as error:
            raise ValueError(_unquotable(record, separator)) from error
        begun = True

    return write


class _Lines:
    """A file for `csv.writer`, which writes one record at a time; turns its line ends into one character."""

    def __init__(self, file: IO[str]):
        self._file = file

    def write(self, line: str) -> int:
        """Write one record."""
        if "\0" in line:
            raise ValueError("a NUL character")
        return self._file.write(line[:-2] + "\n")


def _unquotable(record: Sequence[Any], separator: str) -> str:
    text = "".join(map(str, record))
    if separator in text:
        return "a tab" if separator == "\t" else f"the separator {separator!r}"
    return "a line break" if "\r" in text or "\n" in text else "nothing but one empty field"


def without_formula(value: Any) -> Any:
    """Return a cell that a spreadsheet does not run as a formula.

    Text that begins with `=`, `+`, `-`, `@`, a tab or a line break gets a leading apostrophe, as OWASP advises
    (https://owasp.org/www-community/attacks/CSV_Injection). Numbers stay as they are, also those that are written as
    text, such as "-3.50" and "+1e-5".

    >>> without_formula("=1+1"), without_formula("-3.5"), without_formula(-3.5), without_formula("a=b")
    ("'=1+1", '-3.5', -3.5, 'a=b')
    """
    if isinstance(value, str) and value.startswith(_RISKY) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value
