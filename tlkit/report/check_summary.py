"""What `tlkit check` wrote about the data, for other pages."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

from tlkit.errors import DataError

_WORDS = {"fail": "failed", "warn": "warning", "ok": "nothing found", "skipped": "not checked", "off": "switched off"}


@dataclasses.dataclass(frozen=True)
class CheckSummary:
    """The result of a check of the data.

    Attributes:
        written: the day on which the check was written, such as `"2026-12-01"`.
        rules: title, status, the status in words, and what was found, of each rule.
        failed, warned: how many rules.
    """

    written: str
    rules: list[tuple[str, str, str, str]]
    failed: int
    warned: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        rules = [{"rule": title, "status": status, "found": found} for title, status, _, found in self.rules]
        return {"written": self.written, "failed": self.failed, "warned": self.warned, "rules": rules}


def read_check(path: str | Path) -> CheckSummary | None:
    """Read the JSON that `tlkit check` writes beside its report; None where there is no such file.

    Raises:
        DataError: the file is none that `tlkit check` wrote.
    """
    path = Path(path)
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        rules = [
            (
                str(rule.get("title", name.replace("_", " "))),
                rule["status"],
                _WORDS[rule["status"]],
                str(rule.get("skipped") or rule.get("summary", "")),
            )
            for name, rule in plain["rules"].items()
        ]
        written = datetime.date.fromtimestamp(path.stat().st_mtime).isoformat()
        return CheckSummary(written, rules, len(plain["failed"]), len(plain["warned"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "the result of the data check cannot be read", received=str(path), fix="run `tlkit check` again"
        ) from error
