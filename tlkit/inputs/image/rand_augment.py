"""RandAugment from keras-cv, with every random number drawn from the batch's seed.

keras-cv draws from generators and operations that hold state, so that what happens to a photo depends on all photos
before it and on what else runs. Here its samplers and generators are replaced by stateless draws; what it then does
with the numbers is its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


@functools.cache
def shared_rand_augment() -> RandAugment:
    """Give the one `RandAugment` of this process: it keeps nothing between batches."""
    return RandAugment()


class RandAugment:
    """Two random changes of colour or geometry a photo (Cubuk et al. 2019, arXiv 1909.13719).

    Make it outside of dataset functions, since keras-cv's layers hold variables.

    Example:
        >>> changed = RandAugment()(tf.constant([0, 7], tf.int64), images)
    """

    def __init__(self) -> None:
        import keras_cv  # costs seconds and is needed by one preset only

        self._layer = keras_cv.layers.RandAugment((0, 255), augmentations_per_image=2, magnitude=0.4, seed=1)
        self._draws = _Draws()
        for part in self._layer._flatten_layers():
            self._make_stateless(part, keras_cv.core)
        # A function of its own: some layers need AutoGraph, which nested datasets switch off, and tracing them takes
        # seconds, once for each shape instead of once for each dataset.
        self._all = tf.function(self._each)

    def __call__(self, seed: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        """Change a batch.

        Args:
            seed: int64 [2].
            images: float32 [B, S, S, 3] in 0..255.

        Returns:
            float32 [B, S, S, 3] in 0..255; image n depends on the seed, n and itself alone.
        """

        seeds = tf.random.split(seed, tf.shape(images)[0])
        return tf.ensure_shape(tf.clip_by_value(self._all(seeds, images), 0.0, 255.0), images.shape)

    def _each(self, seeds: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        def one(pair: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            self._draws.start(pair[0])
            return tf.cast(self._layer(pair[1], training=True), tf.float32)

        return tf.map_fn(one, (seeds, images), fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32))

    def _make_stateless(self, part: Any, core: Any) -> None:
        if hasattr(part, "_random_generator"):
            part._random_generator = self._draws
        for name, value in list(vars(part).items()):
            if isinstance(value, core.NormalFactorSampler):
                setattr(part, name, self._draws.normal_factor(value))
            elif isinstance(value, core.UniformFactorSampler):
                setattr(part, name, self._draws.uniform_factor(value))


class _Draws:
    """Stands in for `tf.random.Generator`: each call site that is traced gets a seed of its own."""

    def __init__(self) -> None:
        self._seed: tf.Tensor | None = None
        self._calls = 0

    def start(self, seed: tf.Tensor) -> None:
        """Draw from `seed`, int64 [2], from here on."""
        self._seed, self._calls = seed, 0

    def uniform(self, shape: Sequence[Any], minval: Any = 0, maxval: Any = None, dtype: Any = tf.float32) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, self._next(), minval, maxval, dtype)

    def normal_factor(self, sampler: Any) -> Callable[..., tf.Tensor]:
        def draw(shape: Sequence[Any] = (), dtype: Any = "float32") -> tf.Tensor:
            values = tf.random.stateless_normal(shape, self._next(), sampler.mean, sampler.stddev, dtype)
            return tf.clip_by_value(values, sampler.min_value, sampler.max_value)

        return draw

    def uniform_factor(self, sampler: Any) -> Callable[..., tf.Tensor]:
        def draw(shape: Sequence[Any] = (), dtype: Any = "float32") -> tf.Tensor:
            return tf.random.stateless_uniform(shape, self._next(), sampler.lower, sampler.upper, dtype)

        return draw

    def _next(self) -> tf.Tensor:
        self._calls += 1
        return tf.random.fold_in(self._seed, self._calls)
