"""An epoch is decided by the seed and its number: not by what ran before it, nor by where it is begun."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from batches import assert_same, collect
from photos import read_once, write_folder

import tlkit
from tlkit.errors import ConfigError
from tlkit.inputs.sampling import EpochOrder

MIXES = ["none", "mixup", "cutmix"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("epochs"), {"blue": 4, "green": 12, "red": 6})


def load(folder, **options):
    return read_once(folder, **{"size": 32, "batch_size": 4, "seed": 1, **options})


def load_anew(folder, **options):
    return tlkit.images_from_folder(folder, **{"size": 32, "batch_size": 4, "seed": 1, **options})


def differs(one, other):
    return any(not np.array_equal(left[0], right[0]) for left, right in zip(one, other, strict=True))


# A fresh iterator of "strong" takes a second, and mixing comes after it: one mix stands for all.
LONG = [pytest.param("strong", "cutmix", marks=pytest.mark.real)]
# "top_down" is "side_on" with other numbers.
LONG += [pytest.param("top_down", mix, marks=pytest.mark.real) for mix in MIXES]


# Mixing does not know what came before it.
LONG += [
    pytest.param(augment, mix, marks=pytest.mark.slow)
    for augment, mix in (("none", "mixup"), ("none", "cutmix"), ("side_on", "none"))
]


@pytest.mark.parametrize(("augment", "mix"), [("none", "none"), ("side_on", "mixup"), ("side_on", "cutmix"), *LONG])
def test_epoch_three_is_the_same_whatever_ran_before(folder, augment, mix):
    data = load(folder, augment=augment, mix=mix)
    number = tf.Variable(0, dtype=tf.int64)
    moving = data.epoch(number)
    seen = []
    for epoch in range(4):
        number.assign(epoch)
        seen.append(collect(moving))
    assert len(seen[3]) == data.steps_per_epoch == int(moving.cardinality())
    assert differs(seen[2], seen[3])
    # An epoch that is asked for at once, the rest of one that was interrupted, and a stream that begins at 2.
    assert_same(collect(data.epoch(3)), seen[3])
    assert_same(collect(data.epoch(3).skip(2)), seen[3][2:])
    assert_same(collect(data.epochs(2).take(2 * data.steps_per_epoch)), seen[2] + seen[3])


@pytest.mark.slow
@pytest.mark.parametrize(
    "augment", ["side_on", *[pytest.param(a, marks=pytest.mark.real) for a in ("none", "top_down")]]
)
def test_the_seed_alone_tells_two_data_sets_apart(folder, augment):
    one, again, other = (load_anew(folder, augment=augment, mix="mixup", seed=seed) for seed in (1, 1, 2))
    list(again.epoch(0))
    assert_same(collect(one.epoch(3)), collect(again.epoch(3)))
    assert differs(collect(one.epoch(3)), collect(other.epoch(3)))


@pytest.mark.parametrize("augment", ["side_on", pytest.param("strong", marks=pytest.mark.real)])
def test_iterators_that_run_side_by_side_do_not_disturb_each_other(folder, augment):
    data = load(folder, augment=augment, mix="cutmix")
    dataset = data.epoch(1)
    alone = collect(dataset)
    pairs = list(zip(dataset, dataset, strict=True))
    for which in (0, 1):
        assert_same([[part.numpy() for part in pair[which]] for pair in pairs], alone)


@pytest.mark.slow
def test_keras_fit_sees_the_epoch_that_the_variable_names(folder):
    data = load(folder, augment="side_on", class_weight="balanced")
    number = tf.Variable(0, dtype=tf.int64)
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    seen = []

    class Watch(keras.Model):
        def train_step(self, batch):
            tf.py_function(lambda images: seen.append(images.numpy()), [batch[0]], [])
            return {"loss": tf.constant(0.0)}

    class Count(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            number.assign(5 + epoch)

    watched = Watch(inputs, model.output)
    watched.compile("sgd", "mse", jit_compile=False)
    watched.fit(data.epoch(number), epochs=2, callbacks=[Count()], verbose=0)
    expected = [element[0] for element in collect(data.epoch(5)) + collect(data.epoch(6))]
    assert len(seen) == 2 * data.steps_per_epoch
    for one, other in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("sampling", ["shuffle", "balanced"])
def test_the_order_says_which_photos_come(folder, sampling):
    data = load(folder, sampling=sampling)
    order = data.epoch_order(4).numpy()
    assert order.dtype == np.int64
    assert order.shape == data.labels("train").shape
    images = np.concatenate([images for images, _ in collect(data.ordered("train"))])
    shown = np.concatenate([images for images, _ in collect(data.epoch(4))])
    np.testing.assert_array_equal(shown, images[order])
    labels = np.concatenate([labels for _, labels in collect(data.epoch(4))])
    np.testing.assert_array_equal(labels.argmax(1), data.labels("train")[order])
    np.testing.assert_array_equal(data.epoch_order(tf.Variable(4, dtype=tf.int64)), order)
    assert not np.array_equal(data.epoch_order(5), order)


def test_shuffling_shows_every_photo_once(folder):
    data = load(folder)
    assert sorted(data.epoch_order(0).numpy()) == list(range(len(data.labels("train"))))


def test_balanced_sampling_draws_every_class_and_every_row_of_it_equally(folder):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [10, 60, 30]))
    order = EpochOrder(labels, seed=3, sampling="balanced")
    drawn = np.concatenate([order(number).numpy() for number in range(100)])
    assert drawn.shape == (100 * 100,)
    # 10000 draws: five standard deviations of a third are 0.024.
    np.testing.assert_allclose(np.bincount(labels[drawn]) / len(drawn), 1 / 3, atol=0.024)
    expected = len(drawn) / 3 / np.bincount(labels)[labels]
    assert (np.abs(np.bincount(drawn, minlength=100) - expected) < 5 * np.sqrt(expected)).all()
    assert load(folder, sampling="balanced").summary()["sampling"] == "balanced"


def test_classes_are_not_balanced_twice(folder):
    with pytest.raises(ConfigError, match="sampling and class_weight cannot both balance"):
        load(folder, sampling="balanced", class_weight="balanced")
    with pytest.raises(ConfigError, match="unknown sampling.*did you mean 'balanced'"):
        load(folder, sampling="balance")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (-1, "invalid epoch; received: -1"),
        (True, "invalid epoch"),
        (1.0, "invalid epoch"),
        (tf.Variable(1, dtype=tf.int32), r"received: 'int32 \[\]'; allowed: int64 \[\]"),
        (tf.Variable([1], dtype=tf.int64), r"received: 'int64 \[1\]'"),
    ],
)
def test_an_unusable_epoch_is_named(folder, number, message):
    with pytest.raises(ConfigError, match=message):
        load(folder).epoch(number)


@pytest.mark.parametrize("augment", ["side_on", pytest.param("top_down", marks=pytest.mark.slow), "strong"])
def test_views_keep_the_order_and_show_each_photo_alike(folder, augment):
    data = load(folder, augment=augment, batch_size=5)
    plain = collect(data.ordered("val"))
    for number in (1, 2):
        shown = collect(data.views("val", number))
        for (images, labels), (pixels, expected) in zip(shown, plain, strict=True):
            np.testing.assert_array_equal(labels, expected)
            np.testing.assert_array_equal(images, data.augmentation.view(pixels, number))
    assert differs(collect(data.views("val", 1)), collect(data.views("val", 2)))


@pytest.mark.slow
def test_views_need_an_augmentation_and_a_split(folder):
    with pytest.raises(ConfigError, match='needs an augmentation, and augment="none".*allowed: side_on, top_down'):
        load(folder, mix="mixup").views("val", 1)
    with pytest.raises(ConfigError, match="invalid view number; received: 0"):
        load(folder, augment="side_on").views("val", 0)
    with pytest.raises(ConfigError, match="no 'test' split"):
        load(folder, augment="side_on").views("test", 1)


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["memory", pytest.param("off", marks=pytest.mark.real)])
def test_resized_data_differ_in_size_alone(folder, cache):
    data = load(folder, cache=cache, augment="side_on", class_weight="balanced", val_fraction=0.3)
    small = data.resized(24)
    direct = load(folder, cache=cache, augment="side_on", class_weight="balanced", val_fraction=0.3, size=24)
    assert small.preprocessing == direct.preprocessing
    assert (small.splits["train"].pixels is None) == (cache == "off")
    assert data.preprocessing.size == 32
    assert small.fingerprint() == data.fingerprint()
    assert_same(collect(small.epoch(2)), collect(direct.epoch(2)))
    assert_same(collect(small.val), collect(direct.val))
    again = load_anew(folder, cache=cache, augment="side_on", class_weight="balanced", val_fraction=0.3)
    assert_same(collect(data.epoch(2)), collect(again.epoch(2)))
    for split in ("train", "val"):
        assert small.paths(split) == data.paths(split)
    with pytest.raises(ConfigError, match="the image size is invalid; received: 8"):
        data.resized(8)
