"""The HTML report of a check: one file with thumbnails, texts and rows, which loads nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlkit.inputs.examined import Shown
from tlkit.report.html import render_page, write_page
from tlkit.trust.check.outcome import Finding, Outcome, Result
from tlkit.trust.check.rules import RULES

_FINDINGS = 24  # of a rule
_ITEMS = 6  # of a finding
_FIGURES = 12  # numbers of a rule
_WORDS = {"fail": "failed", "warn": "warning", "ok": "nothing found", "skipped": "not checked", "off": "switched off"}


def write_check_page(path: str | Path, result: Result, show: Callable[[int], Shown], title: str) -> Path:
    """Write the report of a check.

    Args:
        path: a file ending in .html.
        result: what was found.
        show: item -> how a person sees it.
        title: of the page.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is another.
        OSError: it cannot be written.
    """
    shown: dict[int, dict[str, Any]] = {}

    def item(number: int) -> dict[str, Any]:
        if number not in shown:
            seen = show(number)
            image = "data:image/jpeg;base64," + base64.b64encode(seen.image).decode() if seen.image else ""
            shown[number] = {
                "name": result.names[number], "split": str(result.splits[number]), "label": result.labels[number],
                "image": image, "text": seen.text, "cells": dict(seen.cells),
            }  # fmt: skip
        return shown[number]

    def finding(found: Finding) -> dict[str, Any]:
        items = [item(number) for number in found.items[:_ITEMS]]
        columns = list(items[0]["cells"]) if items and items[0]["cells"] else []
        return {"text": found.text, "shown": items, "columns": columns, "more": max(len(found.items) - _ITEMS, 0)}

    def rule(outcome: Outcome) -> dict[str, Any]:
        return {
            "name": outcome.rule,
            "title": outcome.title,
            "status": outcome.status,
            "word": _WORDS[outcome.status],
            "summary": outcome.skipped if outcome.status == "skipped" else outcome.summary,
            "advice": RULES[outcome.rule].advice.replace("`", ""),
            "handled": outcome.handled,
            "findings": [finding(found) for found in outcome.findings[:_FINDINGS]],
            "more": max(len(outcome.findings) - _FINDINGS, 0),
            "figures": _figures(outcome),
        }

    rules = [rule(outcome) for outcome in result.outcomes]
    order = {"fail": 0, "warn": 1, "ok": 2, "skipped": 3, "off": 4}
    page = render_page(
        "check_report.html.j2",
        title=title,
        verdict="failed" if result.failed else "warnings" if result.warned else "passed",
        figures=[(f"{name} {result.items}", f"{count:,}") for name, count in result.counts.items()],
        failed=len(result.failed),
        warned=len(result.warned),
        overview=rules,
        rules=sorted((one for one in rules if one["findings"]), key=lambda one: order[one["status"]]),
        notes=list(result.notes),
    )
    return write_page(path, page)


def _figures(outcome: Outcome) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the numbers behind a rule that has some for each column or class, as text."""
    found = []
    for name, values in outcome.figures.items():
        if isinstance(values, dict):
            found.append((str(name), [(str(key), f"{value:g}") for key, value in list(values.items())[:_FIGURES]]))
    return found
