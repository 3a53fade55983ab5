"""`tlkit check` in a project: findings, exit codes, the report, the list of exclusions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import photos
import pytest

from tlkit.cli.check import _add_to_list
from tlkit.cli.main import run
from tlkit.scaffold.new import new_project
from tlkit.trust.check.outcome import Finding, Outcome, Result

ANSWERS = {"data_path": "photos", "weights": "none", "backbone": "mobilenetv2-0.35", "image_size": "32"}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose photos hold a broken file, a copy in the same class and one with another label."""
    project = new_project("image-classification", tmp_path_factory.mktemp("check") / "bees", ANSWERS)
    root = photos.write_folder(project / "photos", {"ants": 16, "bees": 16})
    (root / "ants" / "copy.jpg").write_bytes((root / "ants" / "03.jpg").read_bytes())
    (root / "bees" / "clash.jpg").write_bytes((root / "ants" / "05.jpg").read_bytes())
    (root / "bees" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a photo")
    return project


@pytest.fixture
def inside(planted: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Path:
    monkeypatch.chdir(planted)
    capsys.readouterr()
    return planted


def test_check_finds_what_is_wrong_writes_a_report_and_a_list_that_training_reads(inside: Path, capsys):
    assert run(["check", "--json", "--fix"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == ["unreadable", "conflicting_labels"]
    rules = found["rules"]
    assert [item["name"] for item in rules["conflicting_labels"]["found"][0]["items"]] == [
        "ants/05.jpg",
        "bees/clash.jpg",
    ]
    assert rules["unreadable"]["found"][0]["name"] == "bees/broken.jpg"
    assert rules["copies"]["count"] == 1
    page = Path(found["report"]).read_text()
    assert "data:image/jpeg;base64," in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert found["exclude"]["items"] == 4
    assert (inside / "photos" / "bees" / "broken.jpg").is_file()  # no file is deleted

    assert run(["check", "--json", "--set", "data.exclude=exclude.csv"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["failed"] == []
    assert again["rules"]["copies"]["count"] == again["rules"]["unreadable"]["count"] == 0


def test_levels_decide_the_exit_code_and_the_terminal_shows_findings_first(inside: Path, capsys):
    levels = [f"check.{rule}=warn" for rule in ("unreadable", "conflicting_labels")]
    sets = [word for level in levels for word in ("--set", level)]
    assert run(["check", *sets, "--report", "other.html"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].startswith("34 images")
    assert lines[1] == "warn  Unreadable items: 1 image"
    assert (inside / "other.html").is_file()
    assert run(["check", "--set", "check.copies=fail", *sets]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--report", "check.pdf"], "must be an HTML file"),
        (["--report", "/proc/none/check.html"], "the report cannot be written"),
        (["--set", "check.shfit=off"], "shfit"),
        (["--set", "check.shift=loud"], "'fail', 'warn' or 'off'"),
        (["--set", "data.exclude=none.csv"], "names a file that does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(inside: Path, capsys, words: list[str], message: str):
    assert run(["check", *words]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(error) == 1
    assert message in error[0]


def test_an_item_that_several_rules_exclude_has_the_reason_of_its_rule(tmp_path: Path):
    project = SimpleNamespace(config=SimpleNamespace(exclude=tmp_path / "list.csv"), root=tmp_path)
    outcomes = [
        Outcome("unreadable", "fail", "Unreadable"),
        Outcome("conflicting_labels", "fail", "Labels", findings=[Finding("ants / bees", (0, 1), (0, 1))]),
        Outcome(
            "copies_across_splits", "warn", "Copies", findings=[Finding("the same in train and val", (0, 1), (0,))]
        ),
    ]
    result = Result("images", {}, outcomes, ["a", "b"], ["ants", "bees"], ["train", "val"])
    examined = SimpleNamespace(names=["a", "b"], digest=str)
    assert _add_to_list(project, examined, result) == (tmp_path / "list.csv", 2, 2)
    lines = (tmp_path / "list.csv").read_text().splitlines()
    assert lines[1:] == ["a,0,conflicting_labels,ants / bees", "b,1,conflicting_labels,ants / bees"]


TRAIN = """
import tlkit

def load_data(config):
    return tlkit.images_from_folder(
        config.data_path, size=32, **{**config.data.options, "on_error": "skip", "exclude": config.exclude}
    )

def main(config, resume=False):
    data = load_data(config)
    print("trains on", len(data.labels("train")) + len(data.labels("val")))
    return type("Learner", (), {"data": data})
"""


@pytest.fixture
def training(inside: Path, monkeypatch: pytest.MonkeyPatch):
    """The project with a train.py that only loads its data."""
    before = (inside / "train.py").read_text()
    (inside / "train.py").write_text(TRAIN)
    yield inside
    (inside / "train.py").write_text(before)


def test_train_checks_what_it_loads_and_stops_where_a_rule_of_the_config_fails(training: Path, capsys):
    assert run(["train"]) == 1
    said = capsys.readouterr()
    assert "check: fail  Copies with different labels: 1 image with different labels" in said.err
    assert "error: the data check failed: unreadable, conflicting_labels; run `tlkit check`" in said.err
    assert "trains on" not in said.out
    levels = ["--set", "check.conflicting_labels=warn", "--set", "check.unreadable=off"]
    assert run(["train", *levels]) == 0
    said = capsys.readouterr()
    assert "trains on 34" in said.out
    assert "check: warn  Copies with different labels" in said.err
    (training / "left_out.csv").write_text("item\nants/00.jpg\n")
    assert run(["train", *levels, "--set", "data.exclude=left_out.csv"]) == 0
    assert "trains on 33" in capsys.readouterr().out


def test_train_of_a_project_without_the_section_check_only_warns(training: Path, capsys):
    config = training / "config.toml"
    before = config.read_text()
    config.write_text("".join(line for line in before.splitlines(keepends=True) if not line.startswith("[check]")))
    try:
        assert run(["train"]) == 0
        assert "check: fail  Copies with different labels" in capsys.readouterr().err
    finally:
        config.write_text(before)


def test_train_says_where_a_list_of_exclusions_is_not_read(training: Path, capsys):
    (training / "train.py").write_text(TRAIN.replace(', "exclude": config.exclude', ""))
    (training / "left_out.csv").write_text("item\nants/00.jpg\n")
    levels = ["--set", "check.conflicting_labels=off", "--set", "check.unreadable=off"]
    assert run(["train", *levels, "--set", "data.exclude=left_out.csv"]) == 0
    assert "warning: data.exclude is not used: pass exclude=config.exclude" in capsys.readouterr().err


def test_a_probe_of_the_training_data_shows_wrong_labels(tmp_path: Path, capsys):
    import numpy as np

    from tlkit.cli.check_first import checking_first
    from tlkit.config import load_config
    from tlkit.training import feed
    from tlkit.training.probe import fit_probe

    root = photos.write_folder(tmp_path / "photos", {"ants": 60, "bees": 60})
    for number in range(4):
        (root / "ants" / f"{number:02d}.jpg").rename(root / "bees" / f"x{number}.jpg")
    import tlkit

    project = new_project("image-classification", tmp_path / "bees", ANSWERS | {"data_path": str(root)})
    whole = type("Project", (), {"config": load_config(project / "config.toml")})
    code = type(
        "Code", (), {"train": type("Train", (), {"load_data": lambda: tlkit.images_from_folder(root, size=16)})}
    )
    with checking_first(whole, code):
        data = code.train.load_data()
        wrong = np.array([path.name.startswith("x") for path in data.paths("train")])
        labels = data.labels("train")
        features = (
            np.random.default_rng(0).normal(size=(len(labels), 6)) + 5 * np.where(wrong, 1 - labels, labels)[:, None]
        )
        probe = fit_probe(features, np.eye(2)[labels])
        feed.PROBE_WATCHERS[-1](data, probe, features)
    assert not feed.PROBE_WATCHERS
    said = capsys.readouterr().err
    assert "check: 120 images, nothing found" in said
    assert "check: warn  Labels that may be wrong" in said
