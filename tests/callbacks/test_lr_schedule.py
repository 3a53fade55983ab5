"""LRSchedule: the kit's schedules inside an optimizer, saved and loaded with it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit import schedules
from tlkit.callbacks.lr_schedule import LRSchedule
from tlkit.callbacks.recorder import Recorder
from tlkit.errors import ConfigError


@keras.saving.register_keras_serializable("tests")
def one_over(cycle):
    return 1 / cycle


KINDS = [
    schedules.Constant(0.01),
    schedules.Cyclical(1e-3, 1e-2, 3, "exp_range", gamma=0.9),
    schedules.Cyclical(1e-3, 1e-2, 3, scale_fn=one_over),
    schedules.Restarts(1e-2, 3, 2, 1e-4, 0.9),
    schedules.OneCycle(1e-2, 20, momentums=None),
]


def data():
    x = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(4)


def model_with(schedule, **options):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(LRSchedule(schedule)), "mse", **options)
    return model


@pytest.mark.parametrize("schedule", KINDS, ids=lambda one: type(one).__name__)
def test_every_step_uses_its_rate_and_a_loaded_model_goes_on(schedule, tmp_path):
    model, recorder = model_with(schedule), Recorder()
    model.fit(data(), epochs=2, callbacks=[recorder], verbose=0)
    np.testing.assert_allclose(recorder.rates, schedule.rate(np.arange(10)), rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer._learning_rate.schedule == schedule
    loaded.fit(data(), epochs=2, callbacks=[recorder], verbose=0)
    np.testing.assert_allclose(recorder.rates, schedule.rate(np.arange(10, 20)), rtol=1e-5)


def test_several_steps_in_one_execution_train_like_single_ones():
    results = []
    for together in (1, 5):
        model = model_with(schedules.Cyclical(1e-3, 1e-1, 2), steps_per_execution=together)
        model.fit(data(), epochs=2, verbose=0)
        results.append(model.get_weights()[0])
    np.testing.assert_allclose(*results, rtol=1e-6)
    assert not np.allclose(results[0], 1.0), "it must have trained"


@pytest.mark.parametrize("schedule", KINDS, ids=lambda one: type(one).__name__)
def test_the_config_is_plain_data_and_makes_an_equal_schedule(schedule):
    held = keras.optimizers.schedules.serialize(LRSchedule(schedule))
    assert held["registered_name"] == "tlkit>LRSchedule"
    again = keras.optimizers.schedules.deserialize(held)
    assert isinstance(again, LRSchedule)
    assert again.schedule == schedule


def test_a_scale_fn_that_nobody_could_find_again_is_not_saved(tmp_path):
    model = model_with(schedules.Cyclical(1e-3, 1e-2, 3, scale_fn=lambda cycle: 1 / cycle))
    model.fit(data(), verbose=0)
    with pytest.raises(ConfigError, match="this scale_fn cannot be saved.*register_keras_serializable"):
        model.save(tmp_path / "model.keras")


def test_a_saved_scale_fn_that_is_unknown_here_is_told():
    config = LRSchedule(KINDS[2]).get_config()
    config["arguments"]["scale_fn"] = "other>gone"
    with pytest.raises(ConfigError, match="the saved scale_fn is not registered; received: 'other>gone'"):
        LRSchedule.from_config(config)
    with pytest.raises(ConfigError, match="unknown schedule; received: 'Cyclicl'.*did you mean 'Cyclical'"):
        LRSchedule.from_config({"schedule": "Cyclicl", "arguments": {}})


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ConfigError, match="a learning-rate schedule cannot change the momentum.*momentums=None"):
        LRSchedule(schedules.OneCycle(1e-2, 20))
    with pytest.raises(ConfigError, match="not a schedule of tlkit.schedules; received: 0.1; allowed: Constant, Cycl"):
        LRSchedule(0.1)
