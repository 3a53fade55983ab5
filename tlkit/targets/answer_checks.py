"""What the numbers of each target can be (standalone: `tlkit verify` runs it by path, without tlkit)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class AnswerCheck(NamedTuple):
    """What every answer of a kind of target must be.

    Attributes:
        has_value: it is a value, not the scores of classes.
        problem: numbers [B, K] about the target -> what is wrong with them; empty where nothing is.
    """

    has_value: bool
    problem: Callable[[np.ndarray], str]


def _any_number(numbers: np.ndarray) -> str:
    return ""


def _adds_up(numbers: np.ndarray) -> str:
    return "scores that do not add up to 1" if np.max(np.abs(numbers.sum(axis=1) - 1)) > 1e-3 else ""


def _each_a_probability(numbers: np.ndarray) -> str:
    return "scores that are not between 0 and 1" if np.any(numbers < 0) or np.any(numbers > 1) else ""


def _falls_with_time(numbers: np.ndarray) -> str:
    curve = numbers[:, 1:]  # behind the risk; empty where there is no curve
    if np.any(curve < 0) or np.any(curve > 1) or np.any(np.diff(curve, axis=1) > 1e-6):
        return "a survival probability that is not between 0 and 1, or rises with time"
    return ""


#: By kind of target, as manifests name it.
CHECKS = {
    "regression": AnswerCheck(True, _any_number),
    "single_label": AnswerCheck(False, _adds_up),
    "multi_label": AnswerCheck(False, _each_a_probability),
    "survival": AnswerCheck(True, _falls_with_time),
}
