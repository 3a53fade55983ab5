"""Calibration maps and conformal quantiles, beside scikit-learn and the closed form."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.special import expit, softmax

from tlkit.errors import ConfigError
from tlkit.targets.calibration import LEVELS, Calibration, conformal_limits, fit_platt, fit_temperature
from tlkit.targets.objective import Objective, classification
from tlkit.targets.regression import Regression, fit_target
from tlkit.targets.single_label import SingleLabel


def drawn(n=4000, classes=3, seed=0):
    """Return logits that tell the truth about their labels, and the labels."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (n, classes))
    chances = softmax(logits, axis=1).cumsum(1)
    return logits, (draw.random((n, 1)) > chances).sum(1)


def test_a_temperature_is_found_again():
    logits, labels = drawn()
    assert fit_temperature(logits * 3, np.eye(3)[labels]) == pytest.approx(1 / 3, rel=0.05)
    assert fit_temperature(logits / 2, np.eye(3)[labels]) == pytest.approx(2, rel=0.05)


def test_temperature_is_that_of_scikit_learn():
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import LogisticRegression

    draw = np.random.default_rng(1)
    rows = draw.normal(size=(400, 5))
    labels = (rows[:, 0] + draw.normal(size=400)).round().clip(-1, 1).astype(int) + 1
    model = LogisticRegression(C=100).fit(rows[:60], labels[:60])
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(rows[60:], labels[60:])
    beta = theirs.calibrated_classifiers_[0].calibrators[0].beta_
    own = fit_temperature(model.decision_function(rows[60:]), np.eye(3)[labels[60:]])
    assert own == pytest.approx(beta, rel=1e-3)


def test_platt_is_that_of_scikit_learn():
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.svm import LinearSVC

    draw = np.random.default_rng(2)
    rows = draw.normal(size=(300, 4))
    labels = (rows[:, 0] + draw.normal(size=300) > 0.7).astype(int)
    model = LinearSVC(C=0.1).fit(rows[:100], labels[:100])
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid").fit(rows[100:], labels[100:])
    scale, shift = fit_platt(model.decision_function(rows[100:]), labels[100:])
    own = expit(scale * model.decision_function(rows) + shift)
    np.testing.assert_allclose(own, theirs.predict_proba(rows)[:, 1], atol=2e-3)


def test_what_cannot_be_estimated_stays():
    assert fit_temperature(np.eye(3)[[0, 1, 2] * 20] * 5, np.eye(3)[[0, 1, 2] * 20]) == 1.0  # none is wrong
    assert fit_temperature(np.eye(3)[[0, 1]] * 5, np.eye(3)[[1, 0]]) == 1.0  # too few
    assert fit_platt(np.arange(50.0), np.arange(50) > 44) == (1.0, 0.0)  # five have the label


def test_quantiles_are_the_closed_form():
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))  # 1 to 99
    limits = dict(zip(LEVELS, conformal_limits(scores), strict=True))
    assert (limits[0.5], limits[0.9], limits[0.99]) == (50.0, 90.0, 99.0)
    few = dict(zip(LEVELS, conformal_limits(np.append(scores[:9], np.nan)), strict=True))
    assert few[0.9] == scores[:9].max()
    assert math.isinf(few[0.91])  # ten items could hold it, nine do not


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.99])
def test_sets_of_classes_hold_the_truth_as_often_as_asked(level):
    objective = classification(("a", "b", "c"))
    held = []
    for seed in range(20):
        logits, labels = drawn(n=600, seed=seed)
        logits = (logits * 2).astype(np.float32)
        true = np.eye(3)[labels]
        own = objective.fit_conformal(objective.fit_calibration(logits[:300], true[:300]), logits[:300], true[:300])
        objective.calibration = own
        (region,) = objective.regions(logits[300:], level)
        chosen = region["in_set"].numpy()
        held.append((chosen * true[300:]).sum(1).mean())
        np.testing.assert_array_equal(chosen[np.arange(300), logits[300:].argmax(1)], 1)  # never empty
    assert np.mean(held) >= level - 0.01
    if level >= 0.8:  # the accuracy is 0.72: there the sets are no larger than they have to be
        assert np.mean(held) <= level + 0.02


def test_intervals_hold_the_truth_as_often_as_asked():
    held = []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        truth = np.exp(draw.normal(3, 1, 600))
        target = fit_target("price", truth, transform="log")
        objective = Objective([target])
        true = objective.encode(truth)
        outputs = (true + draw.normal(0, 0.3, true.shape)).astype(np.float32)
        calibration = objective.fit_calibration(outputs[:300], true[:300])
        assert not calibration.moves
        objective.calibration = objective.fit_conformal(calibration, outputs[:300], true[:300])
        (region,) = objective.regions(outputs[300:], 0.9)
        lower, upper = region["lower"].numpy(), region["upper"].numpy()
        assert (lower > 0).all()  # the logarithm makes them wider for high prices
        held.append(((lower <= truth[300:]) & (truth[300:] <= upper)).mean())
    assert 0.89 <= np.mean(held) <= 0.92


def test_intervals_stay_within_the_range_of_a_target():
    target = Regression("share", low=0.0, high=1.0)
    region = target.region(np.array([[5.0], [-5.0]], np.float32), np.array([0.5]))
    np.testing.assert_allclose(region["upper"][0], 1.0)
    np.testing.assert_allclose(region["lower"][1], 0.0)
    assert np.isfinite(target.region(np.zeros((1, 1), np.float32), np.array([math.inf]))["upper"]).all()


def test_several_labels_have_a_limit_each():
    objective = classification(("a", "b"), multi_label=True)
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 2, (2000, 2)).astype(np.float32)
    true = (draw.random((2000, 2)) < expit(logits * [0.5, 1.0] + [1.0, 0.0])).astype(np.float32)
    found = objective.fit_calibration(logits, true)
    np.testing.assert_allclose(found.scale, [0.5, 1.0], atol=0.1)
    np.testing.assert_allclose(found.shift, [1.0, 0.0], atol=0.2)
    objective.calibration = objective.fit_conformal(found, logits, true)
    assert len(objective.calibration.limits) == 2
    (region,) = objective.regions(logits, 0.9)
    for label in range(2):
        has = true[:, label] == 1
        assert region["in_set"].numpy()[has, label].mean() == pytest.approx(0.9, abs=0.01)
    np.testing.assert_allclose(objective.probabilities(logits), expit(found(logits)), atol=1e-6)


def test_several_targets_are_calibrated_apart():
    objective = Objective([Regression("price"), SingleLabel("colour", ("red", "green"))])
    logits, labels = drawn(classes=2)
    outputs = np.column_stack([np.zeros(4000), logits * 4]).astype(np.float32)
    true = np.column_stack([np.full(4000, np.nan), np.eye(2)[labels]]).astype(np.float32)
    true[:2000, 0] = np.linspace(-1, 1, 2000)
    found = objective.fit_calibration(outputs, true)
    assert found.scale[0] == 1
    assert found.scale[1] == found.scale[2] == pytest.approx(0.25, rel=0.1)
    objective.calibration = objective.fit_conformal(found, outputs, true)
    price, colour = objective.regions(outputs[:5], 0.9)
    np.testing.assert_allclose(price["upper"], 0.9, atol=0.01)
    assert colour["in_set"].shape == (5, 2)


def test_plain_values_and_back():
    effect = {"before": {"log_loss": 1.0, "ece": 0.2}, "after": {"log_loss": 0.5, "ece": 0.1}}
    made = Calibration((0.5,), (0.1,), "test", 40, ((1.0, math.inf),), **effect)
    plain = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert Calibration.from_dict(plain) == made
    assert str(made) == "calibrated on 40 items of test: log loss 1.0000 -> 0.5000, ECE 0.2000 -> 0.1000 (cross-fitted)"


@pytest.mark.parametrize("level", [0.0, 0.905, 1.0, -1, 0.49])
def test_levels_are_checked(level):
    with pytest.raises(ConfigError, match=r"invalid conformal level.*0\.50, 0\.51"):
        Calibration((1.0,), (0.0,), limits=((0.0,) * len(LEVELS),)).limits_at(level)
    with pytest.raises(ConfigError, match="need a calibration"):
        classification("ab").regions(np.zeros((1, 2), np.float32), 0.9)
