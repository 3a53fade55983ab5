from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tlkit.scaffold.new import new_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A baked project that we stand in, with one photo folder."""
    folder = new_project("image-classification", tmp_path / "bees", {"data_path": "photos", "weights": "none"})
    (folder / "photos" / "ants").mkdir(parents=True)
    (folder / "photos" / "ants" / "1.jpg").write_bytes(b"not looked at")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def scripted(project: Path, monkeypatch: pytest.MonkeyPatch):
    """Give the project other code than the template's, so that commands can be tried without TensorFlow."""
    monkeypatch.setattr("tlkit.cli.output.import_tensorflow", lambda: None)

    def _write(train: str, model: str = "def build_task(config, class_names): ...\n") -> Path:
        (project / "train.py").write_text("def load_data(config): ...\n" + textwrap.dedent(train), encoding="utf-8")
        (project / "model.py").write_text(textwrap.dedent(model), encoding="utf-8")
        return project

    return _write


@pytest.fixture
def inside(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd) -> Path:
    """Stand in the project that the module has trained; gives a folder for what a test writes."""
    monkeypatch.chdir(trained)
    capfd.readouterr()
    return tmp_path


@pytest.fixture
def no_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command fail that loads TensorFlow, where bad input is to be refused before."""

    def refuse() -> None:
        raise AssertionError("TensorFlow was loaded first")

    monkeypatch.setattr("tlkit.cli.output.import_tensorflow", refuse)
