from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tlkit.errors import ConfigError, DataError
from tlkit.report.multi_label import best_thresholds, multi_label_metrics

NAMES = ("funny", "sad", "[red] $x$")
PROBABILITIES = np.array([[0.9, 0.2, 0.1], [0.6, 0.7, 0.3], [0.2, 0.4, 0.2], [0.8, 0.1, 0.4]])
LOGITS = np.log(PROBABILITIES / (1 - PROBABILITIES))
LABELS = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0]])


def test_numbers_by_hand():
    metrics = multi_label_metrics(LOGITS, LABELS, NAMES)
    assert metrics.accuracy == 9 / 12
    assert metrics.subset_accuracy == 0.5
    given_to_truth = np.where(LABELS == 1, PROBABILITIES, 1 - PROBABILITIES)
    assert metrics.loss == pytest.approx(-np.log(given_to_truth).mean())
    assert metrics.confusion_matrix.tolist() == [[[0, 1], [1, 2]], [[2, 0], [1, 1]], [[4, 0], [0, 0]]]
    assert metrics.per_class["funny"]["precision"] == pytest.approx(2 / 3)
    assert metrics.per_class["sad"]["recall"] == 0.5
    assert metrics.micro_f1 == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    # "funny" ranks 0.9 and 0.8 first, then the wrong 0.6, then 0.2: its two first are right, its third is 3 of 4.
    assert metrics.per_class["funny"]["average_precision"] == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_labels_that_do_not_occur_do_not_count_in_the_means():
    metrics = multi_label_metrics(LOGITS, LABELS, NAMES)
    assert metrics.per_class["[red] $x$"] == {
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "average_precision": 0.0,
        "n": 0,
    }
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert metrics.mean_average_precision == pytest.approx(((1 + 1 + 3 / 4) / 3 + 1) / 2)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.float64, (9, 3), elements=st.floats(-30, 30, allow_subnormal=False)),
    hnp.arrays(np.int64, (9, 3), elements=st.integers(0, 1)),
    st.sampled_from([0.1, 0.5, 0.8]),
)
def test_scikit_learn_agrees(logits, labels, threshold):
    from sklearn.metrics import f1_score, multilabel_confusion_matrix, precision_recall_fscore_support

    metrics = multi_label_metrics(logits, labels, NAMES, threshold)
    predicted = (1 / (1 + np.exp(-logits)) > threshold).astype(int)
    assert metrics.confusion_matrix.tolist() == multilabel_confusion_matrix(labels, predicted).tolist()
    columns = precision_recall_fscore_support(labels, predicted, average=None, zero_division=0)
    for key, column in zip(("precision", "recall", "f1", "n"), columns, strict=True):
        assert [row[key] for row in metrics.per_class.values()] == pytest.approx(list(column))
    assert metrics.micro_f1 == pytest.approx(f1_score(labels, predicted, average="micro", zero_division=0))


def test_the_loss_is_that_of_keras_and_stays_finite():
    import keras

    logits = np.array([[800.0, -800.0], [-800.0, 3.0]])
    labels = np.array([[1, 0], [1, 1]])
    metrics = multi_label_metrics(logits, labels, NAMES[:2])
    assert metrics.loss == pytest.approx((800 + np.log1p(np.exp(-3))) / 4)
    keras_loss = keras.losses.BinaryCrossentropy(from_logits=True)(LABELS.astype("float32"), LOGITS.astype("float32"))
    assert multi_label_metrics(LOGITS, LABELS, NAMES).loss == pytest.approx(float(keras_loss), rel=1e-5)


def test_one_label_alone_is_fine():
    metrics = multi_label_metrics([[2.0], [-1.0], [1.0]], [[1], [0], [0]], ["spam"])
    assert metrics.confusion_matrix.tolist() == [[[1, 1], [0, 1]]]
    assert list(metrics.per_class) == ["spam"]


def test_it_is_plain_json_and_reads_well(tmp_path):
    import io

    from rich.console import Console

    metrics = multi_label_metrics(LOGITS, LABELS, NAMES)
    document = json.loads(json.dumps(metrics.to_dict(), allow_nan=False))
    assert document["metrics"].keys() == {
        "loss",
        "accuracy",
        "subset_accuracy",
        "micro_f1",
        "macro_f1",
        "mean_average_precision",
        "auc",
        "average_precision",
        "log_loss",
    }
    assert document["n"] == 4
    assert document["threshold"] == 0.5
    assert np.shape(document["confusion_matrix"]) == (3, 2, 2)
    assert metrics["subset_accuracy"] == 0.5
    with pytest.raises(KeyError):
        metrics["rmse"]
    assert "average precision 0.917" in str(metrics)
    out = io.StringIO()
    Console(file=out, width=120).print(metrics.table())
    assert "[red] $x$" in out.getvalue()
    assert "average precision" in out.getvalue()
    for count in (1, 3, 7):
        names = [f"l{i}" for i in range(count)]
        many = multi_label_metrics(np.tile(LOGITS[:, :1], count), np.tile(LABELS[:, :1], count), names)
        assert many.plot_confusion(tmp_path / f"{count}.png").stat().st_size > 3000


@pytest.mark.parametrize("threshold", [0, 1, -0.5, float("nan"), True, "0.5"])
def test_a_threshold_is_a_probability(threshold):
    with pytest.raises(ConfigError, match=r"threshold must be a probability.*0 < threshold < 1"):
        multi_label_metrics(LOGITS, LABELS, NAMES, threshold)


@pytest.mark.parametrize(
    ("logits", "labels", "says"),
    [
        (LOGITS, LABELS[:3], "do not match"),
        (LOGITS[:, :2], LABELS[:, :2], "do not match"),
        (LOGITS[:0], LABELS[:0], "do not match"),
        (LOGITS, LABELS * 2, r"labels must be 0 or 1.*\[2\]"),
        (LOGITS, [0, 1, 2, 1], "do not match"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, says):
    with pytest.raises(DataError, match=says):
        multi_label_metrics(logits, labels, NAMES)


def test_each_label_may_have_a_threshold_of_its_own():
    metrics = multi_label_metrics(LOGITS, LABELS, NAMES, (0.7, 0.3, 0.35))
    assert metrics.confusion_matrix.tolist() == [[[1, 0], [1, 2]], [[2, 0], [0, 2]], [[3, 1], [0, 0]]]
    assert metrics.to_dict()["threshold"] == [0.7, 0.3, 0.35]
    alike = multi_label_metrics(LOGITS, LABELS, NAMES, (0.5, 0.5, 0.5))
    np.testing.assert_array_equal(alike.confusion_matrix, multi_label_metrics(LOGITS, LABELS, NAMES).confusion_matrix)


@pytest.mark.parametrize("thresholds", [(0.5, 0.5), (0.5, 0.5, 1.0), (0.5, 0.5, True), ()])
def test_thresholds_that_do_not_fit_the_labels_are_refused(thresholds):
    with pytest.raises(ConfigError, match="the threshold must be a probability"):
        multi_label_metrics(LOGITS, LABELS, NAMES, thresholds)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float64, (24, 2), elements=st.integers(-6, 6).map(lambda step: step / 2)),
    hnp.arrays(np.int64, (24, 2), elements=st.integers(0, 1)),
)
def test_no_other_threshold_has_a_higher_f1(logits, labels):
    chances = 1 / (1 + np.exp(-logits))
    for own, true, threshold in zip(chances.T, labels.T, best_thresholds(logits, labels, fewest=1), strict=True):
        if 0 < true.sum() < len(true):
            said = own[None] > np.append(np.linspace(0.001, 0.999, 500), threshold)[:, None]
            f1 = 2 * (said & (true == 1)).sum(1) / np.maximum(said.sum(1) + true.sum(), 1)
            assert f1[-1] == pytest.approx(f1.max())
        else:
            assert threshold == 0.5


def test_a_threshold_of_few_items_stays_at_a_half():
    logits = np.linspace(-4, -1, 40)[:, None]
    labels = np.zeros((40, 1), int)
    labels[-9:] = 1
    assert best_thresholds(logits, labels) == [0.5]
    assert best_thresholds(logits, labels, fewest=9)[0] < 0.3
    # Where 0.5 is as good as any other, 0.5 it is.
    assert best_thresholds(logits + 1.65, labels, fewest=9) == [0.5]
