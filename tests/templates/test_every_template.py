"""What holds for every template: each bake is complete, readable and what the library understands."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

import tlkit
from tlkit.config import config_of, known_keys, load_config
from tlkit.scaffold.new import SHARED, Template, new_project, templates
from tlkit.scaffold.origin import requirement_for

REPOSITORY = Path(__file__).parents[2]
SERVING = {
    f"serving/{name}"
    for name in (
        "README.md",
        "batching.config",
        "compose.yaml",
        "k8s/deployment.yaml",
        "k8s/hpa-latency.yaml",
        "k8s/hpa.yaml",
        "k8s/loader.yaml",
        "k8s/models-claim.yaml",
        "k8s/networkpolicy.yaml",
        "k8s/pdb.yaml",
        "k8s/service.yaml",
        "kserve.yaml",
        "kustomization.yaml",
        "models.config",
        "monitoring.config",
        "prometheus.yaml",
    )
}
FILES = {
    ".gitignore",
    ".tlkit.toml",
    "README.md",
    "config.toml",
    "model.py",
    "notebook.ipynb",
    "pytest.ini",
    "requirements.txt",
    *SERVING,
    "tests/test_project.py",
    "train.py",
}
WORKFLOW = ".github/workflows/test.yml"
TEMPLATES = templates()
CHOICES = [
    (template.name, question, choice)
    for template in TEMPLATES.values()
    for question, value in template.questions.items()
    if isinstance(value, list)
    for choice in value
]

each_template = pytest.mark.parametrize("name", TEMPLATES)


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", params=TEMPLATES)
def template(request: pytest.FixtureRequest) -> Template:
    return TEMPLATES[request.param]


@pytest.fixture(scope="module")
def baked(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_project(template, tmp_path_factory.mktemp("bake") / "My Bees", {})


def test_there_is_a_template_for_each_kind_of_project():
    from tlkit.tasks.base import TASKS

    assert {template.task for template in TEMPLATES.values()} == set(TASKS)


def test_the_exact_files(baked: Path):
    assert files_of(baked) == FILES


@pytest.mark.parametrize(("name", "question", "choice"), CHOICES)
def test_every_choice_gives_a_project_that_can_be_read(tmp_path: Path, name: str, question: str, choice: str):
    project = new_project(name, tmp_path / "bees", {question: choice})
    assert files_of(project) == FILES | ({WORKFLOW} if (question, choice) == ("ci", "github") else set())
    config = load_config(project / "config.toml")
    if question != "ci":
        found = getattr(config.data, question, getattr(config.model, question, None))
        assert str(found).lower() == choice
    for path in project.rglob("*"):
        if path.is_file():
            assert not re.search(r"\{\{|\{%|cookiecutter", path.read_text()), f"{path.name} holds template marks"
        if path.suffix == ".py":
            ast.parse(path.read_text())


def test_the_workflow_is_valid_and_runs_the_tests_of_the_project(tmp_path: Path, template: Template):
    project = new_project(template, tmp_path / "bees", {"ci": "github"})
    schema = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    subprocess.run([*schema, str(project / WORKFLOW)], check=True, capture_output=True)
    steps = yaml.safe_load((project / WORKFLOW).read_text())["jobs"]["test"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands == ["python -m pip install -r requirements.txt", "python -m pytest"]
    assert not (new_project(template, tmp_path / "none", {"ci": "none"}) / ".github").exists()


@each_template
@pytest.mark.parametrize("path", ["/da\"ta/it's", "C:\\photos", "фото/🐝", "a {b} # c"])
def test_awkward_paths_reach_the_config_unchanged(tmp_path: Path, name: str, path: str):
    project = new_project(name, tmp_path / "bees", {"data_path": path})
    assert load_config(project / "config.toml").data.path == path
    assert tomllib.loads((project / ".tlkit.toml").read_text())["answers"]["data_path"] == path


# What a new project chooses; where config.toml of an older one lacks the key, it stays as it was when that was made.
CHOSEN = {
    "head", "policy", "finetune_epochs", "finetune_rate", "label_smoothing", "dropout", "encoder", "targets", "kind",
    "epochs", "calibrate",
}  # fmt: skip


def test_config_toml_shows_every_key_with_the_library_s_defaults(baked: Path, template: Template):
    tree = tomllib.loads((baked / "config.toml").read_text())
    shown = {f"{section}.{key}" for section, table in tree.items() for key in table}
    assert tree["project"]["task"] == template.task
    known = {name for name, _ in known_keys(template.task)}
    not_shown = config_of(template.task).not_shown  # still read: see tests/test_config_target.py
    assert not_shown < known
    assert shown == known - not_shown
    config = load_config(baked / "config.toml")
    for section in (config.data, config.model, config.train, config.step):
        for name, field in type(section).model_fields.items():
            if not field.is_required() and name not in CHOSEN:
                assert getattr(section, name) == field.default, name
    assert len((baked / "config.toml").read_text().splitlines()) <= 100


def test_tlkit_toml_records_template_version_and_answers(baked: Path, template: Template):
    record = tomllib.loads((baked / ".tlkit.toml").read_text())
    assert record["template"] == template.name
    assert record["tlkit"] == tlkit.__version__
    assert record["template_version"]
    assert set(record["answers"]) == set(template.questions)
    assert record["answers"]["project_slug"] == "my-bees"


def test_requirements_name_where_this_tlkit_comes_from(baked: Path):
    lines = (baked / "requirements.txt").read_text().splitlines()
    line = lines[2]
    assert lines[3:] == ["pytest", "jupyter"]
    assert line == requirement_for(baked)
    assert line.startswith("-e ../"), "the tests run in a checkout"
    assert (baked / line.removeprefix("-e ")).resolve() == REPOSITORY
    assert tomllib.loads((baked / ".tlkit.toml").read_text())["answers"]["tlkit_requirement"] == line


def test_a_requirement_can_be_said(tmp_path: Path):
    project = new_project("text-sentiment", tmp_path / "bees", {"tlkit_requirement": "tlkit==0.2.7"})
    assert (project / "requirements.txt").read_text().splitlines()[2:] == ["tlkit==0.2.7", "pytest", "jupyter"]


def test_templates_belong_to_this_version(template: Template):
    document = json.loads((template.path / "cookiecutter.json").read_text())
    assert document["_tlkit"] == tlkit.__version__
    pyproject = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert pyproject["project"]["version"] == tlkit.__version__


def test_train_py_is_one_page_and_uses_public_calls(baked: Path):
    text = (baked / "train.py").read_text()
    assert len(text.splitlines()) <= 60
    # The report is the command's own until the Learner has one.
    used = set(re.findall(r"\btlkit\.([A-Za-z_]+)", text))
    fit = ".fine_tune(" if ".fine_tune(" in text else ".fit("  # a table's network has no frozen stage
    assert used - {"config"} <= set(tlkit.__all__)
    steps = [
        "def load_data(",
        "build_task(",
        "find_lr()",
        fit,
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
    (parameters,) = [cell for cell in code if cell.metadata.get("tags") == ["parameters"]]
    for cell in code:
        ast.parse(cell.source)
    examples = json.loads(parameters.source.partition("for example ")[2])
    load_config(baked / "config.toml", examples)  # keys that there are


def test_the_question_marks_have_prompts(template: Template):
    document = json.loads((template.path / "cookiecutter.json").read_text())
    assert set(document["__prompts__"]) == set(template.questions)


def cookiecutter(template: Template, folder: Path, *answers: str) -> subprocess.CompletedProcess[str]:
    """Bake with plain cookiecutter, where tlkit cannot be imported."""
    (folder / "tlkit.py").write_text("raise ImportError('a hook must not need tlkit')\n")
    where = ["--directory", template.path.relative_to(REPOSITORY).as_posix(), "--output-dir", str(folder / "out")]
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", str(REPOSITORY), *where, "--no-input", *answers],
        env={**os.environ, "HOME": str(folder), "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_plain_cookiecutter_gives_the_same_project(tmp_path: Path, template: Template):
    said = {"data_path": "/srv/data", "tlkit_requirement": "tlkit~=0.2.0"}
    said |= {"ci": "github"} if template.name == "image-classification" else {}
    files = FILES | ({WORKFLOW} if "ci" in said else set())
    done = cookiecutter(template, tmp_path, "project_name=My Bees", *(f"{key}={value}" for key, value in said.items()))
    assert done.returncode == 0, done.stderr
    ours = new_project(template, tmp_path / "My Bees", said)
    theirs = tmp_path / "out" / "my-bees"
    assert files_of(theirs) == files
    assert (theirs / ".github").exists() == ("ci" in said)
    for name in files:
        assert (theirs / name).read_bytes() == (ours / name).read_bytes(), name


def test_the_hook_refuses_what_cannot_work_and_nothing_is_left(tmp_path: Path, template: Template):
    answers = {
        "project_slug": "../up",
        "project_name": "a \"quoted' name",
        "batch_size": "0",
        **(
            {"frozen_epochs": "none", "finetune_epochs": "-1"} if "frozen_epochs" in template.rules else {"epochs": "x"}
        ),
    }
    done = cookiecutter(template, tmp_path, *(f"{name}={value}" for name, value in answers.items()))
    assert done.returncode != 0
    for name, value in answers.items():  # one bake: each costs a process
        assert f"{name} must be" in done.stderr
        assert repr(value) in done.stderr
    assert list((tmp_path / "out").glob("*")) == []


def test_what_templates_share_is_kept_once():
    hooks = [f"hooks/{when}_gen_project.py" for when in ("pre", "post")]  # cookiecutter looks for them in each template
    places: dict[bytes, list[str]] = {}
    for path in (REPOSITORY / "templates").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            places.setdefault(path.read_bytes(), []).append(path.relative_to(REPOSITORY / "templates").as_posix())
    repeated = sorted(sorted(names) for names in places.values() if len(names) > 1)
    assert repeated == sorted(sorted(f"{item.path.name}/{hook}" for item in TEMPLATES.values()) for hook in hooks)
    for hook in hooks:
        assert len((TEMPLATES["text-sentiment"].path / hook).read_text().splitlines()) < 20
        assert (REPOSITORY / "templates" / SHARED / hook).is_file()


def test_a_template_replaces_a_shared_file_with_its_own(tmp_path: Path):
    ours, shared = (
        REPOSITORY / "templates" / folder / "{{cookiecutter.project_slug}}" / ".gitignore"
        for folder in ("tabular_embeddings", SHARED)
    )
    assert ours.read_text() != shared.read_text()
    assert (new_project("tabular-embeddings", tmp_path / "x", {}) / ".gitignore").read_text() == ours.read_text()
    assert (new_project("text-sentiment", tmp_path / "y", {}) / ".gitignore").read_text() == shared.read_text()


@pytest.mark.parametrize("output", ["out", "{there}/out"])
def test_plain_cookiecutter_takes_a_relative_path_from_any_shell(tmp_path: Path, tmp_path_factory, output: str):
    output = output.format(there=tmp_path_factory.mktemp("elsewhere"))
    where = os.path.relpath(TEMPLATES["text-sentiment"].path, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "cookiecutter", where, "--no-input", "--output-dir", output],
        env={**os.environ, "HOME": str(tmp_path), "PWD": "/"},  # cmd.exe sets none, and a program may leave an old one
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / output / "reviews") == FILES


def test_plain_cookiecutter_takes_an_archive_and_names_a_version(tmp_path: Path):
    shutil.copytree(REPOSITORY / "templates", tmp_path / "tlkit" / "templates")
    (tmp_path / "tlkit" / "pyproject.toml").touch()
    archive = shutil.make_archive(str(tmp_path / "tlkit"), "zip", tmp_path, "tlkit")
    done = subprocess.run(
        [sys.executable, "-m", "cookiecutter", archive, "--directory", "templates/text_sentiment", "--no-input"],
        env={**os.environ, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / "reviews") == FILES
    assert (tmp_path / "reviews" / "requirements.txt").read_text().splitlines()[2] == f"tlkit~={tlkit.__version__}"


def test_a_template_without_the_shared_folder_says_so(tmp_path: Path):
    shutil.copytree(TEMPLATES["text-sentiment"].path, tmp_path / "alone")
    done = subprocess.run(
        [sys.executable, "-m", "cookiecutter", str(tmp_path / "alone"), "--no-input", "--output-dir", "out"],
        env={**os.environ, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "error: the folder _shared beside the template is not found" in done.stderr
    assert not (tmp_path / "out" / "reviews").exists()


def test_plain_cookiecutter_names_the_folder_that_holds_the_template(tmp_path: Path):
    done = cookiecutter(TEMPLATES["text-sentiment"], tmp_path)
    assert done.returncode == 0, done.stderr
    project = tmp_path / "out" / "reviews"
    line = (project / "requirements.txt").read_text().splitlines()[2]
    assert line.startswith("../")
    assert (project / line).resolve() == REPOSITORY


@pytest.mark.parametrize(
    ("remote", "requirement"),
    [
        ("https://user:secret@example.org/a/tlkit.git", "tlkit @ git+https://example.org/a/tlkit.git@{commit}"),
        ("https://secret@example.org/a/tlkit", "tlkit @ git+https://example.org/a/tlkit@{commit}"),
        ("git@example.org:a/tlkit.git", "tlkit @ git+ssh://git@example.org/a/tlkit.git@{commit}"),
        ("ssh://git:secret@example.org:22/a/tlkit.git", "tlkit @ git+ssh://git@example.org:22/a/tlkit.git@{commit}"),
        ("", "tlkit~=9.8.7"),
    ],
)
def test_the_hook_names_a_clone_s_address_and_commit_without_secrets(tmp_path: Path, remote: str, requirement: str):
    clone = tmp_path / "clone"
    templates = shutil.copytree(REPOSITORY / "templates", clone / "templates")
    (clone / "pyproject.toml").touch()
    git = ["git", "-C", str(clone), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in ("init -q", "add .", "commit -qm x", *([f"remote add origin {remote}"] if remote else [])):
        subprocess.run([*git, *words.split()], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    text = (templates / "text_sentiment" / "hooks" / "post_gen_project.py").read_text()
    document = json.loads((templates / "text_sentiment" / "cookiecutter.json").read_text())
    answers = {key: value[0] if isinstance(value, list) else value for key, value in document.items()}
    answers |= {"project_slug": "reviews", "__kubernetes_name": "tfs-reviews", "_tlkit": "9.8.7"}
    answers |= {"_template": "https://example.org/a/tlkit", "_repo_dir": str(templates / "text_sentiment")}
    (tmp_path / "hook.py").write_text(
        text.replace(
            "{{ cookiecutter.items() | list | tojson }}",
            json.dumps(list({**answers, "_output_dir": str(tmp_path)}.items())),
        )
    )
    project = tmp_path / "reviews"
    project.mkdir()
    subprocess.run([sys.executable, str(tmp_path / "hook.py")], cwd=project, check=True)
    lines = (project / "requirements.txt").read_text().splitlines()
    assert lines[2:] == [requirement.format(commit=commit), "pytest", "jupyter"]


def test_bake_templates_bakes_every_choice(tmp_path: Path, capsys):
    spec = importlib.util.spec_from_file_location("bake_templates", REPOSITORY / "tools" / "bake_templates.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    firsts = len({(name, question) for name, question, _ in CHOICES})
    assert len(lines) == len(TEMPLATES) + len(CHOICES) - firsts
    for line in lines:
        assert line.endswith(f"{len(FILES) + ('github' in line)} files"), line
