"""One request, ready to run: what to feed, what to fetch, and how the answer is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

#: The signature that is meant where a request names none.
DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Call:
    """A parsed request.

    Args:
        feeds: arrays by the name of a tensor in the graph.
        fetches: names of tensors in the graph; none where there is nothing to run.
        finish: writes the answer's bytes from the fetched arrays, in the order of `fetches`.
        rows: how many examples the request holds, where that is known.
        batchable: the rows of `feeds` and of what is fetched belong together one by one, as far as the signature
            says.
        lists_rows: the request itself is a list of rows, as "instances" and "examples" are, whatever the signature
            says.
    """

    feeds: Mapping[str, np.ndarray]
    fetches: tuple[str, ...]
    finish: Callable[[list[np.ndarray]], bytes]
    rows: int | None = None
    batchable: bool = False
    lists_rows: bool = False
