"""Inputs that `tlkit predict` cannot answer: counted, the first ones shown, all of them listed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlkit.errors import DataError
from tlkit.predicting.bad_items import BadItem, errors_path

_SHOWN = 10  # on stderr


class Failures:
    """Count the inputs of a run that failed.

    Args:
        strict: raise the first one.
        write: is called with each of them, to list it in a file.
        keep: keep all of them for `listed`.

    Attributes:
        count: how many failed.
        listed: with `keep`, what failed and why, for JSON.
    """

    def __init__(self, strict: bool, write: Callable[[BadItem], None] | None = None, *, keep: bool = False):
        self.strict = strict
        self.count = 0
        self.listed: list[dict[str, Any]] = []
        self._keep = keep
        self._write = write
        self._first: list[BadItem] = []

    def add(self, number: int, item: Any, place: str, reason: str) -> None:
        """Count an input.

        Args:
            number: its row in a table, from 1; 0 where it is no row.
            item: a text, or the fields of a row.
            place: where it stands, for a person.
            reason: why it failed.

        Raises:
            DataError: with `strict`.
        """
        if self.strict:
            raise DataError(described(place, reason))
        bad = BadItem.of(number, item, place, reason)
        self.count += 1
        if self._write is not None:
            self._write(bad)
        if self._keep:
            where = {"row": number, "place": bad.place} if number else {"input": bad.place}
            self.listed.append({**where, "reason": bad.reason.removeprefix(bad.place).lstrip(" ,:")})
        if len(self._first) < _SHOWN:
            self._first.append(bad)

    def summary(self, out: Path, total: int) -> dict[str, Any]:
        """Return the counts of a run that wrote `out`; scored + failed = rows."""
        return {
            "out": str(out),
            "rows": total,
            "scored": total - self.count,
            "failed": self.count,
            "errors": str(errors_path(out)) if self.count else None,
        }

    def tell(self, total: int, items: str, rest: str) -> None:
        """Show on stderr how many failed, and the first ones with their reasons.

        Args:
            total: how many inputs there were.
            items: what they are, in the plural.
            rest: where all of them are listed.
        """
        from tlkit.cli.output import note

        if not self.count:
            return
        note(f"{self.count:,} of {total:,} {items} failed:")
        for bad in self._first:
            note(f"  {' '.join(described(bad.place, bad.reason).split())}")
        if self.count > len(self._first):
            note(f"  and {self.count - len(self._first):,} more: {rest}")


def described(place: str, reason: str) -> str:
    """Return a reason with its place, which many reasons begin with.

    >>> described("a.csv row 3", "a.csv row 3 has no text"), described("a.csv row 3", "2 fields")
    ('a.csv row 3 has no text', 'a.csv row 3: 2 fields')
    """
    return reason if reason.startswith(place) else f"{place}: {reason}"
