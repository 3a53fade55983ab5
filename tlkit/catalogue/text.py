"""Look up text encoders in a constant table, without TensorFlow and Keras.

The table holds the encoders of KerasHub (which KerasNLP was renamed to) that classify well;
`tlkit.catalogue.text_rows` says where each column comes from, and `tlkit.catalogue.encoders` builds the rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from tlkit.catalogue.records import known_source
from tlkit.catalogue.text_records import TextEncoder
from tlkit.catalogue.text_rows import FAMILIES, ROWS
from tlkit.errors import ModelError, did_you_mean

TABLE: Mapping[str, TextEncoder] = MappingProxyType({row.name: row for row in ROWS})


def names(serves: bool | None = None) -> list[str]:
    """Return the names of the rows, in the order of the table.

    >>> names()[0]
    'all-minilm-l6-v2'

    Args:
        serves: True for those that export to stock TensorFlow Serving, False for the others, None for all.
    """
    return [row.name for row in ROWS if serves is None or row.serves == serves]


def get(name: str) -> TextEncoder:
    """Look up an encoder; case and punctuation do not matter, so that KerasHub's preset names work as well.

    >>> get("bert_tiny_en_uncased").name, get("all_minilm_l6_v2_en").name
    ('bert-tiny-en-uncased', 'all-minilm-l6-v2')

    Args:
        name: a name from `names()`, or of a KerasHub preset in the table.

    Returns:
        The row.

    Raises:
        ModelError: the name is unknown; the message lists the nearest names.
    """
    row = find(name)
    if row is not None:
        return row
    near = did_you_mean(name.strip().lower().replace("_", "-"), TABLE)
    raise ModelError(f"unknown text encoder {name!r}", allowed=None if near else names(), fix=near or None)


def find(name: str) -> TextEncoder | None:
    """Look up an encoder as `get` does, or return None where there is none of that name.

    >>> find("no-such-encoder") is None
    True

    Raises:
        ModelError: `name` is not a string.
    """
    if not isinstance(name, str):
        raise ModelError("an encoder must be a name", received=name, fix="for example 'all-minilm-l6-v2'")
    wanted = _squash(name)
    return next((row for row in ROWS if wanted and wanted in (_squash(row.name), _squash(row.preset))), None)


def source_of(name: str) -> dict[str, str]:
    """Return what is known of an encoder's weights: name, licence, hash and paper.

    >>> source_of("all-minilm-l6-v2")["licence"]
    'Apache-2.0'

    Args:
        name: of the encoder, as a task has it; of an ensemble, what it was made of.

    Returns:
        Values by name, without what is not known; only the name where the encoder is none of the catalogue.
    """
    row = find(name.partition(" (")[0])
    if row is None:
        return {"name": name}
    digest = f"sha256:{row.wheel.sha256}" if row.wheel else None
    return known_source(name, row.licence, digest, FAMILIES.get(row.family))


def _squash(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
