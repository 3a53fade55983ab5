"""Which tokens of a batch are hidden, and what stands in their place: the rule of masked language modelling."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.schedule_parts import check_number


@dataclass(frozen=True)
class MaskingRule:
    """Hides part of the tokens of every text, for a model to guess.

    Of the tokens to guess, 80 % are replaced by the mask token, 10 % by any other token, and 10 % stay as they are, so
    that a model cannot rely on seeing the mask (Devlin et al. 2018, arXiv 1810.04805). Start, end and padding are never
    touched, and unknown tokens neither: there is nothing to learn from guessing them.

    Example:
        >>> rule = MaskingRule(mask_id=4, special=(0, 1, 2, 3, 4), vocabulary=100)
        >>> inputs, places, targets = rule.apply(tf.constant([[2, 50, 51, 3]]), key=tf.constant([0, 7], tf.int64))
        >>> inputs.shape, places.shape, targets.shape
        (TensorShape([1, 4]), TensorShape([1]), TensorShape([1]))

    Args:
        mask_id: the mask token.
        special: all tokens that are no text, the mask token too; they are neither guessed nor put in.
        vocabulary: number of tokens.
        fraction: part of each text's tokens to guess, above 0 and below 1; at least one of every text that has any.
        hidden: part of those that the mask token replaces,
        swapped: and part that any token replaces; 1 for `hidden` and 0 here is for measuring.

    Raises:
        ConfigError: a part is not usable, or no token is left to put in.
    """

    mask_id: int
    special: tuple[int, ...]
    vocabulary: int
    fraction: float = 0.15
    hidden: float = 0.8
    swapped: float = 0.1

    def __post_init__(self) -> None:
        check_number("mask_fraction", self.fraction, "a number above 0 and below 1", lambda part: 0 < part < 1)
        for name in ("hidden", "swapped"):
            check_number(name, getattr(self, name), "a number from 0 to 1", lambda part: 0 <= part <= 1)
        if self.hidden + self.swapped > 1:
            raise ConfigError("hidden + swapped must not exceed 1", received=(self.hidden, self.swapped))
        if not self._ordinary:
            raise ConfigError("the vocabulary has only special tokens", received=self.vocabulary)

    @property
    def _ordinary(self) -> list[int]:
        special = set(self.special)
        return [token for token in range(self.vocabulary) if token not in special]

    def apply(self, ids: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Choose the tokens to guess and hide them; the same key gives the same choice, whatever ran before.

        Args:
            ids: int32 [B, T], padded.
            key: int64 [2], any numbers.

        Returns:
            What the model sees, int32 [B, T]; the places to guess as numbers into the flattened batch, int32 [N], in
            ascending order; and the tokens that stood there, int32 [N].
        """
        shape = tf.shape(ids)
        maskable = tf.reduce_all(ids[..., None] != tf.constant(self.special, tf.int32), axis=-1)
        count = tf.reduce_sum(tf.cast(maskable, tf.int32), axis=1)
        wanted = tf.cast(tf.floor(self.fraction * tf.cast(count, tf.float32) + 0.5), tf.int32)
        wanted = tf.minimum(tf.maximum(wanted, 1), count)
        # The places with the lowest random numbers of each row, exactly as many as wanted.
        order, which, tokens = (tf.random.experimental.stateless_fold_in(key, number) for number in range(3))
        draw = tf.where(maskable, _uniform(shape, order), 2.0)
        rank = tf.argsort(tf.argsort(draw, axis=1, stable=True), axis=1, stable=True)
        places = tf.cast(tf.where(tf.reshape(rank < wanted[:, None], [-1]))[:, 0], tf.int32)
        flat = tf.reshape(ids, [-1])
        targets = tf.gather(flat, places)
        kind = _uniform(tf.shape(places), which)
        ordinary = self._ordinary
        number = tf.random.stateless_uniform(tf.shape(places), tokens, 0, len(ordinary), tf.int32, alg="philox")
        other = tf.gather(tf.constant(ordinary, tf.int32), number)
        swapped = tf.where(kind < self.hidden + self.swapped, other, targets)
        seen = tf.where(kind < self.hidden, self.mask_id, swapped)
        inputs = tf.tensor_scatter_nd_update(flat, places[:, None], seen)
        return tf.reshape(inputs, shape), places, targets


def _uniform(shape: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, key, alg="philox")
