"""Exports of calibrated models: their scores, raw logits, conformal sets and intervals."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from exports import trusted
from tiny_table import tiny_frame, tiny_table_task

from tlkit.errors import ConfigError, ExportError
from tlkit.export.manifest import Manifest
from tlkit.export.predictor import SavedModelPredictor
from tlkit.export.saved_model import export_task

#: outputs of the signature conformal: the place of the target, and the part of its region
NAMES = {
    "single_label": {"in_set": (0, "in_set")},
    "multi_label": {"in_set": (0, "in_set")},
    "regression": {"lower": (0, "lower"), "upper": (0, "upper")},
    "several": {
        "rent_in_lower": (0, "lower"), "rent_in_upper": (0, "upper"), "sold_in_set": (1, "in_set"),
        "price_lower": (2, "lower"), "price_upper": (2, "upper"),
    },
}  # fmt: skip


def calibrated(kind):
    """Return a task with a calibration as if it were fitted, and encoded rows."""
    task = tiny_table_task(kind)
    encoded = task.preprocessing.batch(tf.constant(golden()))
    trusted(task, encoded, moved=(2.0, 0.1)).set_novelty(None)
    return task, encoded


def golden():
    return tiny_table_task("regression").preprocessing.to_examples(tiny_frame())


@pytest.mark.parametrize("kind", NAMES)
def test_scores_are_calibrated_and_raw_outputs_have_a_signature(kind, tmp_path):
    task, encoded = calibrated(kind)
    path = export_task(task, tmp_path / "m", golden=golden()[:3], max_batch=1, level=0.8)
    manifest = Manifest.read(path)
    assert manifest.calibration["level"] == 0.8
    loaded = tf.saved_model.load(str(path))
    first = manifest.golden[0].outputs
    outputs = task.model(encoded, training=False)[:1]
    if kind == "regression":
        assert "logits" not in manifest.signatures
    else:
        np.testing.assert_allclose(first["logits"]["logits"], outputs[0], atol=1e-5)
    answers = manifest.interface.answers
    np.testing.assert_allclose(first[answers][answers], task.objective.probabilities(outputs)[0], rtol=1e-5)
    regions = task.objective.regions(outputs, 0.8)
    assert set(first["conformal"]) == set(NAMES[kind])
    for name, (place, part) in NAMES[kind].items():
        np.testing.assert_allclose(first["conformal"][name], regions[place][part][0], rtol=1e-5)
    rows = tiny_frame(targets=False)
    (record,) = SavedModelPredictor(path, trust=True).predict([rows.iloc[0].to_dict()])
    assert record["conformal"].pop("level") == 0.8
    assert set(record["conformal"]) == {name.replace("in_set", "set") for name in NAMES[kind]}
    for name, value in record["conformal"].items():
        given = first["conformal"][name.removesuffix("set") + "in_set" if name.endswith("set") else name]
        if name.endswith("set"):
            classes = next(one.class_names for one in task.objective.targets if len(one.class_names) == len(given))
            assert value == [label for label, inside in zip(classes, given, strict=True) if inside]
        else:
            assert value == pytest.approx(given, rel=1e-5)
    assert set(loaded.signatures["conformal"].structured_outputs) == set(first["conformal"])


def test_the_level_is_checked_before_anything_is_written(tmp_path):
    task, _ = calibrated("regression")
    with pytest.raises(ConfigError, match="invalid conformal level"):
        export_task(task, tmp_path / "m", max_batch=1, level=1.5)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("level", [7, 0.9])
def test_a_level_of_a_model_that_was_not_calibrated_is_refused(tmp_path, level):
    with pytest.raises(ConfigError, match=r"this model is not calibrated; received: .*train\.calibrate = true"):
        export_task(tiny_table_task("regression"), tmp_path / "m", max_batch=1, level=level)
    assert not (tmp_path / "m").exists()


def test_a_model_that_was_not_calibrated_has_nothing_to_say_of_trust(tmp_path):
    path = export_task(tiny_table_task("regression"), tmp_path / "m", max_batch=1)
    with pytest.raises(ExportError, match=r"neither conformal.*train\.calibrate = true"):
        SavedModelPredictor(path, trust=True)
