"""Boosted trees as a Keras layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.tasks.tabular.trees import BoostedTrees, TreeShape, empty_trees


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
        left = tf.fill([tf.shape(encoded)[0], shape.trees], -1)
        if shape.numbers:
            left = self._combined(left, self._rows_of_numbers(encoded))
        if shape.categories:
            left = self._combined(left, self._rows_of_categories(encoded))
        # The lowest bit that is left: its number is that of the bits below it.
        leaf = tf.cast(tf.raw_ops.PopulationCount(x=(left & -left) - 1), tf.int32)
        places = leaf + tf.range(shape.trees) * shape.leaves
        values = tf.cast(tf.gather(tf.reshape(self.values, [-1]), places), tf.float64)
        adds_to = tf.one_hot(tf.convert_to_tensor(self.outputs), shape.outputs, dtype=tf.float64)
        return tf.cast(tf.linalg.matmul(values, adds_to) + tf.convert_to_tensor(self.baseline), tf.float32)

    def _rows_of_numbers(self, encoded: tf.Tensor) -> tf.Tensor:
        """Return the row of `masks` for each number, int32 [N, B]."""
        # A last column of zeros is the flag of the numbers that have none.
        columns = tf.concat([tf.transpose(encoded), tf.zeros([1, tf.shape(encoded)[0]])], axis=0)
        values, missing = (tf.gather(columns, places) for places in (self.number_columns, self.number_flags))
        bins = tf.searchsorted(tf.convert_to_tensor(self.thresholds), values, side="left")
        rows = bins + tf.convert_to_tensor(self.number_rows)[:, None]
        return tf.where(missing > 0.5, tf.convert_to_tensor(self.missing_rows)[:, None], rows)

    def _rows_of_categories(self, encoded: tf.Tensor) -> tf.Tensor:
        """Return the row of `masks` for each category, int32 [C, B]."""
        codes = tf.cast(tf.gather(tf.transpose(encoded), self.code_columns), tf.int32)
        return tf.gather(self.code_rows, codes + tf.convert_to_tensor(self.code_places)[:, None])

    def _combined(self, left: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Return the bits that all these rows of `masks` leave, int32 [B, T]."""
        masks = tf.convert_to_tensor(self.masks)

        def add(place: tf.Tensor, left: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return place + 1, tf.bitwise.bitwise_and(left, tf.gather(masks, rows[place]))

        count = tf.shape(rows)[0]
        return tf.while_loop(lambda place, _: place < count, add, [0, left], parallel_iterations=1)[1]

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Give [B, K]."""
        return input_shape[0], self.shape.outputs

    def get_config(self) -> dict[str, Any]:
        """Give the sizes."""
        return {**super().get_config(), "shape": dataclasses.asdict(self.shape)}
