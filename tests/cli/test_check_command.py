"""`tlkit check` in a project: findings, exit codes, the report, the list of exclusions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import photos
import pytest

from tlkit.cli.main import run
from tlkit.scaffold.new import new_project

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
    assert lines[1] == "warn  Unreadable items: 1 images cannot be read"
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
