"""Days since and until events, against a loop over every pair of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.row.events import event_columns, event_features, is_event


def slow(frame, date, event, group, known_from):
    """The same, one row at a time."""
    moments = [pd.Timestamp(value) for value in frame[date]]
    days = [moment.normalize() for moment in moments]
    borders = sorted(pd.Timestamp(value) for value in known_from)
    groups = list(frame[group]) if group else [0] * len(frame)
    marked = {
        (groups[row], days[row], moments[row])
        for row in range(len(frame))
        if str(frame[event].iloc[row]).lower() not in ("", "0", "nan", "none", "false", "no", "<na>")
    }
    found = []
    for own, today, now in zip(groups, days, moments, strict=True):
        ends = [border for border in borders if border > now]
        seen = {day for which, day, moment in marked if which == own and (not ends or moment < ends[0])}
        past = [(today - day).days for day in seen if day <= today]
        coming = [(day - today).days for day in seen if day >= today]
        found.append(
            [
                min(past, default=np.nan),
                min(coming, default=np.nan),
                sum(distance < 7 for distance in past),
                sum(distance < 28 for distance in past),
            ]
        )
    return np.array(found, float)


def table(seed, count=150, span=60, shops=3):
    random = np.random.default_rng(seed)
    days = pd.Timestamp("2015-01-01") + pd.to_timedelta(random.integers(0, span, count), unit="D")
    return pd.DataFrame(
        {
            "day": days.strftime("%Y-%m-%d"),
            "shop": random.integers(0, shops, count),
            "holiday": random.choice(["0", "0", "0", "a", "b", ""], count),
            "promo": random.choice([0, 0, 0, 0, 1], count),
        }
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("group", [None, "shop"])
@pytest.mark.parametrize(
    "known_from",
    [[], ["2015-01-20"], ["2015-01-20", "2015-01-30"], ["2015-01-20T11:00", "2015-01-20T13:00"], ["2014-01-01"]],
)
@pytest.mark.parametrize("times", [False, True])
def test_it_is_what_a_loop_finds(seed, group, known_from, times):
    frame = table(seed)
    if times:
        frame["day"] += np.random.default_rng(seed).choice(["T00:00", "T08:00", "T12:00", "T23:59"], len(frame))
    made = event_features(frame, date="day", events=["holiday", "promo"], group=group, known_from=known_from)
    pd.testing.assert_frame_equal(made[frame.columns.tolist()], frame)
    for event in ("holiday", "promo"):
        np.testing.assert_array_equal(
            made[list(event_columns(event))].to_numpy(float), slow(frame, "day", event, group, known_from)
        )


def test_training_rows_do_not_change_with_what_is_held_out():
    frame = table(9)
    border = "2015-01-25"
    before = (frame["day"] < border).to_numpy()
    frame.loc[~before, "promo"] = 1
    other = frame.assign(promo=frame["promo"].where(before, 0))
    options = {"date": "day", "events": ["promo"], "group": "shop"}
    one, two = (event_features(it, **options, known_from=[border])[before] for it in (frame, other))
    pd.testing.assert_frame_equal(one, two)
    # Without the border they do.
    one, two = (event_features(it, **options)[before] for it in (frame, other))
    assert not one.equals(two)


def test_held_out_rows_look_back_into_training():
    frame = pd.DataFrame({"day": ["2015-01-01", "2015-01-05"], "promo": [1, 0]})
    made = event_features(frame, date="day", events=["promo"], known_from=["2015-01-05"])
    assert made.iloc[1, 2:].tolist()[0] == 4
    assert made["promo last 28 days"].tolist() == [1, 1]


def test_a_border_within_a_day_hides_that_day_from_the_rows_before_it():
    moments = ["2015-01-01T08:00", "2015-01-02T08:00", "2015-01-02T16:00"]
    frame = pd.DataFrame({"day": moments, "promo": [0, 0, 1]})
    made = event_features(frame, date="day", events=["promo"], known_from=["2015-01-02T12:00"])
    hidden = [np.nan, np.nan, 0, 0]
    np.testing.assert_array_equal(made[list(event_columns("promo"))], [hidden, hidden, [0, 0, 1, 1]])


def test_no_event_at_all_is_missing():
    made = event_features(pd.DataFrame({"day": ["2015-01-01"], "promo": [0]}), date="day", events=["promo"])
    assert made["promo days since"].isna().all()
    assert made["promo days until"].isna().all()
    assert made["promo last 28 days"].tolist() == [0]


def test_order_index_and_times_of_day_do_not_matter():
    frame = table(3)
    mixed = frame.sample(frac=1, random_state=0)
    mixed["day"] = pd.to_datetime(mixed["day"]) + pd.Timedelta(hours=13)
    options = {"date": "day", "events": ["promo"], "group": "shop"}
    made = event_features(mixed, **options).sort_index()
    wanted = event_features(frame, **options)
    pd.testing.assert_frame_equal(made.drop(columns="day"), wanted.drop(columns="day"))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["0", "", "a", None, "False", "1"], [False, False, True, False, False, True]),
        ([0, 1, 2], [False, True, True]),
        ([0.0, np.nan, 1.0], [False, False, True]),
        ([True, False, None], [True, False, False]),
    ],
)
def test_what_an_event_is(values, wanted):
    assert is_event(pd.Series(values)).tolist() == wanted


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"date": "when"}, DataError, "no column 'when'"),
        ({"events": ["fair"]}, DataError, "no column 'fair'"),
        ({"group": "town"}, DataError, "no column 'town'"),
        ({"events": "promo"}, ConfigError, "events is invalid"),
        ({"events": []}, ConfigError, "events is invalid"),
        ({"known_from": ["soon"]}, ConfigError, "known_from contains no date"),
        ({"known_from": [None]}, ConfigError, "known_from contains no date"),
    ],
)
def test_bad_options_are_said(options, error, said):
    with pytest.raises(error, match=said):
        event_features(table(0), **{"date": "day", "events": ["promo"], **options})


def test_bad_dates_and_names_that_are_taken_are_said():
    frame = table(0)
    frame.loc[4, "day"] = "31/12/2015"
    with pytest.raises(DataError, match=r"no usable date in data row 5 \(1 such rows\).*31/12/2015"):
        event_features(frame, date="day", events=["promo"])
    frame = event_features(table(0), date="day", events=["promo"])
    with pytest.raises(DataError, match="already has a column of that name.*'promo days since'"):
        event_features(frame, date="day", events=["promo"])
