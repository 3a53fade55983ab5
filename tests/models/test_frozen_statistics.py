"""A convolution and its batch normalisation in one: the same answers and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tlkit.models.frozen_statistics import FrozenStatistics, normalised_convolutions


def _network():
    pixels = keras.Input((9, 9, 3))
    x = layers.BatchNormalization(name="before")(layers.Conv2D(6, 3, strides=2, use_bias=False, name="plain")(pixels))
    x = layers.ReLU()(x)
    twice = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.BatchNormalization(scale=False, name="without_scale")(twice)
    x = layers.Dropout(0.9)(x)
    grouped = layers.Conv2D(8, 3, dilation_rate=2, padding="same", groups=4, name="grouped")(x)
    x = layers.BatchNormalization(center=False, epsilon=0.1, name="without_offset")(grouped)
    with_other_takers = layers.Conv2D(8, 1, name="with_other_takers")(x)
    x = layers.Add()([layers.BatchNormalization()(with_other_takers), with_other_takers])
    x = layers.BatchNormalization()(layers.Conv2D(8, 1, activation="tanh", name="activated")(x))
    shared = layers.Conv2D(8, 1, name="shared")
    x = layers.BatchNormalization()(shared(layers.BatchNormalization()(shared(x))))
    network = keras.Model(pixels, layers.BatchNormalization()(layers.Dense(4)(x)))
    rng = np.random.default_rng(0)
    for variable in network.variables:
        if variable.dtype == "float32":
            low = 0.5 if "variance" in variable.path or "gamma" in variable.path else -0.5
            variable.assign(rng.uniform(low, low + 1, variable.shape))
    return network


def test_pairs_are_found_where_nothing_else_sees_what_is_between():
    pairs = {first.name: second.name for first, second in normalised_convolutions(_network())}
    assert pairs == {"plain": "before", "depthwise": "without_scale", "grouped": "without_offset"}
    several = keras.Model(pixels := keras.Input((4, 4, 3)), [layers.ReLU()(pixels), layers.ELU()(pixels)])
    assert normalised_convolutions(several) == []
    assert normalised_convolutions(keras.Sequential([layers.Conv2D(2, 1), layers.BatchNormalization()])) == []


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_answers_and_gradients_are_those_of_the_layers(policy):
    network = _network()
    for layer in network.layers:
        layer.dtype_policy = policy
    frozen = FrozenStatistics(network)
    pixels = tf.random.stateless_uniform((5, 9, 9, 3), (1, 2))
    variables = [variable.value for variable in network.trainable_variables]
    results = []
    for call in (lambda x: network(x, training=False), lambda x: frozen(x, training=True)):
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            answers = tf.cast(call(pixels), "float32")
            loss = tf.reduce_mean(answers**2)
        results.append([answers, *tape.gradient(loss, [pixels, *variables])])
    close = 1e-5 if policy == "float32" else 0.05
    for expected, got in zip(*results, strict=True):
        assert got is not None
        np.testing.assert_allclose(got, expected, rtol=close, atol=close * float(tf.reduce_max(tf.abs(expected))))


def test_what_is_between_the_two_layers_is_not_computed():
    frozen = FrozenStatistics(_network())
    step = tf.function(lambda x: frozen(x, training=True), jit_compile=False, autograph=False)
    graph = step.get_concrete_function(tf.TensorSpec((5, 9, 9, 3))).graph
    wide = [op for op in graph.get_operations() if op.type in ("Mul", "AddV2") and op.outputs[0].shape.rank == 4]
    # Left: five normalisations that stand alone, and the sum of two branches.
    assert len([op for op in wide if op.outputs[0].shape[0] == 5]) == 2 * 5 + 1
