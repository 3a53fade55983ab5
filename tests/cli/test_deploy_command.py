"""`tlkit deploy`, and what `tlkit export` does to a project's serving/."""

from __future__ import annotations

import json
import shutil
import types
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format

from tlkit.cli.deploy import refresh
from tlkit.cli.main import run
from tlkit.cli.project import find_project
from tlkit.serving import protos

FIXTURES = Path(__file__).parents[1] / "fixtures" / "release_0_1_0"


def version(base: Path, number: int, mib: int = 1) -> Path:
    folder = base / str(number)
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(bytes(mib * 2**20))
    return folder


def labels(serving: Path) -> dict[str, int]:
    parsed = text_format.Parse((serving / "models.config").read_text(), protos.ModelServerConfig())
    (model,) = parsed.model_config_list.config
    assert set(model.version_labels.values()) == set(model.model_version_policy.specific.versions)
    return dict(model.version_labels)


def memory(serving: Path) -> str:
    document = yaml.safe_load((serving / "k8s" / "deployment.yaml").read_text())
    return document["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]


@pytest.fixture
def base(project: Path) -> Path:
    """A project's folder of versions, with version 1."""
    version(project / "saved_models" / "bees", 1)
    return project / "saved_models" / "bees"


def test_the_newest_export_is_stable(project: Path, base: Path, capsys):
    version(base, 2)
    version(base, 10, mib=200)
    assert run(["deploy"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(project / "serving")
    assert "version 10 as stable" in told.err
    assert labels(project / "serving") == {"stable": 10}
    assert memory(project / "serving") == "1536Mi"  # 2 x 200 + 1024 = 1424
    assert not list((project / "serving").rglob("*.new"))


def test_a_canary_and_its_two_ends(project: Path, base: Path, capsys):
    serving = project / "serving"
    assert run(["deploy"]) == 0
    version(base, 2)
    version(base, 3)
    assert run(["deploy", "--canary", "2"]) == 0
    assert labels(serving) == {"stable": 1, "canary": 2}
    capsys.readouterr()
    assert run(["deploy", "--canary", "3"]) == 0
    assert "refuse to move the label canary" in capsys.readouterr().err
    assert labels(serving) == {"stable": 1, "canary": 3}
    assert run(["deploy", "saved_models/bees/3"]) == 0
    assert "refuse" not in capsys.readouterr().err
    assert labels(serving) == {"stable": 3}
    assert run(["deploy", "saved_models/bees/1"]) == 0
    assert "refuse to move the label stable" in capsys.readouterr().err


def test_without_a_stable_one_the_next_newest_is(project: Path, base: Path):
    version(base, 2)
    version(base, 3)
    assert run(["deploy", "--canary", "3"]) == 0
    assert labels(project / "serving") == {"stable": 2, "canary": 3}


def test_options_are_remembered(project: Path, base: Path):
    serving = project / "serving"
    assert run(["deploy", "--image", "tensorflow/serving:2.20.0", "--cores", "6", "--name", "wasps"]) == 0
    version(base, 2)
    assert run(["deploy", "--canary", "2"]) == 0
    assert "tensorflow/serving:2.20.0" in (serving / "compose.yaml").read_text()
    assert "num_batch_threads { value: 6 }" in (serving / "batching.config").read_text()
    assert '"/models/wasps"' in (serving / "models.config").read_text()
    other = version(project / "saved_models" / "other", 7).parent
    assert run(["deploy", str(other)]) == 0
    assert '"/models/other"' in (serving / "models.config").read_text(), "another model has another name"
    assert "tensorflow/serving:2.20.0" in (serving / "compose.yaml").read_text()


def test_monitoring_adds_files_and_is_remembered(project: Path, base: Path):
    serving = project / "serving"
    extra = ("alerts.yaml", "k8s/servicemonitor.yaml", "k8s/prometheusrule.yaml")
    assert run(["deploy"]) == 0
    assert not any((serving / name).exists() for name in extra)
    assert run(["deploy", "--monitoring"]) == 0
    assert all((serving / name).is_file() for name in extra)
    version(base, 2)
    assert run(["deploy"]) == 0
    assert "k8s/prometheusrule.yaml" in (serving / "kustomization.yaml").read_text()
    assert run(["deploy", "--no-monitoring"]) == 0
    assert "k8s/prometheusrule.yaml" not in (serving / "kustomization.yaml").read_text()


def test_the_measured_memory_decides_where_the_export_says_it(project: Path, base: Path, capsys):
    serving = project / "serving"
    kept = json.loads((FIXTURES / "exports" / "houses" / "1" / "manifest.json").read_text())
    (base / "1" / "manifest.json").write_text(json.dumps(kept))
    assert run(["deploy", "--cores", "4"]) == 0
    assert memory(serving) == "1152Mi"  # 2 x 2 + 1024
    assert "was not measured" in (serving / "compose.yaml").read_text(), "exports of 0.1.0 do not say it"
    (base / "1" / "manifest.json").write_text(json.dumps(kept | {"memory": {"base_mib": 500, "peak_mib": 1302}}))
    assert run(["deploy"]) == 0
    assert memory(serving) == "3712Mi"  # 500 + 2 x 2 + 4 x 800
    assert f"4 x 800 MiB (a run of {kept['max_batch']} rows" in (serving / "compose.yaml").read_text()


@pytest.mark.parametrize("kept", sorted((FIXTURES / "projects").iterdir()), ids=lambda path: path.name)
def test_a_project_of_version_0_1_0_gets_the_files_of_today(kept: Path, tmp_path: Path, monkeypatch, capsys):
    project = shutil.copytree(kept, tmp_path / "kept")
    version(project / "saved_models" / "kept", 1)
    (project / "serving" / "kserve.yaml").write_text("mine")
    monkeypatch.chdir(project)
    assert run(["deploy"]) == 0
    assert [path.name for path in (project / "serving").rglob("*.new")] == ["kserve.yaml.new"]
    assert "Docker Compose 2.3" in (project / "serving" / "compose.yaml").read_text()
    assert (project / "serving" / "kserve.yaml").read_text() == "mine"


def test_files_that_were_changed_stay(project: Path, base: Path, capsys):
    compose = project / "serving" / "compose.yaml"
    compose.write_text(compose.read_text() + "# mine\n")
    mine = compose.read_text()
    assert run(["deploy"]) == 0
    assert "compose.yaml was edited and is kept; the new version is compose.yaml.new" in capsys.readouterr().err
    assert compose.read_text() == mine
    assert (project / "serving" / "compose.yaml.new").is_file()
    assert not (project / "serving" / "kserve.yaml.new").exists()
    assert run(["deploy", "--force"]) == 0
    assert "# mine" not in compose.read_text()
    assert not (project / "serving" / "compose.yaml.new").exists()


def test_outside_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["deploy"]) == 2
    assert "no tlkit project in this folder" in capsys.readouterr().err
    version(tmp_path / "models" / "wasps", 4)
    assert run(["deploy", "models/wasps/4", "--to", "out/files"]) == 0
    assert labels(tmp_path / "out" / "files") == {"stable": 4}
    record = json.loads((tmp_path / "out" / "files" / ".tlkit-deploy.json").read_text())
    assert record["settings"]["stable"] == 4
    assert set(record["files"]) == {
        path.relative_to(tmp_path / "out" / "files").as_posix()
        for path in (tmp_path / "out" / "files").rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere"], "there is no export at nowhere"),
        (["--canary", "1"], "a canary needs a second, stable version; received: 'only version 1'"),
        (["--canary", "9"], "has no version 9"),
        (["saved_models/bees/1", "--canary", "1"], "another version than the stable one"),
        (["--image", "tensorflow/serving:latest"], "must be pinned"),
        (["--name", "a/b"], "a model's name must be a valid folder name"),
        (["--name", ".."], "a model name cannot contain '..' or be '.',"),
        (["plain"], "is not a version number"),
        (["--to", "config.toml"], "config.toml is a file; allowed: a folder"),
        (["--to", "config.toml/below"], "config.toml/below is a file"),
        (["--to", "/proc/nothing"], "/proc/nothing cannot be written to: "),
    ],
)
def test_what_cannot_be_deployed_leaves_the_files_alone(project: Path, base: Path, words, reason: str, capsys):
    (project / "plain").mkdir()
    (project / "plain" / "saved_model.pb").touch()
    before = {path: path.read_bytes() for path in (project / "serving").rglob("*") if path.is_file()}
    assert run(["deploy", *words]) == 2
    assert reason in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (project / "serving").rglob("*") if path.is_file()} == before


def test_an_export_puts_in_the_facts_and_leaves_the_labels(project: Path, capsys):
    found, serving = find_project(), project / "serving"
    base = project / "saved_models" / "bees"
    assert "assumed" in (serving / "README.md").read_text()
    refresh(found, version(base, 5, mib=100))
    assert labels(serving) == {"stable": 5}, "the first export is the stable one"
    assert memory(serving) == "1280Mi"
    assert "assumed" not in (serving / "README.md").read_text()
    refresh(found, version(base, 6, mib=300))
    assert labels(serving) == {"stable": 5}
    assert memory(serving) == "1664Mi", "there must be room for it"
    assert "`tlkit deploy --canary 6` to serve version 6 beside it" in capsys.readouterr().err
    assert run(["deploy", "--canary", "6"]) == 0
    refresh(found, version(base, 7))
    assert labels(serving) == {"stable": 5, "canary": 6}
    (base / "5" / "saved_model.pb").unlink()
    refresh(found, version(base, 8))
    assert labels(serving) == {"stable": 8, "canary": 6}, "what is gone cannot be served"
    assert not list(serving.rglob("*.new"))


def test_an_export_elsewhere_or_without_serving_changes_nothing(project: Path, tmp_path: Path):
    before = {path: path.read_bytes() for path in (project / "serving").rglob("*") if path.is_file()}
    refresh(find_project(), version(tmp_path / "srv" / "bees", 1))
    assert {path: path.read_bytes() for path in (project / "serving").rglob("*") if path.is_file()} == before
    (project / "serving").rename(tmp_path / "aside")
    refresh(find_project(), version(project / "saved_models" / "bees", 1))
    assert not (project / "serving").exists()


def test_an_export_is_good_whatever_becomes_of_the_files(project: Path, base: Path, capsys):
    (project / "serving" / ".tlkit-deploy.json").write_text("[")
    refresh(find_project(), version(base, 2))
    assert "warning: serving/ was not updated" in capsys.readouterr().err


def test_the_command_export_renders_serving(scripted, monkeypatch: pytest.MonkeyPatch, capsys):
    project = scripted("def main(config, resume=False): ...\n")
    learner = types.SimpleNamespace(export=lambda base, **options: globals()["version"](base, 1))
    monkeypatch.setattr("tlkit.cli.trained.require_trained", lambda project: None)
    monkeypatch.setattr("tlkit.cli.trained.load_learner", lambda project, code: learner)
    assert run(["export"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(project / "saved_models" / "bees" / "1")
    assert labels(project / "serving") == {"stable": 1}
    assert "assumed" not in (project / "serving" / "README.md").read_text()
