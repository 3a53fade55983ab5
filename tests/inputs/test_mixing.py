"""MixUp and CutMix: labels tell what the pixels show, and the seed decides everything."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.errors import ConfigError
from tlkit.inputs.image.mixing import cut_mix, mix_up

SIDE = 20
MIXES = [mix_up, cut_mix]


def seed(number, step=0):
    return tf.constant([number, step], tf.int64)


def flat_photos(batch, channels=3):
    """Photo n is grey of level n; label n is class n: a blend says by its mean and its label what it is made of."""
    images = np.broadcast_to(np.arange(batch, dtype=np.float32)[:, None, None, None], (batch, SIDE, SIDE, channels))
    return tf.constant(images), tf.eye(batch)


@pytest.mark.parametrize("mix", MIXES)
@settings(max_examples=15, deadline=None)
@given(number=st.integers(0, 2**40), batch=st.integers(1, 9))
def test_the_labels_tell_what_the_pixels_show(mix, number, batch):
    images, labels = flat_photos(batch)
    mixed, mixed_labels = (part.numpy() for part in mix(seed(number), images, labels))
    assert mixed.shape == images.shape
    assert mixed_labels.dtype == mixed.dtype == np.float32
    np.testing.assert_allclose(mixed_labels.sum(1), 1, atol=1e-5)
    assert mixed_labels.min() >= 0
    assert ((mixed_labels > 0).sum(1) <= 2).all()
    np.testing.assert_allclose(mixed.mean((1, 2, 3)), mixed_labels @ np.arange(batch), atol=2e-4)


@pytest.mark.parametrize("mix", MIXES)
def test_a_seed_decides_everything(mix):
    images, labels = flat_photos(16)
    first, again = (mix(seed(3, 4), images, labels) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    for other in (seed(3, 5), seed(2, 4)):
        assert not np.array_equal(mix(other, images, labels)[1], first[1])


@pytest.mark.parametrize("mix", MIXES)
def test_a_batch_of_one_stays_as_it_is(mix):
    images, labels = flat_photos(1)
    mixed, mixed_labels = mix(seed(1), images + 7, labels)
    np.testing.assert_allclose(mixed, images + 7, atol=1e-5)
    np.testing.assert_allclose(mixed_labels, labels, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_shares_have_the_variance_of_the_beta_distribution(alpha):
    images, labels = tf.zeros([4000, 1, 1, 3]), tf.eye(4000)
    _, mixed = mix_up(seed(11), images, labels, alpha)
    shares = np.diag(mixed.numpy())
    shares = shares[shares < 1]  # a row that was paired with itself
    assert len(shares) > 3800
    np.testing.assert_allclose(shares.mean(), 0.5, atol=0.03)
    np.testing.assert_allclose(shares.var(), 1 / (4 * (2 * alpha + 1)), rtol=0.1)


def test_tiny_alpha_leaves_photos_whole_and_finite():
    images, labels = flat_photos(64)
    mixed, mixed_labels = mix_up(seed(5), images, labels, 0.01)
    assert np.isfinite(mixed).all()
    assert ((mixed_labels.numpy() > 0.999).any(1)).mean() > 0.9


def test_cutmix_pastes_one_rectangle_of_the_partner():
    images, labels = flat_photos(40)
    mixed, mixed_labels = (part.numpy() for part in cut_mix(seed(2), images, labels))
    pasted = 0
    for row, photo in enumerate(mixed):
        foreign = (photo[..., 0] != row).nonzero()
        if not len(foreign[0]):
            continue
        pasted += 1
        box = photo[foreign[0].min() : foreign[0].max() + 1, foreign[1].min() : foreign[1].max() + 1]
        assert len(np.unique(box)) == 1
        np.testing.assert_allclose(1 - mixed_labels[row, row], box[..., 0].size / SIDE**2, atol=1e-6)
    assert pasted > 25


def test_cutmix_rectangles_keep_the_aspect_ratio_and_cover_all_areas():
    images = tf.constant(np.broadcast_to(np.arange(400, dtype=np.float32)[:, None, None, None], (400, 16, 32, 3)))
    mixed, mixed_labels = (part.numpy() for part in cut_mix(seed(9), images, tf.eye(400)))
    areas = 1 - np.diag(mixed_labels)
    assert areas.min() < 0.05
    assert areas.max() > 0.7
    inner = []
    for row, photo in enumerate(mixed):
        rows, columns = (photo[..., 0] != row).nonzero()
        if len(rows) and rows.min() > 0 and rows.max() < 15 and columns.min() > 0 and columns.max() < 31:
            inner.append((np.ptp(columns) + 1) / (np.ptp(rows) + 1))
    assert len(inner) > 40
    np.testing.assert_allclose(np.median(inner), 2, atol=0.35)


@pytest.mark.parametrize("alpha", [0, -1.0, float("nan"), float("inf"), True, "1"])
@pytest.mark.parametrize("mix", MIXES)
def test_an_unusable_alpha_is_named(mix, alpha):
    with pytest.raises(ConfigError, match="invalid alpha for mixing; received"):
        mix(seed(0), *flat_photos(2), alpha)
