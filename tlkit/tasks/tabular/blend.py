"""Boosted trees inside a task's network: alone, or mixed with the network's outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np
from keras import ops

from tlkit.errors import ConfigError, ModelError
from tlkit.models.task import LayerGroup, Task
from tlkit.targets.objective import Objective
from tlkit.tasks.tabular.tree_fit import check_boosting
from tlkit.tasks.tabular.tree_layer import BoostedTreesLayer
from tlkit.tasks.tabular.trees import BoostedTrees, TreeShape

if TYPE_CHECKING:
    from tlkit.inputs.row.preprocessing import TablePreprocessing

TREES, MIX = "boosted_trees", "mix"  # names of the layers


@keras.saving.register_keras_serializable("tlkit")
class MixedOutputs(keras.layers.Layer):
    """Mixes outputs: those of a network [B, K] and of boosted trees, float32 [B, K] -> float32 [B, K].

    Each output is `(1 - share) network + share trees`: values are mixed after the target's transform, classes by their
    logits. In training the network sees its own outputs alone.

    Args:
        outputs: K.
    """

    def __init__(self, outputs: int, **options: Any):
        options.setdefault("dtype", "float32")
        super().__init__(**options)
        self.outputs = outputs
        self.share = self.add_weight(
            shape=(outputs,), initializer="zeros", trainable=False, autocast=False, name="share"
        )

    @property
    def trainable(self) -> bool:
        """False: the shares are found once, by `blend_shares`."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        pass

    def call(self, network: Any, trees: Any, training: bool | None = None) -> Any:
        """See the class."""
        if training:
            return network
        share = ops.convert_to_tensor(self.share)
        return (1.0 - share) * ops.cast(network, "float32") + share * trees

    def compute_output_shape(self, network_shape: Any, trees_shape: Any) -> Any:
        """Give [B, K]."""
        return tuple(trees_shape)

    def get_config(self) -> dict[str, Any]:
        """Give the arguments."""
        return {**super().get_config(), "outputs": self.outputs}


def add_trees(task: Task, trees: BoostedTrees | TreeShape, shares: Sequence[float] | None = None) -> Task:
    """Return a task whose answers are a blend of a network and of boosted trees.

    The layers of the network are those of the given task, in the same layer groups: training goes on as before, and
    changes neither the trees nor the shares. What is validated, kept and exported is the blend.

    Example:
        >>> fitted = fit_trees(data.encoded("train"), true, data.preprocessing, task.objective)
        >>> task = add_trees(task, fitted.trees, [0.6])

    Args:
        task: of kind `"tabular"`, without trees.
        trees: the arrays; or their sizes, where weights are to be loaded.
        shares: of the trees in the outputs of each target, 0 to 1; zeros when left out.

    Returns:
        A task whose `features` are the network's, with the outputs of the trees at their end.

    Raises:
        ConfigError: the trees are not of the task's targets, or a share is not usable.
    """
    shape, layer = _layer_of(task.objective, trees)
    encoded = keras.Input(task.model.input_shape[1:], name="encoded")
    width = task.features.output_shape[-1]
    joined = keras.layers.Concatenate(name="with_trees")([task.features(encoded), layer(encoded)])
    features = keras.Model(encoded, joined, name="features_and_trees")
    both = keras.Input((width + shape.outputs,), name="features")
    mix = MixedOutputs(shape.outputs, name=MIX)
    head = keras.Model(both, mix(task.head(both[:, :width]), both[:, width:]), name="blend")
    given = keras.Input((width + shape.outputs,), name="features")
    own = given[:, :width]
    embedding = keras.Model(given, own if task.embedding is None else task.embedding(own), name="embedding")
    found = dataclasses.replace(
        task,
        model=keras.Model(encoded, head(features(encoded)), name="tabular"),
        features=features,
        head=head,
        embedding=embedding,
        groups=(*task.groups[:-1], LayerGroup("head", (head,))),
    )
    if shares is not None:
        set_shares(found, shares)
    return found


def trees_alone(objective: Objective, preprocessing: TablePreprocessing, trees: BoostedTrees | TreeShape) -> Task:
    """Return a task whose answers are those of boosted trees. No layer of it can be trained.

    Example:
        >>> task = trees_alone(Objective(data.targets), data.preprocessing, fitted.trees)
        >>> learn = tlkit.Learner(task, data, directory="checkpoints").finish(keep="last")

    Args:
        objective: the targets.
        preprocessing: the table's.
        trees: the arrays; or their sizes, where weights are to be loaded.

    Returns:
        A task of kind `"tabular"`; its `features`, and so the embedding of a row, are the outputs of the trees.

    Raises:
        ConfigError: the trees are not of these targets.
    """
    shape, layer = _layer_of(objective, trees)
    encoded = keras.Input((preprocessing.width,), name="encoded")
    features = keras.Model(encoded, layer(encoded), name="features")
    given = keras.Input((shape.outputs,), name="features")
    head = keras.Model(given, keras.layers.Identity(name="outputs")(given), name="head")
    return Task(
        kind="tabular",
        model=keras.Model(encoded, head(features(encoded)), name="tabular"),
        features=features,
        head=head,
        backbone=features,
        preprocessing=preprocessing,
        class_names=objective.output_names,
        groups=(LayerGroup("head", (head,)),),
        backbone_name="boosted trees",
        weights_source="none",
        objective=objective,
    )


def set_shares(task: Task, shares: Sequence[float]) -> None:
    """Set the shares of the trees in a blend.

    Args:
        task: what `add_trees` gave.
        shares: of the outputs of each target, 0 to 1.

    Raises:
        ConfigError: there is not one for each target, or one is not usable.
    """
    targets = task.objective.targets
    if len(shares) != len(targets) or not all(0 <= share <= 1 for share in shares):
        raise ConfigError(
            "the shares of boosted trees are invalid", received=[*shares], allowed=f"{len(targets)}, each 0 to 1"
        )
    mix: Any = task.head.get_layer(MIX)
    mix.share.assign(np.repeat(np.asarray(shares, np.float32), [target.width for target in targets]))


def shares_of(task: Task) -> dict[str, float]:
    """Return the share of the trees in the outputs of each target; empty where the task is no blend."""
    mix: Any = next((layer for layer in task.head.layers if isinstance(layer, MixedOutputs)), None)
    if mix is None:
        return {}
    shares = ops.convert_to_numpy(mix.share)
    return {target.name: float(own[0]) for target, own in task.objective.parts(shares)}


def tree_shape_of(task: Task) -> TreeShape | None:
    """Return the sizes of a task's boosted trees; None where it has none."""
    found = [layer.shape for layer in task.features.layers if isinstance(layer, BoostedTreesLayer)]
    return found[0] if found else None


def is_boosting_alone(task: Task) -> bool:
    """Return whether a task predicts by boosted trees without a network."""
    return tree_shape_of(task) is not None and not shares_of(task)


def restored_trees(task: Task, plain: Mapping[str, Any]) -> Task:
    """Return a task with trees of these sizes, as a training had it; weights are still to be loaded.

    Args:
        task: the network of the project.
        plain: what `facts_of` says of the trees.

    Raises:
        ModelError: another version of tlkit wrote it.
    """
    try:
        shape = TreeShape(**plain["shape"])
    except TypeError:
        raise ModelError(
            "the boosted trees of this training have another form", received=sorted(plain["shape"]),
            allowed=[field.name for field in dataclasses.fields(TreeShape)], fix="run `tlkit train` again",
        ) from None  # fmt: skip
    if plain["kind"] == "boosting":
        return trees_alone(task.objective, cast("TablePreprocessing", task.preprocessing), shape)
    return add_trees(task, shape)


def _layer_of(objective: Objective, trees: BoostedTrees | TreeShape) -> tuple[TreeShape, BoostedTreesLayer]:
    check_boosting(objective)
    shape, arrays = (trees, None) if isinstance(trees, TreeShape) else (trees.shape, trees)
    if shape.outputs != objective.width:
        raise ConfigError(
            "the boosted trees are of other targets",
            received=f"{shape.outputs} outputs",
            allowed=f"{objective.width}: {', '.join(target.name for target in objective.targets)}",
        )
    return shape, BoostedTreesLayer(shape, arrays, name=TREES)
