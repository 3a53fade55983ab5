from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.errors import ConfigError, DataError, TrainingError
from tlkit.training.lr_finder import LRFinderResult, steepest, sweep

LOSS = keras.losses.MeanSquaredError()


def line(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])


def batches(scale=1.0):
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 3)).astype("float32")
    y = scale * x @ np.array([[1.0], [-2.0], [0.5]], "float32")
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(16).repeat()


def test_rates_grow_exponentially_from_start_to_end():
    found = sweep(line(), batches(), keras.optimizers.SGD(), LOSS, start=1e-6, end=1e-2, steps=50)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-6, 1e-2, 50), rtol=1e-6)


def test_the_sweep_stops_when_the_loss_runs_away():
    found = sweep(line(), batches(), keras.optimizers.SGD(), LOSS, start=1e-4, end=1e4, steps=100)
    assert len(found.rates) < 100
    assert found.smoothed[-1] > found.smoothed.min()
    assert 1e-3 < found.suggestion < 1.0


def test_steepest_finds_the_fastest_fall_of_a_known_curve():
    rates = np.geomspace(1e-6, 1, 200)
    losses = 1 / (1 + np.exp(8 * (np.log10(rates) + 3)))  # falls fastest at 1e-3
    assert steepest(list(rates), list(losses)) == pytest.approx(1e-3, rel=0.1)
    losses[150:] += np.linspace(0, 50, 50)
    losses[199] = -60  # a fall after the minimum of the curve proper cannot win: the slope before it does
    assert steepest(list(rates[:199]), list(losses[:199])) == pytest.approx(1e-3, rel=0.1)


def test_a_model_without_finite_loss_is_an_error():
    with pytest.raises(TrainingError, match="not finite at the smallest learning rates"):
        sweep(line(), batches(float("nan")), keras.optimizers.SGD(), LOSS)


def test_an_empty_data_set_is_an_error():
    with pytest.raises(DataError, match="got no batches"):
        sweep(line(), batches().take(0), keras.optimizers.SGD(), LOSS)


@pytest.mark.parametrize("options", [{"start": 0}, {"start": 1, "end": 0.1}, {"end": float("inf")}])
def test_an_unusable_range_is_an_error(options):
    with pytest.raises(ConfigError, match="the range of learning rates is not usable"):
        sweep(line(), batches(), keras.optimizers.SGD(), LOSS, **options)
    with pytest.raises(ConfigError, match="too few steps"):
        sweep(line(), batches(), keras.optimizers.SGD(), LOSS, steps=3)


def test_the_plot_is_a_picture(tmp_path):
    found = LRFinderResult(np.geomspace(1e-5, 1, 30), np.ones(30), np.linspace(1, 0, 30), 1e-2)
    path = found.plot(tmp_path / "deep" / "lr.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="unknown kind of picture"):
        found.plot(tmp_path / "lr.txt")
