"""Which rows of a table are held out: by chance, by time, by group, as they came."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.row.splits import SplitOptions, first_moments, split_rows

N = 200
RANDOM = np.random.default_rng(1)
FRAME = pd.DataFrame(
    {
        "day": (pd.Timestamp("2015-01-01") + pd.to_timedelta(RANDOM.integers(0, 100, N), unit="D")).strftime(
            "%Y-%m-%d"
        ),
        "year": RANDOM.integers(1990, 2020, N),
        "shop": RANDOM.integers(0, 20, N),
        "part": RANDOM.choice(["train", "Val", "test "], N),
    }
)
CLASSES = RANDOM.choice(2, N, p=[0.9, 0.1])
PRICE = np.exp(RANDOM.normal(size=N) * 2)


def place(rows):
    return f"row {rows[0] + 1}"


def split(frame=FRAME, labels=None, values=None, given=None, seed=0, **options):
    rows = split_rows(frame, SplitOptions(**options), labels=labels, values=values, given=given, seed=seed, place=place)
    assert list(rows) == [name for name in ("train", "val", "test") if name in rows]
    joined = np.concatenate(list(rows.values()))
    assert sorted(joined.tolist()) == list(range(len(frame)))
    assert all(np.all(np.diff(own) > 0) for own in rows.values())
    return rows


def sizes(rows):
    return {name: len(own) for name, own in rows.items()}


def test_classes_keep_their_share_in_all_three_parts():
    rows = split(labels=CLASSES, val_fraction=0.2, test_fraction=0.3)
    assert sizes(rows) == {"train": 100, "val": 40, "test": 60}
    for own in rows.values():
        assert abs(CLASSES[own].mean() - CLASSES.mean()) < 0.03
    again, other = (split(labels=CLASSES, test_fraction=0.3, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(rows["test"], again["test"])
    assert not np.array_equal(rows["test"], other["test"])


def test_numbers_are_stratified_by_decile():
    rows = split(values=PRICE, val_fraction=0.25)
    deciles = np.searchsorted(np.quantile(PRICE, np.arange(1, 10) / 10), PRICE, side="right")
    assert np.bincount(deciles[rows["val"]]).tolist() == [5] * 10


def test_few_or_equal_numbers_can_be_split():
    frame = FRAME.iloc[:5].reset_index(drop=True)
    assert sizes(split(frame, values=np.array([1.0, 2, 3, 4, 5]))) == {"train": 4, "val": 1}
    assert sizes(split(values=np.array([1.0] * (N - 1) + [2]))) == {"train": 160, "val": 40}


def test_labels_are_stratified_too():
    labels = np.stack([CLASSES, 1 - CLASSES], 1).astype(np.float32)
    assert sizes(split(labels=labels, val_fraction=0.2)) == {"train": 160, "val": 40}


def test_nothing_need_be_held_out():
    assert sizes(split(labels=CLASSES, val_fraction=0.0)) == {"train": N}


@pytest.mark.parametrize("column", ["day", "year"])
def test_the_newest_rows_are_held_out(column):
    rows = split(time_column=column, val_fraction=0.2, test_fraction=0.3)
    times = FRAME[column]
    assert times[rows["train"]].max() < times[rows["val"]].min()
    assert times[rows["val"]].max() < times[rows["test"]].min()
    assert abs(len(rows["test"]) - 60) < 8
    assert abs(len(rows["val"]) - 40) < 8


def test_a_border_is_a_date_or_a_number():
    rows = split(time_column="day", val_from="2015-02-01", test_from="2015-03-01")
    wanted = np.where(FRAME["day"] < "2015-02-01", "train", np.where(FRAME["day"] < "2015-03-01", "val", "test"))
    for name, own in rows.items():
        np.testing.assert_array_equal(own, np.flatnonzero(wanted == name))
    rows = split(time_column="year", val_from=2010)
    np.testing.assert_array_equal(rows["val"], np.flatnonzero(FRAME["year"] >= 2010))
    dated = FRAME.assign(day=pd.to_datetime(FRAME["day"]))
    same = split(dated, time_column="day", val_from=pd.Timestamp("2015-02-01").date())
    np.testing.assert_array_equal(same["train"], np.flatnonzero(FRAME["day"] < "2015-02-01"))


def test_with_a_test_border_alone_the_newest_of_the_rest_are_for_validation():
    rows = split(time_column="day", test_from="2015-03-01", val_fraction=0.25)
    assert FRAME["day"][rows["test"]].min() >= "2015-03-01"
    assert FRAME["day"][rows["train"]].max() < FRAME["day"][rows["val"]].min()
    rest = N - len(rows["test"])
    assert abs(len(rows["val"]) - 0.25 * rest) < 5
    assert "val" not in split(time_column="day", test_from="2015-03-01", val_fraction=0.0)


@pytest.mark.parametrize("labels", [None, CLASSES, np.stack([CLASSES, 1 - CLASSES], 1)])
def test_groups_stay_whole(labels):
    rows = split(labels=labels, values=PRICE, group_column="shop", val_fraction=0.2, test_fraction=0.2)
    groups = [set(FRAME["shop"][own]) for own in rows.values()]
    assert len(set.union(*groups)) == sum(map(len, groups))
    assert 15 < len(rows["val"]) < 70
    assert 15 < len(rows["test"]) < 70


def test_a_column_may_say_the_split():
    rows = split(split_column="part")
    for name, wrote in (("train", "train"), ("val", "Val"), ("test", "test ")):
        np.testing.assert_array_equal(rows[name], np.flatnonzero(FRAME["part"] == wrote))
    named = FRAME.assign(part=FRAME["part"].where(FRAME["part"] != "Val", "holdout"))
    with pytest.raises(DataError, match="column 'part' is not the name of a split.*'holdout'"):
        split(named, split_column="part")
    with pytest.raises(DataError, match="is not the name of a split"):
        split(FRAME.assign(part=None), split_column="part")
    with pytest.raises(DataError, match="there are no training rows"):
        split(FRAME.assign(part="val"), split_column="part")


def test_parts_keep_their_rows_and_training_is_divided_where_there_is_no_validation():
    given = np.array(["train"] * 150 + ["test"] * 50, object)
    rows = split(labels=CLASSES, given=given, val_fraction=0.2, test_fraction=0.2)
    assert rows["test"].tolist() == list(range(150, 200))
    assert len(rows["val"]) == 30
    given[:10] = "val"
    assert split(labels=CLASSES, given=given)["val"].tolist() == list(range(10))
    with pytest.raises(ConfigError, match="a table for each split cannot be combined with"):
        split(given=given, split_column="part")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"val_fraction": 1.0}, ConfigError, "val_fraction is invalid"),
        ({"test_fraction": -0.1}, ConfigError, "test_fraction is invalid"),
        ({"test_fraction": True}, ConfigError, "test_fraction is invalid"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, ConfigError, "leave nothing for training"),
        (
            {"split_column": "part", "group_column": "shop"},
            ConfigError,
            "a split by column cannot be combined with a split",
        ),
        ({"val_from": "2015-02-01"}, ConfigError, "need a time_column"),
        (
            {"val_from": "2015-02-01", "time_column": "day", "group_column": "shop"},
            ConfigError,
            "val_from and test_from cannot be combined with",
        ),
        ({"val_from": "2015-03-01", "test_from": "2015-02-01", "time_column": "day"}, ConfigError, "must come before"),
        ({"val_from": "next week", "time_column": "day"}, ConfigError, "val_from is invalid.*next week"),
        ({"val_from": 2015, "time_column": "day"}, ConfigError, "val_from is invalid.*2015"),
        ({"test_from": "2015-02-01", "time_column": "year"}, ConfigError, "test_from is invalid.*a number"),
        ({"val_from": "2016-01-01", "time_column": "day"}, DataError, "has no rows for val.*2015-01-01"),
        ({"val_from": "2014-01-01", "time_column": "day"}, DataError, "has no rows for train"),
        ({"val_from": "2015-02-01", "test_from": "2015-02-01T01:00", "time_column": "day"}, None, ""),
    ],
)
def test_splits_that_cannot_be_are_said(options, error, said):
    if error is None:  # a border within a day: that day alone is validation
        assert set(FRAME["day"][split(**options)["val"]]) == {"2015-02-01"}
        return
    with pytest.raises(error, match=said):
        split(labels=CLASSES, **options)


def test_times_that_cannot_be_read_are_said():
    frame = FRAME.assign(day=FRAME["day"].where(FRAME.index != 3, "soon"))
    with pytest.raises(DataError, match=r"row 4: column 'day' has a time that is missing or cannot be read.*'soon'"):
        split(frame, time_column="day")
    with pytest.raises(DataError, match="row 1: column 'year'"):
        split(FRAME.assign(year=np.nan), time_column="year")
    with pytest.raises(DataError, match="all rows have the same time: a split by time is"):
        split(FRAME.assign(year=2015), time_column="year")
    with pytest.raises(DataError, match="all rows are in one group"):
        split(FRAME.assign(shop=1), values=PRICE, group_column="shop")
    with pytest.raises(DataError, match="too few rows"):
        split(FRAME.iloc[:1], values=PRICE[:1])


def test_borders_between_the_parts_in_time():
    rows = split(time_column="day", val_from="2015-02-01", test_from="2015-03-01")
    firsts = [FRAME["day"][rows[name]].min() for name in ("val", "test")]
    assert [str(moment)[:10] for moment in first_moments(FRAME, "day", rows)] == firsts
    # Rows that were drawn at random have none.
    assert first_moments(FRAME, "day", split(labels=CLASSES)) == []
