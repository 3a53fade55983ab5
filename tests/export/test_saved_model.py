"""The exported graph, and publishing it: what lands on disk, and what does not when something goes wrong."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tiny

from tlkit.errors import ConfigError, DataError, ExportError, VerificationError
from tlkit.export import saved_model
from tlkit.export.manifest import LABELS_PATH, GoldenExample
from tlkit.export.predictor import SavedModelPredictor
from tlkit.export.saved_model import export_task
from tlkit.export.verify import CheckResult
from tlkit.export.warmup_requests import batch_sizes


@pytest.fixture(scope="module")
def task():
    return tiny.tiny_task()


@pytest.fixture
def unverified(monkeypatch):
    """Publishing alone: the fresh process costs seconds and is tested elsewhere."""
    monkeypatch.setattr(saved_model, "verify_export", lambda path: [CheckResult("all", True, "")])


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_export_answers_like_the_task(task):
    loaded = tf.saved_model.load(str(tiny.shared_export()))
    images = tf.constant(tiny.photos())
    pixels = tf.cast(task.preprocessing.batch(images), tf.float32)
    expected = tf.nn.softmax(task.model(pixels, training=False)).numpy()
    got = loaded.signatures["probabilities"](image_bytes=images)["probabilities"].numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)
    ranked = loaded.signatures["serving_default"](image_bytes=images)
    order = np.argsort(-expected, axis=1)
    labels = np.array(tiny.LABELS)
    assert [[c.decode() for c in row] for row in ranked["classes"].numpy()] == labels[order].tolist()
    np.testing.assert_allclose(ranked["scores"], np.take_along_axis(expected, order, 1), atol=1e-5)
    embedding = loaded.signatures["embedding"](image_bytes=images)["embedding"]
    np.testing.assert_allclose(embedding, task.features(pixels, training=False), atol=1e-4)
    raw = loaded.signatures["pixels"](pixels=pixels)
    np.testing.assert_allclose(raw["scores"], ranked["scores"], atol=1e-5)


def test_weights_are_stored_once_for_all_signatures(task):
    reader = tf.train.load_checkpoint(str(tiny.shared_export() / "variables" / "variables"))
    stored = [k for k in reader.get_variable_to_shape_map() if "_CHECKPOINTABLE" not in k]
    numbers = sum(reader.get_tensor(key).size for key in stored if "save_counter" not in key)
    used = [v for model in (task.features, task.head) for v in model.weights]
    assert numbers == sum(int(np.prod(v.shape)) for v in used)


def test_labels_and_classify_method_are_what_tensorflow_serving_reads():
    export = tiny.shared_export()
    assert (export / LABELS_PATH).read_text(encoding="utf-8").splitlines() == list(tiny.LABELS)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(export))
    assert meta.signature_def["classify"].method_name == "tensorflow/serving/classify"
    assert meta.signature_def["serving_default"].method_name == "tensorflow/serving/predict"
    fingerprint = tf.saved_model.experimental.read_fingerprint(str(export))
    assert fingerprint.saved_model_checksum


@pytest.mark.parametrize(("largest", "sizes"), [(1, [1]), (2, [1, 2]), (24, [1, 2, 4, 8, 16, 24])])
def test_warmup_batch_sizes(largest, sizes):
    assert batch_sizes(largest) == sizes


def test_versions_count_up_and_are_readable_by_other_users(task, tmp_path, unverified):
    base = tmp_path / "deep" / "photos"
    assert export_task(task, base, max_batch=1) == base / "1"
    (base / "7").mkdir()
    assert export_task(task, base, max_batch=1) == base / "8"
    assert export_task(task, base, version=3, max_batch=1) == base / "3"
    assert listing(base) == ["1", "3", "7", "8"]
    umask = os.umask(0)
    os.umask(umask)
    assert (base / "8").stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize("version", [0, -1, True, "2", 1.0])
def test_a_version_is_a_positive_integer(task, tmp_path, version):
    with pytest.raises(ExportError, match="a version must be a positive integer"):
        export_task(task, tmp_path / "m", version=version)
    assert listing(tmp_path) == []


@pytest.mark.parametrize(("folder", "name"), [("m", ".."), ("m", "a/../b"), ("m..n", None)])
def test_a_name_that_no_url_can_hold_is_refused(task, tmp_path, folder, name):
    with pytest.raises(ConfigError, match="a model name cannot contain '..' or be '.',"):
        export_task(task, tmp_path / folder, model_name=name)
    assert listing(tmp_path) == []


def test_an_existing_version_is_never_overwritten(task, tmp_path):
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "precious").touch()
    with pytest.raises(ExportError, match="version 2 already exists"):
        export_task(task, tmp_path, version=2)
    assert listing(tmp_path) == ["2"]
    assert listing(tmp_path / "2") == ["precious"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [(("a", "b\nc", "d"), "spans lines"), (("a", " ", "d"), "is empty"), (("a", "a", "b"), "not unique")],
)
def test_labels_that_no_file_can_hold_are_refused(tmp_path, labels, message):
    with pytest.raises(ExportError, match=message):
        export_task(tiny.tiny_task(labels), tmp_path / "m")
    assert listing(tmp_path) == []


def test_a_base_that_is_a_file_is_refused(task, tmp_path):
    (tmp_path / "m").touch()
    with pytest.raises(ExportError, match="is a file"):
        export_task(task, tmp_path / "m")


def test_a_failed_check_publishes_nothing(task, tmp_path, monkeypatch):
    failed = [CheckResult("loads_v2", True, ""), CheckResult("golden_parity", False, "differ by 0.3")]
    monkeypatch.setattr(saved_model, "verify_export", lambda path: failed)
    with pytest.raises(VerificationError, match=r"golden_parity \(differ by 0.3\)") as caught:
        export_task(task, tmp_path / "new" / "m", max_batch=1)
    assert caught.value.exit_code == 1
    assert listing(tmp_path) == []


def test_wrong_numbers_are_caught_by_the_fresh_process(task, tmp_path, monkeypatch):
    honest = saved_model.golden_examples

    def sabotaged(*args):
        return [
            GoldenExample(
                content=e.content,
                outputs=e.outputs
                | {"probabilities": {"probabilities": e.outputs["probabilities"]["probabilities"][::-1]}},
            )
            for e in honest(*args)
        ]

    monkeypatch.setattr(saved_model, "golden_examples", sabotaged)
    (tmp_path / "1").mkdir()
    with pytest.raises(VerificationError, match="golden_parity"):
        export_task(task, tmp_path, max_batch=1)
    assert listing(tmp_path) == ["1"]


NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
NO_SPACE_IN_TF = tf.errors.ResourceExhaustedError(None, None, "disk; No space left on device")


@pytest.mark.parametrize(
    ("step", "fault", "raised", "message"),
    [
        pytest.param("mark_classify", NO_SPACE_IN_TF, ExportError, "no space left", marks=pytest.mark.slow),
        ("write_warmup", NO_SPACE, ExportError, "no space left"),
        pytest.param("_sync", NO_SPACE, ExportError, "no space left", marks=pytest.mark.slow),
        pytest.param(
            "_sync", PermissionError(errno.EACCES, "denied"), ExportError, "not writable", marks=pytest.mark.slow
        ),
        pytest.param("_sync", RuntimeError("a bug"), RuntimeError, "a bug", marks=pytest.mark.slow),
        ("write_warmup", KeyboardInterrupt(), KeyboardInterrupt, None),
        ("verify_export", KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_whatever_fails_midway_leaves_the_base_as_it_was(
    task, tmp_path, monkeypatch, unverified, step, fault, raised, message
):
    def fail(*args):
        raise fault

    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "kept").touch()
    monkeypatch.setattr(saved_model, step, fail)
    with pytest.raises(raised, match=message):
        export_task(task, tmp_path, max_batch=1)
    assert listing(tmp_path) == ["1"]
    assert listing(tmp_path / "1") == ["kept"]


@pytest.mark.slow
def test_two_exporters_at_once_get_two_versions(task, tmp_path, monkeypatch):
    def other_exporter_wins(path):
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "theirs").touch()
        return [CheckResult("all", True, "")]

    monkeypatch.setattr(saved_model, "verify_export", other_exporter_wins)
    with pytest.raises(ExportError, match="version 1 already exists"):
        export_task(task, tmp_path, version=1, max_batch=1)
    assert listing(tmp_path) == ["1"]
    (tmp_path / "1" / "theirs").unlink()
    (tmp_path / "1").rmdir()
    assert export_task(task, tmp_path, max_batch=1) == tmp_path / "2"
    assert listing(tmp_path / "1") == ["theirs"]


def test_the_rename_itself_does_not_overwrite(task, tmp_path, monkeypatch, unverified):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "theirs").touch()
    real = os.path.lexists
    monkeypatch.setattr(saved_model.os.path, "lexists", lambda p: False)  # they publish right after we looked
    with pytest.raises(ExportError, match="version 1 already exists"):
        export_task(task, tmp_path, version=1, max_batch=1)
    monkeypatch.setattr(saved_model.os.path, "lexists", real)
    assert listing(tmp_path) == ["1"]
    assert listing(tmp_path / "1") == ["theirs"]


@pytest.mark.slow
def test_leftovers_of_dead_processes_are_removed_and_of_living_ones_kept(task, tmp_path, unverified):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    with saved_model._working_folder(tmp_path, None) as mine:
        dead = tmp_path / mine.name.replace(f"-{os.getpid()}-", f"-{done.pid}-")
        dead.mkdir()
        elsewhere = tmp_path / f".tmp-1-another.host-{done.pid}-abcd"
        elsewhere.mkdir()
        export_task(task, tmp_path, max_batch=1)
        assert listing(tmp_path) == sorted([mine.name, elsewhere.name, "1"])


@pytest.mark.slow
def test_mixed_precision_scores_are_float32(tmp_path, unverified):
    mixed = tiny.tiny_task(policy="mixed_bfloat16")
    loaded = tf.saved_model.load(str(export_task(mixed, tmp_path, max_batch=1)))
    for name, key in (
        ("serving_default", "scores"),
        ("embedding", "embedding"),
        ("probabilities", "probabilities"),
    ):
        assert loaded.signatures[name].structured_outputs[key].dtype == tf.float32


def test_predictor_names_the_file_that_is_no_image(tmp_path):
    paths = []
    for i, picture in enumerate(tiny.photos(3)):
        paths.append(tmp_path / f"{i}.img")
        paths[-1].write_bytes(picture)
    predictor = SavedModelPredictor(tiny.shared_export().parent, batch_size=2)
    answers = predictor.predict(paths, top=2)
    assert [answer["input"] for answer in answers] == [str(path) for path in paths]
    assert all(len(answer["classes"]) == 2 and answer["scores"][0] >= answer["scores"][1] for answer in answers)
    assert predictor.predict(paths[2:])[0]["classes"][:2] == answers[2]["classes"]
    paths[1].write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"1\.img is not an image"):
        predictor.predict(paths)
    with pytest.raises(DataError, match="does not exist"):
        predictor.predict([tmp_path / "missing.jpg"])
