"""The drift baseline of an export: what it holds of each kind of input, and of the answers of each kind of target."""

from __future__ import annotations

import logging

import numpy as np
import photos
import pytest
import tensorflow as tf
import tiny
from tiny_table import tiny_frame

import tlkit
from tlkit.export.arguments import arguments_of
from tlkit.export.baseline import Baseline, answers_of
from tlkit.export.manifest import Manifest
from tlkit.inputs.row.columns import Categorical, Continuous, Date
from tlkit.inputs.row.drift import statistics as row_statistics
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.text.drift import statistics as text_statistics
from tlkit.targets.multi_label import MultiLabel
from tlkit.training.baseline import DISTANCE, measure_baseline


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    frame = tiny_frame(n=240)[["colour", "distance", "sold"]]
    data = tlkit.table_from_file(frame, "sold", batch_size=32)
    task = tlkit.tabular_model(data.preprocessing, data.targets, hidden=(8,))
    learn = tlkit.Learner(task, data, directory=tmp_path_factory.mktemp("run"))
    learn.fit(1, 1e-2, verbose=False)
    return learn.finish(calibrate=True)


def test_an_export_has_the_statistics_of_its_validation_data(learner, tmp_path):
    path = learner.export(tmp_path / "m")
    manifest = Manifest.read(path)
    baseline = Baseline.read(path, manifest)
    count = len(learner.data.labels("val"))
    assert manifest.drift["items"] == count
    assert manifest.drift["sha256"] == manifest.files[manifest.drift["path"]]
    names = {one.source: [] for one in baseline.bins}
    for one in baseline.bins:
        names[one.source].append(one.name)
        assert baseline.sketch.counts[one.name].sum() == count
    assert names == {
        "input": ["colour", "distance", "missing cells"],
        "prediction": ["predicted sold", "score of predicted sold"],
        "embedding": [DISTANCE],
    }
    # What the export answers about the same rows falls into the same bins.
    contents = learner.data.contents("val", np.arange(count))
    loaded = tf.saved_model.load(str(path))
    arguments = {name: tf.constant(value) for name, value in arguments_of(contents, manifest.interface).items()}
    for signature in ("serving_default", "probabilities"):
        found = {key: value.numpy() for key, value in loaded.signatures[signature](**arguments).items()}
        values = baseline.predicted(answers_of(found, manifest))
        for one in baseline.bins:
            if one.source == "prediction":
                difference = np.abs(one.count(values[one.name]) - baseline.sketch.counts[one.name]).sum()
                assert difference <= 4, (signature, one.name)  # rounding moves a value over an edge


def test_predictions_need_no_further_pass_over_the_data(learner, tmp_path, monkeypatch):
    ordered = learner.data.ordered
    asked = []
    monkeypatch.setattr(learner.data, "ordered", lambda split: asked.append(split) or ordered(split))
    other = tlkit.Learner(learner.task, learner.data)
    monkeypatch.setattr("tlkit.training.learner.export_task", lambda *args, **options: options["baseline"])
    assert other.export(tmp_path / "m").sketch.items == len(learner.data.labels("val"))
    assert asked == ["val"]


def test_too_few_items_give_no_baseline(caplog):
    frame = tiny_frame(n=60)[["colour", "distance", "sold"]]
    data = tlkit.table_from_file(frame, "sold", batch_size=32)
    task = tlkit.tabular_model(data.preprocessing, data.targets, hidden=(8,))
    features = np.zeros((len(data.labels("val")), task.features.output_shape[-1]), np.float32)
    caplog.set_level(logging.WARNING, "tlkit")
    assert len(features) < 30
    assert measure_baseline(task, data, features) is None
    assert "drift baseline: left out, because val has" in caplog.text


def test_images_are_described_as_people_see_them(tmp_path):
    photos.write_folder(tmp_path / "images", {"ants": 90, "bees": 90})
    data = tlkit.images_from_folder(tmp_path / "images", size=32)
    task = tiny.tiny_task(("ants", "bees"))
    features = np.random.default_rng(0).normal(size=(len(data.labels("val")), task.features.output_shape[-1]))
    found = measure_baseline(task, data, features.astype(np.float32))
    names = [one.name for one in found.bins if one.source == "input"]
    assert names == ["format", "width", "height", "aspect ratio", "file size", "brightness", "contrast", "saturation"]
    bins = {one.name: one for one in found.bins}
    counts = {
        name: dict(zip(one.labels, found.sketch.counts[name].tolist(), strict=True)) for name, one in bins.items()
    }
    assert counts["format"] == {"jpeg": len(features), "(other)": 0, "(missing)": 0}
    assert counts["width"]["48"] == len(features)
    sizes = [len(content) for content in data.contents("val", np.arange(len(features)))]
    np.testing.assert_array_equal(bins["file size"].count(np.array(sizes)), found.sketch.counts["file size"])


def test_texts_are_described_as_people_see_them():
    texts = ["what a film", "ein sehr schöner Film, den ich gern noch einmal sehen würde", "", "naÃ¯ve"]
    contents = np.array([text.encode() for text in texts], object)
    found = text_statistics({})({"text": contents})
    assert found["characters"].values.tolist() == [len(text) for text in texts]
    assert found["words"].values.tolist() == [3, 11, 0, 1]
    assert found["language"].values.tolist() == ["unclear", "de", "unclear", "unclear"]
    assert found["script"].values.tolist() == ["LATIN", "LATIN", "none", "LATIN"]
    assert found["encoding"].values.tolist() == ["plain", "other", "plain", "broken"]
    assert found["non-ASCII characters"].values[1] == pytest.approx(2 / len(texts[1]))


def test_columns_are_described_as_training_knows_them():
    columns = (
        Categorical("shop", "shop", "int64", ("1", "2")),
        Categorical("kind", "kind", "string", ("a", "b"), missing=("?",)),
        Categorical("open", "open", "string", ("false", "true"), boolean=True),
        Continuous("area", "area"),
        Date("day", "day", form="%m/%d/%Y"),
        Categorical("hashed", "hashed", "string", hash_buckets=4),
    )
    table = TablePreprocessing(columns, missing=("NA",))
    arguments = {
        "shop": np.array([1, 3, -(2**63)]),
        "kind": np.array([b" a ", b"?", b"new"], object),
        "open": np.array([b"Yes", b"0", b""], object),
        "area": np.array([1.5, np.nan, np.inf]),
        "day": np.array([b"6/23/2014", b"NA", b"nonsense"], object),
        "hashed": np.array([b"x", b"NA", b"y"], object),
    }
    found = row_statistics(table.to_dict())(arguments)
    assert found["shop"].values.tolist() == ["1", "(unseen)", ""]
    assert found["kind"].values.tolist() == ["a", "", "(unseen)"]
    assert found["open"].values.tolist() == ["true", "false", ""]
    np.testing.assert_array_equal(found["area"].values, [1.5, np.nan, np.nan])
    assert found["day (day of the week)"].values.tolist() == ["Monday", "", ""]
    assert found["hashed"].values.tolist() == ["x", "", "y"]
    assert found["missing cells"].values.tolist() == [0, 4, 4]


def test_labels_are_watched_one_by_one_up_to_twenty():
    few = MultiLabel("", ("a", "b"), (0.2, 0.7)).watched()
    assert [one["name"] for one in few] == ["number of predicted labels", "a is predicted", "b is predicted"]
    assert few[2] == {"name": "b is predicted", "how": "above", "place": 1, "limits": (0.7,)}
    many = MultiLabel("", tuple(f"l{n}" for n in range(21))).watched()
    assert [one["name"] for one in many] == ["number of predicted labels", "label with the highest score"]
