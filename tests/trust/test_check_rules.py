"""Each rule of the data check on made-up facts with a planted fault, and on the same facts without it."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pytest

from tlkit.config_sections import RuleName
from tlkit.inputs.examined import Examined, Fact, Pairs, Unusable
from tlkit.targets.base import Question
from tlkit.training.probe import out_of_fold
from tlkit.trust.check.noise import suspects
from tlkit.trust.check.rules import RULES
from tlkit.trust.check.run import check
from tlkit.trust.check.statistics import auc, auc_interval, encoded_out_of_fold, rank_correlation, reduced

N = 300


def clean(seed: int = 0, **changes) -> tuple[Examined, list[Question]]:
    """300 items of two classes, two thirds for training, whose features tell the classes apart well."""
    random = np.random.default_rng(seed)
    labels = np.arange(N) % 2
    features = random.normal(size=(N, 8)).astype(np.float32)
    features[:, 0] += 4 * labels
    splits = np.array(["train"] * 200 + ["val"] * 100, object)
    examined = Examined(
        items="things",
        splits=splits,
        names=[f"thing {number}" for number in range(N)],
        digest=str,
        facts={
            "size": Fact(np.exp(random.normal(5, 0.3, N)), "shortcut", sizes=True, unit="px"),
            "format": Fact(np.array(["JPEG"] * N, object), "shortcut", rare=True),
            "age": Fact(random.normal(size=N), "column"),
            "colour": Fact(random.choice(["red", "blue", "green"], N).astype(object), "column"),
        },
        copies=np.arange(N),
        features=features.__getitem__,
    )
    return dataclasses.replace(examined, **changes), [Question("kind", labels, ("ant", "bee"))]


def outcome_of(rule: str, examined: Examined, questions: list[Question], **options):
    result = check(examined, questions, fit=out_of_fold, levels={"conflicting_labels": "fail"}, **options)
    return next(outcome for outcome in result.outcomes if outcome.rule == rule)


def test_config_toml_knows_the_rules_that_there_are():
    assert set(get_args(RuleName)) == set(RULES)


def test_clean_data_break_no_rule():
    result = check(*clean(), fit=out_of_fold, levels={})
    assert {outcome.rule: outcome.status for outcome in result.outcomes if outcome.status in ("warn", "fail")} == {}
    assert result.failed == result.warned == []
    assert result.counts == {"train": 200, "val": 100}


def test_copies_are_found_inside_and_across_splits_and_training_ones_are_excluded():
    copies = np.arange(N)
    copies[[10, 20]] = 0  # three in train
    copies[250] = 4
    examined, questions = clean(copies=copies)
    inside = outcome_of("copies", examined, questions)
    assert [(finding.items, finding.exclude) for finding in inside.findings] == [((0, 10, 20), (10, 20))]
    across = outcome_of("copies_across_splits", examined, questions)
    assert [(finding.items, finding.exclude) for finding in across.findings] == [((4, 250), (4,))]
    assert outcome_of("conflicting_labels", examined, questions).status == "ok"


def test_copies_with_different_labels_fail_and_all_of_them_are_excluded():
    copies = np.arange(N)
    copies[11] = 10
    found = outcome_of("conflicting_labels", *clean(copies=copies))
    assert found.status == "fail"
    assert found.findings[0].exclude == (10, 11)
    assert "ant / bee" in found.findings[0].text
    assert outcome_of("conflicting_labels", *clean(copies=copies, by_chance=True)).skipped


def test_numbers_of_copies_conflict_only_where_they_differ_by_a_tenth_of_the_spread():
    copies = np.arange(N)
    copies[[11, 21]] = 10, 20
    values = np.random.default_rng(0).normal(size=N)
    values[[10, 11, 20, 21]] = 1.0, 1.05, 1.0, 1.5
    examined, _ = clean(copies=copies)
    found = outcome_of("conflicting_labels", examined, [Question("price", values)])
    assert [finding.items for finding in found.findings] == [(20, 21)]


def test_near_copies_across_splits_leave_out_the_one_in_training():
    pairs = Pairs(np.array([3, 5]), np.array([210, 6]), np.array([0.99, 0.98]))
    examined, questions = clean(near=lambda features: pairs)
    across = outcome_of("near_copies_across_splits", examined, questions)
    assert [finding.exclude for finding in across.findings] == [(3,)]
    inside = outcome_of("near_copies", examined, questions)
    assert [finding.items for finding in inside.findings] == [(5, 6)]
    assert "different labels" in inside.findings[0].text


def test_unreadable_items_fail_and_damaged_ones_warn():
    unusable = [
        Unusable("x.jpg", "cannot be decoded"),
        Unusable("thing 3", "ends early", damaged=True),
        Unusable("thing 4", "is empty"),
    ]
    examined, questions = clean(unusable=unusable)
    result = check(examined, questions, fit=out_of_fold, levels={"unreadable": "fail"})
    assert result.failed == ["unreadable"]
    assert result.warned == ["damaged"]
    assert result.excluded() == {4: "unreadable"}


def test_groups_on_both_sides_are_found_where_they_are_named():
    groups = np.array([f"p{number // 2}" for number in range(N)], object)
    assert outcome_of("group_leakage", *clean(groups=groups)).status == "ok"
    groups[250] = "p3"
    found = outcome_of("group_leakage", *clean(groups=groups))
    assert [(finding.name, finding.items) for finding in found.findings] == [("p3", (6, 7, 250))]
    assert found.findings[0].exclude == ()


def test_names_that_look_like_groups_are_reported_but_not_classes():
    scattered = np.array([f"scene {number % 100}" for number in range(N)], object)
    assert outcome_of("group_leakage", *clean(guessed={"name": scattered})).status == "warn"
    classes = np.array([f"{number % 2}" for number in range(N)], object)
    assert outcome_of("group_leakage", *clean(guessed={"name": classes})).status == "ok"


def test_training_items_newer_than_held_out_ones_are_found():
    times = np.arange(N, dtype=float)
    assert outcome_of("time_leakage", *clean(times=times, time_name="day")).status == "ok"
    found = outcome_of("time_leakage", *clean(times=times[::-1].copy(), time_name="day"))
    assert found.figures["newer_in_train"] == 1.0
    moments = np.arange(N).astype("M8[D]").astype("M8[us]")
    moments[5] = np.datetime64("NaT")
    assert outcome_of("time_leakage", *clean(times=moments, time_name="day")).status == "ok"
    assert "names no times" in outcome_of("time_leakage", *clean()).skipped


def test_a_column_that_gives_the_label_away_stands_out_unless_it_is_allowed():
    examined, questions = clean()
    leak = questions[0].values + np.random.default_rng(1).normal(0, 0.3, N)
    facts = {**examined.facts, "outcome": Fact(leak, "column")}
    leaking = dataclasses.replace(examined, facts=facts)
    found = outcome_of("target_leakage", leaking, questions)
    assert [finding.name for finding in found.findings] == ["outcome"]
    assert outcome_of("target_leakage", leaking, questions, allowed=("outcome",)).status == "ok"
    assert outcome_of("target_leakage", examined, questions).status == "ok"


def test_names_that_give_the_label_away_are_found_out_of_fold():
    examined, questions = clean()
    facts = {**examined.facts, "code": Fact(np.array(["ab"[v] for v in questions[0].values], object), "column")}
    facts["id"] = Fact(np.array([str(number) for number in range(N)], object), "column")  # says nothing of other rows
    found = outcome_of("target_leakage", dataclasses.replace(examined, facts=facts), questions)
    assert [finding.name for finding in found.findings] == ["code"]


def test_a_property_of_files_and_a_constant_corner_give_the_label_away():
    examined, questions = clean()
    labels = questions[0].values
    sizes = Fact(np.exp(np.random.default_rng(0).normal(5, 0.1, N) + labels), "shortcut")
    found = outcome_of("shortcuts", dataclasses.replace(examined, facts={**examined.facts, "bytes": sizes}), questions)
    assert [finding.name for finding in found.findings] == ["bytes"]
    corner = np.random.default_rng(0).normal(100, 40, (N, 36)).astype(np.float32)
    assert outcome_of("shortcuts", dataclasses.replace(examined, blocks={"corner": corner}), questions).status == "ok"
    corner[labels == 1, 10:20] = 200
    found = outcome_of("shortcuts", dataclasses.replace(examined, blocks={"corner": corner}), questions)
    assert [finding.name for finding in found.findings] == ["corner"]


def test_flipped_labels_are_found_and_clean_ones_are_not_reported():
    examined, questions = clean()
    features = examined.features(np.arange(N))
    features[:, 0] += 4 * questions[0].values
    examined = dataclasses.replace(examined, features=features.__getitem__)
    flipped = np.random.default_rng(2).choice(N, 12, replace=False)
    labels = questions[0].values.copy()
    labels[flipped] = 1 - labels[flipped]
    found = outcome_of("label_noise", examined, [Question("kind", labels, ("ant", "bee"))])
    named = {finding.items[0] for finding in found.findings}
    assert len(named & set(flipped.tolist())) >= 11
    assert len(named) <= 16
    assert all(not finding.exclude for finding in found.findings)  # hard items look the same
    assert outcome_of("label_noise", examined, questions).status == "ok"


def test_suspects_are_those_of_cleanlab():
    cleanlab = pytest.importorskip("cleanlab.filter")
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 400)
    logits = random.normal(size=(400, 3)) * 1.5
    logits[np.arange(400), labels] += 2
    labels[:40] = (labels[:40] + 1) % 3
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    theirs = cleanlab.find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1)
    ours = suspects(probabilities, labels)
    # cleanlab also drops a suspicion where the given class is the most probable one.
    assert set(ours.tolist()) == set(np.flatnonzero(theirs).tolist())


def test_imbalance_small_and_missing_classes():
    labels = np.zeros(N, np.int64)
    labels[:5] = 1
    labels[250:] = 2
    question = Question("kind", labels, ("ant", "bee", "wasp"))
    examined, _ = clean()
    assert "195 'ant' and 5 'bee'" in outcome_of("class_imbalance", examined, [question]).findings[0].text
    assert [f.text for f in outcome_of("tiny_classes", examined, [question]).findings] == ["train has 5 items of 'bee'"]
    missing = [finding.text for finding in outcome_of("missing_classes", examined, [question]).findings]
    assert missing == ["train has no item of 'wasp'", "val has no item of 'bee'"]


def test_a_shifted_validation_set_is_found():
    examined, questions = clean()
    assert outcome_of("shift", examined, questions).status == "ok"
    features = examined.features(np.arange(N))
    features[200:, 3] += 1.5
    facts = {**examined.facts, "brightness": Fact(np.r_[np.zeros(200), np.ones(100)], "shortcut")}
    found = outcome_of("shift", dataclasses.replace(examined, features=features.__getitem__, facts=facts), questions)
    assert found.status == "warn"
    assert "brightness 0 and 1" in found.findings[0].text
    assert found.figures["val"]["low"] > 0.6


def test_sizes_and_formats_out_of_line():
    examined, questions = clean()
    sizes, formats = examined.facts["size"].values.copy(), examined.facts["format"].values.copy()
    sizes[7], formats[[8, 9]] = 90_000, "GIF"
    facts = {"size": Fact(sizes, "shortcut", sizes=True), "format": Fact(formats, rare=True)}
    facts["encoding"] = Fact(np.array(["broken"] * 200 + ["plain"] * 100, object), bad=("broken",))
    examined = dataclasses.replace(examined, facts=facts)
    assert [finding.items for finding in outcome_of("outliers", examined, questions).findings] == [(7,)]
    rare = outcome_of("rare_forms", examined, questions).findings
    assert {finding.items[0] for finding in rare if finding.name == "format"} == {8, 9}
    assert sum(finding.name == "encoding" for finding in rare) == 200


def test_with_few_items_or_one_split_it_says_what_cannot_be_estimated():
    examined, questions = clean()
    few = dataclasses.replace(
        examined, splits=examined.splits[:12], names=examined.names[:12], copies=np.arange(12),
        facts={name: Fact(fact.values[:12], fact.use, fact.sizes) for name, fact in examined.facts.items()},
    )  # fmt: skip
    result = check(few, [Question("kind", questions[0].values[:12], ("ant", "bee"))], fit=out_of_fold, levels={})
    skipped = {outcome.rule: outcome.skipped for outcome in result.outcomes if outcome.status == "skipped"}
    assert "too few" in skipped["label_noise"]
    assert "too few" in skipped["target_leakage"]
    assert skipped["shift"] == "there is no validation split"
    numbers = check(few, [Question("price", np.arange(12.0))], fit=out_of_fold, levels={})
    assert "only labels that are classes" in {o.rule: o.skipped for o in numbers.outcomes}["label_noise"]


def test_a_rule_that_is_off_or_handled_is_no_failure():
    copies = np.arange(N)
    copies[11] = 10
    examined, questions = clean(copies=copies)
    levels = {"conflicting_labels": "off", "shift": "off"}
    assert check(examined, questions, fit=out_of_fold, levels=levels).warned == []
    copies[12] = 10
    copies[11] = 11
    handled = check(examined, questions, fit=out_of_fold, levels={"copies": "fail"}, handled={"copies": "dropped"})
    assert handled.failed == []
    assert "copies" in handled.warned
    quick = check(examined, questions, fit=out_of_fold, levels={}, quick=True)
    assert "shift" not in {outcome.rule for outcome in quick.outcomes}


def test_areas_and_intervals_agree_with_scikit_learn():
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    positive = random.random(500) < 0.3
    scores = np.round(random.normal(size=500) + positive, 1)  # with ties
    assert auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    area, low, high = auc_interval(scores, positive)
    assert area == pytest.approx(roc_auc_score(positive, scores))
    drawn = []
    for _ in range(300):
        rows = random.integers(0, 500, 500)
        drawn.append(roc_auc_score(positive[rows], scores[rows]))
    assert low == pytest.approx(np.quantile(drawn, 0.005), abs=0.02)
    assert high == pytest.approx(np.quantile(drawn, 0.995), abs=0.02)
    assert rank_correlation(scores, positive) == pytest.approx(spearmanr(scores, positive)[0])


def test_names_of_one_item_each_say_nothing_out_of_fold():
    target = np.arange(200) % 2.0
    assert auc(encoded_out_of_fold(np.arange(200).astype(object), target), target > 0.5) < 0.6


def test_many_features_are_reduced_and_few_are_not():
    features = np.random.default_rng(0).normal(size=(6000, 520)).astype(np.float32)
    assert reduced(features).shape == (6000, 256)
    assert reduced(features[:1000]) is not None
    assert reduced(features[:1000]).shape == (1000, 520)
