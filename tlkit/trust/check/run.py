"""Check data before it is trained on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from tlkit.inputs.base import input_spec
from tlkit.inputs.examined import Examined
from tlkit.lazy import loaded
from tlkit.targets.base import Question, label_questions
from tlkit.trust.check.outcome import Level, Outcome, Result
from tlkit.trust.check.rules import RULES, Found
from tlkit.trust.check.seen import OutOfFold, Probed, Seen

_log = logging.getLogger("tlkit")


def examine(data: Any, input_name: str, columns: Mapping[str, str] | None = None, *, quick: bool = False) -> Examined:
    """Look at all items of a data set, as its input says.

    Args:
        data: what a Learner is trained on.
        input_name: a key of `INPUTS`.
        columns: `group_column` and `time_column`, empty where there is none.
        quick: report only what takes seconds: neither facts nor features nor near copies.
    """
    found: Examined = loaded(input_spec(input_name).examine)(data, quick=quick, **(columns or {}))
    return found


def check(
    examined: Examined,
    questions: list[Question],
    *,
    fit: OutOfFold,
    levels: Mapping[str, Level],
    network: Callable[[], np.ndarray] | None = None,
    probed: Probed | None = None,
    quick: bool = False,
    allowed: Collection[str] = (),
    handled: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Result:
    """Run the rules over examined data.

    Args:
        examined: the items.
        questions: what their labels say; see `questions_of`.
        fit: predicts by logistic regression out of fold.
        levels: rule -> `"fail"`, `"warn"` or `"off"`.
        network: gives features of all items, float32 [n, F]; called only where a rule needs them.
        probed: predictions out of fold that there are already.
        quick: run only rules that take seconds.
        allowed: columns that may give the label away.
        handled: rule -> what training does about it.
        seed: of folds and samples.

    Returns:
        What was found.
    """
    began = time.monotonic()
    seen = Seen(examined, questions, fit, network, probed, allowed, seed)
    outcomes = []
    for name, rule in RULES.items():
        level = levels.get(name, "warn")
        if quick and not rule.quick:
            continue
        found = Found() if level == "off" else loaded(rule.function)(seen)
        outcomes.append(
            Outcome(
                name, level, rule.title, found.summary, found.findings, found.skipped, found.figures,
                (handled or {}).get(name, found.handled),
            )
        )  # fmt: skip
    counts = {name: int((examined.splits == name).sum()) for name in dict.fromkeys(examined.splits.tolist())}
    labels = [seen.label(item) for item in range(len(examined.splits))]
    seconds = time.monotonic() - began
    splits = examined.splits.tolist()
    return Result(examined.items, counts, outcomes, examined.names, labels, splits, examined.notes, seconds)


def questions_of(data: Any) -> list[Question]:
    """Return what the labels of a data set say, in the order of its splits."""
    labels = np.concatenate([data.labels(name) for name in data.splits])
    if not data.targets:
        return label_questions(labels, data.class_names, data.multi_label, "the label")
    columns = labels if labels.ndim == 2 else labels[:, None]
    questions, start = [], 0
    for target in data.targets:
        width = columns.shape[1] if len(data.targets) == 1 else target.label_width
        questions += target.questions(columns[:, start : start + width])
        start += width
    return questions
