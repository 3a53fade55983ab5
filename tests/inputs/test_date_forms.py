"""How dates are written: inferred from all values of a column, said where they leave it open."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.row.column_kinds import infer_kinds
from tlkit.inputs.row.date_inference import find_date_form
from tlkit.inputs.row.evaluating import table_to_evaluate
from tlkit.inputs.row.events import event_features
from tlkit.inputs.row.reading import table_from_file
from tlkit.tasks.tabular.config import TabularConfig

RANDOM = np.random.default_rng(0)
N = 120
DAYS = [
    pd.Timestamp("2012-01-05") + pd.Timedelta(days=int(day), seconds=int(second))
    for day, second in zip(RANDOM.integers(0, 900, N), RANDOM.integers(0, 86_400, N), strict=True)
]


def place(rows):
    return f"row{'s' * (len(rows) > 1)} {', '.join(str(row + 1) for row in rows[:3])}"


def found(values, dtype="str"):
    return find_date_form(pd.Series(values, dtype=dtype), "sold", place)


@pytest.mark.parametrize(
    "form",
    [
        "%m/%d/%Y", "%-m/%-d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d.%m.%y", "%Y%m%d", "%b %d, %Y", "%d %B %Y", "%Y/%m/%d",
        "%Y.%m.%d", "%m/%d/%y %I:%M %p", "%d-%b-%y", "%d. %B %Y", "%A, %d %B %Y", "%Y%m%d%H%M%S", "%d%b%Y",
        "%b %d %Y %I:%M%p", "%d/%m/%Y %H:%M", "%d.%m.%Y, %H:%M:%S", "%a %b %d %H:%M:%S %Y", "%m-%d-%Y",
        "%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%Y-%b", "%d%m%Y", "%m%d%Y",
    ],
)  # fmt: skip
def test_a_form_is_found_from_all_values(form):
    guess = found([day.strftime(form) for day in DAYS])
    assert (guess.form, guess.kind, guess.is_question) == (form.replace("%-", "%"), "date", False)
    assert "read as 20" in guess.why


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
def test_iso_needs_no_form(form):
    assert found([day.strftime(form) for day in DAYS]) is None


@pytest.mark.parametrize(
    "values",
    [
        ["a", "b"], ["1.5", "2"], ["1.2.3", "2.3.4"], ["2014-W26"] * 9, ["192.168.0.1"], ["12345678"] * 9,
        ["May", "June"], ["10:30", "11:30"], ["may 2014 be a good year"], ["1/2", "3/4"], ["12/2014"] * 9, [],
        [f"{year}/{year - 1999:02}" for year in range(2001, 2012)], [f"May-{day:02}" for day in range(1, 31)],
        ["2014-05", "2014-06", "2014-07", "2014-08", "2014-09", "other"],
    ],
)  # fmt: skip
def test_what_is_no_date_is_left_alone(values):
    assert found(values) is None


def test_day_and_month_that_cannot_be_told_apart_are_said():
    guess = found(["9/2/2014", "3/4/2014", "12/11/2013", "3/4/2014"])
    assert (guess.form, guess.other, guess.is_question) == ("%m/%d/%Y", "%d/%m/%Y", True)
    assert guess.why == (
        "'9/2/2014' is read as 2014-09-02 (month first, as is usual for dates with slashes in the United States), and "
        "could be 2014-02-09"
    )
    assert guess.readings() == ("2014-09-02", "2014-02-09")
    assert found(["9.2.2014", "3.4.2014", "12.11.2013"]).form == "%d.%m.%Y"
    by_order = found(["1/1/2014", "2/1/2014", "3/1/2014", "1/2/2014", "2/2/2014"])
    assert (by_order.form, by_order.is_question) == ("%d/%m/%Y", True)
    assert "this puts the rows in date order" in by_order.why
    same = found(["1/1/2014", "2/2/2014", "1/1/2014"])
    assert not same.is_question


@pytest.mark.parametrize(
    ("rare", "message"),
    [
        ("23.06.2014", "row 9: column 'sold' has dates in several forms: %d.%m.%Y here, %m/%d/%Y in most rows"),
        ("23/6/2014", "row 9: .*several forms: %d/%m/%Y here, %m/%d/%Y in most rows"),
        ("2014-06-23", "row 9: .*several forms: ISO 8601 here, %m/%d/%Y in most rows"),
        ("6/23/2014 12:00", "row 9: .*several forms: %m/%d/%Y %H:%M here"),
        (
            "soon",
            "row 9: column 'sold' has a value that is not a date.*'soon'.*form %m/%d/%Y, as in most "
            "rows.*unreadable = ",
        ),
        ("-", r"row 9: column 'sold' has a value that is not a date.*missing = \[\"-\"\] for sold under \[formats\]"),
        ("2/30/2014", "row 9: column 'sold' has a value that is not a date"),
    ],
)
def test_mixed_forms_are_refused_with_the_rows_of_the_rarer(rare, message):
    with pytest.raises(DataError, match=message):
        found(["6/23/2014", "7/24/2014"] * 4 + [rare])


def test_iso_beside_another_form_is_said():
    frame = pd.DataFrame({"sold": pd.Series(["2014-06-23"] * 5 + ["6/23/2014", "7/24/2014"], dtype="str")})
    with pytest.raises(DataError, match="not a date of the form of the others: %m/%d/%Y here; received: '6/23/2014'"):
        infer_kinds(frame, [])


def test_months_are_dates_of_their_first_days():
    months = [f"{year}-{month:02}" for year in (2013, 2014) for month in range(1, 13)]
    assert "'2013-01', read as 2013-01-01" in found(months).why
    with pytest.raises(DataError, match="row 25: column 'sold' has a value that is not a date.*'2014-13'.*form %Y-%m"):
        found([*months, "2014-13"])
    short = found([day.strftime("%b-%y") for day in DAYS])
    assert (short.form, short.kind, short.is_question) == ("%b-%y", "date", True)


def test_six_digits_that_are_all_days_are_asked_about():
    guess = found([int(day.strftime("%y%m%d")) for day in DAYS], "int64")
    assert (guess.form, guess.kind, guess.is_question) == ("%y%m%d", None, True)
    assert "are all days, such as 120" in guess.why
    kinds = infer_kinds(pd.DataFrame({"sold": [201405, 201406, 201407, 201408, 201409, 201410] * 20}), [])
    assert kinds.kinds == {"sold": "categorical"}
    assert "months, such as 201405 (2014-05-01): are they dates?" in kinds.questions[0].why
    assert found(RANDOM.integers(100_000, 999_999, 200), "int64") is None
    months = found([int(day.strftime("%Y%m")) for day in DAYS], "int64")
    assert (months.form, months.kind, months.is_question) == ("%Y%m", None, True)
    texts = found([day.strftime("%d%m%y") for day in DAYS])
    assert (texts.form, texts.kind, texts.is_question) == ("%d%m%y", None, True)
    assert found([f"{number:06}" for number in RANDOM.integers(0, 999_999, 200)]) is None


def test_whole_numbers_that_are_days_or_seconds_are_asked_about():
    packed = found([int(day.strftime("%Y%m%d")) for day in DAYS], "int64")
    assert (packed.form, packed.kind, packed.is_question) == ("%Y%m%d", "date", True)
    assert "are all days, 2012" in packed.why
    seconds = pd.Series([int(day.timestamp()) for day in DAYS])
    named, unnamed = (find_date_form(seconds, name, place) for name in ("created_at", "x7"))
    assert (named.form, named.kind, named.is_question) == ("epoch seconds", "date", True)
    assert (unnamed.form, unnamed.kind) == ("epoch seconds", "continuous")
    assert found([1000 * int(day.timestamp()) for day in DAYS], "int64").form == "epoch milliseconds"
    assert found(RANDOM.integers(10_000_000, 99_999_999, 200), "int64") is None
    assert found([20140101, 20140102], "int64") is None


def houses(form="%-m/%-d/%Y"):
    price = RANDOM.normal(size=N).round(3)
    return pd.DataFrame(
        {
            "sold": [day.strftime(form) for day in DAYS],
            "area": RANDOM.normal(size=N).round(2),
            "fair": RANDOM.integers(0, 2, N),
            "price": price,
        }
    )


def test_kinds_hold_the_forms_and_say_them():
    kinds = infer_kinds(houses().astype({"sold": "str"}), ["price"])
    assert kinds.kinds["sold"] == "date"
    assert kinds.date_formats == {"sold": "%m/%d/%Y"}
    assert "read as" in next(note.why for note in kinds.warnings if note.column == "sold")
    said = infer_kinds(houses().astype({"sold": "str"}), ["price"], date_formats={"sold": "%d/%m/%Y"})
    assert (said.kinds["sold"], said.date_formats) == ("date", {})
    assert not [note for note in said.warnings if note.column == "sold"]


@pytest.mark.parametrize("given", [{}, {"date_formats": {"sold": "%m/%d/%Y"}}])
def test_splits_events_and_inputs_read_one_form(tmp_path, given):
    file = tmp_path / "houses.csv"
    houses().to_csv(file, index=False)
    options = {"time_column": "sold", "events": ["fair"], **given}
    data = table_from_file(file, "price", val_from="2014-01-01", **options)
    held_out = pd.to_datetime(data.frame("val")["sold"], format="%m/%d/%Y")
    assert held_out.min() >= pd.Timestamp("2014-01-01") > pd.to_datetime(data.frame("train")["sold"]).max()
    (column,) = (column for column in data.preprocessing.columns if column.name == "sold")
    assert column.form == "%m/%d/%Y"
    same = table_from_file(file, "price", val_from="1/1/2014", **options)
    assert same.rows("val").tolist() == data.rows("val").tolist()
    iso = pd.read_csv(file)
    iso["sold"] = pd.to_datetime(iso["sold"], format="%m/%d/%Y").dt.strftime("%Y-%m-%d")
    as_iso = table_from_file(iso, "price", val_from="2014-01-01", time_column="sold", events=["fair"])
    for name in ("fair days since", "fair days until", "fair last 28 days"):
        np.testing.assert_array_equal(as_iso.frame("val")[name], data.frame("val")[name])
    np.testing.assert_allclose(as_iso.encoded("val"), data.encoded("val"), atol=1e-6)
    evaluated = table_to_evaluate(file, data.preprocessing, data.targets, time_column="sold", events=["fair"])
    assert len(evaluated.rows("test")) == N
    wrong = pd.read_csv(file).astype({"sold": "str", "price": "str"})
    wrong.loc[3, "sold"], wrong.loc[5, "price"] = "garbage", "unknown"
    said = "row 4: column 'sold' has a value that is not a date.*\n.*row 6: the target 'price' is not a number"
    with pytest.raises(DataError, match=said):
        table_to_evaluate(wrong, data.preprocessing, data.targets)


def test_unreadable_values_are_refused_or_counted_as_missing(tmp_path):
    frame = houses().assign(garden=np.where(np.arange(N) % 3, "yes", "no"))
    frame.loc[[4, 7], "sold"] = "soon"
    frame.loc[9, "garden"] = "perhaps"
    options = {"kinds": {"garden": "boolean"}, "date_formats": {"sold": "%m/%d/%Y"}}
    with pytest.raises(
        DataError, match=r"rows 5 and 8: column 'sold' has a value that is not a date.*'soon'.*unreadable = \"missing\""
    ):
        table_from_file(frame, "price", **options)
    with pytest.raises(
        DataError, match="row 10: column 'garden' has a value that is not true or false.*'perhaps'.*no/yes"
    ):
        table_from_file(frame.drop(columns="sold"), "price", kinds={"garden": "boolean"})
    data = table_from_file(frame, "price", unreadable="missing", **options)
    said = {finding.column: finding.why for finding in data.findings}
    assert said["sold"] == "2 values count as missing, such as 'soon'"
    assert said["garden"] == "1 values count as missing, such as 'perhaps'"
    assert data.preprocessing.unreadable == "missing"
    missing = data.preprocessing.encode_frame(frame.assign(sold="", garden="").iloc[:1])
    found = data.preprocessing.encode_frame(
        frame.iloc[[4]].assign(garden="perhaps", area=frame["area"][0], fair=frame["fair"][0])
    )
    np.testing.assert_array_equal(found, missing)


def test_events_take_a_format():
    days = pd.DataFrame({"day": ["1.2.2024", "3.2.2024", "4.2.2024"], "promo": [1, 0, 1]})
    assert event_features(days, date="day", events=["promo"], date_format="%d.%m.%Y").iloc[1, 2:].tolist() == [
        2,
        1,
        1,
        1,
    ]
    with pytest.raises(DataError, match="no usable date in data row 1.*allowed: dates as 2015/06/19"):
        event_features(days, date="day", events=["promo"], date_format="%Y/%m/%d")


def test_config_says_how_dates_are_written():
    plain = {
        "project": {"name": "houses", "task": "tabular"},
        "data": {"path": "houses.csv", "targets": "price"},
        "export": {"directory": "saved_models/houses"},
    }
    config = TabularConfig.model_validate(plain)
    assert (config.dates, config.data.unreadable) == ({}, "error")  # of projects of release 0.1.0
    config = TabularConfig.model_validate(plain | {"dates": {"sold": "%m/%d/%Y", "seen": "epoch seconds"}})
    assert config.table_options["date_formats"] == config.reading["date_formats"] == config.dates
    for form, message in (
        ("%G-W%V", "weeks are not supported: convert them to dates"),
        ("", "ISO 8601 needs none"),
        (7, "a date format is a string"),
    ):
        with pytest.raises(ValueError, match=message):
            TabularConfig.model_validate(plain | {"dates": {"sold": form}})
    with pytest.raises(ConfigError, match="unknown directive"):
        table_from_file(houses(), "price", date_formats={"sold": "%Q"})
    with pytest.raises(DataError, match="has no column 'solt'|no column 'solt'"):
        table_from_file(houses(), "price", date_formats={"solt": "%m/%d/%Y"})
