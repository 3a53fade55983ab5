"""The walk that the README promises, on made-up photos and random weights: every command on a project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from notebooks import read_notebook, run_notebook

from tlkit.cli.main import run
from tlkit.scaffold.new import new_project

SMALL = {
    "backbone": "mobilenet-0.25",
    "weights": "none",
    "image_size": "64",
    "batch_size": "8",
    "frozen_epochs": "2",
    "finetune_epochs": "1",
}
SHORT = ["train.frozen_epochs=1", "train.finetune_epochs=0"]
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for label, brightness in (("dark ones", 40), ("light-ones", 200)):
        (folder / label).mkdir()
        for number in range(10):
            pixels = np.clip(rng.normal(brightness, 20, (70, 90, 3)), 0, 255).astype("uint8")
            (folder / label / f"{number}.jpg").write_bytes(tf.io.encode_jpeg(pixels).numpy())
    return folder


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("walk")
    sets = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    before = Path.cwd()
    os.chdir(place)
    try:
        assert run(["new", "image-classification", "bees", "--data", str(photos), *sets]) == 0
        os.chdir("bees")
        assert run(["train", "--set", "train.head=epochs", "--set", "train.policy=head"]) == 0
        assert (place / "bees" / "reports" / "learning_rate.png").read_bytes().startswith(b"\x89PNG")
        assert run(["train"]) == 0
    finally:
        os.chdir(before)
    return place / "bees"


@pytest.fixture(autouse=True)
def inside(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "trained" in request.fixturenames:
        monkeypatch.chdir(request.getfixturevalue("trained"))


def test_training_leaves_pictures_and_the_best_weights(trained: Path):
    assert (trained / "reports" / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
    assert (trained / "checkpoints" / "best.weights.h5").stat().st_size > 1000


def test_evaluate_json_is_one_object_and_nothing_else(trained: Path, capfd):
    capfd.readouterr()
    assert run(["evaluate", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert set(document) == {"metrics", "per_class", "n", "entries"}
    assert set(document["metrics"]) == {"loss", "accuracy", "macro_f1", "auc", "average_precision", "log_loss"}
    assert set(document["per_class"]) == {"dark ones", "light-ones"}
    assert document["n"] == 4


def test_evaluate_on_other_photos_counts_all_of_them(trained: Path, photos: Path, capfd):
    capfd.readouterr()
    assert run(["evaluate", "--json", "--data", str(photos)]) == 0
    assert json.loads(capfd.readouterr().out)["n"] == 20


def test_evaluate_refuses_photos_of_other_classes(trained: Path, photos: Path, tmp_path: Path, capfd):
    (tmp_path / "cats").symlink_to(photos / "dark ones")
    (tmp_path / "dogs").symlink_to(photos / "light-ones")
    assert run(["evaluate", "--data", str(tmp_path)]) == 2
    assert "cats" in capfd.readouterr().err


@pytest.mark.slow
def test_predict_export_and_predict_again_agree(trained: Path, photos: Path, capfd):
    capfd.readouterr()
    assert run(["predict", str(photos), "--json"]) == 0
    before = capfd.readouterr()
    assert "using the trained checkpoint" in before.err
    assert run(["export"]) == 0
    exported = Path(capfd.readouterr().out.splitlines()[-1])
    assert exported == trained / "saved_models" / "bees" / "1"
    assert run(["predict", str(photos), "--json", "--top", "1"]) == 0
    after = capfd.readouterr()
    assert "checkpoint" not in after.err
    old, new = (json.loads(told.out)["predictions"] for told in (before, after))
    assert [row["input"] for row in old] == [row["input"] for row in new]
    assert len(new) == 20
    for one, other in zip(old, new, strict=True):
        assert set(other) == {"input", "classes", "scores"}
        assert len(other["classes"]) == len(other["scores"]) == 1
        assert other["scores"][0] == pytest.approx(one["scores"][0], abs=1e-4)
    assert run(["export", "--version", "1"]) == 2
    assert "already exists" in capfd.readouterr().err


def test_predict_answers_a_table_of_paths(trained: Path, photos: Path, tmp_path: Path, capfd):
    paths = [str(photos / "dark ones" / "0.jpg"), "beside.jpg"]
    (tmp_path / "beside.jpg").symlink_to(photos / "light-ones" / "1.jpg")
    table, out = tmp_path / "in.csv", tmp_path / "out.csv"
    table.write_text("".join(f"{line}\n" for line in ["path,id", f'"{paths[0]}",1', f"{paths[1]},2"]))
    assert run(["predict", "--file", str(table), "--out", str(out)]) == 0
    header, *rows = out.read_text().splitlines()
    assert header == "path,id,predicted,probability_dark ones,probability_light-ones,score_dark ones,score_light-ones"
    assert [row.split(",")[:2] for row in rows] == [[paths[0], "1"], [paths[1], "2"]]
    capfd.readouterr()
    table.write_text("path\nnowhere.jpg\n")
    assert run(["predict", "--file", str(table), "--out", str(tmp_path / "other.csv"), "--strict"]) == 2
    assert f"in.csv row 2: the photo {tmp_path / 'nowhere.jpg'}" in capfd.readouterr().err


def test_predict_names_a_file_that_is_no_photo(trained: Path, tmp_path: Path, capfd):
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    assert run(["predict", str(tmp_path / "bad.jpg")]) == 2
    assert "bad.jpg" in capfd.readouterr().err


def test_find_lr_leaves_the_trained_network_alone(trained: Path, capfd):
    weights = (trained / "checkpoints" / "best.weights.h5").read_bytes()
    capfd.readouterr()
    assert run(["find-lr", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert 0 < found["suggestion"] < 10
    assert (trained / "checkpoints" / "best.weights.h5").read_bytes() == weights


@pytest.mark.slow
def test_the_project_s_own_tests_pass(tmp_path: Path):
    project = new_project("image-classification", tmp_path / "bees", SMALL)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, env=QUIET, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "2 passed" in done.stdout
    assert {path.name for path in project.iterdir()}.isdisjoint({"checkpoints", "reports", "saved_models"})


@pytest.fixture
def to_walk(photos: Path, tmp_path: Path) -> Path:
    return new_project("image-classification", tmp_path / "bees", {**SMALL, "data_path": str(photos)})


@pytest.mark.real
def test_the_notebook_runs_from_top_to_bottom(to_walk: Path):
    values = run_notebook(to_walk, SHORT)
    assert values["exported"] == to_walk / "saved_models" / "bees" / "1"
    assert (values["exported"] / "saved_model.pb").is_file()
    assert values["metrics"].n == 4


@pytest.mark.real
def test_the_notebook_runs_in_jupyter(to_walk: Path):
    from nbclient import NotebookClient

    notebook = read_notebook(to_walk, SHORT)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(to_walk)}}).execute()
    assert str(to_walk / "saved_models" / "bees" / "1") in notebook.cells[-1].outputs[-1]["text"]
