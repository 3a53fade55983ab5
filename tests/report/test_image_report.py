"""The report on images: every target, explanations, bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import photos
import pytest
from html_page import Page
from tiny import tiny_task, tiny_value_task

import tlkit
from tlkit.errors import ConfigError
from tlkit.tasks.common.heat import place_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return photos.write_folder(tmp_path_factory.mktemp("report") / "photos", {"ants": 60, "bees": 60})


@pytest.fixture(scope="module")
def learn(folder):
    data = tlkit.images_from_folder(folder, size=32, val_fraction=0.4)
    learner = tlkit.Learner(tiny_task(("ants", "bees")), data)
    learner.fit(1, 1e-4)
    return learner


def written(learn, tmp_path, **options) -> tuple[Page, str]:
    text = learn.report(tmp_path / "report.html", title="Bees & <ants>", **options).read_text(encoding="utf-8")
    return Page(text), text


def test_a_classifier_has_metrics_confusions_heat_slices_curves_and_check(learn, tmp_path):
    rules = {"shift": {"title": "Shift", "status": "warn", "level": "warn", "count": 1, "summary": "AUC 0.7"}}
    (tmp_path / "check.json").write_text(json.dumps({"failed": [], "warned": ["shift"], "rules": rules}))
    page, text = written(learn, tmp_path, check=tmp_path / "check.json")
    metrics = learn.evaluate()
    assert page.all("h1") == ["Bees & <ants>"]
    figures = dict(zip(page.all("dt"), page.all("dd"), strict=False))
    assert figures["images"] == "48"
    wrong = round((1 - metrics.accuracy) * 48)
    assert wrong > 0
    headings = [heading.strip() for heading in page.all("h2")]
    assert headings == [
        "Classes", "Most confident errors", "Calibration", "Thresholds", "Where the model is worse", "Learning curves",
        "Data check", "Data",
    ]  # fmt: skip
    assert len(page.all("article")) == min(wrong, 20)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2 * min(wrong, 20)
    assert all(one["src"].startswith("data:image/jpeg;base64,") and one["alt"] for one in images)
    assert sum("heat of the answer: " in one["alt"] for one in images) == len(images) / 2
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert "<script" not in text
    assert "AUC 0.7" in text
    names = {str(path.relative_to(learn.data.origin)) for path in learn.data.paths("val")}
    assert {place.strip() for place in page.all("p", class_="place")} <= names
    # Every wrong item is one that the model gets wrong.
    predicted = learn.logits("val").argmax(1)
    bad = {
        str(path.relative_to(learn.data.origin))
        for path, right in zip(learn.data.paths("val"), predicted == learn.data.labels("val"), strict=True)
        if not right
    }
    assert {place.strip() for place in page.all("p", class_="place")} <= bad


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(learn, tmp_path, monkeypatch):
    monkeypatch.setattr(learn, "logits", lambda split: pytest.fail("it was computed first"))
    with pytest.raises(ConfigError, match="must be an HTML file"):
        learn.report(tmp_path / "report.txt")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        learn.report(tmp_path / "file" / "report.html")


def test_several_labels(tmp_path):
    table = photos.write_tagged(tmp_path / "photos", ("red", "green"), 40)
    data = tlkit.images_from_table(table, root=tmp_path / "photos", label_separator=";", size=32)
    page, text = written(tlkit.Learner(tiny_task(tuple(data.class_names), multi_label=True), data), tmp_path)
    assert "Labels" in [heading.strip() for heading in page.all("h2")]
    assert "true positives" in text
    assert re.search("heat of the label (red|green): ", text)
    # Eight validation images are too few.
    assert "Groups cannot be compared: 8 items, 30 are needed." in text


@pytest.mark.parametrize("kind", ["regression", "several", "survival"])
def test_values_risks_and_several_targets(kind, tmp_path):
    table = photos.write_values(tmp_path, 40)
    targets = {"regression": "brightness", "several": ["brightness", "half"]}
    chosen = targets.get(kind) or tlkit.SurvivalColumns("days", "died")
    data = tlkit.images_with_targets(table, chosen, path_column="file", size=32)
    page, text = written(tlkit.Learner(tiny_value_task(data.targets), data), tmp_path)
    headings = [heading.strip() for heading in page.all("h2")]
    if kind == "survival":
        assert "Survival by predicted risk" in headings
        assert "Largest errors" not in headings
    else:
        assert any(heading.startswith("Predicted and true values") for heading in headings)
        words = "heat of the answer" if kind == "regression" else "heat of (brightness|half)"
        assert re.search(words, text)
    assert "Data" in headings


def test_where_heat_is_highest_is_said_in_words():
    heat = np.zeros((7, 7))
    assert place_of(heat) == "nothing in the image raises it"
    heat[3, 3] = 1
    assert place_of(heat) == "highest at the centre"
    heat[6, 0] = 2
    assert place_of(heat) == "highest at the bottom left"
