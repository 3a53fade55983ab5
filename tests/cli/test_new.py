from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tlkit.cli.main import run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work" / "photos" / "ants").mkdir(parents=True)
    return tmp_path / "work"


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def data_path(project: Path) -> str:
    return tomllib.loads((project / "config.toml").read_text())["data"]["path"]


def new(*words: str) -> int:
    return run(["new", "image-classification", *words])


def test_it_says_what_comes_next(here: Path, capsys):
    assert new("bees", "--data", "photos") == 0
    out = capsys.readouterr().out
    assert "cd bees" in out
    assert "  tlkit check\n  tlkit train\n" in out


def test_data_that_cannot_be_trained_on_are_refused_or_warned_of(here: Path, capsys):
    (here / "rows.csv").write_text("path,kind\na.jpg,ants\n")
    assert new("bees", "--data", "rows.csv") == 2
    assert "has no column 'label'; allowed: path, kind" in capsys.readouterr().err
    for name in ("labels.csv", "file.csv"):
        (here / name).write_text("file,label,red,blue\na.jpg,ants,0,1\n")
    assert new("bees", "--data", "file.csv") == 2
    assert "has no column 'path'" in capsys.readouterr().err
    several = ["--path-column", "file", "--set", 'data.label_columns=["red", "blue"]']
    assert new("several", "--data", "labels.csv", *several) == 0
    assert run(["new", "text-sentiment", "texts", "--data", "photos"]) == 0
    said = capsys.readouterr().err
    assert "training will stop with an error on this folder: a class folder contains no .txt files" in said
    (here / "photos" / "ants" / "1.txt").write_text("a text")
    assert run(["new", "text-sentiment", "more", "--data", "photos"]) == 0
    assert "stop with an error" not in capsys.readouterr().err


def test_what_cannot_be_read_is_not_counted_as_used(here: Path, capsys):
    for name in ("ants/1.jpg", "bees/1.jpg", "bees/2.jpg"):
        (here / "photos" / name).parent.mkdir(exist_ok=True)
        (here / "photos" / name).write_bytes(b"\xff\xd8\xff\xe0")
    (here / "photos" / "bees" / "3.jpg").touch()
    assert new("bees", "--data", "photos") == 0
    said = capsys.readouterr().err
    assert "cannot be used: 1 photos" in said
    assert "found 4 entries: 3 used; left out: 1 empty files" in said


def test_relative_data_is_stored_as_seen_from_the_project(here: Path):
    assert new("deep/er/bees", "--data", "photos") == 0
    project = here / "deep" / "er" / "bees"
    assert data_path(project) == "../../../photos"
    assert (project / data_path(project)).resolve() == here / "photos"


def test_relative_data_survives_a_symbolic_link_above_the_project(here: Path, tmp_path: Path):
    (tmp_path / "far" / "away").mkdir(parents=True)
    (here / "link").symlink_to(tmp_path / "far" / "away")
    assert new("link/bees", "--data", "photos") == 0
    project = here / "link" / "bees"
    assert (project / data_path(project)).resolve() == here / "photos"


def test_full_data_paths_stay_full_and_tables_are_welcome(here: Path, tmp_path: Path):
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n")
    assert new("bees", "--data", str(table)) == 0
    assert data_path(here / "bees") == str(table)


def test_data_beside_the_project_can_move_with_it_however_it_was_named(here: Path):
    assert new("bees", "--data", str(here / "photos")) == 0
    assert data_path(here / "bees") == "../photos"
    record = (here / "bees" / ".tlkit.toml").read_text()
    assert tomllib.loads(record)["answers"]["data_path"] == "../photos"
    assert str(here) not in record


def test_a_backbone_brings_its_own_image_size_unless_told(here: Path):
    assert new("one", "--set", "backbone=efficientnet-lite1") == 0
    assert new("two", "--set", "backbone=efficientnet-lite1", "--set", "image_size=128") == 0
    sizes = [tomllib.loads((here / name / "config.toml").read_text())["model"]["image_size"] for name in ("one", "two")]
    assert sizes == [240, 128]


def test_an_empty_folder_that_exists_is_filled(here: Path):
    (here / "bees").mkdir()
    assert new("bees") == 0
    assert (here / "bees" / "train.py").is_file()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("bees", "--data", "nowhere"), "nowhere does not exist"),
        (("bees", "--data", "empty"), "is empty"),
        (("bees", "--data", "notes.txt"), "is not a folder or a table"),
        (("photos/bees", "--data", "photos"), "is inside its own data folder"),
        (("photos",), "already exists and is not empty"),
        (("notes.txt",), "already exists and is not a folder"),
        (("bees", "--set", "augmnt=none"), "did you mean 'augment'?"),
        (("bees", "--set", "augment=sideways"), "allowed: side_on, top_down, strong, none"),
        (("bees", "--set", "augment"), "--set takes KEY=VALUE"),
        (("bees", "--set", "backbone=efficientnet-lite"), "efficientnet-lite0"),
        (("bees", "--set", "image_size=31"), "a whole number of pixels from 32 to 2048"),
        (("bees", "--set", "project_slug=../up"), "project_slug must be"),
        (("bees", "--set", 'project_name=a "b"'), "project_name must be"),
        (("bees", "--set", "data_path={{ 1 }}"), "template syntax"),
        (("!!!",), "project_slug must be"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(here: Path, capsys, words, expected: str):
    (here / "empty").mkdir()
    (here / "notes.txt").touch()
    before = listing(here)
    assert new(*words) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1
    assert listing(here) == before


def test_an_unknown_template_names_the_known_ones(here: Path, capsys):
    assert run(["new", "image-clasification", "bees"]) == 2
    assert "did you mean 'image-classification'" in capsys.readouterr().err
    assert not (here / "bees").exists()


def test_templates_lists_what_can_be_answered(capsys):
    assert run(["templates"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("image-classification\n")
    assert "--set augment=side_on | top_down | strong | none" in out


def test_keys_of_the_config_are_set_and_its_comments_stay(here: Path):
    plain, changed = here / "plain", here / "changed"
    (here / "photos.csv").write_text("path,label\n")
    assert new("plain", "--data", "photos.csv") == 0
    keys = ("data.label_separator=;", "train.finetune_epochs=3", 'data.group_column=a "b"', "train.sizes=[64, 96]")
    options = [word for key in (*keys, "train.policy=all") for word in ("--set", key)]
    assert new("changed", "--data", "photos.csv", "--set", "image_size=96", *options) == 0
    before, after = (tomllib.loads((place / "config.toml").read_text()) for place in (plain, changed))
    assert after["data"] == {**before["data"], "label_separator": ";", "group_column": 'a "b"'}
    assert after["train"] == {**before["train"], "finetune_epochs": 3, "sizes": [64, 96], "policy": "all"}
    assert after["model"]["image_size"] == 96
    comments = [(place / "config.toml").read_text().count("#") for place in (plain, changed)]
    assert comments[0] == comments[1]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.label_seperator=;", "unknown config key 'data.label_seperator'; did you mean 'data.label_separator'"),
        ("train.head=foot", "train.head: input should be 'epochs' or 'probe'; received: 'foot'"),
        ("train.budget_minutes=0", "train.budget_minutes: input should be greater than 0"),
        ("train.cycle_len=2", "cycles cannot be combined with policy ="),
    ],
)
def test_keys_and_values_that_the_config_does_not_take_leave_nothing(here: Path, capsys, setting, message):
    assert new("bees", "--data", "photos", "--set", setting) == 2
    assert message in capsys.readouterr().err
    assert listing(here) == ["photos", "photos/ants"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "photos", "--set", "data.path=elsewhere"], "data.path is given twice"),
        (["--label", "kind", "--set", "data.label_column=species"], "label_column is given twice"),
        (["--set", "model.backbone=nonsense"], "nonsense"),
        (
            ["--data", "photos", "--set", "data.label_separator=;"],
            "multi-label classification needs a table",
        ),
        (["--set", "project.name=\udcff"], "is not UTF-8"),
    ],
)
def test_keys_that_contradict_are_refused(here: Path, capsys, words, message):
    assert new("bees", *words) == 2
    assert message in capsys.readouterr().err
    assert listing(here) == ["photos", "photos/ants"]


def test_keys_are_looked_up_in_the_table_like_options(here: Path, capsys):
    (here / "reviews.csv").write_text("said;funny;sad\na film;1;0\n")
    columns = ["--set", 'data.label_columns=["funny", "sad"]', "--set", "data.text_column=said"]
    words = ["new", "text-sentiment", "reviews", "--data", "reviews.csv", *columns]
    assert run(words) == 2
    assert "separator" in capsys.readouterr().err
    assert run([*words, "--set", "data.separator=;"]) == 0
    data = tomllib.loads((here / "reviews" / "config.toml").read_text())["data"]
    assert (data["separator"], data["text_column"], data["label_columns"]) == (";", "said", ["funny", "sad"])


def test_a_space_is_a_separator(here: Path):
    (here / "tags.csv").write_text("path,label\n1.jpg,a b\n")
    assert new("tags", "--data", "tags.csv", "--set", "data.label_separator= ") == 0
    assert tomllib.loads((here / "tags" / "config.toml").read_text())["data"]["label_separator"] == " "
