"""What an export of each kind of task takes, as data; imports neither TensorFlow nor Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from tlkit.errors import ExportError

if TYPE_CHECKING:
    from tlkit.models.task import Task


class Interface(BaseModel):
    """What clients send to an export, and by which names; part of manifest.json.

    Whoever reads an export learns it from here: verification, prediction and the servers hold no table of kinds.

    Example:
        >>> interface_of(task).input
        'image_bytes'

    Args:
        content: what one example is: "image" (an encoded photo) or "text" (UTF-8).
        input: name of the string [B] input of serving_default, probabilities and embedding.
        feature: the bytes feature of the tf.Examples that the signature classify takes.
        raw_signature: the signature for those who preprocess themselves, and `raw_input` the name of its one input.
        raw_dtype: dtype of that input, and `raw_shape` its shape, None where it is free.
        vocabulary: token ids are at least 0 and below it; None where the raw input is no token ids.
        max_tokens: the most tokens of a row; beyond it a row is made of whole windows of `max_tokens`.
        max_windows: the most windows of a row.
    """

    model_config = ConfigDict(frozen=True)
    content: str
    input: str
    feature: str
    raw_signature: str
    raw_input: str
    raw_dtype: str
    raw_shape: tuple[int | None, ...]
    vocabulary: int | None = None
    max_tokens: int | None = None
    max_windows: int = 1


def interface_of(task: Task) -> Interface:
    """Give the interface of a task's export.

    Args:
        task: a task of any kind that can be exported.

    Returns:
        For images: image_bytes, "image/encoded", pixels float32 [B, S, S, 3]. For texts: text, "text", token_ids
        int32 [B, T] of the signature tokens.

    Raises:
        ExportError: no export is known for this kind of task, or a stock server could not run its preprocessing.
    """
    make = _INTERFACES.get(task.kind)
    if make is None:
        raise ExportError("tasks of this kind cannot be exported", received=task.kind, allowed=sorted(_INTERFACES))
    preprocessing: Any = task.preprocessing
    if not getattr(preprocessing, "serves", True):
        raise ExportError(
            f"{task.backbone_name} cannot be exported: {preprocessing.why_not}",
            fix="train on an encoder with a WordPiece tokenizer, such as all-minilm-l6-v2",
        )
    return make(preprocessing)


def _of_images(preprocessing: Any) -> Interface:
    return images(int(preprocessing.size))


def images(size: int | None) -> Interface:
    """Give the interface of images whose side is `size` pixels, or any."""
    return Interface(
        content="image",
        input="image_bytes",
        feature="image/encoded",
        raw_signature="pixels",
        raw_input="pixels",
        raw_dtype="float32",
        raw_shape=(None, size, size, 3),
    )


def _of_texts(preprocessing: Any) -> Interface:
    return Interface(
        content="text",
        input="text",
        feature="text",
        raw_signature="tokens",
        raw_input="token_ids",
        raw_dtype="int32",
        raw_shape=(None, None),
        vocabulary=preprocessing.vocabulary_size,
        max_tokens=preprocessing.max_tokens,
        max_windows=preprocessing.max_windows if preprocessing.long_texts == "windows" else 1,
    )


_INTERFACES = {"image_classification": _of_images, "text_classification": _of_texts}
