"""Groups of items on which a model is worse: against scipy, false alarms, what cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tlkit.report.slices import ErrorsOf, holm, worst_slices


def columns(n, seed=0):
    draw = np.random.default_rng(seed)
    return {
        "brightness": draw.uniform(0, 255, n),
        "format": draw.choice(["JPEG", "PNG"], n).astype(object),
        "orientation": draw.choice([1.0, 6.0], n),
        "camera": np.where(draw.random(n) < 0.3, "", "X").astype(object),
    }


def test_a_planted_group_is_found_with_fishers_p_value():
    n, known = 400, columns(400)
    dark = known["brightness"] <= np.quantile(known["brightness"], 0.25)
    wrong = np.where(dark, np.arange(n) % 3 == 0, np.arange(n) % 20 == 0).astype(float)
    tests = worst_slices([ErrorsOf(wrong, True)], known)
    (found,) = tests.found
    assert (found.column, found.n) == ("brightness", int(dark.sum()))
    assert found.error == pytest.approx(wrong[dark].mean())
    assert found.rest == pytest.approx(wrong[~dark].mean())
    table = [[wrong[dark].sum(), (1 - wrong[dark]).sum()], [wrong[~dark].sum(), (1 - wrong[~dark]).sum()]]
    alone = stats.fisher_exact(np.array(table, int), alternative="greater").pvalue
    assert tests.tested == 10  # quarters, two formats, two orientations, two cameras
    assert found.p == pytest.approx(10 * alone)  # it is the smallest
    assert found.words.startswith("brightness ")
    assert found.to_dict()["column"] == "brightness"


def test_sizes_of_errors_are_compared_by_ranks():
    known = columns(200)
    png = known["format"] == "PNG"
    errors = np.random.default_rng(1).exponential(1, 200) + 1.0 * png
    (found,) = worst_slices([ErrorsOf(errors, False, "price")], {"format": known["format"]}).found
    p = stats.mannwhitneyu(errors[png], errors[~png], alternative="greater", method="asymptotic").pvalue
    assert found.p == pytest.approx(2 * p)
    assert (found.value, found.target, found.is_rate) == ("“PNG”", "price", False)
    assert "mean error" in found.words


def test_without_a_group_false_alarms_are_rare():
    alarms = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        wrong = (draw.random(300) < 0.2).astype(float)
        alarms += bool(worst_slices([ErrorsOf(wrong, True)], columns(300, seed + 1000)).found)
    assert alarms <= 16  # 5 % of 200, and two standard deviations


def test_unknown_errors_are_left_out_and_targets_are_corrected_together():
    known = columns(200)
    png = known["format"] == "PNG"
    wrong = png.astype(float)
    wrong[::7] = np.nan
    names = {"format": known["format"]}
    alone = worst_slices([ErrorsOf(wrong, True)], names).found[0]
    assert alone.n == int((png & np.isfinite(wrong)).sum())
    both = worst_slices([ErrorsOf(wrong, True, "a"), ErrorsOf(np.zeros(200), True, "b")], names)
    assert both.tested == 4
    assert both.found[0].p == pytest.approx(2 * alone.p)


@pytest.mark.parametrize(
    ("n", "known", "words"),
    [
        (29, {}, "groups cannot be compared: 29 items, 30 are needed"),
        (60, {"id": np.arange(60).astype(str).astype(object)}, "no property has 20 items on both sides"),
        (30, {"x": np.arange(30.0)}, "no property has 20 items on both sides"),
    ],
)
def test_what_cannot_be_compared_says_why(n, known, words):
    tests = worst_slices([ErrorsOf(np.ones(n), True)], known)
    assert words in tests.skipped
    assert tests.found == ()
    assert worst_slices([], {}).skipped


def test_holm_is_monotone_and_at_most_one():
    p = np.array([0.04, 0.001, 0.9, 0.02])
    np.testing.assert_allclose(holm(p), [0.08, 0.004, 0.9, 0.06])
    assert holm([0.9, 0.8]).max() == 1


def test_missing_values_and_constant_columns():
    values = np.r_[np.full(40, np.nan), np.full(60, 3.0)]
    wrong = np.r_[np.ones(40), np.zeros(60)]
    found = worst_slices([ErrorsOf(wrong, True)], {"x": values}).found
    assert [one.words for one in found] == ["x missing: 100% of 40 wrong, 0% elsewhere"]
