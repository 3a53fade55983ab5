"""A project that began with another project's embeddings stands on its own once it is trained."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tlkit.cli.main import run
from tlkit.inputs.row.columns import Categorical, Continuous
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.targets.regression import Regression

WIDTH = 7  # which the rule would not give a column of three categories


def write_vectors(folder: Path, width: int) -> None:
    """Write what `tlkit embeddings export` of another project would."""
    from tlkit.tasks.tabular.embedding_tables import write_embedding_tables
    from tlkit.tasks.tabular.model import tabular_model

    heating = Categorical("heating", "heating", "string", ("gas", "oil", "wood"))
    table = TablePreprocessing((heating, Continuous("area", "area")))
    task = tabular_model(table, [Regression("rent")], hidden=[4], embedding_sizes={"heating": width})
    write_embedding_tables(task, folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a project that starts from vectors, then take the vectors away."""
    place = tmp_path_factory.mktemp("start-from")
    rng = np.random.default_rng(0)
    area, heating = rng.uniform(30, 200, 80).round(1), rng.choice(["gas", "oil", "wood"], 80)
    price = area * 2000 * (1 + 0.5 * (heating == "gas"))
    pd.DataFrame({"area": area, "heating": heating, "price": price}).to_csv(place / "houses.csv", index=False)
    write_vectors(place / "vectors", WIDTH)
    before = Path.cwd()
    os.chdir(place)
    try:
        assert run(["new", "tabular-embeddings", "houses", "--data", "houses.csv", "--target", "price"]) == 0
        config = place / "houses" / "config.toml"
        text = config.read_text()
        for old, new in (
            ('start_from = "" ', 'start_from = "../vectors" '),
            ("freeze_embeddings = false", "freeze_embeddings = true"),
            ("hidden = [200, 100]", "hidden = [8]"),
            ('kind = "blend" ', 'kind = "network" '),  # trees have no vectors
        ):
            assert old in text
            text = text.replace(old, new)
        config.write_text(text)
        os.chdir(place / "houses")
        assert run(["train", "--set", "train.epochs=1", "--set", "train.learning_rate=0.01"]) == 0
    finally:
        os.chdir(before)
    shutil.rmtree(place / "vectors")
    return place / "houses"


@pytest.mark.slow
def test_the_run_knows_the_widths(project: Path):
    (record,) = (project / "checkpoints").glob("*.json")
    assert json.loads(record.read_text())["identity"]["embedding_sizes"] == {"heating": WIDTH}


@pytest.mark.slow
def test_after_training_nothing_needs_the_other_project(project: Path, monkeypatch, tmp_path: Path, capfd):
    monkeypatch.chdir(project)
    assert run(["evaluate", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["n"] == 16
    scored = tmp_path / "scored.csv"
    assert run(["predict", "../houses.csv", "--out", str(scored)]) == 0  # from the checkpoint
    assert run(["embeddings", "export", "--to", str(tmp_path / "own")]) == 0
    assert pd.read_csv(tmp_path / "own" / "heating.csv").shape == (5, 1 + WIDTH)
    assert run(["export"]) == 0
    assert run(["verify"]) == 0
    exported = tmp_path / "exported.csv"
    assert run(["predict", "../houses.csv", "--out", str(exported)]) == 0
    one, other = (pd.read_csv(file)["predicted_price"] for file in (scored, exported))
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_vectors_of_another_width_in_that_place_change_nothing(project: Path, monkeypatch, capfd):
    monkeypatch.chdir(project)
    folder = project.parent / "vectors"
    write_vectors(folder, WIDTH + 2)
    try:
        assert run(["evaluate", "--json"]) == 0
    finally:
        shutil.rmtree(folder)


def test_training_anew_needs_it(project: Path, monkeypatch, capfd):
    monkeypatch.chdir(project)
    for command in ("train", "find-lr"):
        assert run([command]) == 2
        assert "no embeddings found at model.start_from" in capfd.readouterr().err
