"""Predictions as records and columns: float32 values are written with the fewest digits that stand for them."""

import json

import numpy as np
import pytest

from tlkit.export.interface import Output
from tlkit.export.records import records_of
from tlkit.export.short_floats import short_float
from tlkit.predicting.answer_columns import AnswerColumns
from tlkit.serving.client_json import classes_from_json

CLASSES = Output(target="", kind="single_label", class_names=["a", "b"], classes="classes", scores="scores")
PRICE = Output(target="price", kind="regression", value="price")
NOISY = np.array([57.92, 16777216.0, 0.1, 1.0e-12], np.float32)


def test_scores_and_values_have_no_digits_of_float64():
    outputs = {
        "classes": np.array([[b"b", b"a"]] * 4, object),
        "scores": np.array([[0.65, 0.35]] * 4, np.float32),
        "price": NOISY,
    }
    records = records_of(["x"] * 4, outputs, [CLASSES.model_copy(update={"target": "class"}), PRICE], None)
    assert [record["predictions"]["price"] for record in records] == [57.92, 16777216.0, 0.1, 1e-12]
    assert json.dumps(records[0]["scores"]) == '{"class": [0.65, 0.35]}'
    (one,) = records_of(["x"], outputs, [CLASSES], 1)
    assert json.dumps(one) == '{"input": "x", "classes": ["b"], "scores": [0.65]}'
    wide = records_of(["x"], {"price": np.array([1.1, 57.91999816894531])}, [PRICE], None)
    assert wide[0]["predictions"] == {"price": 1.1}, "a float64 keeps its own digits"


def test_columns_of_a_table_have_no_digits_of_float64():
    values = np.float32([[57.92], [1234567.9], [16777217]])
    columns = AnswerColumns([PRICE])
    assert [row["predicted_price"] for row in columns.of_numbers(values)] == [57.92, 1234567.9, 16777216.0]
    assert columns.of_numbers(values.astype(np.float64))[0]["predicted_price"] == 57.92
    wide = PRICE.model_copy(update={"dtype": "float64"})
    assert AnswerColumns([wide]).of_numbers(values.astype(np.float64))[0]["predicted_price"] == pytest.approx(
        float(np.float32(57.92)), rel=1e-13
    )


def test_a_number_alone():
    assert [short_float(float(value)) for value in NOISY] == [57.92, 16777216.0, 0.1, 1e-12]
    assert str([short_float(value) for value in (np.inf, -np.inf, np.nan)]) == "[inf, -inf, nan]"
    assert classes_from_json([[["a", 0.6499999761581421]]]) == [[("a", 0.65)]]
