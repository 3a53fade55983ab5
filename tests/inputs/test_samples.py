from __future__ import annotations

import numpy as np
import pytest

import tlkit
from tlkit.errors import ConfigError, ProjectError
from tlkit.samples import registry as samples
from tlkit.samples import surfaces as sample_surfaces


def test_surfaces_share_no_pixel_between_training_and_validation(tmp_path):
    root = samples.get("surfaces", tmp_path / "photos")
    data = tlkit.images_from_folder(root, size=32)
    assert data.class_names == ["brick", "grass", "gravel", "stars", "tissue"]
    assert np.bincount(data.labels("train")).tolist() == [24] * 5
    assert np.bincount(data.labels("val")).tolist() == [12] * 5
    for width in (451, 512, 1000):
        regions = sample_surfaces.regions(width)
        assert regions["train"][1] < regions["val"][0]
        assert regions["val"][1] - regions["val"][0] >= 112
    with pytest.raises(ProjectError, match="exists and is not empty"):
        samples.get("surfaces", root)


def test_an_unknown_sample_is_named(tmp_path):
    with pytest.raises(ConfigError, match="unknown sample; received: 'surface'.*did you mean 'surfaces'"):
        samples.get("surface", tmp_path)


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ProjectError, match="No space left on device"):
        samples.get("surfaces", tmp_path / "photos")
    assert list(tmp_path.iterdir()) == []
