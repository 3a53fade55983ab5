import subprocess
import sys

import pytest
import tiny

from tlkit.errors import ExportError
from tlkit.export.manifest import Manifest, name_and_version, resolve_export, version_folders, versions


def test_importing_the_manifest_loads_neither_tensorflow_nor_keras():
    code = "import sys, tlkit.export.manifest; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_versions_are_folders_whose_names_read_as_whole_numbers(tmp_path):
    for name in ("1", "12", "007", "0", "-3", "x", ".tmp-9-a-1-b", "2.0", str(2**63)):
        (tmp_path / name).mkdir()
    (tmp_path / "5").write_text("a file")
    assert versions(tmp_path) == [0, 1, 7, 12]
    assert version_folders(tmp_path)[7] == tmp_path / "007"
    assert versions(tmp_path / "missing") == []


def test_of_two_folders_of_one_version_the_one_with_a_graph_counts(tmp_path):
    for name in ("3", "03", "003"):
        (tmp_path / name).mkdir()
    assert version_folders(tmp_path) == {3: tmp_path / "3"}
    for name in ("03", "003"):
        (tmp_path / name / "saved_model.pb").touch()
    assert version_folders(tmp_path) == {3: tmp_path / "03"}
    assert resolve_export(tmp_path) == tmp_path / "03"


def test_a_version_with_leading_zeros_is_resolved_from_its_base_path_and_by_its_own(tmp_path):
    (tmp_path / "9").mkdir()
    (tmp_path / "9" / "saved_model.pb").touch()
    (tmp_path / "00000123").mkdir()
    (tmp_path / "00000123" / "saved_model.pb").touch()
    assert resolve_export(tmp_path) == resolve_export(tmp_path / "00000123") == tmp_path / "00000123"
    assert name_and_version(tmp_path / "00000123") == (tmp_path.name, 123)


def test_resolve_takes_the_newest_version_that_holds_a_model(tmp_path):
    for version in ("2", "10", "11"):
        (tmp_path / version).mkdir()
    for version in ("2", "10"):
        (tmp_path / version / "saved_model.pb").touch()
    assert resolve_export(tmp_path) == tmp_path / "10"
    assert resolve_export(tmp_path / "2") == tmp_path / "2"
    with pytest.raises(ExportError, match="contains no SavedModel"):
        resolve_export(tmp_path / "11")
    with pytest.raises(ExportError, match="there is no export at"):
        resolve_export(tmp_path / "nowhere")


def test_name_and_version_come_from_the_folders(tmp_path):
    assert name_and_version(tmp_path / "photos" / "3") == ("photos", 3)
    assert name_and_version(tmp_path / "copied") == ("copied", 1)


def test_manifest_records_what_was_exported():
    manifest = Manifest.read(tiny.shared_export())
    assert manifest.labels == list(tiny.LABELS)
    assert manifest.metrics == {"accuracy": 0.5, "loss": None}
    assert manifest.data == {"n_train": 10, "fingerprint": "abc"}
    assert manifest.model_name == "tiny"
    assert manifest.signatures["serving_default"].inputs["image_bytes"].shape == (None,)
    assert manifest.signatures["pixels"].inputs["pixels"].shape == (None, 32, 32, 3)
    assert manifest.signatures["embedding"].outputs["embedding"].shape == (None, 12)
    assert {"tensorflow", "keras", "tlkit"} <= set(manifest.versions)
    assert [example.content_bytes() for example in manifest.golden] == tiny.photos()
    assert "variables/variables.index" in manifest.files
    assert not any("tmp" in name for name in manifest.files)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no manifest.json"),
        ("{", "cannot be read"),
        ('{"schema_version": 99}', "written by a newer tlkit"),
        ('{"schema_version": 1}', "is damaged: kind"),
        ("[]", "is damaged"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ExportError, match=message):
        Manifest.read(tmp_path)
