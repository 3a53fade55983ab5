"""Find unreadable photos before training, with the very operations that will read them in training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from tlkit.preprocessing.header import FORMATS, read_header
from tlkit.preprocessing.images import ImagePreprocessing

_CONVERT = "convert it first, for example with `magick {name} {stem}.jpg`"
_OTHER_FORMATS = (
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyp", "HEIC"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"\x00\x00\x01\x00", "icon"),
)


class Unreadable(NamedTuple):
    """A photo that cannot be used, and why."""

    path: Path
    reason: str


def explain(path: Path, preprocessing: ImagePreprocessing) -> str | None:
    """Say in one clause why a photo cannot be read, or None when it can."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if not content:
        return "is empty (0 bytes)"
    for at, magic, name in _OTHER_FORMATS:
        if content[at : at + len(magic)] == magic:
            return f"is {name}, which the exported model could not decode; " + _CONVERT.format(
                name=path.name, stem=path.stem
            )
    try:
        header = read_header(tf.constant(content))
        kind = int(header.format)
        if kind == len(FORMATS):
            return f"is not an image (known formats: {', '.join(FORMATS)})"
        height, width = int(header.height), int(header.width)
        if not 0 < height * width <= preprocessing.max_pixels:
            limit = preprocessing.max_pixels // 1_000_000
            return f"promises {width} x {height} pixels in its header, more than {limit} megapixels"
        _decode(content, preprocessing)
    except tf.errors.OpError as error:
        detail = _assertion(str(error.message))
        return detail or f"is truncated or corrupt ({_format_name(content)})"
    return None


def explain_all(paths: Iterable[Path], preprocessing: ImagePreprocessing) -> list[Unreadable]:
    """Explain each of these photos that cannot be read."""
    reasons = ((path, explain(path, preprocessing)) for path in paths)
    return [Unreadable(path, reason) for path, reason in reasons if reason]


def _decode(content: bytes, preprocessing: ImagePreprocessing) -> None:
    # Through tf.data: an eager tf.switch_case would run Python branches, this runs the graph that training runs.
    dataset = tf.data.Dataset.from_tensors(content).map(preprocessing)
    for _ in dataset:
        pass


def _assertion(message: str) -> str | None:
    for line in message.splitlines():
        if "not supported" in line:
            text = line.split("assertion failed: [")[-1].split("]")[0].strip("'b\"")
            return text.removeprefix("this kind of ")
    return None


def _format_name(content: bytes) -> str:
    kind = int(read_header(tf.constant(content[:64] + bytes(64))).format) if content[:2] != b"\xff\xd8" else 0
    return FORMATS[kind].upper() if kind < len(FORMATS) else "unknown format"
