"""The texts that a model is surest about: wrongly, and rightly."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tlkit.errors import DataError


@dataclasses.dataclass(frozen=True)
class JudgedText:
    """A text, what it is and what the model takes it for.

    Attributes:
        row: its place in the split, from 0.
        text: the text.
        true: its label, or its labels; empty when it has none.
        predicted: what the model says; empty when it says no label.
        target: number of the class that the probability is about: the predicted class, or with several labels the one
            that the model is surest about.
        probability: what the model gives the class `target`, 0..1.
        confidence: how sure the model is of its answer about `target`, 0..1: the probability, or one minus it where
            the answer is no.
        right: whether everything about it is right.
    """

    row: int
    text: str
    true: tuple[str, ...]
    predicted: tuple[str, ...]
    target: int
    probability: float
    confidence: float
    right: bool


def most_confident_errors(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    texts: Sequence[str],
    class_names: Sequence[str],
    n: int = 20,
    threshold: float | npt.ArrayLike = 0.5,
) -> list[JudgedText]:
    """List the wrong answers that the model is surest of: wrongly labelled texts are often among them.

    Example:
        >>> errors = most_confident_errors([[0.9, 0.1], [0.4, 0.6]], [1, 1], ["fine", "dull"], ["good", "bad"])
        >>> errors[0].text, errors[0].predicted, errors[0].probability
        ('fine', ('good',), 0.9)

    Args:
        probabilities: float [n, k].
        labels: class numbers, int [n]; or 0 and 1, [n, k], where a text has any number of labels.
        texts: n texts.
        class_names: k names.
        n: how many at most.
        threshold: with several labels, the probability above which a label is predicted, or one for each label.

    Returns:
        The surest first; equally sure ones in the order of the split. With several labels a text counts once, by the
        wrong answer that the model is surest of.

    Raises:
        DataError: the numbers of probabilities, labels, texts and names do not fit, or a class number has no name.
    """
    return _judge(probabilities, labels, texts, class_names, n, threshold, right=False)


def most_confident_hits(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    texts: Sequence[str],
    class_names: Sequence[str],
    n: int = 5,
    threshold: float | npt.ArrayLike = 0.5,
) -> list[JudgedText]:
    """List the right answers that the model is surest of; arguments and errors as for `most_confident_errors`.

    With several labels only texts count that have a label: to be sure of nothing is easy. They are ordered by the
    least sure of their answers, and explained by the surest of their labels.
    """
    return _judge(probabilities, labels, texts, class_names, n, threshold, right=True)


def _judge(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    texts: Sequence[str],
    class_names: Sequence[str],
    n: int,
    threshold: float | npt.ArrayLike,
    *,
    right: bool,
) -> list[JudgedText]:
    chances, truth = np.asarray(probabilities, np.float64), np.asarray(labels)
    shape = (len(texts), len(class_names))
    if chances.shape != shape or truth.shape not in {shape, shape[:1]}:
        raise DataError(
            "the shapes of probabilities, labels, texts and class names do not match",
            received=(chances.shape, truth.shape, *shape),
            allowed=f"probabilities {shape}, labels {shape[:1]} or {shape}",
        )
    if not len(texts):
        return []
    if truth.ndim == 1 and not ((truth >= 0) & (truth < shape[1])).all():
        raise DataError("invalid class number", received=np.unique(truth).tolist(), allowed=f"0 to {shape[1] - 1}")
    if truth.ndim == 1:
        yes = chances.argmax(axis=1)[:, None] == np.arange(shape[1])
        wanted = truth[:, None] == np.arange(shape[1])
        surety, asked = chances, yes
        order_by = chances.max(axis=1)
    else:
        yes, wanted = chances > np.asarray(threshold), truth > 0.5
        surety = np.where(yes, chances, 1 - chances)
        asked = wanted & yes if right else wanted != yes
        order_by = surety.min(axis=1) if right else np.where(asked, surety, 0.0).max(axis=1)
    is_right = (yes == wanted).all(axis=1)
    chosen = np.flatnonzero((is_right == right) & asked.any(axis=1))
    chosen = chosen[np.argsort(-order_by[chosen], kind="stable")][: max(n, 0)]
    targets = np.where(asked, surety, -1.0).argmax(axis=1)
    return [
        JudgedText(
            row=int(row),
            text=texts[int(row)],
            true=tuple(itertools.compress(class_names, wanted[row])),
            predicted=tuple(itertools.compress(class_names, yes[row])),
            target=int(targets[row]),
            probability=float(chances[row, targets[row]]),
            confidence=float(surety[row, targets[row]]),
            right=right,
        )
        for row in chosen
    ]
