"""Test-time augmentation as a part of the exported graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.inputs.base import Augmentation

MAX_VIEWS = 64  # each view is the network once more in the graph, and in the time of an answer


@dataclasses.dataclass(frozen=True)
class AveragedViews:
    """Mixes a network's prediction for an example with its mean prediction for views of it, in probability space.

    Every view is one fixed change, the same for each example: a prediction depends on its example alone.

    Example:
        >>> averaged = AveragedViews(4, 0.4, data.augmentation)
        >>> averaged(lambda raw: tf.nn.softmax(task.model(raw)), raw)

    Args:
        n: number of views, 1 to 64.
        beta: weight of the plain answer, 0 to 1; the views share the rest equally.
        augmentation: how an example may be changed; its `view(pixels, number)` is called with 1 to n.

    Raises:
        ConfigError: an argument is not usable, or the augmentation changes nothing.
    """

    n: int
    beta: float
    augmentation: Augmentation

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int) or not 1 <= self.n <= MAX_VIEWS:
            raise ConfigError(
                "invalid number of views for test-time augmentation",
                received=self.n,
                allowed=f"whole numbers from 1 to {MAX_VIEWS}",
            )
        if isinstance(self.beta, bool) or not isinstance(self.beta, int | float) or not 0 <= self.beta <= 1:
            raise ConfigError("invalid beta for test-time augmentation", received=self.beta, allowed="0 to 1")
        self.augmentation.check_view(1)

    def __call__(self, probabilities: Callable[[tf.Tensor], tf.Tensor], raw: tf.Tensor) -> tf.Tensor:
        """Answer for a batch.

        Args:
            probabilities: raw [B, ...] -> float32 [B, k].
            raw: a batch of the network's input, such as pixels float32 [B, S, S, 3] in 0..255, S known.

        Returns:
            float32 [B, k]: beta * plain + (1 - beta) * mean over the views.
        """
        plain = probabilities(raw)
        views = [probabilities(self.augmentation.view(raw, number)) for number in range(1, self.n + 1)]
        return self.beta * plain + (1 - self.beta) / self.n * tf.add_n(views)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values, for the manifest."""
        return {"n": self.n, "beta": self.beta, "augmentation": self.augmentation.to_dict()}
