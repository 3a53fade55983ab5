"""Networks that score a pair of a user and an item by their vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import keras
import numpy as np
from keras import ops

from tlkit.errors import ConfigError, did_you_mean
from tlkit.inputs.row.columns import Categorical
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.models.head import check_dropout
from tlkit.models.members import MemberObjective, MembersAveraged
from tlkit.models.seeding import follows_seed
from tlkit.models.task import LayerGroup, Task
from tlkit.targets.base import Target
from tlkit.targets.regression import Regression
from tlkit.tasks.recommender.layers import Catalogue, PairScores, SideVectors

MOST_FACTORS, MOST_MEMBERS = 1024, 64


@follows_seed
def recommender_model(
    preprocessing: TablePreprocessing,
    targets: Sequence[Target],
    *,
    user: str,
    item: str,
    item_columns: Sequence[str] = (),
    factors: int = 20,
    members: int = 8,
    hidden: Sequence[int] = (),
    dropout: float = 0.2,
    entries: int = 0,
    seed: int = 0,
) -> Task:
    """Build a network for ratings: the product of a user's and an item's vectors, plus a bias of each.

    This is matrix factorization with biases (Koren et al. 2009, IEEE Computer 42:8), kept within the range of the
    ratings by a sigmoid as in fast.ai's collaborative filtering. Several such networks are trained side by side, each
    with a loss of its own, and answer with their mean; that lowers the error more than longer vectors do. Further
    columns of users and items add to their vectors, so that a new item is placed by what is known of it.

    Example:
        >>> data = tlkit.ratings_from_file("ratings.csv", user="userId", item="movieId", rating="rating")
        >>> task = tlkit.recommender_model(data.preprocessing, data.targets, user="userId", item="movieId")
        >>> learn = tlkit.Learner(task, data)
        >>> learn.fit(8, 1e-2)

    Args:
        preprocessing: that of the data.
        targets: `data.targets`: one number.
        user, item: the columns of users and items.
        item_columns: further columns that belong to the item; all others belong to the user.
        factors: length of the vectors, 1 to 1024.
        members: networks of the ensemble, 1 to 64.
        hidden: units of dense layers on both vectors, whose output is added to the score (neural collaborative
            filtering, He et al. 2017, arXiv 1708.05031); none by default.
        dropout: after each of these layers.
        entries: entries of the users' lists of items, which `fill_catalogue` fills; 0 keeps none.
        seed: random seed of initial weights and dropout.

    Returns:
        A `Task` of kind `"recommender"`, wholly trainable. Its layer groups are users, items and head.

    Raises:
        ConfigError: an argument is invalid, or a column is not one of the preprocessing.
    """
    _check_sizes(factors, members, hidden, dropout)
    if len(targets) != 1 or not isinstance(targets[0], Regression):
        raise ConfigError("a recommender predicts one number, the rating", received=[target.kind for target in targets])
    sides = sides_of(preprocessing, user, item, item_columns)
    codes = len(preprocessing.codes)
    encoded = keras.Input((preprocessing.width,), name="encoded")
    catalogue = Catalogue(
        preprocessing.codes[sides[0][0]].size,
        preprocessing.codes[sides[1][0]].size,
        len(sides[0]),
        len(sides[1]),
        entries,
        name="catalogue",
    )
    kept = catalogue(encoded)
    vectors = [
        SideVectors(
            [[place, preprocessing.codes[place].size] for place in places if place < codes],
            [place for place in places if place >= codes],
            factors,
            members,
            is_item=name == "items",
            seed=seed + 1000 * number,
            name=name,
        )
        for number, (name, places) in enumerate(zip(("users", "items"), sides, strict=True))
    ]
    flat = [keras.layers.Flatten(name=f"{layer.name}_flat")(layer(kept)) for layer in vectors]
    features = keras.Model(encoded, keras.layers.Concatenate(name="pair")(flat), name="features")
    objective = MemberObjective(targets)
    embedding = keras.Input(features.output_shape[1:], name="embedding")
    outputs = PairScores(members, _start(targets[0]), dtype="float32", name="scores")(embedding)
    if hidden:
        outputs = outputs + _dense_scores(embedding, members, hidden, dropout, seed)
    average = MembersAveraged([target.to_dict() for target in targets], name="average")
    head = keras.Model(embedding, average(outputs), name="head")
    task = Task(
        kind="recommender",
        model=keras.Model(encoded, head(features(encoded)), name="recommender"),
        features=features,
        head=head,
        backbone=features,
        preprocessing=preprocessing,
        class_names=objective.output_names,
        groups=(LayerGroup("users", (vectors[0],)), LayerGroup("items", (vectors[1],)), LayerGroup("head", (head,))),
        backbone_name=f"{members} x {factors} factors" + (f" + {'-'.join(map(str, hidden))}" if hidden else ""),
        weights_source="none",
        objective=objective,
    )
    task.freeze_to(0)
    return task


def sides_of(
    preprocessing: TablePreprocessing, user: str, item: str, item_columns: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Return the places in an encoded row of a user's and an item's columns, the id first.

    Raises:
        ConfigError: a column does not exist, user or item is not a category, or both are the same column.
    """
    by_name = {column.name: column for column in preprocessing.columns}
    for name in (user, item, *item_columns):
        if name not in by_name:
            raise ConfigError(
                "a column of the recommender is not an input",
                received=name,
                allowed=list(by_name),
                fix=did_you_mean(name, by_name) or None,
            )
    if user == item or {user, item} & set(item_columns):
        raise ConfigError("user, item and item_columns must be different columns", received=[user, item, *item_columns])
    for name in (user, item):
        column = by_name[name]
        if not isinstance(column, Categorical) or column.hash_buckets:
            raise ConfigError(
                f"column {name!r} must be a category with a list of values", received=type(column).__name__.lower()
            )
    places = preprocessing.places
    of_item = [item, *item_columns]
    of_user = [user, *(name for name in by_name if name not in (user, *of_item))]
    return [place for name in of_user for place in places[name]], [place for name in of_item for place in places[name]]


def columns_of(task: Task) -> dict[str, Any]:
    """Return the arguments of `recommender_model` that a trained network was built with, as plain values."""
    users, items = (task.features.get_layer(name) for name in ("users", "items"))
    preprocessing = cast(TablePreprocessing, task.preprocessing)
    codes = preprocessing.codes
    by_place = {place: name for name, own in preprocessing.places.items() for place in own}
    of_item = dict.fromkeys(by_place[place] for place in [*(code[0] for code in items.codes), *items.numbers])
    user, item = (codes[layer.codes[0][0]].column for layer in (users, items))
    return {
        "user": user,
        "item": item,
        "item_columns": [name for name in of_item if name != item],
        "factors": users.factors,
        "members": users.members,
        "hidden": [
            layer.units for layer in task.head.layers if isinstance(layer, keras.layers.Dense) and layer.units > 1
        ],
        "entries": task.features.get_layer("catalogue").entries,
    }


def _check_sizes(factors: object, members: object, hidden: object, dropout: object) -> None:
    for name, value, most in (("factors", factors, MOST_FACTORS), ("members", members, MOST_MEMBERS)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ConfigError(f"{name} is invalid", received=value, allowed=f"1 to {most}")
    units = list(hidden) if isinstance(hidden, Sequence) and not isinstance(hidden, str) else [0]
    if any(isinstance(unit, bool) or not isinstance(unit, int) or not 2 <= unit <= 65_536 for unit in units):
        raise ConfigError("hidden is invalid", received=hidden, allowed="a list of units from 2, such as [64, 32]")
    check_dropout("dropout", dropout)


def _start(target: Regression) -> float:
    """Return the output that answers with the mean of the training ratings."""
    if target.low is None or target.high is None:
        return 0.0
    low, high = (target.forward(np.array([target.low, target.high]))[:, 0]).tolist()
    part = min(max(-low / (high - low), 1e-3), 1 - 1e-3)
    return math.log(part / (1 - part))


def _dense_scores(embedding: Any, members: int, hidden: Sequence[int], dropout: float, seed: int) -> Any:
    """Return what dense layers add to the scores of pairs, float32 [B, M, 1]; the members share the layers."""
    width = embedding.shape[-1] // (2 * members)
    sides = ops.split(keras.layers.Reshape((2, members, width), name="apart")(embedding), 2, axis=1)
    pair = ops.concatenate([ops.squeeze(side, 1) for side in sides], axis=-1)
    for number, units in enumerate(hidden):
        pair = keras.layers.Dense(units, activation="relu", name=f"dense_{number}")(pair)
        if dropout:
            pair = keras.layers.Dropout(dropout, seed=seed + number, name=f"dropout_{number}")(pair)
    return keras.layers.Dense(1, kernel_initializer="zeros", dtype="float32", name="dense_scores")(pair)
