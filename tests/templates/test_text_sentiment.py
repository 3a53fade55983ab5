"""The text template: what it has beyond the checks that every template passes, and its own tests."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tlkit.config import load_config
from tlkit.errors import ProjectError
from tlkit.scaffold.new import new_project

QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}


def bake(folder: Path, **answers: str):
    return load_config(new_project("text-sentiment", folder / "reviews", answers) / "config.toml")


def test_answers_reach_the_config(tmp_path: Path):
    config = bake(
        tmp_path,
        encoder="bert-base-en-uncased",
        encoding="cp1252",
        max_tokens="256",
        batch_size="8",
        frozen_epochs="2",
        finetune_epochs="0",
        strip_html="true",
    )
    assert (config.encoder, config.data.encoding, config.model.max_tokens) == ("bert-base-en-uncased", "cp1252", 256)
    assert (config.data.batch_size, config.train.frozen_epochs, config.train.finetune_epochs) == (8, 2, 0)
    assert config.data.strip_html is True


@pytest.mark.parametrize("column", ['the "text"', "it's", "a\\b", "文本 🐝", "{x} # y"])
def test_awkward_columns_reach_the_config_unchanged(tmp_path: Path, column: str):
    config = bake(tmp_path, text_column=column, label_column=column)
    assert config.data.text_column == config.data.label_column == column
    record = tomllib.loads((tmp_path / "reviews" / ".tlkit.toml").read_text())
    assert record["answers"]["text_column"] == column


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("max_tokens", "3"),
        ("max_tokens", "0128"),
        ("encoder", "a b"),
        ("encoding", ""),
        ("text_column", "a\nb"),
        ("strip_html", "yes"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, answer: str, value: str):
    with pytest.raises(ProjectError, match=answer):
        bake(tmp_path, **{answer: value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_the_project_s_own_tests_pass(tmp_path: Path):
    project = new_project("text-sentiment", tmp_path / "reviews", {"text_column": "review"})
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, env=QUIET, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "2 passed" in done.stdout
    assert {path.name for path in project.iterdir()}.isdisjoint({"checkpoints", "reports", "saved_models"})
