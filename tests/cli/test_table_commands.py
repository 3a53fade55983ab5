"""The commands inside a project of tables: one tiny trained project, and what is refused before TensorFlow loads."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from notebooks import run_notebook

from tlkit.cli.main import run
from tlkit.cli.output import show_progress_lines
from tlkit.config import load_config
from tlkit.inputs.files.fields import Reading
from tlkit.inputs.items import Item
from tlkit.inputs.row import project_rows
from tlkit.inputs.row.project_rows import ProjectRows, lacks_columns
from tlkit.inputs.row.row_file import RowFile
from tlkit.inputs.row.typed_rows import joined, like, typed
from tlkit.scaffold.new import new_project
from tlkit.tasks.tabular.findings import look_at, toml_key

HEADER = ["id", "area m2", "rooms", "heating.kind", "built", "garden", "town", "price"]
SHORT = ["train.epochs=2", "train.learning_rate=0.01", "model.hidden=[16]"]


def house(rng: np.random.Generator, number: int) -> list[object]:
    area = rng.uniform(30, 200)
    heating, garden = str(rng.choice(["gas", "oil", "wood"])), str(rng.choice(["true", "false"]))
    price = area * 2000 * (1 + 0.5 * (heating == "gas"))
    built = f"{1990 + number % 20}-0{1 + number % 9}-15"
    shown = "" if number % 10 == 3 else f"{area:.1f}"
    # The town's name is known for what only the file of towns holds.
    return [f"h{number}", shown, int(area // 40), heating, built, garden, number % 4, f"{price:.0f}"]


def write_houses(file: Path, count: int, columns: list[str] | None = None, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, columns or HEADER, extrasaction="ignore")
        table.writeheader()
        for number in range(count):
            table.writerow(dict(zip(HEADER, house(rng, number), strict=True)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that its own notebook has trained and exported: the walk of the notebook is tested by that, too."""
    place = tmp_path_factory.mktemp("table-walk")
    write_houses(place / "houses.csv", 160)
    (place / "towns.csv").write_text("town,people\n0,1000\n1,50000\n2,700\n3,9000\n")
    before = Path.cwd()
    os.chdir(place)
    try:
        assert run(["new", "tabular-embeddings", "houses", "--data", "houses.csv", "--target", "price"]) == 0
    finally:
        os.chdir(before)
    config = place / "houses" / "config.toml"
    before_join = config.read_text()
    config.write_text(before_join.replace("join = {}  ", 'join = { "../towns.csv" = "town" }'))
    assert config.read_text() != before_join
    values = run_notebook(place / "houses", SHORT)
    assert values["exported"] == place / "houses" / "saved_models" / "houses" / "1"
    text = config.read_text()
    config.write_text(text.replace("hidden = [200, 100]", "hidden = [16]"))
    assert config.read_text() != text
    return place / "houses"


@pytest.fixture
def untrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_tensorflow: None) -> Path:
    """Stand in a fresh project where TensorFlow must not be needed."""
    write_houses(tmp_path / "houses.csv", 6)
    project = new_project("tabular-embeddings", tmp_path / "houses", {"data_path": "../houses.csv", "target": "price"})
    monkeypatch.chdir(project)
    return project


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


# A trained project


@pytest.mark.slow
def test_the_notebook_leaves_a_report_weights_and_an_export(trained: Path):
    assert (trained / "reports" / "learning_rate.png").read_bytes().startswith(b"\x89PNG")
    assert "<title>houses" in (trained / "reports" / "report.html").read_text(encoding="utf-8")
    assert (trained / "checkpoints" / "best.weights.h5").stat().st_size > 1000


def test_evaluate_json_holds_metrics_and_the_worst_rows(inside: Path, capfd):
    assert run(["evaluate", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert {"metrics", "n", "errors"} <= set(document)
    assert {"rmse", "mae", "r2"} <= set(document["metrics"])
    assert document["n"] == 32
    assert len(document["errors"]) == 5
    losses = [error["loss"] for error in document["errors"]]
    assert losses == sorted(losses, reverse=True)
    assert all("houses.csv row " in error["place"] for error in document["errors"])


def test_evaluate_measures_other_rows_and_other_splits(inside: Path, capfd):
    write_houses(inside / "test.csv", 20, seed=1)
    assert run(["evaluate", "--data", str(inside / "test.csv")]) == 0
    out = capfd.readouterr().out
    assert "RMSE" in out
    assert "predicted" in out
    assert "test.csv row" in out
    assert run(["evaluate", "--split", "train", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["n"] == 128
    assert run(["evaluate", "--split", "test"]) == 2
    assert "'test'" in capfd.readouterr().err


def test_evaluate_refuses_rows_without_the_target_or_a_column(inside: Path, capfd):
    write_houses(inside / "test.csv", 20, [name for name in HEADER if name != "price"])
    assert run(["evaluate", "--data", str(inside / "test.csv")]) == 2
    assert "'price'" in capfd.readouterr().err
    write_houses(inside / "test.csv", 20, [name for name in HEADER if name != "garden"])
    assert run(["evaluate", "--data", str(inside / "test.csv")]) == 2
    assert "'garden'" in capfd.readouterr().err


def test_a_table_comes_back_with_its_columns_and_the_answers(inside: Path, trained: Path, capfd, monkeypatch):
    monkeypatch.setattr("tlkit.predicting.engine.MOST", 7)  # a table is longer than what is in memory
    write_houses(inside / "rows.csv", 30, [*HEADER[:-1]], seed=2)
    given = rows_of(inside / "rows.csv")
    out = inside / "scored.csv"
    assert run(["predict", str(inside / "rows.csv"), "--out", str(out)]) == 0
    captured = capfd.readouterr()
    assert captured.out == f"{out}: 30 rows\n"
    assert "30 of 30 rows" in captured.err
    rows = rows_of(out)
    assert list(rows[0]) == [*HEADER[:-1], "predicted_price"]
    assert [{name: row[name] for name in HEADER[:-1]} for row in rows] == given
    exported = [float(row["predicted_price"]) for row in rows]
    assert len(set(exported)) > 10
    (trained / "saved_models").rename(inside / "aside")
    try:
        assert run(["predict", "--file", str(inside / "rows.csv"), "--json"]) == 0
    finally:
        (inside / "aside").rename(trained / "saved_models")
    captured = capfd.readouterr()
    assert "using the trained checkpoint" in captured.err
    answers = json.loads(captured.out)
    assert [answer["row"] for answer in answers] == list(range(1, 31))
    assert [answer["predicted_price"] for answer in answers] == pytest.approx(exported, rel=1e-4)
    assert sorted(path.name for path in inside.iterdir()) == ["rows.csv", "scored.csv"]


def test_predict_answers_what_the_network_said_of_the_same_rows_in_training(inside: Path, trained: Path, capfd):
    from tlkit.cli.project import find_project
    from tlkit.cli.trained import load_learner

    project = find_project(trained)
    with project.code() as code:
        learn = load_learner(project, code)
        wanted = learn.task.objective.probabilities(learn.logits("val")).numpy()[:, 0]
        places = learn.data.places("val", range(len(wanted)))
    table = rows_of(trained.parent / "houses.csv")
    chosen = [table[int(place.rpartition(" ")[2]) - 2] for place in places]
    assert "" in {row["area m2"] for row in chosen}  # what is missing is answered alike, too
    assert answers_to(inside / "val.csv", chosen, capfd) == pytest.approx(wanted.tolist(), rel=1e-4)


def items_of(fields: list[dict], places: list[str]) -> list[Item]:
    return [Item(number, place, None, own) for number, (own, place) in enumerate(zip(fields, places, strict=True))]


def answers_to(file: Path, rows: list[dict[str, str]], capfd) -> list[float]:
    """Give the predicted prices of some rows, which are written without their true ones."""
    names = [name for name in rows[0] if name != "price"]
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, names, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    capfd.readouterr()
    assert run(["predict", str(file), "--json"]) == 0
    return [answer["predicted_price"] for answer in json.loads(capfd.readouterr().out)]


def test_a_column_that_is_looked_up_is_read_by_the_network(inside: Path, trained: Path, capfd):
    rows = rows_of(trained.parent / "houses.csv")[:8]
    plain = answers_to(inside / "rows.csv", rows, capfd)
    people = {"0": "1000", "1": "50000", "2": "700", "3": "9000"}
    same = answers_to(inside / "rows.csv", [{**row, "people": people[row["town"]]} for row in rows], capfd)
    assert same == pytest.approx(plain, rel=1e-5)
    far = {"0": "50000", "1": "50000", "2": "50000", "3": "700"}  # for all but the second, as far away as there is
    other = answers_to(inside / "rows.csv", [{**row, "people": far[row["town"]]} for row in rows], capfd)
    changed = [row["town"] != "1" for row in rows]
    assert [a != pytest.approx(b, rel=1e-5) for a, b in zip(plain, other, strict=True)] == changed


def test_the_column_of_the_target_is_copied_and_never_read(inside: Path, trained: Path, capfd):
    rows = rows_of(trained.parent / "houses.csv")[:3]
    plain = answers_to(inside / "rows.csv", rows, capfd)
    with (inside / "priced.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows({**row, "price": "not known"} for row in rows)
    words = ["predict", str(inside / "priced.csv"), "--out", str(inside / "out.csv")]
    assert run([*words, "--target", "pric"]) == 2
    assert "has no column 'pric'" in capfd.readouterr().err
    assert run([*words, "--target", "price"]) == 0
    out = rows_of(inside / "out.csv")
    assert [row["price"] for row in out] == ["not known"] * 3
    assert [float(row["predicted_price"]) for row in out] == pytest.approx(plain, rel=1e-5)


def test_every_form_gives_the_same_answers(inside: Path, capfd, monkeypatch):
    import pandas as pd

    monkeypatch.setattr("tlkit.predicting.engine.MOST", 4)
    write_houses(inside / "rows.csv", 10, [*HEADER[:-1]], seed=3)
    frame = pd.read_csv(inside / "rows.csv")
    frame.to_parquet(inside / "rows.parquet")
    frame.to_csv(inside / "rows.tsv", sep="\t", index=False)
    frame.to_json(inside / "rows.jsonl", orient="records", lines=True)
    frame.to_csv(inside / "packed.csv.gz", index=False)
    found = {}
    for form in ("csv", "tsv", "jsonl", "parquet"):
        out = inside / f"out.{form}"
        given = "packed.csv.gz" if form == "csv" else f"rows.{form}"
        assert run(["predict", str(inside / given), "--out", str(out)]) == 0
        scored = {
            "csv": pd.read_csv,
            "tsv": lambda path: pd.read_csv(path, sep="\t"),
            "jsonl": lambda path: pd.read_json(path, lines=True),
            "parquet": pd.read_parquet,
        }[form](out)
        found[form] = scored["predicted_price"].tolist()
        assert scored["id"].tolist() == frame["id"].tolist()
    assert found["csv"] == pytest.approx(found["parquet"], rel=1e-6)
    assert found["csv"] == pytest.approx(found["jsonl"], rel=1e-6)
    assert found["csv"] == pytest.approx(found["tsv"], rel=1e-6)


def test_an_existing_table_is_replaced_only_by_force(inside: Path, capfd):
    write_houses(inside / "rows.csv", 5, [*HEADER[:-1]])
    out = inside / "scored.jsonl"
    out.write_text("mine\n")
    words = ["predict", str(inside / "rows.csv"), "--out", str(out)]
    assert run(words) == 2
    assert "already exists" in capfd.readouterr().err
    assert out.read_text() == "mine\n"
    assert run([*words, "--force", "--json"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert summary["rows"] == 5
    values = [json.loads(line)["predicted_price"] for line in out.read_text().splitlines()]
    told = summary["predicted"]["price"]
    assert (told["min"], told["max"]) == (min(values), max(values))
    assert told["mean"] == pytest.approx(np.mean(values))


def test_a_stop_in_the_middle_leaves_nothing_behind(inside: Path, capfd, monkeypatch):
    write_houses(inside / "rows.csv", 10, [*HEADER[:-1]])
    monkeypatch.setattr("tlkit.predicting.engine.MOST", 4)
    asked: list[int] = []

    def answer(self, frame, rows_at_once):
        asked.append(len(frame))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {self.manifest.interface.answers: np.zeros((len(frame), 1), np.float32)}

    monkeypatch.setattr("tlkit.export.predictor.SavedModelPredictor.predict_frame", answer)
    for form in ("csv", "parquet"):
        asked.clear()
        assert run(["predict", str(inside / "rows.csv"), "--out", str(inside / f"out.{form}")]) == 130
        assert [path.name for path in inside.iterdir()] == ["rows.csv"]
        assert asked == [4, 4]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "area m2",
            "large",
            "row 4, column 'area m2' has another type than in training; received: 'large'; allowed: num",
        ),
        ("rooms", "2.5", "row 4, column 'rooms' has another type than in training; received: '2.5'; allowed: whole"),
        (
            "area m2",
            "inf",
            "row 4, column 'area m2' has another type than in training; received: 'inf'; allowed: numbers,",
        ),
        ("built", "19/06/2015", "row 4, column 'built' has another type than in training; received: '19/06/2015'; al"),
    ],
)
def test_a_field_of_another_type_is_told_with_its_row(inside: Path, capfd, name: str, value: str, expected: str):
    write_houses(inside / "rows.csv", 5, [*HEADER[:-1]])
    rows = rows_of(inside / "rows.csv")
    rows[2][name] = value
    with (inside / "rows.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, HEADER[:-1])
        table.writeheader()
        table.writerows(rows)
    words = ["predict", str(inside / "rows.csv"), "--out", str(inside / "out.csv")]
    assert run([*words, "--strict"]) == 2
    assert expected in capfd.readouterr().err
    assert [path.name for path in inside.iterdir()] == ["rows.csv"]
    assert run(words) == 1
    captured = capfd.readouterr()
    assert f"{inside / 'out.csv'}: 4 of 5 rows, 1 failed" in captured.out
    assert "1 of 5 rows failed:" in captured.err
    assert expected in captured.err
    assert [row["id"] for row in rows_of(inside / "out.csv")] == ["h0", "h1", "h3", "h4"]
    (bad,) = rows_of(inside / "out.errors.csv")
    assert (bad["number"], bad["place"]) == ("3", f"{inside / 'rows.csv'} row 4")
    assert expected in bad["reason"]
    assert json.loads(bad["item"])["id"] == "h2"


def messy_rows(file: Path) -> None:
    """Write seven rows, of which the second, the fourth and the sixth cannot be read."""
    write_houses(file, 7, [*HEADER[:-1]])
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2] = b"h1,too,few\n"
    lines[4] = lines[4].replace(b"h3", b"h\xe9")
    lines[6] = lines[6].replace(b",true,", b",tr\0ue,").replace(b",false,", b",fal\0se,")
    file.write_bytes(b"".join(lines))


def test_rows_that_cannot_be_read_do_not_stop_the_others(inside: Path, capfd, monkeypatch):
    monkeypatch.setattr("tlkit.predicting.engine.MOST", 3)
    messy_rows(inside / "rows.csv")
    out = inside / "out.jsonl"
    assert run(["predict", str(inside / "rows.csv"), "--out", str(out), "--json"]) == 1
    captured = capfd.readouterr()
    summary = json.loads(captured.out)
    assert (summary["rows"], summary["scored"], summary["failed"]) == (7, 4, 3)
    assert summary["errors"] == str(inside / "out.errors.jsonl")
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == ["h0", "h2", "h4", "h6"]
    bad = [json.loads(line) for line in (inside / "out.errors.jsonl").read_text().splitlines()]
    assert [one["number"] for one in bad] == [2, 4, 6]
    assert [one["reason"] for one in bad] == [
        "3 fields where the header has 7",
        "column 'id' contains a byte that is not utf-8: 0xe9",
        "column 'garden' contains NUL bytes",
    ]
    assert captured.err.count("rows.csv row ") == 3
    assert run(["predict", str(inside / "rows.csv"), "--json"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert [answer["row"] for answer in document["predictions"]] == [1, 3, 5, 7]
    assert [one["row"] for one in document["failed"]] == [2, 4, 6]
    assert document["failed"][0]["reason"] == "3 fields where the header has 7"
    assert run(["predict", str(inside / "rows.csv"), "--strict"]) == 2
    assert "the file is not text: it contains NUL bytes" in capfd.readouterr().err


def test_a_table_of_failures_is_never_overwritten_unasked_and_goes_when_nothing_fails(inside: Path, capfd):
    messy_rows(inside / "rows.csv")
    words = ["predict", str(inside / "rows.csv"), "--out", str(inside / "out.csv")]
    errors = inside / "out.errors.csv"
    errors.write_text("mine\n")
    assert run(words) == 2
    assert f"{errors} already exists" in capfd.readouterr().err
    assert errors.read_text() == "mine\n"
    assert run([*words, "--force"]) == 1
    assert len(rows_of(errors)) == 3
    write_houses(inside / "rows.csv", 5, [*HEADER[:-1]])
    assert run([*words, "--force"]) == 0
    assert not errors.exists()
    errors.write_bytes((inside / "rows.csv").read_bytes())
    (inside / "out.csv").unlink()
    assert run(["predict", str(errors), "--out", str(inside / "out.csv"), "--force"]) == 2
    assert "is the file for the failed rows of" in capfd.readouterr().err
    assert len(rows_of(errors)) == 5


def test_formulas_are_escaped_when_asked_and_numbers_are_not(inside: Path, capfd):
    write_houses(inside / "rows.csv", 2, [*HEADER[:-1]])
    text = (inside / "rows.csv").read_text().replace("h0", "=1+1", 1).replace("h1", "-3.5", 1)
    (inside / "rows.csv").write_text(text)
    words = ["predict", str(inside / "rows.csv"), "--out"]
    assert run([*words, str(inside / "plain.csv")]) == 0
    assert run([*words, str(inside / "safe.csv"), "--escape-formulas"]) == 0
    assert [row["id"] for row in rows_of(inside / "plain.csv")] == ["=1+1", "-3.5"]
    assert [row["id"] for row in rows_of(inside / "safe.csv")] == ["'=1+1", "-3.5"]
    assert run([*words, str(inside / "safe.parquet"), "--escape-formulas"]) == 2
    assert "--escape-formulas is an option for .csv and .tsv" in capfd.readouterr().err


def test_a_carriage_return_stays_in_its_field(inside: Path, capfd):
    import pandas as pd

    write_houses(inside / "rows.csv", 2, [*HEADER[:-1]])
    text = (inside / "rows.csv").read_text().replace("h0", '"a\rb"', 1)
    (inside / "rows.csv").write_text(text, newline="")
    for suffix, separator in ((".csv", ","), (".tsv", "\t")):
        assert run(["predict", str(inside / "rows.csv"), "--out", str(inside / f"out{suffix}")]) == 0
        assert pd.read_csv(inside / f"out{suffix}", sep=separator)["id"].tolist() == ["a\rb", "h1"]
        assert run(["predict", str(inside / f"out{suffix}")]) == 0


def test_evaluate_counts_the_rows_without_a_target(inside: Path, capfd):
    write_houses(inside / "test.csv", 20, seed=1)
    rows = rows_of(inside / "test.csv")
    for row in rows[:3]:
        row["price"] = ""
    with (inside / "test.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, HEADER)
        table.writeheader()
        table.writerows(rows)
    assert run(["evaluate", "--data", str(inside / "test.csv"), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert (document["n"], document["left_out"]) == (17, {"without_label": 3})
    assert run(["evaluate", "--data", str(inside / "test.csv")]) == 0
    assert f"3 rows of {inside / 'test.csv'} have no label and were skipped" in capfd.readouterr().err
    assert run(["evaluate", "--json"]) == 0
    assert "left_out" not in json.loads(capfd.readouterr().out)


def test_a_file_without_a_column_or_with_an_answer_is_refused(inside: Path, capfd):
    write_houses(inside / "rows.csv", 5, ["area m2", "rooms", "town"])
    assert run(["predict", str(inside / "rows.csv")]) == 2
    assert "has no column 'heating.kind'" in capfd.readouterr().err
    write_houses(inside / "rows.csv", 5)
    text = (inside / "rows.csv").read_text().replace("price", "predicted_price", 1)
    (inside / "rows.csv").write_text(text)
    assert run(["predict", str(inside / "rows.csv"), "--out", str(inside / "out.csv")]) == 2
    assert "already has a column 'predicted_price'" in capfd.readouterr().err


def test_the_type_of_a_parquet_column_does_not_hang_on_its_first_rows(inside: Path, capfd, monkeypatch):
    import pandas as pd
    import pyarrow.parquet as pq

    monkeypatch.setattr("tlkit.predicting.engine.MOST", 4)
    write_houses(inside / "rows.csv", 10, [*HEADER[:-1]])
    frame = pd.read_csv(inside / "rows.csv")
    frame["note"] = [*[None] * 6, "late", None, None, "later"]
    frame["sold"] = pd.to_datetime(pd.Series([*[None] * 9, "2020-01-02"]))
    frame["size"] = [1, 2, 3, 4, 5, 6, 7.5, 8, 9, 10]
    frame["never"] = None
    frame["never"] = frame["never"].astype("str")
    frame.to_parquet(inside / "rows.parquet")
    with (inside / "rows.jsonl").open("w") as stream:
        for row in frame.drop(columns="sold").to_dict("records"):
            plain = {name: None if value != value else value for name, value in row.items()}
            plain["size"] = int(row["size"]) if row["size"] == int(row["size"]) else row["size"]
            stream.write(json.dumps(plain) + "\n")
    assert run(["predict", str(inside / "rows.parquet"), "--out", str(inside / "a.parquet")]) == 0
    assert run(["predict", str(inside / "rows.jsonl"), "--out", str(inside / "b.parquet")]) == 0
    given, first, second = (pq.read_schema(inside / f"{name}.parquet") for name in ("rows", "a", "b"))
    assert [first.field(name).type for name in given.names] == given.types
    assert str(first.field("predicted_price").type) == "double"
    assert [str(second.field(name).type) for name in ("note", "size", "never")] == ["string", "double", "string"]
    for name in ("a", "b"):
        made = pq.read_table(inside / f"{name}.parquet")
        assert made["note"].to_pylist()[-4:] == ["late", None, None, "later"]
        assert made["size"].to_pylist() == frame["size"].tolist()


def test_rows_are_shown_to_a_person(inside: Path, capfd):
    write_houses(inside / "rows.csv", 23)
    assert run(["predict", str(inside / "rows.csv")]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("row 1: price ")
    assert lines[-1] == "and 3 more; use --out to write them all"


def test_embeddings_are_written_and_another_project_begins_with_them(inside: Path, trained: Path, capfd):
    folder = inside / "vectors"
    assert run(["embeddings", "export", "--to", str(folder), "--maps"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert str(folder / "heating_kind.csv") in lines
    assert (trained / "reports" / "embedding_heating_kind.png").read_bytes().startswith(b"\x89PNG")
    table = rows_of(folder / "heating_kind.csv")
    assert {row["value"] for row in table} == {"(unknown)", "(missing)", "gas", "oil", "wood"}
    assert run(["embeddings", "export", "--to", str(folder)]) == 2
    assert "is not empty" in capfd.readouterr().err
    overrides = [f"model.start_from={folder}", "model.freeze_embeddings=true"]
    values = run_notebook_until_built(trained, overrides)
    code = next(n for n, code in enumerate(values["data"].preprocessing.codes) if code.name == "heating.kind")
    weights = values["task"].features.get_layer(f"embedding_{code}").get_weights()[0]
    wood = values["data"].preprocessing.codes[code].labels.index("wood")
    row = next(row for row in table if row["value"] == "wood")
    np.testing.assert_allclose(weights[wood], [float(row[f"v{n + 1}"]) for n in range(weights.shape[1])])
    assert not values["task"].groups[0].trainable
    assert values["task"].groups[1].trainable


def run_notebook_until_built(project: Path, overrides: list[str]) -> dict:
    """Give what the project's own code makes of its data, without training."""
    from tlkit.cli.project import find_project

    found = find_project(project, overrides)
    with found.code() as code:
        data = code.train.load_data(found.config)
        return {"data": data, "task": found.kind.build_task(code, found.config, data)}


def test_find_lr_leaves_the_trained_network_alone(inside: Path, trained: Path, capfd):
    weights = (trained / "checkpoints" / "best.weights.h5").read_bytes()
    assert run(["find-lr", "--json"]) == 0
    assert 0 < json.loads(capfd.readouterr().out)["suggestion"] < 10
    assert (trained / "checkpoints" / "best.weights.h5").read_bytes() == weights


def test_a_table_that_encodes_otherwise_than_in_training_is_told(inside: Path, trained: Path, capfd):
    config = trained / "config.toml"
    text = config.read_text()
    try:
        config.write_text(text.replace('rooms = "categorical"', 'rooms = "continuous"'))
        assert config.read_text() != text
        assert run(["evaluate"]) == 2
    finally:
        config.write_text(text)
    err = capfd.readouterr().err
    assert "column 'rooms' differs" in err
    assert err.count("\n") <= 3  # not the whole of both tables


# Reading rows


def test_a_field_means_the_same_whatever_else_stands_in_the_chunk():
    from tlkit.inputs.row.columns import Categorical, Continuous

    columns = [
        Categorical("n", "n", "int64", ("3",)),
        Categorical("s", "s", "string", ("007", "0.5")),
        Categorical("b", "b", "string", ("false", "true")),
        Continuous("x", "x"),
    ]
    texts = [
        {"n": "3", "s": "007", "b": "True", "x": "1e3"},
        {"n": "3.0", "s": "0.50", "b": "FALSE", "x": " 2 "},
        {"n": "", "s": "NA", "b": "?", "x": "NaN"},
        {"n": "1234567890123456781.0", "s": "007", "b": "True", "x": "1"},
    ]
    long = typed(items_of(texts[3:], ["d"]), columns, ("",))
    assert long["n"].tolist() == [1234567890123456781]
    texts = texts[:3]
    frame = typed(items_of(texts, ["a", "b", "c"]), columns, ("", "?", "NA", "NaN"))
    assert frame["n"].tolist()[:2] == [3, 3]
    assert frame["s"].tolist()[:2] == ["007", "0.5"]
    assert frame["b"].tolist()[:2] == ["true", "false"]
    assert frame["x"].tolist()[:2] == [1000.0, 2.0]
    assert frame.iloc[2].isna().all()
    alone = typed(items_of(texts[2:], ["c"]), columns, ("", "?", "NA", "NaN"))
    assert alone.dtypes.tolist() == frame.dtypes.tolist()


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("3.5", "whole numbers"),
        ("three", "whole numbers"),
        ("1e3", "whole numbers"),
        ("9223372036854775808", r"whole numbers between -2\*\*63 and 2\*\*63"),
        ("3_0", "whole numbers"),
        (True, "whole numbers"),
        (1234567890123456781.0, r"whole numbers; a float beyond 2\*\*53 has lost digits"),
    ],
)
def test_what_is_no_whole_number_is_refused(value: object, allowed: str):
    from tlkit.errors import DataError
    from tlkit.inputs.row.columns import Categorical

    with pytest.raises(DataError, match=rf"r 2, column 'n' has another type than in training.*allowed: {allowed}"):
        typed(items_of([{"n": value}], ["r 2"]), [Categorical("n", "n", "int64", ("3",))], ("",))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (["area;price;town"], "check the separator: pass separator=';'"),
        (["a", "b"], "3 columns are missing"),
    ],
)
def test_a_file_with_another_separator_is_named_as_such(header: list[str], said: str):
    error = lacks_columns(RowFile(Path("a.csv")), header, ["area", "price", "town"])
    assert "a.csv has no column 'area'" in str(error)
    assert said in str(error).replace('"', "'")


def test_values_without_the_unit_are_said_by_new(tmp_path: Path, capfd):
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{n}.5 kg,{n}.25\n" for n in range(40)) + "7,1.5\n8,2.5\n")
    show_progress_lines()
    look_at({"target": "y"}, tmp_path / "a.csv")
    assert "column 'x': unit \"kg\", as in '10.5 kg'; 2 values without the unit; written" in capfd.readouterr().err


def test_problems_are_collected_row_by_row():
    from tlkit.errors import DataError
    from tlkit.inputs.row.columns import Categorical, Continuous, Date

    columns = [
        Categorical("n", "n", "int64", ("3",)),
        Continuous("x", "x"),
        Date("d", "d", parts=("year",), years=(2012,)),
    ]
    rows = [
        {"n": "3", "x": "1", "d": "2012-01-02"},
        {"n": "three", "x": "large", "d": "2012-01-02"},
        {"n": "3", "x": "2", "d": "never"},
        {"n": "", "x": "4", "d": ""},
    ]
    problems: dict[int, str] = {}
    frame = typed(items_of(rows, ["r 2", "r 3", "r 4", "r 5"]), columns, ("",), problems=problems)
    assert len(frame) == 4
    assert frame["x"].tolist()[2:] == [2.0, 4.0]
    assert sorted(problems) == [1, 2]
    assert problems[1].startswith("r 3, column 'n' has another type than in training; received: 'three'")
    assert problems[2].startswith("r 4, column 'd' has another type than in training; received: 'never'")
    late = [rows[0], rows[2], rows[1]]
    with pytest.raises(DataError, match="r 3, column 'd' has another type than in training; received: 'never'"):
        typed(items_of(late, ["r 2", "r 3", "r 4"]), columns, ("",))  # of the first row, whatever its column


def test_problems_with_the_keys_of_further_tables_are_collected():
    import pandas as pd

    towns = pd.DataFrame({"town": [1, 2], "people": [10.0, 20.0]})
    chunk = items_of([{"town": "1"}, {"town": "x"}, {"town": "2"}], ["r 2", "r 3", "r 4"])
    problems: dict[int, str] = {}
    frame = joined(pd.DataFrame(index=range(3)), chunk, [(towns, ["town"])], ["people"], Reading(), problems)
    assert frame["people"].tolist()[::2] == [10.0, 20.0]
    assert list(problems) == [1]
    assert "column 'town' has another type than in training; received: 'x'" in problems[1]


def test_other_separators_and_spaces_after_them_are_read(tmp_path: Path):
    (tmp_path / "a.csv").write_text('x;"the y"\n1;"a;b"\n\n2;c\n')
    rows = RowFile(tmp_path / "a.csv", ";")
    assert rows.survey() == (["x", "the y"], 2)
    assert [item.fields for item in rows] == [{"x": "1", "the y": "a;b"}, {"x": "2", "the y": "c"}]
    (tmp_path / "b.csv").write_text("x, y\n1, a\n2, b\n")
    assert list(RowFile(tmp_path / "b.csv"))[1].fields == {"x": "2", "y": "b"}


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.tsv.gz"])
def test_packed_tables_are_read_row_by_row(tmp_path: Path, name: str):
    import gzip

    text = "x,y\n1,a\n\n2,b\n".replace(",", "\t" if "tsv" in name else ",")
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    rows = list(RowFile(tmp_path / name))
    assert [item.fields for item in rows] == [{"x": "1", "y": "a"}, {"x": "2", "y": "b"}]
    assert [item.place for item in rows] == [f"{tmp_path / name} row 2", f"{tmp_path / name} row 4"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"x;y\n1;2\n3;4\n", r"separated by semicolons, not by commas.*pass separator"),
        ("a.csv", b"x,y\n1,2\n3\n", r"row 3 has 1 fields where the header has 2"),
        ("a.csv", b'x,y\n1,2\n3,"4\n', r"the quote that .*a.csv row 3 opens is never closed"),
        ("a.csv", b"x,y\n1,2\n3,\xff\n", r"line 3 contains a byte that is not utf-8"),
        ("a.csv.gz", b"x,y\n1,2\n", r"the table cannot be decompressed"),
    ],
)
def test_a_table_that_cannot_be_read_is_explained(tmp_path: Path, name: str, content: bytes, expected: str):
    from tlkit.errors import DataError

    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=expected):
        RowFile(tmp_path / name).survey()


def test_true_and_false_are_numbers_where_they_were_in_training():
    from tlkit.inputs.row.columns import Continuous

    texts = [{"x": "True"}, {"x": "false"}, {"x": "0.5"}]
    assert typed(items_of(texts, ["a", "b", "c"]), [Continuous("x", "x")], ("",))["x"].tolist() == [1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("kind", "value"),
    [("continuous", v) for v in ("inf", "-Infinity", "1e999", "NAN")]
    + [("date", v) for v in ("19/06/2015", "2015-02-30", "2015-06", "20150619", "soon")],
)
def test_what_the_graph_would_take_for_missing_is_refused(kind: str, value: str):
    from tlkit.errors import DataError
    from tlkit.inputs.row.columns import Continuous, Date

    column = Continuous("c", "c") if kind == "continuous" else Date("c", "c")
    good = {"continuous": ["1", "", "?"], "date": ["2015-06-19", "", " 2015-06-19T13:05:00Z "]}[kind]
    known = [{"c": text} for text in good]
    assert len(typed(items_of(known, ["r 2", "r 3", "r 4"]), [column], ("", "?"))) == 3
    with pytest.raises(
        DataError, match=r"r 5, column 'c' has another type than in training.*allowed: (numbers, " r"finite|dates as)"
    ):
        typed(items_of([*known, {"c": value}], ["r 2", "r 3", "r 4", "r 5"]), [column], ("", "?"))


def test_dates_of_parquet_are_dates():
    import datetime

    from tlkit.inputs.row.columns import Date

    values = [datetime.date(2015, 6, 19), datetime.datetime(2015, 6, 19, 13, 5), None]
    frame = typed(items_of([{"c": value} for value in values], ["a", "b", "c"]), [Date("c", "c")], ("",))
    assert frame["c"].tolist()[:2] == ["2015-06-19", "2015-06-19T13:05:00"]
    assert frame["c"].isna().tolist() == [False, False, True]


# Looking up


@pytest.mark.parametrize(
    ("keys", "fields"),
    [
        (["2024-01-01", "2024-01-02"], ["2024-01-02", "NA", "2024-01-01", "", "2030-01-01"]),
        ([1, 2], ["2", "NA", "1.0", "", "7"]),
        ([0.5, 2.0], ["2", "NA", ".5", "", "7"]),
        ([False, True], ["True", "NA", "false", "", ""]),
        (["a", "b"], ["b", "NA", "a", "", "c"]),
    ],
)
@pytest.mark.parametrize("gaps", [True, False])
def test_keys_to_look_up_have_the_type_of_the_other_table(keys: list, fields: list[str], gaps: bool):
    import pandas as pd

    values = pd.Series(keys)
    other = pd.DataFrame({"key": pd.to_datetime(values) if str(keys[0]).startswith("2024") else values, "x": [10, 20]})
    fields = fields if gaps else [fields[0], fields[2], fields[0], fields[2], fields[2]]
    chunk = items_of([{"key": field} for field in fields], list("abcde"))
    frame = joined(pd.DataFrame(index=range(5)), chunk, [(other, ["key"])], ["x"], Reading())
    found = [None if value != value else int(value) for value in frame["x"].tolist()]
    assert found == ([20, None, 10, None, None] if gaps else [20, 10, 20, 10, 10])


@pytest.mark.parametrize(("dtype", "value"), [("int64", "x"), ("datetime64[us]", "soon"), ("bool", "maybe")])
def test_a_key_of_another_type_is_told_with_its_row(dtype: str, value: str):
    from tlkit.errors import DataError

    with pytest.raises(DataError, match="r 3, column 'key' has another type than in training"):
        like(items_of([{"key": ""}, {"key": value}], ["r 2", "r 3"]), "key", np.dtype(dtype), Reading())


@pytest.fixture
def shops(tmp_path: Path):
    """A project of shops with days of events, whose actions stand in a further table; and its preprocessing."""
    from tlkit.cli.project import find_project
    from tlkit.inputs.row.reading import table_from_file

    rng = np.random.default_rng(0)
    days = np.arange("2024-01-01", "2024-03-01", dtype="M8[D]").astype(str)
    lines = [f"{day},{shop},{int(rng.random() < 0.2)},{rng.uniform(1, 9):.2f}" for day in days for shop in (1, 2)]
    head = "day,shop,promo,sold"
    (tmp_path / "sold.csv").write_text("\n".join([head, *lines[:80]]) + "\n")
    (tmp_path / "new.csv").write_text("\n".join([head, *lines[80:]]) + "\n")
    (tmp_path / "days.csv").write_text(
        "day,fair\n" + "".join(f"{day},{int(n % 9 == 4)}\n" for n, day in enumerate(days))
    )
    folder = new_project("tabular-embeddings", tmp_path / "shops", {"data_path": "../sold.csv", "target": "sold"})
    words = ['data.events=["promo","fair"]', "data.event_group=shop", 'data.join={"../days.csv"="day"}']
    project = find_project(folder, words)
    options = project.config.table_options
    data = table_from_file(
        project.config.data_path, project.config.targets, **{**options, "kinds": {"shop": "categorical"}}
    )
    assert any(column.name == "fair days since" for column in data.preprocessing.columns)
    return project, data


def test_columns_about_events_are_made_as_evaluate_makes_them(shops, tmp_path: Path, monkeypatch):
    from tlkit.inputs.row.evaluating import table_to_evaluate

    monkeypatch.setattr(project_rows, "ROWS", 7)
    project, data = shops
    new = tmp_path / "new.csv"
    reading = {**project.config.reading, "history": project.config.data_path}
    wanted = table_to_evaluate(new, data.preprocessing, data.targets, **reading).encoded("test")
    rows = RowFile(new)
    frame_of = ProjectRows(project.config, data.preprocessing, rows.survey()[0], rows).frame
    items = list(rows)
    chunks = [items[start : start + 7] for start in range(0, len(items), 7)]
    found = np.concatenate([data.preprocessing.encode_frame(frame_of(chunk)) for chunk in chunks])
    np.testing.assert_array_equal(found, wanted)
    alone = table_to_evaluate(new, data.preprocessing, data.targets, **project.config.reading).encoded("test")
    assert (alone != wanted).any()  # the days before them matter


def test_what_columns_about_events_need_is_told(shops, tmp_path: Path):
    from tlkit.errors import DataError

    project, data = shops
    new = tmp_path / "new.csv"
    text = new.read_text()
    rows = RowFile(new)
    new.write_text(text.replace("2024-02-15", ""))
    with pytest.raises(DataError, match=r"new.csv row \d+ has no 'day', which the event columns need"):
        ProjectRows(project.config, data.preprocessing, rows.survey()[0], rows)
    lenient = RowFile(new, lenient=True)
    frame_of = ProjectRows(project.config, data.preprocessing, lenient.survey()[0], lenient).frame
    items = list(lenient)
    problems: dict[int, str] = {}
    assert len(frame_of(items, problems)) == len(items)
    undated = [item.number for item in items if not item.fields["day"]]
    assert sorted(problems) == undated != []
    assert all("has no 'day'" in reason for reason in problems.values())
    new.write_text(text.replace("promo", "action", 1))
    with pytest.raises(DataError, match="has no column 'promo'"):
        ProjectRows(project.config, data.preprocessing, rows.survey()[0], rows)
    new.write_text(text)
    (tmp_path / "sold.csv").unlink()
    with pytest.raises(DataError, match="has no event columns.*tlkit.event_features"):
        ProjectRows(project.config, data.preprocessing, rows.survey()[0], rows)


def test_several_labels_have_one_name_in_a_checkpoint_and_in_an_export():
    from types import SimpleNamespace

    from tlkit.cli.row_models import exported_rows
    from tlkit.export.interface import Output
    from tlkit.inputs.row.columns import Continuous
    from tlkit.inputs.row.preprocessing import TablePreprocessing
    from tlkit.inputs.row.targets import MULTI_LABEL_NAME
    from tlkit.predicting.answer_columns import AnswerColumns
    from tlkit.targets.objective import classification
    from tlkit.tasks.tabular.commands import TabularCommands, targets_of

    for kind, name in (("multi_label", MULTI_LABEL_NAME), ("single_label", "wet")):
        config = SimpleNamespace(target_names=["wet", "cold"])
        project = SimpleNamespace(config=config, kind=TabularCommands())
        plain = Output(target="", kind=kind, class_names=("wet", "cold"), classes="classes", scores="scores")
        interface = SimpleNamespace(
            answers="probabilities", columns=("x",), outputs_or=lambda *_, plain=plain: (plain,)
        )
        manifest = SimpleNamespace(
            interface=interface, labels=("wet", "cold"), objective=kind,
            preprocessing=TablePreprocessing((Continuous("x", "x"),)).to_dict(),
        )  # fmt: skip
        exported = exported_rows(SimpleNamespace(manifest=manifest), project)
        objective = classification(("wet", "cold"), kind == "multi_label")
        trained = [
            SimpleNamespace(target=one.name, class_names=one.class_names, times=(), value="", stem="")
            for one in targets_of(SimpleNamespace(objective=objective), config)
        ]
        wanted = [f"predicted_{name}", "probability_wet", "probability_cold"]
        assert exported.columns.names == AnswerColumns(trained).names == wanted


@pytest.mark.parametrize(("kind", "warned"), [("blend", True), ("boosting", True), ("network", False), ("tabm", False)])
def test_a_train_py_that_leaves_the_trees_out_is_named(kind, warned):
    from types import SimpleNamespace

    from tiny_table import tiny_table_task

    from tlkit.tasks.tabular.commands import TabularCommands

    config = SimpleNamespace(model=SimpleNamespace(kind=kind), target=SimpleNamespace(survival=None))
    found = TabularCommands().unused(config, SimpleNamespace(task=tiny_table_task()))
    assert ("call tlkit.with_boosting" in found) == warned
    assert TabularCommands().unused(config, None) == ""


# Before TensorFlow loads


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "--set", "model.start_from=./nowhere"], "no embeddings found at model.start_from"),
        (["train", "--set", "columns.town=categoricl"], "columns.town: input should be 'categorical'"),
        (["train", "--set", "columns.price=continuous"], "columns.price is a target"),
        (["train", "--set", "target.transform=sqrt"], "transform must be auto, none, log, log1p or yeo_johnson"),
        (["train", "--set", "target.weights={cost = 1.0}"], "target.weights names 'cost'"),
        (["train", "--set", "data.val_from=2015-06-19"], "val_from needs time_column"),
        (["train", "--set", "model.encoder=x"], 'it exists only for task = "text_classification"'),
        (["evaluate"], "run `tlkit train` first"),
        (["evaluate", "--data", "nowhere.csv"], "--data takes a .csv, .tsv or .parquet table"),
        (["evaluate", "--tta", "4"], "test-time augmentation is not available for rows"),
        (["evaluate", "--split", "tset"], "allowed: train, val, test"),
        (["evaluate", "--split", "val", "--data", "../houses.csv"], "--data and --split cannot be combined"),
        (["export"], "run `tlkit train` first"),
        (["verify"], "tlkit export"),
        (["report"], "run `tlkit train` first"),
        (["embeddings", "export"], "run `tlkit train` first"),
        (["embeddings", "export", "--form", "xlsx"], "allowed: csv, parquet"),
        (["embeddings", "export", "--to", "tests"], "tests is not empty"),
        (["predict"], "there is nothing to predict"),
        (["predict", "../houses.csv", "../houses.csv"], "rows are read from one table"),
        (["predict", "../houses.csv", "--top", "1"], "cannot be combined"),
        (["predict", "../houses.csv", "--force"], "--force needs --out"),
        (["predict", "../houses.csv", "--escape-formulas"], "--escape-formulas needs --out"),
        (["predict", "../allbad.csv"], "no row of the table can be read: ../allbad.csv row 2: 1 fields where the"),
        (["predict", "../houses.csv", "--out", "out.csv"], "run `tlkit train` first"),
        (["predict", "../house.csv"], "did you mean 'houses.csv'"),
        (["predict", "../houses.csv", "--out", "out.xlsx"], "allowed: .csv, .tsv, .jsonl, .ndjson, .parquet"),
        (["predict", "../houses.csv", "--out", "no/out.csv"], "the folder no for"),
        (["predict", "../houses.csv", "--out", "../houses.csv", "--force"], "--out is the same file as --file"),
        (["predict", "--strict", "../ragged.csv", "--out", "out.csv"], "ragged.csv row 3 has 1 fields"),
        (["predict", "../empty.csv", "--out", "out.csv"], "the table has no rows"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(untrained: Path, capsys, words: list[str], expected: str):
    above = untrained.parent
    (above / "ragged.csv").write_text("id,rooms\n1,x\n2\n")
    (above / "empty.csv").write_text("rooms\n")
    (above / "allbad.csv").write_text("id,rooms\n1\n2\n")
    before = sorted(above.rglob("*"))
    assert run(words) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(path for path in above.rglob("*") if "__pycache__" not in path.parts) == before


def test_there_are_no_embeddings_of_photos(project: Path, capsys):
    assert run(["embeddings", "export"]) == 2
    assert "a project on photos has no category embeddings" in capsys.readouterr().err


# Making a project


def test_new_writes_what_each_column_was_taken_for(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_houses(tmp_path / "houses.csv", 200)
    assert run(["new", "tabular-embeddings", "made", "--data", "houses.csv", "--target", "price"]) == 0
    captured = capsys.readouterr()
    assert "tlkit predict ROWS.csv --out SCORED.csv" in captured.out
    config = load_config("made/config.toml")
    assert (config.targets, config.data.path) == (["price"], "../houses.csv")
    assert config.columns == {
        "id": "id",
        "area m2": "continuous",
        "rooms": "categorical",
        "heating.kind": "categorical",
        "built": "date",
        "garden": "boolean",
        "town": "categorical",
    }
    text = Path("made/config.toml").read_text()
    assert 'rooms = "categorical"         # 5 whole numbers: categorical or continuous?\n' in text
    assert "column 'rooms': 5 whole numbers: categorical or continuous?; used as categorical" in captured.err
    assert "check the column types under [columns] in config.toml before you train" in captured.err


def write_messy(file: Path) -> None:
    """Write a table with decimal commas and semicolons, as it is exported in Europe."""
    rows = []
    for number in range(300):
        price, sold = f"{number % 13 + 1}.{number % 1000:03d},50 €", "-" if number % 9 == 0 else number * 37
        country, code = "NA" if number % 2 else "DE", ("038.1", "38.10", "38.1")[number % 3]
        rows.append(
            f"{number % 90},{number % 7}5;{price};{sold};{country};{code};{number % 30 if number % 5 else 'NULL'}"
        )
    file.write_text("num;price;sold;country;code;y\n" + "\n".join(rows) + "\n", encoding="utf-8")


def test_new_writes_how_numbers_are_written(tmp_path: Path, monkeypatch, capsys, no_tensorflow: None):
    monkeypatch.chdir(tmp_path)
    write_messy(tmp_path / "sales.csv")
    assert run(["new", "tabular-embeddings", "made", "--data", "sales.csv", "--target", "y"]) == 0
    err = capsys.readouterr().err
    assert "detected separator ';'" in err
    assert "column 'num': decimal comma, as in" in err
    assert "written into [data] decimal = ',' of config.toml" in err
    assert "column 'price': decimal comma, points between thousands, unit \"€\", as in" in err
    assert "column 'sold': missing: 34 x '-'; written into [formats]" in err
    assert "column 'code': 3 numbers kept as text: categorical" in err
    assert "country (150 x 'NA')" in err
    assert "target 'y': regression, 24 different values from 1 to 29; 60 rows without a value (24 whole numbers" in err
    config = load_config("made/config.toml")
    assert (config.data.separator, config.data.decimal, config.data.missing) == (";", ",", [])
    assert config.target.kinds == {"y": "regression"}
    assert (config.columns["code"], config.columns["num"]) == ("categorical", "continuous")
    formats = config.field_options["formats"]
    assert (formats["price"]["decimal"], formats["price"]["thousands"], formats["price"]["unit"]) == (",", ".", "€")
    assert (formats["sold"]["missing"], formats["y"]["missing"]) == (["-"], ["NULL"])
    assert "24 whole numbers: regression or classes?" in Path("made/config.toml").read_text(encoding="utf-8")
    # The project reads the table as `tlkit new` did, and has nothing to say about it.
    from tlkit.inputs.files.fields import reading_of
    from tlkit.inputs.files.source import read_source

    source = read_source(config.data_path, separator=";", reading=reading_of(**config.field_options))
    assert not source.form_notes
    assert source.frame["price"].tolist()[:2] == [1000.5, 2001.5]
    assert source.frame["num"].tolist()[1] == 1.15


def test_what_may_be_thousands_or_decimals_is_asked_at_a_terminal(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f'"{number % 9 + 1},{number * 7 % 1000:03d}",{number % 4}.5,{number % 3}\n' for number in range(200))
    (tmp_path / "a.csv").write_text("x,z,y\n" + rows)
    assert run(["new", "tabular-embeddings", "one", "--data", "a.csv", "--target", "y"]) == 0
    assert "1,000 is read as 1000, and could be 1" in capsys.readouterr().err
    assert load_config("one/config.toml").field_options["formats"]["x"]["thousands"] == ","
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    said = {"x: which number is 1,000: ": "1", "the target y": "classes"}

    def prompt(text: str, default: str, err: bool) -> str:
        return next((word for start, word in said.items() if text.startswith(start)), default)

    monkeypatch.setattr("typer.prompt", prompt)
    assert run(["new", "tabular-embeddings", "two", "--data", "a.csv", "--target", "y"]) == 0
    config = load_config("two/config.toml")
    assert config.field_options["formats"]["x"]["decimal"] == ","
    assert config.target.kinds == {"y": "single_label"}


def test_a_person_at_a_terminal_is_asked(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_houses(tmp_path / "houses.csv", 200)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    said = iter(["numbers", "continuous", "categorical"])
    asked = []

    def prompt(text: str, default: str, err: bool) -> str:
        asked.append((text, default, err))
        return next(said)

    monkeypatch.setattr("typer.prompt", prompt)
    assert run(["new", "tabular-embeddings", "made", "--data", "houses.csv", "--target", "price"]) == 0
    assert [text.partition(":")[0] for text, _, _ in asked] == ["rooms", "rooms", "town"]
    assert all(default == "categorical" and err for _, default, err in asked)
    assert load_config("made/config.toml").columns["rooms"] == "continuous"


def test_the_column_of_groups_is_no_input_unless_it_is_a_date(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_houses(tmp_path / "houses.csv", 200)
    new = ["new", "tabular-embeddings"]
    data = ["--data", "houses.csv", "--target", "price"]
    assert run([*new, "one", *data, "--set", "group_column=town"]) == 0
    assert load_config("one/config.toml").columns["town"] == "ignore"
    assert run([*new, "two", *data, "--set", "group_column=built"]) == 0
    assert load_config("two/config.toml").columns["built"] == "date"


@pytest.mark.parametrize(
    "name", ["plain", "wind.speed", "the x", 'a "b"', "naïve", "back\\slash", "a#b=c", "\x7f", "1-2"]
)
def test_names_of_columns_survive_toml(name: str):
    import tomllib

    assert tomllib.loads(f"[columns]\n{toml_key(name)} = 1\n") == {"columns": {name: 1}}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data", "houses.csv"], "has no column 'target'"),
        (["--data", "houses.csv", "--target", "prise"], "did you mean 'price'"),
        (["--data", "houses.csv", "--target", "price", "--set", "time_column=sold"], "has no column 'sold'"),
        (["--data", "houses.xlsx", "--target", "price"], "is not a folder or a table"),
        (["--data", "nowhere.csv", "--target", "price"], "nowhere.csv does not exist"),
        (["--data", "empty", "--target", "price"], "is empty"),
        (["--data", "mixed.csv", "--target", "price"], "mixes types"),
        (
            ["--data", "mixed.csv", "--target", "price"],
            "or create the project with --force-columns",
        ),
        (["--data", "header.csv", "--target", "price"], "a header and no rows"),
        (["--data", "excel.csv", "--target", "price"], "Excel's 'sep=;' names the separator; remove the line, then"),
        (["--data", "constant.csv", "--target", "price"], "the target 'price' is constant"),
        (["--data", "uneven.csv", "--target", "price"], "received: '\"a,b\",1,2'"),
        (["--target", "price", "--set", "epochs=0"], "epochs must be"),
        (["--target", "price", "--force-columns"], "--force-columns needs a table"),
        (["--target", "price", "--text", "x"], "--text is not an option of the template tabular-embeddings"),
    ],
)
def test_a_table_that_cannot_be_used_leaves_nothing(tmp_path: Path, monkeypatch, capsys, words, expected: str):
    monkeypatch.chdir(tmp_path)
    write_houses(tmp_path / "houses.csv", 30)
    (tmp_path / "houses.xlsx").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "semi.csv").write_text("area;price\n1;2\n3;4\n")
    (tmp_path / "header.csv").write_text("area,price\n")
    (tmp_path / "excel.csv").write_text("sep=;\narea;price\n1;2\n3;4\n")
    (tmp_path / "constant.csv").write_text("area,price\n1.5,2.5\n2.5,2.5\n")
    (tmp_path / "uneven.csv").write_text('area,price\n1.5,2.5\n"a,b",1,2\n')
    values = [*map(str, range(60)), *(f"x{n}" for n in range(20))]
    (tmp_path / "mixed.csv").write_text("area,price\n" + "".join(f"{v},{n}\n" for n, v in enumerate(values)))
    before = sorted(tmp_path.rglob("*"))
    assert run(["new", "tabular-embeddings", "made", *words]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_only_tables_have_a_target_to_name(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["new", "image-classification", "made", "--target", "price"]) == 2
    assert "--target is not an option of the template" in capsys.readouterr().err
