"""The linear probe: its solution, its folds, and its place in a run."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from photos import write_folder
from tiny import tiny_task

import tlkit
from tlkit.errors import ConfigError
from tlkit.training.probe import WITHOUT_FOLDS, dense_of, fit_probe, log_losses

CLASSES = ("blue", "green", "red")


def blobs(n=90, width=200, classes=3, seed=0, spread=2.0):
    """Features of classes that overlap, more of them than rows, of quite different scales."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centers = draw.normal(size=(classes, width)) * 0.3
    features = (centers[labels] + draw.normal(size=(n, width)) * spread) * np.exp(draw.normal(size=width))
    features[:, 3] = 7.0  # never changes
    return features.astype(np.float32), np.eye(classes, dtype=np.float32)[labels]


@pytest.mark.parametrize("width", [20, 200], ids=["more rows", "more features"])
def test_it_is_scikit_learns_solution_on_standardised_features(width):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features, targets = blobs(width=width)
    probe = fit_probe(features, targets, strengths=(0.01,))
    scaler = StandardScaler().fit(features.astype(np.float64))
    oracle = LogisticRegression(C=0.01, max_iter=5000, tol=1e-8).fit(scaler.transform(features), targets.argmax(1))
    ours = features @ probe.kernel + probe.bias
    theirs = oracle.decision_function(scaler.transform(features))
    np.testing.assert_allclose(ours - ours.mean(1, keepdims=True), theirs - theirs.mean(1, keepdims=True), atol=2e-3)


def test_predictions_out_of_fold_do_not_know_the_row():
    """On pure noise a fit is perfect on its own rows; out of fold it cannot be better than guessing."""
    draw = np.random.default_rng(1)
    features, targets = draw.normal(size=(90, 300)), np.eye(3)[np.arange(90) % 3]
    probe = fit_probe(features.astype(np.float32), targets, strengths=(1.0,))
    assert ((features @ probe.kernel + probe.bias).argmax(1) == targets.argmax(1)).mean() == 1.0
    assert (probe.logits.argmax(1) == targets[probe.rows].argmax(1)).mean() < 0.55


def test_the_strength_has_the_lowest_loss_out_of_fold():
    features, targets = blobs()
    strengths = (1e-4, 1e-2, 1.0)
    losses = {c: log_losses(fit_probe(features, targets, strengths=(c,)).logits, targets).mean() for c in strengths}
    assert fit_probe(features, targets, strengths=strengths).strength == min(losses, key=losses.get)


def test_copies_stay_in_one_fold():
    """With copies on both sides, noise could be learned by heart."""
    draw = np.random.default_rng(2)
    features = np.repeat(draw.normal(size=(30, 300)), 3, axis=0).astype(np.float32)
    targets = np.eye(2)[np.repeat(np.arange(30) % 2, 3)]
    right = {}
    for name, groups in (("loose", None), ("together", np.repeat(np.arange(30), 3))):
        probe = fit_probe(features, targets, groups=groups, strengths=(1.0,))
        right[name] = (probe.logits.argmax(1) == targets[probe.rows].argmax(1)).mean()
    assert right["loose"] > 0.95
    assert right["together"] < 0.75


def test_two_classes_and_several_labels():
    features, targets = blobs(classes=2)
    probe = fit_probe(features, targets)
    assert probe.kernel.shape == (200, 2)
    assert ((features @ probe.kernel + probe.bias).argmax(1) == targets.argmax(1)).mean() > 0.8
    labels = np.stack([targets[:, 0], np.ones(90), np.zeros(90)], 1)  # one to learn, one always and one never true
    probe = fit_probe(features, labels, multi_label=True)
    logits = features @ probe.kernel + probe.bias
    assert ((logits > 0) == (labels > 0)).mean() > 0.9
    assert (logits[:, 1] > 5).all()
    assert (logits[:, 2] < -5).all()


def test_several_labels_are_regressions_of_their_own_whatever_the_rows_have():
    features, targets = blobs(classes=2)  # every row happens to have one of two labels
    probe = fit_probe(features, targets, multi_label=True, strengths=(0.01,))
    alone = fit_probe(features, targets[:, :1], multi_label=True, strengths=(0.01,))
    np.testing.assert_allclose(probe.kernel[:, :1], alone.kernel, atol=1e-6)
    none = fit_probe(features, np.zeros((90, 2)), multi_label=True)  # labels that no row has
    assert (features @ none.kernel + none.bias < -5).all()


def test_weights_count_as_often_as_rows():
    features, targets = blobs(n=60, width=10)
    weights = np.where(targets[:, 0] > 0, 2.0, 1.0)
    twice = np.concatenate([np.arange(60), np.flatnonzero(targets[:, 0])])
    one = fit_probe(features, targets, weights=weights, strengths=(0.1,))
    # Standardised by the same rows, or the penalty would weigh the features otherwise.
    center, scale = features.mean(0), np.where(features.std(0) > 0, features.std(0), 1)
    plain = (features - center) / scale
    one = fit_probe(plain, targets, weights=weights, strengths=(0.1,))
    from sklearn.linear_model import LogisticRegression

    oracle = LogisticRegression(C=0.1, max_iter=5000, tol=1e-8).fit(plain[twice], targets[twice].argmax(1))
    ours = plain @ one.kernel + one.bias
    theirs = oracle.decision_function(plain)
    np.testing.assert_allclose(ours - ours.mean(1, keepdims=True), theirs - theirs.mean(1, keepdims=True), atol=2e-3)


def test_too_few_examples_for_folds_are_told():
    features, targets = blobs(n=7)
    probe = fit_probe(features[:4], targets[:4])  # classes of 2, 1 and 1
    assert (probe.folds, probe.strength, len(probe.rows)) == (0, WITHOUT_FOLDS, 0)
    assert "too few different examples of a class" in probe.note
    assert fit_probe(features[:6], targets[:6]).folds == 2


def test_few_examples_of_a_rare_class_do_not_stop_the_folds():
    features, targets = blobs(n=90)
    numbers = targets.argmax(1)
    numbers[0] = 3  # one example of a fourth class
    probe = fit_probe(features, np.eye(4)[numbers])
    assert (probe.folds, len(probe.rows)) == (5, 90)
    assert np.isfinite(probe.logits).all()


def test_a_part_of_many_rows_keeps_the_share_of_each_class(monkeypatch):
    from tlkit.training import probe as module

    monkeypatch.setattr(module, "_MOST_ROWS", 60)
    features, _ = blobs(n=600)
    numbers = np.r_[np.zeros(540, int), np.ones(60, int)]
    found = fit_probe(features, np.eye(2)[numbers])
    assert np.bincount(numbers[found.rows]).tolist() == [54, 6]


def test_only_one_linear_layer_is_a_place_for_it():
    def head(*layers):
        inputs = keras.Input((4,))
        return (
            keras.Model(inputs, keras.Sequential([*layers])(inputs))
            if len(layers) > 3
            else keras.Sequential([inputs, *layers])
        )

    dense = keras.layers.Dense
    assert dense_of(head(keras.layers.Dropout(0.2), dense(3))) is not None
    for other in ([dense(3), dense(3)], [dense(3, activation="relu")], [dense(3, use_bias=False)]):
        assert dense_of(head(*other)) is None


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("photos"), dict.fromkeys(CLASSES, 12))
    return tlkit.images_from_folder(folder, size=32, batch_size=8, val_fraction=0.3)


def test_a_run_with_a_probe_is_resumed_where_it_was(data, tmp_path, caplog):
    def run(directory, *, stop=False, resume=False):
        learn = tlkit.Learner(tiny_task(CLASSES), data, directory=directory, resume=resume)
        probed = learn.fit_probe()
        if not stop:
            learn.unfreeze()
            learn.fit(1, 1e-3, verbose=False)
        return learn, probed

    caplog.set_level("INFO", "tlkit")
    run(tmp_path / "stopped", stop=True)
    assert "linear probe in the head: C " in caplog.text
    resumed, probed = run(tmp_path / "stopped", resume=True)
    whole, wanted = run(tmp_path / "whole")
    assert probed == wanted
    assert {"fold_accuracy", "fold_loss", "val_accuracy", "val_loss", "strength"} <= set(probed)
    assert probed["val_accuracy"][0] > 0.8
    for one, other in zip(resumed.task.model.variables, whole.task.model.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert "already done: fitting the linear probe" in caplog.text


def test_fine_tuning_begins_with_the_probe_when_asked(data, tmp_path):
    learn = tlkit.Learner(tiny_task(CLASSES), data, directory=tmp_path / "run")
    learn.fine_tune(0, 1e-3, head="probe", verbose=False)
    measured = learn.finish().evaluate()
    (probed,) = learn.history
    assert measured.accuracy == pytest.approx(probed["val_accuracy"][0])
    assert measured.loss == pytest.approx(probed["val_loss"][0], abs=1e-5)


def test_what_cannot_be_a_probe_is_refused_before_training(data):
    def deep(features, classes):
        return keras.layers.Dense(classes)(keras.layers.Dense(4, activation="relu")(features))

    learn = tlkit.Learner(tiny_task(CLASSES), data)
    with pytest.raises(ConfigError, match="received: 'linear'; allowed: epochs, probe"):
        learn.fine_tune(1, 1e-3, head="linear")
    task = tlkit.image_classifier("mobilenet-0.25", CLASSES, size=32, weights="none", head=deep)
    learn = tlkit.Learner(task, data)
    with pytest.raises(ConfigError, match=r'dropout and one dense layer.*Dense.*by epochs: pass head="epochs"'):
        learn.fine_tune(1, 1e-3, head="probe")
    assert learn.history == []


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_softened_probe_answers_the_same_and_fits_smoothed_labels_better(multi_label):
    features, targets = blobs(spread=0.3)
    sure = fit_probe(features, targets, strengths=(10.0,), multi_label=multi_label)
    soft = sure.softened(targets, 0.2, multi_label)
    ratio = soft.kernel / sure.kernel
    assert 0.04 < ratio.flat[0] < 0.99
    np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-4)
    np.testing.assert_allclose(soft.bias, sure.bias * ratio.flat[0], rtol=1e-4)
    loss = keras.losses.BinaryCrossentropy if multi_label else keras.losses.CategoricalCrossentropy
    smoothed = loss(from_logits=True, label_smoothing=0.2)
    assert float(smoothed(targets, soft.logits)) < float(smoothed(targets, sure.logits))
    assert sure.softened(targets, 0.0, multi_label) is sure
