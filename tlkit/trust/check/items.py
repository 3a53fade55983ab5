"""Rules about items that cannot be read or are damaged."""

from __future__ import annotations

from tlkit.trust.check.outcome import Finding
from tlkit.trust.check.rules import Found
from tlkit.trust.check.seen import Seen


def unreadable(seen: Seen) -> Found:
    """List the items that cannot be read."""
    return _found(seen, False, "unreadable")


def damaged(seen: Seen) -> Found:
    """List the items that can be read although they are damaged."""
    return _found(seen, True, "damaged")


def _found(seen: Seen, is_damaged: bool, what: str) -> Found:
    place = {name: item for item, name in enumerate(seen.examined.names)}
    unusable = [one for one in seen.examined.unusable if one.damaged == is_damaged]
    if not unusable:
        return Found(summary=f"no {what} {seen.examined.items}")
    findings = []
    for one in unusable:
        items = (place[one.name],) if one.name in place else ()
        excluded = () if is_damaged else items  # damaged items are used as they can be read
        findings.append(Finding(f"{one.name} {one.reason}", items, excluded, one.name))
    handled = "training leaves them out" if all(one.left_out for one in unusable) else ""
    return Found(findings, seen.counted(len(findings)), handled=handled)
