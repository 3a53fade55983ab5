"""What version 0.1.0 made is still read: its exports predict as they did then, its projects still load."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tlkit.config import load_config
from tlkit.export.manifest import Manifest

RELEASE = Path(__file__).parent / "fixtures" / "release_0_1_0"
EXPORTS = sorted((RELEASE / "exports").iterdir())
PROJECTS = sorted((RELEASE / "projects").iterdir())


def values_of(example: bytes, manifest: Manifest) -> dict[str, object]:
    """Return the row of a serialized tf.Example, by the table's own column names."""
    import tensorflow as tf

    features = tf.train.Example.FromString(example).features.feature
    found: dict[str, object] = {}
    for column in manifest.interface.columns:
        lists = features[column.argument]
        values = getattr(lists, lists.WhichOneof("kind") or "bytes_list").value
        value = values[0] if values else None
        found[column.name] = value.decode() if isinstance(value, bytes) else value
    return found


def inputs_of(manifest: Manifest, folder: Path) -> list[object]:
    """Return the golden examples as `SavedModelPredictor.predict` takes them."""
    contents = [example.content_bytes() for example in manifest.golden]
    if manifest.interface.content == "row":
        return [values_of(content, manifest) for content in contents]
    if manifest.interface.content == "text":
        return [content.decode() for content in contents]
    paths = [folder / f"{number}.image" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return list(paths)


@pytest.mark.parametrize("base", EXPORTS, ids=lambda path: path.name)
def test_an_export_predicts_as_it_did(base: Path, tmp_path: Path):
    from tlkit.export.predictor import SavedModelPredictor

    predictor = SavedModelPredictor(base)
    assert predictor.manifest.versions["tlkit"] == "0.1.0"
    records = predictor.predict(inputs_of(predictor.manifest, tmp_path))
    assert len(records) == len(predictor.manifest.golden) >= 3
    for record, golden in zip(records, predictor.manifest.golden, strict=True):
        found = dict(zip(record["classes"], record["scores"], strict=True))
        expected = dict(zip(predictor.manifest.labels, golden.outputs["probabilities"]["probabilities"], strict=True))
        assert found == pytest.approx(expected, abs=1e-5)


def test_the_exports_tell_their_golden_examples_apart():
    for base in EXPORTS:
        scores = np.array(
            [example.outputs["probabilities"]["probabilities"] for example in Manifest.read(base / "1").golden]
        )
        assert np.ptp(scores, axis=0).max() > 0.01, base


@pytest.mark.real
@pytest.mark.parametrize("base", EXPORTS, ids=lambda path: path.name)
def test_an_export_is_verified_as_today(base: Path, tmp_path: Path):
    from tlkit.export.verify import verify_export

    copy = shutil.copytree(base, tmp_path / base.name)
    assert [(check.name, check.reason) for check in verify_export(copy) if not check.ok] == []


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_the_config_of_a_project_is_read(project: Path):
    config = load_config(project / "config.toml")
    assert config.project.name == "Kept"
    assert '"0.1.0"' in (project / ".tlkit.toml").read_text(encoding="utf-8")
