"""Descriptions of columns: names of arguments, codes and labels, and the way to plain values and back."""

import json
import keyword
import subprocess
import sys

import pytest

from tlkit.errors import ConfigError
from tlkit.inputs.row.columns import (
    Categorical,
    Continuous,
    Date,
    column_from_dict,
    column_to_dict,
)
from tlkit.inputs.wire import argument_names

COLUMNS = [
    Categorical("Shop", "Shop", "int64", ("-3", "0", "12")),
    Categorical("größe", "gr__e", "string", ("L", "\udcff", "ü")),
    Categorical("user", "user", "string", hash_buckets=7),
    Continuous("area", "area", median=80.1, center=1 / 3, scale=3e-30, quantiles=(0.1, 0.1, 7.0), flag=True),
    Date("day", "day", parts=("elapsed", "year", "hour"), cyclic=True, elapsed_scale=0.1, years=(1, 9999)),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_a_column_comes_back_from_json(column):
    again = column_from_dict(json.loads(json.dumps(column_to_dict(column))))
    assert again == column
    assert hash(again) == hash(column)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_every_code_has_a_label(column):
    for code in column.codes:
        assert len(code.labels) == code.size == len(set(code.labels))
        assert code.labels[:2] == ("(unknown)", "(missing)")
        assert code.column == column.name


def test_the_labels_follow_the_codes():
    assert COLUMNS[0].codes[0].labels[2:] == ("-3", "0", "12")
    assert COLUMNS[2].codes[0].labels[-1] == "bucket 6"
    week = Date("day", "day", parts=("day_of_week",)).codes[0]
    assert (week.name, week.labels[2], week.labels[-1]) == ("day day of week", "Monday", "Sunday")
    assert COLUMNS[4].codes[0].labels[2:] == ("1", "9999")


def test_what_becomes_numbers_is_named():
    assert COLUMNS[3].numbers == ("area", "area is missing")
    assert COLUMNS[4].numbers == ("day elapsed", "day hour sin", "day hour cos")
    assert [code.name for code in COLUMNS[4].codes] == ["day year", "day hour"]


def test_arguments_are_plain_and_all_different():
    names = ["a b", "a_b", "a-b", "a_b_2", "Größe", "2nd", "self", "inputs", "name", "context", "", "x", "X"]
    found = argument_names(names)
    assert list(found) == names
    assert found == {
        "a b": "a_b_3", "a_b": "a_b", "a-b": "a_b_4", "a_b_2": "a_b_2", "Größe": "Gr__e", "2nd": "c_2nd",
        "self": "c_self", "inputs": "c_inputs", "name": "c_name", "context": "c_context", "": "c_", "x": "x",
        "X": "X_2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical("a", "a", "float32", ("1",)), "unknown dtype of a categorical column.*float32"),
        (lambda: Categorical("a", "a", "string", ("x", "y", "x")), "'a' lists a value twice"),
        (lambda: Categorical("a", "a", "string", ("x",), hash_buckets=5), "'a' is hashed"),
        (lambda: Categorical("a", "a", "string", hash_buckets=2**24), "cannot have 16777216 codes.*0 to 16777214"),
        (lambda: Categorical("a", "a", "int64", ("1", "01")), "'a' is int64.*'01'.*whole numbers"),
        (lambda: Categorical("a", "a", "int64", (str(2**63),)), "'a' is int64.*9223372036854775808"),
        (lambda: Continuous("a", "a", scale=0.0), "statistics of column 'a'.*scale above 0"),
        (lambda: Continuous("a", "a", center=float("nan")), "statistics of column 'a'"),
        (lambda: Continuous("a", "a", quantiles=(2.0, 1.0)), "quantiles of column 'a' are not increasing"),
        (lambda: Continuous("a", "a", dtype="int64"), "dtype of a continuous column"),
        (lambda: Date("a", "a", parts=("month", "minute")), "unknown part of date column 'a'.*minute"),
        (lambda: Date("a", "a", parts=()), "needs parts"),
        (lambda: Date("a", "a", years=(2014, 2013)), "years of column 'a' are not increasing"),
        (lambda: Date("a", "a", elapsed_scale=-1.0), "elapsed days cannot be scaled"),
        (lambda: column_from_dict({"kind": "text"}), "unknown kind of column"),
        (lambda: column_from_dict({"kind": "date", "name": "a", "zone": "UTC"}), "unknown fields.*zone"),
        (lambda: column_from_dict({"kind": "date", "name": "a"}), "cannot be read.*argument"),
    ],
)
def test_an_unusable_column_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_columns_need_neither_tensorflow_nor_pandas():
    code = "import sys, tlkit.inputs.row.columns; print(sorted({'tensorflow', 'keras', 'pandas'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_column_may_be_called_as_a_word_of_python():
    names = argument_names(["class", "from", "lambda", "Class"])
    assert names["class"] == "c_class"
    assert all(name.isidentifier() and not keyword.iskeyword(name) for name in names.values())
