"""Rules about items whose size, format, script or encoding is out of line."""

from __future__ import annotations

import numpy as np

from tlkit.trust.check.outcome import Finding
from tlkit.trust.check.rules import Found
from tlkit.trust.check.seen import FEWEST, Seen, shown_number

_FAR = 6.0  # robust standard deviations of the logarithm
_SMALLEST_SPREAD = 0.08  # of the logarithm: sizes that differ by less are alike
_RARE = 0.01
_MOST_RARE = 20
_COMMON = 0.9
_MOST = 200


def sizes(seen: Seen) -> Found:
    """Find sizes far from the others; they are compared by their logarithm and its median deviation."""
    findings, looked = [], False
    for name, fact in seen.examined.facts.items():
        if not fact.sizes:
            continue
        values = fact.values.astype(np.float64)
        known = np.flatnonzero(np.isfinite(values) & (values > 0))
        if len(known) < FEWEST:
            continue
        looked = True
        logs = np.log(values[known])
        middle = float(np.median(logs))
        spread = max(1.4826 * float(np.median(np.abs(logs - middle))), _SMALLEST_SPREAD)
        far = np.abs(logs - middle) / spread
        for place in np.flatnonzero(far > _FAR).tolist():
            item, unit = int(known[place]), f" {fact.unit}" if fact.unit else ""
            text = f"{name} {shown_number(values[item])}{unit}; the median is {shown_number(np.exp(middle))}{unit}"
            findings.append(Finding(text, (item,), name=name, score=float(far[place])))
    if not looked:
        return Found(skipped=f"there are no sizes to compare, or fewer than {FEWEST} items")
    findings.sort(key=lambda finding: -(finding.score or 0))
    count = len({finding.items for finding in findings})
    summary = f"{seen.counted(count)} far from the others" if count else "no size stands out"
    return Found(findings[:_MOST], summary, {"items": count})


def rare(seen: Seen) -> Found:
    """Find formats, scripts and encodings that few items have, where nearly all have another one."""
    findings, looked = [], False
    for name, fact in seen.examined.facts.items():
        if not fact.rare and not fact.bad:
            continue
        looked = True
        values = fact.values.astype(str)
        found, counts = np.unique(values[values != ""], return_counts=True)
        if not len(found):
            continue
        usual = str(found[counts.argmax()])
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            is_rare = fact.rare and value and value != usual and counts.max() >= _COMMON * counts.sum()
            is_rare = is_rare and count <= max(1, min(_MOST_RARE, _RARE * counts.sum()))
            if (is_rare and len(values) >= FEWEST) or value in fact.bad:
                for item in np.flatnonzero(values == value)[:_MOST].tolist():
                    findings.append(Finding(f"{name} {value}; most have {usual}", (item,), name=name))
    if not looked:
        return Found(skipped=f"{seen.examined.items} have no formats, scripts or encodings")
    summary = f"{seen.counted(len(findings))} of a rare or broken form" if findings else "no rare or broken forms"
    return Found(findings, summary)
