"""Names and missing values as they travel: what signatures and tf.Examples of every export have in common."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

MISSING_INTEGER = -(2**63)  # what an absent int64 is sent as
#: What a client sends where a row has no value, by dtype; "NaN" stands for the float, which JSON cannot write.
ABSENT: dict[str, str | int] = {"string": "", "float32": "NaN", "float64": "NaN", "int64": MISSING_INTEGER}
_RESERVED = ("self", "inputs", "name", "context", *keyword.kwlist)


def as_held(absent: str | int, dtype: str) -> bytes | float | int:
    """Return what stands for a missing value of this dtype as a tensor holds it, not as JSON does."""
    if dtype == "string":
        return str(absent).encode("utf-8")
    return float(absent) if dtype.startswith("float") else int(absent)


def argument_names(names: Iterable[str]) -> dict[str, str]:
    """Return each name as that of an argument in signatures: letters, digits and _ only, all of them different.

    >>> argument_names(["Marital status", "Marital-status", "2nd", "name"])
    {'Marital status': 'Marital_status', 'Marital-status': 'Marital_status_2', '2nd': 'c_2nd', 'name': 'c_name'}
    """
    found = dict.fromkeys(map(str, names), "")
    taken: set[str] = set()
    # A column that already has the form keeps its name, wherever it stands; case alone does not tell two apart.
    for name in sorted(found, key=lambda name: _argument(name) != name):
        argument = plain = _argument(name)
        number = 1
        while argument.lower() in taken:
            number += 1
            argument = f"{plain}_{number}"
        taken.add(argument.lower())
        found[name] = argument
    return found


def _argument(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return plain if plain not in _RESERVED and re.match("[A-Za-z]", plain) else f"c_{plain}"
