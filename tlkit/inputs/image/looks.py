"""What an image looks like at a small size: brightness, contrast, saturation, and the same of its edge."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tlkit.inputs.image.header import read_header
from tlkit.inputs.image.near import SIDE
from tlkit.inputs.image.preprocessing import ImagePreprocessing

_EDGE = 4  # pixels of the small image that are its edge


def look_at(content: tf.Tensor, read: ImagePreprocessing) -> tuple[tf.Tensor, tf.Tensor]:
    """Read and decode an image once.

    Args:
        content: scalar string tensor.
        read: decodes it, at `SIDE` pixels.

    Returns:
        Format, height, width and orientation, int32 [4]; pixels float32 [SIDE, SIDE, 3].
    """
    header = read_header(content)
    numbers = tf.stack([header.format, header.height, header.width, header.orientation])
    return numbers, tf.cast(read(content), tf.float32)


def grey_of(pixels: np.ndarray) -> np.ndarray:
    """Pixels float32 [n, S, S, 3] -> grey values [n, S, S]."""
    grey: np.ndarray = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    return grey


def colours_of(pixels: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Return brightness, contrast, saturation, and of the edge its colour and contrast: float64 [n, 7]."""
    edge = np.ones((SIDE, SIDE), bool)
    edge[_EDGE:-_EDGE, _EDGE:-_EDGE] = False
    whole = grey.reshape(len(grey), -1)
    saturation = (pixels.max(3) - pixels.min(3)).mean((1, 2))
    outer = pixels[:, edge]
    parts = [whole.mean(1), whole.std(1), saturation, *outer.mean(1).T, grey[:, edge].std(1)]
    return np.stack(parts, 1).astype(np.float64)
