from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from tlkit.targets.objective import Objective
from tlkit.targets.regression import Regression, fit_target
from tlkit.targets.single_label import SingleLabel
from tlkit.targets.survival import fit_survival
from tlkit.targets.survival_columns import SurvivalColumns
from tlkit.training.linear_probe import fit_linear_probe

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(120, 20)).astype(np.float32) * RNG.uniform(0.5, 3, 20).astype(np.float32) + 4
VALUES = FEATURES[:, 0] - 0.5 * FEATURES[:, 3] + RNG.normal(0, 0.5, 120)


def test_of_a_value_it_is_a_ridge_regression_whose_penalty_was_chosen_out_of_fold():
    target = fit_target("y", VALUES)
    objective = Objective([target])
    true = objective.encode(VALUES)
    probe = fit_linear_probe(FEATURES, true, objective, strengths=(1e-3,))
    scale = FEATURES.std(0)
    # The loss is the mean squared error: C is the inverse of half of scikit-learn's penalty.
    oracle = Ridge(alpha=1 / (2 * 1e-3)).fit((FEATURES - FEATURES.mean(0)) / scale, true[:, 0])
    np.testing.assert_allclose(probe.kernel[:, 0] * scale, oracle.coef_, atol=2e-3)
    chosen = fit_linear_probe(FEATURES, true, objective)
    assert chosen.folds == 5
    assert chosen.strength > 1e-3  # there is more signal than noise
    error = np.mean((target.inverse(chosen.logits).numpy()[:, 0] - VALUES) ** 2)
    assert error < 0.35 * VALUES.var()


def test_several_targets_are_solved_together_and_missing_labels_left_aside():
    colour = SingleLabel("colour", ("a", "b"))
    objective = Objective([Regression("y", center=float(VALUES.mean()), scale=float(VALUES.std())), colour])
    labels = np.stack([VALUES, (FEATURES[:, 5] > 4).astype(float)], axis=1)
    labels[::4, 0] = np.nan
    labels[1::4, 1] = np.nan
    probe = fit_linear_probe(FEATURES, objective.encode(labels), objective)
    outputs = FEATURES @ probe.kernel + probe.bias
    found = objective.measure_outputs(outputs, labels)
    assert found["y"].n == found["colour"].n == 90
    assert found["y"].r2 > 0.6
    assert found["colour"].accuracy > 0.85


@pytest.mark.parametrize("method", ["hazard", "cox"])
def test_risks_are_ordered(method):
    died = RNG.exponential(np.exp(-FEATURES[:, 0] + 4))
    seen = np.quantile(died, 0.7)
    labels = np.stack([np.minimum(died, seen) + 0.01, (died <= seen).astype(float)], axis=1)
    objective = Objective([fit_survival(SurvivalColumns("t", "e", method), labels)])
    probe = fit_linear_probe(FEATURES, objective.encode(labels), objective)
    best = objective.targets[0].measure(
        np.concatenate([FEATURES[:, :1], np.zeros((120, len(objective.output_names) - 1))], axis=1), labels
    )
    found = objective.measure_outputs(probe.logits, labels)
    assert found.concordance > 0.9 * best.concordance


def test_copies_stay_in_one_fold_and_few_examples_have_none():
    objective = Objective([fit_target("y", VALUES)])
    true = objective.encode(VALUES)
    few = fit_linear_probe(FEATURES[:3], true[:3], objective)
    assert (few.folds, len(few.rows)) == (0, 0)
    assert few.note
    groups = np.repeat(np.arange(2), 60)
    assert fit_linear_probe(FEATURES, true, objective, groups=groups).folds == 2
