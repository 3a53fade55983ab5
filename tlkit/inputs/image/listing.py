"""Which photos there are and what they show: from folders or from a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.errors import DataError, did_you_mean
from tlkit.inputs.files.records import frame_columns, read_columns
from tlkit.inputs.image.walk import OUTSIDE, Entry, Tally, is_class_folder, look_at, shown, walk
from tlkit.inputs.label_sets import (
    Label,
    ListedLabels,
    check_several,
    class_text,
    is_list,
    is_missing,
    read_labels,
    read_marks,
    seen,
)

if TYPE_CHECKING:
    import pandas as pd

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_NAMED = 4  # folders, in a message
_TABLES = (".csv", ".parquet")


@dataclasses.dataclass(frozen=True)
class Listing(ListedLabels):
    """Photos with labels, before any is decoded.

    Attributes:
        paths: one file a photo.
        labels: its class name, or the set of its labels where a photo may have several; in Unicode's normal form NFC,
            however the folder writes it.
        splits: `"train"`, `"val"`, `"test"`, or None where the photo is to be split by tlkit.
        groups: the group of each photo, or None.
        origin: where the listing came from, for messages.
        unusable: row -> its entry, where the file cannot be read or its first bytes show that it cannot be decoded.
        sizes: bytes of each file; empty where unknown.
        tally: how many entries were found, and what is left out by reason.
        remarks: what to say about the folders, one sentence each.
        unlabelled: how many rows of a table were left out because they have no label.
        label_columns: the labels in the order of their columns, where each has a column of its own.
    """

    paths: list[Path]
    labels: Sequence[Label]
    splits: list[str | None]
    groups: list[str] | None
    origin: str
    unusable: Mapping[int, Entry] = dataclasses.field(default_factory=dict)
    sizes: list[int] = dataclasses.field(default_factory=list)
    tally: Tally = dataclasses.field(default_factory=Tally)
    remarks: tuple[str, ...] = ()
    unlabelled: int = 0
    label_columns: tuple[str, ...] = ()

    def only(self, rows: list[int], split: str) -> Listing:
        """Return some of the rows, all of them in one split; the others are counted as neither found nor left out."""
        tally = Tally()
        tally.merge(self.tally)
        tally.found -= len(self.paths) - len(rows)
        return dataclasses.replace(
            self,
            paths=[self.paths[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            splits=[split] * len(rows),
            groups=None,
            unusable={place: self.unusable[row] for place, row in enumerate(rows) if row in self.unusable},
            sizes=[self.sizes[row] for row in rows] if self.sizes else [],
            tally=tally,
        )


def list_folder(path: str | Path) -> Listing:
    """List the photos of `FOLDER/class/photo` or `FOLDER/{train,val,test}/class/photo`.

    Files are identified by content; see `tlkit.inputs.image.walk`. Photos may lie deeper inside a class folder.
    Where there is a train folder and no val folder, validation photos are split off later.

    Raises:
        DataError: no such folder, no class folders, fewer than two classes, an empty class, or a class that only the
            validation or test folder has.
    """
    root = Path(path).expanduser()
    if not root.exists():
        near = did_you_mean(root.name, [item.name for item in root.parent.glob("*")] if root.parent.is_dir() else [])
        raise DataError("there is no such data folder", received=str(path), fix=near or None)
    if not root.is_dir():
        raise DataError("the data is not a folder", received=str(path), allowed="a folder, or a .csv or .parquet table")
    folders = _subfolders(root)
    if not folders:
        raise DataError(
            "the data folder contains no class folders",
            received=str(path),
            allowed="one folder for each class, or train/, val/ and test/ with one folder for each class",
        )
    by_split = {SPLIT_FOLDERS.get(folder.lower(), ""): folder for folder in folders}
    if "train" in by_split and "" not in by_split:
        return _list_split_folders(root, by_split)
    return _list_classes(root, {None: ""})


def _list_split_folders(root: Path, by_split: dict[str, str]) -> Listing:
    listing = _list_classes(root, {name: by_split[name] for name in ("train", "val", "test") if name in by_split})
    trained = {label for label, split in zip(listing.labels, listing.splits, strict=True) if split == "train"}
    for label, split in zip(listing.labels, listing.splits, strict=True):
        if label not in trained:
            raise DataError(f"the {split} folder has a class that the train folder lacks", received=label)
    if "val" in by_split:
        return listing
    return dataclasses.replace(listing, splits=[None if split == "train" else split for split in listing.splits])


def _list_classes(root: Path, roots: Mapping[Any, str]) -> Listing:
    """List `root/[split/]class/photo`; `roots` has the name of each split's folder, or "" for `root` itself."""
    paths: list[Path] = []
    labels: list[str] = []
    splits: list[str | None] = []
    sizes: list[int] = []
    unusable: dict[int, Entry] = {}
    tally, where = Tally(), shown(root)
    deeper: dict[str, int] = {}
    for split, part in roots.items():
        folders = _subfolders(root / part)
        if len(folders) < 2 and split in (None, "train"):
            raise DataError(
                "a classifier needs at least two classes",
                received=folders or str(root / part),
                allowed="one folder for each class",
                fix=_inside(root / part, folders),
            )
        for label in folders:
            inside = f"{part}/{label}" if part else label
            had = len(paths)
            for entry in walk(root, inside):
                tally.add(entry, where)
                if entry.use == "left_out":
                    continue
                if entry.use == "unusable":
                    unusable[len(paths)] = entry
                paths.append(root / entry.name)
                sizes.append(entry.size)
                folder = entry.name.rpartition("/")[0]
                if folder != inside:
                    deeper[folder] = deeper.get(folder, 0) + 1
            count = len(paths) - had
            if not count:
                raise DataError(
                    f"a class folder contains no {'images' if any((root / inside).iterdir()) else 'files'}",
                    received=str(root / inside),
                    fix="remove the folder, or put images of the class into it",
                )
            labels += [label] * count
            splits += [split] * count
        _count_outside(root, part, folders, tally)
    if any(roots.values()):
        _count_outside(root, "", list(roots.values()), tally)
    remarks = _on_nesting(deeper, len(paths), labels)
    return Listing(paths, labels, splits, None, str(root), unusable, sizes, tally, remarks)


def _count_outside(root: Path, part: str, folders: list[str], tally: Tally) -> None:
    """Count what lies beside class or split folders; images there have no class."""
    for entry in walk(root, part, without=folders):
        tally.add(entry, shown(root))
        if entry.use != "left_out":
            tally.leave_out(OUTSIDE, shown(root / entry.name))


def _on_nesting(deeper: Mapping[str, int], count: int, labels: list[str]) -> tuple[str, ...]:
    if not deeper:
        return ()
    named = ", ".join(list(deeper)[:_NAMED]) + (", …" if len(deeper) > _NAMED else "")
    inner = sum(deeper.values())
    classes = sorted(set(labels))
    listed = ", ".join(classes[:_NAMED]) + (", …" if len(classes) > _NAMED else "")
    return (
        f"{'all' if inner == count else 'some'} photos lie in folders inside the class folders "
        f"({inner} in {len(deeper)} folders: {named}); the outer folder is used as the class: {listed}; if the inner "
        "folders are the classes, move them up, or use a table of paths and labels",
    )


def _inside(root: Path, folders: list[str]) -> str | None:
    """Advise to name the only folder where the classes lie in it."""
    inner = _subfolders(root / folders[0]) if len(folders) == 1 else []
    return f"if its folders are the classes ({', '.join(inner[:_NAMED])}), pass {root / folders[0]}" if inner else None


def _subfolders(root: Path) -> list[str]:
    return sorted(item.name for item in root.iterdir() if is_class_folder(item.name) and item.is_dir())


def list_table(
    table: str | Path | pd.DataFrame,
    *,
    path_column: str = "path",
    label_column: str = "label",
    label_separator: str | None = None,
    label_columns: Sequence[str] | None = None,
    group_column: str | None = None,
    split_column: str | None = None,
    root: str | Path | None = None,
    separator: str = "",
    encoding: str = "utf-8",
    leave_unlabelled: bool = False,
) -> Listing:
    """List the photos of a CSV or Parquet file or a DataFrame.

    Args:
        table: rows with at least a path and a label.
        path_column: file of each photo, absolute or relative to `root`.
        label_column: class of each photo; any value, taken as text. Lists (of a Parquet file) are sets of labels.
        label_separator: what stands between the labels of a row; nothing in the field means none of them.
        label_columns: columns of 0 and 1, one for each label, in place of `label_column`.
        group_column: rows that share this value stay on one side of the split.
        split_column: `train`, `val` or `test` for each row; split by tlkit when left out.
        root: folder that relative paths start from; the table's own folder when left out.
        separator: between the fields of a CSV; a comma when empty.
        encoding: of a CSV, any codec that Python has.
        leave_unlabelled: leave out and count rows without a label instead of refusing them.

    Raises:
        ConfigError: `label_separator` and `label_columns` exclude each other, or cannot be used.
        DataError: the table or a column is missing, a row lacks a path or label, or a photo does not exist.
    """
    import pandas as pd

    check_several(label_separator, label_columns)
    of_labels = list(label_columns or [label_column])
    wanted = list(dict.fromkeys([path_column, *of_labels, *filter(None, (group_column, split_column))]))
    if isinstance(table, pd.DataFrame):
        part, origin, start = frame_columns(table, wanted, "the table"), "the table", Path(root or ".")
    else:
        origin, start = str(table), Path(root or Path(table).expanduser().parent)
        if Path(table).suffix.lower() not in _TABLES:
            raise DataError("unknown table format", received=origin, allowed=_TABLES)
        # Everything of a CSV is text: a class called NA, 007 or 1.0 keeps its name.
        part = read_columns(table, wanted, separator=separator, encoding=encoding)
    one_label = not (label_separator or label_columns or any(map(is_list, part.values.get(label_column, ()))))
    unlabelled = 0
    if leave_unlabelled and (one_label or label_columns):
        given = [
            row for row in range(len(part.places)) if not all(_is_empty(part.values[name][row]) for name in of_labels)
        ]
        unlabelled, part = len(part.places) - len(given), part.only(given)
        if not given:
            raise DataError(f"no row of {origin} has a label", received=of_labels)
    for column in wanted:
        empty = [place for place, value in zip(part.places, part.values[column], strict=True) if _is_empty(value)]
        if empty and (one_label or column not in of_labels):
            first = empty[0].removeprefix(f"{origin} ")
            raise DataError(f"column {column!r} is empty in {len(empty)} rows", received=f"first in {first}")
    paths = [start.expanduser() / str(value) for value in part.values[path_column]]
    check_paths(paths, start)
    splits: list[str | None] = [None] * len(paths)
    if split_column:
        splits = [SPLIT_FOLDERS.get(str(value).lower()) for value in part.values[split_column]]
        if None in splits:
            received = part.values[split_column][splits.index(None)]
            raise DataError(f"unknown value in column {split_column!r}", received=received, allowed="train, val, test")
        if "val" not in splits:
            splits = [None if split == "train" else split for split in splits]
    if label_columns:
        labels = read_marks(label_columns, [part.values[name] for name in label_columns], part.places)
    else:
        labels = read_labels(part.values[label_column], part.places, label_column, label_separator)
    found = seen(labels)
    if not leave_unlabelled:  # what is only measured may have fewer
        if len(found) < 2:
            raise DataError("a classifier needs at least two classes", received=sorted(found))
        for name in label_columns or ():
            if name not in found:
                raise DataError("no photo has this label", received=name, fix="remove its column from label_columns")
    groups = [class_text(value) for value in part.values[group_column]] if group_column else None
    return Listing(
        paths, labels, splits, groups, origin, unlabelled=unlabelled, label_columns=tuple(label_columns or ()),
        **files_of(paths),
    )  # fmt: skip


def files_of(paths: Sequence[Path]) -> dict[str, Any]:
    """Look at the files of a listing: its `unusable`, `sizes` and `tally`."""
    tally, entries = Tally(), [look_at(path) for path in paths]
    for entry in entries:
        tally.add(entry)
    unusable = {row: entry for row, entry in enumerate(entries) if entry.use == "unusable"}
    return {"unusable": unusable, "sizes": [entry.size for entry in entries], "tally": tally}


def check_paths(paths: Sequence[Path], start: Path) -> None:
    """Refuse photos that are not there.

    Raises:
        DataError: naming the first of them, and where relative paths start from.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        named = ", ".join(str(path) for path in missing[:5])
        raise DataError(
            f"{len(missing)} of {len(paths)} photos of the table do not exist",
            received=named + (", …" if len(missing) > 5 else ""),
            fix=f"relative paths are relative to {start}",
        )


def _is_empty(value: object) -> bool:
    return is_missing(value) or not str(value).strip()
