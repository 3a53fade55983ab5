from __future__ import annotations

import types

import numpy as np
import pandas as pd
import pytest
from html_page import Page
from tiny_table import tiny_frame, tiny_table_task, tiny_targets

from tlkit.errors import ConfigError
from tlkit.targets.objective import measure_answers
from tlkit.targets.wrong_items import WrongItem
from tlkit.tasks.tabular.page import write_table_report
from tlkit.tasks.tabular.report import predictor, report_on_tables

EVIL = '"><script>alert(1)</script> {{ 7 * 7 }} \x00'
VOID = {"meta"}


def labels_of(kind, frame):
    sold = frame["sold"].map({"no": 0, "yes": 1, "maybe": 2}).to_numpy(np.int32)
    if kind == "single_label":
        return sold
    if kind == "multi_label":
        return np.stack([frame["tags"].str.contains(tag) for tag in ("bright", "quiet")], axis=1).astype(np.float32)
    price = frame["price"].to_numpy(np.float32)[:, None]
    return price if kind == "regression" else np.concatenate([price, sold[:, None]], axis=1).astype(np.float32)


def learner(kind, evil=False, splits=("train", "val")):
    """Stand in for a Learner on the tiny table."""
    targets = tiny_targets(kind)
    frames = {"train": tiny_frame(80), "val": tiny_frame(40, 1)}
    frames["test"] = frames["val"]
    task = tiny_table_task(kind)
    if evil:
        frames["val"].loc[0:30, "colour"] = EVIL
    data = types.SimpleNamespace(
        targets=targets,
        preprocessing=task.preprocessing,
        splits=dict.fromkeys(splits),
        frame=frames.__getitem__,
        labels=lambda split: labels_of(kind, frames[split]),
        summary=lambda: {"rows": {"train": 80}, "note": EVIL, "mean": 1.23456789, "counts": {}},
    )
    encoded = task.preprocessing.encode_frame(frames["val"])
    return types.SimpleNamespace(
        task=task,
        data=data,
        logits=lambda split: task.model(encoded).numpy(),
        measure=lambda outputs, split: measure_answers(
            task.objective.probabilities(outputs).numpy(), data.labels(split), targets
        ),
    )


@pytest.mark.parametrize(
    ("kind", "sections"),
    [
        ("single_label", ["Classes", "Calibration"]),
        ("multi_label", ["Classes", "Calibration"]),
        ("regression", ["Predicted and true"]),
    ],
)
def test_a_page_of_each_kind(tmp_path, kind, sections):
    path = report_on_tables(learner(kind), tmp_path / "r.html", title="Houses", split="val")
    page = Page(path.read_text(encoding="utf-8"), VOID)
    for section in [
        *sections,
        "Permutation importance",
        "Comparison with gradient",
        "Rows with the largest",
        "Embedding maps",
    ]:
        assert section in page.text
    assert "By " in page.text
    assert "boosting on embeddings" in page.text
    assert "all 40 rows" in page.text
    assert "mean</dt><dd>1.235" in path.read_text(encoding="utf-8")
    assert page.count("figure", class_="map") == 4  # colour, rooms, month, day of week; garden and year have too few
    assert page.count("tr") > 20


def test_it_loads_nothing_and_runs_nothing(tmp_path):
    text = report_on_tables(
        learner("single_label", evil=True), tmp_path / "r.html", title=EVIL, split="val"
    ).read_text(encoding="utf-8")  # fmt: skip
    page = Page(text, VOID)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img", "link", "iframe", "object", "base"})
    assert not any(name.startswith("on") or name in {"src", "href"} for _, found in page.tags for name in found)
    assert "url(" not in text
    assert "{{ 7 * 7 }}" in page.text
    assert "\x00" not in text


def test_without_training_rows_it_says_why_boosting_is_missing(tmp_path):
    learn = learner("regression", splits=("val",))
    text = report_on_tables(learn, tmp_path / "r.html", title="T", split="val").read_text(encoding="utf-8")
    assert "No comparison with gradient boosting: this data" in text
    assert "Comparison with gradient boosting" not in text


def test_the_page_says_that_the_best_epoch_was_chosen_by_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("tlkit.tasks.tabular.report.BOOSTED", 50)
    path = tmp_path / "r.html"
    text = Page(report_on_tables(learner("regression"), path, title="T", split="val").read_text("utf-8"), VOID).text
    assert "All metrics are for the validation set. If the best epoch was kept, it was chosen on these rows" in text
    assert "If the best epoch was kept, it was chosen on" in text
    assert "Boosting saw only 50 of the 80 training rows." in text
    assert "--split test" not in text
    learn = learner("regression", splits=("val", "test"))
    text = report_on_tables(learn, path, title="T", split="val").read_text("utf-8")
    assert "tlkit evaluate --split test" in text
    text = report_on_tables(learn, path, title="T", split="test").read_text("utf-8")
    assert "All metrics are for the test set, which was not" in text
    assert "it was chosen on" not in text


def test_it_is_for_tables(tmp_path):
    learn = types.SimpleNamespace(task=types.SimpleNamespace(kind="text_classification"))
    with pytest.raises(ConfigError, match="needs a model for tables.*text_classification"):
        report_on_tables(learn, tmp_path / "r.html", title="T", split="val")


def test_the_predictor_says_what_the_network_says():
    task, frame = tiny_table_task("regression"), tiny_frame(30)
    outputs = task.model(task.preprocessing.encode_frame(frame))
    np.testing.assert_allclose(predictor(task)(frame), task.objective.probabilities(outputs), rtol=1e-5)


def test_wrong_rows_show_their_cells(tmp_path):
    frame = pd.DataFrame({"a": ["x" * 100, None], "b": [0.1 + 0.2, np.nan], "c": pd.to_datetime(["2013-01-05", None])})
    wrong = [WrongItem(0, ("5.000",), ("7.000",), 2.0), WrongItem(1, ("1.000",), ("2.000",), 1.0)]
    metrics = measure_answers([[1.0], [2.0]], [[3.0], [0.0]], tiny_targets("regression"))
    text = write_table_report(
        tmp_path / "r.html",
        title="T",
        metrics=metrics,
        target_names=["price"],
        wrong=wrong,
        frame=frame,
        columns=["c", "b", "a"],
    ).read_text(encoding="utf-8")
    assert "<td><bdi>2013-01-05</bdi></td><td><bdi>0.3</bdi></td><td><bdi>" + "x" * 39 + "…</bdi>" in "".join(
        text.split("\n")
    )
    assert "<td><bdi></bdi></td>" * 3 in text
    assert "RMSPE excludes 1 rows" in text
    with pytest.raises(ConfigError, match="the report must be an HTML file"):
        write_table_report(tmp_path / "r.pdf", title="T", metrics=metrics, target_names=["price"])
