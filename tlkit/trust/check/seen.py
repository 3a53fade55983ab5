"""What the rules of a check look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from tlkit.inputs.examined import Examined, Pairs
from tlkit.targets.base import Question
from tlkit.trust.check.statistics import reduced

FEWEST = 30  # items from which on something is estimated


class OutOfFold(Protocol):
    """Predict by logistic regression out of fold; see `tlkit.training.probe.out_of_fold`."""

    def __call__(  # noqa: D102
        self, features: np.ndarray, targets: np.ndarray, *, groups: np.ndarray | None = None, seed: int = 0
    ) -> np.ndarray | None: ...


class Probed(NamedTuple):
    """Predictions of a linear probe that there is already.

    Attributes:
        items: int64 [m], which.
        logits: float [m, k], out of fold; of several labels one for each.
        features: float [m, F], that it was fitted on.
    """

    items: np.ndarray
    logits: np.ndarray
    features: np.ndarray


@dataclasses.dataclass(eq=False)
class Seen:
    """The data of a check.

    Attributes:
        examined: the items.
        questions: what their labels say.
        fit: predicts out of fold.
        network: gives the features of a frozen network, float32 [n, F]; None where there are none.
        probed: what a probe predicted out of fold of some items; computed where it is left out.
        allowed: columns that may give the label away.
        seed: of folds.
    """

    examined: Examined
    questions: Sequence[Question]
    fit: OutOfFold
    network: Callable[[], np.ndarray] | None = None
    probed: Probed | None = None
    allowed: Collection[str] = ()
    seed: int = 0

    @property
    def has_features(self) -> bool:
        """Whether items can be described by features."""
        return self.examined.features is not None or self.network is not None

    def features(self, items: np.ndarray) -> np.ndarray:
        """Return features of some items, float32 [m, F]; a network computes them once, and fewer numbers are kept."""
        return self._of_network[items] if self.examined.features is None else reduced(self.examined.features(items))

    @cached_property
    def _of_network(self) -> np.ndarray:
        assert self.network is not None  # narrows the type
        return reduced(self.network())

    @cached_property
    def near(self) -> Pairs:
        """Items that are nearly copies, without exact copies."""
        found = self.examined.near(None)
        copies = self.examined.copies
        other = copies[found.left] != copies[found.right]
        return Pairs(found.left[other], found.right[other], found.similarity[other])

    @cached_property
    def together(self) -> np.ndarray:
        """Number the items so that copies, near copies and a group share a number, int64 [n]."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        copies = self.examined.copies
        size = len(copies)
        left, right = [np.arange(size), self.near.left], [copies, self.near.right]
        if self.examined.groups is not None:
            _, first, inverse = np.unique(self.examined.groups.astype(str), return_index=True, return_inverse=True)
            left, right = [*left, np.arange(size)], [*right, first[inverse]]
        a, b = np.concatenate(left), np.concatenate(right)
        edges = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(size, size))
        return connected_components(edges, directed=False)[1]

    @property
    def splits(self) -> np.ndarray:
        """The split of each item, str objects [n]."""
        return self.examined.splits

    def rows(self, split: str) -> np.ndarray:
        """The items of a split, int64."""
        return np.flatnonzero(self.splits == split)

    def label(self, item: int) -> str:
        """The label of an item, for people."""
        return ", ".join(filter(None, (question.said(item, len(self.questions) > 1) for question in self.questions)))

    def counted(self, count: int) -> str:
        """Return a number of items in words: "1 image", "2 images"."""
        items = self.examined.items
        return f"{count:,} {items.removesuffix('s') if count == 1 else items}"

    def one_hot(self, question: Question, items: np.ndarray) -> np.ndarray:
        """Class numbers of some items as float32 [m, k]."""
        return np.eye(len(question.class_names), dtype=np.float32)[question.values[items]]


def shown_number(value: Any) -> str:
    """Write a number with few digits.

    >>> shown_number(1234.0), shown_number(0.12345)
    ('1,234', '0.123')
    """
    number = float(value)
    return f"{number:,.0f}" if number == round(number) or abs(number) >= 1000 else f"{number:.3g}"
