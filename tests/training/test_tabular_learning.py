"""A Learner on tables: values, several targets at once, and what a run keeps."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_table import FEATURES, tiny_frame, tiny_preprocessing, tiny_table_task, tiny_targets

import tlkit

COLUMNS = {"regression": ["price"], "several": ["rent in €", "sold", "price"]}


@pytest.fixture(scope="module", params=[pytest.param("regression", marks=pytest.mark.slow), "several"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def data(kind):
    frame = tiny_frame(96)[[*FEATURES, *COLUMNS[kind]]]
    known = {"preprocessing": tiny_preprocessing(), "target_specs": tiny_targets(kind)}
    return tlkit.table_from_file(frame, COLUMNS[kind], batch_size=16, val_fraction=0.25, **known)


def test_it_learns_and_a_resumed_run_ends_with_the_same_weights(kind, data, tmp_path):
    def run(resume):
        learn = tlkit.Learner(tiny_table_task(kind), data, directory=tmp_path / "run", resume=resume, steps_per_call=4)
        return learn, learn.fit(12, 0.05, verbose=False)

    learn, history = run(resume=False)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert "accuracy" not in history
    again, replayed = run(resume=True)
    assert replayed == history
    again.evaluate()
    for one, other in zip(learn.task.model.variables, again.task.model.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_best_epoch_is_the_one_with_the_lowest_validation_loss(kind, data, tmp_path):
    learn = tlkit.Learner(tiny_table_task(kind), data, directory=tmp_path / "run")
    history = learn.fit(6, 0.05, schedule="constant", verbose=False)
    last = float(learn.task.objective.loss()(*_targets_and_outputs(learn)))
    assert last == pytest.approx(history["val_loss"][-1], rel=1e-3)
    learn.finish()
    kept = float(learn.task.objective.loss()(*_targets_and_outputs(learn)))
    assert kept == pytest.approx(min(history["val_loss"]), rel=1e-3)


def _targets_and_outputs(learn):
    labels = learn.data.labels("val")
    return learn.task.objective.encode(labels), learn.logits("val")


def test_metrics_are_in_the_unit_of_the_target(kind, data):
    learn = tlkit.Learner(tiny_table_task(kind), data)
    answers = learn.task.objective.probabilities(learn.logits("val")).numpy()
    place = COLUMNS[kind].index("price")
    column = learn.task.class_names.index("price")
    errors = answers[:, column] - data.labels("val")[:, place]
    metrics = learn.evaluate()
    own = metrics if kind == "regression" else metrics["price"]
    assert own.rmse == pytest.approx(float(np.sqrt(np.mean(errors.astype(float) ** 2))), rel=1e-5)


@pytest.mark.slow
def test_several_steps_in_one_call_change_nothing(kind, data):
    weights = []
    for steps in (1, 3):
        learn = tlkit.Learner(tiny_table_task(kind), data, steps_per_call=steps)
        learn.fit(2, 0.01, verbose=False)
        assert len(learn.recorder.losses) == 2 * data.steps_per_epoch
        weights.append([variable.numpy() for variable in learn.task.model.variables])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_frozen_embeddings_stay_what_they_are(kind, data):
    task = tiny_table_task(kind)
    task.freeze_to(1)
    before = task.features.get_layer("embedding_0").embeddings.numpy()
    dense = task.features.get_layer("dense_1").kernel.numpy()
    tlkit.Learner(task, data).fit(1, 0.01, verbose=False)
    np.testing.assert_array_equal(task.features.get_layer("embedding_0").embeddings, before)
    assert not np.array_equal(task.features.get_layer("dense_1").kernel, dense)
