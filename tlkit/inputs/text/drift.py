"""Statistics of texts that are compared with those of later texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tlkit.inputs.base import Statistic, Statistics
from tlkit.inputs.text.properties import encoding_of, language_of, script_of


def statistics(settings: Mapping[str, Any]) -> Statistics:
    """Return a function of texts as clients send them, in UTF-8, bytes objects [n], that gives their statistics.

    Args:
        settings: of the preprocessing; not used.
    """
    return _statistics


def suffix(content: bytes) -> str:
    """Return how the file of a text is called."""
    return ".txt"


def _statistics(arguments: Mapping[str, np.ndarray]) -> dict[str, Statistic]:
    (contents,) = arguments.values()
    texts = [content.decode("utf-8", "replace") for content in contents.tolist()]
    lengths = np.array([len(text) for text in texts], np.float64)
    beyond = np.array([sum(not letter.isascii() for letter in text) for text in texts], np.float64)

    def names(values: list[str]) -> np.ndarray:
        return np.array(values, object)

    return {
        "characters": Statistic(lengths, unit="characters"),
        "words": Statistic(np.array([len(text.split()) for text in texts], np.float64), unit="words"),
        "non-ASCII characters": Statistic(beyond / np.maximum(lengths, 1), unit="share"),
        "script": Statistic(names([script_of(text) or "none" for text in texts])),
        "language": Statistic(names([language_of(text) or "unclear" for text in texts])),
        "encoding": Statistic(names([encoding_of(text) for text in texts]), ("broken",)),
    }
