"""What was answered, over any number of items, in a few numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Summary:
    """Count the classes that were predicted; of values keep the least, the mean and the largest.

    Args:
        separator: between several labels of an answer.
    """

    def __init__(self, separator: str = "|") -> None:
        self._separator = separator
        self._found: dict[str, Any] = {}

    def add(self, answers: Sequence[Mapping[str, Any]], outputs: Sequence[Any]) -> None:
        """Take in the answers of some items, each by the columns of `AnswerColumns`."""
        for one in outputs:
            name = f"predicted_{one.target}" if one.target else "predicted"
            values = [answer[name] for answer in answers]
            if one.value:
                if not values:
                    continue
                least, total, count, largest = self._found.get(one.target, (values[0], 0.0, 0, values[0]))
                ends = min(least, *values), max(largest, *values)
                self._found[one.target] = (ends[0], total + sum(values), count + len(values), ends[1])
                continue
            counts = self._found.setdefault(one.target, dict.fromkeys(one.class_names, 0))
            for value in values:
                for label in [value] if value in counts else value.split(self._separator):  # several labels are joined
                    if label in counts:
                        counts[label] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return counts of classes, and least, mean and largest of values; by target, where targets have names."""
        plain = {
            name: {"min": found[0], "mean": found[1] / found[2], "max": found[3]} if isinstance(found, tuple) else found
            for name, found in self._found.items()
        }
        return plain[""] if list(plain) == [""] else plain
