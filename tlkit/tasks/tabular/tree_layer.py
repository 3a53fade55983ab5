"""Boosted trees as a Keras layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.tasks.tabular.trees import BoostedTrees, TreeShape, empty_trees

_UNROLLED = 64  # look-ups; more of them are a loop, whose graph stays small


@keras.saving.register_keras_serializable("tlkit")
class BoostedTreesLayer(keras.layers.Layer):
    """Answers encoded rows by boosted trees: float32 [B, D] -> float32 [B, K].

    Its arrays are weights, so that checkpoints and exports hold them. No training changes them, whatever is unfrozen.
    Sums are taken in float64, as in scikit-learn.

    Example:
        >>> layer = BoostedTreesLayer(trees.shape, trees)
        >>> layer(encoded)

    Args:
        shape: sizes of the arrays.
        trees: the arrays; zeros, until weights are loaded, when left out.
    """

    def __init__(self, shape: TreeShape | Mapping[str, int], trees: BoostedTrees | None = None, **options: Any):
        options.setdefault("dtype", "float32")
        super().__init__(autocast=False, **options)
        self.shape = shape if isinstance(shape, TreeShape) else TreeShape(**shape)
        arrays = empty_trees(self.shape) if trees is None else trees
        for field in dataclasses.fields(BoostedTrees):
            value = getattr(arrays, field.name)
            setattr(self, field.name, self._constant(field.name, value))

    def _constant(self, name: str, value: np.ndarray) -> Any:
        return self.add_weight(
            shape=value.shape,
            dtype=value.dtype.name,
            initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(value, dtype),
            trainable=False,
            autocast=False,
            name=name,
        )

    @property
    def trainable(self) -> bool:
        """False: what holds the layer may be frozen and unfrozen."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        pass

    def call(self, encoded: Any, training: bool | None = None) -> Any:
        """See the class; zeros in training, which does not use them."""
        if training:
            return tf.zeros([tf.shape(encoded)[0], self.shape.outputs])
        encoded, shape = tf.cast(encoded, tf.float32), self.shape
        if shape.lookups:
            left = self._leaves_left(self._rows(encoded))
        else:
            left = tf.fill([tf.shape(encoded)[0], shape.trees], -1)
        # The lowest bit that is left: its number, from 1, is the count of that bit and those below it.
        number = tf.cast(tf.raw_ops.PopulationCount(x=tf.bitwise.bitwise_xor(left, left - 1)), tf.int32)
        places = number + (tf.range(shape.trees) * shape.leaves - 1)
        values = tf.gather(tf.cast(tf.reshape(self.values, [-1]), tf.float64), places)
        adds_to = tf.one_hot(tf.convert_to_tensor(self.outputs), shape.outputs, dtype=tf.float64)
        return tf.cast(tf.linalg.matmul(values, adds_to) + tf.convert_to_tensor(self.baseline), tf.float32)

    def _rows(self, encoded: tf.Tensor) -> tf.Tensor:
        """Return the row of `masks` of each look-up, int32 [G, B]."""
        own, shape = list[tf.Tensor](), self.shape
        columns = tf.transpose(encoded)
        if shape.numbers:
            own.append(self._bins_of_numbers(columns))
        if shape.categories:
            own.append(self._bins_of_categories(columns))
        bins = tf.concat(own, axis=0) * tf.convert_to_tensor(self.strides)[:, None]
        rows = tf.math.unsorted_segment_sum(bins, tf.convert_to_tensor(self.groups), shape.lookups)
        return rows + tf.convert_to_tensor(self.begins)[:, None]

    def _bins_of_numbers(self, columns: tf.Tensor) -> tf.Tensor:
        """Return the bin of each number, int32 [N, B]."""
        # A last column of zeros is the flag of the numbers that have none.
        with_zeros = tf.concat([columns, tf.zeros([1, tf.shape(columns)[1]])], axis=0)
        values, missing = (tf.gather(with_zeros, places) for places in (self.number_columns, self.number_flags))
        bins = tf.searchsorted(tf.convert_to_tensor(self.thresholds), values, side="left")
        return tf.where(missing > 0.5, tf.convert_to_tensor(self.missing_bins)[:, None], bins)

    def _bins_of_categories(self, columns: tf.Tensor) -> tf.Tensor:
        """Return the bin of each category, int32 [C, B]."""
        codes = tf.cast(tf.gather(columns, self.code_columns), tf.int32)
        return tf.gather(self.code_bins, codes + tf.convert_to_tensor(self.code_places)[:, None])

    def _leaves_left(self, rows: tf.Tensor) -> tf.Tensor:
        """Return the bits that all these rows of `masks` leave, int32 [B, T]."""
        masks = tf.convert_to_tensor(self.masks)
        if self.shape.lookups <= _UNROLLED:
            left, *others = (tf.gather(masks, own) for own in tf.unstack(rows, self.shape.lookups))
            for other in others:
                left = tf.bitwise.bitwise_and(left, other)
            return left

        def add(place: tf.Tensor, left: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return place + 1, tf.bitwise.bitwise_and(left, tf.gather(masks, rows[place]))

        first = tf.gather(masks, rows[0])
        return tf.while_loop(lambda place, _: place < self.shape.lookups, add, [1, first], parallel_iterations=1)[1]

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Give [B, K]."""
        return input_shape[0], self.shape.outputs

    def get_config(self) -> dict[str, Any]:
        """Give the sizes."""
        return {**super().get_config(), "shape": dataclasses.asdict(self.shape)}
