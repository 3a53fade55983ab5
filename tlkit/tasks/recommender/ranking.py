"""Metrics of ranked recommendations over the whole catalogue, and baselines to compare them with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.row.columns import FIRST
from tlkit.models.task import Task
from tlkit.tasks.recommender.catalogue import Lists, Vectors, lists_of, scores_of, vectors_of
from tlkit.tasks.recommender.model import columns_of, sides_of

Scorer = Callable[[np.ndarray], np.ndarray]  # codes of users int [u] -> scores of all items float [u, N]
_CHUNK = 256


@dataclasses.dataclass(frozen=True)
class RankingMetrics:
    """Metrics of the first k recommendations, over the users of a split.

    All items are ranked but those that the user has in the training data; nothing is sampled, since sampled metrics
    order models wrongly (Krichene & Rendle 2020, KDD).

    Attributes:
        k: length of the lists.
        recall: mean share of a user's held-out items that are in the list.
        ndcg: normalized discounted cumulative gain; 1 where the held-out items stand first.
        mrr: mean of 1 over the place of the first held-out item, 0 where there is none in the list.
        coverage: share of all items that are recommended to anyone.
        popularity: mean over the recommended items of the share of training users that have them.
        users: users that were measured.
        unknown_items: held-out items that the training data does not have; they count as missed.
    """

    k: int
    recall: float
    ndcg: float
    mrr: float
    coverage: float
    popularity: float
    users: int
    unknown_items: int

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain values; those of the lists say their length, as in `recall_at_10`."""
        own = {f"{name}_at_{self.k}": getattr(self, name) for name in ("recall", "ndcg", "mrr")}
        more = ("coverage", "popularity", "users", "unknown_items")
        return own | {name: getattr(self, name) for name in more}

    def __str__(self) -> str:
        return (
            f"recall@{self.k} {self.recall:.4f}, nDCG@{self.k} {self.ndcg:.4f}, MRR@{self.k} {self.mrr:.4f}, "
            f"coverage {self.coverage:.3f}, popularity {self.popularity:.3f}, {self.users} users"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """The users and items of the training data and of a held-out split, as codes.

    Attributes:
        users, items: numbers of codes, U and N; the first two stand for no user or item.
        train: the items of each user in the training data.
        held: their held-out items.
        unknown: held-out pairs of items that are unknown.
    """

    users: int
    items: int
    train: Lists
    held: Lists
    unknown: np.ndarray


def pairs_of(task: Task, data: Any, split: str = "val", *, at_least: float | None = None) -> Pairs:
    """Return who has what in the training data and in a split.

    Args:
        task: of `recommender_model`.
        data: what it was trained on.
        split: the held-out split.
        at_least: only held-out items with this rating or a higher one count as found.

    Raises:
        ConfigError: the split is the training data.
    """
    if split == "train":
        raise ConfigError("ranking is measured on held-out data", received=split)
    columns = columns_of(task)
    sides = sides_of(data.preprocessing, columns["user"], columns["item"], columns["item_columns"])
    user, item = (side[0] for side in sides)
    counts = [data.preprocessing.codes[place].size for place in (user, item)]
    train, held = (data.encoded(name)[:, [user, item]].astype(np.int64) for name in ("train", split))
    if at_least is not None:
        held = held[np.asarray(data.labels(split), np.float64).reshape(-1) >= at_least]
    held = held[held[:, 0] >= FIRST]
    every = len(train) + 1
    is_known = held[:, 1] >= FIRST
    return Pairs(
        counts[0],
        counts[1],
        lists_of(train[:, 0], train[:, 1], counts[0], every),
        lists_of(held[is_known, 0], held[is_known, 1], counts[0], every),
        np.bincount(held[~is_known, 0], minlength=counts[0]),
    )


def ranking_metrics(scores: Scorer, pairs: Pairs, k: int = 10) -> RankingMetrics:
    """Measure the first k recommendations that scores give, for every user with held-out items.

    Args:
        scores: a function: codes of users -> scores of all items.
        pairs: who has what.
        k: length of the lists.

    Raises:
        ConfigError: k is not usable.
        DataError: no user of the training data has held-out items.
    """
    known = pairs.items - FIRST
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= known:
        raise ConfigError("k is out of range", received=k, allowed=f"1 to {known}")
    wanted = np.diff(pairs.held.begins) + pairs.unknown
    users = np.flatnonzero(wanted > 0)
    if not len(users):
        raise DataError("no user of the training data has held-out items", fix='set split = "random" or "last"')
    popular = np.bincount(pairs.train.items, minlength=pairs.items) / max(
        int((np.diff(pairs.train.begins) > 0).sum()), 1
    )
    gains = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0], np.cumsum(gains)])
    recall, ndcg, mrr, popularity = 0.0, 0.0, 0.0, 0.0
    shown = np.zeros(pairs.items, bool)
    for begin in range(0, len(users), _CHUNK):
        own = users[begin : begin + _CHUNK]
        top = top_items(np.asarray(scores(own), np.float64), own, pairs.train, k)
        hits = np.zeros(top.shape, bool)
        for row, user in enumerate(own):
            hits[row] = np.isin(top[row], pairs.held.items[pairs.held.begins[user] : pairs.held.begins[user + 1]])
        recall += float((hits.sum(1) / np.minimum(wanted[own], k)).sum())
        ndcg += float((hits @ gains / ideal[np.minimum(wanted[own], k)]).sum())
        mrr += float((hits.any(1) / (hits.argmax(1) + 1)).sum())
        listed = top[top >= 0]
        shown[listed] = True
        popularity += float(popular[listed].sum() / k)
    count = len(users)
    return RankingMetrics(
        k,
        recall / count,
        ndcg / count,
        mrr / count,
        float(shown[FIRST:].mean()),
        popularity / count,
        count,
        int(pairs.unknown.sum()),
    )


def top_items(scores: np.ndarray, users: np.ndarray, seen: Lists, k: int) -> np.ndarray:
    """Return the best items of each user that they do not have, int64 [u, k], best first; -1 where none is left.

    Args:
        scores: float [u, N]; is changed.
        users: their codes.
        seen: what they have.
        k: how many.
    """
    scores[:, :FIRST] = -np.inf
    for row, user in enumerate(users):
        scores[row, seen.items[seen.begins[user] : seen.begins[user + 1]]] = -np.inf
    best = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, 1)
    return np.where(np.isfinite(np.take_along_axis(scores, best, 1)), best, -1)


def model_scores(task: Task, vectors: Vectors | None = None) -> Scorer:
    """Return a function that scores all items for users, by a network.

    Args:
        task: of `recommender_model`.
        vectors: of the network, if they were computed before.
    """
    vectors = vectors_of(task) if vectors is None else vectors
    return lambda users: scores_of(task, vectors.users[users], vectors.items)


def popularity_scores(pairs: Pairs) -> Scorer:
    """Return scores by the number of users that have an item: the same list for everyone."""
    counts = np.bincount(pairs.train.items, minlength=pairs.items).astype(np.float64)
    return lambda users: np.tile(counts, (len(users), 1))


def item_knn_scores(pairs: Pairs, neighbours: int = 100, shrink: float = 10.0) -> Scorer:
    """Return scores by the items that a user has: the sum of their cosine similarity (Sarwar et al. 2001, WWW).

    Args:
        pairs: who has what.
        neighbours: most similar items that are kept of each item.
        shrink: added to the denominator, so that few common users make no high similarity.
    """
    from scipy import sparse

    rows = np.repeat(np.arange(pairs.users), np.diff(pairs.train.begins))
    has = sparse.csr_matrix((np.ones(len(rows)), (rows, pairs.train.items)), (pairs.users, pairs.items))
    norms = np.sqrt(np.asarray(has.sum(0)).ravel())
    common = (has.T @ has).tocsr()
    common.setdiag(0)
    common.eliminate_zeros()
    common = common.tocoo()
    values = common.data / (norms[common.row] * norms[common.col] + shrink)
    similar = sparse.csr_matrix((values, (common.row, common.col)), common.shape)
    for row in range(similar.shape[0]):
        own = similar.data[similar.indptr[row] : similar.indptr[row + 1]]
        if len(own) > neighbours:
            own[own < np.partition(own, -neighbours)[-neighbours]] = 0
    return lambda users: np.asarray((has[users] @ similar.T).todense())


def bias_ratings(data: Any, user: int, item: int, split: str, decay: float = 10.0) -> np.ndarray:
    """Return what the bias model answers: the mean rating plus a shrunken bias of the user and of the item.

    Args:
        data: a `TabularData` of ratings.
        user, item: places of their codes in an encoded row.
        split: whose rows are answered.
        decay: ratings at zero bias that every user and item is given.

    Returns:
        float64 [n].
    """
    rows = data.encoded("train")[:, [user, item]].astype(np.int64)
    values = np.asarray(data.labels("train"), np.float64).reshape(-1)
    mean = values.mean()
    sizes = [data.preprocessing.codes[place].size for place in (user, item)]
    biases = [np.zeros(size) for size in sizes]
    for _ in range(10):  # alternating least squares, as Surprise's BaselineOnly
        for side in (1, 0):
            rest = values - mean - biases[1 - side][rows[:, 1 - side]]
            total = np.bincount(rows[:, side], rest, minlength=sizes[side])
            biases[side] = total / (decay + np.bincount(rows[:, side], minlength=sizes[side]))
            biases[side][:FIRST] = 0
    asked = data.encoded(split)[:, [user, item]].astype(np.int64)
    return mean + biases[0][asked[:, 0]] + biases[1][asked[:, 1]]
