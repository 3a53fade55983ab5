"""The commands inside a text project: one tiny trained project, and what is refused before TensorFlow loads."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from notebooks import run_notebook

from tlkit.cli.main import run
from tlkit.scaffold.new import new_project

SMALL = {
    "encoder": "bert-tiny-en-uncased",
    "weights": "none",
    "max_tokens": "32",
    "batch_size": "16",
}
COLUMNS = {"text_column": "review", "label_column": "stars"}
WORDS = {"1.0": ("dull", "awful", "boring"), "5.0": ("fine", "great", "lovely")}


def write_reviews(file: Path, count: int) -> None:
    """Made-up reviews whose labels look like numbers; every tenth is labelled wrongly."""
    rng = np.random.default_rng(0)
    labels = list(WORDS)
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["review", "stars", "film"])
        for number in range(count):
            words = WORDS[labels[number % 2]]
            table.writerow(
                [f"a {rng.choice(words)} film, number {number}", labels[(number + (number % 10 == 0)) % 2], number]
            )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that its own notebook has trained and exported: the walk of the notebook is tested by that, too."""
    place = tmp_path_factory.mktemp("text-walk")
    write_reviews(place / "reviews.csv", 60)
    sets = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    new = ["new", "text-sentiment", "reviews", "--data", "reviews.csv", "--text", "review", "--label", "stars"]
    before = Path.cwd()
    os.chdir(place)
    try:
        assert run([*new, *sets]) == 0
    finally:
        os.chdir(before)
    # Two epochs leave mistakes, which a probe would not.
    rough = ["train.head=epochs", "train.policy=head", "train.frozen_epochs=2", "train.finetune_epochs=0"]
    values = run_notebook(place / "reviews", rough)
    assert values["exported"] == place / "reviews" / "saved_models" / "reviews" / "1"
    return place / "reviews"


@pytest.fixture
def untrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_tensorflow: None) -> Path:
    """Stand in a fresh project where TensorFlow must not be needed."""
    write_reviews(tmp_path / "reviews.csv", 6)
    project = new_project("text-sentiment", tmp_path / "reviews", {**SMALL, **COLUMNS, "data_path": "../reviews.csv"})
    monkeypatch.chdir(project)
    return project


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


# A trained project


@pytest.mark.slow
def test_the_notebook_leaves_pictures_weights_and_an_export(trained: Path):
    for picture in ("learning_rate.png", "confusion_matrix.png"):
        assert (trained / "reports" / picture).read_bytes().startswith(b"\x89PNG")
    assert (trained / "checkpoints" / "best.weights.h5").stat().st_size > 1000


def test_evaluate_json_holds_metrics_and_the_surest_mistakes(inside: Path, capfd):
    assert run(["evaluate", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert set(document) == {"metrics", "per_class", "n", "errors"}
    assert set(document["per_class"]) == {"1.0", "5.0"}
    assert document["n"] == 12
    wrong = round((1 - document["metrics"]["accuracy"]) * 12)
    assert len(document["errors"]) == min(wrong, 5) > 0
    for error in document["errors"]:
        assert error["true"] != error["predicted"]
        assert {error["true"], error["predicted"]} == {"1.0", "5.0"}
        assert "reviews.csv row " in error["place"]
        assert error["text"].startswith("a ")
    confidences = [error["confidence"] for error in document["errors"]]
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[-1] >= 0.5


def test_evaluate_on_another_table_prints_classes_and_mistakes(inside: Path, capfd):
    lines = ["review,stars", '"a fine [red]film[/]\nsecond line",1.0', "a dull film,5.0", "a fine film,1.0"]
    (inside / "other.csv").write_text("\n".join(lines) + "\n")
    assert run(["evaluate", "--data", str(inside / "other.csv")]) == 0
    shown = capfd.readouterr().out
    assert "n 3" in shown
    assert ", predicted" in shown
    assert "other.csv row" in shown


def test_evaluate_refuses_a_table_of_other_classes_or_columns(inside: Path, capfd):
    (inside / "other.csv").write_text("review,stars\nx,3.0\n")
    assert run(["evaluate", "--data", str(inside / "other.csv")]) == 2
    assert "'3.0'" in capfd.readouterr().err
    (inside / "other.csv").write_text("text,label\nx,1.0\n")
    assert run(["evaluate", "--data", str(inside / "other.csv")]) == 2
    assert "has no column 'review'; allowed: text, label" in capfd.readouterr().err


def test_predict_answers_every_text_the_same_from_export_and_checkpoint(inside: Path, trained: Path, capfd):
    texts = ["what a lovely film", "", "dull " * 200]
    assert run(["predict", *texts, "--json", "--no-trust"]) == 0
    exported = json.loads(capfd.readouterr().out)
    (trained / "saved_models").rename(inside / "aside")
    try:
        assert run(["predict", *texts, "--json", "--top", "1"]) == 0
    finally:
        (inside / "aside").rename(trained / "saved_models")
    captured = capfd.readouterr()
    assert "using the trained checkpoint" in captured.err
    checkpoint = json.loads(captured.out)
    assert [row["input"] for row in exported] == [row["input"] for row in checkpoint] == texts
    for one, other in zip(exported, checkpoint, strict=True):
        assert set(one) == {"input", "classes", "scores"}
        assert sorted(one["classes"]) == ["1.0", "5.0"]
        assert one["classes"][:1] == other["classes"]
        assert other["scores"] == pytest.approx(one["scores"][:1], abs=1e-4)
    assert exported[0]["scores"] != exported[2]["scores"]


def test_a_table_comes_back_with_its_columns_and_the_answers(inside: Path, capfd, monkeypatch):
    monkeypatch.setattr("tlkit.predicting.engine.MOST", 2)  # a table is longer than what is in memory
    texts = ["a dull film", "", 'two\nlines, \u0085 and a "quote"', "what a lovely film", "fine"]
    with (inside / "in.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["id", "review"], *([f"00{n}", text] for n, text in enumerate(texts))])
    out = inside / "out.csv"
    assert run(["predict", "--file", str(inside / "in.csv"), "--out", str(out)]) == 0
    captured = capfd.readouterr()
    assert captured.out == f"{out}: 5 rows\n"
    assert "5 of 5 texts" in captured.err
    rows = rows_of(out)
    assert list(rows[0]) == [
        "id", "review", "predicted", "probability_1.0", "probability_5.0", "score_1.0", "score_5.0",
    ]  # fmt: skip
    assert [row["id"] for row in rows] == ["000", "001", "002", "003", "004"]
    assert [row["review"] for row in rows] == texts
    assert run(["predict", *texts, "--json"]) == 0
    for row, answer in zip(rows, json.loads(capfd.readouterr().out), strict=True):
        assert row["predicted"] == answer["classes"][0]
        for name, score in zip(answer["classes"], answer["scores"], strict=True):
            assert float(row[f"probability_{name}"]) == pytest.approx(score, abs=2e-6)
    assert sorted(path.name for path in inside.iterdir()) == ["in.csv", "out.csv"]


def test_an_existing_table_is_replaced_only_by_force(inside: Path, capfd):
    (inside / "in.jsonl").write_text('{"words": "fine", "n": 1}\n{"words": "dull", "tags": ["x"]}\n')
    out = inside / "out.jsonl"
    out.write_text("mine\n")
    words = ["predict", "--file", str(inside / "in.jsonl"), "--out", str(out), "--text-column", "words"]
    assert run(words) == 2
    assert "already exists" in capfd.readouterr().err
    assert out.read_text() == "mine\n"
    assert run([*words, "--force", "--json"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert summary["rows"] == sum(summary["predicted"].values()) == 2
    first, second = map(json.loads, out.read_text().splitlines())
    assert (first["words"], first["n"], second["tags"]) == ("fine", 1, ["x"])
    assert first["predicted"] in ("1.0", "5.0")
    assert first["probability_1.0"] + first["probability_5.0"] == pytest.approx(1, abs=1e-5)


def test_a_stop_in_the_middle_leaves_nothing_behind(inside: Path, capfd, monkeypatch):
    (inside / "in.csv").write_text("review\n" + "fine\n" * 10)
    monkeypatch.setattr("tlkit.predicting.engine.MOST", 4)
    asked: list[int] = []

    def predict(self, inputs):
        asked.append(len(inputs))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return [{"input": text, "classes": ["1.0", "5.0"], "scores": [0.75, 0.25]} for text in inputs]

    monkeypatch.setattr("tlkit.export.predictor.SavedModelPredictor.predict", predict)
    words = ["predict", "--file", str(inside / "in.csv"), "--out", str(inside / "out.csv")]
    assert run(words) == 130
    assert [path.name for path in inside.iterdir()] == ["in.csv"]
    asked.append(0)  # from now on it answers
    assert run(words) == 0
    assert [row["predicted"] for row in rows_of(inside / "out.csv")] == ["1.0"] * 10
    assert asked == [4, 4, 0, 4, 4, 2]


def test_a_tab_that_a_tsv_cannot_hold_is_told_with_its_row(inside: Path, capfd):
    (inside / "in.csv").write_text('review\nfine\n"with a\ttab"\n"a\rb"\n', newline="")
    words = ["predict", "--file", str(inside / "in.csv"), "--out", str(inside / "out.tsv")]
    assert run([*words, "--strict"]) == 2
    assert "in.csv row 3 holds a tab" in capfd.readouterr().err
    assert [path.name for path in inside.iterdir()] == ["in.csv"]
    assert run(words) == 1
    assert "2 of 3 rows failed:" in capfd.readouterr().err
    assert (inside / "out.tsv").read_text().splitlines()[1:][0].startswith("fine\t")
    assert len((inside / "out.tsv").read_text().splitlines()) == 2
    bad = rows_of(inside / "out.errors.csv")
    assert [row["item"] for row in bad] == ["with a\ttab", "a\rb"]
    assert ["a tab" in bad[0]["reason"], "a line break" in bad[1]["reason"]] == [True, True]


def test_rows_that_cannot_be_read_do_not_stop_the_others(inside: Path, capfd, monkeypatch):
    monkeypatch.setattr("tlkit.predicting.engine.MOST", 2)
    lines = [
        b'{"review": "fine"}',
        b"no JSON",
        b'{"review": 5}',
        b'{"other": "x"}',
        b'{"review": "caf\xe9"}',
        b'{"review": "dull"}',
    ]
    (inside / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    words = ["predict", "--file", str(inside / "in.jsonl"), "--out", str(inside / "out.csv")]
    assert run([*words, "--json"]) == 1
    captured = capfd.readouterr()
    summary = json.loads(captured.out)
    assert (summary["rows"], summary["scored"], summary["failed"]) == (6, 2, 4)
    assert sum(summary["predicted"].values()) == 2
    assert [row["review"] for row in rows_of(inside / "out.csv")] == ["fine", "dull"]
    failed = rows_of(inside / "out.errors.csv")
    assert [row["number"] for row in failed] == ["2", "3", "4", "5"]
    reasons = [
        "is not JSON",
        "has no text in column 'review'",
        "has no column 'review'",
        "a byte that is not utf-8: 0xe9",
    ]
    assert all(part in row["reason"] for part, row in zip(reasons, failed, strict=True))
    assert captured.err.count("in.jsonl line ") == 4
    assert run([*words, "--strict", "--force"]) == 2
    assert "in.jsonl line 2 is not JSON" in capfd.readouterr().err
    assert len(rows_of(inside / "out.csv")) == 2


def test_a_text_that_cannot_be_read_does_not_stop_the_others(inside: Path, capfd):
    assert run(["predict", "fine", "bad \udcff byte", "dull", "--json"]) == 1
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert [answer["input"] for answer in document["predictions"]] == ["fine", "dull"]
    (failed,) = document["failed"]
    assert failed["input"] == "text number 2"
    assert failed["reason"].startswith("is not valid UTF-8; received: ")
    assert "text number 2 is not valid UTF-8" in captured.err
    assert "1 of 3 texts failed:" in captured.err


def test_evaluate_counts_the_rows_without_a_label(inside: Path, capfd):
    lines = ["review,stars", "a dull film,1.0", "no label,", "a fine film,5.0"]
    (inside / "other.csv").write_text("\n".join(lines) + "\n")
    assert run(["evaluate", "--data", str(inside / "other.csv"), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert (document["n"], document["left_out"]) == (2, {"without_label": 1})
    (inside / "other.csv").write_text("review,stars\nx,\n")
    assert run(["evaluate", "--data", str(inside / "other.csv")]) == 2
    assert "no row of" in capfd.readouterr().err


def test_a_column_that_the_answers_need_is_refused(inside: Path, capfd):
    (inside / "in.csv").write_text("review,predicted\nfine,x\n")
    assert run(["predict", "--file", str(inside / "in.csv"), "--out", str(inside / "out.csv")]) == 2
    assert "already has a column 'predicted'" in capfd.readouterr().err


@pytest.mark.slow
def test_report_is_one_page_about_the_texts(inside: Path, trained: Path, capfd):
    assert run(["report"]) == 0
    page = trained / "reports" / "report.html"
    assert capfd.readouterr().out == f"{page}\n"
    text = page.read_text(encoding="utf-8")
    assert "<title>reviews" in text
    assert "Most confident errors" in text
    assert "film" in text
    assert "http://" not in text.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_find_lr_leaves_the_trained_network_alone(inside: Path, trained: Path, capfd):
    weights = (trained / "checkpoints" / "best.weights.h5").read_bytes()
    assert run(["find-lr", "--json"]) == 0
    assert 0 < json.loads(capfd.readouterr().out)["suggestion"] < 10
    assert (trained / "checkpoints" / "best.weights.h5").read_bytes() == weights


# Before TensorFlow loads


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "--set", "model.encoder=all-minilm-l6"], "did you mean 'all-minilm-l6-v2"),
        (["train", "--set", "model.encoder=./nowhere"], "no such folder with an encoder"),
        (["train", "--set", "model.max_tokens=513"], "received: 513; allowed: 4 to 512"),
        (["train", "--set", "model.encoder=roberta-base-en"], "cannot be exported"),
        (["find-lr", "--set", "model.encoder=roberta-base-en"], "cannot be exported"),
        (["train", "--set", "model.image_size=224"], 'it exists only for task = "image_classification"'),
        (["evaluate"], "run `tlkit train` first"),
        (["evaluate", "--data", "nowhere.csv"], "--data takes a .csv, .tsv, .jsonl or .parquet table"),
        (["evaluate", "--tta", "4"], "test-time augmentation is not available for texts"),
        (["export", "--tta", "4"], "test-time augmentation is not available for texts"),
        (["export"], "run `tlkit train` first"),
        (["verify"], "tlkit export"),
        (["serve"], "tlkit export"),
        (["report"], "run `tlkit train` first"),
        (["predict", "a film"], "run `tlkit train` first"),
        (["predict"], "there is nothing to predict"),
        (["predict", "--strict", "fine", "bad \udcff byte"], "text number 2 is not valid UTF-8"),
        (["predict", "--file", "../reviews.csv"], "--file needs --out"),
        (["predict", "--out", "out.csv", "text"], "pass the table with --file"),
        (
            ["predict", "--file", "../reviews.csv", "--out", "out.csv", "--trust"],
            "--trust needs an export of the project",
        ),
        (["predict", "text", "--file", "../reviews.csv", "--out", "out.csv"], "--file and inputs cannot be combined"),
        (
            ["predict", "--top", "1", "--file", "../reviews.csv", "--out", "out.csv"],
            "--file and --top cannot be combined",
        ),
        (["predict", "--file", "../reviews.csv", "--out", "out.csv"], "run `tlkit train` first"),
        (["predict", "--file", "../review.csv", "--out", "out.csv"], "did you mean 'reviews.csv'"),
        (["predict", "--file", "../reviews.csv", "--out", "out.xlsx"], "allowed: .csv, .tsv, .jsonl, .ndjson"),
        (["predict", "--file", "../reviews.csv", "--out", "no/out.csv"], "the folder no for"),
        (
            ["predict", "--file", "../reviews.csv", "--out", "../reviews.csv", "--force"],
            "--out is the same file as --file",
        ),
        (["predict", "--file", "../reviews.csv", "--out", "tests"], "--out must be a table"),
        (
            ["predict", "--file", "../reviews.csv", "--out", "out.csv", "--text-column", "text"],
            "has no column 'text'; allowed: review, stars, film",
        ),
        (
            ["predict", "--strict", "--file", "../numbers.jsonl", "--out", "out.csv"],
            "numbers.jsonl line 2 has no text in column",
        ),
        (["predict", "--strict", "--file", "../ragged.csv", "--out", "out.csv"], "ragged.csv row 3 has 1 fields"),
        (["predict", "--file", "../empty.csv", "--out", "out.csv"], "a header and no rows"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(untrained: Path, capsys, words: list[str], expected: str):
    above = untrained.parent
    (above / "numbers.jsonl").write_text('{"review": "x"}\n{"review": 5}\n')
    (above / "ragged.csv").write_text("id,review\n1,x\n2\n")
    (above / "empty.csv").write_text("review\n")
    before = sorted(above.rglob("*"))
    assert run(words) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(path for path in above.rglob("*") if "__pycache__" not in path.parts) == before


def test_an_export_of_photos_does_not_answer_texts(untrained: Path, capsys, monkeypatch):
    from types import SimpleNamespace

    (untrained / "saved_models" / "reviews" / "1").mkdir(parents=True)
    other = SimpleNamespace(kind="image_classification", labels=["a", "b"], objective="single_label")
    monkeypatch.setattr("tlkit.export.manifest.Manifest.read", lambda export: other)
    assert run(["predict", "what a film"]) == 2
    assert "received: 'image_classification'; allowed: text_classification" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data", "reviews.csv"], "reviews.csv has no column 'text'; allowed: review, stars, film"),
        (["--data", "reviews.csv", "--text", "review"], "has no column 'label'"),
        (["--data", "reviews.csv", "--text", "reviw"], "did you mean 'review'"),
        (["--data", "reviews.xlsx"], "is not a folder or a table; allowed: .csv, .tsv"),
        (["--data", "split"], "train.tsv has no column 'text'"),
        (["--data", "latin.csv"], "pass --encoding latin-1"),
        (["--set", "encoding=latin 1"], "encoding must be a codec"),
        (["--set", "max_tokens=3"], "max_tokens must be"),
    ],
)
def test_new_looks_at_the_table_before_it_writes(tmp_path: Path, monkeypatch, capsys, words, expected: str):
    monkeypatch.chdir(tmp_path)
    write_reviews(tmp_path / "reviews.csv", 4)
    (tmp_path / "reviews.xlsx").touch()
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "train.tsv").write_text("review\tlabel\nx\ty\n")
    (tmp_path / "latin.csv").write_bytes("text,label,caf\xe9\n".encode("latin-1"))
    before = sorted(tmp_path.rglob("*"))
    assert run(["new", "text-sentiment", "made", *words]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_new_takes_columns_encoding_and_folders(tmp_path: Path, monkeypatch, capsys):
    from tlkit.config import load_config

    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.csv").write_bytes("caf\xe9,label\n".encode("latin-1"))
    (tmp_path / "texts" / "good").mkdir(parents=True)
    options = ["--data", "latin.csv", "--text", "caf\xe9", "--set", "encoding=latin-1"]
    assert run(["new", "text-sentiment", "one", *options]) == 0
    assert 'tlkit predict "SOME TEXT"' in capsys.readouterr().out
    config = load_config("one/config.toml")
    assert (config.data.text_column, config.data.encoding, config.data.path) == ("caf\xe9", "latin-1", "../latin.csv")
    assert run(["new", "text-sentiment", "two", "--data", "texts"]) == 0
    assert load_config("two/config.toml").data.path == "../texts"
    assert run(["new", "text-sentiment", "three"]) == 0
    assert "copy train.csv, or one folder" in capsys.readouterr().out
    assert run(["new", "image-classification", "four", "--text", "kind"]) == 2
    assert "--text is not an option of the template image-classification" in capsys.readouterr().err


def test_a_report_on_photos_needs_a_trained_model(project: Path, capsys):
    assert run(["report"]) == 2
    assert "run `tlkit train` first" in capsys.readouterr().err
