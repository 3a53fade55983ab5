"""Augmentation presets named by what they keep true of a photo, as one affine warp and one lighting change.

Composing flip, zoom, rotation and quarter turns into a single `ImageProjectiveTransformV3` samples every pixel once:
about twice as fast as a chain of layers, and blurs once instead of four times. Everything is stateless: the same
seed gives the same pictures, whatever runs beside it.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from typing import Any, Literal, get_args

import tensorflow as tf

from tlkit.errors import ConfigError, check_choice
from tlkit.inputs.image.mixing import cut_mix, mix_up
from tlkit.inputs.image.rand_augment import shared_rand_augment

_GEOMETRY_DRAWS = 6
_LIGHTING_DRAWS = 2

Preset = Literal["none", "side_on", "top_down", "strong"]
Mix = Literal["none", "mixup", "cutmix"]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes that leave the label of a photo true.

    `"side_on"` suits everyday photos: mirror left to right, zoom in up to `max_zoom` at a random place, rotate a
    little, change brightness and contrast. `"top_down"` suits satellite, microscope and table-top views: all eight
    mirrorings and quarter turns on top of that. `"strong"` is `"side_on"` mirroring followed by RandAugment (Cubuk et
    al. 2019, arXiv 1909.13719) from keras-cv. `mix` blends pairs of a batch, labels too: MixUp (Zhang et al. 2017,
    arXiv 1710.09412) or CutMix (Yun et al. 2019, arXiv 1905.04899).

    Example:
        >>> augment = Augmentation("side_on", max_zoom=1.1).build()
        >>> batches = augment(seeded_batches)

    Args:
        preset: `"none"`, `"side_on"`, `"top_down"` or `"strong"`.
        max_zoom: largest magnification, 1.0 (no zoom) to 4.0.
        max_rotation: largest rotation either way, in degrees.
        max_lighting: largest change of brightness (as part of the full range) and of contrast (as a factor).
        mix: `"none"`, `"mixup"` or `"cutmix"`.
        mix_alpha: both parameters of the Beta distribution that says how much of each photo is seen; 0.2 for MixUp and
            1.0 for CutMix when left out.

    Raises:
        ConfigError: an argument is not usable.
    """

    preset: Preset = "none"
    max_zoom: float = 1.1
    max_rotation: float = 10.0
    max_lighting: float = 0.2
    mix: Mix = "none"
    mix_alpha: float | None = None

    def __post_init__(self) -> None:
        check_choice("augment", self.preset, get_args(Preset))
        check_choice("mix", self.mix, get_args(Mix))
        alpha = self.mix_alpha
        if alpha is not None and (isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha <= 10):
            raise ConfigError("invalid mix_alpha", received=alpha, allowed="above 0 and at most 10, or None")
        for name, low, high in (("max_zoom", 1.0, 4.0), ("max_rotation", 0.0, 180.0), ("max_lighting", 0.0, 1.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ConfigError(f"{name} is invalid", received=value, allowed=f"a number from {low} to {high}")

    @property
    def is_active(self) -> bool:
        """Whether any image or label is changed at all."""
        return self.preset != "none" or self.mix != "none"

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values."""
        return dataclasses.asdict(self)

    def mixed(self, alpha: float) -> Augmentation:
        """Return the same with MixUp, `alpha` being both parameters of its Beta distribution; 0 turns it off."""
        return dataclasses.replace(self, mix="mixup" if alpha else "none", mix_alpha=alpha or None)

    def build(self) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
        """Make the transformation of a dataset. Call it outside of dataset functions: keras-cv layers hold variables.

        Returns:
            A function that takes a dataset of `(seed int64 [2], images uint8 [B, S, S, 3], labels float32 [B, k])`
            and gives one of `(images float32 [B, S, S, 3] in 0..255, labels float32 [B, k])`. Each batch depends on
            its own seed alone, whatever came before it.
        """
        rand_augment = shared_rand_augment() if self.preset == "strong" else None

        def change(seed: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images = self._warp_and_light(seed, tf.cast(images, tf.float32))
            if rand_augment is not None:
                images = rand_augment(tf.random.fold_in(seed, 1), images)
            if self.mix == "mixup":
                return mix_up(tf.random.fold_in(seed, 2), images, labels, self.mix_alpha or 0.2)
            if self.mix == "cutmix":
                return cut_mix(tf.random.fold_in(seed, 3), images, labels, self.mix_alpha or 1.0)
            return images, labels

        return lambda dataset: dataset.map(change, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def check_view(self, number: int) -> None:
        """Refuse a view that there is not.

        Raises:
            ConfigError: nothing changes photos (`preset="none"`), or `number` is no whole number from 1.
        """
        if self.preset == "none":
            raise ConfigError(
                'test-time augmentation needs an augmentation, and augment="none"',
                allowed=[preset for preset in get_args(Preset) if preset != "none"],
                fix="choose an augmentation that keeps the labels valid",
            )
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ConfigError("invalid view number", received=number, allowed="a whole number, 1 or more")

    def view(self, images: tf.Tensor, number: int) -> tf.Tensor:
        """Show photos in one fixed way out of those that the preset allows, for test-time augmentation.

        View `number` has the same geometry and lighting for every photo, today and in an exported graph, so that the
        answer for a photo depends on nothing else. Odd views are mirrored left to right, even ones are not; `"strong"`
        takes the geometry and lighting of `"side_on"`.

        Example:
            >>> Augmentation("side_on").view(images, 1)

        Args:
            images: uint8 or float32 [B, S, S, 3] in 0..255, S known.
            number: 1, 2, 3, ...

        Returns:
            float32 [B, S, S, 3] in 0..255.

        Raises:
            ConfigError: as `check_view` says.
        """
        self.check_view(number)
        # Python promises that random() gives the same numbers for a seed in all its versions.
        numbers = random.Random(number)
        draw = [2 * numbers.random() - 1 for _ in range(_GEOMETRY_DRAWS + _LIGHTING_DRAWS)]
        draw[0] = -abs(draw[0]) if number % 2 else abs(draw[0])
        drawn = tf.constant(draw, tf.float32)[:, tf.newaxis]
        plan = dataclasses.replace(self, preset="side_on") if self.preset == "strong" else self
        images = tf.cast(images, tf.float32)
        # One transform serves the whole batch, whatever its size.
        warped = plan._warp(images, plan._transforms(drawn[:_GEOMETRY_DRAWS], images.shape[1]))
        return plan._relight(warped, drawn[_GEOMETRY_DRAWS:])

    def _warp_and_light(self, seed: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        if self.preset == "none":
            return images
        batch = tf.shape(images)[0]
        seeds = tf.random.split(seed, 2)
        geometry = tf.random.stateless_uniform([_GEOMETRY_DRAWS, batch], seeds[0], -1.0, 1.0)
        warped = self._warp(images, self._transforms(geometry, images.shape[1]))
        if self.preset == "strong":
            return warped
        return self._relight(warped, tf.random.stateless_uniform([_LIGHTING_DRAWS, batch], seeds[1], -1.0, 1.0))

    def _warp(self, images: tf.Tensor, transforms: tf.Tensor) -> tf.Tensor:
        side = images.shape[1]
        warped = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transforms,
            output_shape=[side, side],
            fill_value=0.0,
            interpolation="BILINEAR" if self.preset != "strong" else "NEAREST",
            fill_mode="REFLECT",
        )
        return tf.ensure_shape(warped, images.shape)

    def _transforms(self, u: tf.Tensor, side: int) -> tf.Tensor:
        """float32 [B, 8]: for each output pixel, where in the input it is read (row-major 3 x 3 without the last 1).

        `u` holds the draws, float32 [6, B] in -1..1.
        """
        still = tf.zeros_like(u[0])
        mirror_x = _sign(u[0])
        if self.preset == "strong":
            angle, zoom, mirror_y = still, still + 1.0, still + 1.0
        else:
            angle = u[1] * (self.max_rotation * math.pi / 180)
            zoom = 1.0 + (u[2] + 1) / 2 * (self.max_zoom - 1)
            mirror_y = still + 1.0
        if self.preset == "top_down":
            mirror_y = _sign(u[3])
            quarters = tf.floor((u[0] + 1) * 4 % 2)  # u[0] is used twice: its sign mirrors, its fraction turns
            angle += quarters * (math.pi / 2)
        cos, sin = tf.cos(angle) / zoom, tf.sin(angle) / zoom
        center = (side - 1) / 2
        room = (1 - 1 / zoom) * center
        a, b, d, e = cos * mirror_x, -sin * mirror_y, sin * mirror_x, cos * mirror_y
        x0 = center - (a + b) * center + u[4] * room
        y0 = center - (d + e) * center + u[5] * room
        return tf.stack([a, b, x0, d, e, y0, still, still], axis=1)

    def _relight(self, images: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
        """Change contrast and brightness by the draws `u`, float32 [2, B] (or [2, 1]) in -1..1."""
        u = (u * self.max_lighting)[:, :, tf.newaxis, tf.newaxis, tf.newaxis]
        gain = tf.exp(u[0])
        offset = 127.5 * (1 - gain) + 127.5 * u[1]
        return tf.clip_by_value(images * gain + offset, 0.0, 255.0)


def _sign(values: tf.Tensor) -> tf.Tensor:
    """-1 or 1; `tf.sign` would once in some million draws give 0, and a photo squeezed into a line."""
    return tf.where(values < 0, -1.0, 1.0)
