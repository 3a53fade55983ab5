"""Which photos there are and what they show: from folders or from a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.data.class_names import composed
from tlkit.errors import DataError, did_you_mean

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
_NO_PHOTOS = {"thumbs.db", "desktop.ini"}


@dataclasses.dataclass(frozen=True)
class Listing:
    """Photos with labels, before any is opened.

    Attributes:
        paths: one file a photo.
        labels: its class name, in Unicode's normal form NFC, however the folder writes it.
        splits: `"train"`, `"val"`, `"test"`, or None where the photo is to be split by tlkit.
        groups: the group of each photo, or None.
        origin: where the listing came from, for messages.
    """

    paths: list[Path]
    labels: list[str]
    splits: list[str | None]
    groups: list[str] | None
    origin: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", [composed(label) for label in self.labels])

    @property
    def class_names(self) -> list[str]:
        """The labels that occur, sorted as text: "10" comes before "2"."""
        return sorted(set(self.labels))


def list_folder(path: str | Path) -> Listing:
    """List the photos of `FOLDER/class/photo` or `FOLDER/{train,val,test}/class/photo`.

    Hidden files are passed over; photos may lie deeper inside a class folder. Where there is a train folder and
    no val folder, validation photos are split off later.

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
            "the data folder holds no class folders",
            received=str(path),
            allowed="one folder for each class, or train/, val/ and test/ with one folder for each class",
        )
    by_split = {SPLIT_FOLDERS.get(folder.name.lower(), ""): folder for folder in folders}
    if "train" in by_split and "" not in by_split:
        return _list_split_folders(root, by_split)
    return _list_classes({None: root}, str(path))


def _list_split_folders(root: Path, by_split: dict[str, Path]) -> Listing:
    listing = _list_classes({name: by_split[name] for name in ("train", "val", "test") if name in by_split}, str(root))
    trained = {label for label, split in zip(listing.labels, listing.splits, strict=True) if split == "train"}
    for label, split in zip(listing.labels, listing.splits, strict=True):
        if label not in trained:
            raise DataError(f"the {split} folder has a class that the train folder lacks", received=label)
    if "val" in by_split:
        return listing
    return dataclasses.replace(listing, splits=[None if split == "train" else split for split in listing.splits])


def _list_classes(roots: Mapping[Any, Path], origin: str) -> Listing:
    paths: list[Path] = []
    labels: list[str] = []
    splits: list[str | None] = []
    for split, root in roots.items():
        folders = _subfolders(root)
        if len(folders) < 2 and split in (None, "train"):
            raise DataError(
                "a classifier needs at least two classes",
                received=[folder.name for folder in folders] or str(root),
                allowed="one folder for each class",
            )
        for folder in folders:
            photos = sorted(
                file
                for file in folder.rglob("*")
                if file.is_file()
                and file.name.lower() not in _NO_PHOTOS
                and not any(part.startswith(".") for part in file.relative_to(folder).parts)
            )
            if not photos:
                raise DataError("a class folder holds no files", received=str(folder))
            paths += photos
            labels += [folder.name] * len(photos)
            splits += [split] * len(photos)
    return Listing(paths, labels, splits, None, origin)


def _subfolders(root: Path) -> list[Path]:
    return sorted(item for item in root.iterdir() if item.is_dir() and not item.name.startswith("."))


def list_table(
    table: str | Path | pd.DataFrame,
    *,
    path_column: str = "path",
    label_column: str = "label",
    group_column: str | None = None,
    split_column: str | None = None,
    root: str | Path | None = None,
) -> Listing:
    """List the photos of a CSV or Parquet file or a DataFrame.

    Args:
        table: rows with at least a path and a label.
        path_column: file of each photo, absolute or relative to `root`.
        label_column: class of each photo; any value, taken as text.
        group_column: rows that share this value stay on one side of the split.
        split_column: `train`, `val` or `test` for each row; split by tlkit when left out.
        root: folder that relative paths start from; the table's own folder when left out.

    Raises:
        DataError: the table or a column is missing, a row lacks a path or label, or a photo does not exist.
    """
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        frame, origin, start = table, "the table", Path(root or ".")
    else:
        file = Path(table).expanduser()
        frame, origin, start = _read_table(file), str(table), Path(root) if root else file.parent
    if len(frame) == 0:
        raise DataError("the table has no rows", received=origin)
    wanted = [path_column, label_column, *(column for column in (group_column, split_column) if column)]
    for column in wanted:
        if column not in frame.columns:
            have = [str(name) for name in frame.columns]
            raise DataError(f"the table has no column {column!r}", allowed=have, fix=did_you_mean(column, have) or None)
        empty = frame[column].isna() | (frame[column].astype(str).str.strip() == "")
        if empty.any():
            raise DataError(
                f"column {column!r} is empty in {int(empty.sum())} rows",
                received=f"first in data row {int(empty.to_numpy().argmax()) + 1}",
            )
    paths = [start.expanduser() / value for value in frame[path_column].astype(str)]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        shown = ", ".join(str(path) for path in missing[:5])
        raise DataError(
            f"{len(missing)} of {len(paths)} photos of the table do not exist",
            received=shown + (", …" if len(missing) > 5 else ""),
            fix=f"relative paths start from {start}",
        )
    splits: list[str | None] = [None] * len(paths)
    if split_column:
        splits = [SPLIT_FOLDERS.get(str(value).lower()) for value in frame[split_column]]
        if None in splits:
            received = frame[split_column].iloc[splits.index(None)]
            raise DataError(f"unknown value in column {split_column!r}", received=received, allowed="train, val, test")
        if "val" not in splits:
            splits = [None if split == "train" else split for split in splits]
    labels = [str(value).strip() for value in frame[label_column]]
    if len(set(labels)) < 2:
        raise DataError("a classifier needs at least two classes", received=sorted(set(labels)))
    groups = [str(value) for value in frame[group_column]] if group_column else None
    return Listing(paths, labels, splits, groups, origin)


def _read_table(file: Path) -> pd.DataFrame:
    import pandas as pd

    if not file.is_file():
        raise DataError("there is no such table", received=str(file))
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise DataError("unknown kind of table", received=str(file), allowed=".csv, .parquet")
    try:
        if suffix == ".parquet":
            return pd.read_parquet(file)
        # Everything is text: a class called NA, 007 or 1.0 keeps its name.
        return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parse errors are ValueErrors
        raise DataError(f"the table cannot be read: {str(error).splitlines()[0]}", received=str(file)) from error
