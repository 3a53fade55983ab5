"""Boosted trees as a few arrays, from which every row's answer is found by looking up and combining bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.errors import ModelError
from tlkit.tasks.tabular.tree_columns import TreeColumns

MOST_LEAVES = 32  # of a tree: a bit for each in an int32
MOST_JOINED = 256  # rows of a look-up that several columns share
_LARGEST = np.finfo(np.float32).max


@dataclasses.dataclass(frozen=True)
class TreeShape:
    """Sizes of the arrays of `BoostedTrees`: what a network with trees is built from before its weights are loaded.

    Attributes:
        numbers: columns of numbers.
        thresholds: most thresholds of one of them.
        categories: columns of categories.
        codes: codes of all of these together.
        lookups: groups of columns that are looked up together.
        rows: rows of the table of bits.
        trees: trees of all outputs together.
        leaves: most leaves of a tree.
        outputs: numbers of an answer.
    """

    numbers: int
    thresholds: int
    categories: int
    codes: int
    lookups: int
    rows: int
    trees: int
    leaves: int
    outputs: int


@dataclasses.dataclass(frozen=True, eq=False)
class BoostedTrees:
    """Trees after the scheme of QuickScorer (Lucchese et al. 2015, SIGIR), for many rows at once.

    A tree's leaves are numbered from the left. Each split that a row fails (it goes right) rules out the leaves of the
    split's left side; the leaf is the first that is not ruled out. The value of a column falls into one of a few bins.
    The leaves that a bin rules out in all trees are a row of `masks`. Columns with few bins share a look-up: it has a
    row for each combination of their bins. A prediction takes one look-up a group of columns and no walk through the
    trees.

    Attributes:
        number_columns: place of each number in an encoded row, int32 [N].
        number_flags: place of its flag, int32 [N]; the width of an encoded row, D, where it has none.
        thresholds: of each number, rising, float32 [N, M]; filled up with infinity. A value goes left that is at most
            as large. Values up to the first threshold have bin 0; each threshold has a bin more.
        missing_bins: the bin of a missing value, int32 [N].
        code_columns: place of each column of categories in an encoded row, int32 [C].
        code_places: where its codes begin in `code_bins`, int32 [C].
        code_bins: the bin of each code, int32 [S].
        groups: the group of each column, numbers first, int32 [N + C].
        strides: rows of `masks` from one bin of the column to the next, int32 [N + C].
        begins: the first row of each group, int32 [G].
        masks: bits of the leaves that are left, int32 [R, T].
        values: of the leaves, float32 [T, L].
        outputs: the output that each tree adds to, int32 [T].
        baseline: what the trees are added to, float64 [K].
    """

    number_columns: np.ndarray
    number_flags: np.ndarray
    thresholds: np.ndarray
    missing_bins: np.ndarray
    code_columns: np.ndarray
    code_places: np.ndarray
    code_bins: np.ndarray
    groups: np.ndarray
    strides: np.ndarray
    begins: np.ndarray
    masks: np.ndarray
    values: np.ndarray
    outputs: np.ndarray
    baseline: np.ndarray

    @property
    def shape(self) -> TreeShape:
        """Sizes of the arrays."""
        numbers, thresholds = self.thresholds.shape
        rows, trees = self.masks.shape
        return TreeShape(
            numbers=numbers,
            thresholds=thresholds,
            categories=len(self.code_columns),
            codes=len(self.code_bins),
            lookups=len(self.begins),
            rows=rows,
            trees=trees,
            leaves=self.values.shape[1],
            outputs=len(self.baseline),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Tree:
    """One tree as scikit-learn has grown it.

    Attributes:
        nodes: a structured array: `is_leaf`, `value`, `feature_idx`, `num_threshold`, `missing_go_to_left`, `left`,
            `right`, `is_categorical`, `bitset_idx`.
        left_categories: for each categorical split the categories that go left, as bits, uint32 [splits, 8].
        output: what it adds to.
    """

    nodes: np.ndarray
    left_categories: np.ndarray
    output: int


def compile_trees(columns: TreeColumns, trees: Sequence[Tree], baseline: np.ndarray, width: int) -> BoostedTrees:
    """Return trees as arrays.

    Args:
        columns: what they split on.
        trees: in any order.
        baseline: float64 [K].
        width: of an encoded row, D.

    Raises:
        ModelError: a tree has more leaves than the arrays hold.
    """
    ordered = sorted(trees, key=lambda tree: tree.output)
    splits = [_splits_of(tree) for tree in ordered]
    widest = max([int(tree.nodes["is_leaf"].sum()) for tree in ordered], default=1)
    if widest > MOST_LEAVES:
        raise ModelError("a tree has too many leaves to be exported", received=widest, allowed=f"up to {MOST_LEAVES}")
    by_column: list[list[tuple[int, _Split]]] = [[] for _ in columns.names]
    for number, own in enumerate(splits):
        for split in own:
            by_column[split.column].append((number, split))
    first = len(columns.categories)
    # A column without a split rules out nothing: it needs no look-up.
    numbers = [place for place in range(first, len(by_column)) if by_column[place]]
    categories = [place for place in range(first) if by_column[place]]
    tables, thresholds, code_bins = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for place in numbers:
        here = by_column[place]
        levels = np.unique([split.threshold for _, split in here if np.isfinite(split.threshold)]).astype(np.float32)
        tables.append(_number_masks(here, levels, len(ordered)))
        thresholds.append(levels)
    for place in categories:
        of_code = columns.categories[place]
        count = int(of_code.max()) + 1
        tables.append(_category_masks(by_column[place], count, len(ordered)))
        code_bins.append(np.where(of_code < 0, count, of_code))
    groups, strides, begins, masks = _joined(tables, len(ordered))
    leaves = np.zeros((len(ordered), widest), np.float32)
    for number, tree in enumerate(ordered):
        own_leaves = _leaves_of(tree.nodes)
        leaves[number, : len(own_leaves)] = tree.nodes["value"][own_leaves]
    flags = columns.flags[numbers]
    return BoostedTrees(
        number_columns=columns.columns[numbers].astype(np.int32),
        number_flags=np.where(flags < 0, width, flags).astype(np.int32),
        thresholds=_filled_up(thresholds),
        missing_bins=np.array([len(levels) + 1 for levels in thresholds], np.int32),
        code_columns=columns.columns[categories].astype(np.int32),
        code_places=np.cumsum([0, *map(len, code_bins)])[:-1].astype(np.int32),
        code_bins=np.concatenate([*code_bins, np.zeros(0)]).astype(np.int32),
        groups=groups,
        strides=strides,
        begins=begins,
        masks=masks,
        values=leaves,
        outputs=np.array([tree.output for tree in ordered], np.int32),
        baseline=np.asarray(baseline, np.float64),
    )


@dataclasses.dataclass(frozen=True)
class _Split:
    column: int
    threshold: float  # a float32 at most as large; infinite where only missing values go right, NaN for categories
    missing_left: bool
    left: np.ndarray | None  # bool [256]: the categories that go left
    ruled_out: int  # bits of the leaves of the left side


def _splits_of(tree: Tree) -> list[_Split]:
    nodes = tree.nodes
    bit_of = {leaf: 1 << number for number, leaf in enumerate(_leaves_of(nodes))}
    found = []

    def below(place: int) -> int:
        node = nodes[place]
        if node["is_leaf"]:
            return bit_of[place]
        left, right = below(int(node["left"])), below(int(node["right"]))
        categories, threshold = None, _float32_below(float(node["num_threshold"]))
        if node["is_categorical"]:
            words = np.ascontiguousarray(tree.left_categories[node["bitset_idx"]], "<u4")
            categories, threshold = np.unpackbits(words.view(np.uint8), bitorder="little").astype(bool), np.nan
        found.append(_Split(int(node["feature_idx"]), threshold, bool(node["missing_go_to_left"]), categories, left))
        return left | right

    below(0)
    return found


def _leaves_of(nodes: np.ndarray) -> list[int]:
    """Return the places of the leaves, from the left."""
    found, pending = [], [0]
    while pending:
        place = pending.pop()
        if nodes["is_leaf"][place]:
            found.append(place)
        else:
            pending += [int(nodes["right"][place]), int(nodes["left"][place])]
    return found


def _float32_below(threshold: float) -> float:
    """Return the largest float32 that is at most a threshold: it parts float32 values in the same way."""
    if threshold > _LARGEST:
        return np.inf
    near = np.float32(threshold)
    return float(near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf)))


def _number_masks(splits: Sequence[tuple[int, _Split]], levels: np.ndarray, trees: int) -> np.ndarray:
    """Return the rows of a number: up to each threshold, above the last one, and missing; int32 [M + 2, T]."""
    masks = np.full((len(levels) + 2, trees), -1, np.int64)
    for tree, split in splits:
        if np.isfinite(split.threshold):
            above = int(np.searchsorted(levels, np.float32(split.threshold))) + 1
            masks[above : len(levels) + 1, tree] &= ~split.ruled_out
        if not split.missing_left:
            masks[-1, tree] &= ~split.ruled_out
    return _as_int32(masks)


def _category_masks(splits: Sequence[tuple[int, _Split]], count: int, trees: int) -> np.ndarray:
    """Return the rows of a column of categories: of each category, and missing; int32 [count + 1, T]."""
    masks = np.full((count + 1, trees), -1, np.int64)
    for tree, split in splits:
        assert split.left is not None  # narrows the type
        right = np.append(~split.left[:count], not split.missing_left)
        masks[right, tree] &= ~split.ruled_out
    return _as_int32(masks)


def _joined(tables: Sequence[np.ndarray], trees: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Join the look-ups of columns with few bins.

    Args:
        tables: the rows of each column, int32 [bins, T].
        trees: T.

    Returns:
        The group and the stride of each column, the first row of each group, and all rows, as in `BoostedTrees`.
    """
    members = list[list[int]]()
    sizes = list[int]()
    for column in sorted(range(len(tables)), key=lambda column: (-len(tables[column]), column)):
        bins = len(tables[column])
        # The fullest group that has room.
        fitting = [number for number, size in enumerate(sizes) if size * bins <= MOST_JOINED]
        if fitting:
            group = max(fitting, key=lambda number: sizes[number])
            members[group].append(column)
            sizes[group] *= bins
        else:
            members.append([column])
            sizes.append(bins)
    groups, strides = np.zeros(len(tables), np.int32), np.zeros(len(tables), np.int32)
    rows = [np.zeros((0, trees), np.int32)]
    for group, own in enumerate(members):
        joined = np.full((1, trees), -1, np.int32)
        stride = sizes[group]
        for column in own:
            stride //= len(tables[column])
            groups[column], strides[column] = group, stride
            joined = (joined[:, None] & tables[column][None]).reshape(-1, trees)
        rows.append(joined)
    begins = np.cumsum([0, *sizes])[:-1].astype(np.int32)
    return groups, strides, begins, np.concatenate(rows)


def _as_int32(masks: np.ndarray) -> np.ndarray:
    return (masks & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


def _filled_up(lists: Sequence[np.ndarray]) -> np.ndarray:
    found = np.full((len(lists), max(map(len, lists), default=0)), np.inf, np.float32)
    for row, own in zip(found, lists, strict=True):
        row[: len(own)] = own
    return found


def empty_trees(shape: TreeShape) -> BoostedTrees:
    """Return arrays of these sizes without meaning, whose values are still to be loaded."""
    sizes: dict[str, Any] = {
        "number_columns": [shape.numbers], "number_flags": [shape.numbers],
        "thresholds": [shape.numbers, shape.thresholds], "missing_bins": [shape.numbers],
        "code_columns": [shape.categories], "code_places": [shape.categories], "code_bins": [shape.codes],
        "groups": [shape.numbers + shape.categories], "strides": [shape.numbers + shape.categories],
        "begins": [shape.lookups], "masks": [shape.rows, shape.trees], "values": [shape.trees, shape.leaves],
        "outputs": [shape.trees], "baseline": [shape.outputs],
    }  # fmt: skip
    dtypes = {"thresholds": np.float32, "values": np.float32, "baseline": np.float64}
    return BoostedTrees(**{name: np.zeros(size, dtypes.get(name, np.int32)) for name, size in sizes.items()})
