"""How far an item is from the training data, measured in the embedding of the network."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from tlkit.models.task import Task

CORE = 500  # training examples that are kept
NEIGHBOUR = 5  # the distance to the fifth nearest one counts
SHARE = 0.95  # of the validation data that is within the threshold
_MOST_VAL = 2000
_ROUNDING = 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class Novelty:
    """Cosine distance to the k-th nearest of a sample of training examples (Sun et al. 2022, arXiv 2204.06507).

    Args:
        core: embeddings of training examples, float32 [C, F], each of length 1.
        k: which neighbour counts; the last one where there are fewer.
        threshold: an item farther away is called an outlier: 95 % of the validation data are nearer.
        examples: how many validation examples the threshold is from.
    """

    core: np.ndarray
    k: int
    threshold: float
    examples: int

    def __post_init__(self) -> None:
        # A variable, so that an export stores it with the weights and not as text of its graph.
        object.__setattr__(self, "variable", tf.Variable(self.core, trainable=False, name="novelty_core"))

    def __call__(self, embedding: tf.Tensor) -> tf.Tensor:
        """Embeddings float32 [B, F] -> distances float32 [B], 0 (the same direction) to 2."""
        near = tf.matmul(tf.math.l2_normalize(embedding, axis=-1), self.variable, transpose_b=True)  # type: ignore[attr-defined]
        return 1.0 - tf.math.top_k(near, min(self.k, len(self.core))).values[:, -1]

    def to_dict(self) -> dict[str, Any]:
        """Return all but the examples as plain values, for the manifest."""
        return {
            "method": "cosine distance", "k": self.k, "threshold": self.threshold, "core": len(self.core),
            "examples": self.examples,
        }  # fmt: skip


def fit_novelty(task: Task, data: Any, *, seed: int = 0) -> Novelty | None:
    """Keep a sample of the training embeddings, and choose the threshold on validation data.

    Args:
        task: with its trained weights.
        data: a `tlkit.training.data.Data` that it was trained on. Up to 500 training and 2,000 validation examples
            are embedded.
        seed: of the sample.

    Returns:
        The measure; None where a split is empty.
    """
    count = len(data.labels("train"))
    if not count or not len(data.labels("val")):
        return None
    rows = np.sort(np.random.default_rng(seed).permutation(count)[:CORE])
    part = getattr(data, "part", None)
    train = _embedded(task, (part(rows) if part else data).ordered("train"), CORE)
    core = train / np.maximum(np.linalg.norm(train, axis=1, keepdims=True), 1e-12)
    found = Novelty(core, NEIGHBOUR, 0.0, 0)
    distances = found(tf.constant(_embedded(task, data.ordered("val"), _MOST_VAL))).numpy()
    threshold = float(np.quantile(distances, SHARE)) + _ROUNDING
    return dataclasses.replace(found, threshold=threshold, examples=len(distances))


def _embedded(task: Task, batches: tf.data.Dataset, most: int) -> np.ndarray:
    """Return the embeddings of the first items, float32 [n, F]."""
    found: list[np.ndarray] = []
    for batch in itertools.takewhile(lambda _: sum(map(len, found)) < most, batches):
        found.append(np.asarray(task.features(batch[0], training=False), np.float32))
    return np.concatenate(found)[:most]
