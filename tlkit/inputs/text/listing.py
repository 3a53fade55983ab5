"""Which texts there are and what they are: from a table, from a file for each split, or from folders."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.errors import Advice, ConfigError, DataError, did_you_mean
from tlkit.inputs.files.records import Columns, frame_columns, read_columns
from tlkit.inputs.files.table_files import MAX_FIELD_BYTES, SUFFIXES, Quoting
from tlkit.inputs.image.listing import SPLIT_FOLDERS
from tlkit.inputs.label_sets import (
    Label,
    ListedLabels,
    check_several,
    filled,
    is_missing,
    read_labels,
    read_marks,
)

if TYPE_CHECKING:
    import pandas as pd

SPLIT_NAMES = {**SPLIT_FOLDERS, "dev": "val"}


@dataclasses.dataclass(frozen=True)
class TextListing(ListedLabels):
    """Texts with labels, before any is tokenized.

    Attributes:
        texts: as they stand in the file.
        labels: the class of each text, or the set of its labels where a text may have several; in Unicode's normal
            form NFC.
        splits: `"train"`, `"val"`, `"test"`, or None where the text is to be split by tlkit.
        groups: the group of each text, or None.
        times: the point in time of each text, as it stands in the file, or None.
        origin: where the listing came from, for messages.
        places: where each text stands, for messages: "reviews.csv row 17" (the header is row 1), or its file.
        label_columns: the labels in the order of their columns, where each has a column of its own.
        unlabelled: how many rows were left out because they have no label.
    """

    texts: list[str]
    labels: Sequence[Label]
    splits: list[str | None]
    groups: list[str] | None
    times: list[object] | None
    origin: str
    places: list[str]
    label_columns: tuple[str, ...] = ()
    unlabelled: int = 0

    def only(self, rows: Sequence[int], split: str | None = None) -> TextListing:
        """Give some of the rows, all of them in one split where a split is named."""

        def pick(values: Sequence) -> list:
            return [values[row] for row in rows]

        return dataclasses.replace(
            self,
            texts=pick(self.texts),
            labels=pick(self.labels),
            splits=[split] * len(rows) if split else pick(self.splits),
            groups=pick(self.groups) if self.groups else None,
            times=pick(self.times) if self.times else None,
            places=pick(self.places),
        )

    def check_trainable(self) -> None:
        """Refuse what no classifier can be trained on.

        Raises:
            DataError: all texts are empty, there is no training text, there is one class, or a class without a
                training text.
        """
        if not any(text.strip() for text in self.texts):
            raise DataError("all texts are empty", received=self.origin)
        training = [row for row, split in enumerate(self.splits) if split in (None, "train")]
        if not training:
            raise DataError("there are no training texts", received=sorted({str(name) for name in self.splits}))
        trained = self.seen(training)
        names = self.class_names
        for row, (label, split) in enumerate(zip(self.labels, self.splits, strict=True)):
            lacking = sorted({label} - trained if isinstance(label, str) else label - trained)
            if lacking:
                raise DataError(
                    f"the {split} split has a class that is not in the training set",
                    received=f"{lacking[0]} ({self.places[row]})",
                    allowed=sorted(trained),
                )
        for name in names:
            if name not in trained:
                raise DataError("no training text has this label", received=name)
        if len(names) < 2:
            fix = (
                Advice("for a yes/no label, {}", "label_column", names[0] if names else None)
                if self.multi_label
                else None
            )
            raise DataError("a classifier needs at least two classes", received=names, fix=fix)


def list_table(
    table: str | Path | pd.DataFrame | Mapping[str, str | Path],
    *,
    text_column: str = "text",
    label_column: str = "label",
    label_separator: str | None = None,
    label_columns: Sequence[str] | None = None,
    group_column: str | None = None,
    split_column: str | None = None,
    time_column: str | None = None,
    encoding: str = "utf-8",
    quoting: Quoting = "auto",
    max_field_bytes: int = MAX_FIELD_BYTES,
    leave_unlabelled: bool = False,
    separator: str = "",
) -> TextListing:
    """List the labelled texts of a table.

    Labels are taken as text: the texts 007, NA and 1.0 keep their spelling. JSON's true becomes True, and its numbers 1
    and 1.0 are one class. A text has one class, or a set of labels with `label_separator`, with `label_columns`, or
    where the column holds lists.

    Example:
        >>> list_table("reviews.csv", label_column="sentiment").class_names
        ['bad', 'good']

    Args:
        table: a .csv, .tsv, .jsonl, .ndjson or .parquet file, a DataFrame, a mapping from `train`, `val` and `test`
            to files, or a folder that holds train.csv, val.csv and test.csv (or another suffix).
        text_column: the text of each row.
        label_column: its class, or its labels.
        label_separator: what stands between the labels of a row; nothing in the field means none of them.
        label_columns: columns of 0 and 1, one for each label, in place of `label_column`.
        group_column: rows that share this value stay on one side of the split.
        split_column: `train`, `val` or `test` for each row.
        time_column: a date or number for each row, for a split by time.
        encoding, quoting, max_field_bytes, separator: as for `tlkit.inputs.files.records.read_columns`.
        leave_unlabelled: leave out and count rows without a label instead of refusing the first one.

    Returns:
        The texts. Where there are training texts and no validation texts, these are still to be split off.

    Raises:
        ConfigError: arguments that exclude each other.
        DataError: the table, a column or a row cannot be used.
    """
    import pandas as pd

    _check_arguments(label_separator, label_columns, group_column, split_column, time_column)
    extra = [column for column in (group_column, split_column, time_column) if column]
    wanted = list(dict.fromkeys([text_column, *(label_columns or [label_column]), *extra]))
    tables: Mapping[str | None, str | Path]
    if isinstance(table, pd.DataFrame):
        parts: list[tuple[str | None, Columns]] = [(None, frame_columns(table, wanted, "the table"))]
        origin = "the table"
    else:
        tables = split_files(table)
        if split_column and None not in tables:
            raise ConfigError("a file for each split cannot be combined with split_column", received=split_column)
        reading: dict[str, Any] = {"encoding": encoding, "quoting": quoting, "separator": separator}
        reading["max_field_bytes"] = max_field_bytes
        parts = [(split, read_columns(file, wanted, **reading)) for split, file in tables.items()]
        origin = ", ".join(str(file) for file in tables.values())
    unlabelled = 0
    if leave_unlabelled and label_separator is None:
        before = sum(len(part.places) for _, part in parts)
        parts = [(split, _labelled(part, label_columns or [label_column])) for split, part in parts]
        unlabelled = before - sum(len(part.places) for _, part in parts)
        if before == unlabelled:
            raise DataError(f"no row of {origin} has a label", received=list(label_columns or [label_column]))
    places = [place for _, part in parts for place in part.places]

    def column(name: str) -> list[object]:
        return [value for _, part in parts for value in part.values[name]]

    texts = _texts(column(text_column), places, text_column, max_field_bytes)
    labels: Sequence[Label]
    if label_columns:
        labels = read_marks(label_columns, [column(name) for name in label_columns], places)
    else:
        labels = read_labels(column(label_column), places, label_column, label_separator)
    splits: list[str | None] = [split for split, part in parts for _ in part.places]
    if split_column:
        splits = _splits(column(split_column), places, split_column)
    return TextListing(
        texts,
        labels,
        leave_to_split(splits),
        [filled(value, place, group_column) for value, place in zip(column(group_column), places, strict=True)]
        if group_column
        else None,
        column(time_column) if time_column else None,
        origin,
        places,
        tuple(label_columns or ()),
        unlabelled,
    )


def _labelled(part: Columns, columns: Sequence[str]) -> Columns:
    """Return the rows that have something in one of the columns."""
    rows = [
        row
        for row in range(len(part.places))
        if not all(is_missing(value) or value == "" for value in (part.values[name][row] for name in columns))
    ]
    return part.only(rows)


def list_texts(
    table: str | Path | pd.DataFrame,
    *,
    text_column: str = "text",
    encoding: str = "utf-8",
    quoting: Quoting = "auto",
    max_field_bytes: int = MAX_FIELD_BYTES,
) -> tuple[list[str], list[str]]:
    """Read the texts of a table that needs no labels.

    Example:
        >>> texts, places = list_texts("in.csv")
        >>> places[0]
        'in.csv row 2'

    Args:
        table: a file or DataFrame, as for `list_table`.
        text_column, encoding, quoting, max_field_bytes: as for `list_table`.

    Returns:
        The texts, and where each stands, for messages.

    Raises:
        DataError: the table, the column or a text cannot be used.
    """
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        part = frame_columns(table, [text_column], "the table")
    else:
        part = read_columns(table, [text_column], encoding=encoding, quoting=quoting, max_field_bytes=max_field_bytes)
    return _texts(part.values[text_column], part.places, text_column, max_field_bytes), part.places


def split_files(table: str | Path | Mapping[str, str | Path]) -> dict[str | None, str | Path]:
    """Find the file of each split: of a mapping, or of a folder with train.csv and the like; a file is `{None: file}`.

    Raises:
        DataError: an unknown split, two files for one, or none for training.
    """
    found: dict[str | None, str | Path] = {}
    if isinstance(table, Mapping):
        named = [(str(name), file) for name, file in table.items()]
    elif Path(table).expanduser().is_dir():
        files = sorted(Path(table).expanduser().iterdir())
        named = [(file.stem, file) for file in files if file.suffix.lower() in SUFFIXES and file.is_file()]
        named = [(name, file) for name, file in named if name.lower() in SPLIT_NAMES]
        if not named:
            raise DataError(
                "the folder contains no table for training",
                received=str(table),
                allowed="train.csv (or .tsv, .jsonl, .ndjson, .parquet), and optionally val.csv and test.csv",
                fix="use texts_from_folder for a folder per class",
            )
    else:
        return {None: table}
    for name, file in named:
        split = SPLIT_NAMES.get(name.lower())
        if split is None:
            raise DataError(
                "unknown split", received=name, allowed="train, val, test", fix=did_you_mean(name, SPLIT_NAMES) or None
            )
        if split in found:
            raise DataError(f"there are two files for the {split} split", received=[str(found[split]), str(file)])
        found[split] = file
    return {name: found[name] for name in ("train", "val", "test") if name in found}


def leave_to_split(splits: list[str | None]) -> list[str | None]:
    """Mark the training rows as still to be split where there are no validation rows."""
    return splits if "val" in splits else [None if split == "train" else split for split in splits]


def checked_text(value: object, place: str, column: str, max_bytes: int) -> str:
    """Give a text as it is.

    Raises:
        DataError: it is no text, too long, or no Unicode.
    """
    if not isinstance(value, str):
        kind = "nothing" if is_missing(value) else f"{type(value).__name__} {str(value)[:40]}"
        fix = 'write an empty text as ""' if is_missing(value) else "convert the column to text first"
        raise DataError(f"{place} has no text in column {column!r}", received=kind, allowed="text", fix=fix)
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            code = f"U+{ord(value[error.start]):04X}"
            raise DataError(
                f"{place} holds half of a surrogate pair, which is not a character", received=code
            ) from error
    if len(value) > max_bytes:
        raise DataError(f"{place} is longer than {max_bytes:,} bytes", allowed="shorter texts")
    return value


def _texts(values: list[object], places: list[str], column: str, max_bytes: int) -> list[str]:
    return [checked_text(value, place, column, max_bytes) for value, place in zip(values, places, strict=True)]


def _splits(values: list[object], places: list[str], column: str) -> list[str | None]:
    splits: list[str | None] = []
    for value, place in zip(values, places, strict=True):
        split = SPLIT_NAMES.get(str(value).strip().lower())
        if split is None:
            raise DataError(
                f"{place} has an unknown value in column {column!r}",
                received=str(value),
                allowed="train, val, test",
            )
        splits.append(split)
    return splits


def _check_arguments(
    separator: str | None,
    label_columns: Sequence[str] | None,
    group_column: str | None,
    split_column: str | None,
    time_column: str | None,
) -> None:
    check_several(separator, label_columns)
    if time_column and (group_column or split_column):
        raise ConfigError(
            "a split by time cannot be combined with a split by group or by column",
            received=time_column,
            fix="remove one of them",
        )
