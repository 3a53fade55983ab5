"""Examples of images that are recorded with an export, and that it is warmed up with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tlkit.inputs.base import WarmupExample

if TYPE_CHECKING:
    from tlkit.inputs.image.preprocessing import ImagePreprocessing


def golden(given: Sequence[bytes], preprocessing: ImagePreprocessing | None = None) -> list[bytes]:
    """Return the encoded images that were given, or drawn ones."""
    return list(given) or drawn_images()


def drawn_images() -> list[bytes]:
    """Return three small drawn images: a wide colour JPEG, a tall grey PNG and a colour PNG with noise."""
    y, x = np.mgrid[0:120, 0:160]
    wide = np.stack([x * 255 // 159, y * 255 // 119, (x + y) % 256], axis=-1).astype(np.uint8)
    grey = ((np.hypot(*np.mgrid[-64:64, -40:40]) * 4) % 256).astype(np.uint8)[..., None]
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    encoded = (tf.io.encode_jpeg(wide, quality=90), tf.io.encode_png(grey), tf.io.encode_png(noise))
    return [image.numpy() for image in encoded]


def warmup(
    preprocessing: ImagePreprocessing, contents: Sequence[bytes], wire: Mapping[str, Any]
) -> list[WarmupExample]:
    """Return the smallest of encoded images that decode."""
    return [WarmupExample(min(contents, key=len), tuple(wire["raw_shape"][1:]), 127)]
