"""Warm-up requests that TensorFlow Serving replays before it answers its first client."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_log_pb2

from tlkit.export.interface import interface_of
from tlkit.export.manifest import WARMUP_PATH, SignatureInfo
from tlkit.export.signatures import CLASSIFY_METHOD

if TYPE_CHECKING:
    from tlkit.models.task import Task

MAX_RECORDS = 1000  # TensorFlow Serving refuses to load a version with more


@dataclasses.dataclass(frozen=True)
class WarmupExample:
    """One example to warm up with.

    Attributes:
        content: the encoded photo or the text.
        raw_shape: shape of what its preprocessing gives, without the batch.
        raw_value: any value that the raw input takes.
    """

    content: bytes
    raw_shape: tuple[int | None, ...]
    raw_value: int


def warmup_examples(task: Task, contents: Sequence[bytes]) -> list[WarmupExample]:
    """Choose what to warm up with: the smallest photo, or a short, a middling and the longest of texts.

    Args:
        task: a classifier of images or texts.
        contents: encoded images that decode; texts are made up.

    Returns:
        One example for images. For texts up to three, the last as long as the encoder reads at once, or, where it
        reads windows, two of them.
    """
    interface = interface_of(task)
    most = interface.max_tokens
    if most is None:
        return [WarmupExample(min(contents, key=len), interface.raw_shape[1:], 127)]
    lengths = sorted({min(8, most), min(8 + most // 4, most), most * min(2, interface.max_windows)})
    # One letter is one token, known or unknown; the start and the end of a text are two more.
    texts = [b"a " * (length - 2) for length in lengths]
    ids = [task.preprocessing.batch(tf.constant([text])).numpy() for text in texts]
    return [WarmupExample(text, row.shape[1:], int(row[0, 0])) for text, row in zip(texts, ids, strict=True)]


def batch_sizes(max_batch: int) -> list[int]:
    """Return the powers of two below `max_batch`, and `max_batch` itself.

    >>> batch_sizes(24)
    [1, 2, 4, 8, 16, 24]
    """
    sizes = [2**power for power in range(max_batch.bit_length()) if 2**power < max_batch]
    return [*sizes, max_batch]


def write_warmup(
    export: Path,
    model_name: str,
    signatures: dict[str, SignatureInfo],
    feature: str,
    examples: Sequence[WarmupExample],
    max_batch: int,
) -> int:
    """Write assets.extra/tf_serving_warmup_requests: every signature at every batch size.

    The first example goes through every batch size, longer ones through the smallest and the largest: a length is
    no other graph, and a server should not spend minutes on it.

    Example:
        >>> schema = read_signatures(Path("photos/1"))
        >>> write_warmup(Path("photos/1"), "photos", schema, "image/encoded", warmup_examples(task, [jpeg]), 32)
        30

    Args:
        export: the version folder.
        model_name: written into the requests.
        signatures: schema by name; their inputs are strings, tf.Examples or what preprocessing gives.
        feature: name of the feature in tf.Examples.
        examples: what to send.
        max_batch: the largest batch, in photos or texts.

    Returns:
        The number of records.

    Source: SavedModel Warmup, TensorFlow Serving guide.
    """
    sizes = batch_sizes(max_batch)
    requests = [
        _request(model_name, name, signature, feature, example, size)
        for number, example in enumerate(examples)
        for size in (sizes if number == 0 else sorted({1, max_batch}))
        for name, signature in signatures.items()
    ]
    path = export / WARMUP_PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests[:MAX_RECORDS]:
            writer.write(request.SerializeToString())
    return min(len(requests), MAX_RECORDS)


def _request(
    model_name: str, name: str, signature: SignatureInfo, feature: str, example: WarmupExample, size: int
) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    if signature.method == CLASSIFY_METHOD:
        value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[example.content]))
        record = tf.train.Example(features=tf.train.Features(feature={feature: value}))
        call: classification_pb2.ClassificationRequest | predict_pb2.PredictRequest
        call = log.classify_log.request
        call.input.example_list.examples.extend([record] * size)
    else:
        call = log.predict_log.request
        for key, info in signature.inputs.items():
            if info.dtype == "string":
                call.inputs[key].CopyFrom(_filled(tf.make_tensor_proto(example.content), (size,)))
            else:
                value = np.array(example.raw_value, info.dtype)
                call.inputs[key].CopyFrom(_filled(tf.make_tensor_proto(value), (size, *example.raw_shape)))
    call.model_spec.name = model_name
    call.model_spec.signature_name = name
    return log


def _filled(value: tf.compat.v1.TensorProto, shape: Sequence[int | None]) -> tf.compat.v1.TensorProto:
    # One value with a larger shape means "repeat it": a batch of 32 photos' pixels takes bytes, not 19 MB.
    for length in shape:
        value.tensor_shape.dim.add().size = 1 if length is None else length
    return value
