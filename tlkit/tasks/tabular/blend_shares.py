"""How much of a blend is boosted trees: weighed on training rows that neither part has seen."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.inputs.row.splits import times_of
from tlkit.models.task import Task
from tlkit.tasks.tabular.tree_fit import BoostingOptions, fit_trees
from tlkit.tasks.tabular.tree_layer import BoostedTreesLayer

FEW, FOLDS = 5000, 3  # up to so many training rows, each is held out once
PART, MOST = 0.2, 50_000  # of more, this part is held out, and at most so many rows
_LEAST = 20  # rows, from which on there is something to hold out
_BATCH = 8192
_GRID = np.linspace(0.0, 1.0, 41)
_log = logging.getLogger("tlkit")

#: Trains a fresh network on data, keeping files in a folder, and returns it.
TrainNetwork = Callable[[Any, Path], Task]


@dataclasses.dataclass(frozen=True)
class BlendShares:
    """Shares of boosted trees in a blend, and what they were chosen by.

    Attributes:
        shares: by target.
        losses: by target the loss on the rows held out of the network, the trees and the blend. That of the blend is a
            little too good, for its share was chosen by it.
        rows: training rows that were held out.
        parts: fits of each kind; 0 where there were too few rows to weigh.
    """

    shares: dict[str, float]
    losses: dict[str, tuple[float, float, float]]
    rows: int
    parts: int

    def __str__(self) -> str:
        if not self.parts:
            return "blend: half boosted trees, half network"
        said = [
            f"{'' if len(self.shares) == 1 else f'{name}: '}{share:.3g} boosted trees, {1 - share:.3g} network (loss "
            f"{blend:.4g}; network {network:.4g}, trees {trees:.4g})"
            for (name, share), (network, trees, blend) in zip(self.shares.items(), self.losses.values(), strict=True)
        ]
        return f"blend, weighed on {self.rows:,} training rows held out of {self.parts} fits: " + "; ".join(said)


def fits_for(rows: int, by_time: bool) -> int:
    """Return how many networks `find_shares` trains for so many training rows."""
    return 0 if rows < _LEAST else 1 if by_time or rows > FEW else FOLDS


def find_shares(
    task: Task,
    data: Any,
    train: TrainNetwork,
    *,
    options: BoostingOptions | None = None,
    time_column: str | None = None,
    group_column: str | None = None,
    date_formats: dict[str, str] | None = None,
) -> BlendShares:
    """Find the share of boosted trees that gives the blend its lowest loss on training rows held out.

    A network and trees are trained on the other training rows and answer those held out. Up to 5,000 rows, three folds
    hold out each row once; of more, a fifth (at most 50,000) is held out once. With a time column it is always the
    newest fifth; rows of one group, and rows that are copies, stay together. The validation rows choose the network's
    epoch, as in its training, and nothing else. With fewer than 20 rows nothing is weighed, and both count the same,
    which is said in a warning.

    Args:
        task: its objective is the loss.
        data: a `TabularData`.
        train: trains a network on a part of the data.
        options: of boosting.
        time_column: column of the table whose newest rows are held out.
        group_column: column of the table whose values stay together.
        date_formats: how dates are written, by column.

    Raises:
        ConfigError: the data cannot be divided.
        DataError: a time cannot be read.
    """
    if not hasattr(data, "part"):
        raise ConfigError(
            "a blend is weighed on training rows held out, and this data cannot be divided",
            received=type(data).__name__,
            fix='read the table into memory, or set model.kind = "boosting", "network" or "tabm"',
        )
    objective = task.objective
    encoded, true = data.encoded("train"), objective.encode(data.labels("train"))
    weights = data.example_weights()
    if len(encoded) < _LEAST:
        _log.warning("%d training rows are too few to weigh a blend by: both parts count the same", len(encoded))
        return BlendShares({target.name: 0.5 for target in objective.targets}, {}, 0, 0)
    parts = _held_out(data, encoded, time_column, group_column, date_formats or {})
    held_rows, network, trees = [], [], []
    for number, held in enumerate(parts, start=1):
        rest = np.setdiff1d(np.arange(len(encoded)), held)
        _log.info(
            "weighing the blend, %d of %d: both parts learn from %d training rows and answer %d others",
            number, len(parts), len(rest), len(held),
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            trained = train(data.part(rest), Path(folder))
        network.append(_answered(trained.model, encoded[held]))
        own = None if weights is None else weights[rest]
        fitted = fit_trees(
            encoded[rest], true[rest], data.preprocessing, objective, weights=own, options=options, verbose=False
        )
        trees.append(_answered(BoostedTreesLayer(fitted.trees.shape, fitted.trees), encoded[held]))
        held_rows.append(held)
    rows = np.concatenate(held_rows)
    return _best(
        objective, np.concatenate(network), np.concatenate(trees), true[rows],
        None if weights is None else weights[rows], len(parts),
    )  # fmt: skip


def _answered(model: Any, encoded: np.ndarray) -> np.ndarray:
    answer = tf.function(
        lambda rows: model(rows, training=False),
        input_signature=[tf.TensorSpec([None, encoded.shape[1]], tf.float32)],
        autograph=False,
    ).get_concrete_function()  # traced here: TensorFlow warns where several functions are traced by their first call
    return np.concatenate([answer(encoded[at : at + _BATCH]).numpy() for at in range(0, len(encoded), _BATCH)])


def _best(
    objective: Any, network: np.ndarray, trees: np.ndarray, true: np.ndarray, weights: np.ndarray | None, parts: int
) -> BlendShares:
    shares, losses = {}, {}
    split = zip(objective.parts(network), objective.parts(trees), objective.parts(true, true=True), strict=True)
    for (target, own), (_, others), (_, labels) in split:
        known = np.isfinite(labels[:, 0])
        counts = None if weights is None else weights[known]
        found = []
        for share in _GRID:
            mixed = ((1 - share) * own[known] + share * others[known]).astype(np.float32)
            each = np.asarray(target.losses(tf.constant(labels[known]), tf.constant(mixed)))
            found.append(float(np.average(each, weights=counts)))
        best = int(np.argmin(found))
        shares[target.name], losses[target.name] = float(_GRID[best]), (found[0], found[-1], found[best])
    return BlendShares(shares, losses, len(true), parts)


def _held_out(
    data: Any,
    encoded: np.ndarray,
    time_column: str | None,
    group_column: str | None,
    date_formats: dict[str, str],
) -> list[np.ndarray]:
    """Return the rows of each part that is held out, rising."""
    count = len(encoded)
    size = min(max(int(PART * count), 1), MOST)
    if time_column:
        form = date_formats.get(time_column) or next(
            (c.form for c in data.preprocessing.columns if c.name == time_column and hasattr(c, "form")), ""
        )
        column = data.frame("train")[time_column]
        times = times_of(column, time_column, lambda rows: data.places("train", rows[:1])[0], form)
        border = np.sort(times)[count - size]
        newest = np.flatnonzero(times >= border)
        # All rows of one time stay together, unless that leaves nothing to learn from.
        return [newest if len(newest) < count // 2 else np.sort(np.argsort(times, kind="stable")[count - size :])]
    groups = _groups(data, encoded, group_column)
    order = np.random.default_rng(data.seed).permutation(groups.max() + 1)[groups]
    ranked = np.argsort(order, kind="stable")
    if count > FEW:
        last = order[ranked[size - 1]]
        return [np.flatnonzero(order <= last)]
    ends = [order[ranked[min(round(count * end / FOLDS), count) - 1]] for end in range(1, FOLDS + 1)]
    bounds = sorted({-1, *map(int, ends)})
    return [np.flatnonzero((order > low) & (order <= high)) for low, high in itertools.pairwise(bounds)]


def _groups(data: Any, encoded: np.ndarray, group_column: str | None) -> np.ndarray:
    """Number the rows, int [n]: those of one group, or with the same inputs, share a number."""
    import pandas as pd

    if group_column:
        return np.asarray(pd.factorize(data.frame("train")[group_column], use_na_sentinel=False)[0])
    hashes = pd.util.hash_pandas_object(pd.DataFrame(encoded), index=False)
    return np.asarray(pd.factorize(hashes)[0])
