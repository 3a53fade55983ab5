"""Golden examples: what goes in, and what the Keras model answers; every copy of an export is held to them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tlkit.export.averaged_views import AveragedViews
from tlkit.export.interface import interface_of
from tlkit.export.manifest import GoldenExample
from tlkit.preprocessing.columns import sample_of

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
# Dates that end a calendar, exist only in other years, or are none; categories that no table holds.
_STRANGE = (b"9999-12-31", b"caf\xe9 \xff\xfe", b"  unseen \xf0\x9f\x90\x9d  ", b"2023-02-29T25:61", b"0001-01-01")


def golden_contents(
    content: str, given: Sequence[bytes], columns: Sequence[Any] = (), refuses: bool = False
) -> list[bytes]:
    """Choose the photos, texts or rows to record.

    To texts two are always added: the empty one, and a long one of many scripts. To rows likewise: one without any
    value, and one whose values are all strange.

    Args:
        content: "image", "text" or "row".
        given: examples of the user's data; those over 200 kB are left out.
        columns: of a table's preprocessing; unused for other contents.
        refuses: whether booleans and dates that cannot be read are refused.

    Returns:
        Up to 6; photos are drawn and texts made up where none were given.
    """
    usable = [item for item in given if len(item) <= MAX_GOLDEN_BYTES]
    if content == "image":
        return usable[:MAX_GOLDEN] or drawn_images()
    if content == "row":
        return [*usable[: MAX_GOLDEN - 2], example_of({}), example_of(strange_row(columns, refuses))]
    always = [(_MIXED * 20).encode("utf-8"), b""]
    return [*(usable[: MAX_GOLDEN - len(always)] or [text.encode("utf-8") for text in _SENTENCES]), *always]


def example_of(values: Mapping[str, bytes | float | int]) -> bytes:
    """Write a row as a serialized tf.Example: bytes, float and int by feature."""
    example = tf.train.Example()
    for name, value in values.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        else:
            feature.int64_list.value.append(value)
    return example.SerializeToString(deterministic=True)


def strange_row(columns: Sequence[Any], refuses: bool = False) -> dict[str, bytes | float | int]:
    """Make up a row as no training data has it: unseen and broken strings, numbers far out, infinities.

    Args:
        columns: of a table's preprocessing.
        refuses: whether booleans and dates that cannot be read are refused: then booleans are spelled oddly, and dates
            are missing.

    Returns:
        A value for each column by argument. The numbers stay where float32 can tell answers apart.
    """
    row: dict[str, bytes | float | int] = {}
    numbers = 0
    for place, column in enumerate(columns):
        sample = sample_of(column) if refuses else ""
        if sample and not getattr(column, "boolean", False):
            continue  # a date; numbers far out move the prediction enough
        if sample:
            row[column.argument] = f" {sample.upper()}\t".encode()
        elif column.dtype == "string":
            row[column.argument] = _STRANGE[place % len(_STRANGE)]
        elif column.dtype == "int64":
            row[column.argument] = 2**63 - 1 - place
        else:
            far = float(column.median) + 8.0 * abs(float(column.scale or 1.0))
            number = far if numbers % 2 == 0 else float("inf")
            row[column.argument] = number if column.dtype == "float32" else repr(number).encode()
            numbers += 1
    return row


def drawn_images() -> list[bytes]:
    """Return three small drawn images: a wide colour JPEG, a tall grey PNG and a colour PNG with noise."""
    y, x = np.mgrid[0:120, 0:160]
    wide = np.stack([x * 255 // 159, y * 255 // 119, (x + y) % 256], axis=-1).astype(np.uint8)
    grey = ((np.hypot(*np.mgrid[-64:64, -40:40]) * 4) % 256).astype(np.uint8)[..., None]
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    encoded = (tf.io.encode_jpeg(wide, quality=90), tf.io.encode_png(grey), tf.io.encode_png(noise))
    return [image.numpy() for image in encoded]


def golden_examples(task: Task, contents: Sequence[bytes], views: AveragedViews | None = None) -> list[GoldenExample]:
    """Return photos, texts or rows with what the Keras model answers for them in this process.

    They run on the CPU, where the export is verified, and without XLA: an accelerator rounds differently.

    Args:
        task: what is exported.
        contents: encoded images, texts in UTF-8, or rows as serialized tf.Examples.
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
        features = tf.cast(task.features(raw, training=False), tf.float32)
        return task.embedded(features), plain, *averaged

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
