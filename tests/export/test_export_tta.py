"""Test-time augmentation as a signature of an export: its numbers, what is stored of it, and how it is verified."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tiny
from exports import checks_of, export_of
from tensorflow.core.protobuf import saved_model_pb2

from tlkit.errors import ConfigError, VerificationError
from tlkit.export.averaged_views import AveragedViews
from tlkit.export.hostile import bad_values
from tlkit.export.interface import Interface, interface_of
from tlkit.export.manifest import Manifest
from tlkit.export.manifest_schemas import FIRST_INTERFACE
from tlkit.export.saved_model import export_task
from tlkit.export.verify import verify_export
from tlkit.inputs.image import hostile as hostile_image
from tlkit.inputs.image.augment import Augmentation

N, BETA = 3, 0.3
CHANGES = Augmentation("side_on", max_rotation=30.0)


class Shift(Augmentation):
    """View number n is n brighter: a change whose mean can be worked out by hand."""

    def view(self, images, number):
        return tf.cast(images, tf.float32) + number


class AcrossTheBatch(Augmentation):
    """Wrong on purpose: a photo is mixed with its neighbour."""

    def view(self, images, number):
        return (images + tf.roll(images, 1, axis=0)) / 2


@pytest.fixture(scope="module")
def exported():
    """The tiny task with three views."""
    return export_of("views")


def private_copy(exported, target):
    return shutil.copytree(exported, target / "1")


def failures(export):
    return {check.name: check.reason for check in verify_export(export) if not check.ok}


def test_the_signature_mixes_probabilities_of_the_photo_and_of_its_views(exported):
    loaded = tf.saved_model.load(str(exported))
    photos = tf.constant(tiny.photos())
    task = tiny.tiny_task()
    pixels = tf.cast(task.preprocessing.batch(photos), tf.float32)

    def probabilities(images):
        logits = task.model(images, training=False).numpy().astype(np.float64)
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    plain = probabilities(pixels)
    views = [probabilities(CHANGES.view(pixels, number)) for number in (1, 2, 3)]
    assert np.abs(views[0] - plain).max() > 0.01
    assert np.abs(views[0] - views[1]).max() > 0.001
    got = loaded.signatures["tta"](image_bytes=photos)
    assert got["probabilities"].dtype == tf.float32
    np.testing.assert_allclose(got["probabilities"], 0.3 * plain + 0.7 * np.mean(views, axis=0), atol=1e-5)
    np.testing.assert_allclose(
        loaded.signatures["probabilities"](image_bytes=photos)["probabilities"], plain, atol=1e-5
    )


@pytest.mark.slow
def test_weights_and_network_are_stored_once(exported):
    reader = tf.train.load_checkpoint(str(exported / "variables" / "variables"))
    stored = [key for key in reader.get_variable_to_shape_map() if "_CHECKPOINTABLE" not in key]
    numbers = sum(reader.get_tensor(key).size for key in stored if "save_counter" not in key)
    task = tiny.tiny_task()
    assert numbers == sum(int(np.prod(v.shape)) for model in (task.features, task.head) for v in model.weights)

    def convolutions(export):
        proto = saved_model_pb2.SavedModel.FromString((export / "saved_model.pb").read_bytes())
        functions = proto.meta_graphs[0].graph_def.library.function
        return sum(node.op == "Conv2D" for function in functions for node in function.node_def)

    assert convolutions(exported) == convolutions(tiny.shared_export())


def test_the_manifest_records_it(exported):
    manifest = Manifest.read(exported)
    assert manifest.tta == {"n": N, "beta": BETA, "augmentation": CHANGES.to_dict()}
    assert manifest.signatures["tta"].inputs["image_bytes"].shape == (None,)
    assert manifest.signatures["tta"].outputs["probabilities"].shape == (None, 3)
    for example in manifest.golden:
        assert example.outputs["tta"] != example.outputs["probabilities"]
        assert sum(example.outputs["tta"]["probabilities"]) == pytest.approx(1)
    plain = Manifest.read(tiny.shared_export())
    assert plain.tta is None
    assert "tta" not in plain.signatures
    assert all("tta" not in example.outputs for example in plain.golden)


def test_every_check_covers_it():
    checks = checks_of("views")
    assert all(check.ok for check in checks.values())
    assert "tta" in checks["signature_lint"].reason
    assert checks["warmup_replay"].reason.startswith("12 requests")  # six signatures, batches of 1 and 2
    asked = (hostile_image, tiny.photos(2), interface_of(tiny.tiny_task()).model_dump(), (None, 32, 32, 3))
    plain = bad_values(*asked)
    values = bad_values(*asked, ["tta"])
    assert checks["bad_inputs"].reason.startswith(f"{len(values)} invalid inputs")
    assert [what for what, name, _ in values if name == "tta"] == [
        what for what, name, _ in plain if name == "serving_default"
    ]
    assert [value[:2] for value in values if value[1] != "tta"] == [value[:2] for value in plain]


@pytest.mark.real
def test_an_export_from_the_time_of_photos_without_it_still_verifies(tmp_path):
    export = tiny.copy_export(tmp_path)
    path = export / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["schema_version"] = 1
    for later in ("tta", "interface", "objective", "tolerances"):
        del manifest[later]
    for example in manifest["golden"]:
        outputs = example.pop("outputs")
        example |= {"image": example.pop("content")} | {name: outputs[name][name] for name in outputs}
    path.write_text(json.dumps(manifest))
    read = Manifest.read(export)
    assert read.tta is None
    assert read.interface == Interface(**FIRST_INTERFACE)
    assert read.objective == "single_label"
    assert [example.content_bytes() for example in read.golden] == tiny.photos()
    assert failures(export) == {}


@pytest.mark.real
def test_other_answers_fail_golden_parity_by_name(exported, tmp_path):
    export = private_copy(exported, tmp_path)
    golden = json.loads((export / "manifest.json").read_text())["golden"]
    golden[1]["outputs"]["tta"] = golden[1]["outputs"]["probabilities"]
    tiny.edit_manifest(export, golden=golden)
    found = failures(export)
    assert set(found) == {"golden_parity"}
    assert found["golden_parity"].startswith("tta: differs from the Keras model's answers")


@pytest.mark.real
def test_missing_answers_and_missing_warm_up_fail(exported, tmp_path):
    export = private_copy(exported, tmp_path)
    golden = json.loads((export / "manifest.json").read_text())["golden"]
    del golden[2]["outputs"]["tta"]
    warmup = export / "assets.extra" / "tf_serving_warmup_requests"
    records = list(tf.compat.v1.io.tf_record_iterator(str(warmup)))
    kept = [record for record in records if b"tta" not in record]
    assert len(kept) == len(records) - 2
    with tf.io.TFRecordWriter(str(warmup)) as writer:
        for record in kept:
            writer.write(record)
    tiny.refresh_hashes(export)
    tiny.edit_manifest(export, golden=golden)
    assert failures(export) == {
        "golden_parity": "a golden example of manifest.json has no tta: probabilities",
        "warmup_replay": "no record warms up tta from batch 1 to 2",
    }


@pytest.mark.real
def test_graph_and_manifest_must_agree_on_whether_there_is_one(exported, tmp_path):
    silent = private_copy(exported, tmp_path / "silent")
    golden = json.loads((silent / "manifest.json").read_text())["golden"]
    recorded = golden[0]["outputs"]["tta"]
    for example in golden:
        del example["outputs"]["tta"]
    tiny.edit_manifest(silent, golden=golden)
    assert "signature tta is not recorded in manifest.json" in failures(silent)["signature_lint"]
    boasting = tiny.copy_export(tmp_path / "boasting")
    golden = json.loads((boasting / "manifest.json").read_text())["golden"]
    golden[0]["outputs"]["tta"] = recorded
    tiny.edit_manifest(boasting, golden=golden)
    assert failures(boasting)["manifest_complete"] == "manifest.json is unusable: KeyError: 'tta'"


@pytest.mark.real
def test_views_that_look_at_other_photos_are_not_published(tmp_path):
    with pytest.raises(VerificationError, match="rows_independent"):
        export_task(
            tiny.tiny_task(),
            tmp_path / "m",
            golden=tiny.photos(),
            max_batch=1,
            tta=1,
            augmentation=AcrossTheBatch("side_on"),
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("n", "beta", "expected"), [(1, 0.0, 1.0), (1, 1.0, 0.0), (4, 0.0, 2.5), (4, 0.4, 1.5), (64, 0.5, 16.25)]
)
@pytest.mark.parametrize("compiled", [False, True])
def test_the_mean_in_closed_form(n, beta, expected, compiled):
    averaged = AveragedViews(n, beta, Shift("side_on"))
    pixels = tf.constant(np.random.default_rng(0).uniform(0, 99, (2, 4, 4, 3)), tf.float32)

    def mean(images):
        return tf.reduce_mean(images, axis=(1, 2))

    def answer(images):
        return averaged(mean, images)

    got = (tf.function(answer) if compiled else answer)(pixels)
    np.testing.assert_allclose(got, mean(pixels) + expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tta": -1}, "number of views .*received: -1; allowed: whole numbers from 1 to 64"),
        ({"tta": 65}, "number of views .*received: 65"),
        ({"tta": 2.5}, "number of views .*received: 2.5"),
        ({"tta": True}, "number of views .*received: True"),
        ({"tta": False}, "number of views .*received: False"),
        ({"tta": "4"}, "number of views .*received: '4'"),
        ({"tta": 4, "tta_beta": -0.1}, "beta .*received: -0.1; allowed: 0 to 1"),
        ({"tta": 4, "tta_beta": 1.5}, "beta .*received: 1.5"),
        ({"tta": 4, "tta_beta": float("nan")}, "beta .*received: nan"),
        ({"tta": 4, "tta_beta": True}, "beta .*received: True"),
        ({"tta": 4, "augmentation": None}, "test-time augmentation needs an augmentation"),
        ({"tta": 4, "augmentation": Augmentation("none")}, "and augment="),
    ],
)
def test_unusable_arguments_are_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        export_task(tiny.tiny_task(), tmp_path / "m", **{"augmentation": CHANGES, **options})
    assert list(tmp_path.iterdir()) == []
