"""Run the whole workflow with random weights and generated photos, to find errors before a long training run."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import train

from tlkit.config import ImageRegressionConfig, load_config

CONFIG = Path(__file__).parents[1] / "config.toml"


@pytest.fixture
def config(tmp_path: Path) -> ImageRegressionConfig:
    """Load this project's config.toml with a small model, and photos and results in a temporary folder."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(24):
        brightness = 30 + 8 * number
        pixels = np.clip(rng.normal(brightness, 10, (80, 96, 3)), 0, 255).astype("uint8")
        (tmp_path / f"{number}.jpg").write_bytes(tf.io.encode_jpeg(pixels).numpy())
        rows.append({"photo": f"{number}.jpg", "brightness": brightness + 0.5})
    pd.DataFrame(rows).to_csv(tmp_path / "photos.csv", index=False)
    small = {
        "data.path": "photos.csv",
        "data.path_column": "photo",
        "data.separator": "",
        "data.encoding": "utf-8",
        "data.group_column": "",
        "data.split_column": "",
        "data.val_fraction": 0.25,
        "data.batch_size": 4,
        "target.columns": "brightness",
        "target.kind": "regression",
        "target.kinds": {},
        "target.transform": "none",
        "target.y_range": [],
        "target.weights": {},
        "target.time": "",
        "target.event": "",
        "target.method": "hazard",
        "target.times": [],
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


def test_it_trains_exports_and_answers_the_same_after_loading(config: ImageRegressionConfig):
    learn = train.main(config)
    photo = (config.data_path.parent / "3.jpg").read_bytes()

    serve = tf.saved_model.load(str(learn.export(config.export_dir))).signatures["serving_default"]
    answer = serve(image_bytes=tf.constant([photo]))

    pixels = learn.task.preprocessing.batch(tf.constant([photo]))
    outputs = learn.task.model(tf.cast(pixels, tf.float32), training=False)
    value = learn.task.objective.probabilities(outputs).numpy()[0, 0]
    np.testing.assert_allclose(answer["brightness"].numpy()[0], value, rtol=1e-4)
