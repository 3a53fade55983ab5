"""Items that could not be predicted: what is written about each, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from tlkit.inputs.items import described, readable


class BadItem(NamedTuple):
    """An image, a text or a row without a prediction; the fields are the columns of the table of errors.

    Attributes:
        number: its place in the input, from 1.
        item: what it is, shortened.
        place: where it stands, such as "rows.csv row 17".
        reason: why there is no prediction.
    """

    number: int
    item: str
    place: str
    reason: str

    @classmethod
    def of(cls, number: int, item: Any, place: str, reason: str) -> BadItem:
        """Describe an item; what is no character is written as an escape, which every kind of table can hold."""
        return cls(number, readable(described(item)), readable(place), readable(reason))

    @staticmethod
    def schema() -> Any:
        """Return the Arrow schema of a table of errors."""
        import pyarrow as pa

        return pa.schema([("number", pa.int64()), *((name, pa.string()) for name in BadItem._fields[1:])])


def errors_path(out: Path, suffix: str | None = None) -> Path:
    """Return where the bad items of an output are listed.

    >>> errors_path(Path("scored.csv")).name, errors_path(Path("scored.tsv")).name
    ('scored.errors.csv', 'scored.errors.csv')
    """
    return out.with_name(f"{out.stem}.errors{errors_suffix(suffix or out.suffix.lower())}")


def errors_suffix(suffix: str) -> str:
    """Return the kind of file for bad items: a .tsv without quotes could not hold them all."""
    return ".csv" if suffix == ".tsv" else suffix
