"""Augmentation: what each preset keeps true, and that a seed decides everything."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.inputs.image.augment import Augmentation
from tlkit.inputs.image.rand_augment import shared_rand_augment

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
    [
        {"preset": "side_on"},
        *[
            pytest.param(one, marks=pytest.mark.slow)
            for one in ({"preset": "top_down"}, {"preset": "strong"}, {"mix": "mixup"}, {"mix": "cutmix"})
        ],
    ],
)
def test_a_seed_decides_every_pixel(options):
    augmentation = Augmentation(**options)
    first, again, other = batches(augmentation), batches(augmentation), batches(augmentation, seed=1)
    np.testing.assert_array_equal(first[0][0], again[0][0])
    np.testing.assert_array_equal(first[1][0], again[1][0])
    np.testing.assert_array_equal(first[0][1], again[0][1])
    assert not np.array_equal(first[0][0], first[1][0])
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


@pytest.mark.parametrize(
    "options",
    [{"preset": "side_on"}, {"preset": "top_down"}, {"preset": "strong"}, {"mix": "mixup"}, {"mix": "cutmix"}],
)
def test_a_batch_depends_on_its_own_seed_and_not_on_those_before(options):
    augment = Augmentation(**options).build()
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8))
    labels = tf.eye(8)
    seeds = tf.data.Dataset.range(3).map(lambda step: (tf.stack([tf.constant(5, tf.int64), step]), images, labels))
    whole = [[part.numpy() for part in element] for element in augment(seeds)]
    last = [[part.numpy() for part in element] for element in augment(seeds.skip(2))]
    np.testing.assert_array_equal(last[0][0], whole[2][0])
    np.testing.assert_array_equal(last[0][1], whole[2][1])


def test_strong_draws_nothing_from_operations_that_hold_state():
    run = shared_rand_augment()._all.get_concrete_function(
        tf.TensorSpec([None, 2], tf.int64), tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32)
    )
    graphs = run.graph.as_graph_def()
    kinds = {node.op for node in graphs.node} | {
        node.op for function in graphs.library.function for node in function.node_def
    }
    assert any(kind.startswith("StatelessRandom") for kind in kinds)
    stateful = {"RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "RandomShuffle"}
    assert not {kind for kind in kinds if kind in stateful or kind.startswith("Stateful") or "RngRead" in kind}
    assert not run.variables


def test_strong_changes_most_photos_each_in_its_own_way():
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    result, _ = batches(Augmentation("strong"), images=np.repeat(image[None], 64, axis=0))[0]
    candidates = (image, np.fliplr(image))
    untouched = sum(any(np.abs(row - item).max() < 0.6 for item in candidates) for row in result)
    # Two changes a photo, each left out once in eleven times; some of the others change nothing that one can see.
    assert untouched < 24
    assert len(np.unique(result.reshape(64, -1), axis=0)) > 48


VIEWING = ["side_on", "top_down", "strong"]


@pytest.mark.parametrize("preset", VIEWING)
def test_a_view_is_the_same_for_every_photo_and_every_batch(preset):
    images = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
    augmentation = Augmentation(preset)
    shown = augmentation.view(images, 3).numpy()
    assert shown.dtype == np.float32
    assert shown.min() >= 0
    assert shown.max() <= 255
    for row in range(5):
        np.testing.assert_array_equal(augmentation.view(images[row : row + 1], 3)[0], shown[row])
    np.testing.assert_array_equal(augmentation.view(images.astype(np.float32), 3), shown)
    traced = tf.function(lambda x: augmentation.view(x, 3), input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3])])
    np.testing.assert_allclose(traced(images.astype(np.float32)), shown, atol=1e-3)
    others = [augmentation.view(images, number).numpy() for number in range(1, 6)]
    assert len(np.unique([other.tobytes() for other in others])) == 5


@pytest.mark.parametrize("preset", ["side_on", "strong"])
@pytest.mark.parametrize("number", range(1, 9))
def test_odd_views_are_mirrored_and_even_ones_are_not(preset, number):
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    still = Augmentation(preset, max_zoom=1.0, max_rotation=0.0, max_lighting=0.0)
    assert _which(still.view(image[None], number).numpy(), image) == [4 if number % 2 else 0]


def test_views_from_above_turn_as_well():
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    still = Augmentation("top_down", max_zoom=1.0, max_rotation=0.0, max_lighting=0.0)
    assert len({_which(still.view(image[None], number).numpy(), image)[0] for number in range(1, 33)}) == 8


def test_views_stay_within_the_bounds_of_the_preset():
    ramp = np.broadcast_to(np.linspace(40, 210, SIDE)[None, :, None], (1, SIDE, SIDE, 3)).astype(np.uint8)
    views = [
        Augmentation("side_on", max_zoom=1.5, max_rotation=0.0, max_lighting=0.0).view(ramp, n) for n in range(1, 20)
    ]
    spans = [float(np.ptp(view[0, SIDE // 2, :, 0])) for view in views]
    assert 170 / 1.5 * 0.85 < min(spans) < 150
    assert max(spans) < 171
    grey = np.full((1, SIDE, SIDE, 3), 127, np.uint8)
    levels = [float(Augmentation("side_on", max_lighting=0.2).view(grey, n)[0, 5, 5, 0]) for n in range(1, 20)]
    assert 10 < np.ptp(levels) <= 2 * 0.2 * 127.5 + 1


@pytest.mark.parametrize("number", [0, -1, 1.0, True, "1"])
def test_there_are_views_from_one_upwards(number):
    with pytest.raises(ConfigError, match="invalid view number; received"):
        Augmentation("side_on").view(np.zeros((1, SIDE, SIDE, 3), np.uint8), number)


@pytest.mark.parametrize("mix", ["none", "mixup"])
def test_there_are_no_views_without_augmentation(mix):
    with pytest.raises(ConfigError, match='augment="none"; allowed: side_on, top_down, strong'):
        Augmentation(mix=mix).view(np.zeros((1, SIDE, SIDE, 3), np.uint8), 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "sideon"}, "unknown augment.*did you mean 'side_on'"),
        ({"mix": "mixupp"}, "unknown mix.*did you mean 'mixup'"),
        ({"max_zoom": 0.5}, "max_zoom is invalid; received: 0.5"),
        ({"max_rotation": -1}, "max_rotation is invalid"),
        ({"max_lighting": 2}, "max_lighting is invalid"),
    ],
)
def test_unusable_settings_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        Augmentation(**options)
