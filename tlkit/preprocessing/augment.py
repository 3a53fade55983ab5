"""Augmentation presets named by what they keep true of a photo, as one affine warp and one lighting change.

Composing flip, zoom, rotation and quarter turns into a single `ImageProjectiveTransformV3` samples every pixel once:
about twice as fast as a chain of layers, and blurs once instead of four times. Everything is stateless: the same
seed gives the same pictures, whatever runs beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import tensorflow as tf

from tlkit.errors import ConfigError, check_choice

Preset = Literal["none", "side_on", "top_down", "strong"]
Mix = Literal["none", "mixup", "cutmix"]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes that leave the label of a photo true.

    `"side_on"` suits everyday photos: mirror left to right, zoom in up to `max_zoom` at a random place, rotate a
    little, change brightness and contrast. `"top_down"` suits satellite, microscope and table-top views: all eight
    mirrorings and quarter turns on top of that. `"strong"` is `"side_on"` mirroring followed by RandAugment (Cubuk et
    al. 2019, arXiv 1909.13719) from keras-cv. `mix` blends pairs of a batch, labels too: MixUp (Zhang et al. 2017,
    arXiv 1710.09412) or CutMix (Yun et al. 2019, arXiv 1905.04899), both from keras-cv.

    Example:
        >>> augment = Augmentation("side_on", max_zoom=1.1).build()
        >>> batches = augment(seeded_batches)

    Args:
        preset: `"none"`, `"side_on"`, `"top_down"` or `"strong"`.
        max_zoom: largest magnification, 1.0 (no zoom) to 4.0.
        max_rotation: largest rotation either way, in degrees.
        max_lighting: largest change of brightness (as part of the full range) and of contrast (as a factor).
        mix: `"none"`, `"mixup"` or `"cutmix"`.

    Raises:
        ConfigError: an argument is not usable.
    """

    preset: Preset = "none"
    max_zoom: float = 1.1
    max_rotation: float = 10.0
    max_lighting: float = 0.2
    mix: Mix = "none"

    def __post_init__(self) -> None:
        check_choice("augment", self.preset, get_args(Preset))
        check_choice("mix", self.mix, get_args(Mix))
        for name, low, high in (("max_zoom", 1.0, 4.0), ("max_rotation", 0.0, 180.0), ("max_lighting", 0.0, 1.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ConfigError(f"{name} is not usable", received=value, allowed=f"a number from {low} to {high}")

    @property
    def is_active(self) -> bool:
        """Whether any image or label is changed at all."""
        return self.preset != "none" or self.mix != "none"

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values."""
        return dataclasses.asdict(self)

    def build(self) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
        """Make the transformation of a dataset. Call it outside of dataset functions: keras-cv layers hold variables.

        Returns:
            A function that takes a dataset of `(seed int64 [2], images uint8 [B, S, S, 3], labels float32 [B, k])`
            and gives one of `(images float32 [B, S, S, 3] in 0..255, labels float32 [B, k])`.
        """
        layers = self._keras_cv_layers()

        def augment(dataset: tf.data.Dataset) -> tf.data.Dataset:
            dataset = dataset.map(self._warp_and_light, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            if layers:
                # keras-cv layers draw from generators that hold state, so they run one batch after the other.
                dataset = dataset.map(lambda seed, images, labels: _run_seeded(layers, seed, images, labels))
            return dataset.map(lambda seed, images, labels: (images, labels))

        return augment

    def _warp_and_light(
        self, seed: tf.Tensor, images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images = tf.cast(images, tf.float32)
        if self.preset == "none":
            return seed, images, labels
        batch, side = tf.shape(images)[0], images.shape[1]
        seeds = tf.random.split(seed, 2)
        warped = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=self._transforms(seeds[0], batch, side),
            output_shape=[side, side],
            fill_value=0.0,
            interpolation="BILINEAR" if self.preset != "strong" else "NEAREST",
            fill_mode="REFLECT",
        )
        if self.preset != "strong":
            warped = self._relight(seeds[1], warped, batch)
        return seed, tf.ensure_shape(warped, images.shape), labels

    def _transforms(self, seed: tf.Tensor, batch: tf.Tensor, side: int) -> tf.Tensor:
        """float32 [B, 8]: for each output pixel, where in the input it is read (row-major 3 x 3 without the last 1)."""
        u = tf.random.stateless_uniform([6, batch], seed, -1.0, 1.0)
        still = tf.zeros([batch])
        mirror_x = tf.sign(u[0])
        if self.preset == "strong":
            angle, zoom, mirror_y = still, still + 1.0, still + 1.0
        else:
            angle = u[1] * (self.max_rotation * math.pi / 180)
            zoom = 1.0 + (u[2] + 1) / 2 * (self.max_zoom - 1)
            mirror_y = still + 1.0
        if self.preset == "top_down":
            mirror_y = tf.sign(u[3])
            quarters = tf.floor((u[0] + 1) * 4 % 2)  # u[0] is used twice: its sign mirrors, its fraction turns
            angle += quarters * (math.pi / 2)
        cos, sin = tf.cos(angle) / zoom, tf.sin(angle) / zoom
        center = (side - 1) / 2
        room = (1 - 1 / zoom) * center
        a, b, d, e = cos * mirror_x, -sin * mirror_y, sin * mirror_x, cos * mirror_y
        x0 = center - (a + b) * center + u[4] * room
        y0 = center - (d + e) * center + u[5] * room
        return tf.stack([a, b, x0, d, e, y0, still, still], axis=1)

    def _relight(self, seed: tf.Tensor, images: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        u = tf.random.stateless_uniform([2, batch, 1, 1, 1], seed, -self.max_lighting, self.max_lighting)
        gain = tf.exp(u[0])
        offset = 127.5 * (1 - gain) + 127.5 * u[1]
        return tf.clip_by_value(images * gain + offset, 0.0, 255.0)

    def _keras_cv_layers(self) -> list[Any]:
        if self.preset != "strong" and self.mix == "none":
            return []
        import keras_cv  # costs seconds and is needed by two options only

        layers: list[Any] = []
        if self.preset == "strong":
            layers.append(keras_cv.layers.RandAugment((0, 255), augmentations_per_image=2, magnitude=0.4, seed=1))
        if self.mix == "mixup":
            layers.append(keras_cv.layers.MixUp(alpha=0.2, seed=2))
        if self.mix == "cutmix":
            layers.append(keras_cv.layers.CutMix(alpha=1.0, seed=3))
        return layers


def _run_seeded(
    layers: list[Any], seed: tf.Tensor, images: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Run keras-cv layers so that each fresh iterator draws the same numbers.

    keras-cv draws from `tf.random.Generator`s, which are set from `seed` here, and from stateful random operations,
    which start anew with each iterator once the function they are traced into has a seed.
    """
    for number, generator in enumerate(_generators(layers)):
        generator.reset(tf.random.stateless_uniform([3], seed + number, 0, 2**31 - 1, dtype=tf.int64))

    @tf.function  # some of the layers need AutoGraph, which nested datasets switch off
    def run(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        tf.random.set_seed(0)  # inside a traced function this seeds that function, not the program
        for layer in layers:
            if type(layer).__name__ == "RandAugment":
                # Given a batch, it works on several images at once and the order of its draws is a matter of luck.
                images = tf.map_fn(functools.partial(layer, training=True), images, parallel_iterations=1)
            else:
                mixed = layer({"images": images, "labels": labels}, training=True)
                images, labels = mixed["images"], mixed["labels"]
        return tf.clip_by_value(tf.cast(images, tf.float32), 0.0, 255.0), tf.cast(labels, tf.float32)

    changed, mixed_labels = run(images, labels)
    return seed, tf.ensure_shape(changed, images.shape), tf.ensure_shape(mixed_labels, labels.shape)


def _generators(layers: list[Any]) -> list[tf.random.Generator]:
    """Find the random generators of keras-cv layers and of the layers inside them, in a fixed order."""
    parts = [part for layer in layers for part in layer._flatten_layers()]
    return [part._random_generator for part in parts if hasattr(part, "_random_generator")]
