"""The items that a model gets most wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tlkit.errors import ConfigError, DataError
from tlkit.targets.base import Judged, Target, parts_by_target


@dataclasses.dataclass(frozen=True)
class WrongItem:
    """An item, what it is and what the model says.

    Attributes:
        row: its place in the split, from 0.
        true: the truth of each target, as text.
        predicted: what the model says of each target, as text, classes with their probability.
        loss: how wrong it is: for numbers the error in standard deviations of the truth, for classes the negative
            logarithm of the true one's probability; the weighted sum over targets.
        target: number of the target with the largest loss.
        chosen: number of the class or label of that target that an explanation is about.
    """

    row: int
    true: tuple[str, ...]
    predicted: tuple[str, ...]
    loss: float
    target: int = 0
    chosen: int = 0


def most_wrong_items(
    answers: npt.ArrayLike, labels: npt.ArrayLike, targets: Sequence[Target], n: int = 20
) -> list[WrongItem]:
    """List the items with the largest errors: mistakes in the data are often among them.

    Of a classifier only items count whose class is wrong; of a survival target none, since a time that is censored does
    not say how wrong a risk is.

    Example:
        >>> most_wrong_items([[120.0], [80.0]], [121.0, 20.0], [price], n=1)[0].row
        1

    Args:
        answers: what the model says, float [n, K]: values and probabilities, targets side by side.
        labels: the truth: [n] or [n, T] (values and class numbers), or 0 and 1, [n, k], for one multi-label target.
        targets: what is predicted.
        n: how many at most.

    Returns:
        The most wrong first; equally wrong ones in the order of the split.

    Raises:
        ConfigError: a multi-label target is one of several.
        DataError: the shapes do not fit.
    """
    said, true = np.asarray(answers, np.float64), np.asarray(labels, np.float64)
    true = true[:, None] if true.ndim == 1 else true
    if len(targets) > 1 and any(target.is_alone for target in targets):
        name, kind = next((target.name, target.kind) for target in targets if target.is_alone)
        raise ConfigError(f"target {name!r} cannot be one of several", received=kind)
    widths = [len(target.output_names) for target in targets]
    columns = sum(target.label_width for target in targets)
    if said.ndim != 2 or true.shape != (len(said), columns) or said.shape[1] != sum(widths):
        raise DataError(
            "the shapes of outputs and labels do not match the targets",
            received=(said.shape, np.shape(labels)),
            allowed=f"[n, {sum(widths)}] and [n, {columns}]",
        )
    if not len(said):
        return []
    judged = judged_answers(said, true, targets)
    parts = np.array(
        [target.weight * np.nan_to_num(one.losses) for target, one in zip(targets, judged, strict=True)], np.float64
    )
    wrong = np.any([one.wrong for one in judged], axis=0)
    order = np.flatnonzero(wrong)
    order = order[np.argsort(-parts.sum(0)[order], kind="stable")][: max(n, 0)]
    largest = parts.argmax(0).tolist()
    return [
        WrongItem(
            row=row,
            true=tuple(one.true(row) for one in judged),
            predicted=tuple(one.said(row) for one in judged),
            loss=float(parts[:, row].sum()),
            target=largest[row],
            chosen=int(judged[largest[row]].chosen[row]),
        )
        for row in order.tolist()
    ]


def judged_answers(answers: np.ndarray, labels: np.ndarray, targets: Sequence[Target]) -> list[Judged]:
    """Return how wrong the answers of each target are; where a label is missing, nothing is known or wrong.

    Args:
        answers: float [n, A], targets side by side.
        labels: float [n, T], likewise.
        targets: what is predicted.
    """
    found = []
    for target, own, true, known in parts_by_target(answers, labels, targets):
        one = target.judged(own, np.where(known[:, None], true, 0.0) if len(targets) > 1 else true)
        found.append(one if known.all() else _where_known(one, known))
    return found


def _where_known(one: Judged, known: np.ndarray) -> Judged:
    return dataclasses.replace(
        one,
        losses=np.where(known, one.losses, 0.0),
        wrong=one.wrong & known,
        errors=np.where(known, one.errors, np.nan),
        true=lambda item: one.true(item) if known[item] else "(missing)",
    )
