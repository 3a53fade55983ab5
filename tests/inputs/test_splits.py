from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.splits import ClassWords, multi_label_split, split_with_copies, time_split, train_val_split


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=5),
    fraction=st.floats(0.05, 0.9),
    seed=st.integers(0, 1000),
)
def test_every_row_once_and_every_class_on_both_sides(counts, fraction, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    train, val = train_val_split(labels, fraction, seed)
    assert sorted([*train, *val]) == list(range(len(labels)))
    assert set(labels[train]) == set(labels[val]) == set(labels)


def test_classes_keep_their_proportions():
    labels = np.repeat([0, 1], [300, 100])
    _, val = train_val_split(labels, 0.2, seed=0)
    assert np.bincount(labels[val]).tolist() == [60, 20]


def test_the_seed_decides_the_split():
    labels = np.repeat([0, 1], 50)
    first, again, other = (train_val_split(labels, 0.2, seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 0.7])
def test_a_group_never_straddles(fraction):
    random = np.random.default_rng(0)
    groups = random.integers(0, 40, 400)
    labels = (groups % 3 == 0).astype(int)
    train, val = train_val_split(labels, fraction, 0, groups)
    assert not set(groups[train]) & set(groups[val])
    assert abs(len(val) / 400 - fraction) < 0.12
    assert set(labels[val]) == {0, 1}


def test_a_class_with_one_item_is_an_error():
    with pytest.raises(DataError, match="class 'b' has 1 item; a split into .* needs 2 of each class; add items, rem"):
        train_val_split(["a", "a", "b"], 0.5, 0)
    with pytest.raises(DataError, match="2 of 3 classes have a single item: 'b', 'c'; a split") as caught:
        train_val_split(["a", "a", "b", "c"], 0.5, 0)
    assert "numbers" not in str(caught.value)


def test_classes_that_are_numbers_are_named_by_their_names_and_not_taken_for_values():
    words = ClassWords(("1.5", "2.5", "10"), "image")
    with pytest.raises(DataError, match="class '10' has 1 image; .*add images.*; all classes are numbers, and each"):
        train_val_split([0, 0, 1, 1, 2], 0.5, 0, words=words)
    with pytest.raises(
        DataError, match="class '10' has 1 image that is not a copy of another .3 images with copies.; "
    ):
        split_with_copies([0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 3, 4, 4, 4], 0.5, 0, words=words)
    with pytest.raises(DataError, match="class '2.5' has all of its 2 images in one group.*received: 'z'; .*numbers"):
        train_val_split([0, 0, 1, 1, 2, 2], 0.5, 0, ["x", "y", "z", "z", "x", "y"], words=words)


def test_a_class_in_one_group_is_an_error():
    with pytest.raises(DataError, match="class 'b' has all of its 2 items in one group.*received: 'z'; split without"):
        train_val_split(["a", "a", "b", "b"], 0.5, 0, ["x", "y", "z", "z"])


@pytest.mark.parametrize("fraction", [0, 1, -0.5, "a"])
def test_an_unusable_fraction_is_an_error(fraction):
    with pytest.raises(ConfigError, match="val_fraction is invalid"):
        train_val_split([0, 0, 1, 1], fraction, 0)


# Copies


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=30, max_size=120),
    fraction=st.floats(0.1, 0.6),
    seed=st.integers(0, 100),
)
def test_copies_stay_together_and_every_row_comes_once(rows, fraction, seed):
    labels, copies = np.array([[a, b] for a, b in rows]).T
    try:
        train, val = split_with_copies(labels, copies, fraction, seed)
    except DataError as error:
        assert "a split into training and validation needs 2 of each class" in str(error)  # noqa: PT017 - both outcomes are right, depending on what was drawn
        return
    assert sorted([*train, *val]) == list(range(len(labels)))
    assert not set(copies[train]) & set(copies[val])


def test_without_copies_it_is_the_plain_split():
    labels = np.repeat([0, 1], [300, 100])
    for plain, own in zip(
        train_val_split(labels, 0.2, 5), split_with_copies(labels, np.arange(400), 0.2, 5), strict=True
    ):
        np.testing.assert_array_equal(plain, own)


def test_few_copies_leave_the_proportions_as_they_were():
    labels = np.repeat([0, 1], [3000, 1000])
    copies = np.arange(4000)
    copies[1:3000:50] = copies[0:2999:50]
    _, val = split_with_copies(labels, copies, 0.2, 0)
    np.testing.assert_allclose(np.bincount(labels[val]), [600, 200], atol=15)


def test_copies_that_disagree_stand_for_their_rarest_label():
    labels = ["a"] * 20 + ["b", "b"]
    copies = [*range(20), 0, 1]  # each b is a copy of an a
    train, val = split_with_copies(labels, copies, 0.5, 0)
    for side in (train, val):
        assert {labels[row] for row in side} == {"a", "b"}


# Time


def test_the_newest_rows_are_for_validation():
    days = ["2024-03-01", "2024-01-01", "2024-02-01 10:00", "2023-12-31", "2024-02-28T23:59:59Z"]
    train, val = time_split(days, 0.4)
    assert (train.tolist(), val.tolist()) == ([1, 2, 3], [0, 4])


@settings(max_examples=80, deadline=None)
@given(times=st.lists(st.integers(0, 8), min_size=2, max_size=60), fraction=st.floats(0.05, 0.95))
def test_a_moment_is_never_parted_and_the_nearest_border_is_taken(times, fraction):
    if len(set(times)) == 1:
        with pytest.raises(DataError, match="all times are equal: a split by time is not"):
            time_split(times, fraction)
        return
    train, val = time_split(times, fraction)
    assert sorted([*train, *val]) == list(range(len(times)))
    assert max(times[row] for row in train) < min(times[row] for row in val)
    off = min(abs(sum(t <= border for t in times) - len(times) * (1 - fraction)) for border in sorted(set(times))[:-1])
    assert abs(len(train) - len(times) * (1 - fraction)) == pytest.approx(off)


@pytest.mark.parametrize(
    "times",
    [
        [2019, 2021, 2020],
        ["2019", "2021", "2020"],
        [1.5, 9.25, 2.0],
        ["9", "100", "10"],
        ["31/12/2019", "13/02/2021", "25/01/2020"],
        [dt.date(2019, 1, 1), dt.date(2021, 1, 1), dt.date(2020, 1, 1)],
        list(pd.to_datetime(["2019-01-01", "2021-01-01", "2020-01-01"])),
        ["2020-06-01T00:00+14:00", "2020-06-01T00:00-10:00", "2020-06-01T00:00Z"],
    ],
    ids=str,
)
def test_kinds_of_time(times):
    assert time_split(times, 0.3)[1].tolist() == [1]


def test_a_time_that_cannot_be_read_names_its_row():
    with pytest.raises(DataError, match="t.csv row 3 has a time that cannot be read .1 such rows.*'soon'"):
        time_split(["2024-01-01", "soon", "2024-01-03"], 0.3, ["t.csv row 2", "t.csv row 3", "t.csv row 4"])
    with pytest.raises(DataError, match="row 2 has a time that cannot be read"):
        time_split(["2024-01-01", ""], 0.3)
    with pytest.raises(DataError, match="row 1 has a time that cannot be read"):
        time_split([None, 2020, 2021], 0.3)
    with pytest.raises(ConfigError, match="val_fraction is invalid"):
        time_split([1, 2], 1.5)


# Several labels


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=2, max_size=60),
    fraction=st.floats(0.1, 0.9),
    seed=st.integers(0, 50),
    by_group=st.booleans(),
)
def test_labels_are_on_both_sides_and_groups_whole(rows, fraction, seed, by_group):
    targets = np.array(rows, int)
    groups = np.arange(len(rows)) % 7 if by_group else np.arange(len(rows))
    try:
        train, val = multi_label_split(targets, fraction, seed, groups if by_group else None)
    except DataError as error:
        assert "only one of some label" in str(error)  # noqa: PT017 - right where each has a label of its own
        sums = np.array([targets[groups == group].any(0) for group in np.unique(groups)]).sum(0)
        assert all((sums[targets[groups == group].any(0)] == 1).any() for group in np.unique(groups))
        return
    assert sorted([*train, *val]) == list(range(len(rows)))
    assert len(train)
    assert len(val)
    assert not set(groups[train]) & set(groups[val])
    assert set(np.flatnonzero(targets.any(0))) == set(np.flatnonzero(targets[train].any(0)))


def test_every_label_keeps_its_proportion_better_than_by_chance():
    random = np.random.default_rng(0)
    targets = (random.random((2000, 8)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005]).astype(int)
    val = multi_label_split(targets, 0.2, 0)[1]
    np.testing.assert_allclose(targets[val].sum(0), targets.sum(0) * 0.2, atol=3)
    assert abs(len(val) - 400) < 12
    assert targets[val].any(0).all()
    again = multi_label_split(targets, 0.2, 0)[1]
    np.testing.assert_array_equal(val, again)
    assert not np.array_equal(val, multi_label_split(targets, 0.2, 1)[1])


def test_a_label_of_two_rows_is_on_both_sides_and_a_single_one_in_training():
    targets = np.zeros((100, 3), int)
    targets[:, 0] = 1
    targets[:2, 1] = 1
    targets[2, 2] = 1
    for seed in range(5):
        train, val = multi_label_split(targets, 0.2, seed)
        assert targets[train].sum(0)[1:].tolist() == [1, 1]
        assert targets[val].sum(0)[1:].tolist() == [1, 0]


def test_labels_that_all_have_one_row_cannot_be_split():
    with pytest.raises(DataError, match="only one of some label"):
        multi_label_split(np.eye(3), 0.3, 0)


def test_a_row_without_labels_can_be_spared():
    train, val = multi_label_split([[0, 0], [0, 1]], 0.75, 0)
    assert (train.tolist(), val.tolist()) == ([1], [0])


def test_too_few_groups_are_an_error():
    with pytest.raises(DataError, match="too few items or groups to split; received: 1"):
        multi_label_split([[1], [0]], 0.5, 0, ["a", "a"])
