"""Statistics of images that are compared with those of later images."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.inputs.base import Statistic, Statistics
from tlkit.inputs.image.header import FORMATS
from tlkit.inputs.image.looks import colours_of, grey_of, look_at
from tlkit.inputs.image.near import SIDE
from tlkit.inputs.image.preprocessing import ImagePreprocessing


def statistics(settings: Mapping[str, Any]) -> Statistics:
    """Return a function of images as clients send them, bytes objects [n], that gives their statistics.

    It raises tf.errors.InvalidArgumentError if one is no image.

    Args:
        settings: of the preprocessing; `max_pixels` is the largest image that is decoded.
    """
    look = _look(int(settings["max_pixels"]))

    def found(arguments: Mapping[str, np.ndarray]) -> dict[str, Statistic]:
        (contents,) = arguments.values()
        seen = [[part.numpy() for part in look(tf.constant(content, tf.string))] for content in contents.tolist()]
        headers = np.stack([header for header, _ in seen])
        pixels = np.stack([small for _, small in seen])
        height, width = (np.maximum(headers[:, place], 1).astype(np.float64) for place in (1, 2))
        colours = colours_of(pixels, grey_of(pixels))
        return {
            "format": Statistic(np.array([(*FORMATS, "other")[number] for number in headers[:, 0]], object)),
            "width": Statistic(width, unit="px"),
            "height": Statistic(height, unit="px"),
            "aspect ratio": Statistic(width / height),
            "file size": Statistic(np.array([len(content) for content in contents], np.float64), unit="bytes"),
            "brightness": Statistic(colours[:, 0], unit="of 255"),
            "contrast": Statistic(colours[:, 1], unit="of 255"),
            "saturation": Statistic(colours[:, 2], unit="of 255"),
        }

    return found


def suffix(content: bytes) -> str:
    """Return how the file of an image is called."""
    return ".image"


@functools.cache
def _look(max_pixels: int) -> Any:
    read = ImagePreprocessing(SIDE, "squash", max_pixels)
    spec = tf.TensorSpec([], tf.string)
    return tf.function(lambda content: look_at(content, read), input_signature=[spec], autograph=False)
