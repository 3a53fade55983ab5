"""Text of anybody's as one line of a message."""

from __future__ import annotations


def one_line(text: str) -> str:
    """Return text as one line: without control characters, runs of spaces as one.

    >>> one_line("two\\n lines")
    'two lines'
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
