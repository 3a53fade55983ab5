"""Augmentation: what each preset keeps true, and that a seed decides everything."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.preprocessing.augment import Augmentation

SIDE = 24


def batches(augmentation: Augmentation, seed: int = 0, images: np.ndarray | None = None, count: int = 2):
    if images is None:
        images = np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.eye(2, dtype=np.float32)[np.arange(len(images)) % 2]
    dataset = tf.data.Dataset.range(count).map(
        lambda step: (tf.stack([tf.constant(seed, tf.int64), step]), tf.constant(images), tf.constant(labels))
    )
    return [(x.numpy(), y.numpy()) for x, y in augmentation.build()(dataset)]


@pytest.mark.parametrize(
    "options",
    [{"preset": "side_on"}, {"preset": "top_down"}, {"preset": "strong"}, {"mix": "mixup"}, {"mix": "cutmix"}],
)
def test_a_seed_decides_every_pixel(options):
    augmentation = Augmentation(**options)
    first, again, other = batches(augmentation), batches(augmentation), batches(augmentation, seed=1)
    np.testing.assert_array_equal(first[0][0], again[0][0])
    np.testing.assert_array_equal(first[1][0], again[1][0])
    np.testing.assert_array_equal(first[0][1], again[0][1])
    assert not np.array_equal(first[0][0], first[1][0])
    if options.get("preset"):
        assert not np.array_equal(first[0][0], other[0][0])
    assert first[0][0].dtype == np.float32
    assert first[0][0].min() >= 0
    assert first[0][0].max() <= 255


def test_none_changes_nothing():
    images = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    result, labels = batches(Augmentation(), images=images)[0]
    np.testing.assert_array_equal(result, images)
    np.testing.assert_array_equal(labels, np.eye(2)[[0, 1, 0, 1]])
    assert not Augmentation().is_active


def _orientations(image: np.ndarray) -> list[np.ndarray]:
    turned = [np.rot90(image, k) for k in range(4)]
    return turned + [np.fliplr(item) for item in turned]


def _which(result: np.ndarray, image: np.ndarray) -> list[int]:
    """Number of the mirroring or turn that each result shows; its pixels are exact where nothing else is changed."""
    candidates = _orientations(image.astype(np.float32))
    return [next(n for n, item in enumerate(candidates) if np.abs(item - row).max() < 0.6) for row in result]


def test_side_on_only_mirrors_left_to_right_when_nothing_else_is_allowed():
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    still = Augmentation("side_on", max_zoom=1.0, max_rotation=0.0, max_lighting=0.0)
    result, _ = batches(still, images=np.repeat(image[None], 64, axis=0))[0]
    seen = _which(result, image)
    assert set(seen) == {0, 4}
    assert 16 < seen.count(0) < 48


def test_top_down_shows_all_eight_mirrorings_and_turns():
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    still = Augmentation("top_down", max_zoom=1.0, max_rotation=0.0, max_lighting=0.0)
    result, _ = batches(still, images=np.repeat(image[None], 256, axis=0))[0]
    counts = np.bincount(_which(result, image), minlength=8)
    assert (counts > 12).all(), counts


def test_zoom_only_magnifies_and_never_leaves_the_photo():
    ramp = np.broadcast_to(np.linspace(40, 210, SIDE)[None, :, None], (32, SIDE, SIDE, 3)).astype(np.uint8)
    zoomed, _ = batches(Augmentation("side_on", max_zoom=2.0, max_rotation=0.0, max_lighting=0.0), images=ramp)[0]
    assert zoomed.min() >= 39
    assert zoomed.max() <= 211
    spans = np.ptp(zoomed[:, SIDE // 2, :, 0], axis=1)
    assert spans.max() < 171
    assert spans.min() > 170 / 2 * 0.85
    assert spans.min() < 120


def test_lighting_stays_within_its_bounds():
    grey = np.full((64, SIDE, SIDE, 3), 127, np.uint8)
    lit, _ = batches(Augmentation("side_on", max_zoom=1.0, max_rotation=0.0, max_lighting=0.2), images=grey)[0]
    levels = lit[:, 0, 0, 0]
    assert 20 < np.ptp(levels) <= 2 * 0.2 * 127.5 + 1


def test_mixup_blends_labels_like_images():
    images = np.zeros((8, SIDE, SIDE, 3), np.uint8)
    images[1::2] = 255  # class 1 is white: the brightness of a blend is its share of class 1
    for mixed, labels in batches(Augmentation(mix="mixup"), images=images, count=4):
        np.testing.assert_allclose(mixed.mean((1, 2, 3)) / 255, labels[:, 1], atol=0.01)
        np.testing.assert_allclose(labels.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "sideon"}, "unknown augment.*did you mean 'side_on'"),
        ({"mix": "mixupp"}, "unknown mix.*did you mean 'mixup'"),
        ({"max_zoom": 0.5}, "max_zoom is not usable; received: 0.5"),
        ({"max_rotation": -1}, "max_rotation is not usable"),
        ({"max_lighting": 2}, "max_lighting is not usable"),
    ],
)
def test_unusable_settings_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        Augmentation(**options)
