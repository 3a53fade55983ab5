"""Wrong, broken and hostile inputs for `tlkit verify` (standalone: run by path, without tlkit)."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np


def bad_values(
    kind: ModuleType,
    good: list[bytes],
    interface: dict[str, Any],
    raw_shape: Sequence[int | None],
    optional: Sequence[str] = (),
) -> list[tuple[str, str, np.ndarray]]:
    """List what an export must refuse.

    Args:
        kind: hostile_image or hostile_text, which know what is wrong with a single photo or text.
        good: two photos or texts that are fine.
        interface: names and limits, as manifest.json holds them.
        raw_shape: shape of the raw input in the graph.
        optional: further signatures that take what serving_default takes, and get the same of it.

    Returns:
        What it is, the signature it goes to, and the value to feed.
    """
    values = [(what, "serving_default", np.array([bad], object)) for what, bad in kind.bad_contents()]
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
    values += [(what, name, value) for name in optional for what, _, value in values]
    values += [(what, interface["raw_signature"], value) for what, value in kind.bad_raw(interface, raw_shape)]
    values += [
        ("no tf.Example", "classify", np.array([b"junk"], object)),
        (f"a tf.Example without the {interface['content']}", "classify", np.array([b""], object)),
        ("a scalar for tf.Examples", "classify", np.array(b"", object)),
        ("an empty batch of tf.Examples", "classify", np.array([], object)),
    ]
    return values
