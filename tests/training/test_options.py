from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from tlkit.errors import ConfigError
from tlkit.targets.objective import classification
from tlkit.training.options import TrainingOptions


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("optimizer", "adamq", "unknown optimizer; received: 'adamq'; allowed: adamw, adam, sgd, lion; did you mean"),
        ("precision", "float16", "unknown precision; received: 'float16'; allowed: as_built, auto, float32"),
        ("label_smoothing", 1.0, "label_smoothing is invalid; received: 1.0; allowed: 0 up to 1"),
        ("label_smoothing", -0.1, "label_smoothing is invalid; received: -0.1"),
        ("label_smoothing", True, "label_smoothing is invalid; received: True"),
        ("ema", 1.0, "ema is invalid; received: 1.0; allowed: 0 up to 1"),
        ("ema", float("nan"), "ema is invalid; received: nan"),
        ("clip_norm", -1, "clip_norm is invalid; received: -1; allowed: 0 .no limit. or more"),
        ("clip_norm", float("inf"), "clip_norm is invalid; received: inf"),
        ("clip_norm", "1", "clip_norm is invalid; received: '1'"),
        ("accumulate", 0, "accumulate is invalid; received: 0; allowed: a whole number, 1 or more"),
        ("accumulate", 2.0, "accumulate is invalid; received: 2.0"),
        ("accumulate", True, "accumulate is invalid; received: True"),
        ("patience", -1, "patience is invalid; received: -1; allowed: a whole number, 0 or more"),
        ("patience", 1.5, "patience is invalid; received: 1.5"),
    ],
)
def test_an_unusable_value_is_named(name, value, message):
    with pytest.raises(ConfigError, match=message):
        TrainingOptions(**{name: value})
    with pytest.raises(ConfigError, match=message):
        TrainingOptions().updated({name: value})


def test_an_unknown_option_is_named_with_the_nearest_one():
    with pytest.raises(ConfigError, match="unknown option of the Learner; received: 'label_smooth'; .*did you mean"):
        TrainingOptions().updated({"label_smooth": 0.1})


def test_options_are_changed_in_a_copy_and_given_as_plain_values():
    first = TrainingOptions(ema=0.9)
    second = first.updated({"patience": 3})
    assert (first.patience, second.patience, second.ema) == (0, 3, 0.9)
    assert TrainingOptions(**second.to_dict()) == second
    assert set(second.to_dict()) == {field.name for field in dataclasses.fields(TrainingOptions)}


@pytest.mark.parametrize(
    ("name", "kind", "decay", "momentum"),
    [
        ("adamw", "AdamW", 0.01, None),
        ("adam", "Adam", None, None),
        ("sgd", "SGD", None, 0.9),
        ("lion", "Lion", 0.01, None),
    ],
)
def test_each_name_makes_its_optimizer(name, kind, decay, momentum):
    made = TrainingOptions(optimizer=name).maker(None)(0.25)
    assert type(made).__name__ == kind
    assert float(made.learning_rate) == 0.25
    assert made.weight_decay == decay
    assert getattr(made, "momentum", None) == momentum
    assert made.gradient_accumulation_steps is None
    assert made.global_clipnorm is None


def test_weight_decay_spares_biases_and_normalisation():
    made = TrainingOptions().maker(None)(0.1)
    names = ("kernel", "bias", "gamma", "beta")
    variables = [keras.Variable(np.ones(2, "float32"), name=name) for name in names]
    made.build(variables)
    made.apply([np.zeros(2, "float32")] * 4, variables)
    np.testing.assert_allclose([np.array(variable)[0] for variable in variables], [1 - 0.1 * 0.01, 1, 1, 1], rtol=1e-6)


def test_accumulation_and_clipping_are_set_on_a_user_s_optimizer():
    options = TrainingOptions(accumulate=4, clip_norm=1)
    made = options.maker(lambda rate: keras.optimizers.RMSprop(rate))(0.1)
    assert made.gradient_accumulation_steps == 4
    assert made.global_clipnorm == 1.0


@pytest.mark.parametrize(
    ("options", "own", "message"),
    [
        ({"accumulate": 2}, {"gradient_accumulation_steps": 3}, "its own gradient_accumulation_steps; received: 3"),
        ({"clip_norm": 1.0}, {"clipnorm": 2.0}, "its own clipnorm; received: 2.0"),
        ({"clip_norm": 1.0}, {"clipvalue": 0.5}, "its own clipvalue; received: 0.5"),
        ({"clip_norm": 1.0}, {"global_clipnorm": 5.0}, "its own global_clipnorm; received: 5.0"),
    ],
)
def test_setting_the_same_thing_twice_is_an_error(options, own, message):
    make = TrainingOptions(**options).maker(lambda rate: keras.optimizers.SGD(rate, **own))
    with pytest.raises(ConfigError, match=message):
        make(0.1)
    assert TrainingOptions().maker(lambda rate: keras.optimizers.SGD(rate, **own))(0.1) is not None


def test_an_optimizer_in_place_of_a_function_is_an_error():
    with pytest.raises(
        ConfigError, match="a name, or a function from a learning rate to an optimizer; received: 'SGD'"
    ):
        TrainingOptions().maker(keras.optimizers.SGD(0.1))


def test_the_loss_spreads_a_part_of_the_target():
    targets, logits = np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]])
    logs = logits - np.log(np.exp(logits).sum())
    for smoothing, share in ((0.0, [1.0, 0.0]), (0.2, [0.9, 0.1])):
        loss = classification("abc").loss(TrainingOptions(label_smoothing=smoothing).label_smoothing)(targets, logits)
        assert float(loss) == pytest.approx(-float((logs * share).sum()), rel=1e-5)
