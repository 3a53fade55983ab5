"""Say why photos that the decoder refused cannot be used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tlkit.inputs.image.formats import refused
from tlkit.inputs.image.preprocessing import ImagePreprocessing
from tlkit.inputs.image.walk import BROKEN, UNREADABLE


class Unreadable(NamedTuple):
    """A photo that cannot be used, why, and under which reason of `tlkit.inputs.image.walk` it is counted."""

    path: Path
    reason: str
    counted_as: str = BROKEN


def explain(path: Path, preprocessing: ImagePreprocessing) -> Unreadable:
    """Say in one clause why a photo that `preprocessing` refused cannot be used."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return Unreadable(path, f"cannot be opened ({error.strerror})", UNREADABLE)
    return Unreadable(path, refused(content, max_pixels=preprocessing.max_pixels, name=str(path)))


def explain_all(paths: Iterable[Path], preprocessing: ImagePreprocessing) -> list[Unreadable]:
    """Explain each of these photos."""
    return [explain(path, preprocessing) for path in paths]
