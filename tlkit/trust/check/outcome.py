"""What the rules of a check found, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Level = Literal["fail", "warn", "off"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that a rule found.

    Attributes:
        text: what it is, one line.
        items: numbers of the items that it is about; empty where it is about the data as a whole.
        exclude: those of them that `--fix` lists.
        name: what it is about where that is no item: a column, a class, a file that cannot be read.
        score: a number to sort by, where there is one.
    """

    text: str
    items: tuple[int, ...] = ()
    exclude: tuple[int, ...] = ()
    name: str = ""
    score: float | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one rule found.

    Attributes:
        rule: its name, a key of [check] in config.toml.
        level: what a finding means.
        title: for people.
        summary: the result in one line.
        findings: all of them, the most important first.
        skipped: why nothing could be checked; empty where it was.
        figures: numbers for programs.
        handled: what training does about it already; it is no failure then.
    """

    rule: str
    level: Level
    title: str
    summary: str = ""
    findings: Sequence[Finding] = ()
    skipped: str = ""
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    handled: str = ""

    @property
    def status(self) -> str:
        """`"fail"`, `"warn"`, `"ok"`, `"skipped"` or `"off"`."""
        if self.level == "off":
            return "off"
        if self.findings:
            return "warn" if self.handled else self.level
        return "skipped" if self.skipped else "ok"


@dataclasses.dataclass(frozen=True)
class Result:
    """What a check found.

    Attributes:
        items: what the items are, in the plural.
        counts: split -> items.
        outcomes: rule after rule.
        names: of all items.
        labels: of all items, for people.
        splits: of all items.
        notes: what else reading the data found.
        seconds: that the check took.
    """

    items: str
    counts: Mapping[str, int]
    outcomes: Sequence[Outcome]
    names: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[str]
    notes: Sequence[str] = ()
    seconds: float = 0.0

    @property
    def failed(self) -> list[str]:
        """The rules that failed."""
        return [outcome.rule for outcome in self.outcomes if outcome.status == "fail"]

    @property
    def warned(self) -> list[str]:
        """The rules that warned."""
        return [outcome.rule for outcome in self.outcomes if outcome.status == "warn"]

    def excluded(self) -> dict[int, str]:
        """Return the items that a list of exclusions names, and the rule that each broke."""
        found: dict[int, str] = {}
        for outcome in self.outcomes:
            for finding in outcome.findings if outcome.status in ("fail", "warn") else ():
                for item in finding.exclude:
                    found.setdefault(item, outcome.rule)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "failed": self.failed,
            "warned": self.warned,
            "items": dict(self.counts),
            "rules": {outcome.rule: self._outcome(outcome) for outcome in self.outcomes},
            "notes": list(self.notes),
            "seconds": round(self.seconds, 2),
        }

    def _outcome(self, outcome: Outcome) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "title": outcome.title,
            "status": outcome.status,
            "level": outcome.level,
            "count": len(outcome.findings),
        }
        for name, value in (("summary", outcome.summary), ("skipped", outcome.skipped), ("handled", outcome.handled)):
            plain |= {name: value} if value else {}
        plain |= {"figures": dict(outcome.figures)} if outcome.figures else {}
        plain["found"] = [self._finding(finding) for finding in outcome.findings]
        return plain

    def _finding(self, finding: Finding) -> dict[str, Any]:
        plain: dict[str, Any] = {"text": finding.text}
        if finding.name:
            plain["name"] = finding.name
        if finding.items:
            plain["items"] = [
                {"name": self.names[item], "split": str(self.splits[item]), "label": self.labels[item]}
                for item in finding.items
            ]
        if finding.score is not None:
            plain["score"] = round(finding.score, 4)
        return plain
