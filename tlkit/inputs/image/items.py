"""Image files as callers give them, and why one was refused; needs no TensorFlow."""

from __future__ import annotations

import re
from pathlib import Path

from tlkit.errors import DataError
from tlkit.inputs.base import NotAnsweredError
from tlkit.inputs.image.formats import MAX_PIXELS, refused

_LIMIT = re.compile(r"the image has more than (\d+) pixels")


def checked(item: object, position: int) -> Path:
    """Return an item as the path of a file.

    Args:
        item: what the caller gave.
        position: from 0.

    Raises:
        DataError: it is no path.
    """
    if not isinstance(item, str | Path):
        raise DataError(f"input {position + 1} is not the path of a file", received=item, allowed="strings and paths")
    return Path(item)


def content(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def refusal(
    item: object, position: int, *, data: bytes = b"", max_pixels: int | None = None, said: str = ""
) -> NotAnsweredError:
    """Make the error about an image that the graph refused.

    Args:
        item: its path.
        position: from 0; unused, as the path names it.
        data: its bytes, which show why it was refused.
        max_pixels: the largest width x height that the export decodes, where it is known.
        said: the message of the graph or of the server.
    """
    limit = _LIMIT.search(said)  # what the graph itself says holds for every export
    pixels = int(limit[1]) if limit else max_pixels or MAX_PIXELS
    return NotAnsweredError(str(item), refused(data, max_pixels=pixels, name=str(item)))
