"""Grad-CAM: closed forms on small networks, every backbone of the catalogue, and a set whose region is known."""

from __future__ import annotations

import dataclasses
import gc
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny import tiny_task, tiny_value

import tlkit
from tlkit.catalogue import image
from tlkit.errors import ConfigError, ModelError
from tlkit.models.ensemble import ensemble
from tlkit.models.grad_cam import grad_cam

RANDOM = pytest.mark.filterwarnings("ignore:.*random weights")
SMALLEST = {row.family: row for row in sorted(image.TABLE.values(), key=lambda row: -row.params)}.values()


def pixels_of(size, count=2):
    return np.random.default_rng(1).uniform(0, 255, (count, size, size, 3)).astype(np.float32)


def map_of(task, pixels):
    """The feature map that the tiny network pools."""
    return np.asarray(task.backbone(pixels / 127.5 - 1, training=False))


def normed(heat):
    return heat / heat.max(axis=(1, 2), keepdims=True)


def test_after_mean_pooling_it_is_the_weighted_feature_map():
    task, pixels = tiny_task(), pixels_of(32, 11)  # more than a batch
    chosen = np.arange(11) % 3
    kernel = task.head.get_layer("logits").kernel.numpy()
    weights = (kernel - kernel.mean(axis=1, keepdims=True)).T[chosen]  # of the logit minus the mean of all
    expected = np.maximum(np.einsum("bhwc,bc->bhw", map_of(task, pixels), weights), 0)
    np.testing.assert_allclose(grad_cam(task, pixels, chosen), normed(expected), atol=1e-5)


def test_of_a_label_its_own_logit_counts_alone():
    task, pixels = tiny_task(multi_label=True), pixels_of(32)
    weights = task.head.get_layer("logits").kernel.numpy()[:, 2]
    expected = np.maximum(map_of(task, pixels) @ weights, 0)
    np.testing.assert_allclose(grad_cam(task, pixels, [2, 2]), normed(expected), atol=1e-5)


def test_of_a_value_the_size_of_the_effect_counts():
    task, pixels = tiny_value("regression"), pixels_of(32)
    weights = task.head.get_layer("outputs").kernel.numpy()[:, 0]
    expected = np.abs(map_of(task, pixels) @ weights)
    np.testing.assert_allclose(grad_cam(task, pixels, [0, 0]), normed(expected), atol=1e-5)


@pytest.mark.parametrize("kind", ["survival", "cox"])
def test_a_risk_has_a_map(kind):
    heat = grad_cam(tiny_value(kind), pixels_of(32), [0, 0])
    assert heat.shape == (2, 7, 7)
    np.testing.assert_allclose(heat.max(axis=(1, 2)), 1)


def test_of_several_targets_one_is_chosen():
    task, pixels = tiny_value("several"), pixels_of(32)
    kernel = task.head.get_layer("outputs").kernel.numpy()
    weights = (kernel[:, 2] - kernel[:, 1]) / 2  # of the second colour
    expected = np.maximum(map_of(task, pixels) @ weights, 0)
    np.testing.assert_allclose(grad_cam(task, pixels, [1, 1], target=1), normed(expected), atol=1e-5)
    with pytest.raises(ConfigError, match="there is no such target; received: 2; allowed: 0 to 1"):
        grad_cam(task, pixels, [0, 0], target=2)


def test_nothing_raises_an_answer_of_zero_weights_and_bad_arguments_are_refused():
    task, pixels = tiny_task(), pixels_of(32)
    task.head.get_layer("logits").kernel.assign(tf.zeros((12, 3)))
    assert not grad_cam(task, pixels, [0, 1]).any()
    assert len(grad_cam(task, pixels[:0], [])) == 0
    with pytest.raises(ConfigError, match="each image needs the number of an answer; received: 1; allowed: 2"):
        grad_cam(task, pixels, [0])


def test_members_of_an_ensemble_are_added_up():
    task, pixels = tiny_task(), pixels_of(32)
    members = [[variable.numpy() for variable in task.model.variables]]
    alone = grad_cam(task, pixels, [0, 1])
    np.testing.assert_allclose(grad_cam(ensemble(task, members), pixels, [0, 1]), alone, atol=1e-5)
    # Another backbone gives another feature map.
    members.append([1.3 * value if value.ndim == 4 else value for value in members[0]])
    both = grad_cam(ensemble(task, members), pixels, [0, 1])
    assert both.shape == alone.shape
    assert np.abs(both - alone).max() > 1e-4


def test_a_network_without_a_feature_map_is_refused():
    class OwnNetwork(keras.layers.Layer):
        def call(self, images):
            return images[:, 0, :12, 0]

    task, inputs = tiny_task(), keras.Input((32, 32, 3))
    other = dataclasses.replace(task, features=keras.Model(inputs, OwnNetwork()(inputs)))
    with pytest.raises(ModelError, match="tiny pools no feature map"):
        grad_cam(other, pixels_of(32), [0, 0])


@RANDOM
# A network takes seconds, and the larger ones of a family pool like their smallest sibling.
@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.name, marks=[] if row in SMALLEST and row.params < 5_000_000 else [pytest.mark.real])
        for row in image.TABLE.values()
    ],
)
def test_every_backbone_of_the_catalogue_has_a_map(row):
    keras.backend.clear_session()
    gc.collect()
    size = max(row.min_size, 64)
    task = tlkit.image_classifier(row.name, ["a", "b"], size=size, weights="none")
    kernel = task.head.trainable_variables[0]  # begins at zero
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    heat = grad_cam(task, np.repeat(pixels_of(size, 1), 2, axis=0), [0, 1])
    assert heat.shape == (2, *task.backbone.output_shape[1:3])
    assert heat.max() == 1  # what raises no class lowers the other one
    assert (heat >= 0).all()


SIZE, SIDE = 320, 120  # of an image, and of the object in one of its quarters


def picture(kind, seed):
    """Rings or squares in one quarter of a smooth random background, and which quarter that is."""
    draw = np.random.default_rng(seed)
    small = draw.integers(60, 190, (7, 7, 3)).astype(np.uint8)
    pixels = np.array(Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC)).astype(float)
    top, left = draw.integers(0, 2, 2) * SIZE // 2
    down, across = np.mgrid[:SIDE, :SIDE]
    rings = np.hypot(down - SIDE / 2, across - SIDE / 2) // 8 % 2
    squares = (down // 10 + across // 10) % 2
    drawn = (rings if kind == "rings" else squares)[..., None] > 0
    margin = (SIZE // 2 - SIDE) // 2
    rows, columns = (slice(start + margin, start + margin + SIDE) for start in (top, left))
    pixels[rows, columns] = np.where(drawn, (230, 200, 40), (20, 30, 60))
    noisy = np.clip(pixels + draw.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(noisy), (int(top), int(left))


@pytest.mark.real
def test_most_of_the_heat_is_in_the_quarter_that_tells_the_classes_apart(tmp_path: Path):
    quarters = {}
    for offset, kind in ((1000, "rings"), (0, "squares")):
        (tmp_path / kind).mkdir()
        for number in range(40):
            image_, quarter = picture(kind, offset + number)
            image_.save(tmp_path / kind / f"{number:02d}.png")
            quarters[f"{kind}/{number:02d}.png"] = quarter
    data = tlkit.images_from_folder(tmp_path, size=SIZE)
    learn = tlkit.Learner(tlkit.image_classifier("efficientnet-lite0", data.class_names, size=SIZE), data)
    learn.fit_probe()
    assert learn.evaluate().accuracy == 1
    pixels = np.concatenate([batch[0].numpy() for batch in data.ordered("val")])
    heat = grad_cam(learn.task, pixels, learn.logits("val").argmax(1))
    large = tf.image.resize(heat[..., None], (SIZE, SIZE)).numpy()[..., 0]
    shares = []
    for path, one in zip(data.paths("val"), large, strict=True):
        top, left = quarters[f"{path.parent.name}/{path.name}"]
        shares.append(one[top : top + SIZE // 2, left : left + SIZE // 2].sum() / one.sum())
    print(f"mean share of the heat in the quarter: {np.mean(shares):.3f}, lowest {np.min(shares):.3f}")
    assert np.mean(shares) >= 0.8  # by chance 0.25
