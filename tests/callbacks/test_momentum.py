"""DynamicFloat and MomentumController outside of a training."""

from __future__ import annotations

import json
import operator

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.callbacks.momentum import DynamicFloat, MomentumController, momentum_name, momentum_now
from tlkit.errors import ConfigError


def test_python_sees_a_plain_float():
    driven = DynamicFloat(0.9, lambda: tf.constant(0.5))
    assert isinstance(driven, float)
    assert float(driven) == 0.9
    assert driven == 0.9
    assert driven != 0
    assert json.dumps({"beta_1": driven}) == '{"beta_1": 0.9}'
    assert repr(driven) == "0.9"


@pytest.mark.parametrize("turn", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
def test_every_operator_computes_with_the_tensor(turn):
    driven = DynamicFloat(0.9, lambda: tf.constant(0.5))
    for three in (3, 3.0):
        assert float(turn(driven, three)) == pytest.approx(turn(0.5, 3.0))
        assert float(turn(three, driven)) == pytest.approx(turn(3.0, 0.5))
    assert float(-driven) == -0.5
    compiled = tf.function(lambda tensor: (turn(driven, tensor), turn(tensor, driven)))
    assert [float(value) for value in compiled(tf.constant(3.0))] == pytest.approx([turn(0.5, 3.0), turn(3.0, 0.5)])


def test_a_compiled_graph_reads_it_anew_and_in_the_asked_type():
    level = tf.Variable(0.5)
    driven = DynamicFloat(0.9, level.read_value)
    compiled = tf.function(lambda: (1 - driven, keras.ops.cast(driven, "float16"), tf.convert_to_tensor(driven)))
    for value in (0.5, 0.25):
        level.assign(value)
        rest, half, same = compiled()
        assert (float(rest), float(half), float(same)) == (1 - value, value, value)
        assert half.dtype == tf.float16


def test_a_dial_turns_and_lets_go():
    optimizer = keras.optimizers.Adam(0.1, beta_1=0.8)
    before = len(optimizer.variables)
    dial = MomentumController(optimizer)
    assert momentum_now(optimizer) == pytest.approx(0.8)
    dial.set(0.25)
    assert momentum_now(optimizer) == 0.25
    assert float(optimizer.beta_1) == 0.8
    assert MomentumController.of(optimizer) is dial
    assert len(optimizer.variables) == before, "the optimizer must not save the dial"
    dial.release()
    dial.release()
    assert type(optimizer.beta_1) is float
    assert optimizer.beta_1 == 0.8
    assert MomentumController.of(optimizer) is None


def test_releasing_an_old_dial_leaves_the_new_one():
    optimizer = keras.optimizers.Adam(0.1)
    old = MomentumController(optimizer)
    old.release()
    new = MomentumController(optimizer)
    old.release()
    assert MomentumController.of(optimizer) is new


def test_a_reader_of_its_own_is_followed_inside_the_graph():
    optimizer = keras.optimizers.SGD(1.0, momentum=0.9)
    weight = keras.Variable([0.0])
    optimizer.build([weight])
    dial = MomentumController(optimizer, read=lambda: 0.5 * tf.cast(optimizer.iterations, tf.float32))
    step = tf.function(lambda: optimizer.apply([tf.constant([1.0])], [weight]))
    values = []
    for _ in range(3):
        step()
        values.append(float(keras.ops.convert_to_numpy(weight)[0]))
    # velocity: -1, 0.5 * -1 - 1 = -1.5, 1.0 * -1.5 - 1 = -2.5
    assert values == [-1.0, -2.5, -5.0]
    with pytest.raises(ConfigError, match="this value is computed by a function and cannot"):
        dial.set(0.5)


def test_names_and_values_of_optimizers():
    assert momentum_name(keras.optimizers.SGD(0.1)) == "momentum"
    assert momentum_name(keras.optimizers.LossScaleOptimizer(keras.optimizers.Lion(0.1))) == "beta_1"
    assert momentum_name(keras.optimizers.Adagrad(0.1)) is None
    assert momentum_now(keras.optimizers.RMSprop(0.1, momentum=0.7)) == 0.7
    assert np.isnan(momentum_now(keras.optimizers.Adagrad(0.1)))
