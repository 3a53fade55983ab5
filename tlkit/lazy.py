"""Objects named by "module:object", loaded on first use; imports nothing else."""

from __future__ import annotations

import importlib
from typing import Any


def loaded(place: str) -> Any:
    """Return what "module:object" or "module" names."""
    module, _, name = place.partition(":")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found
