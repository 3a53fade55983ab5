"""Measure how far items are from the training data."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tlkit.models.novelty import Novelty
from tlkit.models.task import Task
from tlkit.training.calibrating import FEWEST
from tlkit.training.features import collect, live_forward

if TYPE_CHECKING:
    from tlkit.training.data import Data

CORE = 500  # training examples that are kept
NEIGHBOUR = 5  # the distance to the fifth nearest one counts
SHARE = 0.95  # of the validation data that is within the threshold
_MOST_VAL = 2000
_ROUNDING = 1e-4
_log = logging.getLogger("tlkit")


def fit_novelty(task: Task, data: Data, *, seed: int = 0) -> Novelty | None:
    """Keep a sample of the training embeddings, and choose the threshold on validation data.

    Args:
        task: with its trained weights.
        data: what it was trained on. Up to 500 training and 2,000 validation examples are embedded.
        seed: of the sample.

    Returns:
        The measure; None where nothing is trained on or there are fewer than 30 validation items, which is logged.
    """
    count, held_out = len(data.labels("train")), len(data.labels("val"))
    if held_out < FEWEST:
        _log.warning(
            "distance to the training data: skipped, because val has %d items: a threshold needs %d",
            held_out, FEWEST,
        )  # fmt: skip
    if not count or held_out < FEWEST:
        return None
    rows = np.sort(np.random.default_rng(seed).permutation(count)[:CORE])
    part = getattr(data, "part", None)
    forward = live_forward(task.features)

    def embedded(batches: Any, most: int) -> np.ndarray:
        return collect(forward, _first(batches, most))[:most]

    train = embedded((part(rows) if part else data).ordered("train"), CORE)
    core = train / np.maximum(np.linalg.norm(train, axis=1, keepdims=True), 1e-12)
    found = Novelty(core, NEIGHBOUR, 0.0, 0)
    distances = found(tf.constant(embedded(data.ordered("val"), _MOST_VAL))).numpy()
    threshold = float(np.quantile(distances, SHARE)) + _ROUNDING
    return dataclasses.replace(found, threshold=threshold, examples=len(distances))


def _first(batches: Iterable[Any], most: int) -> Iterator[Any]:
    """Yield batches until they have so many items."""
    count = 0
    for batch in batches:
        if count >= most:
            return
        count += len(batch[0])
        yield batch
