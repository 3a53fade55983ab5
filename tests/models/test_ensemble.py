"""An ensemble answers with the mean of its members' probabilities, and is a Task like any other."""

from __future__ import annotations

import dataclasses
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp, softmax

import tlkit
from tlkit.errors import ConfigError, ModelError
from tlkit.export.saved_model import export_task
from tlkit.models.ensemble import _averaging_head, ensemble
from tlkit.targets.objective import classification

pytestmark = pytest.mark.filterwarnings("ignore:.*random.*")


def values(task):
    return [variable.numpy() for variable in task.model.variables]


def in_features(task):
    """Whether each of the model's variables lies below the head."""
    below = {id(variable) for variable in task.features.variables}
    return [id(variable) in below for variable in task.model.variables]


def changed(task, seed, *, below_head=True):
    """Other weights for the task, moving statistics included; only the head's with `below_head=False`."""
    random = np.random.default_rng(seed)
    moved = []
    for variable, below in zip(task.model.variables, in_features(task), strict=True):
        value = variable.numpy()
        if value.dtype == np.float32 and (below_head or not below):
            scale = np.float32(0.3 * (value.std() or 0.05))
            noise = random.normal(size=value.shape).astype("float32")
            value = np.abs(value) * (1 + 0.2 * np.tanh(noise)) if "variance" in variable.path else value + scale * noise
        moved.append(value)
    return moved


def member_probabilities(task, weights, pixels):
    """The oracle: put a member's weights into the task itself, ask it, and put the old ones back."""
    before = values(task)
    try:
        for variable, value in zip(task.model.variables, weights, strict=True):
            variable.assign(value)
        return softmax(task.model(pixels, training=False).numpy().astype(np.float64), axis=-1)
    finally:
        for variable, value in zip(task.model.variables, before, strict=True):
            variable.assign(value)


def some_pixels(size, n=3):
    return np.random.default_rng(9).uniform(0, 255, (n, size, size, 3)).astype("float32")


@pytest.fixture(scope="module")
def task():
    return tiny.tiny_task()


@pytest.fixture(scope="module", params=["frozen", "train"])
def mobilenet(request):
    made = tlkit.image_classifier(
        "mobilenet-v2-0.35", ["a", "b", "c"], size=96, weights="none", batch_norm=request.param
    )
    # Fresh statistics shrink every photo to nearly nothing: give it some that make a difference, then a head to match.
    for variable, value in zip(made.model.variables, changed(made, 0), strict=True):
        variable.assign(value)
    kernel = made.head.get_layer("logits").kernel
    embedding = made.features(some_pixels(96)).numpy()
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape) / np.linalg.norm(embedding[0]))
    return made


def test_probabilities_are_the_mean_of_the_members(task):
    before = values(task)
    members = [before, changed(task, 1), changed(task, 2), changed(task, 2)]
    made = ensemble(task, members)
    pixels = some_pixels(32)
    apart = [member_probabilities(task, member, pixels) for member in members]
    assert np.abs(apart[0] - apart[1]).max() > 0.01
    logits = made.model(pixels, training=False).numpy()
    np.testing.assert_allclose(softmax(logits, axis=-1), np.mean(apart, axis=0), atol=1e-6)
    np.testing.assert_allclose(made.head(made.features(pixels)), logits, atol=1e-6)
    for value, old in zip(values(task), before, strict=True):
        np.testing.assert_array_equal(value, old)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_a_catalogue_network_with_its_batch_norm_statistics(mobilenet, shared):
    members = [changed(mobilenet, seed, below_head=not shared) for seed in (1, 2)]
    made = ensemble(mobilenet, members)
    pixels = some_pixels(96)
    apart = [member_probabilities(mobilenet, member, pixels) for member in members]
    assert np.abs(apart[0] - apart[1]).max() > 0.01
    np.testing.assert_allclose(
        softmax(made.model(pixels, training=False).numpy(), axis=-1), np.mean(apart, axis=0), atol=1e-5
    )
    width = mobilenet.features.output_shape[-1]
    assert made.features.output_shape == (None, width if shared else 2 * width)
    assert [group.name for group in made.groups] == ["stem", "body", "last_block", "head"]
    first = made.features.get_layer("features_1")
    assert any(layer is made.backbone for layer in first._flatten_layers())
    assert made.backbone.name == mobilenet.backbone.name
    in_groups = [id(v) for group in made.groups for layer in group.layers for v in layer.weights]
    assert len(in_groups) == len(set(in_groups))
    assert set(in_groups) == {id(v) for v in made.model.weights}


@pytest.mark.slow
def test_frozen_statistics_stay_frozen_in_the_copies(mobilenet):
    made = ensemble(mobilenet, [changed(mobilenet, 1), changed(mobilenet, 2)])
    kept = any(type(layer).__name__ == "FrozenStatistics" for layer in mobilenet.features.layers)
    made.freeze_to(0)
    pixels = some_pixels(96)
    same = np.allclose(made.features(pixels, training=True), made.features(pixels, training=False), atol=1e-5)
    assert same == kept


def test_equal_backbones_are_stored_once_whatever_their_order(task):
    odd = changed(task, 5)
    members = [changed(task, seed, below_head=False) for seed in (1, 2)]
    made = ensemble(task, [members[0], odd, members[1]])
    feature_weights = sum(int(np.prod(v.shape)) for v in task.features.weights)
    assert sum(int(np.prod(v.shape)) for v in made.features.weights) == 2 * feature_weights
    pixels = some_pixels(32)
    apart = [member_probabilities(task, member, pixels) for member in (members[0], odd, members[1])]
    np.testing.assert_allclose(softmax(made.model(pixels).numpy(), axis=-1), np.mean(apart, axis=0), atol=1e-6)


def test_one_bit_makes_another_backbone(task):
    other = values(task)
    position = in_features(task).index(True)
    other[position] = other[position].copy()
    other[position].flat[0] = np.nextafter(other[position].flat[0], np.float32(9))
    assert ensemble(task, [values(task), other]).features.output_shape == (None, 24)


def test_dropout_seeds_below_the_head_make_no_other_backbone():
    pixels = keras.Input((32, 32, 3))
    pooled = keras.layers.Dropout(0.5, seed=1)(keras.layers.GlobalAveragePooling2D()(pixels))
    plain = tiny.tiny_task()
    features = keras.Model(pixels, keras.layers.Dense(12)(pooled))
    seeded = dataclasses.replace(
        plain,
        features=features,
        backbone=features,
        model=keras.Model(pixels, plain.head(features(pixels))),
        groups=plain.groups[1:],
    )
    moved = values(seeded)
    seed = next(i for i, v in enumerate(seeded.model.variables) if v.dtype != "float32" and in_features(seeded)[i])
    moved[seed] = moved[seed] + 1
    assert ensemble(seeded, [values(seeded), moved]).features.output_shape == (None, 12)


def test_groups_freeze_and_unfreeze_all_copies(task):
    made = ensemble(task, [values(task), changed(task, 1)])
    assert made.backbone_is_frozen
    head = {id(v) for v in made.head.trainable_variables}
    assert {id(v) for v in made.model.trainable_variables} == head
    made.freeze_to(0)
    assert len(made.model.trainable_variables) == 2 * len(task.features.trainable_variables) + len(head)
    made.freeze_to(-1)
    assert {id(v) for v in made.model.trainable_variables} == head


def test_the_task_trains_on_without_its_ensemble(task):
    made = ensemble(task, [values(task)])
    pixels = some_pixels(32)
    before = made.model(pixels).numpy()
    kernel = task.head.get_layer("logits").kernel
    old = kernel.numpy()
    kernel.assign(old + 1)
    stem = task.backbone.get_layer("stem").kernel
    stem.assign(stem * 2)
    try:
        np.testing.assert_array_equal(made.model(pixels), before)
    finally:
        kernel.assign(old)
        stem.assign(stem / 2)


@pytest.mark.slow
def test_normalization_computes_with_the_member_s_statistics():
    normalized = tlkit.image_classifier("efficientnet-b0", ["a", "b"], size=32, weights="none")
    layer = next(layer for layer in normalized.backbone.layers if isinstance(layer, keras.layers.Normalization))
    made = ensemble(normalized, [values(normalized)])
    copy = made.backbone.get_layer(layer.name)
    pixels = some_pixels(32)
    assert np.abs(layer(pixels) - pixels).max() > 1
    np.testing.assert_array_equal(copy(pixels), layer(pixels))
    expected = normalized.features(pixels).numpy()
    np.testing.assert_allclose(made.features(pixels), expected, atol=1e-4 * np.abs(expected).max())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.floats(-300, 300, width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_logits_stay_finite_and_right_however_sure_a_member_is(rows):
    heads = []
    for number, row in enumerate(rows):
        inputs = keras.Input((2,))
        layer = keras.layers.Dense(3, bias_initializer=keras.initializers.Constant(row), kernel_initializer="zeros")
        heads.append(keras.Model(inputs, layer(inputs), name=f"h{number}"))
    like = types.SimpleNamespace(features=types.SimpleNamespace(output_shape=(None, 2)), objective=classification("ab"))
    logits = _averaging_head(heads, [0] * len(rows), 1, like)(np.zeros((1, 2), "float32")).numpy()[0]
    assert np.all(np.isfinite(logits))
    expected = np.mean([softmax(np.array(row, np.float64)) for row in rows], axis=0)
    np.testing.assert_allclose(softmax(logits.astype(np.float64)), expected, rtol=1e-4, atol=1e-7)
    logarithm = logsumexp([log_softmax(np.array(row, np.float64)) for row in rows], axis=0) - np.log(len(rows))
    np.testing.assert_allclose(logits, logarithm, rtol=1e-4, atol=1e-5)


def test_an_ensemble_survives_saving(task, tmp_path):
    made = ensemble(task, [values(task), changed(task, 1), changed(task, 2)])
    made.model.save(tmp_path / "both.keras")
    pixels = some_pixels(32)
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "both.keras")(pixels), made.model(pixels), atol=1e-6)


@pytest.mark.parametrize(
    "network",
    [pytest.param("tiny", marks=pytest.mark.slow), pytest.param("mobilenet-v2-0.35", marks=pytest.mark.real)],
)
def test_an_ensemble_exports_and_verifies_like_any_task(task, network, tmp_path):
    if network == "tiny":
        single = task
    else:
        single = tlkit.image_classifier(network, ["a", "b", "c"], size=96, weights="none")
    members = [values(single), changed(single, 1), changed(single, 2, below_head=False)]
    made = ensemble(single, members)
    export = export_task(made, tmp_path / "snapshots", max_batch=2)  # verifies in a fresh process
    photos = tf.constant(tiny.photos())
    answers = tf.saved_model.load(str(export)).signatures["probabilities"](image_bytes=photos)["probabilities"]
    pixels = tf.cast(single.preprocessing.batch(photos), tf.float32).numpy()
    apart = [member_probabilities(single, member, pixels) for member in members]
    np.testing.assert_allclose(answers, np.mean(apart, axis=0), atol=1e-5)


def test_what_is_recorded_says_that_it_is_an_ensemble(task):
    made = ensemble(task, [values(task), changed(task, 1)])
    assert made.backbone_name == "tiny (ensemble of 2)"
    assert made.class_names == task.class_names
    assert made.preprocessing == task.preprocessing


def test_a_member_that_does_not_fit_is_named(task):
    good = values(task)
    wrong = [*good]
    position = [v.path for v in task.model.variables].index("stem/kernel")
    wrong[position] = wrong[position][:, :, :, :2]
    with pytest.raises(ConfigError, match=r"member 2 .* 'stem/kernel'; received: \(3, 3, 3, 2\); .*\(3, 3, 3, 8\)"):
        ensemble(task, [good, wrong])
    with pytest.raises(ConfigError, match=f"member 1 .*'{len(good) - 1} arrays'; allowed: {len(good)} arrays"):
        ensemble(task, [good[:-1]])


@pytest.mark.parametrize("none", [[], (), None, "weights", np.zeros((2, 3))])
def test_no_members_are_refused(task, none):
    with pytest.raises(ConfigError, match="at least one member"):
        ensemble(task, none)


def test_one_flat_list_of_arrays_is_refused(task):
    with pytest.raises(ConfigError, match="member 1 .*received: 'ndarray'"):
        ensemble(task, values(task))


def test_a_model_of_other_parts_is_refused(task):
    with pytest.raises(ModelError, match="not its features followed by its head"):
        ensemble(dataclasses.replace(task, head=tiny.tiny_task(seed=1).head), [values(task)])


def test_a_network_that_cannot_be_copied_is_refused(task):
    pixels = keras.Input((32, 32, 3))
    features = keras.Model(pixels, keras.layers.Lambda(lambda x: x[:, 0, 0, :])(pixels), name="features")
    vector = keras.Input((3,))
    head = keras.Model(vector, keras.layers.Dense(3)(vector))
    odd = dataclasses.replace(task, features=features, head=head, model=keras.Model(pixels, head(features(pixels))))
    with pytest.raises(ModelError, match="features cannot be copied"):
        ensemble(odd, [values(odd)])
