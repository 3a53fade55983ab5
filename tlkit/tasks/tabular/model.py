"""Networks for tables: an entity embedding for each categorical column, then dense layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import keras
import numpy as np

from tlkit.errors import ConfigError, did_you_mean
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.models.head import HeadBuilder, build_head, check_dropout
from tlkit.models.members import MemberObjective
from tlkit.models.seeding import follows_seed
from tlkit.models.task import LayerGroup, Precision, Task
from tlkit.targets.base import Target
from tlkit.targets.objective import Objective
from tlkit.tasks.tabular.layers import CodesAndNumbers, PiecewiseLinear
from tlkit.tasks.tabular.members import (
    check_members,
    member_embedding,
    member_head,
    member_layers,
)

LARGEST = 600
_MOMENTUM = 0.9  # of the statistics: an epoch of a small table has too few steps for the usual 0.99
_EPSILON = 1e-2  # what hardly varies in training and does later must not become huge, as with the usual 1e-3


def embedding_size(values: int) -> int:
    """Width of the embedding of a column with so many codes: `min(600, round(1.6 n^0.56))`, fastai's rule.

    >>> embedding_size(1117)
    81
    """
    return int(min(LARGEST, round(1.6 * values**0.56)))


@follows_seed
def tabular_model(
    preprocessing: TablePreprocessing,
    targets: Sequence[Target],
    *,
    hidden: Sequence[int] = (200, 100),
    embedding_sizes: Mapping[str, int] | None = None,
    embedding_dropout: float = 0.1,
    dropout: float | Sequence[float] = 0.2,
    batch_norm: bool = True,
    number_bins: int = 16,
    members: int = 0,
    head: HeadBuilder | None = None,
    start_from: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    precision: Precision = "float32",
    seed: int = 0,
) -> Task:
    """Build a network for a table: entity embeddings and normalized numbers, followed by dense layers.

    The embeddings learn which categories behave alike (Guo & Berkhahn 2016, arXiv 1604.06737). Each dense layer is
    followed by a ReLU, batch normalisation and dropout, as in fastai's tabular model.

    Example:
        >>> data = tlkit.table_from_file("houses.csv", "price")
        >>> task = tlkit.tabular_model(data.preprocessing, data.targets)
        >>> learn = tlkit.Learner(task, data)
        >>> learn.fit(5, 1e-2)

    Args:
        preprocessing: that of the data; it knows the columns and their categories.
        targets: `data.targets`.
        hidden: units of the dense layers; the last one's are the embedding of a row that the export gives.
        embedding_sizes: width of a column's embedding where it shall not follow the rule (`embedding_size`), by the
            name of the code column, such as `"Store"` or `"date month"`.
        embedding_dropout: dropout rate of the embeddings, in [0, 1).
        dropout: after each dense layer: one number, or one for each.
        batch_norm: normalise numbers and hidden layers by batch.
        members: 0 for a single network. From 2 on it is TabM (Gorishniy et al. 2024, arXiv 2410.24210): an ensemble of
            so many networks that share embeddings and kernels, each with scales, biases and a last layer of its own and
            a loss of its own. It answers with the mean of their probabilities, or of their values after the target's
            transform. Its hidden layers have no batch normalisation. Training takes about as much longer as there are
            members; the paper has 32.
        number_bins: bins that each number is spread over, see `PiecewiseLinear`; 0 leaves numbers as they are.
        head: of a single network; builds the outputs from the last hidden layer: `head(embedding [B, F], K) -> [B, K]`.
        start_from: vectors that embeddings begin with, by code column and value, such as another project's
            `tlkit embeddings export` gives: what occurs in both is taken over, the rest starts at their mean.
        precision: dtype policy of the dense layers.
        seed: random seed of initial weights, dropout and the random numbers of `head`.

    Returns:
        A `Task` of kind `"tabular"`, wholly trainable; with `start_from`, its embeddings are frozen. Its layer groups
        are embeddings, numbers, trunk and head.

    Raises:
        ConfigError: an argument is invalid, or a single target has a loss weight.
    """
    check_members(members, head)
    objective = MemberObjective(targets) if members else Objective(targets)
    units = _checked_hidden(hidden)
    rates = [dropout] * len(units) if isinstance(dropout, int | float) else list(dropout)
    if len(rates) != len(units):
        raise ConfigError("there must be one dropout, or one for each dense layer", received=rates)
    for rate in (embedding_dropout, *rates):
        check_dropout("dropout", rate)
    sizes = _sizes(preprocessing, embedding_sizes or {})
    seeds = keras.random.SeedGenerator(seed)

    def fresh() -> int:
        return int(np.asarray(seeds.next())[0]) % 2**31

    encoded = keras.Input((preprocessing.width,), name="encoded")
    *codes, numbers = _listed(CodesAndNumbers(len(preprocessing.codes), name="columns")(encoded))
    embeddings = [
        keras.layers.Embedding(
            code.size, sizes[code.name], embeddings_initializer=_small(fresh()), name=f"embedding_{number}"
        )
        for number, code in enumerate(preprocessing.codes)
    ]
    parts = [layer(column) for layer, column in zip(embeddings, codes, strict=True)]
    vector = keras.layers.Concatenate(name="embeddings")(parts) if len(parts) > 1 else (parts or [None])[0]
    if vector is not None and embedding_dropout:
        vector = keras.layers.Dropout(embedding_dropout, seed=fresh(), name="embedding_dropout")(vector)
    number_layers: list[keras.layers.Layer] = []
    if preprocessing.numbers:
        if number_bins:
            numbers = PiecewiseLinear(number_bins, name="bins")(numbers)
        if batch_norm:
            norm = keras.layers.BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON, name="normalised_numbers")
            numbers = norm(numbers)
            number_layers.append(norm)
        vector = numbers if vector is None else keras.layers.Concatenate(name="row")([vector, numbers])
    trunk: list[keras.layers.Layer] = []
    for place, (width, rate) in enumerate(zip(units, rates, strict=True), 1):
        if members:
            stack = member_layers(place, width, members, fresh())
        else:
            he = _he(fresh())
            stack = [keras.layers.Dense(width, activation="relu", kernel_initializer=he, name=f"dense_{place}")]
        if batch_norm and not members:
            stack.append(keras.layers.BatchNormalization(momentum=_MOMENTUM, name=f"norm_{place}"))
        if rate:
            stack.append(keras.layers.Dropout(rate, seed=fresh(), name=f"dropout_{place}"))
        trunk += stack
    if members:
        trunk.append(keras.layers.Flatten(name="members"))
    for layer in trunk:
        vector = layer(vector)
    features = keras.Model(encoded, vector, name="features")
    embedding = keras.Input(features.output_shape[1:], name="embedding")
    if members:
        outputs = member_head(embedding, members, objective)
    else:
        outputs = build_head(head, 0.0, seed)(embedding, objective.width)
    head_model = keras.Model(embedding, outputs, name="head")
    groups = (
        LayerGroup("embeddings", tuple(embeddings)),
        LayerGroup("numbers", tuple(number_layers)),
        LayerGroup("trunk", tuple(trunk)),
    )
    task = Task(
        kind="tabular",
        model=keras.Model(encoded, head_model(features(encoded)), name="tabular"),
        features=features,
        head=head_model,
        backbone=features,
        preprocessing=preprocessing,
        class_names=objective.output_names,
        # A group without a weight could be neither frozen nor trained.
        groups=(*(g for g in groups if g.variables), LayerGroup("head", (head_model,))),
        backbone_name=f"embeddings + {f'TabM of {members} x ' if members else ''}{'-'.join(map(str, units))}",
        weights_source="none",
        objective=objective,
        embedding=member_embedding(embedding, members) if members else None,
    )
    task.freeze_to(0)
    if start_from is not None:
        _start_from(task, start_from)
        task.freeze_to(1)
    task.set_precision(precision)
    return task


def embedding_sizes_of(task: Task) -> dict[str, Any]:
    """Return the width of each code column's embedding: it may come from another project's vectors."""
    codes = cast(Any, task.preprocessing).codes
    layers = {layer.name: layer for layer in task.features._flatten_layers()}
    found = [(code.name, layers.get(f"embedding_{number}")) for number, code in enumerate(codes)]
    sizes = {name: layer.output_dim for name, layer in found if isinstance(layer, keras.layers.Embedding)}
    return {"embedding_sizes": sizes}


def _checked_hidden(hidden: Sequence[int]) -> tuple[int, ...]:
    units = tuple(hidden) if isinstance(hidden, Sequence) else ()
    if not units or any(isinstance(u, bool) or not isinstance(u, int) or not 1 <= u <= 65_536 for u in units):
        raise ConfigError("hidden is invalid", received=hidden, allowed="a list of units, such as [200, 100]")
    return units


def _sizes(preprocessing: TablePreprocessing, own: Mapping[str, int]) -> dict[str, int]:
    names = [code.name for code in preprocessing.codes]
    for name, size in own.items():
        if name not in names:
            raise ConfigError(
                "embedding_sizes names no categorical column",
                received=name,
                allowed=names,
                fix=did_you_mean(name, names) or None,
            )
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 4096:
            raise ConfigError(f"the embedding size of {name} is invalid", received=size, allowed="1 to 4096")
    return {code.name: own.get(code.name, embedding_size(code.size)) for code in preprocessing.codes}


def _start_from(task: Task, tables: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Take embeddings over by the value of the category.

    Raises:
        ConfigError: no column occurs in both, or a width differs.
    """
    preprocessing = cast("TablePreprocessing", task.preprocessing)
    known = [code.name for code in preprocessing.codes]
    shared = [name for name in tables if name in known]
    if not shared:
        raise ConfigError("start_from has none of the categorical columns", received=list(tables), allowed=known)
    for number, code in enumerate(preprocessing.codes):
        if code.name not in tables:
            continue
        layer = task.features.get_layer(f"embedding_{number}")
        vectors = tables[code.name]
        weights = np.tile(np.mean(list(vectors.values()), axis=0, dtype=np.float64), (code.size, 1)).astype(np.float32)
        if weights.shape[1] != layer.output_dim:
            raise ConfigError(
                f"the vectors of {code.name} have another width",
                received=weights.shape[1],
                allowed=layer.output_dim,
                fix=f"set embedding_sizes for {code.name} to {weights.shape[1]}",
            )
        for place, label in enumerate(code.labels):
            if label in vectors:
                weights[place] = vectors[label]
        layer.embeddings.assign(weights)


def _listed(parts: Any) -> list[Any]:
    return parts if isinstance(parts, list) else [parts]  # Keras unpacks a list of one


def _small(seed: int) -> keras.Initializer:
    # Near zero, so that a category which is hardly seen says hardly anything.
    return keras.initializers.TruncatedNormal(stddev=0.05, seed=seed)


def _he(seed: int) -> keras.Initializer:
    return keras.initializers.HeUniform(seed=seed)
