"""The image classification template: what it has beyond the checks that every template passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlkit.config import load_config
from tlkit.errors import ProjectError
from tlkit.scaffold.new import new_project


def test_numbers_reach_the_config(tmp_path: Path):
    answers = {"image_size": "96", "batch_size": "8", "frozen_epochs": "2", "finetune_epochs": "0"}
    config = load_config(new_project("image-classification", tmp_path / "bees", answers) / "config.toml")
    assert (config.model.image_size, config.data.batch_size) == (96, 8)
    assert (config.train.frozen_epochs, config.train.finetune_epochs) == (2, 0)


@pytest.mark.parametrize("size", ["12", "31", "2049", "0320", "big"])
def test_an_image_size_that_cannot_be_is_refused(tmp_path: Path, size: str):
    with pytest.raises(ProjectError, match="image_size must be a whole number of pixels"):
        new_project("image-classification", tmp_path / "bees", {"image_size": size})
    assert list(tmp_path.iterdir()) == []
