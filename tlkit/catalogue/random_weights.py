"""Warn about random weights, unless trained weights are about to replace them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_replaced: ContextVar[bool] = ContextVar("weights_are_replaced", default=False)


@contextmanager
def to_be_replaced() -> Iterator[None]:
    """Suppress the warning about random weights in this context, for networks that get their weights afterwards.

    Example:
        >>> with to_be_replaced():
        ...     task = image_classifier("resnet50", names, weights="none")
        >>> task.model.load_weights("best.weights.h5")
    """
    token = _replaced.set(True)
    try:
        yield
    finally:
        _replaced.reset(token)


def random_weights_message(name: str) -> str | None:
    """Return the warning for a network with random weights, or None if they are about to be replaced."""
    return None if _replaced.get() else f"{name} starts from random weights (weights='none'): it is not pretrained"
