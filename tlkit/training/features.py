"""Bottleneck features: what a frozen backbone says of each photo, computed once."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def fast_forward(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Compile the inference pass of a model with its present weights built in as constants.

    Grappler folds batch normalisation into convolutions only when it can see the weights; on a CPU that halves the
    time of a forward pass. The function goes stale as soon as a weight changes.

    Args:
        model: one input float32 [B, ...], one output.

    Returns:
        A function: input tensor [B, ...] -> output tensor.
    """
    frozen = convert_variables_to_constants_v2(live_forward(model))
    dtype = model.inputs[0].dtype
    return lambda x: frozen(tf.cast(x, dtype))[0]


def live_forward(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Compile the inference pass of a model; it follows the weights, and is slower than `fast_forward`.

    Args:
        model: one input [B, ...], one output.

    Returns:
        A function: input tensor [B, ...], of the input's own type -> output tensor.
    """
    spec = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
    live = tf.function(lambda x: model(x, training=False), input_signature=[spec], jit_compile=False, autograph=False)
    return live.get_concrete_function()


def run(model: keras.Model, dataset: tf.data.Dataset) -> np.ndarray:
    """Run a model over `(inputs, ...)` batches in inference mode.

    Args:
        model: the network.
        dataset: finite; the first part of each element is the input.

    Returns:
        float32 [n, ...], in the order of the dataset.
    """
    return collect(fast_forward(model), dataset)


def collect(forward: Callable[[tf.Tensor], tf.Tensor], dataset: Iterable[Any]) -> np.ndarray:
    """Apply a function to the first part of each element and join the results: float32 [n, ...]."""
    return np.concatenate([forward(batch[0]).numpy() for batch in dataset]).astype(np.float32, copy=False)


class FeatureCache:
    """Features by split, valid for as long as no weight of the model changes.


    Args:
        model: pixels [B, S, S, 3] -> features [B, F].
        batches: gives the dataset of a split.

    Attributes:
        keep_former: keep those of the state of the weights before the present one too, for when it comes back.
        seconds: that an example took in the last pass, without the first batch, before which a graph is made.
    """

    keep_former = False
    seconds = 0.0

    def __init__(self, model: keras.Model, batches: Callable[[str], tf.data.Dataset]):
        self._model = model
        self._batches = batches
        self._weights = -1
        self._forward: Callable[[tf.Tensor], tf.Tensor] | None = None
        self._features: dict[str, np.ndarray] = {}
        self._former: tuple[int, dict[str, np.ndarray]] = (-1, {})

    def __getitem__(self, split: str) -> np.ndarray:
        """Give the features of a split, float32 [n, F]; computed the first time and after a change of weights."""
        self._forget_if_changed()
        if split not in self._features:
            self._forward = self._forward or fast_forward(self._model)
            forward, ends = self._forward, [(time.monotonic(), 0)]

            def timed(inputs: tf.Tensor) -> tf.Tensor:
                outputs = forward(inputs)
                ends.append((time.monotonic(), len(outputs)))
                return outputs

            self._features[split] = collect(timed, self._batches(split))
            if len(ends) > 2:
                del ends[0]
            self.seconds = (ends[-1][0] - ends[0][0]) / sum(rows for _, rows in ends[1:])
        return self._features[split]

    def __contains__(self, split: str) -> bool:
        self._forget_if_changed()
        return split in self._features

    def _forget_if_changed(self) -> None:
        checksum = 0
        for variable in self._model.weights:
            checksum = zlib.crc32(np.ascontiguousarray(variable).view(np.uint8).data, checksum)
        if checksum != self._weights:
            former = self._former
            self._former = (self._weights, self._features) if self.keep_former else (-1, {})
            self._weights, self._forward = checksum, None
            self._features = former[1] if former[0] == checksum else {}


def feature_epoch(
    features: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None,
    *,
    batch_size: int,
    order: Callable[[tf.Tensor], tf.Tensor],
    number: tf.Variable | int,
) -> tf.data.Dataset:
    """One epoch of shuffled features.

    Args:
        features: float32 [n, F].
        targets: float32 [n, k].
        weights: float32 [n] sample weights, or None.
        batch_size: rows a batch; the last batch of an epoch may be smaller.
        order: number of an epoch, int64 [] -> row numbers, int64 [n].
        number: of the epoch; a variable is read anew by each iterator.

    Returns:
        Dataset of `(features, targets)` or `(features, targets, weights)` batches.
    """
    epoch = _epoch_of(features, targets, weights, batch_size, order)
    dataset = tf.data.Dataset.from_tensors(0).flat_map(lambda _: epoch(tf.convert_to_tensor(number, tf.int64)))
    return dataset.prefetch(4).apply(tf.data.experimental.assert_cardinality(-(-len(features) // batch_size)))


def feature_epochs(
    features: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None,
    *,
    batch_size: int,
    order: Callable[[tf.Tensor], tf.Tensor],
) -> tf.data.Dataset:
    """Stream epoch after epoch without end; arguments and elements as for `feature_epoch`."""
    epoch = _epoch_of(features, targets, weights, batch_size, order)
    return tf.data.Dataset.counter(0).flat_map(epoch).prefetch(4)


def _epoch_of(
    features: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None,
    batch_size: int,
    order: Callable[[tf.Tensor], tf.Tensor],
) -> Callable[[tf.Tensor], tf.data.Dataset]:
    parts = [tf.constant(part) for part in (features, targets, weights) if part is not None]

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        batches = tf.data.Dataset.from_tensor_slices(order(number)).batch(batch_size)
        return batches.map(lambda rows: tuple(tf.gather(part, rows) for part in parts))

    return epoch
