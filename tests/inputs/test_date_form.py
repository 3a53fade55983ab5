"""Dates as people write them: the graph and the gates against Python's strptime."""

import datetime as dt

import numpy as np
import pytest
import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.inputs.row.columns import Date, sample_of
from tlkit.inputs.row.date_form import EPOCHS, check_date_form, date_form, read_moments, shown_form
from tlkit.inputs.row.dates import read_dates

FORMS = [
    "%m/%d/%Y", "%d.%m.%y", "%Y%m%d", "%b %d, %Y", "%d %B %Y", "%Y%m%d%H%M%S", "%m/%d/%y %I:%M %p", "%d-%b-%Y",
    "%a, %d %b %Y %H:%M:%S %z", "%m/%Y", "%d%m%Y", "%A %d. %B %Y", "%Y-%m-%d %H:%M:%S.%f", "on %d/%m/%Y at %H:%M UTC",
    "%d.%m.%Y (100%%)",
]  # fmt: skip
RANDOM = np.random.default_rng(0)
MOMENTS = [
    dt.datetime(1969, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=int(seconds))
    for seconds in [*RANDOM.integers(0, 99 * 365 * 86400, 100), 0, 3600 * 12, 86400 * 365 - 1]
]
NONE = [
    "",
    "garbage",
    "13/13/2013",
    "30.02.2014",
    "2015-06-19T25:00",
    "１2/03/2014",
    "9" * 1000,
    "6/23/2014x",
    "6//2014",
]


@pytest.mark.parametrize("form", FORMS)
def test_graph_and_gates_read_a_form_as_strptime_does(form):
    texts = [moment.strftime(form) for moment in MOMENTS]
    wanted = np.array([dt.datetime.strptime(text, form).replace(tzinfo=None) for text in texts], "M8[s]")
    np.testing.assert_array_equal(read_moments(texts, form), wanted)
    dates = read_dates(tf.constant([*texts, *NONE]), form)
    assert dates.valid.numpy().tolist() == [True] * len(texts) + [False] * len(NONE)
    assert np.isnat(read_moments(NONE, form)).all()
    days = wanted.astype("M8[D]")
    np.testing.assert_array_equal(dates.days[: len(texts)], days.astype(np.int64))
    np.testing.assert_array_equal(dates.hour[: len(texts)], (wanted - days).astype(np.int64) // 3600)
    seconds = np.rint(dates.elapsed.numpy()[: len(texts)] * 86400).astype(np.int64)
    np.testing.assert_array_equal(seconds, wanted.astype(np.int64))


def test_leading_zeros_case_and_spaces_do_not_matter():
    texts = ["6/3/2014 1:05 pm", "06/03/2014 01:05 PM", "6/3/2014  1:5 P.M."]
    found = read_dates(tf.constant(texts), "%m/%d/%Y %I:%M %p")
    assert found.valid.numpy().tolist() == [True] * 3
    assert found.hour.numpy().tolist() == [13] * 3
    assert len(set(read_moments(texts, "%m/%d/%Y %I:%M %p"))) == 1
    named = read_dates(tf.constant(["JUNE 3, 2014", "june 3, 2014", "Jun 3, 2014"]), "%B %d, %Y")
    assert named.valid.numpy().tolist() == [True, True, False]
    noon = read_dates(tf.constant(["12 AM 1.1.2014", "12 PM 1.1.2014"]), "%I %p %d.%m.%Y")
    assert noon.hour.numpy().tolist() == [0, 12]


def test_two_digit_years_turn_where_those_of_strptime_do():
    assert read_dates(tf.constant(["1.1.68", "1.1.69"]), "%d.%m.%y").year.numpy().tolist() == [2068, 1969]


@pytest.mark.parametrize(("form", "unit"), EPOCHS.items())
def test_numbers_since_1970_are_the_calendar_of_python(form, unit):
    first, last = -62_135_596_800, 253_402_300_799
    seconds = np.concatenate([RANDOM.integers(first, last, 2000), [first, last, 0, -1, 951_782_400]])
    dates = read_dates(tf.constant(seconds * unit), form)
    moments = read_moments(seconds * unit, form)
    assert dates.valid.numpy().all()
    parts = [(m.year, m.month, m.day, m.hour) for m in moments.astype(object)]
    found = [getattr(dates, name).numpy().tolist() for name in ("year", "month", "day", "hour")]
    assert parts == list(zip(*found, strict=True))
    beyond = read_dates(tf.constant([first * unit - 1, (last + 1) * unit, 2**63 - 1, -(2**63)]), form)
    assert not beyond.valid.numpy().any()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("%G-W%V-%u", "weeks are not supported: convert them to dates"),
        ("%j/%Y", "days of the year are not supported: convert them"),
        ("%d.%m.%Y %Z", "time zone names are not supported: write UTC or"),
        ("%s", "epoch seconds"),
        ("%x", "it depends on the locale"),
        ("%d.%m.%Q", "unknown directive"),
        ("%d.%m", "'year .%Y or %y.'"),
        ("%Y", "month"),
        ("%d/%d/%Y %m", "twice"),
        ("%Y-%m-%d %I:%M", "%I and %p need each other"),
        ("%Y-%m-%d %M", "minutes need hours"),
        ("%Y-%m-%d %", "single %"),
        ("yesterday", "year"),
    ],
)
def test_a_form_that_a_graph_cannot_read_is_refused_with_the_reason(form, message):
    with pytest.raises(ConfigError, match=f"{message}.*allowed: %Y %y %m"):
        check_date_form(form)
    with pytest.raises(ConfigError, match=message):
        Date("sold", "sold", form=form)


def test_forms_are_shown_and_have_samples():
    assert shown_form("%m/%d/%Y") == "dates as 06/19/2015 ('%m/%d/%Y')"
    assert shown_form("epoch milliseconds") == "milliseconds since 1970, whole numbers"
    assert shown_form("") == "dates as 2015-06-19 or 2015-06-19T13:05:00"
    for form in (*FORMS, *EPOCHS, ""):
        column = Date("a", "a", "int64" if form in EPOCHS else "string", form=form)
        sample = sample_of(column)
        values = tf.constant([int(sample)], tf.int64) if form in EPOCHS else tf.constant([sample])
        assert read_dates(values, form).valid.numpy().tolist() == [True]
    assert date_form("%m/%d/%Y") is date_form("%m/%d/%Y")
