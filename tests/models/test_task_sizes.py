"""A task at another size, cut short, or in another precision is still the same weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tiny

import tlkit
from tlkit.catalogue import image
from tlkit.catalogue.backbones import build_backbone
from tlkit.errors import ConfigError
from tlkit.export.saved_model import export_task
from tlkit.models.frozen_statistics import FrozenStatistics
from tlkit.models.resizing import features_at_size

pytestmark = pytest.mark.filterwarnings("ignore:.*random.*")

SMALL = "mobilenet-v2-0.35"
# The smallest row of each family; the rows beside it differ in depth and width alone.
FAMILIES = {row.family: row for row in sorted(image.TABLE.values(), key=lambda row: -row.params)}
QUICK = [row.name for row in FAMILIES.values() if row.family not in ("nasnet", "inception-resnet-v2")]
# Two kinds of network in `make test`; the other families take minutes and run with `make test-real`.
ALWAYS = ("mobilenet-v2", "efficientnet-lite")
EACH_FAMILY = [pytest.param(name, marks=() if image.get(name).family in ALWAYS else pytest.mark.real) for name in QUICK]


def make(name=SMALL, size=64, **options):
    return tlkit.image_classifier(name, ["ants", "bees"], size=size, weights="none", **options)


def pixels(size, batch=2):
    return np.random.default_rng(0).uniform(0, 255, (batch, size, size, 3)).astype("float32")


def ids(variables):
    return [id(variable) for variable in variables]


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH_FAMILY)
def test_another_size_another_precision_and_back_give_the_same_answers(name):
    keras.backend.clear_session()
    size = 96 if image.get(name).min_size > 64 else 64
    task = make(name, size)
    other = task.at_size(size + 32)
    assert other.model.input_shape == (None, size + 32, size + 32, 3)
    assert other.preprocessing.size == size + 32
    assert ids(other.model.weights) == ids(task.model.weights)
    assert ids(other.model.trainable_variables) == ids(task.model.trainable_variables)
    assert other.groups is task.groups
    assert other.head is task.head
    assert other.features(pixels(size + 32)).shape == task.features(pixels(size)).shape
    plain = task.features(pixels(size)).numpy()
    np.testing.assert_array_equal(other.at_size(size).features(pixels(size)), plain)

    assert task.precision == "float32"
    task.set_precision("mixed_bfloat16")
    assert task.precision == other.precision == "mixed_bfloat16"
    assert task.backbone(pixels(size)).dtype == "bfloat16"
    reduced = task.features(pixels(size))
    assert reduced.dtype == "float32"
    np.testing.assert_allclose(reduced, plain, atol=0.05 * np.abs(plain).max())
    assert not np.array_equal(reduced, plain)
    task.set_precision("float32")
    np.testing.assert_array_equal(task.features(pixels(size)), plain)


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", [pytest.param("frozen", marks=pytest.mark.real), "train"])
def test_what_one_size_learns_the_other_knows(batch_norm):
    task = make(batch_norm=batch_norm)
    task.freeze_to(2)
    small = task.at_size(32)
    assert any(isinstance(layer, FrozenStatistics) for layer in small.features.layers) == (batch_norm == "frozen")
    before = task.model(pixels(64)).numpy()
    frozen = [v.numpy() for group in task.groups[:2] for v in group.variables]
    statistics = [v.numpy() for v in task.model.weights if "moving" in v.path]
    small.model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    small.model.fit(pixels(32, 4), np.eye(2)[[0, 1, 0, 1]], verbose=0)
    assert not np.array_equal(task.model(pixels(64)), before)
    for old, variable in zip(frozen, (v for group in task.groups[:2] for v in group.variables), strict=True):
        np.testing.assert_array_equal(variable, old)
    now = [v.numpy() for v in task.model.weights if "moving" in v.path]
    moved = any(not np.array_equal(one, other) for one, other in zip(statistics, now, strict=True))
    assert moved == (batch_norm == "train")
    small.freeze_to(-1)
    assert task.backbone_is_frozen


def test_it_is_the_network_that_the_catalogue_builds_at_that_size():
    task = make()
    built = build_backbone(SMALL, 96, "none").model
    built.set_weights(task.backbone.get_weights())
    scaled = pixels(96) / 127.5 - 1
    np.testing.assert_allclose(task.at_size(96).backbone(scaled), built(scaled), atol=1e-5)


def test_weights_that_are_saved_at_one_size_load_at_another(tmp_path):
    """`tlkit evaluate` builds the network at the size of config.toml, whatever size the training ended with."""
    task = make(seed=1)
    small = task.at_size(32)
    for variable in small.head.trainable_variables:
        variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    small.model.save_weights(tmp_path / "small.weights.h5")
    other = make(seed=2)
    other.model.load_weights(tmp_path / "small.weights.h5")
    np.testing.assert_array_equal(other.model(pixels(64)), task.model(pixels(64)))
    other.model.save_weights(tmp_path / "large.weights.h5")
    third = make(seed=3).at_size(32)
    third.model.load_weights(tmp_path / "large.weights.h5")
    np.testing.assert_array_equal(third.model(pixels(32)), small.model(pixels(32)))


def test_the_tasks_of_others_change_size_too():
    task = tiny.tiny_task(size=32)
    other = task.at_size(48)
    assert other.model(pixels(48)).shape == (2, 3)
    assert ids(other.model.weights) == ids(task.model.weights)
    np.testing.assert_array_equal(other.at_size(32).model(pixels(32)), task.model(pixels(32)))
    assert task.at_size(32) is task


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (16, "cannot take images of that size; received: 16; allowed: 32 pixels or more"),
        (8, "the image size is invalid; received: 8"),
        (64.0, "the image size is invalid; received: 64.0"),
    ],
)
def test_impossible_sizes_are_named(size, message):
    with pytest.raises(ConfigError, match=message):
        make().at_size(size)


def test_a_network_that_ends_in_nothing_at_this_size_is_named():
    backbone_input = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(2, 33, name="wide")(backbone_input)
    backbone = keras.Model(backbone_input, x, name="wide_net")
    task = tiny.tiny_task(size=64)
    features_input = keras.Input((64, 64, 3))
    features = keras.Model(features_input, keras.layers.GlobalAveragePooling2D()(backbone(features_input)))
    with pytest.raises(ConfigError, match="wide_net cannot work at this image size; received: 16"):
        features_at_size(features, backbone, 16)
    with pytest.raises(ConfigError, match="does not contain wide_net"):
        features_at_size(task.features, backbone, 48)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [pytest.param("stem", marks=pytest.mark.real), "body"])
@pytest.mark.parametrize("name", EACH_FAMILY)
def test_any_backbone_can_be_cut_after_a_group(name, cut):
    keras.backend.clear_session()
    size = image.get(name).min_size + 32
    whole = build_backbone(name, size, "none")
    short = build_backbone(name, size, "none", cut=cut)
    kept = ["stem", "body"][: ["stem", "body"].index(cut) + 1]
    assert [group for group, _ in short.groups] == kept
    assert {id(layer) for _, layers in short.groups for layer in layers} == {id(layer) for layer in short.model.layers}
    # The same layers in the same places as the groups of the whole network, and nothing behind them.
    ours = [[v.shape for layer in layers for v in layer.weights] for _, layers in short.groups]
    theirs = [[v.shape for layer in layers for v in layer.weights] for _, layers in whole.groups[: len(kept)]]
    assert ours == theirs
    assert len(short.model.output_shape) == 4
    assert short.model.output_shape[1] >= whole.model.output_shape[1]


# The rules of the rows beside these, and of the families that take long, at least lead to a network that ends there.
@pytest.mark.real  # minutes
@pytest.mark.parametrize(
    "name", [row.name for row in image.TABLE.values() if row.params < 6e7 and row.name not in QUICK]
)
def test_the_other_rows_can_be_cut_before_their_last_block(name):
    keras.backend.clear_session()
    row = image.get(name)
    short = build_backbone(name, row.min_size + 32, "none", cut="body")
    assert [group for group, _ in short.groups] == ["stem", "body"]
    assert {id(layer) for _, layers in short.groups for layer in layers} == {id(layer) for layer in short.model.layers}
    assert len(short.model.output_shape) == 4
    assert 0.5 * row.params < short.model.count_params() < 0.95 * row.params


@pytest.mark.slow
def test_a_cut_network_computes_what_the_whole_one_computes_there():
    whole = build_backbone("efficientnet-lite0", 64, "none")
    cut = build_backbone("efficientnet-lite0", 64, "none", cut="body")
    count = len(cut.model.weights)
    cut.model.set_weights([v.numpy() for _, layers in whole.groups[:2] for layer in layers for v in layer.weights])
    assert count < len(whole.model.weights)
    # Lite's network begins after layers that it does not use, so the reference is cut out by name.
    reference = keras.models.clone_model(whole.model)
    reference.set_weights(whole.model.get_weights())
    expected = keras.Model(reference.input, reference.get_layer("block6d_add").output)(pixels(64))
    np.testing.assert_allclose(cut.model(pixels(64)), expected, atol=1e-5)


@pytest.mark.real
def test_a_cut_classifier_trains_saves_and_exports_like_a_whole_one(tmp_path):
    task = make(size=32, cut="body")
    assert task.cut == "body"
    assert make(size=32).cut == make(size=32, cut="last_block").cut == ""
    assert [group.name for group in task.groups] == ["stem", "body", "head"]
    assert task.backbone_is_frozen
    task.freeze_to(0)
    assert {id(v) for v in task.model.trainable_variables} == {id(v) for group in task for v in group.variables}
    task.model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    task.model.fit(pixels(32, 4), np.eye(2)[[0, 1, 0, 1]], verbose=0)
    task.model.save(tmp_path / "cut.keras")
    loaded = keras.saving.load_model(tmp_path / "cut.keras")
    np.testing.assert_allclose(loaded(pixels(32)), task.model(pixels(32)), atol=1e-5)
    assert ids(task.at_size(64).model.weights) == ids(task.model.weights)
    assert (export_task(task, tmp_path / "cut", max_batch=2) / "saved_model.pb").is_file()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"cut": "middle"}, "unknown cut; received: 'middle'; allowed: stem, body, last_block"),
        ({"cut": "head"}, "unknown cut; received: 'head'"),
        ({"precision": "bfloat16"}, "unknown precision.*allowed: float32, mixed_bfloat16.*did you mean"),
    ],
)
def test_unknown_words_are_named_before_anything_is_built(option, message):
    with pytest.raises(ConfigError, match=message):
        tlkit.image_classifier("efficientnet-b7", ["a", "b"], **option)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "batch_norm"),
    [pytest.param("mixed_bfloat16", "frozen", marks=pytest.mark.real), ("mixed_float16", "train")],
)
def test_a_classifier_in_reduced_precision_keeps_pixels_pools_head_and_weights_in_float32(precision, batch_norm):
    task = make(size=32, precision=precision, batch_norm=batch_norm)
    assert task.precision == precision
    assert {v.dtype for v in task.model.weights} == {"float32"}
    scaled = task.features.get_layer("pixel_scaling")(pixels(32))
    assert scaled.dtype == "float32"
    assert task.backbone(scaled).dtype == precision.removeprefix("mixed_")
    assert task.features(pixels(32)).dtype == task.model(pixels(32)).dtype == "float32"
    task.freeze_to(0)
    task.model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    loss = task.model.fit(pixels(32, 4), np.eye(2)[[0, 1, 0, 1]], verbose=0).history["loss"][0]
    np.testing.assert_allclose(loss, np.log(2), atol=1e-3)  # the head starts from even odds
    with pytest.raises(ConfigError, match="unknown precision"):
        task.set_precision("float16")
    assert task.precision == precision


@pytest.mark.slow
def test_what_keras_traced_before_is_traced_anew():
    task = make(size=32)
    before = task.features.predict(pixels(32), verbose=0)
    task.set_precision("mixed_bfloat16")
    reduced = task.features.predict(pixels(32), verbose=0)
    assert not np.array_equal(reduced, before)
    task.set_precision("float32")
    np.testing.assert_array_equal(task.features.predict(pixels(32), verbose=0), before)


def test_networks_that_scale_pixels_themselves_do_it_in_float32():
    task = make("efficientnet-b0", size=32, precision="mixed_bfloat16")
    scaling = [
        layer
        for layer in task.backbone.layers
        if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization)
    ]
    assert len(scaling) == 2
    assert {layer.compute_dtype for layer in scaling} == {"float32"}
    front = keras.Model(task.backbone.input, task.backbone.get_layer("stem_conv_pad").output)
    assert front(pixels(32)).dtype == "bfloat16"
