"""Combine several sets of weights of a task into one network that averages their probabilities."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from tlkit.errors import ConfigError, ModelError
from tlkit.models.task import LayerGroup, Task


def ensemble(task: Task, weights: Sequence[Sequence[np.ndarray]]) -> Task:
    """Build the network whose probabilities are the mean of the members' probabilities.

    The members are copies of the task's network with other weights, such as the snapshots that a cyclical learning
    rate leaves at the end of its cycles. Members whose weights below the head are equal to the bit share one copy of
    the backbone, so that snapshots of a head alone cost one backbone in memory and time. The given task keeps its
    weights, and nothing of it is shared with the result.

    Example:
        >>> snapshots = [[variable.numpy() for variable in task.model.variables]]  # and more after further cycles
        >>> ensemble(task, snapshots).model.output_shape
        (None, 2)

    Args:
        task: gives the architecture, the preprocessing and the class names.
        weights: one list of arrays for each member: the values of `task.model.variables`, in that order.

    Returns:
        A frozen Task. The probabilities of `model(inputs) -> logits float32 [B, k]` are the mean of the members';
        `features` gives the embeddings of the distinct backbones side by side, float32 [B, D * F]; `backbone` is that
        of the first member; a layer group holds the layers of all copies.

    Raises:
        ConfigError: there is no member, or a member's arrays are not those of the model; the message names the
            variable.
        ModelError: the task's network cannot be copied.

    Source: Huang et al. 2017, "Snapshot Ensembles: Train 1, Get M for Free", arXiv 1704.00109.
    """
    variables = list(task.model.variables)
    members = _checked_members(variables, weights)
    _refuse_other_variables(task, variables)
    # Seeds of dropout change in training but not in prediction: backbones are equal if only these differ.
    below_head = [id(weight) for weight in task.features.weights]

    copies: dict[bytes, keras.Model] = {}
    heads: list[keras.Model] = []
    numbers: list[int] = []  # of each head's part of the embedding
    for member in members:
        values = {id(variable): value for variable, value in zip(variables, member, strict=True)}
        key = _fingerprint(values[weight] for weight in below_head)
        if key not in copies:
            copies[key] = _copy(task.features, f"features_{len(copies) + 1}", values)
        heads.append(_copy(task.head, f"head_{len(heads) + 1}", values))
        numbers.append(list(copies).index(key))
    parts = list(copies.values())

    like = task.features.inputs[0]
    inputs = keras.Input(like.shape[1:], dtype=like.dtype, name=like.name)
    embeddings = [keras.ops.cast(part(inputs), "float32") for part in parts]
    embedding = embeddings[0] if len(parts) == 1 else keras.ops.concatenate(embeddings, axis=-1)
    features = keras.Model(inputs, embedding, name="features")
    head = _averaging_head(heads, numbers, len(parts), task)
    model = keras.Model(inputs, head(features(inputs)), name=f"{task.model.name}_ensemble")

    twins = [_twins(task.features, part) for part in parts]
    groups = tuple(
        LayerGroup(group.name, tuple(_twin(twin, layer) for twin in twins for layer in group.layers))
        for group in task.groups[:-1]
    )
    result = dataclasses.replace(
        task,
        model=model,
        features=features,
        head=head,
        embedding=None,
        backbone=_twin(twins[0], task.backbone),
        groups=(*groups, LayerGroup(task.groups[-1].name, (head,))),
        backbone_name=f"{task.backbone_name} (ensemble of {len(members)})",
    )
    result.freeze_to(-1)
    return result


def _checked_members(variables: Sequence[Any], weights: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
    """Return the members as arrays of the variables' dtypes, or say which array of which member does not fit."""
    if isinstance(weights, np.ndarray | str) or not isinstance(weights, Sequence) or not weights:
        raise ConfigError(
            "an ensemble needs at least one member",
            received=weights if isinstance(weights, list | tuple) else type(weights).__name__,
            allowed="a list with the weights of each member",
        )
    members = []
    for number, member in enumerate(weights, start=1):
        if not isinstance(member, Sequence) or len(member) != len(variables):
            raise ConfigError(
                f"member {number} of the ensemble is not a list of the model's weights",
                received=f"{len(member)} arrays" if isinstance(member, Sequence) else type(member).__name__,
                allowed=f"{len(variables)} arrays",
                fix="use [variable.numpy() for variable in task.model.variables]",
            )
        arrays = []
        for variable, value in zip(variables, member, strict=True):
            if np.shape(value) != tuple(variable.shape):
                raise ConfigError(
                    f"member {number} of the ensemble does not fit variable {variable.path!r}",
                    received=np.shape(value),
                    allowed=f"shape {tuple(variable.shape)}",
                )
            arrays.append(np.asarray(value, dtype=keras.backend.standardize_dtype(variable.dtype)))
        members.append(arrays)
    return members


def _refuse_other_variables(task: Task, variables: Sequence[Any]) -> None:
    in_model = {id(variable) for variable in variables}
    in_parts = {id(variable) for part in (task.features, task.head) for variable in part.variables}
    if in_model != in_parts:
        odd = next(
            variable
            for variable in (*variables, *task.features.variables, *task.head.variables)
            if id(variable) not in in_model & in_parts
        )
        raise ModelError(
            "the task's model is not its features followed by its head", received=odd.path, allowed="shared variables"
        )


def _fingerprint(arrays: Iterable[np.ndarray]) -> bytes:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def _copy(part: keras.Model, name: str, values: dict[int, np.ndarray]) -> keras.Model:
    """Copy a network, with new values by the id of the original's variable."""
    try:
        copy = keras.models.clone_model(part)
    except Exception as error:  # whatever a user's layer raises in get_config or from_config
        raise ModelError(
            f"{part.name} cannot be copied: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
            fix="implement get_config() and from_config() in its custom layers",
        ) from error
    copy.name = name  # the copies are parts of one model
    _twins(part, copy)
    if [(v.name, v.shape) for v in copy.variables] != [(v.name, v.shape) for v in part.variables]:
        raise ModelError(
            f"a copy of {part.name} has other variables", fix="return all arguments of its layers from get_config()"
        )
    for variable, original in zip(copy.variables, part.variables, strict=True):
        variable.assign(values[id(original)])
    for layer in copy._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with numbers derived from its variables when they are loaded
    return copy


def _averaging_head(heads: list[keras.Model], numbers: list[int], distinct: int, task: Task) -> keras.Model:
    """Run each head on its part of the embedding [B, distinct * F]; the logits are those of the mean probability."""
    width = task.features.output_shape[-1]
    embedding = keras.Input((distinct * width,), name="embedding")
    parts = keras.ops.split(embedding, distinct, axis=-1) if distinct > 1 else [embedding]
    logits = [keras.ops.cast(head(parts[number]), "float32") for head, number in zip(heads, numbers, strict=True)]

    return keras.Model(embedding, task.objective.averaged(logits), name="head")


def _twins(part: keras.Model, copy: keras.Model) -> dict[int, keras.layers.Layer]:
    """Map the id of each layer of a network to the layer in its place in the copy."""
    originals, layers = list(part._flatten_layers()), list(copy._flatten_layers())
    if [type(layer) for layer in originals] != [type(layer) for layer in layers]:
        raise ModelError(f"a copy of {part.name} has other layers", fix="return all of its layers from get_config()")
    return {id(original): layer for original, layer in zip(originals, layers, strict=True)}


def _twin(twins: dict[int, keras.layers.Layer], layer: keras.layers.Layer) -> keras.layers.Layer:
    if id(layer) not in twins:
        raise ModelError("a layer of the task's groups is not in its feature network", received=layer.name)
    return twins[id(layer)]
