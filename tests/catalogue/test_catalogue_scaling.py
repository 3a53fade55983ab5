from __future__ import annotations

import importlib

import keras
import numpy as np
import pytest

from tlkit.catalogue import image
from tlkit.catalogue.scaling import PixelScaling
from tlkit.errors import ConfigError

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3)).astype(np.float32)


@pytest.mark.parametrize("row", image.TABLE.values(), ids=lambda row: row.name)
def test_scaling_equals_preprocess_input_of_the_row(row):
    scaled = keras.ops.convert_to_numpy(PixelScaling(row.scaling)(PIXELS))
    if row.family == "efficientnet-lite":
        expected = (PIXELS.astype(np.float64) - 127) / 128
    else:
        expected = importlib.import_module(f"keras.applications.{row.module}").preprocess_input(PIXELS.copy())
    np.testing.assert_allclose(scaled, expected, rtol=0, atol=1e-5)
    assert scaled.dtype == np.float32


def test_scaling_stays_in_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        scaled = PixelScaling("tf")(PIXELS + 0.3)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(scaled, (PIXELS + 0.3) / 127.5 - 1, atol=1e-6)


def test_scaling_survives_saving(tmp_path):
    model = keras.Sequential([keras.Input((5, 7, 3)), PixelScaling("caffe")])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(PIXELS), model(PIXELS))


def test_an_unknown_scaling_is_refused():
    with pytest.raises(ConfigError, match="unknown pixel scaling; received: 'tff'; allowed: none, tf, torch"):
        PixelScaling("tff")
