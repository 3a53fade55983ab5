"""Every check passes on a good export, and each kind of sabotage fails the check that is named for it."""

import ast
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tiny
from typer.testing import CliRunner

from tlkit.errors import ExportError
from tlkit.export import verify as verify_module
from tlkit.export.manifest import Manifest
from tlkit.export.verify import CHECKS, verify_export
from tlkit.export.verify_answers import Facts
from tlkit.serving import op_check


def failures(export):
    return {check.name: check.reason for check in verify_export(export) if not check.ok}


def app():
    import typer

    from tlkit.cli.verify import verify

    made = typer.Typer()
    made.command()(verify)
    return made


def test_a_copy_elsewhere_passes_every_check_and_the_command_says_so(tmp_path, fresh_process):
    export = tiny.copy_export(tmp_path / "moved")
    shutil.copytree(export, tmp_path / "plain name")
    done = CliRunner().invoke(app(), [str(tmp_path / "plain name"), "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["ok"] is True
    assert [check["name"] for check in answer["checks"]] == list(CHECKS)
    assert all(check["ok"] and check["reason"] for check in answer["checks"]), answer
    assert answer["cannot_catch"]


def test_the_memory_of_the_verification_is_in_the_manifest():
    memory = Manifest.read(tiny.shared_export()).memory
    assert memory is not None
    assert 100 < memory.base_mib < memory.peak_mib < 8000


def test_memory_is_the_process_s_own_and_not_its_parent_s(fresh_process):
    held = np.ones(600 * 2**20, np.uint8)  # this process is large, the one that it starts is not
    assert held[::4096].sum() > 0
    code = (
        "import importlib.util as u, sys; s = u.spec_from_file_location('w', sys.argv[1]); m = u.module_from_spec(s); "
        "s.loader.exec_module(m); print(m.memory_mib(False), m.memory_mib(True))"
    )
    command = [sys.executable, "-I", "-c", code, str(fresh_process)]
    now, most = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert 0 < now <= most < 600


@pytest.mark.slow
def test_wrong_labels_fail(tmp_path):
    export = tiny.copy_export(tmp_path)
    (export / "assets" / "labels.txt").write_text("bees & wasps\nants\nżółw\n", encoding="utf-8")
    done = CliRunner().invoke(app(), [str(export)])
    assert done.exit_code == 1
    assert "Not checked" in done.output
    assert "FAILED" in done.output
    tiny.refresh_hashes(export)
    assert "line 1 is 'bees & wasps'" in failures(export)["labels_asset"]


@pytest.mark.slow
def test_permuted_labels_in_the_manifest_fail_golden_parity(tmp_path):
    export = tiny.copy_export(tmp_path)
    swapped = [tiny.LABELS[1], tiny.LABELS[0], tiny.LABELS[2]]
    (export / "assets" / "labels.txt").write_text("".join(f"{label}\n" for label in swapped), encoding="utf-8")
    tiny.edit_manifest(export, labels=swapped)
    tiny.refresh_hashes(export)
    found = failures(export)
    assert set(found) == {"golden_parity"}
    assert "expected" in found["golden_parity"]


def test_truncated_weights_fail_and_what_depends_on_them_did_not_run(tmp_path):
    export = tiny.copy_export(tmp_path)
    data = export / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    found = failures(export)
    assert "sha256 differs" in found["manifest_complete"]
    assert "loads_v2" in found
    assert found["golden_parity"].startswith("not run")
    assert {"fresh_process", "op_allow_list", "labels_asset"}.isdisjoint(found)


def test_a_python_function_and_a_missing_signature_fail(tmp_path):
    export = tiny.copy_export(tmp_path)
    shutil.rmtree(export / "variables")
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(image_bytes):
        size = tf.shape(image_bytes)[0]
        scores = tf.numpy_function(lambda n: np.ones((n, 3), np.float32) / 3, [size], tf.float32)
        return {"classes": tf.fill([size, 3], "x"), "scores": tf.ensure_shape(scores, [None, 3])}

    tf.saved_model.save(module, str(export), signatures={"serving_default": serve})
    tiny.refresh_hashes(export)
    found = failures(export)
    assert "PyFunc" in found["op_allow_list"]
    assert found["loads_v2"] == "not run: op_allow_list failed"

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def plain(image_bytes):
        size = tf.shape(image_bytes)[0]
        return {"classes": tf.fill([size, 3], "x"), "scores": tf.fill([size, 3], 1 / 3)}

    tf.saved_model.save(module, str(export), signatures={"serving_default": plain})
    tiny.refresh_hashes(export)
    found = failures(export)
    assert "op_allow_list" not in found
    assert "signature probabilities is missing" in found["signature_lint"]


def test_an_export_that_passes_is_not_refused_by_the_local_server(fresh_process):
    # Read, not imported: the worker's import keeps everything of tlkit from being imported after it.
    tree = ast.parse(fresh_process.read_text(encoding="utf-8"))
    (forbidden,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FORBIDDEN_OPS"
    ]
    assert forbidden >= op_check._CODE | op_check._FILES


@pytest.mark.slow
def test_a_later_version_of_a_forbidden_operation_fails(tmp_path):
    export = tiny.copy_export(tmp_path)
    shutil.rmtree(export / "variables")
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(image_bytes):
        lines = tf.raw_ops.TextLineDataset(
            filenames=image_bytes, compression_type="", buffer_size=tf.constant(0, tf.int64)
        )
        cached = tf.raw_ops.CacheDatasetV2(
            input_dataset=lines, filename="kept", cache=tf.raw_ops.DummyMemoryCache(),
            output_types=[tf.string], output_shapes=[[]],
        )  # fmt: skip
        return {"n": tf.raw_ops.DatasetCardinality(input_dataset=cached)}

    tf.saved_model.save(module, str(export), signatures={"serving_default": serve})
    tiny.refresh_hashes(export)
    assert failures(export)["op_allow_list"] == "forbidden operation CacheDatasetV2, TextLineDataset"


@pytest.mark.slow
def test_an_unlisted_file_and_a_broken_warmup_request_fail(tmp_path):
    export = tiny.copy_export(tmp_path)
    warmup = export / "assets.extra" / "tf_serving_warmup_requests"
    records = list(tf.compat.v1.io.tf_record_iterator(str(warmup)))
    with tf.io.TFRecordWriter(str(warmup)) as writer:
        for record in records:
            writer.write(record.replace(b"image_bytes", b"image_bytez"))
    tiny.refresh_hashes(export)
    with tf.io.TFRecordWriter(str(warmup)) as writer:
        writer.write(records[0])
    (export / "stray.txt").touch()
    found = failures(export)
    assert "manifest_complete" in found
    (export / "stray.txt").unlink()
    tiny.refresh_hashes(export)
    assert "no record warms up" in failures(export)["warmup_replay"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("os.abort()", "killed by SIGABRT"),
        ("sys.exit(3)", "ended early with code 3"),
    ],
)
def test_a_crash_fails_the_check_that_was_running(monkeypatch, tmp_path, code, reason):
    export = tiny.shared_export()  # made and checked once, by the real worker
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, os, sys\n"
        "print(json.dumps({'name': 'fresh_process', 'ok': True, 'reason': 'yes', 'seconds': 0.1}))\n"
        "print('noise')\n"
        "print(json.dumps({'start': 'bad_inputs', 'detail': 'a bomb'}), flush=True)\n" + code
    )
    monkeypatch.setattr(verify_module, "WORKER", worker)
    found = failures(export)
    assert reason in found["bad_inputs"]
    assert "a bomb" in found["bad_inputs"]
    assert "fresh_process" not in found
    assert "not run" in found["warmup_replay"]


def test_a_worker_that_hangs_is_ended(monkeypatch, tmp_path):
    export = tiny.shared_export()
    worker = tmp_path / "worker.py"
    worker.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(verify_module, "WORKER", worker)
    results = verify_export(export, timeout=1.0)
    assert not results[0].ok
    assert "timed out after 1 s" in results[0].reason


def test_no_export_is_one_clear_error(tmp_path):
    with pytest.raises(ExportError, match="contains no SavedModel"):
        verify_export(tmp_path)


def test_a_missing_manifest_is_called_missing(tmp_path):
    assert Facts(tmp_path).error == "manifest.json is missing"
    (tmp_path / "manifest.json").write_text("{")
    assert Facts(tmp_path).error.startswith("manifest.json is unusable: JSONDecodeError")
