"""What a trained text classifier does, as one page."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tlkit.errors import ConfigError, ModelError
from tlkit.report.summary import NO_SECTIONS
from tlkit.tasks.text_classification.attribution import attribute
from tlkit.tasks.text_classification.confident import JudgedText, most_confident_errors, most_confident_hits
from tlkit.tasks.text_classification.page import write_text_report

WRONG, RIGHT = 20, 5  # texts on the page
EXPLAINED = 10  # of the mistakes: a long text takes seconds
_log = logging.getLogger("tlkit")


def report_on_texts(learn: Any, path: str | Path, *, title: str, split: str, evidence: Any = None) -> Path:
    """Write the page; see `Learner.report`."""
    if learn.task.kind != "text_classification":
        raise ConfigError("this report needs a text classifier", received=learn.task.kind)
    metrics, wrong, right = judge(learn, split, wrong=WRONG, right=RIGHT)
    shown = [*wrong[:EXPLAINED], *right]
    try:
        explained = attribute(learn.task, [item.text for item in shown], target=[item.target for item in shown])
    except ModelError as error:  # a network of the user's own, or an ensemble
        _log.warning("word attributions are not available: %s", error)
        explained = []
    return write_text_report(
        path,
        title=title,
        metrics=metrics,
        wrong=wrong,
        right=right,
        attributions={item.row: one for item, one in zip(shown, explained, strict=False)},
        summary=learn.data.summary(),
        calibration=None if evidence is None else next(iter(evidence.calibrations.values()), None),
        sections=NO_SECTIONS if evidence is None else evidence.sections(),
    )


def judge(learn: Any, split: str, *, wrong: int, right: int) -> tuple[Any, list[JudgedText], list[JudgedText]]:
    """Give the metrics of a split, its surest mistakes and its surest right answers, from one pass over the texts."""
    data: Any = learn.data
    names = learn.task.class_names
    logits, labels, texts = learn.logits(split), data.labels(split), data.texts(split)
    objective = learn.task.objective
    probabilities = objective.probabilities(logits).numpy()
    limits = objective.classes.limits if objective.is_multi_label else 0.5
    return (
        learn.measure(logits, split),
        most_confident_errors(probabilities, labels, texts, names, n=wrong, threshold=limits),
        most_confident_hits(probabilities, labels, texts, names, n=right, threshold=limits),
    )
