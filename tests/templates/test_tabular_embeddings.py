"""The template of tables: what it has beyond the checks that every template passes, and its own tests."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tlkit.config import TabularConfig, load_config
from tlkit.errors import ConfigError, ProjectError
from tlkit.scaffold.new import new_project

QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}


def bake(folder: Path, **answers: str) -> TabularConfig:
    config = load_config(new_project("tabular-embeddings", folder / "houses", answers) / "config.toml")
    assert isinstance(config, TabularConfig)
    return config


def test_answers_reach_the_config(tmp_path: Path):
    answers = {"target": "price", "separator": ";", "encoding": "cp1252", "time_column": "sold", "scaling": "quantile"}
    config = bake(tmp_path, **answers, group_column="street", batch_size="64", epochs="7")
    for name in ("separator", "encoding", "time_column", "scaling"):
        assert getattr(config.data, name) == answers[name]
    assert (config.targets, config.data.group_column) == (["price"], "street")
    assert (config.data.batch_size, config.train.epochs) == (64, 7)
    assert config.columns == {}


def test_new_projects_blend_and_small_tables_have_more_epochs(tmp_path: Path):
    config = bake(tmp_path)
    assert (config.model.kind, config.members) == ("blend", 0)
    assert [config.train.epochs_for(SimpleNamespace(steps_per_epoch=steps)) for steps in (1, 20, 50, 84, 2000)] == [
        40,
        25,
        10,
        6,
        6,
    ]
    folder = tmp_path / "houses" / "config.toml"
    assert load_config(folder, ["train.epochs=7"]).train.epochs_for(SimpleNamespace(steps_per_epoch=1)) == 7
    assert load_config(folder, ["model.kind=tabm", "model.members=8"]).members == 8
    assert load_config(folder, ["model.blend_network=tabm"]).members == 32
    assert load_config(folder, ["model.boosting={leaves=9}"]).boosting_options["options"].leaves == 9


def test_networks_that_only_weigh_a_blend_are_not_calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = bake(tmp_path)
    assert config.train.ending["calibrate"]
    monkeypatch.setitem(sys.modules, "model", SimpleNamespace(build_task=lambda *given: None))
    spec = importlib.util.spec_from_file_location("train_of_houses", tmp_path / "houses" / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seen: list[dict] = []

    def fit(config: TabularConfig, *given: object, **where: object) -> SimpleNamespace:
        seen.append(config.train.ending)
        return SimpleNamespace(task="inner")

    monkeypatch.setattr(module, "fit", fit)
    monkeypatch.setattr(module.tlkit, "with_boosting", lambda task, data, train, **given: train(data, tmp_path))
    assert module.build(config, SimpleNamespace(preprocessing=None, targets=())) == "inner"
    assert seen == [{"calibrate": False, "thresholds": "half"}]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.kind=forest"], "model.kind.*'network', 'tabm', 'boosting' or 'blend'"),
        (["model.members=1"], "model.members"),
        (["model.boosting={leaves=33}"], "model.boosting: .*leaves: .*less than or equal to 32, not 33"),
        (["model.boosting={leafs=3}"], "model.boosting: .*leafs: "),
        (["train.epochs=all"], 'train.epochs: .*"auto" or a whole number from 1'),
        (["train.epochs=0"], 'train.epochs: .*"auto" or a whole number from 1'),
        (["train.cycle_len=2"], 'epochs = "auto" cannot be combined with cycles'),
        (["model.kind=boosting", "data.targets=[]", "target.kind=survival", "target.time=t", "target.event=e"],
         "boosting.* has no loss for survival"),
    ],
)  # fmt: skip
def test_kinds_and_epochs_that_are_none_are_refused(tmp_path: Path, overrides: list[str], message: str):
    bake(tmp_path)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "houses" / "config.toml", overrides)


@pytest.mark.parametrize("column", ['the "price"', "it's", "a\\b", "价格 🐝", "{x} # y", "a.b c"])
def test_awkward_columns_reach_the_config_unchanged(tmp_path: Path, column: str):
    config = bake(tmp_path, target=column, time_column=column)
    assert config.targets == [config.data.time_column] == [column]
    record = tomllib.loads((tmp_path / "houses" / ".tlkit.toml").read_text())
    assert record["answers"]["target"] == column


def test_a_tab_as_separator_is_written_as_toml_can_hold_it(tmp_path: Path):
    assert bake(tmp_path, separator="\t").data.separator == "\t"


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("epochs", "0"),
        ("batch_size", "08"),
        ("separator", ";;"),
        ("encoding", ""),
        ("target", "a\nb"),
        ("scaling", "x"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, answer: str, value: str):
    with pytest.raises(ProjectError, match=answer):
        bake(tmp_path, **{answer: value})
    assert list(tmp_path.iterdir()) == []


def test_what_is_to_be_done_at_the_end_leaves_nothing_when_it_fails(tmp_path: Path):
    def finish(project: Path) -> None:
        assert (project / "config.toml").is_file()
        raise OSError("full")

    with pytest.raises(ProjectError, match="houses cannot be written.*full"):
        new_project("tabular-embeddings", tmp_path / "houses", {}, finish)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_the_project_s_own_tests_pass(tmp_path: Path):
    project = new_project("tabular-embeddings", tmp_path / "houses", {"target": "sales", "time_column": "day"})
    with (project / "config.toml").open("a") as config:  # as `tlkit new` does it
        config.write('"the day" = "date"\n')
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, env=QUIET, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "2 passed" in done.stdout
    assert {path.name for path in project.iterdir()}.isdisjoint({"checkpoints", "reports", "saved_models"})
