"""Items of files that are predicted one after another, and the shards that a file is divided into."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

_HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair; how Python keeps a byte that it cannot decode


class Item(NamedTuple):
    """One image, text or row.

    Attributes:
        number: its place in the input, from 0.
        place: the same for people, such as "rows.csv row 17".
        content: what is predicted: the path of an image (undecodable bytes as Python keeps them), a text, or None for
            a row, which is its fields.
        fields: what the input says of it, by column: text from CSV and TSV, any JSON or Parquet value otherwise.
        problem: why it cannot even be given to the export; empty where it can.
    """

    number: int
    place: str
    content: Any
    fields: dict[str, Any]
    problem: str = ""

    def describe(self, most: int = 500) -> str:
        """Return what a person knows it by, cut to `most` characters."""
        return described(self.fields if self.content is None else self.content, most)


class Shard(NamedTuple):
    """Items that follow each other, and where to find the first of them.

    Attributes:
        number: of the shard, from 0.
        begin: how many items come before it.
        items: how many it has, at least 1.
        offset: where it begins in the file, in bytes; 0 for Parquet, which is found by rows.
        row: how many records of the file come before it, those that are no items (an empty line) included.
    """

    number: int
    begin: int
    items: int
    offset: int = 0
    row: int = 0


class Source(Protocol):
    """An input: small enough to be pickled, and opened anew wherever a shard is read.

    Attributes:
        columns: what every item has a field for.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...  # noqa: D102

    def shards(self, size: int) -> Iterator[Shard]:
        """Read the input once and divide it into shards of `size` items; only the last may have fewer."""

    def read(self, shard: Shard) -> Iterator[Item]:
        """Give the items of a shard, in order and without holding them all."""

    def digest(self) -> str:
        """Give a number that changes when the input does."""

    def types(self) -> dict[str, Any]:
        """Give the Arrow type of each column that is known to hold something other than text."""

    def placed(self, folder: Path) -> Source:
        """Give the same input for workers: by absolute paths, what must be kept for it written into `folder`."""


def cut(offsets: Iterator[tuple[int, int]], size: int) -> Iterator[Shard]:
    """Divide items into shards.

    Example:
        >>> [shard.items for shard in cut(iter([(0, 0), (9, 1), (17, 2)]), 2)]
        [2, 1]

    Args:
        offsets: for each item where it begins in the file, in bytes, and how many records come before it.
        size: items of a shard.
    """
    first: tuple[int, int] = (0, 0)
    number = held = 0
    for place in offsets:
        if held == size:
            yield Shard(number, number * size, size, *first)
            number, held = number + 1, 0
        if not held:
            first = place
        held += 1
    if held:
        yield Shard(number, number * size, held, *first)


def described(item: Any, most: int = 500) -> str:
    """Return what a person knows an item by: a text, or the fields of a row as JSON, cut to `most` characters."""
    text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False, default=str)
    return text if len(text) <= most else text[: most - 1] + "…"


def readable(text: str) -> str:
    r"""Write what is no character as an escape: neither a file in UTF-8 nor Beam can hold it.

    Example:
        >>> readable(b"caf\xe9".decode("utf-8", "surrogateescape"))
        'caf\\xe9'

    Args:
        text: may hold bytes that could not be decoded, and halves of surrogate pairs.
    """
    return text if text.isascii() else _HALF.sub(_escape, text)


def _escape(half: re.Match[str]) -> str:
    code = ord(half[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def counts_line(counts: Mapping[str, Any], examples: Mapping[str, list[str]] | None = None) -> str:
    """Write the counts of a `Tally` in one line.

    Example:
        >>> counts_line({"found": 5, "used": 3, "left_out": {"hidden files": 2}}, {"hidden files": ["a/.x", "b/.x"]})
        'found 5 entries: 3 used; left out: 2 hidden files (a/.x, b/.x)'

    Args:
        counts: as `Tally.to_dict` returns them.
        examples: names to show, by reason.
    """
    line = f"found {counts['found']:,} entries: {counts['used']:,} used"
    parts = []
    for reason, count in counts["left_out"].items():
        names = (examples or {}).get(reason, [])
        more = ", …" if count > len(names) else ""
        parts.append(f"{count:,} {reason}" + (f" ({', '.join(names)}{more})" if names else ""))
    return f"{line}; left out: {', '.join(parts)}" if parts else line
