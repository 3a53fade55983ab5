"""A question that an export answers beside its examples, with inputs of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
    """A signature of an export with inputs of its own.

    Attributes:
        inputs: name -> dtype and values to try; a signature takes [B] of each. Where one has fewer values, the last
            one is repeated.
        answer: a function: tensors [B] by name -> tensors by name, [B, ...].
        kept: variables that it reads, which the export must hold.
    """

    inputs: Mapping[str, tuple[str, Sequence[Any]]]
    answer: Callable[[dict[str, Any]], dict[str, Any]]
    kept: tuple[Any, ...] = ()

    def examples(self) -> dict[str, list[Any]]:
        """Return the values to try, by input, all of the same length."""
        count = max(len(values) for _, values in self.inputs.values())
        return {name: [*values, *[values[-1]] * (count - len(values))] for name, (_, values) in self.inputs.items()}
