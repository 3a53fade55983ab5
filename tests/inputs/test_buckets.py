from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.inputs.text.buckets import MEGA_BATCHES, bucketed


def batches(order, lengths, size, seed=0, number=0):
    found = bucketed(tf.constant(order, tf.int64), tf.constant(lengths, tf.int64), size, seed, number)
    return [row.numpy().tolist() for row in found]


def waste(lengths, found) -> float:
    """Part of the padded tokens that is padding."""
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in found)
    return 1 - sum(lengths[row] for batch in found for row in batch) / padded


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9), max_size=300),
    size=st.integers(1, 7),
    seed=st.integers(0, 100),
    number=st.integers(0, 5),
)
def test_every_row_comes_once_in_the_promised_number_of_batches(lengths, size, seed, number):
    found = batches(np.random.default_rng(0).permutation(len(lengths)), lengths, size, seed, number)
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert len(found) == -(-len(lengths) // size)
    short = [len(batch) for batch in found if len(batch) != size]
    assert short == ([len(lengths) % size] if len(lengths) % size else [])


def test_it_is_the_sort_of_each_stretch_in_another_order_of_batches():
    random = np.random.default_rng(1)
    lengths, size = random.integers(1, 40, 1037), 4
    order = random.permutation(1037)
    wanted = []
    for start in range(0, 1037, MEGA_BATCHES * size):
        stretch = order[start : start + MEGA_BATCHES * size]
        stretch = stretch[np.argsort(lengths[stretch], kind="stable")]
        wanted += [stretch[at : at + size].tolist() for at in range(0, len(stretch), size)]
    found = batches(order, lengths, size)
    assert sorted(found) == sorted(wanted)
    assert found != wanted


def test_the_epoch_decides_alone():
    lengths = np.random.default_rng(2).integers(1, 40, 500)
    order = np.arange(500)
    first, again = (batches(order, lengths, 8, seed=3, number=1) for _ in range(2))
    assert first == again
    assert first != batches(order, lengths, 8, seed=3, number=2)
    assert first != batches(order, lengths, 8, seed=4, number=1)


def test_a_variable_number_counts_when_it_is_read():
    lengths = tf.constant(np.arange(64) % 7, tf.int64)
    number = tf.Variable(0, dtype=tf.int64)
    step = tf.function(lambda: bucketed(tf.range(64, dtype=tf.int64), lengths, 4, 0, number).flat_values)
    before = step().numpy().tolist()
    number.assign(5)
    assert step().numpy().tolist() != before
    assert step().numpy().tolist() == [
        row for batch in batches(np.arange(64), np.arange(64) % 7, 4, 0, 5) for row in batch
    ]


@pytest.mark.parametrize("rest", [0, 3])
def test_padding_is_a_tenth_of_that_of_a_random_order(rest):
    random = np.random.default_rng(4)
    lengths = np.minimum(random.geometric(1 / 20, 4096 + rest), 128)
    order = random.permutation(len(lengths))
    plain = waste(lengths, [order[at : at + 32] for at in range(0, len(order), 32)])
    assert plain > 0.5
    assert waste(lengths, batches(order, lengths, 32)) < plain / 8


def test_the_short_batch_moves_about():
    places = set()
    for number in range(8):
        found = batches(np.arange(33), np.arange(33), 4, number=number)
        places.add([len(batch) for batch in found].index(1))
    assert len(places) > 2


def test_repeated_rows_are_kept():
    found = batches([5, 5, 5, 1, 1, 0], np.arange(6), 2)
    assert sorted(row for batch in found for row in batch) == [0, 1, 1, 5, 5, 5]
