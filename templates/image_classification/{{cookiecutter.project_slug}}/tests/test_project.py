"""Run the whole workflow with random weights and generated photos, to find errors before a long training run."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import tensorflow as tf
import train

from tlkit.config import ImageConfig, load_config

CONFIG = Path(__file__).parents[1] / "config.toml"


@pytest.fixture
def config(tmp_path: Path) -> ImageConfig:
    """Load this project's config.toml with a small model, and photos and results in a temporary folder."""
    rng = np.random.default_rng(0)
    for label, brightness in (("dark", 40), ("light", 200)):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for number in range(8):
            pixels = np.clip(rng.normal(brightness, 20, (80, 96, 3)), 0, 255).astype("uint8")
            (folder / f"{number}.jpg").write_bytes(tf.io.encode_jpeg(pixels).numpy())
    small = {
        "data.path": "photos",
        "target.columns": "label",
        "target.kind": "auto",
        "target.separator": "",
        "data.val_fraction": 0.25,
        "data.batch_size": 4,
        "model.weights": "none",
        "model.image_size": 96,
        "train.learning_rate": 0.001,
        "train.frozen_epochs": 1,
        "train.finetune_epochs": 0,
        "export.directory": "exported",
    }
    return load_config(CONFIG, [f"{key}={value}" for key, value in small.items()], root=tmp_path)


def test_config_toml_is_valid():
    assert load_config(CONFIG).train.frozen_epochs >= 1


def test_it_trains_exports_and_answers_the_same_after_loading(config: ImageConfig):
    learn = train.main(config)
    photo = next(config.data_path.glob("dark/*.jpg")).read_bytes()

    serve = tf.saved_model.load(str(learn.export(config.export_dir))).signatures["serving_default"]
    answer = serve(image_bytes=tf.constant([photo]))

    pixels = learn.task.preprocessing.batch(tf.constant([photo]))
    scores = tf.nn.softmax(learn.task.model(tf.cast(pixels, tf.float32), training=False)).numpy()[0]
    assert sorted(answer["classes"].numpy()[0].tolist()) == [b"dark", b"light"]
    np.testing.assert_allclose(answer["scores"].numpy()[0], np.sort(scores)[::-1], atol=1e-4)
