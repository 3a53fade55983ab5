"""Parts of a written card that belong to its owner: they are kept when the card is written again."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from tlkit.errors import ConfigError
from tlkit.files import atomic_write

_PART = re.compile(
    r"^(?P<open>(?:<!-- |# )keep (?P<name>[a-z-]+)[^\n]*)\n(?P<text>.*?)^(?P<close>(?:<!-- |# )end (?P=name)[^\n]*)$",
    re.MULTILINE | re.DOTALL,
)
_SEAL = re.compile(r"\n?<!-- tlkit card (?P<hash>[0-9a-f]{64}) -->\s*\Z")


def kept_parts(text: str) -> dict[str, str]:
    r"""Return the owner's parts of a card by name.

    >>> kept_parts("<!-- keep uses: edit here -->\nFor bees.\n<!-- end uses -->")
    {'uses': 'For bees.\n'}
    """
    return {found["name"]: found["text"] for found in _PART.finditer(text)}


def with_parts(text: str, parts: Mapping[str, str]) -> str:
    """Return a card with parts of its owner; parts that the card does not have are left out."""

    def replaced(found: re.Match[str]) -> str:
        own = parts.get(found["name"], found["text"])
        return f"{found['open']}\n{own}{found['close']}"

    return _PART.sub(replaced, text)


def sealed(text: str) -> str:
    """Return a card with a last line that tells whether anything but the owner's parts was edited."""
    body = text.rstrip("\n") + "\n"
    return f"{body}\n<!-- tlkit card {_digest(body)} -->\n"


def is_untouched(text: str) -> bool:
    """Return whether nothing but the owner's parts of a written card was edited."""
    seal = _SEAL.search(text)
    return seal is not None and seal["hash"] == _digest(text[: seal.start()])


def check_place(path: Path, *, force: bool = False) -> None:
    """Refuse a card that could not be written, before anything is computed.

    Raises:
        ConfigError: the folder cannot be written, or there is a file that must not be overwritten.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.read_text(encoding="utf-8") if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, error) from error
    if not os.access(path.parent, os.W_OK):
        raise ConfigError("the card cannot be written", received=str(path), fix="choose --to DIR")
    if there is not None and not force and not is_untouched(there):
        raise ConfigError(
            f"{path.name} was edited outside of the parts between `keep` and `end`, or is not from tlkit",
            received=str(path),
            fix="move your text into these parts, choose another folder with --to, or overwrite it with --force",
        )


def write_card(path: Path, text: str, *, force: bool = False) -> None:
    """Write a card; the owner's parts of the file that is there are kept.

    Args:
        path: the file; its folder exists.
        text: the card, without a seal.
        force: replace a file that tlkit did not write, or that was edited outside of the owner's parts; what stands in
            those parts is kept even then.

    Raises:
        ConfigError: there is such a file and `force` is not set, or the file cannot be read or written.
    """
    check_place(path, force=force)
    try:
        there = path.read_text(encoding="utf-8") if path.exists() else None
        with atomic_write(path) as file:
            file.write(sealed(with_parts(text, {} if there is None else kept_parts(there))))
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> ConfigError:
    reason = getattr(error, "strerror", None) or "the file there is not UTF-8"
    return ConfigError(f"the card cannot be written: {reason}", received=str(path), fix="choose --to DIR")


def _digest(text: str) -> str:
    bare = _PART.sub(lambda found: f"{found['open']}\n{found['close']}", text).rstrip()
    return hashlib.sha256(bare.encode("utf-8", "surrogatepass")).hexdigest()
