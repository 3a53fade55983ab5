"""A Task: a pretrained backbone, the preprocessing it was trained with, a head, labels and layer groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import keras

from tlkit.errors import ConfigError, check_choice
from tlkit.inputs.base import Preprocessing
from tlkit.inputs.image.preprocessing import ImagePreprocessing
from tlkit.models.frozen_statistics import FrozenStatistics
from tlkit.models.novelty import Novelty
from tlkit.models.resizing import features_at_size
from tlkit.targets.objective import Objective, classification

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
# Layers before the first convolution of a backbone need more than the eight bits of bfloat16. The other layers here
# compute nothing, but would round the pixels that they pass on.
_ALWAYS_FLOAT32 = (
    keras.layers.InputLayer,
    keras.layers.Rescaling,
    keras.layers.Normalization,
    keras.Model,
    FrozenStatistics,
)


@dataclasses.dataclass(frozen=True, eq=False)
class LayerGroup:
    """Layers that are frozen, unfrozen and given a learning rate together.

    Attributes:
        name: for example `"stem"`, `"body"`, `"last_block"` or `"head"`.
        layers: the layers, in the order of the network.
    """

    name: str
    layers: tuple[keras.layers.Layer, ...]

    @property
    def trainable(self) -> bool:
        """Whether any layer with weights is trainable."""
        return any(layer.trainable for layer in self.layers if layer.weights)

    @property
    def variables(self) -> tuple[keras.Variable, ...]:
        """The trainable variables of the unfrozen group, in the order of the model; the same list while it is frozen.

        Batch-normalisation statistics and other state that no gradient reaches are not among them.
        """
        # Keras' trainable lists skip frozen layers; this list of each layer does not.
        kinds = {
            id(variable)
            for layer in self.layers
            for part in layer._flatten_layers()
            for variable in part._trainable_variables
        }
        found = {id(weight): weight for layer in self.layers for weight in layer.weights if id(weight) in kinds}
        return tuple(found.values())

    def set_trainable(self, value: bool) -> None:
        """Freeze (False) or unfreeze (True) every layer of the group."""
        for layer in self.layers:
            layer.trainable = value


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A model to train, with its backbone, head, preprocessing and layer groups as Keras objects.

    Attributes:
        kind: a key of `tlkit.tasks.base.TASKS`.
        model: inputs -> outputs float32 [B, k], logits of classes. Inputs are pixels float32 [B, S, S, 3] in 0..255
            (RGB), token ids int32 [B, T], or encoded rows float32 [B, D].
        features: inputs -> embedding [B, F]: scaling of pixels, backbone and pooling.
        head: embedding [B, F] -> outputs [B, k]; `model(x) == head(features(x))`.
        backbone: the pretrained network inside `features`.
        preprocessing: image bytes, strings or columns -> inputs; training and the exported graph call this same object.
        class_names: the name of each number of an answer: a class, or the targets.
        groups: layer groups from the input to the output; the last one is the head.
        backbone_name: name in the catalogue.
        weights_source: where the weights came from; `"none"` for random ones.
        cut: the layer group that the backbone ends after; empty when it is whole.
        min_size: the smallest side of an image that the backbone takes, in pixels; unused for texts.
        objective: what the outputs mean; one class out of `class_names` by default.
        novelty: how far an item is from the training data; None until `Learner.calibrate` measured it.
        embedding: output of `features` -> the embedding [B, E] that the export gives; None where they are the same.
    """

    kind: str
    model: keras.Model
    features: keras.Model
    head: keras.Model
    backbone: keras.Model
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    groups: tuple[LayerGroup, ...]
    backbone_name: str
    weights_source: str
    cut: str = ""
    min_size: int = 16
    objective: Objective = None  # type: ignore[assignment]
    embedding: keras.Model | None = None
    novelty: Novelty | None = None

    def __post_init__(self) -> None:
        if self.objective is None:
            object.__setattr__(self, "objective", classification(self.class_names))

    def set_novelty(self, novelty: Novelty | None) -> None:
        """Use another measure of how far an item is from the training data; None for none."""
        object.__setattr__(self, "novelty", novelty)

    def embedded(self, features: Any) -> Any:
        """Return the embedding float32 [B, E] of outputs of `features`."""
        return features if self.embedding is None else self.embedding(features, training=False)

    def freeze_to(self, first_trainable: int) -> None:
        """Freeze every group before number `first_trainable` and unfreeze the others.

        Args:
            first_trainable: 0 unfreezes everything, `len(groups) - 1` or -1 leaves only the head trainable.

        Raises:
            ConfigError: there is no such group.
        """
        count = len(self.groups)
        if isinstance(first_trainable, bool) or not -count <= first_trainable < count:
            names = ", ".join(f"{number} {group.name}" for number, group in enumerate(self.groups))
            raise ConfigError("unknown layer group", received=first_trainable, allowed=names)
        first = first_trainable % count
        # A layer with frozen layers inside must itself be trainable, otherwise Keras freezes all inner layers.
        self.features.trainable = True
        for number, group in enumerate(self.groups):
            group.set_trainable(number >= first)

    @property
    def backbone_is_frozen(self) -> bool:
        """Whether all weights below the head are frozen."""
        return not any(group.trainable for group in self.groups[:-1])

    def at_size(self, size: int) -> Task:
        """Return the task for another image size, for progressive resizing.

        Layers, weights, groups and head are the same objects, so that what one learns the other knows, and frozen
        stays frozen; only the input size of the networks and the preprocessing differ.

        Example:
            >>> small = task.at_size(128)
            >>> small.model.input_shape
            (None, 128, 128, 3)

        Args:
            size: side of the images, in pixels.

        Raises:
            ConfigError: the backbone cannot take this size, or the task is not one of images.
        """
        if not isinstance(self.preprocessing, ImagePreprocessing):
            raise ConfigError("only image models can change their size", received=self.kind)
        preprocessing = dataclasses.replace(self.preprocessing, size=size)
        if size < self.min_size:
            raise ConfigError(
                f"{self.backbone_name} cannot take images of that size",
                received=size,
                allowed=f"{self.min_size} pixels or more",
            )
        if size == self.preprocessing.size:
            return self
        features, backbone = features_at_size(self.features, self.backbone, size)
        # Same structure as `model`: weights files name the variables by it.
        pixels = keras.Input(features.input_shape[1:], name="pixels")
        model = keras.Model(pixels, self.head(features(pixels)), name=self.model.name)
        return dataclasses.replace(self, model=model, features=features, backbone=backbone, preprocessing=preprocessing)

    @property
    def precision(self) -> str:
        """The dtype policy of the backbone; names are joined with "+" if its layers differ."""
        layers = [layer for layer in self.backbone._flatten_layers() if not isinstance(layer, _ALWAYS_FLOAT32)]
        return "+".join(sorted({layer.dtype_policy.name for layer in layers}))

    def set_precision(self, precision: str) -> None:
        """Set the precision of the backbone. Weights stay float32, and the change can be reverted exactly.

        Scaling of pixels, pooling and head stay float32. A model that was compiled before has to be compiled again;
        with `"mixed_float16"`, train with a `keras.optimizers.LossScaleOptimizer`, since small gradients vanish.

        Args:
            precision: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.

        Raises:
            ConfigError: it is none of these.
        """
        check_choice("precision", precision, get_args(Precision))
        inside = {id(layer) for layer in self.backbone._flatten_layers()}
        for layer in self.features._flatten_layers():
            reduced = id(layer) in inside and not isinstance(layer, _ALWAYS_FLOAT32)
            layer.dtype_policy = precision if reduced else "float32"
        for network in (self.model, self.features, self.backbone):
            # Keras keeps traced graphs, which would still use the old precision.
            network.train_function = network.test_function = network.predict_function = None

    def __iter__(self) -> Iterator[LayerGroup]:
        return iter(self.groups)


def check_class_names(class_names: object, least: int = 2) -> tuple[str, ...]:
    """Return the class names as a tuple.

    Args:
        class_names: a list of strings.
        least: how many there must be: one is enough where labels are independent of each other.

    Raises:
        ConfigError: fewer names, a name twice, an empty one, or one that is no single line of text.
    """
    if isinstance(class_names, str) or not isinstance(class_names, Sequence):
        raise ConfigError("class names must be a list of strings", received=class_names)
    names = tuple(class_names)
    if len(names) < least:
        raise ConfigError(
            f"a classifier needs at least {'two classes' if least > 1 else 'one label'}", received=[*names]
        )
    for name in names:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ConfigError("a class name must be one line of printable text", received=name)
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise ConfigError("a class name must be valid UTF-8", received=name) from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError("class names must be unique", received=twice)
    return names
