"""What a calibration is worth is measured on items that it was not fitted on."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from scipy.special import softmax
from tiny_table import tiny_frame

import tlkit
from tlkit.errors import ConfigError
from tlkit.targets.objective import Objective, classification
from tlkit.targets.regression import Regression
from tlkit.training.calibrating import fit_calibration


def drawn(n, factor, seed=0):
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (n, 3))
    labels = (draw.random((n, 1)) > softmax(logits, axis=1).cumsum(1)).sum(1)
    return (logits * factor).astype(np.float32), labels


def test_a_network_that_is_too_sure_is_calibrated(caplog):
    caplog.set_level(logging.INFO, "tlkit")
    outputs, labels = drawn(600, 4)
    found = fit_calibration(classification("abc"), outputs, labels, "val")
    assert found.moves
    assert found.after["log_loss"] < found.before["log_loss"] - 0.1
    assert found.after["ece"] < found.before["ece"] / 2
    assert "calibrated on 600 items of val" in caplog.text


def test_one_that_is_right_already_stays(caplog):
    caplog.set_level(logging.INFO, "tlkit")
    helped = []
    for seed in range(10):
        found = fit_calibration(classification("abc"), *drawn(60, 1, seed), "val")
        helped.append(found.moves)
        if not found.moves:
            assert set(found.scale) == {1.0}
            assert found.limits  # conformal sets are there all the same
    assert sum(helped) <= 5
    assert "a map does not help on val" in caplog.text


def test_too_few_items(caplog):
    assert fit_calibration(classification("abc"), *drawn(29, 4), "val") is None
    assert "val has 29 items: with fewer than 30 it cannot be estimated" in caplog.text


def test_classes_that_the_split_lacks_are_named(caplog):
    outputs, labels = drawn(100, 1)
    fit_calibration(classification("abc"), outputs, labels, "val")
    assert "has no item of" not in caplog.text
    fit_calibration(classification("abc"), outputs, np.ones_like(labels), "val")
    assert "calibration: val has no item of 'a', 'c', so its scores are not known to be right" in caplog.text
    caplog.clear()
    marks = np.zeros((100, 2), np.float32)
    marks[::2, 0] = 1
    fit_calibration(classification("ab", multi_label=True), outputs[:, :2], marks, "val")
    assert "val has no item of 'b', so" in caplog.text


def test_values_get_limits_alone():
    truth = np.linspace(0, 1, 100)
    found = fit_calibration(Objective([Regression("x")]), np.zeros((100, 1), np.float32), truth, "val")
    assert not found.moves
    assert found.before == {}
    assert len(found.limits) == 1


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    frame = tiny_frame(n=240, targets=False)[["colour", "distance"]].copy()
    frame["kind"] = np.where(np.random.default_rng(0).random(240) < 0.5, "a", "b")
    data = tlkit.table_from_file(frame, "kind", batch_size=32)
    learn = tlkit.Learner(
        tlkit.tabular_model(data.preprocessing, data.targets, hidden=(8,)), data,
        directory=tmp_path_factory.mktemp("run"),
    )  # fmt: skip
    learn.fit(1, 1e-3, verbose=False)
    return learn.finish()


def test_a_run_remembers_its_calibration(learner):
    learn = learner
    for weight in learn.task.head.weights:  # labels are drawn: a network this sure is wrong
        weight.assign(weight * 100.0)
    learn.calibrate()
    found = learn.task.objective.calibration
    assert found.moves
    before = learn.task.objective
    raw = learn.logits()
    np.testing.assert_allclose(before.probabilities(raw), softmax(found(raw), axis=1), atol=1e-6)
    assert learn.evaluate().loss < before.targets[0].measure_outputs(raw, learn.data.labels("val")).loss
    written = json.loads(next(learn._run.state.directory.glob("run.json")).read_text())["calibration"]
    assert written == json.loads(json.dumps(found.to_dict()))
    again = tlkit.Learner(learn.task, learn.data, directory=learn._run.state.directory, resume=True)
    assert again._run.state.calibration == found
    learn.finish()
    assert learn.task.objective.calibration is None
    assert again._run.state.directory.joinpath("run.json").read_text().count('"calibration": null') == 1


def test_never_on_training_data(learner):
    with pytest.raises(ConfigError, match=r"split.*train.*val.*test"):
        learner.calibrate("train")
