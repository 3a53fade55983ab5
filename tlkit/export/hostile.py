"""Wrong, broken and hostile inputs for `tlkit verify` (standalone: run by path, without tlkit)."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

#: What it is, the signature it goes to, and the value to feed: an array, or an array for each input.
Bad = tuple[str, str, np.ndarray | dict[str, np.ndarray]]


def bad_values(
    kind: ModuleType,
    good: list[bytes],
    interface: dict[str, Any],
    raw_shape: Sequence[int | None],
    optional: Sequence[str] = (),
) -> list[Bad]:
    """List what an export must refuse.

    Args:
        kind: the module `hostile` of the input, which knows what is wrong with a single image, text or row.
        good: two photos, texts or rows that are fine.
        interface: names and limits, as manifest.json holds them.
        raw_shape: shape of the raw input in the graph.
        optional: further signatures that take what serving_default takes, and get the same of it.

    Returns:
        What it is, the signature it goes to, and the value to feed.
    """
    if interface["columns"]:
        values = _of_columns(kind, good, interface)
    else:
        values = _of_contents(kind, good, interface)
        values += [(what, name, value) for name in optional for what, _, value in values]
    values += [(what, interface["raw_signature"], value) for what, value in kind.bad_raw(interface, raw_shape)]
    name = interface["example_signature"]
    if name:
        values += [(what, name, np.array([bad], object)) for what, bad in kind.bad_examples(interface)]
        values += [
            ("a scalar for tf.Examples", name, np.array(b"", object)),
            ("an empty batch of tf.Examples", name, np.array([], object)),
        ]
    return values


def _of_contents(kind: ModuleType, good: list[bytes], interface: dict[str, Any]) -> list[Bad]:
    """List wrong values for the one input of serving_default."""
    values: list[Bad] = [(what, "serving_default", np.array([bad], object)) for what, bad in kind.bad_contents()]
    values += [
        (f"one bad {interface['content']} among good ones", "serving_default", np.array([*good, bad], object))
        for _, bad in kind.bad_contents()[:1]
    ]
    values += [
        ("a scalar", "serving_default", np.array(good[0], object)),
        ("a matrix of strings", "serving_default", np.array([list(good)], object)),
        ("an empty batch", "serving_default", np.array([], object)),
        ("numbers for strings", "serving_default", np.ones([1], np.float32)),
    ]
    return values


def _of_columns(kind: ModuleType, good: list[bytes], interface: dict[str, Any]) -> list[Bad]:
    """List wrong values for the named inputs of serving_default, and the plainest for the others that take them."""
    bad = kind.bad_columns(good, interface)
    others = (interface["answers"], "embedding")
    return [(what, "serving_default", value) for what, value in bad] + [
        (what, name, value) for name in others for what, value in bad[:3]
    ]
