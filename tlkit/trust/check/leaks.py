"""Rules about what gives the answer away: groups and times across splits, columns, properties of the files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tlkit.inputs.examined import Fact
from tlkit.targets.base import Question
from tlkit.trust.check.outcome import Finding
from tlkit.trust.check.rules import Found
from tlkit.trust.check.seen import FEWEST, Seen
from tlkit.trust.check.statistics import auc, encoded_out_of_fold, rank_correlation

_STRONG_COLUMN = 0.95
_AHEAD = 0.25  # of what the next column leaves open, a leaking column leaves open at most so much
_FEW_LEAKS = 3
_STRONG_SHORTCUT = 0.9
_MOST_CLASSES = 20
_MOST_ROWS = 20_000
_SHOWN = 200


def groups(seen: Seen) -> Found:
    """Find groups with items in training and in held-out data."""
    examined = seen.examined
    if (seen.splits == seen.splits[0]).all():
        return Found(skipped="there is one split only")
    if examined.groups is not None:
        findings = list(_straddling(seen, examined.groups, "group"))
        return Found(findings, f"{len(findings)} groups have items on both sides of a split")
    findings = []
    for name, values in examined.guessed.items():
        if _is_grouping(seen, values):
            apart = list(_straddling(seen, values, name))
            if apart:
                items = tuple(item for finding in apart for item in finding.items)[:_SHOWN]
                text = f"{len(apart)} groups by {name} have items on both sides, such as {apart[0].name!r}"
                findings.append(Finding(text, items, name=name, score=float(len(apart))))
    found = "no group column is named; " + (findings[0].text if findings else "no names suggest groups")
    return Found(findings, found)


def times(seen: Seen) -> Found:
    """Find training items that are newer than held-out ones."""
    examined = seen.examined
    train, held = seen.rows("train"), np.flatnonzero(seen.splits != "train")
    if examined.times is None:
        return Found(skipped="the data names no times")
    if not len(train) or not len(held):
        return Found(skipped="there is one split only")
    moments = examined.times
    known = ~np.isnat(moments) if moments.dtype.kind in "mM" else np.isfinite(moments)
    train, held = train[known[train]], held[known[held]]
    if not len(train) or not len(held):
        return Found(skipped="no times can be read")
    first = moments[held].min()
    newer = train[moments[train] > first]
    share = len(newer) / len(train)
    if not len(newer):
        return Found(summary="all held-out items are newer than the training items", figures={"newer_in_train": 0.0})
    text = f"{share:.0%} of the training items are newer than the oldest held-out item ({examined.time_name})"
    order = newer[np.argsort(moments[newer], kind="stable")[::-1]]
    finding = Finding(text, tuple(order[:_SHOWN].tolist()), name=examined.time_name, score=share)
    return Found([finding], text, {"newer_in_train": share})


def columns(seen: Seen) -> Found:
    """Find input columns that alone predict the label far better than all others."""
    facts = {name: fact for name, fact in seen.examined.facts.items() if fact.use == "column"}
    if not facts:
        return Found(skipped=f"{seen.examined.items} have no columns")
    rows = _rows(seen)
    if len(rows) < FEWEST:
        return Found(skipped=f"{len(rows)} items are too few (at least {FEWEST})")
    findings, figures = [], {}
    for question in seen.questions:
        power = {name: _power(fact, question, rows, seen.seed) for name, fact in facts.items()}
        figures[question.name] = _ranked(power)
        for name in _ahead(power):
            if name not in seen.allowed:
                text = f"{name} alone predicts {question.name} with {_measure(question)} {power[name]:.3f}"
                findings.append(Finding(text, name=name, score=power[name]))
    return Found(findings, findings[0].text if findings else "no column stands out", figures)


def shortcuts(seen: Seen) -> Found:
    """Find properties of files and items that alone predict the label."""
    facts = {name: fact for name, fact in seen.examined.facts.items() if fact.use == "shortcut"}
    rows = _rows(seen)
    if len(rows) < FEWEST:
        return Found(skipped=f"{len(rows)} items are too few (at least {FEWEST})")
    findings, figures = [], {}
    for question in seen.questions:
        power = {name: _power(fact, question, rows, seen.seed) for name, fact in facts.items()}
        if question.class_names:
            blocks = dict(seen.examined.blocks)
            if len(facts) > 1 and max(power.values()) < _STRONG_SHORTCUT:
                blocks["all properties together"] = _table(facts)
            power |= {name: _power_of_block(seen, block, question, rows) for name, block in blocks.items()}
        figures[question.name] = _ranked(power)
        for name, value in sorted(power.items(), key=lambda pair: -pair[1]):
            if value >= _STRONG_SHORTCUT:
                text = f"{name} alone predicts {question.name} with {_measure(question)} {value:.3f}"
                findings.append(Finding(text, _examples(seen, facts.get(name), question, rows), name=name, score=value))
    return Found(findings, findings[0].text if findings else "no property stands out", figures)


def _straddling(seen: Seen, values: np.ndarray, what: str) -> Iterator[Finding]:
    named = np.flatnonzero(values != "")
    order = named[np.argsort(values[named].astype(str), kind="stable")]
    ends = np.flatnonzero(values[order].astype(str)[1:] != values[order].astype(str)[:-1]) + 1
    for items in np.split(order, ends) if len(order) else ():
        there = dict.fromkeys(str(split) for split in seen.splits[items])
        if len(there) > 1:
            chosen = items[: _SHOWN if len(items) > _SHOWN else None].tolist()
            name = str(values[items[0]])
            yield Finding(f"{what} {name!r}: {len(items)} items in {' and '.join(there)}", tuple(chosen), name=name)


def _is_grouping(seen: Seen, values: np.ndarray) -> bool:
    """Whether names divide most items into many small groups, which are not the classes."""
    named = values != ""
    if named.sum() < FEWEST or named.mean() < 0.5:
        return False
    _, numbers, counts = np.unique(values[named].astype(str), return_inverse=True, return_counts=True)
    if len(counts) < 5 or counts.mean() < 1.5 or counts.max() > max(50, 0.05 * len(values)):
        return False
    for question in seen.questions:
        if question.class_names and len(counts) <= 2 * len(question.class_names):
            own = question.values[named]
            first = np.full(len(counts), -1)
            first[numbers] = own
            if (first[numbers] == own).all():
                return False
    return True


def _rows(seen: Seen) -> np.ndarray:
    rows = seen.rows("train")
    rows = rows if len(rows) else np.arange(len(seen.splits))
    if len(rows) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(seen.seed).choice(rows, _MOST_ROWS, replace=False))
    return rows


def _ranked(power: dict[str, float]) -> dict[str, float]:
    """Return rounded values, the largest first."""
    return {name: round(value, 4) for name, value in sorted(power.items(), key=lambda pair: -pair[1])}


def _measure(question: Question) -> str:
    return "AUC" if question.class_names else "rank correlation"


def _power(fact: Fact, question: Question, rows: np.ndarray, seed: int) -> float:
    """Return the AUC of one property for the class that it predicts best; of a number its rank correlation."""
    values, labels = fact.values[rows], question.values[rows]
    known = labels >= 0 if question.class_names else np.isfinite(labels)
    if fact.is_number:
        known &= np.isfinite(values.astype(np.float64))
    values, labels = values[known], labels[known]
    if len(values) < FEWEST:
        return 0.0
    if not question.class_names:
        scores = values.astype(np.float64) if fact.is_number else encoded_out_of_fold(values, labels, seed)
        return abs(rank_correlation(scores, labels))
    best = 0.5
    numbers, counts = np.unique(labels, return_counts=True)
    for number in numbers[np.argsort(-counts)][:_MOST_CLASSES]:
        positive = labels == number
        if positive.sum() < 5 or (~positive).sum() < 5:
            continue
        if fact.is_number:
            area = auc(values.astype(np.float64), positive)
            best = max(best, area, 1 - area)
        else:
            best = max(best, auc(encoded_out_of_fold(values, positive.astype(float), seed), positive))
        if len(numbers) == 2:
            break
    return best


def _power_of_block(seen: Seen, block: np.ndarray, question: Question, rows: np.ndarray) -> float:
    rows = rows[question.values[rows] >= 0]
    logits = seen.fit(block[rows], seen.one_hot(question, rows), groups=seen.together[rows], seed=seen.seed)
    if logits is None:
        return 0.5
    labels = question.values[rows]
    counts = np.bincount(labels, minlength=logits.shape[1])
    scores = logits - logits.mean(1, keepdims=True)
    return max((auc(scores[:, k], labels == k) for k in np.flatnonzero(counts >= 5)), default=0.5)


def _table(facts: dict[str, Fact]) -> np.ndarray:
    """Return all properties as numbers, float32 [n, d]; of names the 20 most frequent."""
    parts = []
    for fact in facts.values():
        if fact.is_number:
            values = fact.values.astype(np.float64)
            finite = np.isfinite(values)
            values = np.where(finite, values, np.median(values[finite]) if finite.any() else 0.0)
            parts += [values[:, None], np.sign(values[:, None]) * np.log1p(np.abs(values[:, None]))]
        else:
            names, counts = np.unique(fact.values.astype(str), return_counts=True)
            names = names[np.argsort(-counts)][:20]
            parts.append((fact.values.astype(str)[:, None] == names).astype(np.float64))
    return np.concatenate(parts, axis=1).astype(np.float32)


def _ahead(power: dict[str, float]) -> list[str]:
    """Name the few columns that are far ahead of all others."""
    order = sorted(power, key=lambda name: -power[name])
    for count in range(min(_FEW_LEAKS, len(order)), 0, -1):
        last, rest = power[order[count - 1]], [power[name] for name in order[count:]]
        following = max(rest, default=0.5)
        if last >= _STRONG_COLUMN and 1 - last <= _AHEAD * (1 - following):
            return order[:count]
    return []


def _examples(seen: Seen, fact: Fact | None, question: Question, rows: np.ndarray) -> tuple[int, ...]:
    """Return a few items of each class, to look at."""
    if not question.class_names:
        return ()
    found: list[int] = []
    for number in range(min(len(question.class_names), 4)):
        found += rows[question.values[rows] == number][:3].tolist()
    return tuple(found)
