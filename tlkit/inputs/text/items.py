"""Texts as callers give them, and why one was refused; needs no TensorFlow."""

from __future__ import annotations

from tlkit.errors import DataError
from tlkit.inputs.base import NotAnsweredError
from tlkit.inputs.text.spec import SPEC


def checked(item: object, position: int) -> bytes:
    """Return a text in UTF-8.

    Args:
        item: what the caller gave.
        position: from 0.

    Raises:
        DataError: it is no text.
    """
    if not isinstance(item, str):
        raise DataError(f"input {position + 1} is not a text", received=item, allowed="strings")
    try:
        return item.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"input {position + 1} is not valid Unicode: {error.reason}") from None


def content(text: bytes) -> bytes:
    """Return what `checked` gave."""
    return text


def refusal(
    item: object, position: int, *, data: bytes = b"", max_pixels: int | None = None, said: str = ""
) -> NotAnsweredError:
    """Make the error about a text that the graph refused; it is named by its position, from 0."""
    reason = f": {said.splitlines()[0]}" if said else ""
    return NotAnsweredError(f"input {position + 1}", f"is rejected by the export{reason}", SPEC.takes)
