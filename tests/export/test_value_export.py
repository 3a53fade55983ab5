"""Exports of images whose answers are no classes: named outputs, verified, predicted and served alike."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tiny
from exports import checks_of, export_of

from tlkit.export.interface import interface_of
from tlkit.export.manifest import Manifest
from tlkit.export.predictor import SavedModelPredictor
from tlkit.export.records import named_arrays, records_of
from tlkit.export.saved_model import export_task
from tlkit.export.verify import verify_export
from tlkit.predicting.answer_columns import AnswerColumns
from tlkit.serving.records import answers_of

task_of = tiny.tiny_value


def numbers_of(task, contents):
    pixels = tf.cast(task.preprocessing.batch(tf.constant(contents)), tf.float32)
    return task.objective.probabilities(task.model(pixels, training=False)).numpy()


@pytest.fixture(scope="module")
def exported():
    """The survival task with views for test-time augmentation, verified."""
    assert all(check.ok for check in checks_of("risks").values())
    return task_of("survival"), export_of("risks")


def test_a_risk_has_a_curve_and_answers_as_the_model(exported, tmp_path):
    task, export = exported
    manifest = Manifest.read(export)
    (output,) = manifest.interface.outputs
    assert (output.value, output.curve, output.times) == ("risk", "risk_survival", (30.0, 365.0))
    assert manifest.labels == ["risk", "survival at 30", "survival at 365"]
    assert set(manifest.signatures) == {"serving_default", "predictions", "embedding", "pixels", "tta"}
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, content in zip(files, tiny.photos(), strict=True):
        file.write_bytes(content)
    records = SavedModelPredictor(export).predict(files)
    expected = numbers_of(task, tiny.photos())
    for record, row in zip(records, expected, strict=True):
        assert record.keys() == {"input", "predictions", "survival"}
        assert record["predictions"]["risk"] == pytest.approx(row[0], abs=1e-5)
        assert list(record["survival"]) == ["30", "365"]
        np.testing.assert_allclose(list(record["survival"].values()), row[1:], atol=1e-5)
    columns = AnswerColumns.of(manifest)
    assert columns.names == ["predicted_risk", "survival_30", "survival_365"]
    assert columns.of_record(records[0])["predicted_risk"] == records[0]["predictions"]["risk"]


def test_verification_finds_a_curve_that_rises_and_one_that_is_another(exported, tmp_path):
    import json
    import shutil

    _, export = exported
    copy = shutil.copytree(export, tmp_path / "risk" / "1")
    path = copy / "manifest.json"
    document = json.loads(path.read_text())
    document["golden"][0]["outputs"]["predictions"]["predictions"][2] += 0.01
    path.write_text(json.dumps(document))
    failed = {check.name: check.reason for check in verify_export(copy) if not check.ok}
    assert "golden_parity" in failed
    from tlkit.export.verify_answers import Answers, CheckError, Facts

    facts = Facts(export)
    answers = object.__new__(Answers)
    answers.facts = facts
    answers.check_scores("fine", np.array([[0.3, 0.9, 0.4]]), 1)
    with pytest.raises(CheckError, match="rises with time"):
        answers.check_scores("odd", np.array([[0.3, 0.4, 0.9]]), 1)


@pytest.mark.parametrize("kind", tiny.value_targets())
def test_every_target_has_names_of_its_own(kind):
    task = task_of(kind)
    interface = interface_of(task)
    assert interface.content == "image"
    assert interface.answers == "predictions"
    assert interface.example_signature == ("regress" if kind in ("regression", "cox") else "")
    names = {name for output in interface.outputs for name in output.names}
    assert (
        names
        == {
            "regression": {"price"},
            "several": {"price", "colour_classes", "colour_scores"},
            "survival": {"risk", "risk_survival"},
            "cox": {"risk"},
        }[kind]
    )
    numbers = numbers_of(task, tiny.photos())
    found = records_of(["a", "b", "c"], named_arrays(numbers, interface.outputs), interface.outputs, None)
    values = [record["predictions"][interface.outputs[0].target] for record in found]
    np.testing.assert_allclose(values, numbers[:, 0], rtol=1e-6)
    if kind == "several":
        assert set(found[0]["classes"]["colour"]) == {"red", "blue"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["regression", "several", "cox"])
def test_they_are_exported_and_verified(kind, tmp_path):
    export = export_task(task_of(kind), tmp_path / kind, golden=tiny.photos(), max_batch=4)
    manifest = Manifest.read(export)
    assert [one.names for one in answers_of(manifest.signatures["serving_default"], manifest)] == [
        output.names for output in manifest.interface.outputs
    ]
