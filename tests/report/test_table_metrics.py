from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as oracle

from tlkit.errors import ConfigError, DataError
from tlkit.report.calibration import calibration_curve
from tlkit.report.metrics import classification_metrics
from tlkit.report.multi_label import multi_label_metrics
from tlkit.report.ranking import ranking_figures
from tlkit.report.regression import figure, regression_metrics
from tlkit.targets.multi_label import MultiLabel
from tlkit.targets.objective import measure_answers
from tlkit.targets.regression import Regression
from tlkit.targets.single_label import SingleLabel
from tlkit.targets.wrong_items import most_wrong_items

RNG = np.random.default_rng(7)
PRICE, SOLD = Regression("price"), SingleLabel("sold", ("no", "yes", "maybe"))
TAGS = MultiLabel("tags", ("bright", "quiet"))


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_scikit_learn_agrees_on_regressions():
    true = RNG.normal(10, 3, 50)
    said = true + RNG.normal(size=50)
    found = regression_metrics(said, true, "price")
    assert found.rmse == pytest.approx(oracle.root_mean_squared_error(true, said))
    assert found.mae == pytest.approx(oracle.mean_absolute_error(true, said))
    assert found.r2 == pytest.approx(oracle.r2_score(true, said))
    assert found.median_absolute_error == pytest.approx(oracle.median_absolute_error(true, said))
    assert found.rmspe == pytest.approx(np.sqrt(np.mean(((true - said) / true) ** 2)))
    assert found["n"] == 50
    with pytest.raises(KeyError):
        found["accuracy"]


def test_zeros_are_left_out_of_percentages_and_counted():
    found = regression_metrics([1.0, 3.0, 9.0], [0.0, 2.0, 10.0], "sales")
    assert found.zeros == 1
    assert found.rmspe == pytest.approx(np.sqrt((0.5**2 + 0.1**2) / 2))
    assert found.to_dict()["zeros"] == 1


def test_what_is_undefined_is_none_and_numbers_stay_finite():
    flat = regression_metrics([1.0, 2.0], [0.0, 0.0], "x")
    assert flat.rmspe is None
    assert flat.r2 is None
    document = json.loads(json.dumps(flat.to_dict(), allow_nan=False))
    assert document["metrics"]["r2"] is None
    assert document["per_class"] == {}
    huge = regression_metrics([1e300, 1e300], [-1e300, 1e300], "x")
    assert huge.rmse == pytest.approx(2e300 / np.sqrt(2))
    assert huge.r2 == pytest.approx(-1.0)
    assert regression_metrics([[4.0]], [[4.0]], "x").rmse == 0.0


@pytest.mark.parametrize(
    ("said", "true", "message"),
    [
        ([], [], "do not match"),
        ([1.0], [1.0, 2.0], "do not match"),
        ([1.0, np.nan], [1.0, 2.0], r"1 predictions of 'x' are not finite numbers, the first in row 2"),
        ([1.0, 2.0], [np.inf, 2.0], r"1 values of 'x' are not finite numbers, the first in row 1"),
    ],
)
def test_regressions_that_cannot_be_measured_are_refused(said, true, message):
    with pytest.raises(DataError, match=message):
        regression_metrics(said, true, "x")


def test_pictures_and_tables(tmp_path):
    import io

    from rich.console import Console

    found = regression_metrics([1.0, 3.0, 9.0], [0.0, 2.0, 10.0], "[red] $x$")
    assert found.plot_predictions(tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="unknown image format"):
        found.plot_predictions(tmp_path / "p.txt")
    out = io.StringIO()
    Console(file=out, width=100).print(found.table())
    assert "[red] $x$" in out.getvalue()
    assert "excludes 1 rows" in out.getvalue()
    assert "RMSE 1" in str(found)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (0.12345, "0.1235"),
        (12.345, "12.35"),
        (1234567.8, "1,234,568"),
        (1e-7, "1.000e-07"),
        (None, "-"),
    ],
)
def test_figures_have_about_four_digits(value, text):
    assert figure(value) == text


def test_ranking_of_two_classes_is_that_of_the_second():
    logits, labels = RNG.normal(size=(80, 2)), RNG.integers(0, 2, 80)
    found = classification_metrics(logits, labels, ["no", "yes"])
    scores = softmax(logits)[:, 1]
    assert found.auc == pytest.approx(oracle.roc_auc_score(labels, scores))
    assert found.average_precision == pytest.approx(oracle.average_precision_score(labels, scores))
    assert found["log_loss"] == pytest.approx(oracle.log_loss(labels, softmax(logits)))
    assert f"AUC {found.auc:.3f}" in str(found)


def test_ranking_of_more_classes_is_the_mean_of_each_against_the_rest():
    logits, labels = RNG.normal(size=(90, 3)), RNG.integers(0, 3, 90)
    found = classification_metrics(logits, labels, ["a", "b", "c"])
    assert found.auc == pytest.approx(oracle.roc_auc_score(labels, softmax(logits), multi_class="ovr"))
    assert found.average_precision == pytest.approx(
        oracle.average_precision_score(np.eye(3)[labels], softmax(logits), average="macro")
    )


def test_a_ranking_that_is_undefined_is_none():
    found = classification_metrics(RNG.normal(size=(4, 2)), [1, 1, 1, 1], ["no", "yes"])
    assert found.auc is None
    assert found.average_precision is None
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["metrics"]["auc"] is None
    assert "AUC -" in str(found)
    assert ranking_figures([[np.nan], [1.0]], [[0], [1]]) == (None, None)
    absent = classification_metrics(np.eye(3)[[0, 1]], [0, 1], ["a", "b", "c"])
    assert absent.auc == 1.0


def test_ranking_holds_where_probabilities_round_to_one():
    logits = [[0.0, 800.0], [0.0, 900.0], [0.0, 700.0]]
    assert classification_metrics(logits, [0, 1, 0], ["no", "yes"]).auc == 1.0


def test_several_labels_are_ranked_one_by_one():
    logits, labels = RNG.normal(size=(60, 3)), RNG.integers(0, 2, (60, 3))
    labels[:, 2] = 1
    found = multi_label_metrics(logits, labels, ["a", "b", "c"])
    assert found.auc == pytest.approx(oracle.roc_auc_score(labels[:, :2], logits[:, :2]))
    assert found.log_loss == found.loss == found["log_loss"]
    assert found.to_dict()["metrics"]["average_precision"] == pytest.approx(
        oracle.average_precision_score(labels[:, :2], logits[:, :2])
    )


def test_each_target_is_measured_by_itself(tmp_path):
    true = np.stack([RNG.normal(size=30), RNG.integers(0, 3, 30)], axis=1)
    chances = softmax(RNG.normal(size=(30, 3)))
    answers = np.concatenate([true[:, :1] + 0.5, chances], axis=1)
    found = measure_answers(answers, true, [PRICE, SOLD])
    assert found["price"].mae == pytest.approx(0.5)
    assert found["sold"].log_loss == pytest.approx(oracle.log_loss(true[:, 1], chances))
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["metrics"]["price.rmse"] == pytest.approx(0.5)
    assert document["metrics"]["sold.accuracy"] == found["sold"].accuracy
    assert set(document["per_class"]) == {"sold=no", "sold=yes", "sold=maybe"}
    assert document["n"] == 30
    assert found.table().row_count == 5 + 5
    assert found.plot_predictions(tmp_path / "all.png").stat().st_size > 5000
    assert str(found).count("\n") == 1


def test_one_target_gives_the_metrics_of_its_kind():
    chances = softmax(RNG.normal(size=(20, 3)))
    labels = RNG.integers(0, 3, 20)
    assert measure_answers(chances, labels, [SOLD]).accuracy == (chances.argmax(axis=1) == labels).mean()
    assert measure_answers([[1.0], [2.0]], [[1.0], [4.0]], [PRICE]).mae == 1.0
    several = measure_answers([[0.9, 0.2], [0.4, 0.6]], [[1, 0], [0, 1]], [TAGS])
    assert several.subset_accuracy == 1.0
    assert several.loss == pytest.approx(-np.log([0.9, 0.8, 0.6, 0.6]).mean(), rel=1e-6)
    certain = measure_answers([[0.0, 1.0, 0.0]], [0], [SOLD])
    assert np.isfinite(certain.loss)


def test_targets_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"do not match the targets.*\[n, 4\]"):
        measure_answers(np.ones((3, 3)), np.ones((3, 2)), [PRICE, SOLD])
    with pytest.raises(DataError, match=r"'sold' has class numbers without a name.*from 0 to 2"):
        measure_answers(np.ones((2, 4)), [[1.0, 3.0], [1.0, 0.0]], [PRICE, SOLD])
    with pytest.raises(ConfigError, match=r"'tags' cannot be one of several"):
        measure_answers(np.ones((2, 3)), np.ones((2, 2)), [PRICE, TAGS])


# Calibration


def test_scikit_learn_agrees_on_calibration():
    from sklearn.calibration import calibration_curve as reference

    chance = RNG.random(500)
    labels = (RNG.random(500) < chance).astype(int)
    both = np.stack([1 - chance, chance], axis=1)
    found = calibration_curve(both, labels, ["no", "yes"], bins=10)
    observed, predicted = reference(labels, chance, n_bins=10, strategy="quantile")
    assert found.observed == pytest.approx(observed)
    assert found.predicted == pytest.approx(predicted)
    assert found.brier == pytest.approx(oracle.brier_score_loss(labels, chance))
    assert found.ece == pytest.approx((np.abs(observed - predicted) * found.counts).sum() / 500)
    assert (found.low <= found.observed).all()
    assert (found.observed <= found.high).all()
    assert found.of == "of “yes”"


def test_equal_probabilities_stay_together():
    found = calibration_curve([[0.75, 0.25]] * 8, [0, 0, 0, 0, 0, 0, 1, 1], ["no", "yes"], bins=4)
    assert found.counts.tolist() == [8]
    assert found.ece == 0.0
    assert found.to_dict()["bins"][0]["observed"] == 0.25


def test_calibration_of_the_predicted_class_and_of_all_labels(tmp_path):
    chances = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.6, 0.2, 0.2]])
    top = calibration_curve(chances, [0, 1, 0, 2], ["a", "b", "c"], bins=1)
    assert top.predicted == pytest.approx([(0.7 + 0.8 + 0.4 + 0.6) / 4])
    assert top.observed == pytest.approx([0.5])
    every = calibration_curve([[0.9, 0.2], [0.4, 0.6]], [[1, 0], [0, 1]], ["a", "b"], bins=2)
    assert every.n == 4
    assert top.plot(tmp_path / "c.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("chances", "labels", "bins", "error", "message"),
    [
        ([[0.5, 0.5]], [0], 0, ConfigError, "needs bins"),
        ([[0.5, 0.5]], [0, 1], 5, DataError, "do not match"),
        ([[1.5, -0.5]], [0], 5, DataError, "between 0 and 1"),
        ([[np.nan, 0.5]], [0], 5, DataError, "between 0 and 1"),
    ],
)
def test_no_probabilities_no_calibration(chances, labels, bins, error, message):
    with pytest.raises(error, match=message):
        calibration_curve(chances, labels, ["a", "b"], bins=bins)


# Wrong rows


def test_the_most_wrong_rows_come_first():
    found = most_wrong_items([[1.0], [9.0], [5.0]], [1.0, 2.0, 4.0], [PRICE], n=2)
    assert [one.row for one in found] == [1, 2]
    assert found[0].true == ("2.000",)
    assert found[0].loss == pytest.approx(7 / np.std([1, 2, 4]))
    chances = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9]]
    found = most_wrong_items(chances, [1, 1, 0], [SOLD])
    assert [one.row for one in found] == [2, 0]
    assert found[0].predicted == ("maybe (0.900)",)
    assert found[0].true == ("no",)
    labels = most_wrong_items([[0.9, 0.2], [0.4, 0.6]], [[1, 0], [1, 0]], [TAGS])
    assert [(one.row, one.true, one.predicted) for one in labels] == [(1, ("bright",), ("quiet",))]


def test_targets_are_weighed():
    heavy = Regression("price", weight=100.0)
    answers, labels = [[0.0, 0.0, 1.0, 0.0], [3.0, 1.0, 0.0, 0.0]], [[0.5, 0], [0.0, 0]]
    assert most_wrong_items(answers, labels, [PRICE, SOLD])[0].row == 0
    assert most_wrong_items(answers, labels, [heavy, SOLD])[0].row == 1
    assert most_wrong_items(np.zeros((0, 4)), np.zeros((0, 2)), [PRICE, SOLD]) == []
    with pytest.raises(DataError, match="do not match"):
        most_wrong_items([[1.0]], [1.0, 2.0], [PRICE])
