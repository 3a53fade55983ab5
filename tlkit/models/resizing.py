"""The same network at another input size: the same layers and weights, called on another input."""

from __future__ import annotations

import keras

from tlkit.errors import ConfigError
from tlkit.models.frozen_statistics import FrozenStatistics


def features_at_size(features: keras.Model, backbone: keras.Model, size: int) -> tuple[keras.Model, keras.Model]:
    """Call the layers of a feature network on square images of another size.

    No weight is copied: both networks hold the same variables, in the same order, and training one trains the other.
    Where a backbone chose its padding for the original size (EfficientNet and its kind before strided convolutions),
    it keeps that padding.

    Example:
        >>> small_features, small_backbone = features_at_size(task.features, task.backbone, 128)

    Args:
        features: pixels [B, S, S, 3] -> embedding [B, F]; holds `backbone`, bare or inside `FrozenStatistics`.
        backbone: the network inside.
        size: side of the images in pixels.

    Returns:
        The feature network and the backbone in it, both for [B, size, size, 3].

    Raises:
        ConfigError: the network has no output at this size.
    """
    places = [layer for layer in features.layers if layer is backbone or getattr(layer, "network", None) is backbone]
    if not places:
        raise ConfigError(f"the feature network does not contain {backbone.name}", received=features.name)
    try:
        inner = _on_new_input(backbone, size, {})
        replaced: dict[int, keras.layers.Layer] = {
            id(layer): inner
            if layer is backbone
            else FrozenStatistics(inner, name=layer.name, dtype=layer.dtype_policy)
            for layer in places
        }
        return _on_new_input(features, size, replaced), inner
    except ValueError as error:
        raise ConfigError(
            f"{backbone.name} cannot work at this image size",
            received=size,
            fix="choose a size closer to the backbone's default",
        ) from error


def _on_new_input(network: keras.Model, size: int, replaced: dict[int, keras.layers.Layer]) -> keras.Model:
    old = network.inputs[0]
    new = keras.Input((size, size, *old.shape[3:]), dtype=old.dtype, name=old.name)
    structure = new if not isinstance(network.input, list) else [new]
    return keras.models.clone_model(
        network,
        input_tensors=structure,
        clone_function=lambda layer: replaced[id(layer)] if id(layer) in replaced else _without_size(layer),
    )


def _without_size(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return the layer, or for a Sequential, which rejects other sizes, a new one with the same layers."""
    if isinstance(layer, keras.Sequential):
        return keras.Sequential([_without_size(inner) for inner in layer.layers], name=layer.name)
    return layer
