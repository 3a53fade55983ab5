"""One row after another into a .csv, .tsv or .jsonl, with the row's place in what cannot be written."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tlkit.errors import DataError


def row_writer(out: Path, file: IO[str], columns: Sequence[str]) -> Callable[[Mapping[str, object], str], None]:
    """Give a function that writes one row; it gets the row's place for messages."""
    suffix = out.suffix.lower()
    if suffix not in (".csv", ".tsv"):

        def write_object(fields: Mapping[str, object], place: str) -> None:
            with _explained(place, suffix):
                file.write(json.dumps(fields, ensure_ascii=False, default=str) + "\n")

        return write_object

    # A .tsv has no quotes: that is how tlkit and most others read it.
    plain: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
    table = csv.writer(file, lineterminator="\n", **(plain if suffix == ".tsv" else {}))

    def write_row(fields: Mapping[str, object], place: str) -> None:
        with _explained(place, suffix):
            table.writerow([_plain(fields.get(name)) for name in columns])

    write_row(dict(zip(columns, columns, strict=True)), "the header")
    return write_row


def _plain(value: object) -> object:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value


@contextlib.contextmanager
def _explained(place: str, suffix: str) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        raise DataError(
            f"{place} holds a tab or a line break, which a {suffix} cannot hold", fix="write .csv or .jsonl"
        ) from error
    except UnicodeEncodeError as error:
        raise DataError(f"{place} holds half of a surrogate pair, which is no character") from error
