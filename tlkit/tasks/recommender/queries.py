"""What an export of a recommender answers beside pairs: recommendations for users, and similar items."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import tensorflow as tf

from tlkit.inputs.row.columns import FIRST, Categorical
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.models.query import Query
from tlkit.models.task import Task
from tlkit.tasks.recommender.catalogue import has_dense, vectors_of
from tlkit.tasks.recommender.model import columns_of

MOST_LISTED = 1000
_TRIED = 3  # of a list, in examples


def queries_of(task: Task) -> dict[str, Query]:
    """Return the signatures `recommend` and `similar` of a trained network; none before `fill_catalogue`.

    recommend: user [B], k int32 [B], exclude bool [B] -> items string [B, K] and scores float32 [B, K], the predicted
    ratings, best first. K is the largest k; what a row did not ask for, or does not exist, is an empty item with the
    score 0. With `exclude`, items that the user has in the training data are left out. A user that was never seen gets
    the items of an unknown user.
    similar: item [B], k int32 [B] -> items string [B, K] and scores float32 [B, K], cosines of the vectors. An item
    that was never seen has no similar ones.

    All items are compared; with 1,000,000 items of 8 members with 20 factors, their vectors take 700 MB.
    """
    layer: Any = task.features.get_layer("catalogue")
    if not layer.entries:
        return {}
    columns, preprocessing = columns_of(task), cast(TablePreprocessing, task.preprocessing)
    user, item = (_one_column(preprocessing, columns[name]) for name in ("user", "item"))
    vectors = vectors_of(task)
    keep = _Kept(
        users=tf.Variable(vectors.users, trainable=False),
        items=tf.Variable(vectors.items, trainable=False),
        begins=tf.Variable(np.asarray(layer.begins), trainable=False),
        seen=tf.Variable(np.asarray(layer.seen), trainable=False),
        names=tf.constant(preprocessing.codes[_place(preprocessing, columns["item"])].labels),
    )
    known = vectors.items.shape[0] - FIRST

    def recommend(asked: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        most = _most(asked["k"], known)
        codes = _code(user, asked[user.columns[0].argument])
        scores = _scores(task, tf.gather(keep.users, codes), keep.items)
        scores = tf.concat([tf.fill([tf.shape(scores)[0], FIRST], -np.inf), scores[:, FIRST:]], axis=1)
        scores = tf.where(asked["exclude"][:, None], _without(scores, codes, keep), scores)
        best, order = tf.math.top_k(scores, most)
        ratings = task.objective.probabilities(tf.reshape(best, [-1, 1]))
        return _listed(order, tf.reshape(tf.cast(ratings, tf.float32), tf.shape(best)), best, asked["k"], keep.names)

    def similar(asked: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        most = _most(asked["k"], known)
        codes = _code(item, asked[item.columns[0].argument])
        unit = tf.math.l2_normalize(keep.items, axis=1)
        cosines = tf.matmul(tf.gather(unit, codes), unit, transpose_b=True)
        itself = tf.one_hot(codes, tf.shape(unit)[0], on_value=True, off_value=False, dtype=tf.bool)
        is_item = tf.range(tf.shape(unit)[0]) >= FIRST
        allowed = is_item[None] & ~itself & (codes >= FIRST)[:, None]
        best, order = tf.math.top_k(tf.where(allowed, cosines, -np.inf), most)
        return _listed(order, best, best, asked["k"], keep.names)

    tried = min(_TRIED, known)
    some_users, some_items = (_values(column.columns[0]) for column in (user, item))
    sizes = {"k": ("int32", [tried])}
    return {
        "recommend": Query(
            inputs={
                user.columns[0].argument: (user.columns[0].dtype, some_users),
                **sizes,
                "exclude": ("bool", [True]),
            },
            answer=recommend,
            kept=keep.variables,
        ),
        "similar": Query(
            inputs={item.columns[0].argument: (item.columns[0].dtype, some_items), **sizes},
            answer=similar,
            kept=keep.variables,
        ),
    }


class _Kept:
    def __init__(self, *, users: Any, items: Any, begins: Any, seen: Any, names: Any):
        self.users, self.items, self.begins, self.seen, self.names = users, items, begins, seen, names
        self.variables = (users, items, begins, seen)


def _one_column(preprocessing: Any, name: str) -> TablePreprocessing:
    """Return what encodes the ids alone, as the whole preprocessing does."""
    column = next(column for column in preprocessing.columns if column.name == name)
    return TablePreprocessing((column,), preprocessing.missing, preprocessing.forms, preprocessing.unreadable)


def _place(preprocessing: Any, name: str) -> int:
    place: int = preprocessing.places[name][0]
    return place


def _code(column: TablePreprocessing, values: tf.Tensor) -> tf.Tensor:
    """Return the codes of ids, int32 [B]."""
    return tf.cast(column.encode({column.columns[0].argument: values})[:, 0], tf.int32)


def _values(column: Any) -> list[Any]:
    """Return some ids to try: the first, the last, and one that was never seen."""
    assert isinstance(column, Categorical)
    chosen = [column.values[0], column.values[-1]]
    if column.dtype == "int64":
        return [*map(int, chosen), -(2**62)]
    return [*chosen, "\x01 never seen"]


def _most(k: tf.Tensor, known: int) -> tf.Tensor:
    """Return the largest k, which is refused where it is not usable."""
    limit = min(MOST_LISTED, known)
    check = tf.debugging.Assert(
        tf.reduce_all((k >= 1) & (k <= limit)),
        [f"k must be 1 to {limit}, received", tf.reduce_min(k), tf.reduce_max(k)],
    )
    with tf.control_dependencies([check]):
        return tf.identity(tf.reduce_max(k))


def _scores(task: Task, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Return the outputs of the network for users and all items, float32 [B, N]."""
    if has_dense(task):
        count = tf.shape(items)[0]

        def of_one(user: tf.Tensor) -> tf.Tensor:
            pairs = tf.concat([tf.tile(user[None], [count, 1]), items], axis=1)
            return tf.cast(task.head(pairs, training=False)[:, 0], tf.float32)

        return tf.map_fn(of_one, users)
    layer: Any = task.head.get_layer("scores")
    scale = tf.reshape(tf.convert_to_tensor(layer.scale), [-1])
    product = tf.matmul(users * scale, items, transpose_b=True)
    return product / layer.members + tf.reduce_mean(tf.convert_to_tensor(layer.shift))


def _without(scores: tf.Tensor, codes: tf.Tensor, keep: _Kept) -> tf.Tensor:
    """Return scores float32 [B, N] with those of what each user has at minus infinity."""
    begins, ends = tf.gather(keep.begins, codes), tf.gather(keep.begins, codes + 1)
    own = tf.ragged.range(begins, ends)
    rows = tf.cast(own.value_rowids(), tf.int32)
    places = tf.stack([rows, tf.gather(keep.seen, own.values)], axis=1)
    return tf.tensor_scatter_nd_update(scores, places, tf.fill([tf.shape(places)[0]], -np.inf))


def _listed(
    order: tf.Tensor, shown: tf.Tensor, best: tf.Tensor, k: tf.Tensor, names: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Return items and scores; empty ones where a row asked for fewer, or nothing is left."""
    there = tf.math.is_finite(best) & (tf.range(tf.shape(order)[1])[None] < k[:, None])
    return {
        "items": tf.where(there, tf.gather(names, order), ""),
        "scores": tf.where(there, shown, tf.zeros_like(shown)),
    }
