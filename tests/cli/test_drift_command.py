"""`tlkit drift`: data and monitor directories against an export, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from exports import copy_of, export_of, monitored_frame

from tlkit.cli.main import run
from tlkit.export.baseline import Baseline
from tlkit.export.manifest import Manifest
from tlkit.export.monitor_files import MonitorFolder
from tlkit.export.sketch import Sketch

RELEASED = Path(__file__).parents[1] / "fixtures" / "release_0_1_0" / "exports"


@pytest.fixture(scope="module")
def export() -> Path:
    return export_of("monitored")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> Path:
    monkeypatch.chdir(tmp_path)
    capfd.readouterr()
    return tmp_path


def drift(*words: object) -> int:
    return run(["drift", *map(str, words)])


def test_fresh_rows_are_no_drift_and_changed_rows_are(export, here, capfd):
    frame = monitored_frame(300, seed=5)
    frame.to_csv("fresh.csv", index=False)
    frame.assign(distance=frame["distance"] * 3, colour="red").to_csv("changed.csv", index=False)
    assert drift(export, "fresh.csv") == 0
    out = capfd.readouterr().out
    assert "300 items against 46 of the validation data" in out
    assert "no drift" in out
    assert drift(export.parent, "changed.csv", "--json", "--report", "reports/page.html") == 1
    found = json.loads(capfd.readouterr().out)
    assert {"distance", "colour"} <= set(found["drifted"])
    assert found["items"] == 300
    assert found["baseline"] == {"items": 46, "split": "val"}
    one = next(one for one in found["statistics"] if one["name"] == "distance")
    assert one["method"] == "Kolmogorov-Smirnov"
    assert one["adjusted"] < 0.001
    page = (here / "reports" / "page.html").read_text()
    assert "shops: drift" in page
    assert Path("drift.html").is_file()
    capfd.readouterr()
    assert drift(export, "changed.csv", "--psi", "90", "--alpha", "1e-5") == 0


def test_rows_that_cannot_be_read_are_left_out_and_counted(export, here, capfd):
    frame = monitored_frame(60, seed=5).astype({"distance": object})
    frame.loc[[3, 7], "distance"] = "far"
    frame.to_csv("rows.csv", index=False)
    drift(export, "rows.csv", "--json")
    captured = capfd.readouterr()
    found = json.loads(captured.out)
    assert (found["items"], found["unusable"]) == (58, 2)
    assert "2 items cannot be used and are left out" in captured.err


def test_without_data_the_baseline_is_shown(export, here, capfd):
    assert drift(export, "--json") == 0
    found = json.loads(capfd.readouterr().out)
    assert found["input"] == ["colour", "rooms", "distance", "missing cells"]
    assert found["embedding"] == ["distance to the training data", "embedding"]
    assert drift(export) == 0
    assert "prediction: predicted sold, score of predicted sold" in capfd.readouterr().out


def test_a_monitor_directory_is_compared(export, here, capfd):
    baseline = Baseline.read(export, Manifest.read(export))
    folder = MonitorFolder.prepared(here / "monitor", "shops", 1, baseline)
    assert drift(export, "monitor") == 2
    assert "the monitor directory has no counts yet" in capfd.readouterr().err
    same = Sketch(items=46, counts=dict(baseline.sketch.counts))
    other = Sketch(items=46, dropped=3, counts={name: np.roll(own, 3) for name, own in same.counts.items()})
    folder.add("2026-11-01", other)
    for day in range(10, 17):
        folder.add(f"2026-11-{day}", same)
    assert drift(export, "monitor", "--json") == 0  # the newest seven
    assert json.loads(capfd.readouterr().out)["items"] == 7 * 46
    assert drift(export, "monitor/shops/1", "--days", "8", "--json") == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["items"], found["dropped"]) == (8 * 46, 3)
    folder.add("2026-11-17", other)
    assert drift(export, "monitor", "--days", "1", "--json") == 1
    assert "predicted sold" in json.loads(capfd.readouterr().out)["drifted"]


def test_bad_input_is_refused_in_one_line(export, here, capfd):
    def refused(*words: object) -> str:
        assert drift(*words) == 2
        (line,) = capfd.readouterr().err.splitlines()[-1:]
        assert line.startswith("error: ")
        return line

    monitored_frame(29).to_csv("few.csv", index=False)
    assert "too few items" in refused(export, "few.csv")
    assert "--alpha is out of range" in refused(export, "few.csv", "--alpha", "1")
    assert "--psi is out of range" in refused(export, "few.csv", "--psi", "-1")
    assert "the report must be an HTML file" in refused(export, "few.csv", "--report", "page.pdf")
    assert "cannot be written" in refused(export, "few.csv", "--report", "few.csv/page.html")
    assert "the input does not exist" in refused(export, "nothing.csv")
    monitored_frame(40)[["colour"]].to_csv("other.csv", index=False)
    assert "has no column 'rooms', which the model needs" in refused(export, "other.csv")
    (here / "images").mkdir()
    assert "the export takes rows: pass a table of them" in refused(export, "images")
    assert "there is no export at" in refused("nowhere", "few.csv")
    other = Baseline("val", (), Sketch(), (), digest="x")
    MonitorFolder.prepared(here / "monitor", "bees", 1, other)
    assert "belongs to another model" in refused(export, "monitor")
    older = copy_of("monitored", here / "older")
    told = json.loads((older / "manifest.json").read_text())
    told["drift"]["schema_version"] = 0
    (older / "manifest.json").write_text(json.dumps(told))
    assert "another schema; received: 'schema_version 0'" in refused(older, "few.csv")
    assert not list(here.glob("*.html"))


def test_an_export_of_the_first_release_has_no_baseline(here, capfd):
    released = next(path.parent for path in sorted(RELEASED.rglob("saved_model.pb")))
    assert drift(released, "rows.csv") == 2
    assert "has no drift baseline; export the model again" in capfd.readouterr().err
