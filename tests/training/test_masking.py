from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.errors import ConfigError
from tlkit.tasks.text_classification.masking import MaskingRule

PAD, UNKNOWN, START, END, MASK = range(5)
SPECIAL = (PAD, UNKNOWN, START, END, MASK)
VOCABULARY = 1005


def key(*numbers):
    return tf.constant(numbers or (3, 7), tf.int64)


def rule(**changes):
    return MaskingRule(MASK, SPECIAL, VOCABULARY, **changes)


def padded(*rows):
    width = max(map(len, rows)) + 2
    return np.array([[START, *row, END, *[PAD] * (width - len(row) - 2)] for row in rows], np.int32)


def apply(ids, one=None, at=None):
    return [part.numpy() for part in (one or rule()).apply(tf.constant(ids), key() if at is None else at)]


rows_of_tokens = st.lists(st.lists(st.integers(0, VOCABULARY - 1), max_size=12), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(rows_of_tokens, st.sampled_from([0.01, 0.15, 0.5, 0.99]), st.integers(0, 2**40))
def test_each_text_hides_its_exact_share_of_ordinary_tokens(rows, fraction, number):
    ids = padded(*rows)
    inputs, places, targets = apply(ids, rule(fraction=fraction), key(number, 1))
    ordinary = ~np.isin(ids, SPECIAL)
    for row, count in enumerate(ordinary.sum(axis=1)):
        wanted = min(max(int(np.float32(fraction) * count + 0.5), 1), count)
        assert np.sum(places // ids.shape[1] == row) == wanted
    assert ordinary.ravel()[places].all()  # no padding, start, end, mask or unknown token
    assert (np.diff(places) > 0).all()
    np.testing.assert_array_equal(targets, ids.ravel()[places])
    untouched = np.ones(ids.size, bool)
    untouched[places] = False
    np.testing.assert_array_equal(inputs.ravel()[untouched], ids.ravel()[untouched])
    seen = inputs.ravel()[places]
    assert ((seen == MASK) | ~np.isin(seen, SPECIAL)).all()


def test_eight_in_ten_are_masked_one_is_swapped_and_one_stays():
    ids = np.full((200, 500), 10, np.int32)
    inputs, places, _ = apply(ids)
    assert len(places) == 200 * 75
    seen = inputs.ravel()[places]
    shares = [np.mean(seen == MASK), np.mean((seen != MASK) & (seen != 10)), np.mean(seen == 10)]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.012)  # five standard deviations
    swapped = seen[(seen != MASK) & (seen != 10)]
    counts = np.bincount(swapped, minlength=VOCABULARY)
    assert counts[list(SPECIAL)].sum() == 0
    assert (counts[5:] > 0).sum() > 700  # spread over the vocabulary: about 1,500 drawn from 1,000


def test_every_place_is_as_likely_as_any_other():
    ids = np.full((4000, 20), 10, np.int32)
    _, places, _ = apply(ids)
    by_column = np.bincount(places % 20, minlength=20)
    assert by_column.sum() == 4000 * 3
    np.testing.assert_allclose(by_column, 600, atol=5 * np.sqrt(600))


def test_swapped_tokens_reach_both_ends_of_the_vocabulary():
    small = MaskingRule(mask_id=2, special=(0, 2, 4), vocabulary=6, hidden=0.0, swapped=1.0, fraction=0.99)
    inputs, _, _ = apply(np.full((1, 400), 3, np.int32), small)
    assert set(inputs.ravel().tolist()) == {1, 3, 5}


def test_for_measuring_every_chosen_token_is_behind_the_mask():
    inputs, places, _ = apply(np.full((8, 40), 10, np.int32), rule(hidden=1.0, swapped=0.0))
    assert (inputs.ravel()[places] == MASK).all()
    assert len(places) == 8 * 6


def test_the_same_key_hides_the_same_and_another_key_others():
    ids = np.arange(5, 905, dtype=np.int32).reshape(9, 100)
    first = apply(ids, at=key(1, 2))
    tf.random.uniform([3])  # the global generator plays no part
    tf.random.set_seed(5)
    again = apply(ids, at=key(1, 2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[1], apply(ids, at=key(1, 3))[1])
    assert not np.array_equal(first[1], apply(ids, at=key(2, 2))[1])


def test_in_a_graph_it_is_the_same():
    ids = padded([10, 11, 12], [20] * 9, [])
    traced = tf.function(
        rule().apply, input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([2], tf.int64)]
    )
    for one, other in zip(apply(ids), traced(tf.constant(ids), key()), strict=True):
        np.testing.assert_array_equal(one, other.numpy())


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan"), True, "half"])
def test_a_fraction_that_hides_nothing_or_all_is_refused(fraction):
    with pytest.raises(ConfigError, match=r"mask_fraction is invalid.*above 0 and below 1"):
        rule(fraction=fraction)


def test_parts_that_add_up_to_more_than_one_are_refused():
    with pytest.raises(ConfigError, match=r"hidden \+ swapped must not exceed 1"):
        rule(hidden=0.8, swapped=0.3)
    with pytest.raises(ConfigError, match="only special tokens"):
        MaskingRule(mask_id=1, special=(0, 1), vocabulary=2)
