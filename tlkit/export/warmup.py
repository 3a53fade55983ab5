"""Warm-up requests that TensorFlow Serving replays before it answers its first client."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_log_pb2

from tlkit.export.manifest import WARMUP_PATH, SignatureInfo
from tlkit.export.signatures import CLASSIFY_METHOD, EXAMPLE_FEATURE

MAX_RECORDS = 1000  # TensorFlow Serving refuses to load a version with more


def batch_sizes(max_batch: int) -> list[int]:
    """Return the powers of two below `max_batch`, and `max_batch` itself.

    >>> batch_sizes(24)
    [1, 2, 4, 8, 16, 24]
    """
    sizes = [2**power for power in range(max_batch.bit_length()) if 2**power < max_batch]
    return [*sizes, max_batch]


def write_warmup(
    export: Path, model_name: str, signatures: dict[str, SignatureInfo], image: bytes, max_batch: int
) -> int:
    """Write assets.extra/tf_serving_warmup_requests: every signature at every batch size.

    Example:
        >>> write_warmup(Path("photos/1"), "photos", read_signatures(Path("photos/1")), jpeg, max_batch=32)
        30

    Args:
        export: the version folder.
        model_name: written into the requests.
        signatures: schema by name; their inputs are encoded images, tf.Examples or pixels.
        image: one encoded image that decodes.
        max_batch: the largest batch, in images.

    Returns:
        The number of records.

    Source: SavedModel Warmup, TensorFlow Serving guide.
    """
    requests = [
        _request(model_name, name, signature, image, size)
        for size in batch_sizes(max_batch)
        for name, signature in signatures.items()
    ]
    path = export / WARMUP_PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests[:MAX_RECORDS]:
            writer.write(request.SerializeToString())
    return min(len(requests), MAX_RECORDS)


def _request(
    model_name: str, name: str, signature: SignatureInfo, image: bytes, size: int
) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    if signature.method == CLASSIFY_METHOD:
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
        example = tf.train.Example(features=tf.train.Features(feature={EXAMPLE_FEATURE: feature}))
        call: classification_pb2.ClassificationRequest | predict_pb2.PredictRequest
        call = log.classify_log.request
        call.input.example_list.examples.extend([example] * size)
    else:
        call = log.predict_log.request
        for key, info in signature.inputs.items():
            call.inputs[key].CopyFrom(_filled(info.dtype, [size, *(info.shape or (None,))[1:]], image))
    call.model_spec.name = model_name
    call.model_spec.signature_name = name
    return log


def _filled(dtype: str, shape: list[int | None], image: bytes) -> tf.compat.v1.TensorProto:
    # One value with a larger shape means "repeat it": a batch of 32 photos' pixels takes bytes, not 19 MB.
    value = tf.make_tensor_proto(image if dtype == "string" else np.array(127, dtype))
    for length in shape:
        value.tensor_shape.dim.add().size = 1 if length is None else length
    return value
