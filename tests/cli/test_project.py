from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from tlkit.cli.project import find_project
from tlkit.errors import ConfigError, ModelError, ProjectError


def test_it_is_found_from_below(project: Path):
    inside = project / "photos" / "ants"
    assert find_project(inside).root == project
    assert find_project().config.data_path == project / "photos"
    assert find_project().export_dir == project / "saved_models" / "bees"
    assert find_project().checkpoints == project / "checkpoints"
    assert find_project().reports == project / "reports"


def test_there_is_none(tmp_path: Path):
    with pytest.raises(ProjectError, match=r"no tlkit project in .*tlkit new"):
        find_project(tmp_path)
    (tmp_path / "config.toml").touch()
    with pytest.raises(ProjectError, match=r"no \.tlkit\.toml"):
        find_project(tmp_path)


def test_overrides_reach_the_config(project: Path):
    assert find_project(overrides=["train.frozen_epochs=2"]).config.train.frozen_epochs == 2
    with pytest.raises(ConfigError, match=r"did you mean 'train\.frozen_epochs'"):
        _ = find_project(overrides=["train.frozn_epochs=2"]).config


def test_an_unknown_backbone_is_refused_before_anything_loads(project: Path):
    with pytest.raises(ModelError, match="efficientnet-lite0"):
        _ = find_project(overrides=["model.backbone=efficientnet-lite"]).config


def test_an_image_too_small_for_the_backbone_is_refused_before_anything_loads(project: Path):
    with pytest.raises(ConfigError, match=r"model\.image_size is too small for inception-v3"):
        _ = find_project(overrides=["model.backbone=inception-v3", "model.image_size=64"]).config


def test_the_newest_export_is_the_highest_number(project: Path):
    found = find_project()
    assert found.newest_export() is None
    for name in ("2", "10", ".tmp-11", "notes"):
        (found.export_dir / name).mkdir(parents=True)
    (found.export_dir / "12").touch()
    assert found.newest_export() == found.export_dir / "10"


def test_the_project_s_own_modules_are_used_and_others_come_back(scripted, tmp_path: Path):
    scripted("from model import build_task\ndef main(config, resume=False): import helper; return helper.MARK\n")
    (find_project().root / "helper.py").write_text("MARK = 'mine'\n")
    foreign = {name: types.ModuleType(name) for name in ("train", "model", "helper")}
    path_before = list(sys.path)
    try:
        sys.modules.update(foreign)
        with find_project().code() as code:
            assert code.train.main(None) == "mine"
            assert code.train.build_task is code.model.build_task
        assert all(sys.modules[name] is module for name, module in foreign.items())
    finally:
        for name in foreign:
            sys.modules.pop(name, None)
    assert sys.path == path_before


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ("def main(config) pass\n", r"train\.py cannot be imported: SyntaxError"),
        ("import no_such_package\n", r"ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise SystemExit(0)\n", r"train\.py cannot be imported: SystemExit"),
        ("main = 3\n", r"train\.py has no function main\(\)"),
    ],
)
def test_broken_project_code_is_one_clear_line(scripted, train: str, expected: str):
    scripted(train)
    with pytest.raises(ProjectError, match=expected) as caught, find_project().code():
        pass
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(project: Path):
    (project / "model.py").unlink()
    with pytest.raises(ProjectError, match=r"the project has no model\.py"), find_project().code():
        pass
