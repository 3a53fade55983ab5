"""The rule about training and held-out data that differ: a classifier that distinguishes them.

Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests" (arXiv 1610.06545).
"""

from __future__ import annotations

import numpy as np

from tlkit.trust.check.outcome import Finding
from tlkit.trust.check.rules import Found
from tlkit.trust.check.seen import FEWEST, Seen, shown_number
from tlkit.trust.check.statistics import auc, auc_interval

_MOST = 5000  # items of each side
_CLEAR = 0.6  # AUC
_LEAST = 0.55  # the lower end of its interval
_NAMED = 3


def shift(seen: Seen) -> Found:
    """Compare each held-out split with the training data."""
    train = seen.rows("train")
    others = [name for name in ("val", "test") if (seen.splits == name).any()]
    if not len(train) or not others:
        return Found(skipped="there is no validation split" if len(train) else "there is no training split")
    if not seen.has_features:
        return Found(skipped="there are no features; run `tlkit check`")
    draw = np.random.default_rng(seen.seed)
    findings, figures, lines, skipped = [], {}, [], []
    for name in others:
        held = seen.rows(name)
        if min(len(train), len(held)) < FEWEST:
            skipped.append(f"{name} has {len(held)} items, too few to compare (at least {FEWEST})")
            continue
        sides = [np.sort(draw.choice(own, min(len(own), _MOST), replace=False)) for own in (train, held)]
        items = np.concatenate(sides)
        is_held = np.repeat([False, True], [len(own) for own in sides])
        features = np.concatenate([seen.features(items), _numbers(seen, items)], axis=1)
        targets = np.stack([~is_held, is_held], 1).astype(np.float32)
        logits = seen.fit(features, targets, groups=seen.together[items], seed=seen.seed)
        if logits is None:
            skipped.append(f"{name} has too few groups to compare")
            continue
        area, low, high = auc_interval(logits[:, 1] - logits[:, 0], is_held)
        figures[name] = {"auc": round(area, 4), "low": round(low, 4), "high": round(high, 4)}
        line = f"a classifier distinguishes {name} from train with AUC {area:.2f} ({low:.2f} to {high:.2f})"
        lines.append(line)
        if area >= _CLEAR and low >= _LEAST:
            findings.append(Finding(f"{line}{_most_different(seen, items, is_held)}", name=name, score=area))
    summary = "; ".join([*lines, *skipped])
    return Found(findings, summary, figures, skipped="" if lines else "; ".join(skipped))


def _numbers(seen: Seen, items: np.ndarray) -> np.ndarray:
    """Return the properties that are numbers, standardised: float32 [m, d]."""
    parts = [np.zeros((len(items), 0))]
    for fact in seen.examined.facts.values():
        if fact.is_number and fact.use == "shortcut":
            values = fact.values[items].astype(np.float64)
            values = np.where(np.isfinite(values), values, np.nanmedian(values) if np.isfinite(values).any() else 0.0)
            parts.append(values[:, None])
    return np.concatenate(parts, axis=1).astype(np.float32)


def _most_different(seen: Seen, items: np.ndarray, is_held: np.ndarray) -> str:
    """Name the properties that differ most, with their medians."""
    apart = []
    for name, fact in seen.examined.facts.items():
        if fact.is_number:
            values = fact.values[items].astype(np.float64)
            known = np.isfinite(values)
            area = auc(values[known], is_held[known])
            sides = [
                np.median(values[known & side]) if (known & side).any() else np.nan for side in (~is_held, is_held)
            ]
            apart.append((abs(area - 0.5), f"{name} {shown_number(sides[0])} and {shown_number(sides[1])}"))
    apart = [one for one in sorted(apart, reverse=True) if one[0] > 0.1]
    return f"; medians: {', '.join(text for _, text in apart[:_NAMED])}" if apart else ""
