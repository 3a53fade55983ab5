"""The distance of an item to the training data, in a task, a run and an export."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors
from tiny_table import tiny_frame

import tlkit
from tlkit.errors import TrainingError
from tlkit.export.manifest import Manifest
from tlkit.models.novelty import Novelty
from tlkit.training.novelty import fit_novelty
from tlkit.training.run_state import read_novelty


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    frame = tiny_frame(n=200)[["colour", "distance", "sold"]]
    data = tlkit.table_from_file(frame, "sold", batch_size=32)
    task = tlkit.tabular_model(data.preprocessing, data.targets, hidden=(8,))
    learn = tlkit.Learner(task, data, directory=tmp_path_factory.mktemp("run"))
    learn.fit(1, 1e-2, verbose=False)
    return learn.finish(calibrate=True)


def test_it_is_the_distance_to_the_kth_neighbour():
    draw = np.random.default_rng(0)
    core, items = draw.normal(size=(40, 6)).astype(np.float32), draw.normal(size=(7, 6)).astype(np.float32)
    core /= np.linalg.norm(core, axis=1, keepdims=True)
    theirs = NearestNeighbors(n_neighbors=5, metric="cosine").fit(core).kneighbors(items)[0][:, -1]
    np.testing.assert_allclose(Novelty(core, 5, 0.1, 10)(tf.constant(items)), theirs, atol=1e-5)
    few = Novelty(core[:3], 5, 0.1, 10)(tf.constant(items))  # the last one counts
    theirs = NearestNeighbors(n_neighbors=3, metric="cosine").fit(core[:3]).kneighbors(items)[0][:, -1]
    np.testing.assert_allclose(few, theirs, atol=1e-5)


def test_of_validation_data_five_percent_are_outliers(learner):
    novelty, data = learner.task.novelty, learner.data
    batches = [learner.task.features(batch[0], training=False) for batch in data.ordered("val")]
    distances = np.concatenate([novelty(batch).numpy() for batch in batches])
    assert novelty.examples == len(distances)
    assert (distances > novelty.threshold).mean() == pytest.approx(0.05, abs=0.03)
    np.testing.assert_allclose(np.linalg.norm(novelty.core, axis=1), 1, atol=1e-5)
    again = fit_novelty(learner.task, data)
    np.testing.assert_array_equal(again.core, novelty.core)


def test_with_few_validation_items_there_is_none(learner, caplog):
    few = tlkit.table_from_file(tiny_frame(n=80)[["colour", "distance", "sold"]], "sold", batch_size=32)
    assert len(few.labels("val")) < 30
    assert fit_novelty(learner.task, few) is None
    assert "distance to the training data: skipped, because val has " in caplog.text


def test_a_run_keeps_it_beside_its_weights(learner):
    folder = learner._run.state.directory
    plain = json.loads((folder / "run.json").read_text())["novelty"]
    kept = read_novelty(folder, plain)
    np.testing.assert_array_equal(kept.core, learner.task.novelty.core)
    assert kept.threshold == learner.task.novelty.threshold
    assert read_novelty(folder, None) is None
    with pytest.raises(TrainingError, match=r"cannot be read.*novelty\.npz"):
        read_novelty(folder / "nowhere", plain)


def test_exports_have_it_and_are_held_to_it(learner, tmp_path):
    path = learner.export(tmp_path / "m")
    manifest = Manifest.read(path)
    assert manifest.novelty == learner.task.novelty.to_dict()
    recorded = [example.outputs["trust"] for example in manifest.golden]
    assert {"distance", "outlier"} == set(recorded[0])
    loaded = tf.saved_model.load(str(path)).signatures["trust"]
    found = loaded(colour=tf.constant(["red"]), distance=tf.constant([3.0]))
    encoded = learner.task.preprocessing.encode({"colour": tf.constant(["red"]), "distance": tf.constant([3.0])})
    expected = learner.task.novelty(learner.task.features(encoded, training=False))
    np.testing.assert_allclose(found["distance"], expected, atol=1e-5)
    assert found["outlier"].numpy() == (expected.numpy() > learner.task.novelty.threshold)


def test_without_calibration_there_is_none(learner):
    learner.finish()
    assert learner.task.novelty is None
    assert not (learner._run.state.directory / "novelty.npz").exists()
