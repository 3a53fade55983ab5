"""Walk a folder of images: what each entry is by its content, never by its name alone, and counts that add up.

Training, evaluation, prediction and scoring all use this walk. It streams: the names of one folder are held at once,
and of each file only the first bytes are read.
"""
# Strings all along: a Path for each of a million files would take longer than looking at them.
# ruff: noqa: PTH109, PTH112, PTH114, PTH116, PTH117, PTH118, PTH120, PTH121, PTH122, PTH123

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tlkit.errors import DataError
from tlkit.inputs.image.formats import ACCEPTED, HEAD, SUFFIXES, UNSUPPORTED, format_of, format_of_suffix, not_accepted
from tlkit.inputs.items import counts_line as counts_line

Use = Literal["image", "unusable", "left_out"]
HIDDEN, SYSTEM = "hidden files", "system files"
LINKED, DANGLING = "linked folders", "links that lead to no file"
UNREADABLE, EMPTY = "files that cannot be opened", "empty files"
NO_FILE, OTHER, UNSUPPORTED_IMAGE = "no regular files", "files that are no images", "images of other formats"
BROKEN, DAMAGED = "images that cannot be decoded", "damaged images"
OUTSIDE, REPEATED = "images outside of class folders", "copies of other images"
EXCLUDED = "images that data.exclude lists"
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
_SYSTEM_FOLDERS = {"@eadir", "__macosx", "#recycle", "$recycle.bin", "system volume information", "lost+found"}
_SHOWN = 3


class Entry(NamedTuple):
    """One entry of a folder.

    Attributes:
        name: its path relative to the folder that is walked, with "/" between parts.
        use: "image" for a file that begins like a JPEG, PNG, BMP, GIF or WebP; "unusable" for one that is an image by
            its name or content and cannot be read or decoded; "left_out" for everything else.
        reason: why it is not an image that can be used, one of this module's constants; empty for an image.
        problem: the same in one clause about this file; empty for an image and for what is left out.
        size: in bytes; 0 where unknown.
        changed: time of change in nanoseconds; 0 where unknown.
    """

    name: str
    use: Use
    reason: str = ""
    problem: str = ""
    size: int = 0
    changed: int = 0


class Tally:
    """Counts what a walk found: found = used + left out by reason.

    Example:
        >>> tally = Tally()
        >>> for entry in walk("photos"):
        ...     tally.add(entry)
        >>> tally.to_dict()
        {'found': 17, 'used': 13, 'left_out': {'hidden files': 3, 'linked folders': 1}}

    Attributes:
        found: entries.
        left_out: how many are left out, by reason.
        examples: the first few names of them, by reason.
    """

    def __init__(self) -> None:
        self.found = 0
        self.left_out: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    @property
    def used(self) -> int:
        """How many entries are used."""
        return self.found - self.left_out.total()

    def add(self, entry: Entry, root: str = "") -> None:
        """Count an entry; an unusable one as used, until `leave_out` says otherwise."""
        self.found += 1
        if entry.use == "left_out":
            self.leave_out(entry.reason, os.path.join(root, entry.name))

    def leave_out(self, reason: str, name: str) -> None:
        """Count one of the entries found as left out."""
        self.left_out[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < _SHOWN:
            shown.append(name)

    def merge(self, other: Tally) -> None:
        """Add the counts of another walk."""
        self.found += other.found
        for reason, count in other.left_out.items():
            self.left_out[reason] += count
            self.examples[reason] = [*self.examples.get(reason, []), *other.examples.get(reason, [])][:_SHOWN]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: found, used, left_out by reason."""
        return {"found": self.found, "used": self.used, "left_out": dict(sorted(self.left_out.items()))}

    def __str__(self) -> str:
        return counts_line(self.to_dict(), self.examples)


def walk(root: str | Path, inside: str = "", *, without: Collection[str] = ()) -> Iterator[Entry]:
    """Give every entry of a folder and of the folders inside, in the order of `sorted(root.rglob("*"))`.

    Folders themselves are no entries, but for links to folders, which are not followed. The files of hidden folders and
    of folders that a system makes (`@eaDir`, `__MACOSX`) are entries that are left out.

    Example:
        >>> [entry.name for entry in walk("photos") if entry.use == "image"]
        ['ants/1.jpg', 'bees/2']

    Args:
        root: the folder.
        inside: begin at this folder in it, which may be a link; names stay relative to `root`.
        without: names of entries directly in that folder that are passed over.

    Raises:
        DataError: a folder cannot be listed.
    """
    yield from _walk(str(root), inside, "", without)


def look_at(path: str | Path, name: str | None = None) -> Entry:
    """Look at one file that a user has named: it is an image or unusable, never left out.

    Args:
        path: the file.
        name: what the entry is called; the path as it is written when left out.
    """
    return _look(os.fspath(path), str(path) if name is None else name, insist=True)


def is_class_folder(name: str) -> bool:
    """Return whether a folder of this name may be a class: it is neither hidden nor made by a system."""
    return not name.startswith(".") and name.lower() not in _SYSTEM_FOLDERS


def shown(path: str | Path) -> str:
    """Return a path as a person would write it here: relative where config.toml's folder was joined to a relative path.

    Example:
        >>> shown("/home/me/bees/../photos/ants/1.jpg")  # standing in /home/me/bees
        '../photos/ants/1.jpg'
    """
    text, here = os.fspath(path), os.getcwd()
    if not os.path.isabs(text) or not text.startswith(here.rstrip(os.sep) + os.sep):
        return text
    relative = os.path.relpath(text)
    folders = os.path.dirname(text), os.path.dirname(relative) or "."
    try:
        is_same = os.path.samefile(*folders)  # ".." behind a link leads elsewhere
    except OSError:
        return text
    return relative if is_same else text


def _walk(root: str, inside: str, hidden: str, without: Collection[str] = ()) -> Iterator[Entry]:
    folder = os.path.join(root, inside) if inside else root
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in entries)
    except OSError as error:
        if hidden:  # nobody misses what is in it
            yield Entry(inside, "left_out", hidden)
            return
        raise DataError(
            f"{folder} cannot be listed: {error.strerror}", fix="make it readable, or remove it from the data"
        ) from error
    for name, is_folder, is_link in found:
        if name in without:
            continue
        relative = f"{inside}/{name}" if inside else name
        reason = hidden or _ignored(name, is_folder)
        if is_folder:
            yield from _walk(root, relative, reason)
        elif reason:
            yield Entry(relative, "left_out", reason)
        else:
            path = os.path.join(root, relative)
            if is_link and os.path.isdir(path):
                yield Entry(relative, "left_out", LINKED)
            else:
                yield _look(path, relative, insist=False)


def _ignored(name: str, is_folder: bool) -> str:
    if name.lower() in (_SYSTEM_FOLDERS if is_folder else _SYSTEM_FILES):
        return SYSTEM
    return HIDDEN if name.startswith(".") else ""


def _look(path: str, name: str, *, insist: bool) -> Entry:
    """Read the first bytes of a file; `insist` makes an entry unusable that would be left out otherwise."""
    suffix = os.path.splitext(path)[1].lower()

    def bad(reason: str, problem: str, is_image: bool, size: int = 0, changed: int = 0) -> Entry:
        unusable = insist or is_image
        return Entry(name, "unusable" if unusable else "left_out", reason, problem if unusable else "", size, changed)

    # A link or a locked file without a suffix may well have been an image.
    by_name = suffix in SUFFIXES
    may_be = by_name or not suffix
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP) and os.path.islink(path):
            return bad(DANGLING, "is a broken link", may_be)
        if error.errno == errno.ENOENT:
            return bad(UNREADABLE, "does not exist", may_be)
        return bad(UNREADABLE, f"cannot be opened ({error.strerror})", may_be)
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for somebody to write to it
        return bad(NO_FILE, "is not a regular file", is_image=False)
    size, changed = status.st_size, status.st_mtime_ns
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(HEAD)
    except OSError as error:
        return bad(UNREADABLE, f"cannot be opened ({error.strerror})", may_be, size, changed)
    if not head:
        return bad(EMPTY, "is empty (0 bytes)", by_name, size, changed)
    kind = format_of(head)
    if kind in ACCEPTED:
        return Entry(name, "image", size=size, changed=changed)
    is_image = kind in UNSUPPORTED or by_name
    reason = UNSUPPORTED_IMAGE if kind in UNSUPPORTED else BROKEN if by_name else OTHER
    problem = not_accepted(kind, path)
    if not kind and (promised := format_of_suffix(suffix)) in ACCEPTED:
        problem = f"is not an image although its name ends like a {promised} (known formats: {', '.join(ACCEPTED)})"
    return bad(reason, problem, is_image, size, changed)
