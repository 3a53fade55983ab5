"""Classes, values and risks from images, on a pretrained keras.applications backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras

from tlkit.catalogue.backbones import GROUP_NAMES, build_backbone
from tlkit.catalogue.image import get
from tlkit.errors import check_choice
from tlkit.inputs.image.formats import MAX_PIXELS
from tlkit.inputs.image.preprocessing import ImagePreprocessing, ResizeMode
from tlkit.models.frozen_statistics import FrozenStatistics
from tlkit.models.head import HeadBuilder, build_head, check_dropout
from tlkit.models.seeding import follows_seed
from tlkit.models.task import LayerGroup, Precision, Task, check_class_names
from tlkit.targets.base import Target
from tlkit.targets.objective import Objective, classification

Pooling = Literal["avg", "max", "avgmax"]
BatchNormPolicy = Literal["frozen", "train"]


@follows_seed
def image_classifier(
    backbone: str,
    class_names: Sequence[str],
    *,
    size: int | None = None,
    resize: ResizeMode = "crop",
    weights: Any = "auto",
    pooling: Pooling = "avgmax",
    dropout: float = 0.2,
    head: HeadBuilder | None = None,
    batch_norm: BatchNormPolicy = "frozen",
    cut: str | None = None,
    multi_label: bool = False,
    precision: Precision = "float32",
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Task:
    """Put a new head on a pretrained image network.

    Example:
        >>> task = image_classifier("efficientnet-lite0", ["ants", "bees"])
        >>> task.model.output_shape
        (None, 2)

    Args:
        backbone: a name of the catalogue, such as `"efficientnet-lite0"`, `"resnet50"` or `"mobilenet-v2-0.35"`.
        class_names: the labels, in the order of the outputs.
        size: side of the square input in pixels; the backbone's own default by default.
        resize: how photos become square: `"crop"`, `"pad"` or `"squash"`.
        weights: `"auto"` tries the configured sources, `"none"` starts from random weights and logs it, a path or
            a list of sources names them; see `tlkit.catalogue.weights`.
        pooling: `"avg"`, `"max"`, or `"avgmax"` (both, concatenated, as in fast.ai).
        dropout: dropout rate of the embedding, in [0, 1). Unused with `head`.
        head: builds logits from the embedding: `head(embedding [B, F], num_classes) -> logits [B, num_classes]`.
        batch_norm: `"frozen"` keeps the statistics of the pretraining in the backbone, frozen or not, which is best for
            small datasets; `"train"` lets an unfrozen backbone update them.
        cut: layer group to stop at, `"stem"` or `"body"`: the head uses the output of this group. Use it for images
            unlike the pretraining data (Yosinski et al. 2014, arXiv 1411.1792).
            `"last_block"` or nothing takes the whole backbone.
        multi_label: whether an example can have several labels, or none.
        precision: dtype policy of the backbone: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`; see
            `Task.set_precision`.
        seed: random seed of initial weights, dropout and the random numbers of `head`. The default head is zero (as in
            Big Transfer, Kolesnikov et al. 2019, arXiv 1912.11370), so that the initial predictions are uniform.
        max_pixels: the largest width x height of an image that is decoded, also by the export.

    Returns:
        A `Task` whose backbone is frozen.

    Raises:
        ModelError: the backbone is unknown or cannot take this size.
        ConfigError: another argument is invalid.
        WeightsError: no source has the weights.
    """
    names = check_class_names(class_names, least=1 if multi_label else 2)
    return _image_task(
        "image_classification", backbone, classification(names, multi_label), size=size, resize=resize, weights=weights,
        pooling=pooling, dropout=dropout, head=head, batch_norm=batch_norm, cut=cut, precision=precision, seed=seed,
        max_pixels=max_pixels,
    )  # fmt: skip


@follows_seed
def image_regressor(
    backbone: str,
    targets: Sequence[Target],
    *,
    size: int | None = None,
    resize: ResizeMode = "crop",
    weights: Any = "auto",
    pooling: Pooling = "avgmax",
    dropout: float = 0.0,
    head: HeadBuilder | None = None,
    batch_norm: BatchNormPolicy = "frozen",
    cut: str | None = None,
    precision: Precision = "float32",
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Task:
    """Put a head for regression, survival or several targets on a pretrained image network.

    Example:
        >>> data = images_with_targets("angles.csv", "angle")
        >>> task = image_regressor("efficientnet-lite0", data.targets)
        >>> task.model.output_shape
        (None, 1)

    Args:
        backbone: as for `image_classifier`.
        targets: `data.targets`.
        dropout: dropout rate of the embedding, in [0, 1). Unused with `head`.
        head: builds the outputs from the embedding: `head(embedding [B, F], K) -> [B, K]`.
        size, resize, weights, pooling, batch_norm, cut, precision, seed, max_pixels: as for `image_classifier`.

    Returns:
        A `Task` of kind `"image_regression"` whose backbone is frozen.

    Raises:
        ModelError: the backbone is unknown or cannot take this size.
        ConfigError: another argument is invalid.
        WeightsError: no source has the weights.
    """
    return _image_task(
        "image_regression", backbone, Objective(targets), size=size, resize=resize, weights=weights, pooling=pooling,
        dropout=dropout, head=head, batch_norm=batch_norm, cut=cut, precision=precision, seed=seed,
        max_pixels=max_pixels,
    )  # fmt: skip


def _image_task(
    kind: str,
    backbone: str,
    objective: Objective,
    *,
    size: int | None,
    resize: ResizeMode,
    weights: Any,
    pooling: Pooling,
    dropout: float,
    head: HeadBuilder | None,
    batch_norm: BatchNormPolicy,
    cut: str | None,
    precision: Precision,
    seed: int,
    max_pixels: int,
) -> Task:
    row = get(backbone)
    check_choice("pooling", pooling, get_args(Pooling))
    check_choice("batch_norm", batch_norm, get_args(BatchNormPolicy))
    check_choice("precision", precision, get_args(Precision))
    if cut is not None:
        check_choice("cut", cut, GROUP_NAMES)
    check_dropout("dropout", dropout)
    preprocessing = ImagePreprocessing(size=row.size if size is None else size, resize=resize, max_pixels=max_pixels)

    built = build_backbone(backbone, size=preprocessing.size, weights=weights, cut=cut)
    side = preprocessing.size
    pixels = keras.Input((side, side, 3), name="pixels")
    scaled = built.pixel_scaling()(pixels)
    network = FrozenStatistics(built.model, name="backbone") if batch_norm == "frozen" else built.model
    feature_map = network(scaled)
    embedding = _pool(feature_map, pooling)
    features = keras.Model(pixels, embedding, name="features")

    embedding_input = keras.Input(features.output_shape[1:], name="embedding")
    logits = build_head(head, dropout, seed)(embedding_input, objective.width)
    head_model = keras.Model(embedding_input, logits, name="head")
    model = keras.Model(pixels, head_model(features(pixels)), name=row.name.replace(".", "_"))

    groups = tuple(LayerGroup(name, tuple(layers)) for name, layers in built.groups)
    task = Task(
        kind=kind,
        model=model,
        features=features,
        head=head_model,
        backbone=built.model,
        preprocessing=preprocessing,
        class_names=objective.output_names,
        groups=(*groups, LayerGroup("head", (head_model,))),
        backbone_name=backbone,
        weights_source=built.weights_source,
        cut="" if cut is None or cut == GROUP_NAMES[-1] else cut,
        min_size=row.min_size,
        objective=objective,
    )
    task.set_precision(precision)
    task.freeze_to(-1)
    return task


def _pool(feature_map: Any, pooling: Pooling) -> Any:
    pools = []
    if pooling in ("avg", "avgmax"):
        pools.append(keras.layers.GlobalAveragePooling2D(name="avg_pool", dtype="float32")(feature_map))
    if pooling in ("max", "avgmax"):
        pools.append(keras.layers.GlobalMaxPooling2D(name="max_pool", dtype="float32")(feature_map))
    return pools[0] if len(pools) == 1 else keras.layers.Concatenate(name="pools", dtype="float32")(pools)
