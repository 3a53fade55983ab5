"""Build backbones of the catalogue: network, layer groups, weights, and the scaling of pixels."""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit.catalogue import image, weight_files
from tlkit.catalogue.random_weights import random_weights_message
from tlkit.catalogue.records import ImageBackbone
from tlkit.catalogue.scaling import IMAGENET_MEAN_RGB, IMAGENET_STDDEV_RGB, PixelScaling
from tlkit.catalogue.weights import resolve
from tlkit.errors import Advice, ModelError, WeightsError, check_choice

GROUP_NAMES = ("stem", "body", "last_block")
log = logging.getLogger(__name__)

# Width, depth and dropout of the three that the catalogue has; stem, top and the repeats of the first and the
# last stage are not scaled. Source: the EfficientNet-Lite builder of TensorFlow's TPU models.
_LITE = {
    "EfficientNetLite0": (1.0, 1.0, 0.2),
    "EfficientNetLite1": (1.0, 1.1, 0.2),
    "EfficientNetLite2": (1.1, 1.2, 0.3),
}


@dataclass(frozen=True, eq=False)
class BuiltBackbone:
    """A backbone that a head can be added to.

    Attributes:
        row: the row of the catalogue.
        model: scaled pixels float32 [B, H, W, 3] to feature map float32 [B, h, w, C].
        groups: (name, layers) for "stem", "body" and "last_block", in order, up to the one that the network was
            cut after; every layer of `model` is in exactly one.
        scaling: the kind of `PixelScaling` that belongs in front of `model`.
        weights_source: where the weights came from, or "none".
    """

    row: ImageBackbone
    model: keras.Model
    groups: tuple[tuple[str, tuple[keras.layers.Layer, ...]], ...]
    scaling: str
    weights_source: str

    def pixel_scaling(self) -> PixelScaling:
        """Return a new layer that scales RGB pixels in 0..255, float32 [B, H, W, 3], for `model`."""
        return PixelScaling(self.scaling, name="pixel_scaling")


def build_backbone(
    backbone: str | ImageBackbone,
    size: int | None = None,
    weights: str | Path | Sequence[str] = "auto",
    cache_dir: str | Path | None = None,
    cut: str | None = None,
) -> BuiltBackbone:
    """Build a backbone without classifier and load its pretrained weights.

    Example:
        >>> built = build_backbone("efficientnet-lite0", 224)
        >>> built.model.output_shape
        (None, 7, 7, 1280)

    Args:
        backbone: a name or a row of the catalogue.
        size: height and width of the input in pixels; the row's own by default.
        weights: "auto" (the sources that the user configured, else the row's), "none" (random numbers, with a
            warning), a file or folder, or a list of sources as `tlkit.catalogue.weights.resolve` takes them.
        cache_dir: where pulled weights are kept; see `tlkit.catalogue.cache`.
        cut: the group to stop after, "stem", "body" or "last_block"; None takes everything.

    Returns:
        The network with its groups and what belongs in front of it.

    Raises:
        ModelError: the name or the size cannot be built.
        WeightsError: no source has the weights, or they are of another architecture.
        ConfigError: there is no group to cut after of that name.
    """
    if cut is not None:
        check_choice("layer group for cut", cut, GROUP_NAMES)
    row = image.get(backbone) if isinstance(backbone, str) else backbone
    size = _checked_size(row, size)
    path, source = _find_weights(row, size, weights, cache_dir)
    network, model = _build(row, size)
    if path is not None:
        weight_files.load(model, path)
    _settle_normalization(row, model, loaded=path is not None)
    kept = GROUP_NAMES[: GROUP_NAMES.index(cut) + 1] if cut else GROUP_NAMES
    if kept != GROUP_NAMES:
        end = row.groups.stem_end if cut == "stem" else row.groups.body_end
        model = keras.Model(_entry(row, network), _end_tensor(network, end), name=model.name)
    groups = tuple((name, layers) for name, layers in split_groups(row, network, model) if name in kept)
    return BuiltBackbone(row, model, groups, row.scaling, source)


def build_classifier(
    backbone: str | ImageBackbone,
    size: int | None = None,
    weights: str | Path | Sequence[str] = "auto",
    cache_dir: str | Path | None = None,
) -> keras.Model:
    """Build an EfficientNet-Lite with its 1000-class ImageNet classifier, to check a conversion against known
    numbers.

    Example:
        >>> build_classifier("efficientnet-lite0").output_shape
        (None, 1000)

    Args:
        backbone: "efficientnet-lite0", "...1" or "...2": the only rows whose weights come with the
            classifier.
        size: height and width of the input in pixels.
        weights: as for `build_backbone`.
        cache_dir: as for `build_backbone`.

    Returns:
        RGB pixels float32 [B, H, W, 3] in 0..255 to logits float32 [B, 1000].

    Raises:
        ModelError: the row is of another family.
        WeightsError: no source has the weights.
    """
    row = image.get(backbone) if isinstance(backbone, str) else backbone
    if row.builder not in _LITE:
        raise ModelError(
            f"{row.name} has no classifier in the catalogue",
            allowed=[name for name in image.names() if "lite" in name],
        )
    size = _checked_size(row, size)
    path, _ = _find_weights(row, size, weights, cache_dir)
    _, model = _build(row, size, include_top=True)
    if path is not None:
        weight_files.load(model, path)
    pixels = keras.Input((size, size, 3), name="pixels")
    return keras.Model(pixels, model(PixelScaling(row.scaling)(pixels)))


def split_groups(
    row: ImageBackbone, network: keras.Model, model: keras.Model
) -> tuple[tuple[str, tuple[keras.layers.Layer, ...]], ...]:
    """Split the layers of `model` into stem, body and last block, following the row's rule.

    Args:
        row: the row of the catalogue.
        network: the network as its builder made it.
        model: the same, possibly without its first layers.

    Returns:
        (name, layers) for "stem", "body" and "last_block".

    Raises:
        ModelError: the network has no layer of that name, so that the rule is out of date.
    """
    stem = _layers_before(network, row.groups.stem_end)
    body = _layers_before(network, row.groups.body_end)
    parts: dict[str, list[keras.layers.Layer]] = {"stem": [], "body": [], "last_block": []}
    for layer in model.layers:
        in_stem = id(layer) in stem or isinstance(layer, keras.layers.InputLayer)
        parts["stem" if in_stem else "body" if id(layer) in body else "last_block"].append(layer)
    return tuple((name, tuple(layers)) for name, layers in parts.items())


def lite_blocks(width: float, depth: float) -> list[dict[str, Any]]:
    """Return the `blocks_args` of an EfficientNet-Lite, already scaled, so that the builder gets width 1 and
    depth 1.

    Args:
        width: factor on the number of filters.
        depth: factor on the repeats of the stages, but for the first and the last.

    Returns:
        One dict for each of the seven stages.
    """
    from keras.src.applications.efficientnet import DEFAULT_BLOCKS_ARGS

    blocks: list[dict[str, Any]] = []
    filters = 32
    for index, stage in enumerate(DEFAULT_BLOCKS_ARGS):
        fixed = index in (0, len(DEFAULT_BLOCKS_ARGS) - 1)
        repeats = stage["repeats"] if fixed else math.ceil(depth * stage["repeats"])
        scaled = _round_filters(stage["filters_out"] * width)
        blocks.append({**stage, "repeats": repeats, "filters_in": filters, "filters_out": scaled, "se_ratio": 0.0})
        filters = scaled
    return blocks


def _round_filters(filters: float) -> int:
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def _checked_size(row: ImageBackbone, size: int | None) -> int:
    if size is None:
        return row.size
    if isinstance(size, bool) or not isinstance(size, int) or size < row.min_size:
        raise ModelError(
            f"{row.name} cannot take images of that size",
            received=size,
            allowed=f"{row.min_size} pixels or more",
        )
    return size


def _find_weights(
    row: ImageBackbone, size: int, weights: str | Path | Sequence[str], cache_dir: str | Path | None
) -> tuple[Path | None, str]:
    if weights == "none":
        message = random_weights_message(row.name)
        if message:
            warnings.warn(message, stacklevel=3)
            log.warning(message)
        return None, "none"
    if not weights:
        raise WeightsError("no weight source given", fix=Advice("for the default sources, {}", "weights", "auto"))
    sources = None if weights == "auto" else [str(weights)] if isinstance(weights, str | Path) else list(weights)
    found = resolve(row, sources, cache_dir, size=size)
    return found.path, found.source


def _build(row: ImageBackbone, size: int, include_top: bool = False) -> tuple[keras.Model, keras.Model]:
    """Return the network as its builder makes it, and the model to use: for Lite, without its rescaling."""
    if keras.config.image_data_format() != "channels_last":
        raise ModelError(
            "Keras is set to channels_first",
            allowed="channels_last",
            fix="change image_data_format in keras.json",
        )
    shape = (size, size, 3)
    if row.builder not in _LITE:
        width = {} if row.alpha is None else {"alpha": row.alpha}
        builder = getattr(keras.applications, row.builder)
        network = builder(include_top=include_top, weights=None, input_shape=shape, **width)
        return network, network
    from keras.src.applications.efficientnet import EfficientNet

    width_factor, depth, dropout = _LITE[row.builder]
    network = EfficientNet(
        1.0,
        1.0,
        row.size,
        dropout,
        activation="relu6",
        blocks_args=lite_blocks(width_factor, depth),
        name=row.name.replace("-", "_"),
        include_top=include_top,
        weights=None,
        input_shape=shape,
        classifier_activation=None,
    )
    return network, keras.Model(_entry(row, network), network.output, name=network.name)


def _entry(row: ImageBackbone, network: keras.Model) -> Any:
    """Return the input of `network`, or for Lite the output of the rescaling and normalization that it skips."""
    return network.get_layer("stem_conv_pad").input if row.builder in _LITE else network.input


def _settle_normalization(row: ImageBackbone, model: keras.Model, loaded: bool) -> None:
    """Make EfficientNet B0 to B7 normalize as they do when Keras itself loads ImageNet weights.

    Keras' builder adds a layer that multiplies by 1 / sqrt(stddev) for weights="imagenet" and only then,
    because the files hold the standard deviation in place of the variance. The same factor is put into the
    variance here, so that the network has the same layers whatever its weights. Files that were saved from
    such a network hold the true variance and stay as they are.
    """
    if row.family != "efficientnet":
        return
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    stddev = np.array(IMAGENET_STDDEV_RGB, np.float32)
    if not loaded:
        layer.adapt_mean.assign(np.array(IMAGENET_MEAN_RGB, np.float32))
        layer.adapt_variance.assign(stddev**2)
    elif not np.allclose(layer.adapt_variance.numpy(), stddev**2, rtol=1e-3):
        layer.adapt_variance.assign(layer.adapt_variance.numpy() * stddev)
    layer.finalize_state()


def _layers_before(network: keras.Model, end: str) -> set[int]:
    """Return the ids of all layers that `end`, written as in `GroupRule`, depends on."""
    return {id(layer) for layer in keras.Model(network.inputs, _end_tensor(network, end)).layers}


def _end_tensor(network: keras.Model, end: str) -> Any:
    """Return the output at the end of a group; `end` is written as in `GroupRule`."""
    position, _, pattern = end.rpartition(":")
    if position == "pool":
        found = [layer for layer in network.layers if isinstance(layer, keras.layers.MaxPooling2D)]
        found = found[: int(pattern)]
    else:
        found = [layer for layer in network.layers if re.fullmatch(pattern, layer.name)]
    if not found:
        raise ModelError(f"{network.name} has no layer {end!r}, where the catalogue ends a layer group")
    return found[-1].input if position == "into" else found[-1].output
