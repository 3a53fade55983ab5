"""Targets: what a network learns of a value, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.preprocessing import PowerTransformer

from tlkit.errors import ConfigError, DataError
from tlkit.targets.base import Target, target_class
from tlkit.targets.regression import Regression, fit_target
from tlkit.targets.single_label import SingleLabel

SALES = np.array([120.0, 80.0, 430.0, 2500.0, 95.5, 61.0])


@pytest.mark.parametrize("transform", ["none", "log", "log1p", "yeo_johnson"])
def test_the_way_back_ends_where_it_began(transform):
    target = fit_target("sales", SALES, transform=transform)
    learnt = target.forward(SALES)
    assert learnt.shape == (6, 1)
    assert learnt.dtype == np.float32
    assert learnt.mean() == pytest.approx(0, abs=1e-5)
    assert learnt.std() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(target.inverse(tf.constant(learnt))[:, 0], SALES, rtol=2e-4)


def test_a_logarithm_and_its_mean():
    target = fit_target("sales", SALES, transform="log")
    assert target.inverse(tf.zeros([1, 1])).numpy().item() == pytest.approx(np.exp(np.log(SALES).mean()), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_yeo_johnson_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    values = rng.gamma(2, 3, 50) if seed % 2 else rng.normal(1, 5, 50)
    learnt = fit_target("y", values, transform="yeo_johnson").forward(values)
    np.testing.assert_allclose(learnt, PowerTransformer().fit_transform(values[:, None]), atol=2e-3)


@pytest.mark.parametrize("power", [-1.5, 0.0, 0.3, 1.0, 2.0, 3.0])
def test_the_inverse_of_yeo_johnson_for_any_power(power):
    target = Regression("y", transform="yeo_johnson", power=power)
    values = np.array([-20.0, -1.0, -0.01, 0.0, 0.01, 1.0, 20.0])
    np.testing.assert_allclose(target.inverse(tf.constant(target.forward(values)))[:, 0], values, rtol=1e-2, atol=1e-5)


def test_answers_stay_in_their_range_and_are_always_finite():
    wild = tf.constant([[-1e30], [-50.0], [0.0], [50.0], [1e30]])
    for transform in ("none", "log", "log1p", "yeo_johnson"):
        free = fit_target("sales", SALES, transform=transform).inverse(wild).numpy()
        assert np.all(np.isfinite(free)), transform
        kept = fit_target("sales", SALES, transform=transform, y_range=(50, 3000)).inverse(wild).numpy()
        assert kept.min() >= 49.9, transform
        assert kept.max() <= 3001, transform
        assert np.all(np.diff(kept[:, 0]) >= 0)


def test_the_loss_of_a_bounded_target_compares_the_same_numbers():
    target = fit_target("sales", SALES, transform="log", y_range=(50, 3000))
    outputs = tf.constant([[-1.0], [0.3], [2.0]])
    np.testing.assert_allclose(target.forward(target.inverse(outputs).numpy()[:, 0]), target.scaled(outputs), atol=1e-4)


def test_classes_become_ones_and_zeros():
    colour = SingleLabel("colour", ("red", "green", "blue"))
    np.testing.assert_array_equal(colour.forward(np.array([2, 0])), [[0, 0, 1], [1, 0, 0]])
    assert colour.output_names == ("colour=red", "colour=green", "colour=blue")
    assert (colour.width, fit_target("y", SALES).width) == (3, 1)


def test_a_target_is_plain_data():
    for target in (fit_target("y", SALES, transform="log", y_range=(1, 9e3)), SingleLabel("c", ("a", "b"))):
        assert Target.from_dict(target.to_dict()) == target


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fit_target("y", np.array([1.0, 0.0]), transform="log"), DataError, "above 0"),
        (lambda: fit_target("y", np.array([2.0, 2.0])), DataError, "constant"),
        (lambda: fit_target("y", SALES, y_range=(5, 5)), ConfigError, "range of y"),
        (lambda: fit_target("y", SALES, transform="log", y_range=(0, 5)), ConfigError, "logarithm"),
        (lambda: Regression("y", low=1.0), ConfigError, "range of y"),
        (lambda: Regression("y", weight=0.0), ConfigError, "loss weight"),
        (lambda: Regression("y", transform="square"), ConfigError, "transform"),
        (lambda: target_class("ordinal"), ConfigError, "target kind"),
    ],
)
def test_what_cannot_be_a_target_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
