"""What targets are taken for, what is asked about them, and what is refused with its row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlkit.errors import DataError
from tlkit.inputs.files.source import read_source, tidy
from tlkit.inputs.row.number_forms import NumberForm
from tlkit.inputs.row.problems import Problems
from tlkit.inputs.row.splits import SplitOptions, split_rows
from tlkit.inputs.row.target_kinds import are_texts, describe_target, guess_target, target_findings
from tlkit.inputs.row.targets import fit_targets, read_known_targets, read_targets
from tlkit.targets.regression import Regression
from tlkit.targets.single_label import SingleLabel

N = 400
RANDOM = np.random.default_rng(0)


def place(rows):
    return f"row {rows[0] + 2}"


@pytest.mark.parametrize(
    ("values", "kind", "why"),
    [
        (RANDOM.normal(size=N), "regression", ""),
        (RANDOM.integers(0, 9000, N), "regression", ""),
        (RANDOM.integers(0, 23, N), "regression", "23 whole numbers: regression or classes?"),
        (RANDOM.integers(0, 5, N), "single_label", "5 whole numbers: regression or classes?"),
        (RANDOM.integers(0, 5, N).astype(float), "single_label", "5 whole numbers: regression or classes?"),
        (RANDOM.integers(0, 2, N), "single_label", ""),
        (RANDOM.choice([True, False], N), "single_label", ""),
        (RANDOM.choice(["None", "mild"], N), "single_label", ""),
        (RANDOM.choice(["007", "12"], N), "single_label", "2 numbers kept as text: classes, or regression"),
        (RANDOM.choice(["1", "2", "3+"], N), "single_label", "3 classes, most of them numbers"),
        (RANDOM.choice(["2014-05-01", "2014-06-01"], N), "single_label", "2 classes, dates: use them as classes?"),
    ],
)
def test_a_target_is_taken_for_what_it_is(values, kind, why):
    column = tidy(pd.DataFrame({"y": values}))["y"]
    guess = guess_target(column, "y", place)
    assert (guess.kind, guess.is_question) == (kind, bool(why))
    assert guess.why.startswith(why)
    assert read_targets(pd.DataFrame({"y": column}), ["y"], place)[0].kind == kind


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([*map(str, range(30)), "oops"], "row 32: column 'y' mixes types: text, but .* numbers.*'oops'"),
        ([*(f"${number}" for number in range(30)), "€5"], "row 32: column 'y' mixes types.*'€5'"),
        ([f"a text about {number} things" for number in range(30)], "a different text in almost every row.*row 2"),
        ([1, "a", 2], "row 3: column 'y' mixes types"),
        (
            [f"{number}.4k" for number in range(30)],
            "a different text in almost.*amounts such as '0.4k'.*plain numbers",
        ),
        ([f"{number}.4k" for number in range(60)] * 2, "has 60 different amounts that cannot be read"),
        ([*map(str, range(100, 130)), "0123"], "row 32: the target 'y' has numbers with leading zeros.*'0123'"),
        (
            [str(day)[:10] for day in pd.date_range("2014-01-01", periods=60)] * 2,
            "has 60 different dates.*2014-01-01",
        ),
        ([f"{day.day}/{day.month}/2014" for day in pd.date_range("2014-01-01", periods=60)], "has 60 different dates"),
    ],
)
def test_targets_that_columns_could_not_be_are_refused_with_the_value(values, said):
    frame = tidy(pd.DataFrame({"y": values}))
    with pytest.raises(DataError, match=said):
        guess_target(frame["y"], "y", place)
    with pytest.raises(DataError, match=said):
        read_targets(frame, ["y"], place)


def test_what_a_file_writes_otherwise_is_a_number_or_missing(tmp_path):
    rows = [f"${number}.50" for number in range(30)] + ["-"] * 3
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"1,{row}\n" for row in rows))
    source = read_source(tmp_path / "a.csv")
    assert guess_target(source.frame["y"], "y", source.place).kind == "regression"
    described = describe_target(source.frame["y"], "regression", source.forms["y"].unit)
    assert described == "regression, 30 different values from 0.5 to 29.5 $; 3 rows without a value"


def test_the_ends_of_a_range_are_told_apart():
    described = describe_target(pd.Series([1e9 - 1.5, 1e9 + 2]), "regression")
    assert described == "regression, 2 different values from 999999998.5 to 1000000002"


def test_classes_are_described_with_their_counts():
    column = pd.Series(["a"] * 3 + ["b"] * 9 + [None] + [f"c{number}" for number in range(9)])
    shown = "11 classes: 'b' 9, 'a' 3, 'c0' 1, 'c1' 1, 'c2' 1, ...; 1 row without a value"
    assert describe_target(column, "single_label") == shown


def test_questions_about_targets_are_reported_unless_their_kind_was_said():
    frame = pd.DataFrame({"y": RANDOM.integers(0, 5, N), "z": RANDOM.choice(["None", "mild"], N)})
    marks = {"z": {"None": 150}}
    found = target_findings(frame, ["y", "z"], marks, place)
    assert [finding.column for finding in found] == ["y", "z"]
    assert "regression or classes? Used as single_label" in found[0].why
    assert "'None' is a class of z (150 of 400 rows); set missing = ['None'] to skip" in found[1].why
    assert len(target_findings(frame, ["y"], {}, place, {"y": "regression"})) == 0


def test_a_missing_mark_is_not_named_where_another_value_is_no_number():
    frame = pd.DataFrame({"y": pd.Series(["1.5", "2.5", "NaN", "inf", "abc"], dtype="str")})
    with pytest.raises(DataError, match="row 5: the target 'y' is not a number; received: 'inf'"):
        read_targets(frame, ["y"], place, target_kinds={"y": "regression"})


@pytest.mark.parametrize("form", [NumberForm(), NumberForm(".", ",", "$")])
def test_a_known_target_names_the_rows_that_its_form_does_not_read(form):
    good = ["$1,234", "$5"] if form.unit else ["1234", "5"]
    frame = pd.DataFrame({"y": pd.Series([*good, "unknown", "€7"], dtype="str"), "z": ["a", "b", "b", "c"]})
    targets = (Regression("y"), SingleLabel("z", ("a", "b")))
    problems = Problems()
    found = read_known_targets(frame, targets, place, forms={"y": form}, problems=problems)
    assert found == []
    assert "row 4: the target 'y' is not a number; received: 'unknown'" in str(problems.found["y"])
    assert "row 5: target 'z' has a class that the model was not trained on" in str(problems.found["z"])
    with pytest.raises(DataError, match="row 4: the target 'y' is not a number.*'unknown'"):
        read_targets(frame, ["y"], place, target_kinds={"y": "regression"})


@pytest.mark.parametrize(
    ("classes", "texts"),
    [(["1", "2"], False), (["0.5", "1.0"], False), (["true", "false"], False), (["007", "1"], True), (["a"], True)],
)
def test_classes_that_are_texts(classes, texts):
    assert are_texts(classes) is texts


@pytest.mark.parametrize(("labels", "advice"), [(["1", "2", "17"], True), (["a", "b", "c"], False)])
def test_a_class_with_a_single_row_is_named(labels, advice):
    frame = tidy(pd.DataFrame({"y": [labels[0]] * 9 + [labels[1]] * 9 + [labels[2]]}))
    if advice:
        frame = frame.astype({"y": "int64"})
    (target,) = read_targets(frame, ["y"], place)
    with pytest.raises(DataError, match=f"row 20: a class of 'y' has a single row.*'{labels[2]}': 1 row") as caught:
        split_rows(
            frame, SplitOptions(), labels=target.values, values=None, given=None, seed=0, place=place, target=target
        )
    assert ('y = "regression"' in str(caught.value)) is advice
    with pytest.raises(DataError, match=f"class of 'y', which 1 other row has.*'{labels[2]}'") as caught:
        fit_targets([target], {"train": np.arange(18)})
    assert ('y = "regression"' in str(caught.value)) is advice
