"""A cache of weights that several processes can write. A crash or a full disk leaves it unchanged."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from tlkit.errors import WeightsError

_LOCK_SECONDS = 1800


def default_folder() -> Path:
    """Return "weights" in $TLKIT_CACHE, else in $XDG_CACHE_HOME/tlkit, else in ~/.cache/tlkit."""
    own = os.environ.get("TLKIT_CACHE")
    if own:
        return Path(own).expanduser() / "weights"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tlkit" / "weights"


@contextlib.contextmanager
def locked(folder: Path, seconds: float = _LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock of the folder: one process downloads, and others wait and use its files.

    Args:
        folder: is made if it does not exist.
        seconds: how long to wait for the lock.

    Raises:
        WeightsError: another process kept the lock for longer than that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / ".lock", timeout=seconds):
            for left in folder.glob(".tmp-*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            yield
    except filelock.Timeout as error:
        raise WeightsError(
            f"another process has been writing to {folder} for more than {seconds:g} seconds",
            fix="stop it, or wait and try again",
        ) from error


def sidecar(path: Path) -> Path:
    """Return the path of the file that holds the sha256 of `path`."""
    return path.with_name(path.name + ".sha256")


def write(path: Path, writer: Callable[[Path], None]) -> None:
    """Write a file and its SHA-256. Readers see both complete, or the old ones.

    Example:
        >>> write(folder / "a.bin", lambda temporary: temporary.write_bytes(b"abc"))

    Args:
        path: the file to make or replace; its folder exists.
        writer: gets the path of a temporary file beside it and writes the content there.

    Raises:
        OSError: the disk is full or not writable; then nothing has changed.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tmp-") as name:
        content, digest = Path(name) / path.name, Path(name) / "sha256"
        writer(content)
        digest.write_text(f"{sha256_of(content)}  {path.name}\n", encoding="ascii")
        for file in (content, digest):
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())
        content.replace(path)
        digest.replace(sidecar(path))


def write_folder(path: Path, writer: Callable[[Path], None]) -> None:
    """Write a folder. Readers see it complete or not at all.

    Example:
        >>> write_folder(folder / "encoder", lambda temporary: (temporary / "a.bin").write_bytes(b"abc"))

    Args:
        path: the folder to make or replace; the folder above it exists.
        writer: gets the path of an empty folder beside it and fills that.

    Raises:
        OSError: the disk is full or not writable; then nothing has changed.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tmp-") as name:
        content = Path(name) / path.name
        content.mkdir()
        writer(content)
        for file in content.rglob("*"):
            if file.is_file():
                with file.open("rb+") as stream:
                    os.fsync(stream.fileno())
        if path.exists():
            path.rename(Path(name) / ".old")
        content.rename(path)


def is_whole(path: Path) -> bool:
    """Return whether `path` has the SHA-256 that was written beside it; without one, the file is incomplete."""
    try:
        expected = sidecar(path).read_text(encoding="ascii").split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        return False
    return sha256_of(path) == expected


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
