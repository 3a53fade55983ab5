"""What columns are taken for, what is asked, what is refused at the gate."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.files.source import read_source, tidy
from tlkit.inputs.row.check import check_target_columns, check_values, find_leaks
from tlkit.inputs.row.column_kinds import infer_kinds
from tlkit.inputs.row.dates import read_dates

N = 400
RANDOM = np.random.default_rng(0)


def days(count=N):
    return [str(datetime.date(2015, 1, 1) + datetime.timedelta(int(day))) for day in RANDOM.integers(0, 300, count)]


COLUMNS = {
    "area": (RANDOM.normal(size=N), "continuous"),
    "sold": (RANDOM.integers(0, 9000, N), "continuous"),
    "town": (RANDOM.choice(["a", "b", "c"], N), "categorical"),
    "new": (RANDOM.choice([True, False], N), "boolean"),
    "new_gaps": (np.array([True, False, None, True] * (N // 4), object), "boolean"),
    "two": (RANDOM.integers(0, 2, N), "categorical"),
    "day": (days(), "date"),
    "moment": ([f"{day}T12:30:00Z" for day in days()], "date"),
    "timestamp": (pd.to_datetime(days()), "date"),
    "row": (np.arange(N) + 1, "id"),
    "uuid": ([f"{number * 7919 % 99991:x}-q" for number in range(N)], "id"),
    "text": ([f"a long text about number {number} and the like of it" for number in range(N)], "id"),
    "nothing": ([None] * N, "ignore"),
    "same": (["x"] * N, "ignore"),
    "same_number": ([3] * N, "ignore"),
    "category": (pd.Categorical(RANDOM.choice(["a", "b"], N)), "categorical"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_taken_for_what_it_is(name):
    values, wanted = COLUMNS[name]
    found = infer_kinds(tidy(pd.DataFrame({name: values, "y": 0})), ["y"])
    assert found.kinds == {name: wanted}
    assert not found.questions
    assert [finding.column for finding in found.warnings] == ([name] if wanted in ("id", "ignore") else [])


@pytest.mark.parametrize(
    ("values", "guess", "why"),
    [
        (RANDOM.integers(0, 24, N), "categorical", "24 whole numbers: categorical or continuous?"),
        (RANDOM.integers(0, 50, N), "continuous", "50 whole numbers: categorical or continuous?"),
        (np.arange(3).repeat(5), "continuous", "3 whole numbers: categorical or continuous?"),
        (np.arange(100, 160).repeat(20), "categorical", "60 whole numbers without gaps"),
        (np.arange(60).repeat(np.arange(60) ** 2 // 40 + 1), "continuous", "60 whole numbers without gaps"),
        (["0"] * N + ["a"] * 9, "categorical", "2 values, most of them numbers"),
        (["007", "12", "003"] * 50, "categorical", "3 numbers kept as text"),
        (RANDOM.choice(10**9, N, replace=False), "continuous", "400 whole numbers, none twice: continuous, or an id?"),
        (pd.array([*range(1, 2000, 37), None, None], "Int64"), "continuous", "55 whole numbers, none twice"),
        (10**18 + np.arange(60) * 7, "id", r"60 whole numbers beyond 2**53, none twice: an id, or continuous"),
        (10**18 + np.arange(60).repeat(2) * 7, "categorical", "60 whole numbers, of which floats make fewer"),
        ([f"c{number}" for number in range(1500)] * 2, "categorical", "1500 different texts in 3000 rows"),
    ],
)
def test_what_the_values_do_not_tell_is_asked(values, guess, why):
    found = infer_kinds(pd.DataFrame({"x": values}), [])
    assert found.kinds == {"x": guess}
    assert found.questions[0].column == "x"
    assert found.questions[0].comment().startswith(why)
    assert found.questions[0].is_question
    # What the user says is not asked again.
    told = infer_kinds(pd.DataFrame({"x": values}), [], given={"x": "categorical"})
    assert told.kinds == {"x": "categorical"}
    assert not told.questions


def test_floats_of_whole_numbers_with_gaps_are_whole_numbers():
    frame = tidy(pd.DataFrame({"month": [1.0, 2.0, 3.0, np.nan] * 30}))
    assert infer_kinds(frame, []).questions[0].why == "3 whole numbers: categorical or continuous?"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["2015-01-31"] * 50 + ["soon", "later"], r"rows 51 and 52: column 'x' has a value that is not a date.*'soon'"),
        (
            ["2015-01-31"] * 6 + ["unknown"] * 4,
            r"rows 7, 8 and 9 \(4 such rows\): column 'x' has a value that " r"is not a date",
        ),
        (
            ["2015-01-31", "31/12/2015"] * 9,
            "rows 2, 4 and 6 .9 such rows.: column 'x' has a value that is not a date of the form",
        ),
        (["2015-01-31T12:00"] * 9 + ["2015-01-31T18"], "row 10: column 'x' has a value that is not a date.*T18"),
        (["open", "31/12/2015", "30/11/2015"] * 9, "1, 4 and 7 .9 such rows.: .*not a date.*'open'.*%d/%m/%Y"),
        (
            [str(number) for number in range(99)] + ["many"],
            r"row 100: column 'x' mixes types: text, but most.*numbers",
        ),
        (["a", "b", 3, "c"], r"row 3: column 'x' mixes types: numbers, but most rows have text.*'3'"),
        ([1, 2, "a", "b", 7], r"rows 3 and 4: column 'x' mixes types: text, but most rows have numbers"),
        ([True, "a", "b"], "row 1: column 'x' mixes types: true or false"),
        ([[1], [2]], "has values of an unsupported type.*list"),
        (pd.to_timedelta([1, 2], unit="D"), "has values of an unsupported type.*timedelta"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_rows(values, said):
    source = read_source(pd.DataFrame({"x": values, "y": 0}))
    with pytest.raises(DataError, match=said) as caught:
        infer_kinds(source.frame, ["y"], place=source.place)
    assert 'x = "' in str(caught.value)
    # As the message says, the user may leave it out.
    assert infer_kinds(source.frame, ["y"], given={"x": "ignore"}).kinds == {"x": "ignore"}


def test_kinds_that_do_not_fit_the_table_are_said():
    frame = pd.DataFrame({"area": [1.5, 2.5], "price": [1, 2]})
    with pytest.raises(DataError, match=r"has no column 'aera'.*did you mean 'area'"):
        infer_kinds(frame, ["price"], given={"aera": "continuous"})
    with pytest.raises(ConfigError, match="unknown kind of column 'area'.*'number'"):
        infer_kinds(frame, ["price"], given={"area": "number"})
    with pytest.raises(ConfigError, match="a target is not an input and has no kind"):
        infer_kinds(frame, ["price"], given={"price": "continuous"})


# The gate


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        ([1.0, np.inf, -np.inf], "continuous", "rows 2 and 3: column 'x' is infinite.*inf"),
        ([1.5, np.inf, 2], "categorical", "row 2: column 'x' is infinite"),
        (["1", "2", "b"], "continuous", "row 3: column 'x' is continuous but has text.*'b'"),
        (["01", "02", "3"], "continuous", "is continuous but has numbers as text"),
        (pd.to_datetime(["2015-01-01"] * 3), "continuous", "column 'x' is not a number"),
        (
            ["2015-01-01", "2015-02-30", "soon"],
            "date",
            "rows 2 and 3: column 'x' has a value that is not a date.*2015-02-30",
        ),
        (
            ["2015-01-01", "2015-02", "20150203"],
            "date",
            "rows 2 and 3: column 'x' has a value that is not a date.*2015-02",
        ),
        ([1, 2, 3], "date", "holds numbers, not dates"),
        ([1, "a", 2], "categorical", "row 2: column 'x' mixes types"),
    ],
)
def test_values_must_fit_the_kind_that_was_said(values, kind, said):
    source = read_source(pd.DataFrame({"x": values}))
    with pytest.raises(DataError, match=said):
        check_values(source.frame, {"x": kind}, source.place)
    check_values(source.frame, {"x": "ignore"}, source.place)


@pytest.mark.parametrize(
    "text",
    [
        *("2015-06-19", " 2015-06-19 ", "2015-06-19 18:30", "2015-06-19T18:30:05.25Z", "2015-06-19T18:30+02:00"),
        *("2015-06-19T18", "2015-06-19T1830", "2015-06", "20150619", "2015-6-19", "2015-W25-5", "2015-02-29"),
        *("\u0662015-06-19", "x"),
    ],
)
def test_the_gate_lets_pass_what_the_graph_reads(text):
    source = read_source(pd.DataFrame({"x": ["2015-01-01", text]}))
    if read_dates(tf.strings.strip(tf.constant([text]))).valid.numpy()[0]:
        check_values(source.frame, {"x": "date"}, source.place)
    else:
        with pytest.raises(DataError, match="row 2: column 'x' has a value that is not a date"):
            check_values(source.frame, {"x": "date"}, source.place)


def test_targets_that_cannot_be_are_said():
    frame = pd.DataFrame({"a": [1, 2], "b": [None, None]})
    for targets, error, said in (
        (["c"], DataError, "a.csv has no column 'c'.*allowed: a, b"),
        (["b"], DataError, "target column 'b' of a.csv has no value in any row"),
        ([], ConfigError, "target is invalid"),
        (["a", "a"], ConfigError, "named twice"),
    ):
        with pytest.raises(error, match=said):
            check_target_columns(frame, targets, "a.csv")


CLASSES = RANDOM.choice(["no", "yes", "maybe"], N)
PRICE = np.exp(RANDOM.normal(size=N))
LEAKS = {
    "the same": (CLASSES, CLASSES, "equals"),
    "the same but for gaps": (np.where(np.arange(N) % 5, CLASSES, None), CLASSES, "equals"),
    "other names": (pd.Series(CLASSES).map({"no": 7, "yes": 3, "maybe": 5}), CLASSES, "is a recoding of"),
    "the same number": (PRICE, PRICE, "equals"),
    "another unit": (PRICE * 1.19 + 3, PRICE, "has the same order as"),
    "a logarithm": (-np.log(PRICE), PRICE, "has the same order as"),
    "true and 1": (CLASSES == "no", (CLASSES == "no").astype(int), "is a recoding of"),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_column_that_is_the_target_is_refused_unless_allowed(name):
    column, target, why = LEAKS[name]
    frame = tidy(pd.DataFrame({"x": column, "y": target}))
    with pytest.raises(DataError, match=f"column 'x' {why} the target 'y'.*ignore.*allow"):
        find_leaks(frame, {"x": "categorical"}, ["y"], ())
    assert find_leaks(frame, {"x": "categorical"}, ["y"], ["x"])[0].why == f"{why} the target y"
    assert find_leaks(frame, {"x": "ignore"}, ["y"], ()) == ()


NOISE = RANDOM.normal(size=N)
HONEST = {
    "unlike": (NOISE, PRICE, None),
    "a good input": (PRICE + 0.05 * NOISE, PRICE, None),
    "one value a row for both": ([f"house {number}" for number in range(N)], PRICE, None),
    "finer classes": ([f"{label} {row % 3}" for row, label in enumerate(CLASSES)], CLASSES, "determines the target y"),
    "almost": (np.where(np.arange(N) == 7, "yes", CLASSES), np.where(np.arange(N) == 7, "no", CLASSES), None),
    "a threshold": (NOISE, NOISE > 0.3, "predicts perfectly, by one threshold, the target y"),
    "mostly missing": (np.where(np.arange(N) % 5 == 0, CLASSES, None), CLASSES, None),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_input_that_only_looks_like_the_target_passes(name):
    column, target, reported = HONEST[name]
    found = find_leaks(tidy(pd.DataFrame({"x": column, "y": target})), {"x": "categorical"}, ["y"], ())
    assert [finding.why for finding in found] == ([reported] if reported else [])


def test_few_rows_agree_by_chance():
    frame = pd.DataFrame({"x": [1, 2, 3], "y": [1, 2, 3]})
    assert find_leaks(frame, {"x": "continuous"}, ["y"], ()) == ()


def test_only_inputs_can_be_allowed():
    with pytest.raises(ConfigError, match="allow names a column that is not an input.*'z'"):
        find_leaks(pd.DataFrame({"x": [1], "y": [2]}), {"x": "continuous"}, ["y"], ["z"])
