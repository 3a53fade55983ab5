from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.export.manifest import Manifest
from tlkit.export.predictor import SavedModelPredictor
from tlkit.inputs.row.evaluating import table_to_evaluate
from tlkit.tasks.tabular.report import report_on_tables

DAYS = tlkit.SurvivalColumns("days", "died")


def patients(n=600, seed=0):
    """Rows whose hazard depends on age and stage."""
    rng = np.random.default_rng(seed)
    age, stage = rng.normal(60, 10, n), rng.choice(["I", "II", "III"], n)
    hazard = 0.06 * (age - 60) + pd.Series(stage).map({"I": -1.0, "II": 0.0, "III": 1.0}).to_numpy()
    died, seen = rng.exponential(200 * np.exp(-hazard)), rng.uniform(30, 600, n)
    return pd.DataFrame(
        {"age": age.round(1), "stage": stage, "days": np.minimum(died, seen).round(1) + 0.5, "died": died <= seen}
    ), hazard


@pytest.fixture(scope="module")
def trained():
    frame, hazard = patients()
    data = tlkit.table_from_file(frame, DAYS, batch_size=64)
    learn = tlkit.Learner(tlkit.tabular_model(data.preprocessing, data.targets, hidden=[16], number_bins=4), data)
    learn.fit(6, 2e-2, verbose=False)
    return learn, hazard


def test_risks_of_rows_come_near_to_the_true_hazard(trained):
    learn, hazard = trained
    found = learn.evaluate()
    labels = learn.data.labels("val")
    from tlkit.report.survival import survival_metrics

    best = survival_metrics(hazard[learn.data.rows("val")], labels[:, 0], labels[:, 1])
    assert found.concordance > 0.93 * best.concordance
    assert found.integrated_brier_score < 0.25
    assert found.events == labels[:, 1].sum()
    assert [column.name for column in learn.data.preprocessing.columns] == ["age", "stage"]
    summary = learn.data.summary()["targets"]["risk"]
    assert summary["events"]["val"] == found.events


def test_events_are_as_frequent_in_validation_as_in_training(trained):
    learn, _ = trained
    shares = [learn.data.labels(split)[:, 1].mean() for split in ("train", "val")]
    assert shares[0] == pytest.approx(shares[1], abs=0.01)


@pytest.mark.slow
def test_other_rows_are_measured_and_the_export_answers_by_name(trained, tmp_path):
    learn, _ = trained
    frame, _ = patients(80, seed=5)
    other = table_to_evaluate(
        frame.assign(died=frame["died"].astype(int)), learn.data.preprocessing, learn.data.targets
    )
    measured = tlkit.Learner(learn.task, other).evaluate("test")
    assert measured.n == 80
    export = learn.export(tmp_path / "risk")
    (output,) = Manifest.read(export).interface.outputs
    answers = SavedModelPredictor(export).predict_frame(frame)
    assert answers[output.value].shape == (80,)
    assert answers[output.curve].shape == (80, len(output.times))
    assert np.all(np.diff(answers[output.curve], axis=1) <= 0)
    (record,) = SavedModelPredictor(export).predict([{"age": 81, "stage": "III"}])
    (younger,) = SavedModelPredictor(export).predict([{"age": 45, "stage": "I"}])
    assert record["predictions"]["risk"] > younger["predictions"]["risk"]
    assert list(record["survival"]) == [f"{time:.6g}" for time in output.times]


def test_a_report_shows_survival_by_risk(trained, tmp_path):
    learn, _ = trained
    page = report_on_tables(learn, tmp_path / "report.html", title="Patients", split="val").read_text()
    assert "C-index" in page
    assert "high risk" in page


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({"days": -1.0}, {}, DataError, "time 'days' is negative"),
        ({"days": 0}, {}, DataError, "time 'days' is 0"),
        ({"died": False}, {}, DataError, "no training row has an event"),
        ({"died": "soon"}, {}, DataError, "event column 'died' has a value that means neither"),
        ({"days": "long"}, {}, DataError, "the target 'days' is not a number|mixed|days"),
        ({}, {"class_weight": "balanced"}, ConfigError, "classes can be balanced only"),
    ],
)
def test_what_cannot_be_used_is_named(change, options, error, message):
    with pytest.raises(error, match=message):
        tlkit.table_from_file(patients(60)[0].assign(**change), DAYS, **options)


def test_rows_without_time_or_event_are_left_out_and_counted():
    frame = patients(100)[0].astype({"died": object})
    frame.loc[:4, "days"] = np.nan
    frame.loc[5:9, "died"] = None
    data = tlkit.table_from_file(frame.astype({"died": "boolean"}), DAYS)
    assert data.dropped["missing_target"] == 10
