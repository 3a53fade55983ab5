"""Rules about how often each class occurs."""

from __future__ import annotations

import numpy as np

from tlkit.targets.base import Question
from tlkit.trust.check.outcome import Finding
from tlkit.trust.check.rules import Found
from tlkit.trust.check.seen import Seen

_RATIO = 10  # times as many items of the largest class as of the smallest
_FEWEST = {"train": 20, "val": 10, "test": 10}
_NO_CLASSES = "the target is a number"


def imbalance(seen: Seen) -> Found:
    """Compare the largest class of the training data with the smallest."""
    findings, figures = [], {}
    for question in seen.questions:
        if question.class_names:
            counts = _counts(seen, question, "train")
            figures[question.name] = dict(zip(question.class_names, counts, strict=True))
            few, many = min((count for count in counts if count), default=0), max(counts, default=0)
            if many >= _RATIO * few:
                least, most = (question.class_names[counts.index(count)] for count in (few, many))
                text = f"{question.name}: {many:,} {most!r} and {few:,} {least!r}, {many / few:.0f} times as many"
                findings.append(Finding(text, name=question.name, score=many / few))
    return Found(
        findings, _summary(findings, "the classes are balanced enough"), figures, "" if figures else _NO_CLASSES
    )


def tiny(seen: Seen) -> Found:
    """Find classes with very few items in a split."""
    findings, looked = [], False
    for question in seen.questions:
        for split in _splits(seen) if question.class_names else ():
            looked = True
            for name, count in zip(question.class_names, _counts(seen, question, split), strict=True):
                if 0 < count < _FEWEST[split]:
                    text = f"{split} has {count} {'item' if count == 1 else 'items'} of {name!r}"
                    findings.append(Finding(text, name=name, score=float(count)))
    return Found(findings, _summary(findings, "no class is very small"), skipped="" if looked else _NO_CLASSES)


def missing(seen: Seen) -> Found:
    """Find classes that a split lacks."""
    findings, looked = [], False
    for question in seen.questions:
        for split in _splits(seen) if question.class_names else ():
            looked = True
            for name, count in zip(question.class_names, _counts(seen, question, split), strict=True):
                if not count:
                    findings.append(Finding(f"{split} has no item of {name!r}", name=name))
    return Found(findings, _summary(findings, "every split has every class"), skipped="" if looked else _NO_CLASSES)


def _splits(seen: Seen) -> list[str]:
    return [name for name in ("train", "val", "test") if (seen.splits == name).any()]


def _counts(seen: Seen, question: Question, split: str) -> list[int]:
    values = question.values[seen.rows(split)]
    return np.bincount(values[values >= 0], minlength=len(question.class_names)).tolist()


def _summary(findings: list[Finding], fine: str) -> str:
    if not findings:
        return fine
    return findings[0].text + (f", and {len(findings) - 1} more" if len(findings) > 1 else "")
