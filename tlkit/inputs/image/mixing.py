"""MixUp and CutMix: blend pairs of a batch, labels too, with draws that come from the batch's seed alone.

Stateful draws, as layers make them, depend on how many batches came before. These do not: the batch that follows an
interruption is mixed as it would have been without one.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tlkit.errors import ConfigError


def mix_up(seed: tf.Tensor, images: tf.Tensor, labels: tf.Tensor, alpha: float = 0.2) -> tuple[tf.Tensor, tf.Tensor]:
    """Blend each image with another one of the batch, pixel by pixel, and the labels in the same proportion.

    Follows Zhang et al. 2017 (arXiv 1710.09412); the share is drawn for each pair, from Beta(alpha, alpha).

    Example:
        >>> images, labels = mix_up(tf.constant([0, 7], tf.int64), images, labels)

    Args:
        seed: int64 [2]; decides the pairs and the shares.
        images: float32 [B, S, S, 3].
        labels: float32 [B, k], rows that sum to 1.
        alpha: above 0; the larger, the nearer the shares are to one half.

    Returns:
        Images and labels of the same shapes and dtypes.

    Raises:
        ConfigError: `alpha` is not usable.
    """
    seeds = tf.random.split(seed, 2)
    batch = tf.shape(images)[0]
    partner = _pairs(seeds[0], batch)
    share = _beta(seeds[1], batch, alpha)
    pixel_share = share[:, tf.newaxis, tf.newaxis, tf.newaxis]
    mixed = images * pixel_share + tf.gather(images, partner) * (1 - pixel_share)
    return mixed, _blend(labels, partner, share)


def cut_mix(seed: tf.Tensor, images: tf.Tensor, labels: tf.Tensor, alpha: float = 1.0) -> tuple[tf.Tensor, tf.Tensor]:
    """Paste a rectangle of another image of the batch into each image, and blend the labels by its area.

    Follows Yun et al. 2019 (arXiv 1905.04899): the rectangle has the image's aspect ratio and covers a part drawn from
    Beta(alpha, alpha); its centre is drawn anywhere, and what sticks out is cut off. The labels follow the area that
    was really pasted.

    Example:
        >>> images, labels = cut_mix(tf.constant([0, 7], tf.int64), images, labels)

    Args:
        seed: int64 [2]; decides pairs and rectangles.
        images: float32 [B, S, S, 3].
        labels: float32 [B, k], rows that sum to 1.
        alpha: above 0; 1 makes every area equally likely.

    Returns:
        Images and labels of the same shapes and dtypes.

    Raises:
        ConfigError: `alpha` is not usable.
    """
    seeds = tf.random.split(seed, 3)
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    partner = _pairs(seeds[0], batch)
    side = tf.sqrt(1 - _beta(seeds[1], batch, alpha))
    centre = tf.random.stateless_uniform([2, batch], seeds[2])
    inside_y, rows = _span(centre[0], side, height)
    inside_x, columns = _span(centre[1], side, width)
    pasted = (inside_y[:, :, tf.newaxis] & inside_x[:, tf.newaxis, :])[..., tf.newaxis]
    mixed = tf.where(pasted, tf.gather(images, partner), images)
    share = 1 - tf.cast(rows * columns, tf.float32) / tf.cast(height * width, tf.float32)
    return mixed, _blend(labels, partner, share)


def _pairs(seed: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    """int32 [B]: the partner of each row; a row may be its own, which leaves it as it is."""
    return tf.random.experimental.stateless_shuffle(tf.range(batch), seed)


def _beta(seed: tf.Tensor, count: tf.Tensor, alpha: float) -> tf.Tensor:
    """float32 [count] from Beta(alpha, alpha), as x / (x + y) of two Gamma(alpha) draws."""
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0.01 <= alpha < math.inf:
        raise ConfigError("invalid alpha for mixing", received=alpha, allowed="a number from 0.01")
    # float64: with a small alpha, draws below what float32 can tell from zero are common, and 0 / 0 is no share.
    draws = tf.random.stateless_gamma([2, count], seed, tf.constant(alpha, tf.float64), dtype=tf.float64)
    return tf.cast(draws[0] / (draws[0] + draws[1]), tf.float32)


def _span(centre: tf.Tensor, part: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mark the pixels of one axis within `part` of its length around `centre`: bool [B, length], and their number."""
    size = tf.cast(length, tf.float32)
    middle, half = centre * size, part * size / 2
    first = tf.cast(tf.round(tf.maximum(middle - half, 0.0)), tf.int32)
    last = tf.cast(tf.round(tf.minimum(middle + half, size)), tf.int32)
    place = tf.range(length)[tf.newaxis]
    return (place >= first[:, tf.newaxis]) & (place < last[:, tf.newaxis]), last - first


def _blend(labels: tf.Tensor, partner: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    share = share[:, tf.newaxis]
    return labels * share + tf.gather(labels, partner) * (1 - share)
