"""The HTML report of a comparison: one file, which loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlkit.report.html import render_page, write_page
from tlkit.trust.drift.compare import Compared, Drift

_GROUPS = 24  # of a statistic
_HEADINGS = (("prediction", "Predictions"), ("embedding", "Embeddings"), ("input", "Inputs"))


def write_drift_page(path: str | Path, found: Drift, title: str, facts: Sequence[tuple[str, str]]) -> Path:
    """Write the report of a comparison.

    Args:
        path: a file ending in .html.
        found: the comparison.
        title: of the page.
        facts: names and values of what was compared, for people.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is another.
        OSError: it cannot be written.
    """
    rows = [_row(number, one) for number, one in enumerate(found.compared)]
    page = render_page(
        "drift_report.html.j2",
        title=title,
        drifted=len(found.drifted),
        tested=sum(not one.skipped for one in found.compared),
        items=found.items,
        baseline_items=found.baseline_items,
        alpha=f"{found.alpha:g}",
        psi=f"{found.psi:g}",
        facts=list(facts),
        overview=rows,
        sections=[
            (heading, own) for source, heading in _HEADINGS if (own := [row for row in rows if row["source"] == source])
        ],
    )
    return write_page(path, page)


def _row(number: int, one: Compared) -> dict[str, Any]:
    largest = max((max(e, a) for _, e, a in one.groups), default=1.0) or 1.0
    groups = sorted(one.groups, key=lambda group: -max(group[1:])) if len(one.groups) > _GROUPS else one.groups
    return {
        "place": f"s{number}",
        "name": one.name,
        "source": one.source,
        "state": "fail" if one.drifted else "skipped" if one.skipped else "ok",
        "word": "drift" if one.drifted else "not estimated" if one.skipped else "no drift",
        "psi": "" if one.psi is None else f"{one.psi:.3f}",
        "p": "" if one.skipped else p_text(one.adjusted),
        "method": one.method,
        "statistic": f"{one.statistic:.4g}",
        "raw_p": p_text(one.p),
        "count": one.items,
        "change": one.skipped or one.change,
        "unit": one.unit,
        "groups": [
            {"label": label, "baseline": f"{e:.1%}", "data": f"{a:.1%}", "e": f"{e / largest:.3f}",
             "a": f"{a / largest:.3f}"}
            for label, e, a in groups[:_GROUPS]
        ],
        "more": max(len(one.groups) - _GROUPS, 0),
    }  # fmt: skip


def p_text(p: float) -> str:
    """Return a p-value for people.

    >>> p_text(0.04321), p_text(0.00001)
    ('0.0432', '< 0.0001')
    """
    return f"{p:.3g}" if p >= 0.0001 else "< 0.0001"
