"""How files are put on disk: all of a file, or the one that was there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def atomic_write(path: Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a file beside `path` that takes its place when the body succeeds, and is removed otherwise.

    It is flushed to the disk before it is renamed. The rename is atomic, since both lie in one folder.

    Example:
        >>> with atomic_write(Path("report.html")) as file:
        ...     file.write(page)

    Args:
        path: the file; its folder exists.
        binary: take bytes; otherwise text in UTF-8, whose line ends are written as they are.

    Raises:
        OSError: it cannot be written; what was at `path` is unchanged.
    """
    temporary = path.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        with temporary.open("xb") if binary else temporary.open("x", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
