"""Images with the regions that a model's answer rests on, for a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.models.grad_cam import grad_cam
from tlkit.report.pictures import Picture
from tlkit.targets.wrong_items import WrongItem

_SIDE = 224  # pixels of a picture
_STRENGTH = 0.65  # of the heat where it is highest
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


def explained_images(learn: Any, split: str, items: Sequence[WrongItem]) -> list[list[Picture]]:
    """Return for each item the image as the model sees it, and the same with the heat of its answer.

    Args:
        learn: a Learner of images.
        split: where the items are.
        items: what is explained.

    Raises:
        ModelError: the network pools no feature map.
    """
    if not items:
        return []
    paths: list[Path] = learn.data.paths(split)
    preprocessing = learn.task.preprocessing
    pixels = tf.stack([tf.cast(preprocessing(paths[item.row].read_bytes()), tf.float32) for item in items])
    heats = np.empty((len(items), 0, 0))
    for target in sorted({item.target for item in items}):
        own = np.array([place for place, item in enumerate(items) if item.target == target])
        found = grad_cam(learn.task, tf.gather(pixels, own), [items[place].chosen for place in own], target)
        if not heats.size:
            heats = np.zeros((len(items), *found.shape[1:]), np.float32)
        heats[own] = found
    small = np.asarray(tf.image.resize(pixels, (_SIDE, _SIDE), antialias=True))
    large = np.asarray(tf.image.resize(heats[..., None], (_SIDE, _SIDE), "bicubic"))[..., 0]
    return [
        [
            Picture(_jpeg(image), "the image as the model sees it"),
            Picture(_jpeg(_overlaid(image, heat)), f"heat of {_answer(learn, item)}: {place_of(raw)}"),
        ]
        for image, heat, raw, item in zip(small, large, heats, items, strict=True)
    ]


def _answer(learn: Any, item: WrongItem) -> str:
    """Return what the heat is about: one of several labels, one of several targets, or the only answer."""
    targets = learn.task.objective.targets
    target = targets[item.target]
    if target.class_names and target.label_width > 1:
        return f"the label {target.class_names[item.chosen]}"
    return target.name if len(targets) > 1 else "the answer"


def place_of(heat: np.ndarray) -> str:
    """Say where a heat map [h, w] is highest.

    >>> place_of(np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0]]))
    'highest at the top right'
    """
    if not heat.any():
        return "nothing in the image raises it"
    down, across = np.unravel_index(int(heat.argmax()), heat.shape)
    row, column = (_third(place, count) for place, count in zip((down, across), heat.shape, strict=True))
    names = ["centre"] if row == column == 1 else [_ROWS[row], _COLUMNS[column]]
    return f"highest at the {' '.join(names)}"


def _third(place: Any, count: int) -> int:
    return min(int(3 * (int(place) + 0.5) / count), 2)


def _overlaid(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Draw heat over a grey image: transparent where there is none."""
    from matplotlib import colormaps

    strength = np.clip(heat, 0, 1)[..., None]
    colours = 255 * colormaps["inferno"](np.clip(heat, 0, 1))[..., :3]
    grey = np.repeat(image @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, axis=-1)
    mixed: np.ndarray = grey + _STRENGTH * strength**0.7 * (colours - grey)
    return mixed


def _jpeg(pixels: np.ndarray) -> bytes:
    whole = tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)
    content: bytes = tf.io.encode_jpeg(whole, quality=85, optimize_size=True).numpy()
    return content
