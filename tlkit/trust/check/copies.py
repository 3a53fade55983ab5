"""Rules about items that are there twice: exact copies, near copies, copies with different labels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tlkit.trust.check.outcome import Finding
from tlkit.trust.check.rules import Found
from tlkit.trust.check.seen import Seen

_TOLERANCE = 0.1  # of the spread of a number, up to which two labels agree


def conflicting(seen: Seen) -> Found:
    """Find copies whose labels differ. A number differs where it is off by a tenth of the spread."""
    if seen.examined.by_chance:
        return Found(skipped="items agree by chance, because their columns have few different values")
    findings = []
    for items in _sets(seen.examined.copies):
        if _differ(seen, items):
            said = " / ".join(dict.fromkeys(seen.label(item) or "no label" for item in items))
            findings.append(Finding(f"{len(items)} copies with different labels: {said}", tuple(items), tuple(items)))
    found = f"{seen.counted(len(findings))} with different labels" if findings else "no copies with different labels"
    return Found(findings, found)


def inside(seen: Seen) -> Found:
    """Find copies of an item in its own split; the first one is kept."""
    return _copies(seen, across=False)


def across(seen: Seen) -> Found:
    """Find copies in training and in held-out data; those in training are excluded."""
    return _copies(seen, across=True)


def near_inside(seen: Seen) -> Found:
    """Find near copies of an item in its own split."""
    return _near(seen, across=False)


def near_across(seen: Seen) -> Found:
    """Find near copies in training and in held-out data."""
    return _near(seen, across=True)


def _copies(seen: Seen, across: bool) -> Found:
    if seen.examined.by_chance:
        return Found(skipped="items agree by chance, because their columns have few different values")
    findings = []
    for items in _sets(seen.examined.copies):
        own = {split: [item for item in items if seen.splits[item] == split] for split in _names(seen, items)}
        if across and len(own) > 1:
            held = [split for split in own if split != "train"]
            drop = own.get("train", [item for split in held[1:] for item in own[split]])
            findings.append(Finding(f"the same in {' and '.join(own)}", tuple(items), tuple(drop)))
        if not across and not _differ(seen, items):  # which another rule is about
            findings += [
                Finding(f"{len(same)} times in {split}", tuple(same), tuple(same[1:]))
                for split, same in own.items()
                if len(same) > 1
            ]
    count = sum(len(finding.exclude) for finding in findings)
    where = "in training and in held-out data" if across else "repeated in a split"
    return Found(findings, f"{seen.counted(count)} {where}" if findings else "no copies", {"excluded": count})


def _near(seen: Seen, across: bool) -> Found:
    pairs = seen.near
    findings = []
    for a, b, similarity in zip(pairs.left.tolist(), pairs.right.tolist(), pairs.similarity.tolist(), strict=True):
        one, other = seen.splits[a], seen.splits[b]
        if (one != other) != across:
            continue
        drop = (a if one == "train" else b) if across else b
        where = f"nearly the same in {one} and {other}" if across else f"nearly the same in {one}"
        clash = " with different labels" if _differ(seen, [a, b]) else ""
        findings.append(Finding(f"{where}{clash} (similarity {similarity:.3f})", (a, b), (drop,), score=similarity))
    findings.sort(key=lambda finding: -(finding.score or 0))
    pairs_of = f"{len(findings):,} {'pair' if len(findings) == 1 else 'pairs'} of {seen.examined.items}"
    return Found(findings, f"{pairs_of} are nearly the same" if findings else "no near copies")


def _sets(numbers: np.ndarray) -> Iterable[list[int]]:
    """Yield the items of each number that two or more share."""
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order])) + 1
    for part in np.split(order, ends):
        if len(part) > 1:
            yield sorted(part.tolist())


def _names(seen: Seen, items: list[int]) -> list[str]:
    there = {str(seen.splits[item]) for item in items}
    return [name for name in ("train", "val", "test") if name in there]


def _differ(seen: Seen, items: list[int]) -> bool:
    for question in seen.questions:
        values = question.values[items]
        if question.class_names:
            if len(set(values[values >= 0].tolist())) > 1:
                return True
            continue
        known = values[np.isfinite(values)]
        if len(known) > 1 and np.ptp(known) > _TOLERANCE * np.nanstd(question.values):
            return True
    return False
