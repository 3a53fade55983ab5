"""The same messy rows through every way to a prediction: Keras in Python, predict, score, REST and gRPC."""

from __future__ import annotations

import csv
import http.client
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tlkit.cli.main import run
from tlkit.errors import DataError, ServerError
from tlkit.export.manifest import Manifest
from tlkit.export.predictor import SavedModelPredictor
from tlkit.inputs.items import Item
from tlkit.inputs.row.typed_rows import typed
from tlkit.predicting.exported import Scorer
from tlkit.scaffold.new import new_project
from tlkit.serving.background import BackgroundServer
from tlkit.serving.client import ServingClient

MIDDLE = 1e9  # of the target, which varies by 2: float32 would make one number of it
PLAIN = {"colour": "red", "garden": "yes", "sold": "6/23/2014", "seen": "1403481600", "stamp": "1700000017"}
MESSY = [
    PLAIN,
    PLAIN | {"garden": " YES\t"},
    PLAIN | {"garden": "1.0", "sold": " 06/23/2014 "},
    PLAIN | {"garden": "tRuE"},
    PLAIN | {"garden": "Off", "colour": " red "},
    PLAIN | {"garden": "0"},
    PLAIN | {"garden": "", "sold": "n/a"},
    PLAIN | {"garden": "NULL", "sold": "", "seen": "", "stamp": ""},
    PLAIN | {"colour": "RED"},
    PLAIN | {"colour": "żółty'\" \\"},
    PLAIN | {"sold": "2/29/2012", "stamp": "1700000003.25"},
]
ALIKE = [(0, 1), (0, 2), (0, 3), (4, 5)]  # rows that say the same
UNREADABLE = {
    "garden": ("maybe", "column 'garden', row {}: 'maybe' cannot be read; allowed: false/true, f/t, no/yes, n/y, "),
    "sold": ("2014-06-23", "column 'sold', row {}: '2014-06-23' cannot be read; allowed: dates as 06/19/2015 "),
    "seen": ("999999999999999", "column 'seen', row {}: '999999999999999' cannot be read; allowed: seconds since 1970"),
}
DTYPES = {"colour": "str", "garden": "str", "sold": "str", "seen": "Int64", "stamp": "float64"}


@pytest.fixture(scope="module")
def task():
    """A network with random weights on columns of every kind that is read in the graph."""
    from tlkit.inputs.row.fitting import fit_table
    from tlkit.targets.regression import fit_target
    from tlkit.tasks.tabular.model import tabular_model

    rng = np.random.default_rng(0)
    days = pd.Timestamp("2012-01-01") + pd.to_timedelta(rng.integers(0, 1000, 60), unit="D")
    frame = pd.DataFrame(
        {
            "colour": rng.choice(["red", "blue"], 60),
            "garden": rng.choice(["yes", "no"], 60),
            "sold": days.strftime("%m/%d/%Y"),
            "seen": [int(day.timestamp()) for day in days],
            "stamp": 1_700_000_000 + rng.integers(0, 40, 60),
        }
    )
    kinds = dict(zip(frame, ("categorical", "boolean", "date", "date", "continuous"), strict=True))
    forms = {"sold": "%m/%d/%Y", "seen": "epoch seconds"}
    preprocessing = fit_table(frame, kinds, date_formats=forms, unreadable="error")
    target = fit_target("price", MIDDLE + rng.normal(0, 2, 60))
    task = tabular_model(preprocessing, [target], hidden=(8, 6))
    for variable in task.model.trainable_variables:
        if variable.ndim > 1:
            variable.assign(rng.normal(scale=0.7, size=variable.shape))
    return task


@pytest.fixture(scope="module")
def export(task, tmp_path_factory) -> Path:
    """Its export, which every check of `tlkit verify` has passed."""
    from tlkit.export.saved_model import export_task

    frame = frame_of(MESSY[:3])
    return export_task(
        task, tmp_path_factory.mktemp("paths") / "houses", golden=task.preprocessing.to_examples(frame), max_batch=3
    )


@pytest.fixture(scope="module")
def server(export):
    with BackgroundServer(export, name="houses") as server:
        yield server


def frame_of(rows) -> pd.DataFrame:
    made = {name: pd.Series([row[name] or None for row in rows]).astype(dtype) for name, dtype in DTYPES.items()}
    return pd.DataFrame(made)


@pytest.fixture(scope="module")
def expected(task) -> np.ndarray:
    """What the Keras model says of the rows."""
    encoded = task.preprocessing.encode_frame(frame_of(MESSY))
    answers = task.objective.probabilities(task.model(encoded, training=False)).numpy()[:, 0]
    assert answers.dtype == np.float64
    for one, other in ALIKE:
        np.testing.assert_array_equal(encoded[one], encoded[other])
        assert answers[one] == pytest.approx(answers[other], abs=1e-6)
    assert len(np.unique(answers.round(2))) >= 6
    assert len(np.unique(answers.astype(np.float32))) <= 2  # what float32 would have left of them
    return answers


def assert_same(found, expected) -> None:
    np.testing.assert_allclose(np.array(found) - MIDDLE, expected - MIDDLE, atol=1e-4)


def table(tmp_path: Path, rows) -> Path:
    file = tmp_path / "rows.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(PLAIN))
        writer.writeheader()
        writer.writerows(rows)
    return file


def bad_rows():
    return [PLAIN | {name: value} for name, (value, _) in UNREADABLE.items()]


def test_predict_and_score_answer_as_keras_does_and_set_aside_what_cannot_be_read(
    export, expected, tmp_path, monkeypatch
):
    file = table(tmp_path, [*MESSY[:4], *bad_rows(), *MESSY[4:]])
    project = new_project("tabular-embeddings", tmp_path / "houses", {"data_path": "none.csv", "target": "price"})
    shutil.copytree(export, project / "saved_models" / "houses" / "1")
    monkeypatch.chdir(project)
    assert run(["predict", str(file), "--out", str(tmp_path / "out.csv")]) == 1
    written = pd.read_csv(tmp_path / "out.csv")
    assert_same(written["predicted_price"], expected)
    errors = (tmp_path / "out.errors.csv").read_text(encoding="utf-8")

    rows = list(csv.DictReader(file.open(encoding="utf-8", newline="")))
    items = [Item(number, f"rows.csv row {number}", None, row) for number, row in enumerate(rows, 2)]
    scored = list(Scorer(export).score(items))
    assert_same([one.answer["predicted_price"] for one in scored if not one.reason], expected)
    reasons = [one.reason for one in scored if one.reason]
    assert len(reasons) == len(UNREADABLE) == errors.count("has another type than in training")
    for number, (reason, (name, (value, _))) in enumerate(zip(reasons, UNREADABLE.items(), strict=True), 6):
        assert f"rows.csv row {number}, column {name!r} has another type than in training" in reason
        assert value in reason
        assert f"row {number}, column" in errors


def test_python_names_row_column_and_value(task, export):
    predictor = SavedModelPredictor(export)
    for name, (value, _) in UNREADABLE.items():
        bad = [PLAIN, PLAIN | {name: value}]
        with pytest.raises(DataError, match=f"column {name!r}, row 2: '{value}' cannot be read"):
            task.preprocessing.encode_frame(frame_of(bad))
        rows = [{**row, "seen": int(row["seen"]), "stamp": float(row["stamp"])} for row in bad]
        with pytest.raises(DataError, match=f"row 2, column {name!r} has a value that cannot be read.*{value}"):
            predictor.predict(rows)
    assert (
        predictor.predict([{"garden": True}])[0]["predictions"]
        == predictor.predict([{"garden": " on"}])[0]["predictions"]
    )


def instances(rows) -> str:
    """Write rows as JSON: what has no value is the mark of its dtype."""
    return json.dumps(
        {
            "instances": [
                {
                    **{name: row[name] for name in ("colour", "garden", "sold")},
                    "seen": int(row["seen"] or -(2**63)),
                    "stamp": float(row["stamp"] or "nan"),
                }
                for row in rows
            ]
        }
    )


def post(server, body: str):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request("POST", "/v1/models/houses:predict", body.encode())
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def test_rest_answers_as_keras_does_and_refuses_what_cannot_be_read(server, expected):
    status, content = post(server, instances(MESSY))
    assert status == 200, content
    assert_same(content["predictions"], expected)
    for name, (value, said) in UNREADABLE.items():
        status, content = post(server, instances([*MESSY[:2], PLAIN | {name: value}, PLAIN]))
        assert (status, content["error"].startswith(said.format(3))) == (400, True), content


def test_grpc_answers_as_keras_does_and_refuses_what_cannot_be_read(server, export, expected):
    from tlkit.inputs.row.preprocessing import TablePreprocessing

    preprocessing = TablePreprocessing.from_dict(Manifest.read(export).preprocessing)

    def ask(client, rows):
        chunk = [Item(number, f"row {number}", None, dict(row)) for number, row in enumerate(rows)]
        frame = typed(chunk, preprocessing.columns, preprocessing.missing, preprocessing.forms, {}, lambda frame: {})
        return client.predict(preprocessing.to_arguments(frame))["price"]

    with ServingClient(f"grpc://{server.grpc_address}", "houses") as client:
        found = ask(client, MESSY)
        assert found.dtype == np.float64
        assert_same(found, expected)
        for name, (value, said) in UNREADABLE.items():
            with pytest.raises(ServerError) as caught:
                ask(client, [PLAIN, PLAIN | {name: value}])
            assert caught.value.code == "INVALID_ARGUMENT"
            assert said.format(2) in str(caught.value)


def test_requests_that_run_together_do_not_fail_each_other(server, expected):
    bodies = [instances([row]) for row in (*MESSY, *bad_rows())] * 3
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda body: post(server, body), bodies))
    for begin in range(0, len(bodies), len(MESSY) + len(UNREADABLE)):
        good = answers[begin : begin + len(MESSY)]
        assert [status for status, _ in good] == [200] * len(MESSY)
        assert_same([content["predictions"][0] for _, content in good], expected)
        bad = answers[begin + len(MESSY) : begin + len(MESSY) + len(UNREADABLE)]
        for (status, content), (_, said) in zip(bad, UNREADABLE.values(), strict=True):
            assert (status, content["error"].startswith(said.format(1))) == (400, True), content


def test_a_target_beyond_float32_has_no_regress(export):
    interface = Manifest.read(export).interface
    assert interface.example_signature == ""
    assert (interface.outputs[0].dtype, interface.answers) == ("float64", "predictions")
    assert interface.outputs[0].middle == pytest.approx(MIDDLE, abs=2)
    assert {column.name: column.dtype for column in interface.columns} == {
        "colour": "string", "garden": "string", "sold": "string", "seen": "int64", "stamp": "float64",
    }  # fmt: skip
    assert {column.name: column.sample for column in interface.columns} == {
        "colour": "", "garden": "true", "sold": "06/19/2015", "seen": "1434719100", "stamp": "",
    }  # fmt: skip
