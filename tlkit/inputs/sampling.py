"""Which rows an epoch shows, and in which order: decided by the seed and the number of the epoch alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError, check_choice

Sampling = Literal["shuffle", "balanced"]


class EpochOrder:
    """The rows of each epoch, as a function of its number.

    `"shuffle"` shows every row once. `"balanced"` draws with replacement, so that every class that has rows is equally
    likely at each place: a rare class comes often, and some rows of a frequent one wait for another epoch.

    Example:
        >>> order = EpochOrder(np.array([0, 0, 1]), seed=0)
        >>> sorted(order(0).numpy())
        [0, 1, 2]

    Args:
        labels: class of each row, int [n]; for `"shuffle"` only their number counts.
        seed: the same seed gives the same orders.
        sampling: `"shuffle"` or `"balanced"`.

    Raises:
        ConfigError: `sampling` is neither.
    """

    def __init__(self, labels: np.ndarray, *, seed: int, sampling: Sampling = "shuffle"):
        check_choice("sampling", sampling, get_args(Sampling))
        self.sampling = sampling
        self._seed = seed
        self._count = len(labels)
        if sampling == "balanced":
            _, counts = np.unique(labels, return_counts=True)
            self._by_class = tf.constant(np.argsort(labels, kind="stable"), tf.int64)
            self._counts = tf.constant(counts, tf.int64)
            self._starts = tf.constant(np.cumsum(counts) - counts, tf.int64)

    def __call__(self, number: int | tf.Tensor) -> tf.Tensor:
        """Give the row numbers of an epoch.

        Args:
            number: of the epoch, from 0; an int or a scalar int64 tensor or variable.

        Returns:
            int64 [n].
        """
        seed = tf.stack([tf.constant(self._seed, tf.int64), tf.cast(number, tf.int64)])
        if self.sampling == "shuffle":
            return tf.random.experimental.stateless_shuffle(tf.range(self._count, dtype=tf.int64), seed)
        seeds = tf.random.split(seed, 2)
        classes = len(self._counts)
        drawn = tf.random.stateless_uniform([self._count], seeds[0], 0, classes, tf.int32)
        counts = tf.gather(self._counts, drawn)
        # float64 tells any two rows apart; the minimum guards against a product that rounds up to the count itself.
        place = tf.random.stateless_uniform([self._count], seeds[1], dtype=tf.float64) * tf.cast(counts, tf.float64)
        return tf.gather(
            self._by_class, tf.gather(self._starts, drawn) + tf.minimum(tf.cast(place, tf.int64), counts - 1)
        )


def epoch_reader(number: int | tf.Variable) -> Callable[[], tf.Tensor]:
    """Give a function that reads the number of an epoch when a dataset runs it.

    Args:
        number: an int from 0, or a scalar int64 variable, whose value counts at that moment.

    Returns:
        A function without arguments: the number, int64 [].

    Raises:
        ConfigError: the number is not usable.
    """
    if isinstance(number, tf.Variable):
        if number.dtype != tf.int64 or number.shape.rank != 0:
            raise ConfigError(
                "invalid epoch variable",
                received=f"{number.dtype.name} {list(number.shape)}",
                allowed="int64 []",
            )
        if number.device and "CPU" not in number.device:
            raise ConfigError(
                "the epoch variable must be on the device that makes the batches",
                received=number.device,
                fix='create it under tf.device("CPU")',
            )
        return number.read_value
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 0:
        raise ConfigError("invalid epoch", received=number, allowed="a whole number, 0 or more, or a tf.Variable")
    return lambda: tf.constant(number, tf.int64)
