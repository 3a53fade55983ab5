from __future__ import annotations

import gc
import math

import keras
import numpy as np
import pytest

from tlkit.catalogue import image, weight_files
from tlkit.catalogue.backbones import build_backbone, build_classifier, lite_blocks
from tlkit.catalogue.scaling import IMAGENET_MEAN_RGB, IMAGENET_STDDEV_RGB
from tlkit.errors import ModelError, WeightsError

RANDOM = pytest.mark.filterwarnings("ignore:.*random weights")
SMALLEST = {row.family: row for row in sorted(image.TABLE.values(), key=lambda row: -row.params)}.values()


def _pixels(size: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (2, size, size, 3)).astype(np.float32)


def _save(model: keras.Model, path) -> None:
    """Write a model's weights in the layout of the files that Keras downloads."""
    own = [(layer.name, layer.trainable_weights + layer.non_trainable_weights) for layer in model.layers]
    weight_files.save_layers(
        path, [(name, {f"{i}": v.numpy() for i, v in enumerate(weights)}) for name, weights in own if weights]
    )


@RANDOM
# A network takes seconds, and the larger ones of a family are built as their smallest sibling is.
@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.name, marks=[] if row in SMALLEST and row.params < 10_000_000 else [pytest.mark.real])
        for row in image.TABLE.values()
    ],
)
def test_every_row_builds_and_its_groups_partition_the_layers(row):
    keras.backend.clear_session()
    gc.collect()
    built = build_backbone(row, row.min_size, "none")
    assert built.model.count_params() == row.params
    assert built.model.input_shape == (None, row.min_size, row.min_size, 3)
    assert len(built.model.output_shape) == 4
    assert built.weights_source == "none"
    assert (built.scaling, built.pixel_scaling().kind) == (row.scaling, row.scaling)
    assert [name for name, _ in built.groups] == ["stem", "body", "last_block"]
    grouped = [id(layer) for _, layers in built.groups for layer in layers]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(layer) for layer in built.model.layers}
    share = {
        name: sum(math.prod(w.shape) for layer in layers for w in layer.weights) / row.params
        for name, layers in built.groups
    }
    assert 0 < share["stem"] < 0.02
    assert 0.5 < share["body"] < 0.95
    assert 0.05 < share["last_block"] < 0.5
    rescales_itself = any(
        isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization) for layer in built.model.layers
    )
    assert rescales_itself == (row.scaling == "none")


@RANDOM
@pytest.mark.parametrize(
    ("name", "stem", "last"),
    [
        ("resnet50", "conv1_conv", {"conv5_block3"}),
        ("mobilenet-v2-0.35", "Conv1", {"block_16", "Conv_1", "out_relu"}),
        ("efficientnet-b1", "stem_conv", {"block7b", "top"}),
        ("efficientnet-lite1", "stem_conv", {"block7a", "top"}),
    ],
)
def test_groups_hold_the_layers_that_they_are_named_after(name, stem, last):
    groups = dict(build_backbone(name, 32, "none").groups)
    assert stem in [layer.name for layer in groups["stem"]]
    assert any("stem" in layer.name or "1" in layer.name for layer in groups["stem"])
    assert all(layer.name.startswith(tuple(last)) for layer in groups["last_block"])
    assert all(any(layer.name.startswith(start) for layer in groups["last_block"]) for start in last)
    assert not any(layer.name.startswith(tuple(last)) for layer in groups["body"])


@RANDOM
def test_widths_are_built():
    assert build_backbone("mobilenet-v2-0.35", 32, "none").model.count_params() == 410_208


def test_random_weights_are_announced(caplog):
    with pytest.warns(UserWarning, match="mobilenet-v2-0.35 starts from random weights"):
        build_backbone("mobilenet-v2-0.35", 32, "none")
    assert "random weights" in caplog.text


@pytest.mark.parametrize("size", [31, 0, -224, 224.0, True])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ModelError, match=r"cannot take images of that size; .*allowed: 32 pixels"):
        build_backbone("mobilenet-v2", size, "none")


def test_no_source_at_all_is_refused():
    with pytest.raises(WeightsError, match="no weight source given"):
        build_backbone("mobilenet-v2", 32, [])


@pytest.fixture(scope="module")
def efficientnet(tmp_path_factory):
    """EfficientNet-B0 as Keras builds it for weights="imagenet", and a file with such weights."""
    network = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(32, 32, 3))
    normalization = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
    normalization.adapt_mean.assign(IMAGENET_MEAN_RGB)
    normalization.adapt_variance.assign(IMAGENET_STDDEV_RGB)  # what Keras' files hold in place of the variance
    normalization.finalize_state()
    path = tmp_path_factory.mktemp("weights") / "efficientnetb0_notop.h5"
    _save(network, path)
    rest = keras.Model(network.get_layer("stem_conv_pad").input, network.output)
    pixels = keras.Input((32, 32, 3))
    x = normalization(keras.layers.Rescaling(1 / 255)(pixels))
    x = keras.layers.Rescaling([1 / math.sqrt(stddev) for stddev in IMAGENET_STDDEV_RGB])(x)
    return keras.Model(pixels, rest(x)), path


@pytest.mark.slow
def test_efficientnet_normalizes_as_keras_does_for_imagenet_weights(efficientnet, tmp_path):
    reference, path = efficientnet
    pixels = _pixels(32)
    expected = reference.predict(pixels, verbose=0)
    built = build_backbone("efficientnet-b0", 32, path)
    np.testing.assert_allclose(built.model.predict(pixels, verbose=0), expected, rtol=1e-3, atol=1e-6)
    assert built.weights_source == "file:efficientnetb0_notop.h5"
    # Saved and loaded again, the factor must not be applied a second time.
    built.model.save_weights(tmp_path / "again.weights.h5")
    again = build_backbone("efficientnet-b0", 32, tmp_path / "again.weights.h5")
    np.testing.assert_allclose(again.model.predict(pixels, verbose=0), expected, rtol=1e-3, atol=1e-6)


@RANDOM
def test_efficientnet_normalizes_alike_with_random_weights():
    model = build_backbone("efficientnet-b0", 32, "none").model
    front = keras.Model(model.input, model.get_layer("stem_conv_pad").input)
    pixels = _pixels(32)
    expected = (pixels / 255 - IMAGENET_MEAN_RGB) / IMAGENET_STDDEV_RGB
    np.testing.assert_allclose(front(pixels), expected, rtol=1e-4, atol=1e-5)


def test_lite_scales_depth_and_width_but_not_its_ends():
    lite0, lite1, lite2 = lite_blocks(1.0, 1.0), lite_blocks(1.0, 1.1), lite_blocks(1.1, 1.2)
    assert [block["repeats"] for block in lite0] == [1, 2, 2, 3, 3, 4, 1]
    assert [block["repeats"] for block in lite1] == [1, 3, 3, 4, 4, 5, 1]
    assert [block["filters_out"] for block in lite2] == [16, 24, 48, 88, 120, 208, 352]
    assert all(block["se_ratio"] == 0 for block in lite2)
    assert [block["filters_in"] for block in lite2] == [32, 16, 24, 48, 88, 120, 208]


@pytest.mark.slow
@RANDOM
def test_lite_with_classifier_saves_and_loads(tmp_path):
    model = build_classifier("efficientnet-lite0", 32, "none")
    assert model.output_shape == (None, 1000)
    assert model.count_params() == 4_694_024
    model.save(tmp_path / "lite.keras")
    pixels = _pixels(32)
    loaded = keras.models.load_model(tmp_path / "lite.keras")
    np.testing.assert_allclose(loaded.predict(pixels, verbose=0), model.predict(pixels, verbose=0), rtol=1e-5)


def test_a_file_with_the_classifier_loads_into_the_lite_backbone(tmp_path):
    with pytest.warns(UserWarning, match="random weights"):
        classifier = build_classifier("efficientnet-lite0", 32, "none").layers[-1]
    _save(classifier, tmp_path / "lite0.h5")
    built = build_backbone("efficientnet-lite0", 32, tmp_path / "lite0.h5")
    ours, theirs = built.model.get_layer("top_conv"), classifier.get_layer("top_conv")
    np.testing.assert_array_equal(ours.kernel, theirs.kernel)


def test_only_lite_has_a_classifier():
    with pytest.raises(ModelError, match="resnet50 has no classifier in the catalogue"):
        build_classifier("resnet50", weights="none")


@RANDOM
def test_weights_of_another_width_are_refused_with_the_first_difference(tmp_path):
    _save(build_backbone("mobilenet-v2-0.35", 32, "none").model, tmp_path / "other.h5")
    with pytest.raises(WeightsError, match=r"layer 'Conv1' expects shapes \[\(3, 3, 3, 32\)\], the file has 'Conv1'"):
        build_backbone("mobilenet-v2", 32, tmp_path / "other.h5")
