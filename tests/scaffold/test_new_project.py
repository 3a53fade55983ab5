from __future__ import annotations

import json
from pathlib import Path

import pytest

from tlkit.errors import ProjectError
from tlkit.scaffold.new import Template, get_template, new_project, templates


def a_template(folder: Path, body: str) -> Template:
    inside = folder / "{{cookiecutter.project_slug}}"
    inside.mkdir(parents=True)
    questions = {"project_name": "X", "project_slug": "{{ cookiecutter.project_name | slugify }}"}
    (folder / "cookiecutter.json").write_text(json.dumps(questions))
    (inside / "first.txt").write_text("fine")
    (inside / "second.txt").write_text(body)
    return Template("broken", folder, "a template for a test", questions, {})


def test_every_template_is_described():
    for name, template in templates().items():
        assert name == template.path.name.replace("_", "-")
        assert template.description
        assert set(template.rules) <= set(template.questions)
        assert {"project_name", "project_slug"} <= set(template.questions)


def test_an_unknown_template_is_an_error():
    with pytest.raises(ProjectError, match="did you mean 'image-classification'"):
        get_template("image_classification")


@pytest.mark.parametrize("body", ["{{ cookiecutter.no_such_answer }}", "{% if %}", "{{ undefined_thing }}"])
def test_a_broken_template_writes_nothing(tmp_path: Path, body: str):
    template = a_template(tmp_path / "template", body)
    (tmp_path / "out").mkdir()
    with pytest.raises(ProjectError, match="could not be rendered") as caught:
        new_project(template, tmp_path / "out" / "deep" / "x", {})
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_place_that_cannot_be_written_is_named_in_plain_words(tmp_path: Path, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / ".tlkit-new-xyz"))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    with pytest.raises(ProjectError) as caught:
        new_project("image-classification", "deep/bees", {})
    assert str(caught.value).startswith(f"the project deep/bees cannot be written: {tmp_path}: Permission denied; ")
    assert ".tlkit-new" not in str(caught.value)


def test_a_bake_that_is_stopped_writes_nothing(tmp_path: Path, monkeypatch):
    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cookiecutter.generate.generate_files", stop)
    with pytest.raises(KeyboardInterrupt):
        new_project("image-classification", tmp_path / "bees", {})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_in_the_home_folder_and_no_setting_comes_from_it(tmp_path: Path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".cookiecutterrc").write_text("default_context:\n  project_name: Theirs\n  augment: strong\n")
    monkeypatch.setenv("HOME", str(home))
    project = new_project("image-classification", tmp_path / "My Bees", {})
    assert [path.name for path in home.iterdir()] == [".cookiecutterrc"]
    text = (project / "config.toml").read_text()
    assert 'name = "My Bees"' in text
    assert 'augment = "side_on"' in text
    assert 'directory = "saved_models/my-bees"' in text


def test_the_folder_s_permissions_are_the_usual_ones(tmp_path: Path):
    usual = tmp_path / "usual"
    usual.mkdir()
    project = new_project("image-classification", tmp_path / "bees", {})
    assert project.stat().st_mode == usual.stat().st_mode


def test_the_current_folder_can_be_filled(tmp_path: Path, monkeypatch):
    (tmp_path / "bees").mkdir()
    monkeypatch.chdir(tmp_path / "bees")
    new_project("image-classification", ".", {})
    assert Path("train.py").is_file()
    assert 'name = "bees"' in Path("config.toml").read_text()
