"""Run the whole workflow with random weights and generated texts, to find errors before a long training run."""

import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import tensorflow as tf
import train

from tlkit.config import TextConfig, load_config

CONFIG = Path(__file__).parents[1] / "config.toml"


@pytest.fixture
def config(tmp_path: Path) -> TextConfig:
    """Load this project's config.toml with a small model, and texts and results in a temporary folder."""
    words = {"bad": ["dull", "awful", "boring"], "good": ["fine", "great", "lovely"]}
    rows = [
        {"text": f"{words[label][number % 3]} film, part {number}", "label": label}
        for label in words
        for number in range(8)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "texts.jsonl").write_text(lines, encoding="utf-8")
    small = {
        "data.path": "texts.jsonl",
        "data.text_column": "text",
        "target.columns": "label",
        "target.kind": "auto",
        **dict.fromkeys(["target.separator", "data.group_column", "data.split_column", "data.time_column"], ""),
        "data.encoding": "utf-8",
        "data.val_fraction": 0.25,
        "data.batch_size": 4,
        "model.encoder": "bert-tiny-en-uncased",
        "model.weights": "none",
        "model.max_tokens": 32,
        "train.learning_rate": 0.001,
        "train.frozen_epochs": 1,
        "train.finetune_epochs": 0,
        "train.cycle_len": 0,
        "train.cycle_mult": 1,
        "train.keep": "best",
        "export.directory": "exported",
    }
    return load_config(CONFIG, [f"{key}={value}" for key, value in small.items()], root=tmp_path)


def test_config_toml_is_valid():
    assert load_config(CONFIG).train.frozen_epochs >= 1


def test_it_trains_exports_and_answers_the_same_after_loading(config: TextConfig):
    learn = train.main(config)
    texts = ["What a lovely film", ""]

    serve = tf.saved_model.load(str(learn.export(config.export_dir))).signatures["serving_default"]
    answer = serve(text=tf.constant(texts))

    tokens = learn.task.preprocessing.batch(tf.constant(texts))
    scores = tf.nn.softmax(learn.task.model(tokens, training=False)).numpy()
    assert sorted(answer["classes"].numpy()[0].tolist()) == [b"bad", b"good"]
    np.testing.assert_allclose(answer["scores"].numpy(), np.sort(scores)[:, ::-1], atol=1e-4)
    assert (config.reports / "report.html").is_file()
