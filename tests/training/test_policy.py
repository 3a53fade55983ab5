from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.errors import ConfigError
from tlkit.training.policy import bit_rule, choose_policy, similarity

GROUPS = ("stem", "body", "last_block", "head")


def labels_of(rarest, more=5000):
    return np.repeat([0, 1], [rarest, more])


FALLING, EVEN = (1 / 9, 1 / 9, 1 / 3, 1.0), (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("rarest", "similarity", "first", "ratios", "reason"),
    [
        (49, 0.75, 3, FALLING, "few examples (49 of the rarest class; few is below 50, many above 1000), like the"),
        (
            49,
            0.74,
            2,
            EVEN,
            "unlike the pretraining data (domain similarity 74%, threshold 75%): the early layer groups",
        ),
        (50, 0.9, 2, FALLING, "some examples (50 of the rarest class"),
        (1000, 0.2, 1, EVEN, "only the first layer group is frozen"),
        (1001, 0.9, 0, FALLING, "many examples (1001 of the rarest class"),
        (1001, 0.0, 0, EVEN, "all layer groups are trained"),
    ],
)
def test_the_amount_of_data_and_its_likeness_decide(rarest, similarity, first, ratios, reason):
    got = choose_policy(labels_of(rarest), similarity, GROUPS)
    assert got.first_trainable == first
    assert got.ratios == pytest.approx(ratios)
    assert reason in got.reason


@given(rarest=st.integers(2, 3000), similarity=st.floats(0, 1), count=st.integers(2, 6))
def test_a_choice_fits_any_number_of_groups(rarest, similarity, count):
    got = choose_policy(labels_of(rarest), similarity, [str(number) for number in range(count)])
    assert 0 <= got.first_trainable < count
    assert len(got.ratios) == count
    assert got.ratios[-1] == 1.0
    assert list(got.ratios) == sorted(got.ratios)
    more = choose_policy(labels_of(rarest + 2000), similarity, [str(number) for number in range(count)])
    assert more.first_trainable <= got.first_trainable


def test_features_that_tell_the_classes_apart_are_alike_and_noise_is_not():
    numbers = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 30)
    noise = numbers.normal(size=(90, 12)).astype("float32")
    assert similarity(noise + 6 * np.eye(12)[labels], labels) > 0.95
    assert similarity(noise, labels) < 0.25
    between = similarity(noise + 1.2 * np.eye(12)[labels], labels)
    assert 0.2 < between < 0.95
    assert between == similarity(noise + 1.2 * np.eye(12)[labels], labels)


def test_guessing_the_common_class_is_not_likeness():
    noise = np.random.default_rng(1).normal(size=(200, 8))
    assert similarity(noise, np.repeat([0, 1], [190, 10])) < 0.2


def test_large_sets_are_measured_on_a_sample():
    numbers = np.random.default_rng(0)
    labels = np.tile([0, 1], 10_000)
    assert similarity(numbers.normal(size=(20_000, 2)) + 8 * labels[:, None], labels) > 0.99


@pytest.mark.parametrize("labels", [[0, 0, 1], [0, 0, 0, 0]])
def test_too_few_examples_are_an_error(labels):
    with pytest.raises(ConfigError, match="cannot be measured; received: .*; allowed: two examples of each class"):
        similarity(np.zeros((len(labels), 2)), np.array(labels))


@pytest.mark.parametrize(
    ("examples", "native", "size", "steps", "mixup"),
    [
        (19_999, 96, 128, 500, 0.0),
        (20_000, 96.5, 480, 10_000, 0.1),
        (499_999, 400, 480, 10_000, 0.1),
        (500_000, 32, 128, 20_000, 0.1),
    ],
)
def test_big_transfer_s_rule_gives_the_paper_s_numbers(examples, native, size, steps, mixup):
    rule = bit_rule(examples, native)
    assert (rule.size, rule.steps, rule.mixup_alpha) == (size, steps, mixup)
    assert (rule.learning_rate, rule.decay_at) == (0.003, (0.3, 0.6, 0.9))


def test_big_transfer_s_rate_falls_to_a_tenth_three_times():
    schedule = bit_rule(100, 200).schedule(0.5, 500)
    rates = schedule.rate([0, 149, 150, 299, 300, 449, 450, 499])
    np.testing.assert_allclose(rates, [0.5, 0.5, 0.05, 0.05, 0.005, 0.005, 0.0005, 0.0005])
