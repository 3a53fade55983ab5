"""Golden examples: what goes in, and what the Keras model answers; every copy of an export is held to them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from tlkit.export.averaged_views import AveragedViews
from tlkit.export.further import further_signatures
from tlkit.export.interface import Interface, input_of
from tlkit.export.manifest import GoldenExample, QueryExample
from tlkit.lazy import loaded
from tlkit.models.query import Query

if TYPE_CHECKING:
    from tlkit.models.task import Task

MAX_GOLDEN = 6
MAX_GOLDEN_BYTES = 200_000


def golden_contents(task: Task, given: Sequence[bytes]) -> list[bytes]:
    """Choose the examples to record.

    Args:
        task: what is exported.
        given: examples of the user's data; those over 200 kB are left out.

    Returns:
        Up to 6; the input's spec adds some of its own, and makes up what was not given.
    """
    make = loaded(input_of(task).golden)
    usable = [item for item in given if len(item) <= MAX_GOLDEN_BYTES][:MAX_GOLDEN]
    found: list[bytes] = make(usable, task.preprocessing)
    beyond = len(found) - MAX_GOLDEN
    if beyond > 0:
        found = make(usable[:-beyond], task.preprocessing)
    return found


def golden_examples(
    task: Task, interface: Interface, contents: Sequence[bytes], views: AveragedViews | None = None, level: float = 0.9
) -> list[GoldenExample]:
    """Return photos, texts or rows with what the Keras model answers for them in this process.

    They run on the CPU, where the export is verified, and without XLA: an accelerator rounds differently.

    Args:
        task: what is exported.
        interface: of its export.
        contents: encoded images, texts in UTF-8, or rows as serialized tf.Examples.
        views: test-time augmentation whose answers are recorded too.
        level: of the conformal predictions.

    Returns:
        One example each, in order.
    """
    further = further_signatures(task, interface, level)

    def probabilities_of(raw: tf.Tensor) -> tf.Tensor:
        return task.objective.probabilities(task.model(raw, training=False))

    @tf.function(autograph=False)
    def answers(batch: tf.Tensor) -> dict[str, dict[str, tf.Tensor]]:
        raw = tf.cast(task.preprocessing.batch(batch), interface.raw_dtype)
        features = tf.cast(task.features(raw, training=False), tf.float32)
        outputs = task.model(raw, training=False)
        found = {
            "embedding": {"embedding": task.embedded(features)},
            interface.answers: {interface.answers: task.objective.probabilities(outputs)},
        }
        if views is not None:
            found["tta"] = {interface.answers: views(probabilities_of, raw)}
        return found | {name: make(features, tf.cast(outputs, tf.float32)) for name, make in further.items()}

    with tf.device("/CPU:0"):
        found = answers(tf.constant(list(contents), tf.string))
        recorded = {
            name: {key: part.numpy().tolist() for key, part in outputs.items()} for name, outputs in found.items()
        }
    return [
        GoldenExample(
            content=base64.b64encode(content).decode("ascii"),
            outputs={name: {key: part[row] for key, part in outputs.items()} for name, outputs in recorded.items()},
        )
        for row, content in enumerate(contents)
    ]


def query_examples(queries: Mapping[str, Query]) -> dict[str, QueryExample]:
    """Return what is asked of each query, with what this process answers."""
    found = {}
    for name, query in queries.items():
        asked = query.examples()
        with tf.device("/CPU:0"):
            answers = query.answer({key: tf.constant(asked[key], dtype) for key, (dtype, _) in query.inputs.items()})
        outputs = {
            key: [[part.decode("utf-8") for part in row] for row in value.numpy()]
            if value.dtype == tf.string
            else value.numpy().tolist()
            for key, value in answers.items()
        }
        found[name] = QueryExample(inputs=asked, outputs=outputs)
    return found
