"""How far an item is from the training data, measured in the embedding of the network."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf


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
    variable: tf.Variable = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        # A variable, so that an export stores it with the weights and not as text of its graph.
        object.__setattr__(self, "variable", tf.Variable(self.core, trainable=False, name="novelty_core"))

    def __call__(self, embedding: tf.Tensor) -> tf.Tensor:
        """Embeddings float32 [B, F] -> distances float32 [B], 0 (the same direction) to 2."""
        near = tf.matmul(tf.math.l2_normalize(embedding, axis=-1), self.variable, transpose_b=True)
        return 1.0 - tf.math.top_k(near, min(self.k, len(self.core))).values[:, -1]

    def to_dict(self) -> dict[str, Any]:
        """Return all but the examples as plain values, for the manifest."""
        return {
            "method": "cosine distance", "k": self.k, "threshold": self.threshold, "core": len(self.core),
            "examples": self.examples,
        }  # fmt: skip
