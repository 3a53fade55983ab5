"""`--tta N` of the commands, with a stand-in for the trained network: what is asked of it and what is printed."""

from __future__ import annotations

import json
import math
import re
import types

import numpy as np
import pytest

from tlkit.cli.main import run
from tlkit.errors import ConfigError
from tlkit.inputs.image.walk import Tally
from tlkit.report.metrics import classification_metrics
from tlkit.targets.objective import classification


class FakeLearner:
    """Answers without TensorFlow, and remembers how it was asked."""

    def __init__(self):
        self.asked: list[tuple] = []
        self.task = types.SimpleNamespace(class_names=("ants", "bees"), objective=classification(("ants", "bees")))
        self.scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.25, 0.75], [0.8, 0.2]], np.float32)
        self.labels = np.array([0, 1, 1, 0], np.int32)
        self.data = types.SimpleNamespace(tally=Tally(), damaged=[])

    def tta(self, n=4, beta=0.4, split="val"):
        self.asked.append(("tta", n, beta, split))
        return self.scores, self.labels

    def measure(self, logits, split):
        return classification_metrics(logits, self.labels, ("ants", "bees"))

    def evaluate(self, split):
        self.asked.append(("evaluate", split))
        return classification_metrics(np.eye(2)[[0, 0, 0, 0]], self.labels, ("ants", "bees"))

    def export(self, base, **options):
        self.asked.append(("export", base.name, options))
        return base / "1"


@pytest.fixture
def learner(scripted, monkeypatch):
    project = scripted("def main(config, resume=False): ...\n")
    (project / "checkpoints").mkdir()
    (project / "checkpoints" / "best.weights.h5").touch()
    fake = FakeLearner()
    monkeypatch.setattr("tlkit.cli.trained.load_learner", lambda project, code, data=None: fake)
    return fake


def test_evaluate_measures_the_averaged_scores(learner, capsys):
    assert run(["evaluate", "--tta", "4", "--json"]) == 0
    assert learner.asked == [("tta", 4, 0.4, "val")]
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"metrics", "per_class", "n", "entries"}
    assert printed["entries"] == {"found": 0, "used": 0, "left_out": {}, "damaged": 0}
    assert printed["n"] == 4
    assert printed["metrics"]["accuracy"] == 0.75
    loss = -sum(math.log(p) for p in (0.9, 0.4, 0.75, 0.8)) / 4
    assert printed["metrics"]["loss"] == pytest.approx(loss, rel=1e-6)
    assert printed["per_class"]["bees"]["recall"] == 0.5


def test_evaluate_takes_other_photos_as_test_split_and_prints_a_table(learner, capsys):
    assert run(["evaluate", "--data", "photos", "--tta", "1"]) == 0
    assert learner.asked == [("tta", 1, 0.4, "test")]
    assert "accuracy 0.750" in capsys.readouterr().out


def test_a_score_of_zero_gives_a_large_loss_and_no_infinity(learner, capsys):
    learner.scores = np.array([[0.0, 1.0]] * 4, np.float32)
    assert run(["evaluate", "--tta", "2", "--json"]) == 0
    loss = json.loads(capsys.readouterr().out)["metrics"]["loss"]
    assert loss == pytest.approx(-math.log(np.finfo(np.float32).tiny) / 2, rel=1e-6)


def test_without_it_nothing_is_augmented(learner, capsys):
    assert run(["evaluate", "--json"]) == 0
    assert run(["export"]) == 0
    assert learner.asked == [
        ("evaluate", "val"),
        ("export", "bees", {"version": None, "tta": 0, "level": None, "card": None}),
    ]


def test_export_asks_for_the_signature(learner, capsys):
    assert run(["export", "--version", "3", "--tta", "5"]) == 0
    assert learner.asked == [("export", "bees", {"version": 3, "tta": 5, "level": None, "card": None})]


@pytest.mark.parametrize("command", ["evaluate", "export"])
@pytest.mark.parametrize("views", ["0", "-2", "many", "1.5"])
def test_views_that_are_no_number_from_1_are_refused_at_once(learner, capsys, command, views):
    assert run([command, "--tta", views]) == 2
    captured = capsys.readouterr()
    assert "--tta" in captured.err
    assert captured.err.count("error:") == 1
    assert captured.out == ""
    assert learner.asked == []


def test_a_project_without_augmentation_is_told_so(learner, monkeypatch, capsys):
    def no_views(**options):
        raise ConfigError('test-time augmentation needs an augmentation, and augment="none"')

    monkeypatch.setattr(learner, "tta", no_views)
    assert run(["evaluate", "--tta", "4", "--json"]) == 2
    captured = capsys.readouterr()
    assert 'error: test-time augmentation needs an augmentation, and augment="none"' in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_help_shows_the_option_with_an_example(command, capsys):
    assert run([command, "--help"]) == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert re.search(rf"Example:\s+tlkit {command} .*--tta 4", shown)
    assert "views" in shown
