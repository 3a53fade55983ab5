from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.data.splits import train_val_split
from tlkit.errors import ConfigError, DataError


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
    with pytest.raises(DataError, match="a class has a single item.*received: 'b'"):
        train_val_split(["a", "a", "b"], 0.5, 0)


def test_a_class_in_one_group_is_an_error():
    with pytest.raises(DataError, match="all items of a class are in one group.*received: 'b'"):
        train_val_split(["a", "a", "b", "b"], 0.5, 0, ["x", "y", "z", "z"])


@pytest.mark.parametrize("fraction", [0, 1, -0.5, "a"])
def test_an_unusable_fraction_is_an_error(fraction):
    with pytest.raises(ConfigError, match="val_fraction is not usable"):
        train_val_split([0, 0, 1, 1], fraction, 0)
