"""The list of items that are left out of the data: written by `tlkit check --fix`, read by `data.exclude`."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlkit.errors import ConfigError, DataError, missing_column
from tlkit.files import atomic_write

COLUMNS = ("item", "content", "rule", "reason")
_SHOWN = 3
_log = logging.getLogger("tlkit")


class Exclusion(NamedTuple):
    """One item that is left out.

    Attributes:
        item: its name, relative to the folder of the data: `ants/1.jpg`, `reviews.csv row 17`.
        content: a hash of its content, so that a list of a table that has changed is noticed; empty for any content.
        rule: of `tlkit check`, or anything else.
        reason: for people.
    """

    item: str
    content: str = ""
    rule: str = ""
    reason: str = ""


def read_exclusions(path: str | Path) -> list[Exclusion]:
    """Read a list of exclusions: a CSV with at least the column `item`.

    Raises:
        ConfigError: there is no such file.
        DataError: it is no such list.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            "data.exclude names a file that does not exist", received=str(path), fix="run `tlkit check --fix`"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("the list of exclusions cannot be read", received=f"{path}: {error}") from None
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if "item" not in (rows.fieldnames or ()):
            raise missing_column("item", rows.fieldnames or (), f"the list of exclusions {path}")
        return [
            Exclusion(*((row.get(name) or "").strip() if name != "item" else row["item"] or "" for name in COLUMNS))
            for row in rows
        ]
    except csv.Error as error:
        raise DataError(
            "the list of exclusions is no CSV", received=f"{path}: {error}", fix="close each quote that is opened"
        ) from None


def add_exclusions(path: str | Path, new: Iterable[Exclusion]) -> tuple[int, int]:
    """Add items to a list of exclusions; the lines that are there stay as they are.

    Returns:
        How many were added, and how many the list has.

    Raises:
        DataError: the file that is there is no such list.
        OSError: it cannot be written.
    """
    path = Path(path)
    old = read_exclusions(path) if path.exists() else []
    before = path.read_text(encoding="utf-8-sig") if old or path.exists() else ""
    there = {one.item for one in old}
    added = [one for one in new if one.item not in there]
    if not added:
        return 0, len(old)
    text = io.StringIO(newline="")
    names = next(csv.reader(io.StringIO(before, newline="")), list(COLUMNS)) if before else list(COLUMNS)
    writer = csv.writer(text, lineterminator="\n")
    if not before:
        writer.writerow(names)
    for one in added:
        fields: Mapping[str, str] = one._asdict()
        writer.writerow([fields.get(name, "") for name in names])
    with atomic_write(path) as file:
        file.write(before + ("\n" if before and not before.endswith("\n") else "") + text.getvalue())
    return len(added), len(old) + len(added)


def excluded_rows(
    path: str | Path | None, names: Sequence[str], digest: Callable[[int], str], origin: str
) -> np.ndarray:
    """Return which items a list of exclusions names, bool [n], and warn of lines that name none.

    Args:
        path: of the list; None where there is none.
        names: of the items, as the list has them.
        digest: item -> the hash of its content.
        origin: of the data, for messages.

    Raises:
        ConfigError: the file does not exist.
        DataError: it is no such list, it names no item of this data, or the content of an item has changed.
    """
    mask = np.zeros(len(names), bool)
    if path is None:
        return mask
    listed = read_exclusions(path)
    place = {name: row for row, name in enumerate(names)}
    changed, unknown = [], []
    for one in listed:
        row = place.get(one.item)
        if row is None:
            unknown.append(one.item)
            continue
        mask[row] = True
        if one.content and digest(row) != one.content:
            changed.append(one.item)
    if changed:
        raise DataError(
            f"{len(changed)} items of the list of exclusions have other content now",
            received=_first(changed),
            fix=f"remove {path} and run `tlkit check --fix` again",
        )
    if listed and not mask.any():
        raise DataError(
            f"no item of the list of exclusions is in {origin}",
            received=listed[0].item,
            allowed=f"names such as {names[0]!r}" if names else None,
            fix=f"remove {path} and run `tlkit check --fix` again",
        )
    if not listed:
        _log.warning("the list of exclusions %s names no item", path)
    elif unknown:
        many, verb = ("1 line", "names") if len(unknown) == 1 else (f"{len(unknown)} lines", "name")
        _log.warning("%s of %s %s nothing in %s: %s", many, path, verb, origin, _first(unknown))
    return mask


def _first(names: Sequence[str]) -> str:
    return ", ".join(name or "''" for name in names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
