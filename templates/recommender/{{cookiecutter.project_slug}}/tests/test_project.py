"""Run the whole workflow on generated ratings, to find errors before a long training run."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import train

from tlkit.config import RecommenderConfig, load_config

CONFIG = Path(__file__).parents[1] / "config.toml"


@pytest.fixture
def config(tmp_path: Path) -> RecommenderConfig:
    """This project's config.toml, made small, with other ratings, and all results in a temporary folder."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 12, 300), rng.integers(0, 9, 300)
    stars = np.clip(np.round(3 + (users % 3) - (items % 3) + rng.normal(0, 0.5, 300)), 1, 5)
    table = pd.DataFrame({"who": [f"u{n}" for n in users], "what": [f"i{n}" for n in items], "stars": stars})
    table.drop_duplicates(["who", "what"]).to_csv(tmp_path / "ratings.csv", index=False)
    (tmp_path / "config.toml").write_text(CONFIG.read_text(encoding="utf-8").partition("[columns]")[0], "utf-8")
    small = {
        "data.path": "ratings.csv",
        "data.user": "who",
        "data.item": "what",
        "data.rating": "stars",
        **{f"data.{key}": "" for key in ("time", "separator", "split_column")},
        **{f"data.{key}": [] for key in ("user_columns", "item_columns", "rating_range")},
        "data.join": {},
        "data.split": "random",
        "data.encoding": "utf-8",
        "data.least_of_user": 1,
        "data.least_of_item": 1,
        "data.batch_size": 16,
        "model.factors": 4,
        "model.members": 2,
        "train.learning_rate": 0.01,
        "train.epochs": 1,
        "train.cycle_len": 0,
        "train.cycle_mult": 1,
        "train.keep": "best",
        "export.directory": "exported",
    }
    return load_config(tmp_path / "config.toml", [f"{key}={value}" for key, value in small.items()])


def test_config_toml_is_valid():
    assert load_config(CONFIG).train.epochs > 0


def test_it_trains_exports_and_answers_the_same_after_loading(config: RecommenderConfig):
    learn = train.main(config)

    signatures = tf.saved_model.load(str(learn.export(config.export_dir))).signatures
    pairs = {"who": tf.constant(["u1", "never seen"]), "what": tf.constant(["i2", "i3"])}
    outputs = learn.task.model(learn.task.preprocessing.encode(pairs), training=False)
    ratings = learn.task.objective.probabilities(outputs).numpy()
    np.testing.assert_allclose(signatures["serving_default"](**pairs)["stars"].numpy(), ratings[:, 0], rtol=1e-4)

    asked = {"who": tf.constant(["u1"]), "k": tf.constant([3]), "exclude": tf.constant([True])}
    assert signatures["recommend"](**asked)["items"].shape == (1, 3)
    assert (config.reports / "report.html").is_file()
