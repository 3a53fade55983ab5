"""Golden examples: what goes in, and what the Keras model answers; every copy of an export is held to them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tlkit.export.averaged_views import AveragedViews
from tlkit.export.interface import interface_of
from tlkit.export.manifest import GoldenExample

if TYPE_CHECKING:
    from tlkit.models.task import Task

MAX_GOLDEN = 6
MAX_GOLDEN_BYTES = 200_000

_SENTENCES = (
    "A quiet film that stays with you.",
    "No.",
    "The first hour drags, the jokes fall flat, and yet the ending - which I will not give away - made up for it.",
)
# Many scripts, signs made of several characters and what no keyboard types: longer than any window but one.
_MIXED = (
    "Ça c'est de l’ÉTÉ! 👩‍👩‍👧‍👦🏳️‍🌈 电影很好看 映画です 영화 فيلم رائع "
    "סרט ประทับใจ e\u0301a\u0308 ﬁn\u00adal\tx\u200by\ufeff\u0007 "
)


def golden_contents(content: str, given: Sequence[bytes]) -> list[bytes]:
    """Choose the photos or texts to record.

    To texts two are always added: the empty one, and a long one of many scripts.

    Args:
        content: "image" or "text".
        given: examples of the user's data; those over 200 kB are left out.

    Returns:
        Up to 6, drawn or made up where none were given.
    """
    usable = [item for item in given if len(item) <= MAX_GOLDEN_BYTES]
    if content == "image":
        return usable[:MAX_GOLDEN] or drawn_images()
    always = [(_MIXED * 20).encode("utf-8"), b""]
    return [*(usable[: MAX_GOLDEN - len(always)] or [text.encode("utf-8") for text in _SENTENCES]), *always]


def drawn_images() -> list[bytes]:
    """Return three small drawn images: a wide colour JPEG, a tall grey PNG and a colour PNG with noise."""
    y, x = np.mgrid[0:120, 0:160]
    wide = np.stack([x * 255 // 159, y * 255 // 119, (x + y) % 256], axis=-1).astype(np.uint8)
    grey = ((np.hypot(*np.mgrid[-64:64, -40:40]) * 4) % 256).astype(np.uint8)[..., None]
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    encoded = (tf.io.encode_jpeg(wide, quality=90), tf.io.encode_png(grey), tf.io.encode_png(noise))
    return [image.numpy() for image in encoded]


def golden_examples(task: Task, contents: Sequence[bytes], views: AveragedViews | None = None) -> list[GoldenExample]:
    """Return photos or texts with what the Keras model answers for them in this process.

    They run on the CPU, where the export is verified, and without XLA: an accelerator rounds differently.

    Args:
        task: a classifier of images or texts.
        contents: encoded images, or texts in UTF-8.
        views: test-time augmentation whose answers are recorded too.

    Returns:
        One example each, in order.
    """
    raw_dtype = interface_of(task).raw_dtype

    def probabilities_of(raw: tf.Tensor) -> tf.Tensor:
        return task.objective.probabilities(task.model(raw, training=False))

    @tf.function(autograph=False)
    def answers(batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        raw = tf.cast(task.preprocessing.batch(batch), raw_dtype)
        plain = probabilities_of(raw)
        averaged = () if views is None else (views(probabilities_of, raw),)
        return tf.cast(task.features(raw, training=False), tf.float32), plain, *averaged

    with tf.device("/CPU:0"):
        embedding, probabilities, *averaged = (
            answer.numpy().tolist() for answer in answers(tf.constant(list(contents), tf.string))
        )
    return [
        GoldenExample(
            content=base64.b64encode(content).decode("ascii"),
            probabilities=probabilities[row],
            embedding=embedding[row],
            tta=averaged[0][row] if averaged else None,
        )
        for row, content in enumerate(contents)
    ]
