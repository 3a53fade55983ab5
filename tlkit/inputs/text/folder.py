"""Texts in a folder for each class, as in aclImdb."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from tlkit.errors import Advice, DataError, did_you_mean
from tlkit.inputs.files.table_files import (
    MAX_FIELD_BYTES,
    OTHER_ENCODING,
    SUFFIXES,
    check_encoding,
    check_is_text,
    text_codec,
)
from tlkit.inputs.text.listing import SPLIT_NAMES, TextListing, leave_to_split

_UNLABELLED = {"unsup", "unsupervised", "unlabelled", "unlabeled"}
_log = logging.getLogger("tlkit")


def list_folder(path: str | Path, *, encoding: str = "utf-8", max_field_bytes: int = MAX_FIELD_BYTES) -> TextListing:
    """List the texts of `FOLDER/class/*.txt` or `FOLDER/{train,val,test}/class/*.txt`.

    Hidden files and files of other kinds are passed over, and so is a folder of unlabelled texts (aclImdb's `unsup`);
    texts may lie deeper inside a class folder. Where there is a train folder and no val folder, validation texts are
    split off later.

    Example:
        >>> list_folder("aclImdb").class_names
        ['neg', 'pos']

    Args:
        path: the folder.
        encoding: of the files, any codec that Python has; a byte order mark is passed over.
        max_field_bytes: a larger file is refused.

    Returns:
        The texts, in the order of splits, classes and file names.

    Raises:
        ConfigError: there is no such codec.
        DataError: no such folder, no class folders, a class folder without texts, or a file that cannot be read.
    """
    check_encoding(encoding)
    files = labelled_files(path)
    return TextListing(
        [_read(file, encoding, max_field_bytes) for _, _, file in files],
        [label for _, label, _ in files],
        leave_to_split([split for split, _, _ in files]),
        None,
        None,
        str(path),
        [str(file) for _, _, file in files],
    )


def labelled_files(path: str | Path) -> list[tuple[str | None, str, Path]]:
    """Return the split, the class and the path of each text of a folder, without reading it.

    Raises:
        DataError: no such folder, no class folders, or a class folder without texts.
    """
    root = Path(path).expanduser()
    if not root.exists():
        near = did_you_mean(root.name, [item.name for item in root.parent.glob("*")] if root.parent.is_dir() else [])
        raise DataError("the data folder does not exist", received=str(path), fix=near or None)
    if not root.is_dir():
        raise DataError("the data is not a folder", received=str(path), fix="use texts_from_table for a table")
    folders = _subfolders(root)
    if not folders:
        tables = sorted(item.name for item in root.iterdir() if item.suffix.lower() in SUFFIXES)
        raise DataError(
            "the data folder contains no class folders",
            received=str(path),
            allowed="one folder for each class, or train/, val/ and test/ with one folder for each class",
            fix=f"use texts_from_table for {tables[0]}" if tables else None,
        )
    by_split = {SPLIT_NAMES.get(folder.name.lower()): folder for folder in folders}
    if "train" in by_split and None not in by_split:
        order = [name for name in ("train", "val", "test") if name in by_split]
        roots: Mapping[str | None, Path] = {name: by_split[name] for name in order}
    else:
        roots = {None: root}
    files: list[tuple[str | None, str, Path]] = []
    for split, folder in roots.items():
        files += [(split, label, file) for label, file in _files_of_classes(folder)]
    return files


def _files_of_classes(root: Path) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for folder in _subfolders(root):
        if folder.name.lower() in _UNLABELLED:
            _log.info("skipped %s: its texts have no label", folder)
            continue
        inside = [file for file in sorted(folder.rglob("*")) if file.is_file() and not _hidden(file, folder)]
        texts = [file for file in inside if file.suffix.lower() == ".txt"]
        if not texts:
            raise DataError("a class folder contains no .txt files", received=str(folder))
        if len(texts) < len(inside):
            _log.info("skipped %d files in %s that are not .txt", len(inside) - len(texts), folder)
        found += [(folder.name, file) for file in texts]
    return found


def _read(file: Path, encoding: str, most: int) -> str:
    check_is_text(file, encoding)
    if file.stat().st_size > most:
        raise DataError(f"{file} is longer than {most:,} bytes", allowed="shorter texts")
    content = file.read_bytes()
    try:
        text = content.decode(text_codec(encoding))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file} contains a byte that is not {encoding} in line {line}, at byte {error.start + 1}",
            received=f"0x{content[error.start]:02x}",
            fix=OTHER_ENCODING,
        ) from error
    if "\0" in text:
        raise DataError(
            f"{file} contains NUL bytes: the file is not text", fix=Advice("if it is UTF-16, {}", "encoding", "utf-16")
        )
    return text


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _subfolders(root: Path) -> list[Path]:
    return sorted(item for item in root.iterdir() if item.is_dir() and not item.name.startswith("."))
