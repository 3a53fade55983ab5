"""Learning curves and the result of a check, as pages show them."""

from __future__ import annotations

import json

import pytest

from tlkit.errors import ConfigError, DataError
from tlkit.report.check_summary import read_check
from tlkit.report.html import check_place
from tlkit.report.learning_curves import learning_curves
from tlkit.training.run_state import read_stages, stages_of


def test_stages_follow_each_other_and_gaps_stay_gaps():
    stages = [
        {"name": "linear probe", "history": {"loss": [0.5], "val_loss": [0.6], "strength": [3.0]}},
        {"name": "stem, head", "history": {"loss": [0.4, float("nan"), 0.2], "accuracy": [0.8, 0.9, 1.0]}},
    ]
    loss, accuracy = learning_curves(stages)
    assert [row[:2] for row in loss.rows] == [(1, "linear probe"), *((n, "stem, head") for n in (2, 3, 4))]
    assert [row[2] for row in loss.rows] == [0.5, 0.4, None, 0.2]
    assert [row[3] for row in loss.rows] == [0.6, None, None, None]
    assert [name for name, _ in loss.chart.steps] == ["training", "validation"]
    assert len(loss.chart.dots) == 1  # a single value is no line
    assert len(loss.chart.bars) == 1
    assert accuracy.name == "accuracy"
    assert learning_curves([]) == learning_curves([{"name": "x", "history": {}}]) == []


def test_the_record_of_a_run_names_its_stages(tmp_path):
    calls = [
        {"find_lr": {}, "outcome": {}},
        {"probe": {}, "outcome": {"loss": [1.0]}},
        {"fit": {"trained": ["body", "head"], "epochs": 2}, "outcome": {"loss": [0.5, 0.4]}},
        {"fit": {"trained": ["head"], "epochs": 2}, "history": {"loss": [9.0]}, "dropped": True},
    ]
    expected = [{"name": "linear probe", "history": {"loss": [1.0]}}]
    expected.append({"name": "body, head", "history": {"loss": [0.5, 0.4]}})
    assert stages_of(calls) == expected
    (tmp_path / "run.json").write_text(json.dumps({"calls": calls}))
    assert read_stages(tmp_path) == expected
    (tmp_path / "run.json").write_text("{")
    assert read_stages(tmp_path) == read_stages(tmp_path / "none") == []


def test_the_result_of_a_check_is_read_or_refused(tmp_path):
    path = tmp_path / "check.json"
    assert read_check(path) is None
    rules = {"shift": {"title": "Shift", "status": "warn", "summary": "AUC 0.7"}}
    rules["times"] = {"status": "skipped", "skipped": "no times"}
    path.write_text(json.dumps({"failed": [], "warned": ["shift"], "rules": rules}))
    found = read_check(path)
    assert found.rules == [("Shift", "warn", "warning", "AUC 0.7"), ("times", "skipped", "not checked", "no times")]
    assert (found.failed, found.warned) == (0, 1)
    assert found.to_dict()["rules"][0] == {"rule": "Shift", "status": "warn", "found": "AUC 0.7"}
    for content in ("{", "[]", '{"rules": {"a": {}}, "failed": [], "warned": []}'):
        path.write_text(content)
        with pytest.raises(DataError, match="cannot be read.*run `tlkit check` again"):
            read_check(path)


def test_a_page_that_could_not_be_written_is_refused_first(tmp_path):
    with pytest.raises(ConfigError, match="must be an HTML file"):
        check_place(tmp_path / "report.pdf")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        check_place(tmp_path / "file" / "report.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        check_place(tmp_path / "folder.html")
