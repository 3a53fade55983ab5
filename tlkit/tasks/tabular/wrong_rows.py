"""The rows of a table that a model gets most wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.errors import ConfigError, DataError
from tlkit.report.regression import figure


@dataclasses.dataclass(frozen=True)
class WrongRow:
    """A row, what it is and what the model says.

    Attributes:
        row: its place in the split, from 0.
        true: the truth of each target, as text.
        predicted: what the model says of each target, as text, classes with their probability.
        loss: how wrong it is: for numbers the error in standard deviations of the truth, for classes the negative
            logarithm of the true one's probability; the weighted sum over targets.
    """

    row: int
    true: tuple[str, ...]
    predicted: tuple[str, ...]
    loss: float


def most_wrong_rows(
    answers: npt.ArrayLike, labels: npt.ArrayLike, targets: Sequence[Any], n: int = 20
) -> list[WrongRow]:
    """List the rows with the largest errors: mistakes in the data are often among them.

    Of a classifier only rows count whose class is wrong; of a survival target none, since a time that is censored does
    not say how wrong a risk is.

    Example:
        >>> most_wrong_rows([[120.0], [80.0]], [121.0, 20.0], [price], n=1)[0].row
        1

    Args:
        answers: what the model says, float [n, K]: values and probabilities, targets side by side.
        labels: the truth: [n] or [n, T] (values and class numbers), or 0 and 1, [n, k], for one multi-label target.
        targets: with `name`, `kind`, `class_names`, `width` and `weight`.
        n: how many at most.

    Returns:
        The most wrong first; equally wrong ones in the order of the split.

    Raises:
        ConfigError: a multi-label target is one of several.
        DataError: the shapes do not fit.
    """
    if any(target.kind == "survival" for target in targets):
        return []
    said, true = np.asarray(answers, np.float64), np.asarray(labels, np.float64)
    multi = len(targets) == 1 and targets[0].kind == "multi_label"
    true = true[:, None] if true.ndim == 1 else true
    widths = [target.width for target in targets]
    columns = widths[0] if multi else len(targets)
    if said.ndim != 2 or true.shape != (len(said), columns) or said.shape[1] != sum(widths):
        raise DataError(
            "the shapes of outputs and labels do not match the targets",
            received=(said.shape, np.shape(labels)),
            allowed=f"[n, {sum(widths)}] and [n, {columns}]",
        )
    if not len(said):
        return []
    parts = np.split(said, np.cumsum(widths)[:-1], axis=1)
    truths = [true] if multi else list(true.T)
    judged = [_judge(target, part, column) for target, part, column in zip(targets, parts, truths, strict=True)]
    losses = sum(target.weight * loss for target, (loss, _, _, _) in zip(targets, judged, strict=True))
    wrong = np.any([one[1] for one in judged], axis=0)
    order = np.flatnonzero(wrong)
    order = order[np.argsort(-losses[order], kind="stable")][: max(n, 0)]
    return [
        WrongRow(
            row=int(row),
            true=tuple(one[2](row) for one in judged),
            predicted=tuple(one[3](row) for one in judged),
            loss=float(losses[row]),
        )
        for row in order
    ]


def _judge(target: Any, said: npt.NDArray[np.float64], true: npt.NDArray[np.float64]) -> tuple[Any, ...]:
    """Give the loss and whether it is wrong, [n] each, and functions that show the truth and the answer of a row."""
    if target.kind == "regression":
        errors = np.abs(said[:, 0] - true)
        return (
            errors / (true.std() or 1.0),
            errors > 0,
            lambda row: figure(float(true[row])),
            lambda row: figure(float(said[row, 0])),
        )
    names = target.class_names
    if target.kind == "single_label":
        numbers, best = true.astype(np.int64), said.argmax(axis=1)
        return (
            -np.log(np.maximum(said[np.arange(len(said)), numbers], 1e-12)),
            best != numbers,
            lambda row: names[numbers[row]],
            lambda row: f"{names[best[row]]} ({said[row, best[row]]:.3f})",
        )
    if true.ndim != 2:
        raise ConfigError(f"target {target.name!r} cannot be one of several", received=target.kind)
    yes = true > 0.5
    given = np.where(yes, said, 1 - said)

    def labels(which: npt.NDArray[Any]) -> str:
        return " + ".join(names[i] for i in np.flatnonzero(which)) or "no label"

    return (
        -np.log(np.maximum(given, 1e-12)).mean(axis=1),
        ((said > target.limits) != yes).any(axis=1),
        lambda row: labels(yes[row]),
        lambda row: labels(said[row] > target.limits),
    )
