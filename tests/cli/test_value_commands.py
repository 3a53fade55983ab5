"""The commands on a project that predicts values of images, and on one with a survival target."""

from __future__ import annotations

import csv
import json

import pandas as pd
import pytest
from photos import write_values

from tlkit.cli.main import run
from tlkit.config import load_config

FAST = ("model.image_size=64", "train.finetune_epochs=0", "data.batch_size=8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project with random weights, trained on the brightness of photos."""
    folder = tmp_path_factory.mktemp("values")
    table = write_values(folder / "photos")
    settings = [f"--set={setting}" for setting in FAST]
    new = ["new", "image-regression", str(folder / "bright"), "--data", str(table), "--target", "brightness"]
    assert (
        run([*new, "--path-column", "file", "--set", "weights=none", "--set", "backbone=mobilenet-0.25", *settings])
        == 0
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "bright")
        assert run(["train"]) == 0
    return folder / "bright"


def test_new_says_what_the_target_is_and_writes_it_down(trained, tmp_path, capfd):
    config = load_config(trained / "config.toml")
    assert (config.project.task, config.targets) == ("image_regression", ["brightness"])
    assert (config.data.path_column, config.data.augment) == ("file", "none")
    table = write_values(tmp_path / "photos")
    assert run(["new", "image-regression", str(tmp_path / "p"), "--data", str(table), "--target", "price",
                "--path-column", "file"]) == 0  # fmt: skip
    said = capfd.readouterr().err
    assert "target 'price': regression, 40 different values from 20.5 to 215.5 €" in said
    assert "40 photos" in said


def test_training_leaves_a_picture_and_a_measure(trained, inside, capfd):
    assert (trained / "reports" / "predictions.png").stat().st_size > 5000
    assert run(["evaluate", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert set(found["metrics"]) == {"rmse", "mae", "rmspe", "r2", "median_absolute_error"}
    assert found["n"] == 8
    assert run(["evaluate", "--data", str(trained.parent / "photos" / "photos.csv"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["n"] == 40


def test_photos_and_tables_of_them_are_answered(trained, inside, capfd):
    photos = trained.parent / "photos"
    assert run(["predict", str(photos / "003.png"), str(photos / "036.png"), "--json"]) == 0
    answers = json.loads(capfd.readouterr().out)
    assert [set(answer) for answer in answers] == [{"input", "predictions"}] * 2
    values = [answer["predictions"]["brightness"] for answer in answers]
    assert values[0] < values[1]
    assert run(["predict", str(photos / "003.png")]) == 0
    said = capfd.readouterr().out.split("brightness ")[1]
    assert float(said) == pytest.approx(values[0], rel=1e-4)  # one image and two are other batches
    assert run(["predict", str(photos / "003.png"), "--top", "2"]) == 2
    assert "--top is an option for classifiers, and this project predicts values" in capfd.readouterr().err
    out = inside / "out.csv"
    assert run(["predict", "--file", str(photos / "photos.csv"), "--out", str(out), "--json"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert summary["predicted"]["brightness"].keys() == {"min", "mean", "max"}
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-1] == "predicted_brightness"
    assert float(rows[3]["predicted_brightness"]) == pytest.approx(values[0], rel=1e-5)


def test_a_survival_project_names_its_columns(tmp_path, capfd):
    table = write_values(tmp_path / "photos")
    survival = ["--set", "target.kind=survival", "--set", "target.time=days", "--set", "target.event=died"]
    new = ["new", "image-regression", str(tmp_path / "risk"), "--data", str(table), "--path-column", "file"]
    assert run([*new, *survival]) == 0
    assert "events in 40 rows, times from" in capfd.readouterr().err
    config = load_config(tmp_path / "risk" / "config.toml")
    assert (config.target.columns, config.targets.names) == ([], ["days", "died"])
    rows = pd.read_csv(table).drop(columns=["file", "price"])
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert (
        run(["new", "tabular-embeddings", str(tmp_path / "rows"), "--data", str(tmp_path / "rows.csv"), *survival]) == 0
    )
    config = load_config(tmp_path / "rows" / "config.toml")
    assert (config.targets.names, config.target_names) == (["days", "died"], [])
    assert set(config.columns) == {"brightness", "half", "site"}
    capfd.readouterr()
    for template, file in (("image-regression", table), ("tabular-embeddings", tmp_path / "rows.csv")):
        pd.read_csv(file).assign(died=0).to_csv(file, index=False)
        named = ["--path-column", "file"] if template == "image-regression" else []
        assert run(["new", template, str(tmp_path / "none"), "--data", str(file), *named, *survival]) == 2
        assert "no row has an event in 'died': there is nothing to learn; received: " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "size"], "size"),
        (["--target", "brightness", "--path-column", "photo"], "photo"),
        (["--set", "target.kind=survival"], "a survival target needs a column of times and a column of events"),
        (
            ["--target", "days", "--set", "target.kind=survival", "--set", "target.time=days", "--set",
             "target.event=died"],
            "--target cannot be combined with a survival target",
        ),
        (["--target", "brightness", "--set", "target.kind=ordinal"], "target.kind"),
        (["--target", "brightness", "--set", "target.time=days"], 'need kind = "survival"'),
        (["--target", "half", "--set", "target.kind=regression"], "half"),
        (["--target", "brightness", "--set", "data.group_column=nobody"], "nobody"),
        (["--target", "half", "--set", "target.kind=multi_label"], "label_columns"),
        (["--label", "half"], "--label is not an option of the template image-regression"),
        (["--target", "price", "--set", "target.columns=price"], "target.columns is given twice"),
    ],
)  # fmt: skip
def test_bad_requests_are_one_line_and_leave_nothing(tmp_path, capfd, options, message):
    table = write_values(tmp_path / "photos")
    columns = [] if "--path-column" in options else ["--path-column", "file"]
    assert run(["new", "image-regression", str(tmp_path / "p"), "--data", str(table), *columns, *options]) == 2
    said = capfd.readouterr().err
    assert message in said
    assert said.count("error:") == 1
    assert not (tmp_path / "p").exists()


def test_a_folder_of_classes_is_no_table_of_values(tmp_path, capfd):
    (tmp_path / "folder" / "ants").mkdir(parents=True)
    (tmp_path / "folder" / "ants" / "a.jpg").write_bytes(b"x")
    assert run(["new", "image-regression", str(tmp_path / "p"), "--data", str(tmp_path / "folder")]) == 2
    assert "image regression needs a table" in capfd.readouterr().err
