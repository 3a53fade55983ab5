"""Dates in the graph against Python's datetime."""

import calendar
import datetime as dt
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tlkit.inputs.row.dates import read_dates

STARTS_AND_ENDS = [f"{unit}_{side}" for unit in ("month", "quarter", "year") for side in ("start", "end")]


def expected(day: dt.date) -> dict[str, float]:
    """Give the parts of a day by Python's calendar."""
    length = calendar.monthrange(day.year, day.month)[1]
    found = {
        "year": day.year, "month": day.month, "day": day.day, "week": day.isocalendar().week,
        "day_of_week": day.weekday(), "day_of_year": day.timetuple().tm_yday,
        "elapsed": (day - dt.date(1970, 1, 1)).days,
        "month_start": day.day == 1, "month_end": day.day == length,
        "quarter_start": (day.month, day.day) in [(1, 1), (4, 1), (7, 1), (10, 1)],
        "quarter_end": (day.month, day.day) in [(3, 31), (6, 30), (9, 30), (12, 31)],
        "year_start": (day.month, day.day) == (1, 1), "year_end": (day.month, day.day) == (12, 31),
    }  # fmt: skip
    turns = {
        "month": (day.month - 1) / 12, "day": (day.day - 1) / length, "day_of_week": day.weekday() / 7,
        "day_of_year": (found["day_of_year"] - 1) / (366 if calendar.isleap(day.year) else 365),
    }  # fmt: skip
    for part, turn in turns.items():
        found[f"{part}_sin"], found[f"{part}_cos"] = math.sin(2 * math.pi * turn), math.cos(2 * math.pi * turn)
    return found


def assert_same(days: list[dt.date]) -> None:
    dates = read_dates(tf.constant([day.isoformat() for day in days]))
    assert dates.valid.numpy().all()
    wanted = [expected(day) for day in days]
    for part in wanted[0]:
        np.testing.assert_allclose(dates.part(part), [row[part] for row in wanted], atol=2e-7, err_msg=part)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dates(), min_size=1, max_size=50))
@example([dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2000, 2, 29), dt.date(1900, 2, 28)])
def test_any_day_has_the_parts_of_pythons_calendar(days):
    assert_same(days)


def test_the_turn_of_the_year_has_the_week_of_its_thursday():
    days = [
        dt.date(year, month, day) for year in range(1, 9999, 3) for month, day in ((1, 1), (1, 3), (12, 29), (12, 31))
    ]
    assert_same(days)
    weeks = read_dates(tf.constant(["2015-12-31", "2016-01-03", "2018-12-31", "2021-01-01"])).week
    assert weeks.numpy().tolist() == [53, 53, 1, 53]


@settings(max_examples=40, deadline=None)
@given(
    st.datetimes(timezones=st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=-9, minutes=-30))])),
    st.sampled_from(["T", " "]),
    st.sampled_from(["auto", "minutes", "seconds", "milliseconds"]),
)
def test_the_hour_counts_as_it_is_written(moment, separator, precision):
    dates = read_dates(tf.constant([moment.isoformat(separator, precision)]))
    assert dates.valid.numpy().tolist() == [True]
    assert (dates.hour[0], dates.days[0]) == (moment.hour, expected(moment.date())["elapsed"])


GOOD = [
    "2015-06-19", "2015-06-19 13:05", "2015-06-19T13:05:00Z", "2015-06-19t13:05:00z", "2015-06-19T13:05:59.123456789",
    "2015-06-19T13:05+02:00", "2015-06-19T13:05:00-0930", "2015-06-19 13:05:00 +01", "2016-02-29", "2000-02-29",
]  # fmt: skip
BAD = [
    "", "x", "2015", "2015-06", "2015-6-19", "20150619", "19.06.2015", "06/19/2015", "2015-13-01", "2015-00-10",
    "2015-06-31", "2015-06-00", "2015-06-32", "1900-02-29", "2015-02-29", "0000-01-01", "-001-01-01", "12015-06-19",
    "2015-06-19T", "2015-06-19T24:00", "2015-06-19T13", "2015-06-19T13:60", "2015-06-19T13:05:60", "2015-06-19x",
    "2015-06-19T13:05:00+24:00", "2015-06-19T13:05:00.", "2015-06-19\n", " 2015-06-19", "２０１５-06-19", "9" * 100_000,
    "2015-06-19T13:05:00." + "9" * 100_000, b"2015-06-19\xff", b"\xff\xfe", b"2015-06-19\0", b"2015-06-19T13:05\0",
]  # fmt: skip


@pytest.mark.parametrize(("texts", "is_date"), [(GOOD, True), (BAD, False)])
def test_what_is_a_date_and_what_is_none(texts, is_date):
    found = dict(zip(texts, read_dates(tf.constant(texts)).valid.numpy().tolist(), strict=True))
    assert found == dict.fromkeys(texts, is_date)


def test_what_is_no_date_keeps_every_number_in_its_range():
    dates = read_dates(tf.constant(BAD))
    for part, (low, high) in {"year": (0, 9999), "month": (1, 12), "day": (1, 31), "hour": (0, 23)}.items():
        assert low <= tf.reduce_min(dates.part(part)) <= tf.reduce_max(dates.part(part)) <= high


def test_hours_go_round_the_clock():
    dates = read_dates(tf.constant(["2015-06-19", "2015-06-19T06:59", "2015-06-19T12:00", "2015-06-19T23:59"]))
    assert dates.hour.numpy().tolist() == [0, 6, 12, 23]
    np.testing.assert_allclose(dates.part("hour_sin"), [0, 1, 0, math.sin(2 * math.pi * 23 / 24)], atol=1e-7)
    np.testing.assert_allclose(dates.part("hour_cos"), [1, 0, -1, math.cos(2 * math.pi * 23 / 24)], atol=1e-7)


def test_no_dates_at_all():
    dates = read_dates(tf.zeros([0], tf.string))
    assert [dates.part(part).shape for part in ("week", "elapsed", "month_sin", *STARTS_AND_ENDS)] == [[0]] * 9
