"""Decision thresholds: against scikit-learn, rules, what cannot be estimated, the configuration."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as oracle

from tlkit.config import parse_override
from tlkit.config_sections import ThresholdSection
from tlkit.errors import ConfigError
from tlkit.report.multi_label import best_thresholds, chosen_thresholds
from tlkit.report.thresholds import choose_threshold, threshold_curve, threshold_rule
from tlkit.targets.multi_label import MultiLabel
from tlkit.targets.single_label import SingleLabel


def sample(seed, n=300):
    draw = np.random.default_rng(seed)
    true = draw.random(n) < 0.3
    return np.clip(draw.normal(0.35 + 0.25 * true, 0.15).round(2), 0.01, 0.99), true  # with equal probabilities


@pytest.mark.parametrize("seed", range(8))
def test_scikit_learn_finds_no_better_threshold(seed):
    chances, true = sample(seed)
    precision, recall, _ = oracle.precision_recall_curve(true, chances)
    precision, recall = precision[:-1], recall[:-1]
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)

    best = choose_threshold(chances, true, "f1")
    assert best.f1 == pytest.approx(f1.max())
    asked = choose_threshold(chances, true, "precision=0.8")
    assert asked.recall == pytest.approx(recall[precision >= 0.8].max())
    asked = choose_threshold(chances, true, "recall=0.9")
    assert asked.precision == pytest.approx(precision[recall >= 0.9].max())
    for rule in ("f1", "precision=0.8", "recall=0.9", "cost=5"):
        found = choose_threshold(chances, true, rule)
        said = chances > found.threshold
        assert found.f1 == pytest.approx(oracle.f1_score(true, said))
        assert found.precision == pytest.approx(oracle.precision_score(true, said))
        assert found.recall == pytest.approx(oracle.recall_score(true, said))


@pytest.mark.parametrize("cost", [0.01, 0.5, 1, 5, 100])
def test_no_threshold_costs_less(cost):
    chances, true = sample(1)

    def costs(threshold):
        said = chances > threshold
        return cost * (true & ~said).sum() + (said & ~true).sum()

    found = choose_threshold(chances, true, f"cost={cost}").threshold
    assert costs(found) == pytest.approx(min(costs(one) for one in np.linspace(0, 1, 401)))


def test_of_calibrated_probabilities_the_cost_gives_the_known_threshold():
    draw = np.random.default_rng(0)
    chances = draw.random(100_000)
    true = draw.random(100_000) < chances
    # Predict where p * 4 > (1 - p): above 1 / 5.
    assert choose_threshold(chances, true, "cost=4").threshold == pytest.approx(0.2, abs=0.03)


def test_what_is_not_reached_or_has_too_few_items_has_no_threshold():
    noise = np.tile([0.2, 0.8, 0.5, 0.6], 50)
    true = np.tile([True, False, False, True], 50)
    assert choose_threshold(noise, true, "precision=0.9").threshold is None
    assert choose_threshold(noise[:16], true[:16], "f1").threshold is None
    logits = np.log(noise / (1 - noise))[:, None]
    assert chosen_thresholds(logits, true[:, None], "precision=0.9") == [0.5]
    assert chosen_thresholds(logits, true[:, None], "f1") == best_thresholds(logits, true[:, None])
    curve = threshold_curve(noise[:16], true[:16], "rare")
    assert curve.skipped == "8 items have it, 10 are needed"
    assert curve.chart is None
    one = threshold_curve(noise, np.ones(200, bool), "all")
    assert one.skipped == "0 items lack it, 10 are needed"


def test_a_curve_compares_rules_and_marks_the_threshold_in_use():
    chances, true = sample(2)
    curve = threshold_curve(chances, true, "bees", 0.4)
    assert [choice.rule for choice in curve.choices] == ["f1", "precision=0.9", "recall=0.9"]
    assert [name for name, _ in curve.chart.steps] == ["precision", "recall", "F1"]
    assert len(curve.chart.bars) == 1
    json.dumps(curve.to_dict(), allow_nan=False)
    flat = threshold_curve(np.full(60, 0.5), np.arange(60) % 2 == 0, "flat")
    assert flat.chart.steps == []


@pytest.mark.parametrize(
    "rule", ["precision=1.5", "precision=0", "recall=1", "recall=", "cost=0", "cost=-1", "cost=inf", "f2", "", "cost=e"]
)
def test_a_rule_out_of_range_is_refused(rule):
    with pytest.raises(ConfigError, match='unknown rule for thresholds.*allowed: "half"'):
        threshold_rule(rule)
    with pytest.raises(ValueError, match="unknown rule for thresholds"):
        ThresholdSection(thresholds=rule)


def test_rules_pass_the_configuration_and_the_command_line():
    assert ThresholdSection(thresholds="precision=0.9").thresholds == "precision=0.9"
    found = parse_override("train.thresholds=cost=2.5", "text_classification")
    assert found == ("train", "thresholds", "cost=2.5")


def test_targets_say_what_is_predicted_above_a_threshold():
    two, three = (SingleLabel("x", tuple("abc"[:count])) for count in (2, 3))
    answers = np.array([[0.3, 0.7], [0.9, 0.1]])
    ((name, chances, has, now),) = two.threshold_questions(answers, np.array([[1.0], [0.0]]))
    assert (name, chances.tolist(), has.tolist(), now) == ("b", [0.7, 0.1], [True, False], 0.5)
    assert three.threshold_questions(np.zeros((2, 3)), np.zeros((2, 1))) == []
    labels = MultiLabel("x", ("a", "b"), thresholds=(0.2, 0.6))
    found = labels.threshold_questions(answers, np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert [(one[0], one[3]) for one in found] == [("a", 0.2), ("b", 0.6)]
