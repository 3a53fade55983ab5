"""Warm-up requests that TensorFlow Serving replays before it answers its first client."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tlkit.export.interface import Interface, interface_of
from tlkit.export.manifest import WARMUP_PATH, SignatureInfo, batch_sizes
from tlkit.export.signatures import CLASSIFY_METHOD, REGRESS_METHOD

if TYPE_CHECKING:
    from tlkit.models.task import Task

MAX_RECORDS = 1000  # TensorFlow Serving refuses to load a version with more


@dataclasses.dataclass(frozen=True)
class WarmupExample:
    """One example to warm up with.

    Attributes:
        content: the encoded photo, the text or the tf.Example of a row.
        raw_shape: shape of what its preprocessing gives, without the batch.
        raw_value: any value that the raw input takes.
        columns: a row's value for each column, by argument; empty for photos and texts.
    """

    content: bytes
    raw_shape: tuple[int | None, ...]
    raw_value: int
    columns: Mapping[str, bytes | float | int] = dataclasses.field(default_factory=dict)


def warmup_examples(task: Task, contents: Sequence[bytes]) -> list[WarmupExample]:
    """Choose what to warm up with: the smallest photo, a row, or a short, a middling and the longest of texts.

    Args:
        task: what is exported.
        contents: encoded images that decode, or rows; texts are made up.

    Returns:
        One example for images and rows. For texts up to three, the last as long as the encoder reads at once, or,
        where it reads windows, two of them.
    """
    interface = interface_of(task)
    if interface.columns:
        row = row_values(contents[0], interface)
        return [WarmupExample(contents[0], interface.raw_shape[1:], 0, row)]
    most = interface.max_tokens
    if most is None:
        return [WarmupExample(min(contents, key=len), interface.raw_shape[1:], 127)]
    lengths = sorted({min(8, most), min(8 + most // 4, most), most * min(2, interface.max_windows)})
    # One letter is one token, known or unknown; the start and the end of a text are two more.
    texts = [b"a " * (length - 2) for length in lengths]
    ids = [task.preprocessing.batch(tf.constant([text])).numpy() for text in texts]
    return [WarmupExample(text, row.shape[1:], int(row[0, 0])) for text, row in zip(texts, ids, strict=True)]


def row_values(example: bytes, interface: Interface) -> dict[str, bytes | float | int]:
    """Read a serialized tf.Example as a value for each column, by argument; what it lacks is absent."""
    features = tf.train.Example.FromString(example).features.feature
    kinds = {"string": "bytes_list", "float32": "float_list", "float64": "bytes_list", "int64": "int64_list"}
    found: dict[str, bytes | float | int] = {}
    for column in interface.columns:
        values = getattr(features[column.argument], kinds[column.dtype]).value if column.argument in features else ()
        value = values[0] if values else column.absent_value
        found[column.argument] = float(value or "nan") if column.dtype == "float64" else value
    return found


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
        feature: name of the feature in tf.Examples; empty where the examples are tf.Examples.
        examples: what to send.
        max_batch: the largest batch, in photos, texts or rows.

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
    call: Any
    if signature.method in (CLASSIFY_METHOD, REGRESS_METHOD):
        call = (log.classify_log if signature.method == CLASSIFY_METHOD else log.regress_log).request
        record = tf.train.Example.FromString(example.content) if not feature else tf.train.Example()
        if feature:
            record.features.feature[feature].bytes_list.value.append(example.content)
        call.input.example_list.examples.extend([record] * size)
    else:
        call = log.predict_log.request
        for key, info in signature.inputs.items():
            if key in example.columns:
                value = np.array(example.columns[key], object if info.dtype == "string" else info.dtype)
                call.inputs[key].CopyFrom(_filled(tf.make_tensor_proto(value), (size,)))
            elif info.dtype == "string":
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
