"""What `tlkit check` looks at in texts: length, language, encoding, copies and near copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.inputs.examined import Examined, Fact, Shown, Unusable, no_pairs, relative_name, root_of, splits_of
from tlkit.inputs.splits import moments_of
from tlkit.inputs.text.findings import copy_numbers, digest_of, normalized
from tlkit.inputs.text.near import near_texts
from tlkit.inputs.text.properties import encoding_of, language_of, script_of

_SHOWN = 400  # characters


def examine(data: Any, *, quick: bool = False, **columns: str) -> Examined:
    """Look at the texts of a `TextData`.

    Args:
        data: the texts.
        quick: leave out facts and near copies.
        columns: `time_column`, where config.toml names one.
    """
    root = root_of(data.origin)
    listing: Any = data._listing
    chosen = np.concatenate([data.rows(name) for name in data.splits]).tolist()
    texts = [listing.texts[row] for row in chosen]
    names = [relative_name(listing.places[row], root) for row in chosen]
    empty = [Unusable(name, "is empty") for name, text in zip(names, texts, strict=True) if not text.strip()]
    used = set(names)
    for row, text in enumerate(listing.texts):
        if not text.strip() and (name := relative_name(listing.places[row], root)) not in used:
            empty.append(Unusable(name, "is empty, and is left out of training", left_out=True))
    copies = copy_numbers(texts)
    blank = np.array([not text.strip() for text in texts], bool)
    copies[blank] = np.flatnonzero(blank)  # empty texts are no copies of each other
    return Examined(
        items="texts",
        splits=splits_of(data),
        names=names,
        digest=lambda item: digest_of(texts[item]),
        copies=copies,
        facts={} if quick else _facts(texts),
        near=no_pairs if quick else lambda features: near_texts([normalized(text) for text in texts]),
        show=lambda item: Shown(text=texts[item][:_SHOWN] + (" …" if len(texts[item]) > _SHOWN else "")),
        unusable=empty,
        unlabelled=listing.unlabelled,
        groups=None if listing.groups is None else np.array([listing.groups[row] for row in chosen], object),
        times=None if listing.times is None else moments_of([listing.times[row] for row in chosen]),
        time_name=columns.get("time_column", ""),
        by_time=listing.times is not None and all(split is None for split in listing.splits),
    )


def _end(text: str) -> str:
    last = text.rstrip()[-1:]
    return "a letter" if last.isalpha() else "a digit" if last.isdigit() else last


def _facts(texts: Sequence[str]) -> dict[str, Fact]:
    """Return properties of texts."""
    return {
        "characters": Fact(
            np.array([len(text) for text in texts], np.float64), "shortcut", sizes=True, unit="characters"
        ),
        "words": Fact(np.array([len(text.split()) for text in texts], np.float64), "shortcut", unit="words"),
        "script": Fact(np.array([script_of(text) for text in texts], object), "shortcut", rare=True),
        "language": Fact(np.array([language_of(text) for text in texts], object), rare=True),
        "encoding": Fact(np.array([encoding_of(text) for text in texts], object), bad=("broken",)),
        "ends with": Fact(np.array([_end(text) for text in texts], object), "shortcut"),
    }
