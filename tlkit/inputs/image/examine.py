"""What `tlkit check` looks at in images: sizes, files, EXIF, edges and corners, copies and near copies."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tlkit.inputs.examined import Examined, Fact, Shown, Unusable, relative_name, root_of, splits_of
from tlkit.inputs.image.copies import copy_numbers, digest_of
from tlkit.inputs.image.header import FORMATS, read_header
from tlkit.inputs.image.looks import colours_of, grey_of, look_at
from tlkit.inputs.image.near import SIDE, near_images
from tlkit.inputs.image.preprocessing import ImagePreprocessing

_HEAD = 4096  # bytes that the EXIF data begin in
_CORNER = 12  # pixels of the small image
_CORNER_NUMBERS = 6  # each way
_CORNERS = ("top left", "top right", "bottom left", "bottom right")
_SHOWN = 160  # pixels
_EXIF = b"Exif\x00\x00"
_SERIES = re.compile(r"^(.*?[^\W\d_].*?)[-_ .](?:frame|f|img|image|crop|slice|tile|view|aug)?[-_ ]?\d+$", re.IGNORECASE)


class Looked(NamedTuple):
    """What one pass over the files found, [n] each: header, file, small grey image, edge and corners."""

    format: np.ndarray
    height: np.ndarray
    width: np.ndarray
    orientation: np.ndarray
    bytes: np.ndarray
    camera: np.ndarray
    grey: np.ndarray
    colours: np.ndarray
    corners: np.ndarray


def examine(data: Any, *, quick: bool = False, **columns: str) -> Examined:
    """Look at the images of an `ImageData`: each file is read and decoded once more, at a small size.

    Args:
        data: the images.
        quick: leave out what needs such a pass.
        columns: not used; images have groups of their own.
    """
    root = root_of(data.origin)
    paths = [path for name in data.splits for path in data.paths(name)]
    names = [relative_name(str(path), root) for path in paths]
    found = None if quick else look(paths, data.preprocessing.max_pixels)
    whole = {} if found is None else _looked(found)
    return Examined(
        items="images",
        splits=splits_of(data),
        names=names,
        digest=lambda item: digest_of(paths[item]),
        copies=copy_numbers(paths),
        show=lambda item: Shown(image=thumbnail(paths[item], data.preprocessing.max_pixels)),
        unusable=[Unusable(relative_name(str(one.path), root), one.reason) for one in data.skipped]
        + [Unusable(relative_name(str(one.path), root), one.reason, True) for one in data.damaged],
        unlabelled=data.dropped.get("missing_label", 0),
        groups=data.groups,
        guessed={"name": _series(names)},
        **whole,
    )


def _looked(found: Looked) -> dict[str, Any]:
    """Return what one pass over the files adds to an `Examined`."""
    return {
        "facts": _facts(found),
        "blocks": {f"{place} corner": found.corners[:, number] for number, place in enumerate(_CORNERS)},
        "near": lambda features: near_images(found.grey, features),
    }


def look(paths: Sequence[Path], max_pixels: int) -> Looked:
    """Read and decode files once, at 64 x 64 pixels; what is kept takes about 5 KB an image."""
    read = ImagePreprocessing(SIDE, "squash", max_pixels)

    def one(path: tf.Tensor) -> tuple[tf.Tensor, ...]:
        content = tf.io.read_file(path)
        numbers, small = look_at(content, read)
        return numbers, tf.strings.length(content), tf.strings.substr(content, 0, _HEAD), small

    files = tf.data.Dataset.from_tensor_slices([os.fsencode(path) for path in paths])
    batches = files.map(one, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).batch(64).prefetch(1)
    headers, sizes, cameras, greys, colours, corners = [], [], [], [], [], []
    for header, size, head, small in batches:
        pixels = small.numpy()
        grey = grey_of(pixels)
        headers.append(header.numpy())
        sizes.append(size.numpy())
        cameras += [camera_of(content) for content in head.numpy()]
        greys.append(np.round(grey).astype(np.uint8))
        colours.append(colours_of(pixels, grey))
        corners.append(_corners(grey))
    header = np.concatenate(headers)
    height, width, orientation = header[:, 1:].T.astype(np.float64)
    return Looked(
        np.array([(*FORMATS, "other")[number] for number in header[:, 0]], object),
        height,
        width,
        orientation,
        np.concatenate(sizes).astype(np.int64),
        np.array(cameras, object),
        np.concatenate(greys),
        np.concatenate(colours),
        np.concatenate(corners),
    )


def thumbnail(path: Path, max_pixels: int, size: int = _SHOWN) -> bytes:
    """Return a small JPEG of an image file."""
    content = tf.io.read_file(os.fsencode(path))
    pixels = ImagePreprocessing(size, "pad", max_pixels)(content)
    header = read_header(content)
    height, width = int(header.height), int(header.width)
    if int(header.orientation) > 4:  # lies on its side
        height, width = width, height
    down, across = (max(1, round(size * side / max(height, width))) for side in (height, width))
    top, left = (size - down) // 2, (size - across) // 2
    pixels = pixels[top : top + down, left : left + across]
    small: bytes = tf.io.encode_jpeg(pixels, quality=80, optimize_size=True).numpy()
    return small


def camera_of(head: bytes) -> str:
    """Return what the EXIF data name as the camera; "EXIF" where they name none, "no EXIF" where there are none.

    The layout follows CIPA DC-008: a TIFF header, and entries of 12 bytes; 0x010F is the make, 0x0110 the model.
    """
    start = head.find(_EXIF)
    if start < 0:
        return "no EXIF"
    tiff = head[start + len(_EXIF) :]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    words = []
    try:
        if order:
            at = struct.unpack_from(f"{order}I", tiff, 4)[0]
            for entry in range(min(struct.unpack_from(f"{order}H", tiff, at)[0], 64)):
                tag, kind, count, place = struct.unpack_from(f"{order}HHII", tiff, at + 2 + 12 * entry)
                if tag in (0x010F, 0x0110) and kind == 2:
                    place = place if count > 4 else at + 2 + 12 * entry + 8
                    words.append(
                        tiff[place : place + min(count, 64)].split(b"\0")[0].decode("ascii", "replace").strip()
                    )
    except struct.error:
        pass
    return " ".join(word for word in words if word) or "EXIF"


def _facts(found: Looked) -> dict[str, Fact]:
    pixels = found.width * found.height
    colours = found.colours
    return {
        "format": Fact(found.format, "shortcut", rare=True),
        "width": Fact(found.width, "shortcut", sizes=True, unit="px"),
        "height": Fact(found.height, "shortcut", sizes=True, unit="px"),
        "aspect ratio": Fact(found.width / np.maximum(found.height, 1), "shortcut", sizes=True),
        "file size": Fact(found.bytes.astype(np.float64), "shortcut", sizes=True, unit="bytes"),
        "bytes per pixel": Fact(found.bytes / np.maximum(pixels, 1), "shortcut"),
        "camera": Fact(found.camera, "shortcut"),
        "orientation": Fact(found.orientation, "shortcut"),
        "brightness": Fact(colours[:, 0], "shortcut"),
        "contrast": Fact(colours[:, 1], "shortcut"),
        "saturation": Fact(colours[:, 2], "shortcut"),
        "edge red": Fact(colours[:, 3], "shortcut"),
        "edge green": Fact(colours[:, 4], "shortcut"),
        "edge blue": Fact(colours[:, 5], "shortcut"),
        "edge contrast": Fact(colours[:, 6], "shortcut"),
    }


def _corners(grey: np.ndarray) -> np.ndarray:
    """Return the four corners of images float [n, 64, 64] at a small size: float32 [n, 4, numbers]."""
    each = _CORNER // _CORNER_NUMBERS
    ends = slice(None, _CORNER), slice(-_CORNER, None)
    patches = np.stack([grey[:, rows, columns] for rows in ends for columns in ends], 1)
    small = patches.reshape(len(grey), 4, _CORNER_NUMBERS, each, _CORNER_NUMBERS, each).mean((3, 5))
    return small.reshape(len(grey), 4, -1).astype(np.float32)


def _series(names: Sequence[str]) -> np.ndarray:
    """Return the part of a file's name before a number at its end, such as a scene: str objects [n], "" for none."""
    stems = [Path(name).stem for name in names]
    found = [match[1] if (match := _SERIES.match(stem)) else "" for stem in stems]
    return np.array(found, object)
