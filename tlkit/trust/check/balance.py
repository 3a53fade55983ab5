"""Rules about how often each class occurs."""

from __future__ import annotations

import numpy as np

from tlkit.trust.check.outcome import Finding
from tlkit.trust.check.rules import Found
from tlkit.trust.check.seen import Seen

_RATIO = 10  # times as many items of the largest class as of the smallest
_FEWEST = {"train": 20, "val": 10, "test": 10}
_NO_CLASSES = "the target is a number"


def imbalance(seen: Seen) -> Found:
    """Compare the largest class of the training data with the smallest; of several labels the most frequent."""
    findings, figures = [], {}
    for name, counts in _tables(seen, "train"):
        figures[name] = counts
        present = {key: count for key, count in counts.items() if count}
        least, most = (find(present, key=lambda key: present[key], default="") for find in (min, max))
        if present and present[most] >= _RATIO * present[least]:
            times = present[most] / present[least]
            text = f"{name}: {present[most]:,} {most!r} and {present[least]:,} {least!r}, {times:.0f} times as many"
            findings.append(Finding(text, name=name, score=times))
    summary = _summary(findings, "the classes are balanced enough")
    return Found(findings, summary, figures, "" if figures else _NO_CLASSES)


def tiny(seen: Seen) -> Found:
    """Find classes with very few items in a split."""
    findings, looked = [], False
    for split in _splits(seen):
        for _, counts in _tables(seen, split):
            looked = True
            for name, count in counts.items():
                if 0 < count < _FEWEST[split]:
                    text = f"{split} has {count} {'item' if count == 1 else 'items'} of {name!r}"
                    findings.append(Finding(text, name=name, score=float(count)))
    return Found(findings, _summary(findings, "no class is very small"), skipped="" if looked else _NO_CLASSES)


def missing(seen: Seen) -> Found:
    """Find classes that a split lacks."""
    findings, looked = [], False
    for split in _splits(seen):
        for _, counts in _tables(seen, split):
            looked = True
            lacking = [name for name, count in counts.items() if not count]
            findings += [Finding(f"{split} has no item of {name!r}", name=name) for name in lacking]
    return Found(findings, _summary(findings, "every split has every class"), skipped="" if looked else _NO_CLASSES)


def _splits(seen: Seen) -> list[str]:
    return [name for name in ("train", "val", "test") if (seen.splits == name).any()]


def _tables(seen: Seen, split: str) -> list[tuple[str, dict[str, int]]]:
    """Return how often each class of a target occurs in a split; the labels of one are a table of their own."""
    rows, tables = seen.rows(split), []
    labels: dict[str, int] = {}
    for question in seen.questions:
        values = question.values[rows]
        if question.is_label:
            labels[question.name] = int((values == 1).sum())
        elif question.class_names:
            counts = np.bincount(values[values >= 0], minlength=len(question.class_names)).tolist()
            tables.append((question.name, dict(zip(question.class_names, counts, strict=True))))
    return [*tables, *([("labels", labels)] if labels else [])]


def _summary(findings: list[Finding], fine: str) -> str:
    if not findings:
        return fine
    return findings[0].text + (f", and {len(findings) - 1} more" if len(findings) > 1 else "")
