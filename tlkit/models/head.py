"""The head: a small network on the embedding, trained for each task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tlkit.errors import ConfigError

HeadBuilder = Callable[[Any, int], Any]


def check_dropout(name: str, value: object) -> None:
    """Raise an error unless a rate is at least 0 and below 1.

    Raises:
        ConfigError: with the argument's name.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ConfigError(f"{name} is invalid", received=value, allowed="a number from 0 up to 1")


def build_head(own: HeadBuilder | None, dropout: float, seed: int) -> HeadBuilder:
    """Return a checked head builder: the user's own, or dropout and one dense layer.

    The default's weights start at zero (as in Big Transfer, Kolesnikov et al. 2019, arXiv 1912.11370), so that the
    first step is taken from even odds.

    Args:
        own: `head(embedding [B, F], num_classes) -> logits [B, num_classes]`, or None for the default.
        dropout: of the default, part of the embedding that is dropped in training.
        seed: of that dropout.

    Returns:
        A function as `own`, which raises a ConfigError where the shape of the logits is wrong.
    """
    make = own or _default_head(dropout, seed)

    def build(embedding: Any, num_classes: int) -> Any:
        logits = make(embedding, num_classes)
        if tuple(getattr(logits, "shape", ())) != (None, num_classes):
            raise ConfigError(
                "the head must return one logit per class",
                received=getattr(logits, "shape", type(logits)),
                allowed=f"shape (None, {num_classes})",
            )
        return logits

    return build


def _default_head(dropout: float, seed: int) -> HeadBuilder:
    def build(embedding: Any, num_classes: int) -> Any:
        dropped = keras.layers.Dropout(dropout, seed=seed, name="dropout")(embedding)
        return keras.layers.Dense(num_classes, kernel_initializer="zeros", dtype="float32", name="logits")(dropped)

    return build
