"""Real weights on real photos: what only they can show is that a conversion is right."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.catalogue.backbones import build_backbone, build_classifier

pytestmark = pytest.mark.real

ANT, BEE = 310, 309  # ImageNet classes


def _square(path, size: int) -> np.ndarray:
    """Cut the largest central square and shrink it, antialiased bicubic, to float32 [size, size, 3]."""
    photo = tf.io.decode_image(path.read_bytes(), channels=3, expand_animations=False)
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    photo = tf.image.resize(photo[top : top + side, left : left + side], (size, size), "bicubic", antialias=True)
    return tf.clip_by_value(photo, 0, 255).numpy()


def _accuracy(model: keras.Model, folder, wanted: int) -> tuple[float, float]:
    photos = np.stack([_square(path, model.input_shape[1]) for path in sorted(folder.iterdir())])
    best = np.argsort(-model.predict(photos, verbose=0), axis=1)[:, :5]
    return float(np.mean(best[:, 0] == wanted)), float(np.mean((best == wanted).any(axis=1)))


# Lite0: the known top-1 is 0.786 / 0.843 and top-5 0.93 / 0.92; they move by one or two photos (0.014 and
# 0.012 each) with the way of resizing. The other two were measured here once; a wrong conversion is near 0.
@pytest.mark.parametrize(
    ("name", "ants", "bees"),
    [
        ("efficientnet-lite0", (0.786, 0.93), (0.843, 0.92)),
        ("efficientnet-lite1", (0.843, 0.943), (0.855, 0.940)),
        ("efficientnet-lite2", (0.857, 0.943), (0.855, 0.952)),
    ],
)
def test_converted_lite_weights_know_ants_and_bees(hymenoptera, name, ants, bees):
    model = build_classifier(name)
    assert _accuracy(model, hymenoptera / "val" / "ants", ANT) == pytest.approx(ants, abs=0.03)
    assert _accuracy(model, hymenoptera / "val" / "bees", BEE) == pytest.approx(bees, abs=0.03)


def test_keras_own_file_loads_from_keras_home_as_keras_loads_it(hymenoptera, tmp_path, monkeypatch):
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    source = hymenoptera.parent / "weights" / name
    if not source.is_file():
        pytest.skip("the weights of MobileNetV2 0.35 are not beside this checkout")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / name).symlink_to(source)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("TLKIT_WEIGHTS_SOURCES", raising=False)
    built = build_backbone("mobilenet-v2-0.35", 224)
    assert built.weights_source == f"keras:{name}"
    reference = keras.applications.MobileNetV2((224, 224, 3), alpha=0.35, include_top=False, weights=source)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    expected = reference.predict(keras.applications.mobilenet_v2.preprocess_input(pixels.copy()), verbose=0)
    ours = built.model.predict(built.pixel_scaling()(pixels), verbose=0)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    assert expected.std() > 0.1
