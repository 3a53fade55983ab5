"""The checks of a running server: a good one passes them all, and each way to be wrong fails the check of its name."""

import re
import shutil
import socket
from pathlib import Path

import fake_serving
import numpy as np
import pytest
import tiny
import tiny_table
from fake_serving import FakeGrpc, FakeRest, RefusedError, export_model

from tlkit.errors import ConfigError, ExportError
from tlkit.export import saved_model
from tlkit.export.manifest import Manifest
from tlkit.export.saved_model import export_task
from tlkit.serving import canary
from tlkit.serving.canary import CHECKS, verify_server

SERVERS = {"rest": FakeRest, "grpc": FakeGrpc}


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """An export of each kind of content, by what golden examples can drive; the real checks have tests of their own."""
    folder = tmp_path_factory.mktemp("exports")
    patch = pytest.MonkeyPatch()
    patch.setattr(saved_model, "verify_export", lambda path: [])
    made = {"photos": Path(shutil.copytree(tiny.shared_export().parent, folder / "photos"))}
    frame = tiny_table.tiny_frame(3, targets=False)
    for kind in ("regression", "several"):
        task = tiny_table.tiny_table_task(kind)
        golden = task.preprocessing.to_examples(frame)
        made[kind] = export_task(task, folder / kind, golden=golden, max_batch=4).parent
    patch.undo()
    return made


@pytest.fixture(scope="module")
def models(exports):
    return {kind: export_model(base / "1", Manifest.read(base / "1").model_name) for kind, base in exports.items()}


@pytest.fixture
def photos(exports, models, monkeypatch):
    """Base path and model; what a test changes of the model comes back."""
    model = models["photos"]
    monkeypatch.setattr(model, "signatures", dict(model.signatures))
    monkeypatch.setattr(model, "states", dict(model.states))
    monkeypatch.setattr(model, "version", model.version)
    monkeypatch.setattr(canary, "_sleep", lambda seconds: None)
    return exports["photos"], model


def failed(results):
    assert [check.name for check in results] == list(CHECKS)
    return {check.name: check.reason for check in results if not check.ok}


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.parametrize("kind", ["photos", "regression", "several"])
def test_the_right_server_passes_every_check(exports, models, kind, protocol):
    with SERVERS[protocol](models[kind]) as server:
        results = verify_server(server.url, exports[kind])
    assert failed(results) == {}
    reasons = {check.name: check.reason for check in results}
    assert reasons["version"] == "version 1 is AVAILABLE"
    assert "largest difference" in reasons["golden_answers"]
    examples = {"photos": "3 images through classify", "regression": "5 rows through regress",
                "several": "no signature takes tf.Examples"}[kind]  # fmt: skip
    assert reasons["golden_examples"] == examples
    assert "junk for an image" in reasons["bad_requests"] or kind != "photos"


def changed(signature, change):
    """A signature whose answers are altered by a function of name and array."""

    def function(arrays):
        return {name: change(name, value) for name, value in signature.function(arrays).items()}

    return fake_serving.Signature(signature.inputs, signature.outputs, function, signature.method)  # fmt: skip


def shifted(name, value):
    return value + np.float32(1e-3) if value.dtype == np.float32 else value


@pytest.mark.parametrize(
    ("signature", "change", "check", "reason"),
    [
        ("probabilities", shifted, "golden_answers", "differs from the Keras model's answers by 0.001"),
        ("probabilities", lambda name, value: value[:, :2], "golden_answers", r"shape \(3, 2\), expected \(3, 3\)"),
        ("serving_default", shifted, "golden_default", "scores .* expected"),
        ("serving_default", lambda name, value: value[:, ::-1], "golden_default", "not in descending order"),
        ("serving_default", lambda name, value: np.full_like(value, b"x") if name == "classes" else value,
         "golden_default", "are not the labels of manifest.json"),
        ("embedding", shifted, "golden_embedding", "embedding: differs from the Keras model's embedding"),
        ("embedding", lambda name, value: value[:, 1:], "golden_embedding", "embedding of shape"),
        ("classify", shifted, "golden_examples", "classify: .*scores .* expected"),
    ],
)  # fmt: skip
def test_wrong_answers_fail_the_check_of_their_name(photos, signature, change, check, reason):
    base, model = photos
    model.signatures[signature] = changed(model.signatures[signature], change)
    with FakeRest(model) as server:
        found = failed(verify_server(server.url, base))
    assert check in found
    assert set(found) <= {check, "rows_independent"}
    assert re.search(reason, found[check]), found[check]


def test_rows_that_lean_on_their_neighbours_are_found(photos):
    base, model = photos
    real = model.signatures["probabilities"]

    def leaning(arrays):
        found = real.function(arrays)["probabilities"]
        return {"probabilities": found + np.float32(1e-3) * (len(found) == 1)}

    model.signatures["probabilities"] = fake_serving.Signature(real.inputs, real.outputs, leaning)
    with FakeRest(model) as server:
        found = failed(verify_server(server.url, base))
    assert set(found) == {"rows_independent"}
    assert "alone and among others differ by 0.001" in found["rows_independent"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("pixels"), "pixels is missing"),
        (lambda s: s.update(more=s["pixels"]), "more is not in the manifest"),
        (lambda s: setattr_copy(s, "classify", method="tensorflow/serving/predict"), "classify: method"),
        (lambda s: setattr_copy(s, "pixels", inputs={"pixels": ("uint8", (None, 32, 32, 3))}),
         r"pixels: pixels is uint8 \[\?, 32, 32, 3\] instead of float32 \[\?, 32, 32, 3\]"),
        (lambda s: setattr_copy(s, "pixels", inputs={"pixel": ("float32", None)}), "pixels: inputs .'pixel'. instead"),
        (lambda s: setattr_copy(s, "embedding", outputs={"embedding": ("float32", None)}), "float32 of any shape"),
    ],
)  # fmt: skip
def test_other_signatures_are_found(photos, change, reason):
    base, model = photos
    change(model.signatures)
    with FakeRest(model) as server:
        found = failed(verify_server(server.url, base))
    assert re.search(reason, found["signatures"]), found


def setattr_copy(signatures, name, **changes):
    one = signatures[name]
    fields = {"inputs": one.inputs, "outputs": one.outputs, "method": one.method, **changes}
    signatures[name] = fake_serving.Signature(function=one.function, **fields)


def test_another_version_is_not_the_export(photos, tmp_path):
    base, model = photos
    shutil.copytree(base / "1", tmp_path / "photos" / "2")
    with FakeRest(model) as server:
        found = failed(verify_server(server.url, tmp_path / "photos"))
        assert found["version"] == "version 2 is missing; the server has 1 AVAILABLE"
        assert found["golden_answers"] == "not run: version failed"
        assert set(found) == set(CHECKS) - {"ready"}
        model.states[2] = "LOADING"
        found = failed(verify_server(server.url, tmp_path / "photos", wait=0.1))
        assert "version 2 is LOADING" in found["version"]
        model.states[2] = "AVAILABLE"
        results = verify_server(server.url, tmp_path / "photos")
    assert failed(results) == {}
    assert results[1].reason == "version 2 is AVAILABLE; requests without a version go to 1"


def test_a_version_that_loads_is_waited_for(photos, monkeypatch):
    base, model = photos
    model.states.update({1: "LOADING", 3: "AVAILABLE"})
    model.version = 3
    monkeypatch.setattr(canary, "_sleep", lambda seconds: model.states.update({1: "AVAILABLE"}))
    with FakeRest(model) as server:
        assert failed(verify_server(server.url, base)) == {}


def test_a_folder_without_a_number_takes_the_servers_choice(photos, tmp_path):
    base, model = photos
    shutil.copytree(base / "1", tmp_path / "copy")
    with FakeRest(model) as server:
        results = verify_server(server.url, tmp_path / "copy")
        wrong = verify_server(server.url, tmp_path / "copy", name="else", wait=0.1)
    assert failed(results) == {}
    assert results[1].reason == "version 1 is served; the export's folder has no version number to compare with"
    assert "Servable not found for request: Latest(else)" in failed(wrong)["ready"]


def test_no_server_fails_the_first_check_and_the_others_are_not_run(photos):
    base, _ = photos
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        found = failed(verify_server(url, base, wait=0.1))
    assert "does not respond" in found["ready"]
    assert found["bad_requests"] == "not run: ready failed"


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_server_that_answers_a_wrong_request_otherwise_is_found(photos, protocol):
    base, model = photos
    real = model.signatures["probabilities"]

    def careless(arrays):
        try:
            return real.function(arrays)
        except RefusedError as error:
            raise RefusedError("INTERNAL", "something broke") from error

    model.signatures["probabilities"] = fake_serving.Signature(real.inputs, real.outputs, careless)
    with SERVERS[protocol](model) as server:
        found = failed(verify_server(server.url, base))
    assert found == {"bad_requests": "junk for an image: INTERNAL instead of INVALID_ARGUMENT"}


def test_a_server_that_is_changed_by_a_wrong_request_is_found(photos):
    base, model = photos
    real, broken = model.signatures["probabilities"], []

    def breaking(arrays):
        try:
            found = real.function(arrays)
        except RefusedError:
            broken.append(True)
            raise
        return {name: value + np.float32(len(broken)) for name, value in found.items()}

    model.signatures["probabilities"] = fake_serving.Signature(real.inputs, real.outputs, breaking)
    with FakeRest(model) as server:
        found = failed(verify_server(server.url, base))
    assert found == {"bad_requests": "the output for a valid input changed after the invalid ones"}


def test_what_cannot_be_checked_is_refused(photos, tmp_path):
    base, _ = photos
    with pytest.raises(ConfigError, match="a server's address must start with its protocol"):
        verify_server("127.0.0.1:8501", base)
    with pytest.raises(ExportError, match="there is no export at"):
        verify_server("http://127.0.0.1:1", tmp_path / "nowhere")
    bare = tmp_path / "bare" / "1"
    bare.mkdir(parents=True)
    (bare / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ExportError, match=r"has no manifest.json"):
        verify_server("http://127.0.0.1:1", bare)


def test_an_export_without_golden_examples_fails_by_name(photos, tmp_path):
    base, model = photos
    shutil.copytree(base, tmp_path / "photos")
    tiny.edit_manifest(tmp_path / "photos" / "1", golden=[])
    with FakeRest(model) as server:
        found = failed(verify_server(server.url, tmp_path / "photos"))
    assert found["golden_answers"] == "no golden examples"
    assert set(found) == {name for name in CHECKS if "golden" in name} | {"rows_independent", "bad_requests"}
