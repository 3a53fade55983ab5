from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.errors import ConfigError, ModelError
from tlkit.models.frozen_statistics import FrozenStatistics

pytestmark = pytest.mark.filterwarnings("ignore:.*random.*")


@pytest.fixture(scope="module")
def task():
    return tlkit.image_classifier("mobilenet-v2-0.35", ["ants", "bees"], size=32, weights="none")


def test_the_parts_make_the_whole(task):
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    logits = task.model(pixels)
    assert logits.shape == (3, 2)
    np.testing.assert_allclose(logits, task.head(task.features(pixels)), atol=1e-6)
    assert task.weights_source == "none"
    assert task.preprocessing.size == 32


def test_random_weights_follow_from_the_seed(task):
    def build(disturb):
        keras.utils.set_random_seed(disturb)
        built = tlkit.image_classifier("mobilenet-v2-0.35", ["ants", "bees"], size=32, weights="none", seed=3)
        return [np.array(weight) for weight in built.model.weights]

    one, again, other = build(1), build(2), [np.array(weight) for weight in task.model.weights]
    for a, b, c in zip(one, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.array_equal(a, c) == (a.std() == 0), a.shape


def test_groups_partition_the_layers_that_have_weights(task):
    assert [group.name for group in task.groups] == ["stem", "body", "last_block", "head"]
    in_groups = [id(v) for group in task.groups for layer in group.layers for v in layer.weights]
    assert len(in_groups) == len(set(in_groups))
    assert set(in_groups) == {id(v) for v in task.model.weights}


def test_a_fresh_task_is_frozen_and_unfreezes_group_by_group(task):
    def trainable():
        return {id(v) for v in task.model.trainable_variables}

    task.freeze_to(-1)
    assert task.backbone_is_frozen
    assert trainable() == {id(v) for v in task.head.trainable_variables}
    task.freeze_to(2)
    last = {id(v) for layer in task.groups[2].layers for v in layer.trainable_variables}
    assert last
    assert last < trainable()
    assert not trainable() & {id(v) for layer in task.groups[1].layers for v in layer.weights}
    task.freeze_to(0)
    assert not task.backbone_is_frozen
    statistics = {id(v) for v in task.model.weights if "moving" in v.path}
    assert trainable() == {id(v) for v in task.model.weights} - statistics
    task.freeze_to(-1)


@pytest.mark.parametrize("policy", ["frozen", "train"])
def test_batch_norm_statistics_move_only_when_asked(policy):
    task = tlkit.image_classifier("mobilenet-v2-0.35", ["a", "b"], size=32, weights="none", batch_norm=policy)
    task.freeze_to(0)
    moving = [v for v in task.model.variables if "moving_mean" in v.path]
    before = [v.numpy() for v in moving]
    task.model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), run_eagerly=True)
    data = tf.data.Dataset.from_tensors((np.full((4, 32, 32, 3), 99.0, "float32"), np.eye(2)[[0, 1, 0, 1]]))
    task.model.fit(data, verbose=0)
    moved = [not np.array_equal(v.numpy(), old) for v, old in zip(moving, before, strict=True)]
    assert any(moved) == (policy == "train")


def test_frozen_statistics_ignore_the_outer_mode_which_a_plain_call_does_not():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)])
    inputs = keras.Input((4,))
    plain = keras.Model(inputs, inner(inputs, training=False))
    frozen = keras.Model(inputs, FrozenStatistics(inner)(inputs))
    ones = np.ones((64, 4), "float32")
    np.testing.assert_array_equal(frozen(ones, training=True), ones)
    # If Keras ever keeps the recorded argument, FrozenStatistics can go.
    assert not np.array_equal(plain(ones, training=True), ones)


def test_the_whole_model_survives_saving(task, tmp_path):
    task.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(loaded(pixels), task.model(pixels), atol=1e-6)


def test_own_heads_and_pooling():
    def head(embedding, num_classes):
        hidden = keras.layers.Dense(8, activation="relu")(embedding)
        return keras.layers.Dense(num_classes)(hidden)

    task = tlkit.image_classifier(
        "mobilenet-v2-0.35", ["a", "b", "c"], size=32, weights="none", pooling="avgmax", head=head
    )
    assert task.features.output_shape == (None, 2560)
    assert [layer.name for layer in task.head.layers][-1].startswith("dense")
    with pytest.raises(ConfigError, match=r"one logit per class.*\(None, 2\)"):
        tlkit.image_classifier(
            "mobilenet-v2-0.35", ["a", "b"], size=32, weights="none", head=lambda x, k: keras.layers.Dense(5)(x)
        )


def test_the_default_head_starts_from_even_odds(task):
    fresh = tlkit.image_classifier("mobilenet-v2-0.35", ["a", "b"], size=32, weights="none")
    assert np.all(fresh.model(np.zeros((1, 32, 32, 3), "float32")) == 0)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("resnet5", ["a", "b"]), {}, ModelError, "did you mean 'resnet50'"),
        (("resnet50", ["a"]), {}, ConfigError, "at least two classes"),
        (("resnet50", ["a", "a"]), {}, ConfigError, "class names must be unique; received: \\['a'\\]"),
        (("resnet50", ["a", "b\nc"]), {}, ConfigError, "one line of printable text"),
        (("resnet50", "ab"), {"size": 32}, ConfigError, "class names must be a list of strings"),
        (("resnet50", ["a", "b"]), {"pooling": "mean"}, ConfigError, "unknown pooling"),
        (("resnet50", ["a", "b"]), {"batch_norm": "freeze"}, ConfigError, "did you mean 'frozen'"),
        (("resnet50", ["a", "b"]), {"dropout": 1.0}, ConfigError, "dropout is invalid"),
        (("resnet50", ["a", "b"]), {"size": 8}, ConfigError, "image size is invalid"),
    ],
)
def test_unusable_arguments_are_named_before_anything_is_built(arguments, options, error, message):
    with pytest.raises(error, match=message):
        tlkit.image_classifier(*arguments, **options)
