"""Later data against a baseline: the tests and their corrections, what is said, and the page."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from tlkit.errors import ConfigError, DataError
from tlkit.export.baseline import Baseline
from tlkit.export.sketch import Bins, Sketch, bins_of, coarser, grouped, landmarks_of, stability_index
from tlkit.trust.drift.compare import compare
from tlkit.trust.drift.page import write_drift_page
from tlkit.trust.drift.statistics import (
    adjusted,
    homogeneity,
    kolmogorov_smirnov,
    mean_discrepancy,
    weighted_chi_square,
)


def rounded(bins: Bins, values: np.ndarray) -> np.ndarray:
    """Values as their bins know them."""
    return np.searchsorted(bins.edges, values)


@pytest.mark.parametrize(("shift", "n"), [(0.0, 500), (0.2, 500), (0.5, 40), (3.0, 200)])
def test_kolmogorov_smirnov_agrees_with_scipy(shift, n):
    draw = np.random.default_rng(1)
    a, b = draw.normal(size=300), draw.normal(shift, 1, n)
    bins = bins_of("x", "input", a)
    found = kolmogorov_smirnov(bins.count(a)[:-1], bins.count(b)[:-1])
    theirs = stats.ks_2samp(rounded(bins, a), rounded(bins, b), method="asymp")
    assert found.statistic == pytest.approx(theirs.statistic)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)
    exact = stats.ks_2samp(a, b, method="asymp")  # over all values: never a larger p-value
    assert exact.pvalue <= found.p
    assert exact.statistic - found.statistic < 0.06


def test_chi_square_agrees_with_scipy_and_joins_what_is_rare():
    expected, actual = np.array([200, 90, 4, 2, 0]), np.array([300, 170, 5, 3, 0])
    found = homogeneity(expected, actual)
    theirs = stats.chi2_contingency(np.array([[200, 90, 6], [300, 170, 8]]), correction=False)
    assert found.method == "chi-square"
    assert found.p == pytest.approx(theirs.pvalue)
    rare = homogeneity(np.array([300, 1]), np.array([290, 9]))
    assert rare.method == "Fisher's exact test"
    assert rare.p == pytest.approx(stats.fisher_exact([[300, 1], [290, 9]]).pvalue)
    assert homogeneity(np.array([30, 0]), np.array([40, 0])).p == 1


def test_stability_index_is_its_formula():
    e, a = np.array([100.5, 200.5]), np.array([150.5, 50.5])
    e, a = e / e.sum(), a / a.sum()
    wanted = ((a - e) * np.log(a / e)).sum()
    assert stability_index(np.array([100, 200, 0]), np.array([150, 50, 0])) == pytest.approx(wanted)
    assert stability_index(np.array([5, 5]), np.array([50, 50])) == pytest.approx(0)
    bins = bins_of("x", "input", np.random.default_rng(0).normal(size=1000))
    counts = bins.count(np.random.default_rng(0).normal(size=1000))
    (coarse,) = coarser(grouped(bins, counts), counts)
    assert len(coarse) == 10
    assert np.abs(coarse - 100).max() <= 25


def test_p_values_are_corrected_as_benjamini_and_hochberg_do():
    assert adjusted(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.04, 0.04])
    assert len(adjusted(np.zeros(0))) == 0


def test_the_discrepancy_of_fresh_samples_has_uniform_p_values_and_finds_a_shift():
    draw = np.random.default_rng(0)
    mix = draw.normal(size=(12, 12))
    p_values, found = [], []
    for _ in range(60):
        marks = landmarks_of(draw.normal(size=(400, 12)) @ mix, 32)
        for shift, kept in ((0.0, p_values), (0.4, found)):
            likeness = marks.likenesses((draw.normal(size=(300, 12)) + shift) @ mix)
            kept.append(mean_discrepancy(marks, likeness.sum(0), 300).p)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) < 0.01) > 0.9


def test_a_weighted_sum_of_chi_squares_is_that_of_many_draws():
    draw = np.random.default_rng(0)
    for weights in (np.ones(5), np.array([3.0, 1.0, 0.1]), 0.8 ** np.arange(60), np.array([2.0])):
        sums = draw.chisquare(1, (400_000, len(weights))) @ weights
        for level in (0.5, 0.05, 0.003):
            value = np.quantile(sums, 1 - level)
            assert weighted_chi_square(float(value), weights) == pytest.approx(level, rel=0.12)
    assert weighted_chi_square(0.0, np.zeros(3)) == 1
    assert weighted_chi_square(0.1, np.zeros(3)) == 0


def test_more_than_a_thousand_embeddings_count_as_a_thousand():
    marks = landmarks_of(np.random.default_rng(0).normal(size=(400, 4)), 8)
    mean = marks.mean + 0.01
    few, many, more = (mean_discrepancy(marks, mean * n, n).p for n in (100, 1000, 100_000))
    assert few > many
    assert more == pytest.approx(many)


NAMES = ("a", "b", "c")


def sample(count: int, seed: int, shift: float = 0.0, share: float = 0.3) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    number = draw.normal(shift, 1, count)
    number[draw.random(count) < 0.1] = np.nan
    return {"number": number, "name": draw.choice(NAMES, count, p=[share, 0.9 - share, 0.1]).astype(object)}


def counted(bins: tuple[Bins, ...], values: dict[str, np.ndarray]) -> Sketch:
    sketch = Sketch(items=len(next(iter(values.values()))))
    sketch.add(bins, values)
    return sketch


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    values = sample(400, 0)
    bins = (
        bins_of("number", "input", values["number"], unit="px"),
        bins_of("name", "prediction", values["name"], names=NAMES),
    )
    return Baseline("val", bins, counted(bins, values), ())


def test_fresh_samples_of_the_same_distribution_raise_few_false_alarms(baseline):
    alarms = 0
    for seed in range(1, 201):
        values = sample(400, seed)
        bins = tuple(bins_of(one.name, one.source, values[one.name]) for one in baseline.bins)
        fresh = Baseline("val", bins, counted(bins, values), ())
        alarms += bool(compare(fresh, counted(bins, sample(300, 1000 + seed)), psi=0.0).drifted)
    assert alarms <= 16  # 5 % of 200, and three standard deviations are 9 more


def test_a_shift_is_named_with_what_changed(baseline):
    found = compare(baseline, counted(baseline.bins, sample(500, 3, shift=0.6, share=0.5)))
    assert [one.name for one in found.drifted] == ["number", "name"]
    number, name = found.drifted
    assert re.fullmatch(r"median -?0\.\d+ -> 0\.\d+ px", number.change)
    assert re.match(r"b 6\d\.\d% -> 3\d\.\d%, a 29\.0% -> \d\d\.\d%, c ", name.change)
    assert number.psi > 0.2
    assert sum(share for _, share, _ in number.groups) == pytest.approx(1, abs=1e-4)
    assert [one.name for one in found.compared][2:] == ["number is missing"]
    plain = found.to_dict()
    assert plain["drifted"] == ["number", "name"]
    assert plain["statistics"][1]["groups"][0].keys() == {"values", "baseline", "data"}


def test_what_is_significant_but_small_is_no_drift(baseline):
    sketch = counted(baseline.bins, sample(400, 0))
    for counts in sketch.counts.values():
        counts *= 1000
    sketch.counts["name"][:2] += np.array([4000, -4000])
    few = compare(baseline, sketch, psi=0.0)
    sketch.items = 400_000
    many = compare(baseline, sketch, psi=0.05)
    assert many.drifted == []
    assert len(few.compared) == len(many.compared)


def test_too_few_items_and_thresholds_out_of_range_are_refused(baseline):
    with pytest.raises(DataError, match=r"too few items: neither histograms nor shares.*received: 29; allowed: 30"):
        compare(baseline, counted(baseline.bins, sample(29, 1)))
    sketch = counted(baseline.bins, sample(60, 1))
    for alpha in (0.0, 1.0, -1, float("nan")):
        with pytest.raises(ConfigError, match="--alpha is out of range"):
            compare(baseline, sketch, alpha=alpha)
    for psi in (-0.1, float("inf"), float("nan"), 101):
        with pytest.raises(ConfigError, match="--psi is out of range"):
            compare(baseline, sketch, psi=psi)


def test_what_cannot_be_estimated_is_said(baseline):
    values = sample(60, 1)
    values["number"][20:] = np.nan
    found = {one.name: one for one in compare(baseline, counted(baseline.bins, values)).compared}
    assert re.fullmatch(r"not estimated: the data has 1\d values, and 30 are needed", found["number"].skipped)
    assert found["number is missing"].drifted
    assert compare(baseline, Sketch(items=40)).drifted == []  # nothing could be tested


def test_the_page_has_every_statistic_and_loads_nothing(baseline, tmp_path):
    found = compare(baseline, counted(baseline.bins, sample(500, 3, shift=0.6)))
    page = write_drift_page(tmp_path / "drift.html", found, "a <b>", [("export", "m/1")]).read_text()
    assert "<title>a &lt;b&gt;: drift</title>" in page
    for name in ("number", "name", "number is missing"):
        assert page.count(f">{name}<") == 2
    assert "://" not in page
    assert page.count('class="pair e"') == sum(len(one.groups) for one in found.compared)
