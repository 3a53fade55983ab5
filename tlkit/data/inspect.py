"""Say why photos cannot be used, with the very operations that read them in training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from tlkit.image_files.formats import refused
from tlkit.preprocessing.images import ImagePreprocessing
from tlkit.walk import BROKEN, UNREADABLE


class Unreadable(NamedTuple):
    """A photo that cannot be used, why, and under which reason of `tlkit.walk` it is counted."""

    path: Path
    reason: str
    counted_as: str = BROKEN


def explain(path: Path, preprocessing: ImagePreprocessing) -> Unreadable | None:
    """Say in one clause why a photo cannot be used, or None when it can."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return Unreadable(path, f"cannot be opened ({error.strerror})", UNREADABLE)
    try:
        # Through tf.data: an eager tf.switch_case would run Python branches, this runs the graph that training runs.
        for _ in tf.data.Dataset.from_tensors(content).map(preprocessing):
            return None
    except tf.errors.OpError:
        reason = refused(content, max_pixels=preprocessing.max_pixels, name=str(path))
        return Unreadable(path, reason)
    return None


def explain_all(paths: Iterable[Path], preprocessing: ImagePreprocessing) -> list[Unreadable]:
    """Explain each of these photos that cannot be used."""
    return [found for path in paths if (found := explain(path, preprocessing))]
