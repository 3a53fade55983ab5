"""The report on a model of any input as one HTML file: metrics, confusions, errors with explanations, slices, data."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from tlkit.errors import ModelError
from tlkit.inputs.examined import Shown
from tlkit.lazy import loaded
from tlkit.report.charts import calibration_chart
from tlkit.report.html import render_page, write_page
from tlkit.report.pictures import Picture
from tlkit.report.several import SeveralMetrics
from tlkit.report.summary import class_counts, other_facts
from tlkit.report.target_parts import target_parts
from tlkit.targets.wrong_items import WrongItem, most_wrong_items
from tlkit.tasks.base import spec_of
from tlkit.tasks.common.evidence import Evidence

WRONG = 20  # items on the page
_log = logging.getLogger("tlkit")


def report_on_items(learn: Any, path: str | Path, *, title: str, split: str, evidence: Evidence) -> Path:
    """Write the page; see `Learner.report`."""
    wrong = most_wrong_items(evidence.answers, evidence.labels, evidence.targets, WRONG)
    pictures, problem = _explained(learn, split, wrong)
    items = "items" if evidence.examined is None else evidence.examined.items
    names = [target.name for target in evidence.targets]
    summary = learn.data.summary()
    if not _has_counts(summary):  # several targets have counts of their own
        summary = {**summary, "counts": {}, "labels": summary.get("counts")}
    page = render_page(
        "item_report.html.j2",
        title=title,
        items=items,
        parts=target_parts(evidence.metrics, names[0], items),
        several=isinstance(evidence.metrics, SeveralMetrics),
        measured_on=measured_on(split, learn.data.splits, items),
        groups=_groups(wrong, evidence, pictures),
        explained=bool(pictures),
        problem=problem,
        calibrations=[(name, curve, calibration_chart(curve)) for name, curve in evidence.calibrations.items()],
        counts=class_counts(summary),
        facts=other_facts(summary),
        **evidence.sections(),
    )
    return write_page(path, page)


def measured_on(split: str, splits: Container[str], items: str = "rows") -> str:
    """Say which items the figures are of, and what training has already learned from them."""
    if split == "test":
        return "All metrics are for the test set, which was not used for any choice."
    if split != "val":
        return f"All metrics are for the {split} {items}."
    said = (
        "All metrics are for the validation set. If the best epoch was kept, it was chosen on these "
        f"{items}: results on new {items} may be slightly worse."
    )
    return f"{said} Use `tlkit evaluate --split test` for an unbiased result." if "test" in splits else said


def _explained(learn: Any, split: str, wrong: Sequence[WrongItem]) -> tuple[list[list[Picture]], str]:
    explain = spec_of(learn.task.kind).explain
    if not explain or not wrong:
        return [], ""
    try:
        found: list[list[Picture]] = loaded(explain)(learn, split, wrong)
        return found, ""
    except ModelError as error:  # a network of the user's own
        _log.warning("no regions are shown: %s", error)
        return [], f"No regions are shown: {error}."


def _groups(
    wrong: Sequence[WrongItem], evidence: Evidence, pictures: list[list[Picture]]
) -> list[tuple[str, str, list[dict[str, Any]]]]:
    if not wrong:
        return []
    classes = all(one.is_rate for one in evidence.judged)
    examined = evidence.examined
    shown = []
    for place, item in enumerate(wrong):
        seen = Shown() if examined is None or pictures else examined.show(item.row)
        own = pictures[place] if pictures else [Picture(seen.image, "the item")] if seen.image else []
        names = [target.name for target in evidence.targets]
        shown.append(
            {
                "answers": list(zip(names, item.true, item.predicted, strict=True)),
                "pictures": own,
                "text": seen.text,
                "name": f"item {item.row + 1}" if examined is None else examined.names[item.row],
            }
        )
    heading = "Most confident errors" if classes else "Largest errors"
    return [(heading, "Wrong labels are often among them.", shown)]


def _has_counts(summary: Any) -> bool:
    counts = summary.get("counts")
    return isinstance(counts, dict) and all(
        isinstance(row, dict) and all(isinstance(count, int) for count in row.values()) for row in counts.values()
    )
