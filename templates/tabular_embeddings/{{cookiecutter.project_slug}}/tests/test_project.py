"""Run the whole workflow on a generated table, to find errors before a long training run."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import train

from tlkit.config import TabularConfig, load_config

CONFIG = Path(__file__).parents[1] / "config.toml"


@pytest.fixture
def config(tmp_path: Path) -> TabularConfig:
    """This project's config.toml, made small, with another table, and all results in a temporary folder."""
    rng = np.random.default_rng(0)
    area, heating = rng.uniform(30, 200, 120), rng.choice(["gas", "oil"], 120)
    price = area * 2000 * (1 + 0.5 * (heating == "gas"))
    pd.DataFrame({"area": area, "heating": heating, "price": price}).to_csv(tmp_path / "houses.csv", index=False)
    # The columns of the real table come last, and are not those of this one.
    text, _, _ = CONFIG.read_text(encoding="utf-8").partition("[columns]")
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    empty = ["separator", "time_column", "val_from", "test_from", "group_column", "split_column", "event_group"]
    small = {
        "data.path": "houses.csv",
        "target.columns": "price",
        **{f"data.{key}": "" for key in empty},
        **{f"data.{key}": [] for key in ("where", "allow", "events", "cyclic")},
        **{f"data.{key}": {} for key in ("join", "hash_buckets")},
        "data.encoding": "utf-8",
        "data.class_weight": "none",
        "data.min_count": 1,
        "data.batch_size": 16,
        **{f"target.{key}": {} for key in ("kinds", "weights")},
        **{"target.kind": "auto", "target.time": "", "target.event": "", "target.method": "hazard", "target.times": []},
        "target.transform": "none",
        "target.y_range": [],
        "model.hidden": [16],
        "model.embedding_sizes": {},
        "model.dropout": 0.0,
        "model.start_from": "",
        "model.freeze_embeddings": "false",
        "train.learning_rate": 0.01,
        "train.epochs": 1,
        "train.cycle_len": 0,
        "train.cycle_mult": 1,
        "train.keep": "best",
        "export.directory": "exported",
    }
    return load_config(tmp_path / "config.toml", [f"{key}={value}" for key, value in small.items()])


def test_config_toml_is_valid():
    assert load_config(CONFIG).train.learning_rate != 0


def test_it_trains_exports_and_answers_the_same_after_loading(config: TabularConfig):
    learn = train.main(config)

    serve = tf.saved_model.load(str(learn.export(config.export_dir))).signatures["serving_default"]
    columns = {"area": tf.constant([80.0, float("nan")]), "heating": tf.constant(["oil", "never seen"])}
    answer = serve(**columns)

    outputs = learn.task.model(learn.task.preprocessing.encode(columns), training=False)
    values = learn.task.objective.probabilities(outputs).numpy()
    np.testing.assert_allclose(answer["price"].numpy(), values[:, 0], rtol=1e-4)
    assert (config.reports / "report.html").is_file()
