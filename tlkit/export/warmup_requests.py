"""Warm-up requests that TensorFlow Serving replays before it answers its first client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tlkit.export.interface import Interface, input_of
from tlkit.export.manifest import WARMUP_PATH, SignatureInfo, batch_sizes
from tlkit.export.signatures import CLASSIFY_METHOD, REGRESS_METHOD
from tlkit.inputs.base import WarmupExample
from tlkit.lazy import loaded
from tlkit.models.query import Query

if TYPE_CHECKING:
    from tlkit.models.task import Task

MAX_RECORDS = 1000  # TensorFlow Serving refuses to load a version with more


def warmup_examples(task: Task, interface: Interface, contents: Sequence[bytes]) -> list[WarmupExample]:
    """Choose what to warm up with.

    Args:
        task: what is exported.
        interface: of its export.
        contents: golden examples.
    """
    make = loaded(input_of(task).warmup)
    made: list[WarmupExample] = make(task.preprocessing, contents, interface.model_dump())
    return made


def write_warmup(
    export: Path,
    model_name: str,
    signatures: dict[str, SignatureInfo],
    feature: str,
    examples: Sequence[WarmupExample],
    max_batch: int,
    queries: Mapping[str, Query] | None = None,
) -> int:
    """Write assets.extra/tf_serving_warmup_requests: every signature at every batch size.

    The first example goes through every batch size, longer ones through the smallest and the largest: a length is
    no other graph, and a server should not spend minutes on it.

    Example:
        >>> schema = read_signatures(Path("photos/1"))
        >>> examples = warmup_examples(task, interface_of(task), [jpeg])
        >>> write_warmup(Path("photos/1"), "photos", schema, "image/encoded", examples, 32)
        30

    Args:
        export: the version folder.
        model_name: written into the requests.
        signatures: schema by name; their inputs are strings, tf.Examples or what preprocessing gives.
        feature: name of the feature in tf.Examples; empty where the examples are tf.Examples.
        examples: what to send.
        max_batch: the largest batch, in photos, texts or rows.
        queries: signatures with inputs of their own, and what to send to them.

    Returns:
        The number of records.

    Source: SavedModel Warmup, TensorFlow Serving guide.
    """
    sizes = batch_sizes(max_batch)
    asked = {name: _asked(query) for name, query in (queries or {}).items()}
    requests = [
        _request(model_name, name, signature, feature, asked.get(name, example), size)
        for number, example in enumerate(examples)
        for size in (sizes if number == 0 else sorted({1, max_batch}))
        for name, signature in signatures.items()
        if number == 0 or name not in asked
    ]
    path = export / WARMUP_PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests[:MAX_RECORDS]:
            writer.write(request.SerializeToString())
    return min(len(requests), MAX_RECORDS)


def _asked(query: Query) -> WarmupExample:
    first = {name: values[0] for name, values in query.examples().items()}
    columns = {name: value.encode("utf-8") if isinstance(value, str) else value for name, value in first.items()}
    return WarmupExample(b"", (), 0, columns)


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
