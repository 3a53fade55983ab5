from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tlkit.errors import ConfigError, DataError
from tlkit.report.survival import censoring, kaplan_meier, survival_metrics
from tlkit.targets.base import Target
from tlkit.targets.objective import Objective
from tlkit.targets.survival import Survival, fit_survival
from tlkit.targets.survival_columns import SurvivalColumns

DAYS = SurvivalColumns("days", "died")


def made(n=400, seed=0, ties=True):
    """Times and events of rows whose hazard doubles with each unit of a score."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    died = rng.exponential(50 * np.exp(-score * np.log(2)))
    seen = rng.uniform(5, 120, n)
    time = np.minimum(died, seen)
    time = np.maximum(np.ceil(time), 1.0) if ties else time
    return score, np.stack([time, (died <= seen).astype(float)], axis=1)


def surv(values):
    from sksurv.util import Surv

    return Surv.from_arrays(values[:, 1] > 0.5, values[:, 0])


@pytest.mark.parametrize("ties", [False, True])
def test_scikit_survival_agrees_on_the_metrics(ties):
    from sksurv import metrics

    score, values = made(ties=ties)
    risk = score + np.random.default_rng(1).normal(size=len(score))
    at = np.linspace(10, 80, 8)
    survival = np.exp(-np.exp(risk)[:, None] * at[None] / 70)
    found = survival_metrics(risk, values[:, 0], values[:, 1], survival, at)
    event, time = values[:, 1] > 0.5, values[:, 0]
    assert found.concordance == pytest.approx(metrics.concordance_index_censored(event, time, risk)[0], abs=1e-9)
    own = surv(values)
    assert found.ipcw_concordance == pytest.approx(metrics.concordance_index_ipcw(own, own, risk)[0], abs=1e-9)
    brier = metrics.integrated_brier_score(own, own, survival, at)
    assert found.integrated_brier_score == pytest.approx(brier, rel=1e-6)
    assert (found.events, found.n, found["n"]) == (int(event.sum()), len(time), len(time))


def test_equal_risks_count_half_and_pairs_that_cannot_be_compared_nothing():
    assert survival_metrics([1.0, 1.0, 0.0], [1.0, 2.0, 3.0], [1, 0, 1]).concordance == pytest.approx(0.75)
    lonely = survival_metrics([1.0, 2.0], [5.0, 4.0], [0, 0])
    assert lonely.concordance is None
    assert lonely.ipcw_concordance is None
    assert "-" in str(lonely)


def test_kaplan_meier_and_the_censoring_are_those_of_scikit_survival():
    from sksurv.nonparametric import CensoringDistributionEstimator, kaplan_meier_estimator

    _, values = made()
    times, left = kaplan_meier(values[:, 0], values[:, 1] > 0.5)
    expected_times, expected = kaplan_meier_estimator(values[:, 1] > 0.5, values[:, 0])
    np.testing.assert_allclose(times, expected_times)
    np.testing.assert_allclose(left, expected)
    oracle = CensoringDistributionEstimator().fit(surv(values))
    np.testing.assert_allclose(
        censoring(values[:, 0], values[:, 1] > 0.5, times), oracle.predict_proba(times), atol=1e-12
    )


def test_the_partial_likelihood_is_efrons():
    """Against a sum written out event by event, and against lifelines' convention for ties: k/d of the tied deaths."""
    score, values = made(60)
    target = fit_survival(SurvivalColumns("days", "died", "cox"), values)
    order = np.random.default_rng(3).permutation(60)
    risk, time, event = score[order], values[order, 0], values[order, 1] > 0.5
    total = 0.0
    for moment in np.unique(time[event]):
        died, at_risk = event & (time == moment), time >= moment
        total -= risk[died].sum()
        for k in range(int(died.sum())):
            total += np.log(np.exp(risk[at_risk]).sum() - k / died.sum() * np.exp(risk[died]).sum())
    found = Objective([target]).losses(risk[:, None], target.forward(values[order])).mean()
    assert found == pytest.approx(total / event.sum(), rel=1e-5)
    nobody = target.forward(np.array([[3.0, 0.0], [4.0, 0.0]]))
    assert Objective([target]).losses(np.zeros((2, 1)), nobody).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("spread", [1.0, 200.0])
def test_risks_far_apart_have_a_partial_likelihood_and_its_gradient(spread):
    score, values = made(60)
    target = fit_survival(SurvivalColumns("days", "died", "cox"), values)
    true = tf.constant(target.forward(values))
    risk = tf.Variable(spread * score[:, None], dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(target.losses(true, risk))
    time, event, eta = values[:, 0], values[:, 1] > 0.5, spread * score
    total, slope = 0.0, np.zeros(60)
    for moment in np.unique(time[event]):
        died, at_risk = event & (time == moment), time >= moment
        total -= eta[died].sum()
        slope -= died
        highest = eta[at_risk].max()
        for k in range(int(died.sum())):
            parts = np.exp(eta - highest) * (at_risk - k / died.sum() * died)
            total += np.log(parts.sum()) + highest
            slope += parts / parts.sum()
    assert float(loss) == pytest.approx(total / event.sum(), rel=1e-4)
    np.testing.assert_allclose(tape.gradient(loss, risk)[:, 0], slope / event.sum(), atol=1e-4)


def test_hazards_are_learned_where_they_are_observed():
    target = fit_survival(SurvivalColumns("days", "died", times=(10, 20, 40)), made()[1])
    rows = np.array([[5, 1], [10, 1], [12, 0], [15, 0], [25, 1], [50, 1], [40, 0]], float)
    true = target.forward(rows)
    survived, failed = true[:, :3].tolist(), true[:, 3:].tolist()
    assert failed == [[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    # A censored time counts from the middle of its interval on.
    assert survived == [[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]]


def test_the_first_answer_is_the_survival_of_all_and_a_higher_hazard_a_higher_risk():
    _, values = made(2000)
    target = fit_survival(DAYS, values)
    assert 3 <= len(target.times) <= 20
    answers = target.answers(tf.zeros([1, target.width])).numpy()[0]
    times, left = kaplan_meier(values[:, 0], values[:, 1] > 0.5)
    expected = left[np.searchsorted(times, target.times)]
    np.testing.assert_allclose(answers[1:], expected, atol=0.03)
    assert np.all(np.diff(answers[1:]) <= 0)
    worse = target.answers(tf.ones([1, target.width])).numpy()[0]
    assert worse[0] > answers[0]
    assert np.all(worse[1:] < answers[1:])
    extreme = target.answers(tf.constant([[200.0] * target.width, [-200.0] * target.width])).numpy()
    assert np.isfinite(extreme).all()


def test_an_ensemble_averages_survival():
    target = fit_survival(DAYS, made()[1])
    draw = np.random.default_rng(0)
    members = [tf.constant(draw.normal(0, 2, (5, target.width)), tf.float32) for _ in range(3)]
    together = target.answers(target.averaged(members)).numpy()[:, 1:]
    expected = np.mean([target.answers(member).numpy()[:, 1:] for member in members], axis=0)
    np.testing.assert_allclose(together, expected, atol=1e-5)


def test_a_survival_target_is_plain_data_and_stands_alone():
    for columns in (DAYS, SurvivalColumns("days", "died", "cox")):
        target = fit_survival(columns, made()[1])
        assert Target.from_dict(target.to_dict()) == target
        assert target.columns == ("days", "died")
        with pytest.raises(ConfigError, match="must be the only one"):
            Objective([target, target])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SurvivalColumns("days", "days"), ConfigError, "time and event must be different columns"),
        (lambda: SurvivalColumns("days", "died", "weibull"), ConfigError, "method of a survival target"),
        (lambda: SurvivalColumns("days", "died", times=(30, 10)), ConfigError, "increasing"),
        (lambda: SurvivalColumns("days", "died", times=(0,)), ConfigError, "above 0"),
        (
            lambda: SurvivalColumns("days", "died", "cox", (3,)),
            ConfigError,
            "the Cox method predicts a risk, but no survival",
        ),
        (lambda: Survival("risk"), ConfigError, "the hazard model needs the end of each interval"),
        (lambda: fit_survival(DAYS, np.array([[3.0, 0.0], [5.0, 0.0]])), DataError, "no training row has an event"),
        (
            lambda: fit_survival(SurvivalColumns("days", "died", times=(10, 900, 1000)), made()[1]),
            DataError,
            "no training row is at risk in an interval",
        ),
        (lambda: SurvivalColumns("days", "died", times=("a",)), ConfigError, "a list of numbers"),
        (lambda: SurvivalColumns("days", "died", times=5), ConfigError, "a list of numbers"),
        (lambda: Objective("days"), ConfigError, "objects of tlkit.targets"),
        (lambda: survival_metrics([1.0, 2.0], [2.0, 3.0], [1, np.nan]), DataError, "events of 'risk' are 1, or 0"),
        (lambda: survival_metrics([1.0, 2.0], [-2.0, 3.0], [1, 0]), DataError, "negative"),
        (
            lambda: survival_metrics([1.0, 2.0], [2.0, 3.0], [1, 0], [[0.5]], [1.0]),
            DataError,
            "curves of 'risk' do not",
        ),
        (lambda: survival_metrics([1.0], [2.0, 3.0], [1, 0]), DataError, "do not match"),
        (lambda: survival_metrics([np.nan, 1.0], [2.0, 3.0], [1, 0]), DataError, "not finite"),
    ],
)
def test_what_cannot_be_used_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_curves_by_tertile_are_drawn(tmp_path):
    score, values = made()
    found = survival_metrics(score, values[:, 0], values[:, 1])
    assert list(found.tertiles()) == ["low", "middle", "high"]
    assert found.plot(tmp_path / "curves.png").stat().st_size > 5000
    assert list(survival_metrics(np.zeros(9), np.arange(1.0, 10), np.ones(9)).tertiles()) == ["low"]


def test_times_that_differ_have_names_that_differ():
    target = Survival("risk", times=(10_000_001.0, 10_000_002.0), base=(0.0, 0.0))
    assert target.output_names == ("risk", "survival at 10000001", "survival at 10000002")


def test_what_cannot_be_measured_is_said(caplog):
    target = fit_survival(SurvivalColumns("days", "died", times=(30, 5000)), made()[1])
    assert "is requested, but no training row" in caplog.text
    target.check_split(np.array([[3.0, 0.0]]), "val")
    assert "no val row has an event" in caplog.text


def test_risks_of_cox_are_compared_without_their_origin_and_by_exact_times():
    cox = fit_survival(SurvivalColumns("days", "died", "cox"), made()[1])
    assert cox.centered(np.array([[3.0], [5.0]])).tolist() == [[-1.0], [1.0]]
    late = np.array([[2.0**25 + 1, 1.0], [2.0**25, 1.0], [2.0**25 + 1, 0.0]])
    assert cox.forward(late).tolist() == [[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
