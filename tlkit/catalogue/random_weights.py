"""Whether random weights are worth a warning: not where trained ones are about to replace them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_replaced: ContextVar[bool] = ContextVar("weights_are_replaced", default=False)


@contextmanager
def to_be_replaced() -> Iterator[None]:
    """Build networks whose weights are loaded right afterwards: nothing is said about random ones inside.

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
    """Return what to say of a network that starts from random weights; None where they are replaced."""
    return None if _replaced.get() else f"{name} starts from random weights (weights='none'): it is not pretrained"
