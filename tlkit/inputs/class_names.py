"""Class names as they are compared: one name for one spelling in Unicode, and near names are said."""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

_NAMED = 4
_log = logging.getLogger("tlkit")


def composed(name: str) -> str:
    """Return a name in Unicode's composed normal form, NFC.

    macOS writes folder names decomposed, NFD: the same name would be another class.

    >>> composed("Zoe\\u0308") == "Zo\\u00eb"
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def near_names(labels: Iterable[str] | Mapping[str, int]) -> list[list[tuple[str, int]]]:
    """Return the class names that differ only by case or by spaces, with their counts.

    Example:
        >>> near_names(["Red", "red", "red", "blue"])
        [[('Red', 1), ('red', 2)]]

    Args:
        labels: the class of each item, or the count of each class.

    Returns:
        A list for each set of near names: `(name, count)`, sorted by name.
    """
    counts = Counter(labels)
    alike: dict[str, list[str]] = {}
    for name in sorted(counts):
        alike.setdefault(" ".join(name.split()).casefold(), []).append(name)
    return [[(name, counts[name]) for name in names] for names in alike.values() if len(names) > 1]


def log_near_names(labels: Iterable[str] | Mapping[str, int]) -> None:
    """Say in one line which class names differ only by case or spaces; they stay classes of their own."""
    found = near_names(labels)
    if found:
        named = "; ".join(", ".join(f"{name!r} ({count:,})" for name, count in names) for names in found[:_NAMED])
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        _log.warning("class names that differ only by case or spaces are kept as separate classes: %s%s", named, more)
