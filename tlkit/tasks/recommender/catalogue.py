"""What a recommender knows of all users and items: their columns, their vectors, and what each user has."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from tlkit.errors import ConfigError
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.models.task import Task
from tlkit.tasks.recommender.model import columns_of, sides_of

MOST_SEEN = 1000  # items of a user that are kept: the newest in the table


def catalogue_entries(data: Any, *, user: str, item: str, item_columns: Sequence[str] = ()) -> int:
    """Return the argument `entries` of `recommender_model`: ratings of the training data that an export keeps.

    Args:
        data: of `ratings_from_file`.
        user, item, item_columns: as for `recommender_model`.
    """
    users, _ = sides_of(data.preprocessing, user, item, item_columns)
    counts = np.bincount(data.encoded("train")[:, users[0]].astype(np.int64))
    return int(np.minimum(counts, MOST_SEEN).sum())


def fill_catalogue(task: Task, data: Any) -> None:
    """Write the columns of users and items, and what each user has rated in the training data, into a network.

    Where the rows of a user or item differ, the last one counts. A user's list holds the last 1,000 items at most.

    Args:
        task: of `recommender_model`, whose `entries` are those of `catalogue_entries`.
        data: what it is trained on.

    Raises:
        ConfigError: the network was made for other data.
    """
    layer: Any = task.features.get_layer("catalogue")
    users, items = _sides(task)
    rows = data.encoded("train")
    lists = lists_of(rows[:, users[0]].astype(np.int64), rows[:, items[0]].astype(np.int64), layer.users)
    if len(lists.items) != layer.entries:
        raise ConfigError(
            "the network was made for another number of ratings", received=len(lists.items), allowed=layer.entries
        )
    for variable, places in ((layer.user_rows, users), (layer.item_rows, items)):
        known = np.zeros(variable.shape, np.float32)
        known[:, 0] = np.arange(len(known))
        known[rows[:, places[0]].astype(np.int64)] = rows[:, places]
        variable.assign(known)
    layer.begins.assign(lists.begins)
    layer.seen.assign(lists.items)


@dataclasses.dataclass(frozen=True)
class Lists:
    """The items of each user.

    Attributes:
        begins: int32 [U + 1], where the items of each user begin in `items`.
        items: int32 [E], codes.
    """

    begins: np.ndarray
    items: np.ndarray


def lists_of(users: np.ndarray, items: np.ndarray, count: int, most: int = MOST_SEEN) -> Lists:
    """Return the items of each user, at most so many, the last ones.

    Args:
        users, items: codes of pairs, int [n], in the order of the table.
        count: U, number of users' codes.
        most: items of a user.
    """
    order = np.argsort(users, kind="stable")
    sizes = np.bincount(users, minlength=count)
    from_end = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(users))
    chosen = order[from_end <= most]
    begins = np.concatenate([[0], np.cumsum(np.minimum(sizes, most))])
    return Lists(begins.astype(np.int32), items[chosen].astype(np.int32))


@dataclasses.dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors of all users and items.

    Attributes:
        users: float32 [U, M (F + 2)]; the first two rows are those of an unknown and a missing user.
        items: float32 [N, M (F + 2)]; the same for items.
    """

    users: np.ndarray
    items: np.ndarray


def vectors_of(task: Task, chunk: int = 65_536) -> Vectors:
    """Return the vectors of all users and items, by their columns in the catalogue.

    Args:
        task: of `recommender_model`, after `fill_catalogue`.
        chunk: how many are computed at once.
    """
    layer: Any = task.features.get_layer("catalogue")
    found = []
    for name, variable, places in zip(
        ("users", "items"), (layer.user_rows, layer.item_rows), _sides(task), strict=True
    ):
        known = np.asarray(variable)
        side: Any = task.features.get_layer(name)
        parts = []
        for begin in range(0, len(known), chunk):
            rows = np.zeros((len(known[begin : begin + chunk]), task.features.input_shape[-1]), np.float32)
            rows[:, places] = known[begin : begin + chunk]
            parts.append(np.asarray(side(rows)).reshape(len(rows), -1))
        found.append(np.concatenate(parts))
    return Vectors(*found)


def scores_of(task: Task, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the scores of all pairs, float32 [U, N]: outputs of the network, which rise with its answers.

    Args:
        task: of `recommender_model`.
        users, items: some vectors of `vectors_of`, [U, W] and [N, W].
    """
    scores: Any = task.head.get_layer("scores")
    if has_dense(task):
        pairs = np.concatenate([np.repeat(users, len(items), 0), np.tile(items, (len(users), 1))], axis=1)
        return np.asarray(task.head(pairs, training=False)).reshape(len(users), len(items))
    scale = np.asarray(scores.scale).reshape(-1)
    return (users * scale) @ items.T / scores.members + float(np.mean(scores.shift))


def has_dense(task: Task) -> bool:
    """Return whether dense layers take part, so that scores are no product of vectors."""
    return any(layer.name == "dense_scores" for layer in task.head.layers)


def _sides(task: Task) -> tuple[list[int], list[int]]:
    columns = columns_of(task)
    return sides_of(
        cast(TablePreprocessing, task.preprocessing), columns["user"], columns["item"], columns["item_columns"]
    )
