"""Predict items together, and one by one where some of them are refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from tlkit.errors import DataError, ServerError, TlkitError

T = TypeVar("T")
R = TypeVar("R")
_SINGLY = 32  # a refused batch of more items is halved first
_MOST = 500  # characters of a reason
NOT_FINITE = "the prediction is not a finite number"
_REFUSED = ("INVALID_ARGUMENT", "UNIMPLEMENTED")  # codes of a server that are about what was sent


class Refusal(NamedTuple):
    """The reason why there is no prediction about an item."""

    reason: str


def predict_each(
    items: Sequence[T], predict: Callable[[Sequence[T]], Sequence[R]], *, strict: bool = False
) -> list[R | Refusal]:
    """Predict items; what is wrong with one does not cost its neighbours their predictions.

    Args:
        items: any number.
        predict: predicts some of them, one result for each.
        strict: raise what is wrong with the first one instead.

    Returns:
        For each item its result, or a `Refusal`.

    Raises:
        DataError: with `strict`, TensorFlow refuses the items.
        Exception: what `predict` raises and is not about the items, such as a server that cannot be reached; with
            `strict` anything that it raises.
    """
    if not items:
        return []
    try:
        return [*predict(items)]
    except Exception as error:
        reason = refusal(error)
        if reason is None or (strict and isinstance(error, TlkitError)):
            raise
        if strict:
            raise DataError(reason) from error
        if len(items) == 1:
            return [Refusal(reason)]
    if len(items) <= _SINGLY:
        return [result for item in items for result in predict_each([item], predict)]
    middle = len(items) // 2
    return predict_each(items[:middle], predict) + predict_each(items[middle:], predict)


def refusal(error: Exception) -> str | None:
    """Return what an error says about the items that were to be predicted; None where it is about something else."""
    if isinstance(error, ServerError):
        return _line(str(error)) if error.code in _REFUSED else None
    if isinstance(error, DataError):
        return _line(str(error))
    tensorflow = sys.modules.get("tensorflow")  # whose errors there are only where it is loaded
    if tensorflow is None:
        return None
    if isinstance(error, tensorflow.errors.OpError):
        return _line(error.message or type(error).__name__)
    return None


def _line(message: str) -> str:
    return next(iter(message.splitlines()), "")[:_MOST]
