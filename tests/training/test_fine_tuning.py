from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from photos import write_folder
from tiny import tiny_task

import tlkit
from tlkit.errors import ConfigError
from tlkit.inputs.image.augment import Augmentation
from tlkit.models.task import LayerGroup
from tlkit.training import fine_tuning
from tlkit.training.policy import BitRule

CLASSES = ("blue", "green", "red")
GROUPS = ("stem", "last", "head")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("photos"), dict.fromkeys(CLASSES, 12))
    return tlkit.images_from_folder(folder, size=32, batch_size=8, val_fraction=0.3, augment="side_on")


def three_groups():
    task = tiny_task(CLASSES)
    stem, norm, last = task.groups[0].layers
    groups = (LayerGroup("stem", (stem, norm)), LayerGroup("last", (last,)), task.groups[1])
    task = dataclasses.replace(task, groups=groups)
    task.freeze_to(-1)
    return task


@pytest.fixture(scope="module")
def shared(data):
    """A Learner that several tests train further."""
    return tlkit.Learner(three_groups(), data)


class Call:
    """One `fit` that was asked for: what was trainable, at which size, with which arguments."""

    def __init__(self, learn, epochs, lr, options):
        self.trained = [group.name for group in learn.task.groups if group.trainable]
        self.size, self.epochs, self.lr, self.options = learn.task.preprocessing.size, epochs, lr, options
        self.augmentation = learn.data.augmentation


@pytest.fixture
def planned(data, monkeypatch):
    """A Learner that notes the stages in place of training them."""
    learn, calls = tlkit.Learner(three_groups(), data, optimizer="sgd"), []
    monkeypatch.setattr(learn, "fit", lambda epochs, lr, **more: calls.append(Call(learn, epochs, lr, more)))
    return learn, calls


def trained(learn, first):
    """Train one epoch from group `first` on, in place; give the names of the groups that changed."""
    learn.freeze_to(first)
    before = [[variable.numpy() for variable in layer.weights] for layer in layers(learn)]
    learn.fit(1, 0.01, schedule="constant", precompute=False, verbose=False)
    after = [[variable.numpy() for variable in layer.weights] for layer in layers(learn)]
    return [
        layer.name
        for layer, old, new in zip(layers(learn), before, after, strict=True)
        if not all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))
    ]


def layers(learn):
    return [layer for group in learn.task.groups for layer in group.layers]


@settings(
    max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)
@given(first=st.integers(-3, 2))
def test_freezing_keeps_exactly_the_frozen_layers_unchanged(shared, first):
    assert trained(shared, first) == [layer.name for group in shared.task.groups[first:] for layer in group.layers]


def test_moments_survive_and_nothing_is_traced_again_for_a_set_that_was_trained_before(shared):
    for first in (0, 2):
        trained(shared, first)
    optimizer = shared._run.engine.optimizer
    shared.freeze_to(0)
    shared.fit(1, 0.01, precompute=False, verbose=False)
    function = shared.task.model.train_function
    slots = {key: slot.numpy() for key, slot in optimizer._slots.items()}
    frozen = {id(variable) for group in shared.task.groups[:2] for variable in group.variables}
    assert any(key[0] in frozen and np.any(value) for key, value in slots.items())
    trained(shared, 2)
    assert shared._run.engine.optimizer is optimizer
    assert shared.task.model.train_function is not function
    for key, slot in optimizer._slots.items():
        assert np.array_equal(slot.numpy(), slots[key]) == (key[0] in frozen), key
    counts = optimizer._counts.numpy()
    shared.freeze_to(0)
    shared.fit(1, [0.001, 0.003, 0.01], schedule="constant", precompute=False, verbose=False)
    assert shared.task.model.train_function is function
    assert optimizer._counts.numpy().tolist() == (counts + shared.data.steps_per_epoch).tolist()


def test_the_finder_sweeps_all_groups_at_their_ratio_and_puts_the_plan_back(shared):
    trained(shared, 0)
    optimizer = shared._run.engine.optimizer
    before = [np.array(part) for part in optimizer.plan()]
    weights = [variable.numpy() for variable in shared.task.model.variables]
    seen = []
    original = optimizer._multipliers.assign
    optimizer._multipliers.assign = lambda value, **more: seen.append(np.array(value)) or original(value, **more)
    try:
        found = shared.find_lr(start=1e-4, end=1e-2, steps=12, ratios=[0.1, 0.5, 1.0])
    finally:
        del optimizer._multipliers.assign
    np.testing.assert_allclose(seen[0], [0.1, 0.5, 1.0])
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 1e-2, 12)[: len(found.rates)])
    for one, other in zip(before, optimizer.plan(), strict=True):
        np.testing.assert_array_equal(one, np.array(other))
    for one, variable in zip(weights, shared.task.model.variables, strict=True):
        np.testing.assert_array_equal(one, variable.numpy())
    with pytest.raises(ConfigError, match="more learning rates than layer groups; received: 4; allowed: 1 to 3"):
        shared.find_lr(ratios=[1, 1, 1, 1])


@pytest.mark.parametrize(("n", "beta"), [(1, 0.0), (3, 0.4), (2, 1.0)])
def test_test_time_augmentation_mixes_probabilities(shared, n, beta):
    def probabilities(dataset):
        return np.concatenate([tf.nn.softmax(shared.task.model(b[0], training=False)).numpy() for b in dataset])

    views = np.mean([probabilities(shared.data.views("val", number)) for number in range(1, n + 1)], axis=0)
    plain = probabilities(shared.data.ordered("val"))
    scores, labels = shared.tta(n=n, beta=beta)
    np.testing.assert_allclose(scores, beta * plain + (1 - beta) * views, atol=1e-5)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(labels, shared.data.labels("val"))
    assert np.abs(views - plain).max() > 1e-4


def test_unusable_test_time_augmentation_is_an_error(shared, data):
    for n in (0, 1.5, True):
        with pytest.raises(ConfigError, match=f"invalid number of views .*; received: {n}"):
            shared.tta(n=n)
    for beta in (-0.1, 1.1, float("nan"), True, "0.4"):
        with pytest.raises(ConfigError, match="invalid beta for test-time augmentation; received: .*; allowed: 0 to 1"):
            shared.tta(beta=beta)
    with pytest.raises(ConfigError, match="no 'test' split"):
        shared.tta(split="test")
    bare = data.augmented_by(Augmentation())
    with pytest.raises(ConfigError, match='needs an augmentation, and augment="none"'):
        tlkit.Learner(three_groups(), bare).tta()


def test_patience_ends_a_stage_that_gets_no_better(data):
    learn = tlkit.Learner(tiny_task(CLASSES), data, patience=2)
    learn.freeze()
    history = learn.fit(9, 1e-12, schedule="constant", verbose=False)
    assert len(history["val_loss"]) == 3  # the first is the best: two more are waited for
    assert len(learn.recorder.losses) == 3 * data.steps_per_epoch


def test_gradual_unfreezing_takes_one_group_more_a_stage(planned):
    learn, calls = planned
    learn.fit_gradual(2, 0.26, cycle_len=1)
    assert [call.trained for call in calls] == [["head"], ["last", "head"], ["stem", "last", "head"]]
    for call in calls:
        assert call.epochs == 2
        assert call.options == {"cycle_len": 1}
        np.testing.assert_allclose(call.lr, [0.26 / 2.6**2, 0.1, 0.26])
    calls.clear()
    learn.fit_gradual(1, [0.1, 0.2], first=1, last=1)
    assert [(call.trained, call.lr) for call in calls] == [(["last", "head"], [0.1, 0.2])]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": 3}, "unknown layer group; received: 3; allowed: -3 to 2"),
        ({"last": -4}, "unknown layer group; received: -4"),
        ({"last": True}, "unknown layer group; received: True"),
        ({"first": 0, "last": 2}, r"at least the groups of the first stage; received: \(0, 2\)"),
    ],
)
def test_stages_that_do_not_exist_are_an_error(planned, options, message):
    with pytest.raises(ConfigError, match=message):
        planned[0].fit_gradual(1, 0.1, **options)
    assert planned[1] == []


def test_everything_is_trained_by_default_the_earlier_the_slower(planned):
    learn, calls = planned
    learn.fine_tune(2, 0.9, frozen_epochs=4, divisor=9, cycle_len=1)
    head, rest = calls
    assert (head.trained, head.epochs, head.lr, head.options) == (["head"], 4, 0.9, {"verbose": True})
    assert (rest.trained, rest.epochs, rest.options) == (list(GROUPS), 2, {"cycle_len": 1})
    np.testing.assert_allclose(rest.lr, [0.1 / 9, 0.1 / 3, 0.1])


@pytest.mark.parametrize("options", [{"policy": "head"}, {"epochs": 0}])
def test_the_head_alone_can_be_asked_for(planned, options):
    learn, calls = planned
    learn.fine_tune(lr=0.1, **options)
    assert [call.trained for call in calls] == [["head"]]


def test_the_former_name_of_the_similarity_warns(planned, monkeypatch):
    learn, _ = planned
    monkeypatch.setattr(learn, "domain_similarity", lambda: 0.5)
    with pytest.warns(DeprecationWarning, match=r"domain_similarity\(\)"):
        assert learn.likeness() == 0.5


@pytest.mark.parametrize(("similarity", "first"), [(0.9, None), (0.2, 1)])
def test_the_automatic_policy_says_what_it_does_and_why(planned, monkeypatch, caplog, similarity, first):
    learn, calls = planned
    monkeypatch.setattr(learn, "domain_similarity", lambda: similarity)
    with caplog.at_level(logging.INFO, "tlkit"):
        learn.fine_tune(1, 0.1, policy="auto", divisor=1)
    assert "policy auto: few examples (8 of the rarest class; few is below 50, many above 1000)" in caplog.text
    assert ("unlike the pretraining data" in caplog.text) == (first is not None)
    assert [call.trained for call in calls] == [["head"], *([] if first is None else [list(GROUPS[first:])])]
    if first is not None:
        assert calls[1].lr == [0.1, 0.1, 0.1]


def test_the_head_is_trained_at_smaller_sizes_first(planned):
    learn, calls = planned
    learn.fine_tune(1, 0.1, frozen_epochs=2, sizes=[16, 24])
    assert [(call.size, call.trained) for call in calls] == [
        (16, ["head"]),
        (24, ["head"]),
        (32, ["head"]),
        (32, list(GROUPS)),
    ]
    assert learn.data.preprocessing.size == 32


def test_big_transfer_s_rule_sets_size_length_mixing_and_rate(planned, monkeypatch, caplog):
    learn, calls = planned
    asked = []
    rule = BitRule(40, 12, 0.1, learning_rate=0.064)
    monkeypatch.setattr(fine_tuning, "bit_rule", lambda *arguments: asked.append(arguments) or rule)
    with caplog.at_level(logging.INFO, "tlkit"):
        learn.fine_tune(policy="bit", verbose=False)
    assert asked == [(len(learn.data.labels("train")), pytest.approx(np.sqrt(48 * 40)))]
    (call,) = calls
    assert (call.size, call.trained, call.options) == (40, list(GROUPS), {"verbose": False})
    assert call.epochs == 12 // learn.data.steps_per_epoch
    assert (call.augmentation.mix, call.augmentation.mix_alpha) == ("mixup", 0.1)
    total = call.epochs * learn.data.steps_per_epoch
    rates = call.lr.rate(np.arange(total))
    assert rates[0] == pytest.approx(0.064 * 8 / 512)
    assert rates[-1] == pytest.approx(rates[0] / 1000)
    assert "40 px" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "most"}, "unknown policy; received: 'most'; allowed: all, head, auto, gradual, bit"),
        ({"epochs": -1}, "epochs must be a whole number, 1 or more; received: -1"),
        ({"epochs": False}, "epochs must be a whole number, 1 or more; received: False"),
        ({"frozen_epochs": 0}, "frozen_epochs must be a whole number, 1 or more; received: 0"),
        ({"divisor": 0}, "divisor must be a number above 0; received: 0"),
        ({"divisor": float("inf")}, "divisor must be a number above 0; received: inf"),
        ({"sizes": [8]}, "the image size is invalid; received: 8; allowed: whole pixels from 16"),
    ],
)
def test_unusable_arguments_are_named_before_training(planned, options, message):
    with pytest.raises(ConfigError, match=message):
        planned[0].fine_tune(lr=0.1, **options)
    assert planned[1] == []


def test_big_transfer_s_rule_needs_sgd(shared):
    with pytest.raises(ConfigError, match="needs SGD with momentum; received: 'AdamW'; .*optimizer=\"sgd\""):
        shared.fine_tune(policy="bit")


@pytest.mark.slow
def test_fine_tuning_learns_through_sizes_and_stages(data):
    learn = tlkit.Learner(three_groups(), data)
    learn.fine_tune(2, 0.3, frozen_epochs=6, sizes=[24], verbose=False)
    assert [len(stage["loss"]) for stage in learn.history] == [6, 6, 2]
    assert learn.evaluate().accuracy > 0.8
    assert learn.task.preprocessing.size == 32
    assert 0.0 <= learn.domain_similarity() <= 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": [24, 3]}, "size"),
        ({"cycle_len": 0}, "cycle_len must be a whole number, 1 or more"),
        ({"schedule": "sine"}, "unknown schedule; received: 'sine'"),
    ],
)
def test_what_the_last_stage_cannot_do_is_told_before_the_first_one_trains(planned, options, message):
    learn, calls = planned
    with pytest.raises(ConfigError, match=message):
        learn.fine_tune(2, 0.1, **options)
    assert not calls


def test_a_plan_can_be_looked_at_without_training(shared):
    plan = shared.check_fit(2, [0.1, 0.3], cycle_len=1, cycle_mult=2)
    assert (plan.epochs, plan.cycle_ends) == (3, (1, 3))
    assert plan.multipliers == pytest.approx((1 / 3, 1 / 3, 1.0))
    assert plan.rates.max() == pytest.approx(0.3)


def test_the_policy_gradual_trains_the_head_and_then_one_group_more_a_stage(planned):
    learn, calls = planned
    learn.fine_tune(2, 0.26, frozen_epochs=4, divisor=10, policy="gradual", cycle_len=1)
    assert [call.trained for call in calls] == [["head"], ["last", "head"], ["stem", "last", "head"]]
    assert [call.epochs for call in calls] == [4, 2, 2]
    assert calls[0].lr == 0.26
    assert calls[1].lr == calls[2].lr == pytest.approx([0.026 / 2.6**2, 0.026 / 2.6, 0.026])


def test_the_rate_of_the_second_stage_can_be_given(planned):
    learn, calls = planned
    learn.fine_tune(2, 0.3, finetune_lr=0.009)
    assert calls[-1].lr == pytest.approx([0.001, 0.003, 0.009])
    for wrong in (0, -1.0, True, "fast"):
        with pytest.raises(ConfigError, match="finetune_lr must be a number above 0"):
            learn.fine_tune(2, 0.3, finetune_lr=wrong)
