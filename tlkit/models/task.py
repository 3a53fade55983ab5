"""A Task: a pretrained backbone, the preprocessing it was trained with, a head, labels and layer groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import keras

from tlkit.errors import ConfigError
from tlkit.preprocessing.images import ImagePreprocessing


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

    def set_trainable(self, value: bool) -> None:
        """Freeze (False) or unfreeze (True) every layer of the group."""
        for layer in self.layers:
            layer.trainable = value


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What is learned, as plain Keras models that users can get at.

    Attributes:
        kind: `"image_classification"`.
        model: pixels float32 [B, S, S, 3] in 0..255 (RGB) -> logits float32 [B, k].
        features: pixels [B, S, S, 3] -> embedding [B, F]: scaling, backbone and pooling.
        head: embedding [B, F] -> logits [B, k]; `model(x) == head(features(x))`.
        backbone: the pretrained network inside `features`.
        preprocessing: image bytes -> pixels; training and the exported graph call this same object.
        class_names: the label of each logit.
        groups: layer groups from the input to the output; the last one is the head.
        backbone_name: name in the catalogue.
        weights_source: where the weights came from; `"none"` for random ones.
    """

    kind: str
    model: keras.Model
    features: keras.Model
    head: keras.Model
    backbone: keras.Model
    preprocessing: ImagePreprocessing
    class_names: tuple[str, ...]
    groups: tuple[LayerGroup, ...]
    backbone_name: str
    weights_source: str

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
            raise ConfigError("there is no such layer group", received=first_trainable, allowed=names)
        first = first_trainable % count
        # A layer that holds frozen layers must itself be trainable, or Keras freezes all that is inside it.
        self.features.trainable = True
        for number, group in enumerate(self.groups):
            group.set_trainable(number >= first)

    @property
    def backbone_is_frozen(self) -> bool:
        """Whether no weight below the head will change in training."""
        return not any(group.trainable for group in self.groups[:-1])

    def __iter__(self) -> Iterator[LayerGroup]:
        return iter(self.groups)


def check_class_names(class_names: object) -> tuple[str, ...]:
    """Give the class names as a tuple, or say what is wrong with them.

    Raises:
        ConfigError: fewer than two names, a name twice, an empty one, or one that is no single line of text.
    """
    if isinstance(class_names, str) or not isinstance(class_names, Sequence):
        raise ConfigError("class names must be a list of strings", received=class_names)
    names = tuple(class_names)
    if len(names) < 2:
        raise ConfigError("a classifier needs at least two classes", received=list(names))
    for name in names:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ConfigError("a class name must be one line of printable text", received=name)
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise ConfigError("a class name must be valid UTF-8", received=name) from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError("class names must differ", received=twice)
    return names
