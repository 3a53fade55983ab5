"""The image classification template: every bake is complete, readable and what the library understands."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

import tlkit
from tlkit.config import known_keys, load_config
from tlkit.scaffold.new import get_template, new_project

REPOSITORY = Path(__file__).parents[2]
FILES = {
    ".gitignore",
    ".tlkit.toml",
    "README.md",
    "config.toml",
    "model.py",
    "notebook.ipynb",
    "pytest.ini",
    "requirements.txt",
    "tests/test_project.py",
    "train.py",
}
TEMPLATE = get_template("image-classification")
CHOICES = [{name: choice} for name, value in TEMPLATE.questions.items() if isinstance(value, list) for choice in value]


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_project("image-classification", tmp_path_factory.mktemp("bake") / "My Bees", {})


def test_the_exact_files(baked: Path):
    assert files_of(baked) == FILES


@pytest.mark.parametrize("answers", CHOICES, ids=lambda answers: "-".join(*answers.items()))
def test_every_choice_gives_a_project_that_can_be_read(tmp_path: Path, answers: dict[str, str]):
    project = new_project("image-classification", tmp_path / "bees", answers)
    assert files_of(project) == FILES
    config = load_config(project / "config.toml")
    (name, value), *_ = answers.items()
    assert value in (getattr(config.data, name, None), getattr(config.model, name, None))
    for path in project.rglob("*"):
        if path.is_file():
            assert not re.search(r"\{\{|\{%|cookiecutter", path.read_text()), f"{path.name} holds template marks"
        if path.suffix == ".py":
            ast.parse(path.read_text())


def test_numbers_reach_the_config(tmp_path: Path):
    answers = {"image_size": "96", "batch_size": "8", "frozen_epochs": "2", "finetune_epochs": "0"}
    config = load_config(new_project("image-classification", tmp_path / "bees", answers) / "config.toml")
    assert (config.model.image_size, config.data.batch_size) == (96, 8)
    assert (config.train.frozen_epochs, config.train.finetune_epochs) == (2, 0)


@pytest.mark.parametrize("path", ["/da\"ta/it's", "C:\\photos", "фото/🐝", "a {b} # c"])
def test_awkward_paths_reach_the_config_unchanged(tmp_path: Path, path: str):
    project = new_project("image-classification", tmp_path / "bees", {"data_path": path})
    assert load_config(project / "config.toml").data.path == path
    assert tomllib.loads((project / ".tlkit.toml").read_text())["answers"]["data_path"] == path


def test_config_toml_shows_every_key_with_the_library_s_defaults(baked: Path):
    tree = tomllib.loads((baked / "config.toml").read_text())
    shown = {f"{section}.{key}" for section, table in tree.items() for key in table}
    assert shown == {name for name, _ in known_keys()}
    config = load_config(baked / "config.toml")
    for section in (config.data, config.model, config.train, config.step):
        for name, field in type(section).model_fields.items():
            if not field.is_required():
                assert getattr(section, name) == field.default, name
    assert len((baked / "config.toml").read_text().splitlines()) <= 57


def test_tlkit_toml_records_template_version_and_answers(baked: Path):
    record = tomllib.loads((baked / ".tlkit.toml").read_text())
    assert record["template"] == "image-classification"
    assert record["tlkit"] == tlkit.__version__
    assert record["template_version"]
    assert set(record["answers"]) == set(TEMPLATE.questions)
    assert record["answers"]["project_slug"] == "my-bees"


def test_requirements_pin_this_tlkit_compatibly(baked: Path):
    assert f"tlkit~={tlkit.__version__}" in (baked / "requirements.txt").read_text().splitlines()


def test_train_py_is_one_page_and_uses_public_calls(baked: Path):
    text = (baked / "train.py").read_text()
    assert len(text.splitlines()) <= 60
    used = set(re.findall(r"\btlkit\.([A-Za-z_]+)", text)) - {"config"}
    assert used <= set(tlkit.__all__)
    steps = [
        "load_data(config)",
        "build_task(",
        "find_lr()",
        ".fine_tune(",
        "finish(",
        "evaluate()",
        "export(",
    ]
    places = [text.index(step) for step in steps]
    assert places == sorted(places)


def test_the_notebook_is_valid_clean_and_can_take_parameters(baked: Path):
    notebook = nbformat.read(baked / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert [cell.metadata.get("tags") for cell in code].count(["parameters"]) == 1
    for cell in code:
        ast.parse(cell.source)


def test_the_question_marks_have_prompts():
    document = json.loads((TEMPLATE.path / "cookiecutter.json").read_text())
    assert set(document["__prompts__"]) == set(TEMPLATE.questions)


def cookiecutter(tmp_path: Path, *answers: str) -> subprocess.CompletedProcess[str]:
    """Bake with plain cookiecutter, where tlkit cannot be imported."""
    (tmp_path / "tlkit.py").write_text("raise ImportError('a hook must not need tlkit')\n")
    command = [
        sys.executable,
        "-m",
        "cookiecutter",
        str(REPOSITORY),
        "--directory",
        "templates/image_classification",
    ]
    return subprocess.run(
        [*command, "--no-input", "--output-dir", str(tmp_path / "out"), *answers],
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_plain_cookiecutter_gives_the_same_project(tmp_path: Path):
    done = cookiecutter(tmp_path, "project_name=My Bees", "data_path=/srv/photos")
    assert done.returncode == 0, done.stderr
    ours = new_project("image-classification", tmp_path / "My Bees", {"data_path": "/srv/photos"})
    theirs = tmp_path / "out" / "my-bees"
    assert files_of(theirs) == FILES
    for name in FILES:
        assert (theirs / name).read_bytes() == (ours / name).read_bytes(), name


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("project_slug=../up", "project_slug must be"),
        ("project_name=a \"quoted' name", "project_name must be"),
        ("batch_size=0", "batch_size must be a whole number above 0"),
        ("image_size=12", "image_size must be"),
    ],
)
def test_the_hook_refuses_what_cannot_work_and_nothing_is_left(tmp_path: Path, answer: str, expected: str):
    done = cookiecutter(tmp_path, answer)
    assert done.returncode != 0
    assert expected in done.stderr
    assert list((tmp_path / "out").glob("*")) == []


def test_bake_templates_bakes_every_choice(tmp_path: Path, capsys):
    spec = importlib.util.spec_from_file_location("bake_templates", REPOSITORY / "tools" / "bake_templates.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + sum(len(v) - 1 for v in TEMPLATE.questions.values() if isinstance(v, list))
    assert all(line.endswith(f"{len(FILES)} files") for line in lines)
