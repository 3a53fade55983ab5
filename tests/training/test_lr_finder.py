from __future__ import annotations

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlkit.errors import ConfigError, DataError, TrainingError
from tlkit.report.ascii_plot import ascii_plot
from tlkit.training.lr_finder import LRFinderResult, find_lr, slide, steepest, suggest, valley


def network(optimizer=None, seed=0, **compiled):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile(optimizer or keras.optimizers.SGD(0.01), "mse", metrics=["mae"], jit_compile=False, **compiled)
    return model


def line(optimizer=None):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer or keras.optimizers.SGD(0.01), "mse", jit_compile=False)
    return model


def batches(scale=1.0, size=16):
    random_numbers = np.random.default_rng(0)
    x = random_numbers.normal(size=(64, 3)).astype("float32")
    y = scale * x @ np.array([[1.0], [-2.0], [0.5]], "float32")
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(size)


def everything(model):
    """All state that a sweep could leave changed."""
    seeds = keras.src.random.seed_generator.global_seed_generator()
    variables = [*model.variables, *model.optimizer.variables, seeds.state, *model.metrics_variables]
    arrays = [np.array(variable) for variable in variables]
    return arrays, random.getstate(), [str(part) for part in np.random.get_state()]


def assert_same(before, after):
    for one, other in zip(before[0], after[0], strict=False):
        np.testing.assert_array_equal(one, other)
    assert len(after[0]) >= len(before[0])
    for made_since in after[0][len(before[0]) :]:  # Keras makes metrics when it first trains
        assert not np.any(made_since)
    assert before[1:] == after[1:]


def test_rates_grow_exponentially_from_start_to_end():
    found = find_lr(line(), batches(), start=1e-6, end=1e-2, steps=50)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-6, 1e-2, 50), rtol=1e-6)


def test_each_loss_is_the_step_s_own():
    model = line()
    found = find_lr(model, batches(), start=1e-9, end=1e-8, steps=12)
    own = [float(model.loss and np.mean((model(x) - y) ** 2)) for x, y in batches()]
    np.testing.assert_allclose(found.losses, np.tile(own, 3), rtol=1e-4)


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, use_ema=True),
    "lion": lambda: keras.optimizers.Lion(0.01),
}


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(sorted(OPTIMIZERS)), trained=st.booleans(), execution=st.sampled_from([1, 3]))
def test_a_sweep_changes_nothing_at_all(name, trained, execution):
    model = network(OPTIMIZERS[name](), steps_per_execution=execution)
    model.optimizer.build(model.trainable_variables)
    if trained:
        model.fit(batches(), epochs=2, verbose=0)
    before, rate = everything(model), float(model.optimizer.learning_rate)
    find_lr(model, batches(), steps=15)
    assert_same(before, everything(model))
    assert float(model.optimizer.learning_rate) == rate
    assert model.steps_per_execution == execution
    assert not model.stop_training


def test_training_goes_on_as_if_there_had_been_no_sweep():
    def train(with_sweep):
        model = network(keras.optimizers.Adam(0.01))
        model.fit(batches(), epochs=1, verbose=0)
        if with_sweep:
            find_lr(model, batches(), steps=20)
        history = model.fit(batches(), epochs=2, verbose=0).history
        return history, [np.array(variable) for variable in model.variables]

    (one, weights), (other, others) = train(False), train(True)
    assert one == other
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_sweep_that_is_broken_off_changes_nothing_either(monkeypatch, error):
    model = network(keras.optimizers.Adam(0.01))
    model.fit(batches(), epochs=1, verbose=0)
    before, seen = everything(model), []
    original = model.reset_metrics

    def reset():
        seen.append(1)
        if len(seen) == 7:
            raise error
        original()

    monkeypatch.setattr(model, "reset_metrics", reset)
    with pytest.raises(error):
        find_lr(model, batches(), steps=20)
    assert len(seen) == 7
    assert_same(before, everything(model))


def test_the_sweep_stops_when_the_loss_runs_away_unless_told_not_to():
    found = find_lr(line(), batches(), start=1e-4, end=1e4, steps=100)
    assert len(found.rates) < 100
    assert found.smoothed[-1] > 4 * found.smoothed.min()
    assert 1e-3 < found.suggestion < 1.0
    assert len(find_lr(line(), batches(), start=1e-4, end=10, steps=100, stop_at=None).rates) == 100


def test_with_accumulation_each_rate_takes_the_batches_of_one_update():
    whole = find_lr(line(), batches(size=32), start=1e-4, end=0.1, steps=12)
    model = line(keras.optimizers.SGD(0.01, gradient_accumulation_steps=2))
    model.fit(batches().take(1), verbose=0)  # leaves half of an update
    model.layers[-1].set_weights(line().layers[-1].get_weights())
    before = everything(model)
    halves = find_lr(model, batches(), start=1e-4, end=0.1, steps=12)
    np.testing.assert_allclose(halves.losses, whole.losses, rtol=1e-4)
    assert whole.losses[-1] < 0.9 * whole.losses[0]
    assert_same(before, everything(model))


def test_steepest_finds_the_fastest_fall_of_a_known_curve():
    rates = np.geomspace(1e-6, 1, 200)
    losses = 1 / (1 + np.exp(8 * (np.log10(rates) + 3)))  # falls fastest at 1e-3
    assert steepest(list(rates), list(losses)) == pytest.approx(1e-3, rel=0.1)
    losses[150:] += np.linspace(0, 50, 50)
    losses[199] = -60  # a fall after the minimum of the curve proper cannot win: the slope before it does
    assert steepest(list(rates[:199]), list(losses[:199])) == pytest.approx(1e-3, rel=0.1)


def test_valley_takes_the_middle_of_the_longest_fall():
    rates = np.geomspace(1e-6, 1, 100)
    losses = np.concatenate([np.full(20, 1.0), np.linspace(0.99, 0.2, 60), np.linspace(0.3, 5, 20)])
    assert valley(rates, losses) == pytest.approx(rates[49], rel=0.2)


def test_slide_ends_where_the_slope_is_still_even():
    rates = np.geomspace(1e-6, 1, 120)
    losses = np.concatenate([np.linspace(1.0, 0.4, 80), 0.4 + np.linspace(0, 1, 40) ** 3 * 40])
    chosen = slide(rates, losses)
    assert rates[40] < chosen < rates[95]
    assert slide(rates, np.full(120, 0.5)) == rates[119 - 15]


def test_all_suggestions_lie_in_the_sweep():
    found = find_lr(line(), batches(), start=1e-4, end=10.0, steps=60)
    assert set(found.suggestions) == {"steepest", "minimum/10", "valley", "slide"}
    for name, rate in found.suggestions.items():
        assert found.rates[0] / 10 <= rate <= found.rates[-1], name
    assert found.suggestion == found.suggestions["steepest"]
    minimum = found.rates[np.argmin(found.smoothed)]
    assert suggest(found.rates, found.smoothed)["minimum/10"] == pytest.approx(minimum / 10)


def test_a_model_without_finite_loss_is_an_error():
    with pytest.raises(TrainingError, match="not finite at the smallest learning rates"):
        find_lr(line(), batches(float("nan")))


def test_an_empty_data_set_is_an_error():
    with pytest.raises(DataError, match="got no batches; received: 'an empty dataset'"):
        find_lr(line(), batches().take(0))


@pytest.mark.parametrize("options", [{"start": 0}, {"start": 1, "end": 0.1}, {"end": float("inf")}])
def test_an_unusable_range_is_an_error(options):
    with pytest.raises(ConfigError, match="the range of learning rates is invalid"):
        find_lr(line(), batches(), **options)


def test_other_unusable_arguments_are_errors():
    with pytest.raises(ConfigError, match="too few steps"):
        find_lr(line(), batches(), steps=3)
    with pytest.raises(ConfigError, match="stop_at is invalid; received: 1"):
        find_lr(line(), batches(), stop_at=1)
    with pytest.raises(ConfigError, match="the model is not compiled"):
        find_lr(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), batches())
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    with pytest.raises(ConfigError, match="learning rate cannot be set; received: 'ExponentialDecay'"):
        find_lr(line(keras.optimizers.SGD(decay)), batches())


def test_the_plot_is_a_picture_and_the_text_a_curve(tmp_path):
    found = LRFinderResult(np.geomspace(1e-5, 1, 30), np.ones(30), np.linspace(1, 0, 30))
    path = found.plot(tmp_path / "deep" / "lr.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="unknown image format"):
        found.plot(tmp_path / "lr.txt")
    text = str(found)
    assert "recommended: steepest" in text
    assert text.count("*") > 30


def test_the_ascii_plot_draws_the_curve_where_it_is():
    lines = ascii_plot([0, 1, 2], [0, 1, 2], width=21, height=3).splitlines()
    assert [line.rstrip()[-1] for line in lines[:2]] == ["*", "*"]
    assert lines[0].index("*") > lines[1].index("*") > lines[2].index("*")
    assert "|" in ascii_plot([0, 1, 2], [0, 1, 2], {"x": 1.0}, width=21, height=5)
