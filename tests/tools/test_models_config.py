"""tools/models_config.py: server_config.json of the conformance vectors as TensorFlow Serving's text proto."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

TOOL = Path(__file__).parents[2] / "tools" / "models_config.py"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *map(str, words)]
    environment = {"PYTHONPATH": str(TOOL.parents[1])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def models(text: str) -> dict[str, Any]:
    return {model.name: model for model in text_format.Parse(text, ModelServerConfig()).model_config_list.config}


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    for name in ("real/both/00000123", "real/both/00000124", "models/echo/1", 'models/写真 "x"/1'):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "models" / "notes.txt").touch()
    document = {
        "default": {"base_path": "real/both"},
        "one": {"base_path": "real/both", "versions": [123], "labels": {"Label": 123}},
        "two": {"base_path": "real/both", "versions": "all", "labels": {"stable": 123, "canary": 124}},
        "*": {"base_path": "models/<name>", "comment": "each directory"},
    }
    (tmp_path / "server_config.json").write_text(json.dumps({"models": document}))
    return tmp_path


def test_every_entry_is_there(vectors: Path):
    done = run(vectors / "server_config.json", vectors / "models", "--add", f"mine={vectors / 'real'}")
    assert done.returncode == 0, done.stderr
    found = models(done.stdout)
    assert set(found) == {"default", "one", "two", "echo", '写真 "x"', "mine"}
    assert {model.model_platform for model in found.values()} == {"tensorflow"}
    assert found["default"].base_path == str(vectors / "real" / "both")
    assert found["echo"].base_path == str(vectors / "models" / "echo")
    assert found["mine"].base_path == str(vectors / "real")
    assert found["default"].model_version_policy.WhichOneof("policy_choice") is None
    assert list(found["one"].model_version_policy.specific.versions) == [123]
    assert dict(found["one"].version_labels) == {"Label": 123}
    assert found["two"].model_version_policy.WhichOneof("policy_choice") == "all"
    assert dict(found["two"].version_labels) == {"stable": 123, "canary": 124}


def test_relative_folders_become_absolute(vectors: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(vectors)
    found = models(run("server_config.json", "models").stdout)
    assert found["default"].base_path == str(vectors / "real" / "both")
    assert found["echo"].base_path == str(vectors / "models" / "echo")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"base_path": "real/none"}, "there is no folder"),
        ({"base_path": "real/both", "version": [1]}, "unknown keys ['version']"),
        ({"base_path": "real/both", "versions": "newest"}, 'a list of numbers, or "all"'),
    ],
)
def test_what_cannot_be_served_is_said(vectors: Path, entry: dict, reason: str):
    (vectors / "server_config.json").write_text(json.dumps({"models": {"bad": entry}}))
    done = run(vectors / "server_config.json", vectors / "models")
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr


def test_two_models_of_one_name_are_refused(vectors: Path):
    done = run(vectors / "server_config.json", vectors / "models", "--add", f"echo={vectors / 'real'}")
    assert done.returncode == 1
    assert "two models called echo" in done.stderr


@pytest.mark.real
def test_the_shared_vectors(tmp_path: Path):
    shared = Path(__file__).resolve().parents[3] / "shared" / "conformance" / "server_config.json"
    (tmp_path / "echo" / "1").mkdir(parents=True)
    done = run(shared, tmp_path)
    assert done.returncode == 0, done.stderr
    assert dict(models(done.stdout)["two_versions"].version_labels) == {"stable": 123, "canary": 124}
