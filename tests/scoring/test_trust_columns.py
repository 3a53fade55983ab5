"""Conformal predictions and the distance to the training data, in the answers of `tlkit predict` and `tlkit score`."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import tiny
import tiny_table
from exports import copy_of, export_of

from tlkit.cli.main import run
from tlkit.config import load_config
from tlkit.errors import ExportError
from tlkit.export.manifest import Manifest
from tlkit.export.predictor import SavedModelPredictor
from tlkit.predicting.answer_columns import AnswerColumns
from tlkit.scaffold.new import new_project

ROW_COLUMNS = [
    "conformal_lower_rent in €", "conformal_upper_rent in €", "conformal_set_sold",
    "conformal_lower_price", "conformal_upper_price", "trust_distance", "trust_outlier",
]  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A project with the calibrated export, its images, and a table of them."""
    folder = tmp_path_factory.mktemp("trusted")
    (folder / "images").mkdir()
    for number, content in enumerate(tiny.photos(5)):
        (folder / "images" / f"{number}.jpg").write_bytes(content)
    (folder / "list.csv").write_text("path\n" + "".join(f"images/{number}.jpg\n" for number in range(5)))
    project = new_project("image-classification", folder / "made", {"data_path": "../images", "weights": "none"})
    copy_of("trusted_photos", load_config(project / "config.toml").export_dir)
    return project


@pytest.fixture
def rows(tmp_path):
    tiny_table.tiny_frame(12, seed=3, targets=False).to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


def test_columns_are_named_after_the_signature_and_the_target():
    manifest = Manifest.read(export_of("trusted_rows"))
    columns = AnswerColumns.of(manifest, trust=True)
    assert columns.names == [*AnswerColumns.of(manifest).names, *ROW_COLUMNS]
    kinds = {str(kind) for name, kind in columns.types().items() if "lower" in name or "upper" in name}
    assert kinds == {"double"}
    assert str(columns.types()["trust_outlier"]) == "bool"
    own = AnswerColumns.of(Manifest.read(export_of("trusted_photos")), trust=True, score_columns=False)
    assert own.names[-3:] == ["conformal_set", "trust_distance", "trust_outlier"]
    assert (
        AnswerColumns.of(Manifest.read(export_of("photos")), trust=True).names
        == AnswerColumns.of(Manifest.read(export_of("photos"))).names
    )


def test_rows_have_what_a_record_says(rows, tmp_path, scored, monkeypatch, capfd):
    export = export_of("trusted_rows")
    frame = tiny_table.tiny_frame(12, seed=3, targets=False)
    given = [{key: None if value != value else value for key, value in row.items()} for row in frame.to_dict("records")]
    records = SavedModelPredictor(export, trust=True).predict(given)
    summary = scored(rows, tmp_path / "scored.parquet", export, trust=True, batch_size=5)
    assert summary["scored"] == 12
    found = pd.read_parquet(tmp_path / "scored.parquet")
    assert list(found.columns[-7:]) == ROW_COLUMNS
    for row, record in zip(found.to_dict("records"), records, strict=True):
        told = record["conformal"]
        assert row["conformal_set_sold"] == "|".join(told["sold_set"])
        assert row["conformal_lower_price"] == pytest.approx(told["price_lower"], rel=1e-5)
        assert row["conformal_upper_rent in €"] == pytest.approx(told["rent_in_upper"], rel=1e-5)
        assert row["trust_distance"] == pytest.approx(record["distance"], abs=1e-5)
        assert row["trust_outlier"] == record["outlier"]
    assert len(set(found["trust_distance"])) > 1
    (tmp_path / "houses.csv").write_text(tiny_table.tiny_frame(6).to_csv(index=False))
    answers = {"data_path": "../houses.csv", "target": "price"}
    project = new_project("tabular-embeddings", tmp_path / "made", answers)
    copy_of("trusted_rows", load_config(project / "config.toml").export_dir)
    monkeypatch.chdir(project)
    capfd.readouterr()
    assert run(["predict", str(rows), "--out", str(tmp_path / "predicted.parquet"), "--trust"]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "predicted.parquet"), found, rtol=1e-5, atol=2e-6)
    capfd.readouterr()
    assert run(["predict", str(rows), "--trust"]) == 0
    assert "(conformal_set_sold " in capfd.readouterr().out


def test_images_are_written_and_shown_with_it(images, tmp_path, scored, monkeypatch, capfd):
    monkeypatch.chdir(images)
    capfd.readouterr()
    files = [f"../images/{number}.jpg" for number in range(5)]
    assert run(["predict", *files, "--json"]) == 0
    records = json.loads(capfd.readouterr().out)
    assert {"conformal", "distance", "outlier"} <= records[0].keys()
    assert records[0]["conformal"]["level"] == 0.8
    for words in (["--json", "--no-trust", *files], ["--json", "../images"]):
        assert run(["predict", *words]) == 0
        said = json.loads(capfd.readouterr().out)
        assert "conformal" not in (said if isinstance(said, list) else said["predictions"])[0]
    out = tmp_path / "out.csv"
    assert run(["predict", "--file", "../list.csv", "--out", str(out), "--trust", "--no-score-columns"]) == 0
    predicted = pd.read_csv(out, keep_default_na=False)
    assert list(predicted.columns) == [
        "path", "predicted", *(f"probability_{label}" for label in tiny.LABELS),
        "conformal_set", "trust_distance", "trust_outlier",
    ]  # fmt: skip
    scored("../list.csv", tmp_path / "scored.csv", export_of("trusted_photos"), trust=True, score_columns=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "scored.csv", keep_default_na=False), predicted, atol=2e-6)
    for row, record in zip(predicted.to_dict("records"), records, strict=True):
        assert row["conformal_set"] == "|".join(record["conformal"]["set"])
        assert row["trust_distance"] == pytest.approx(record["distance"], abs=2e-6)
        assert row["trust_outlier"] == record["outlier"]


def test_an_export_that_was_not_calibrated_is_refused_before_anything_is_read(rows, tmp_path, scored):
    with pytest.raises(ExportError, match=r"neither conformal.*train\.calibrate = true"):
        scored(rows, tmp_path / "out.csv", export_of("regression"), trust=True)
    assert not (tmp_path / "out.csv.shards").exists()
