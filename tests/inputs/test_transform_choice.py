"""`transform = "auto"`: the transform that predicts best in the target's own unit."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.export.saved_model import export_task
from tlkit.inputs.row.reading import table_from_file
from tlkit.tasks.tabular.model import tabular_model

DRAW = np.random.default_rng(0)
X, GROUP = DRAW.normal(size=600), DRAW.choice(["a", "b", "c"], 600)
SIGNAL = X + (GROUP == "a")
FRAME = pd.DataFrame(
    {
        "x": X,
        "group": GROUP,
        "price": np.exp(3 * SIGNAL + 0.1 * DRAW.normal(size=600)),
        "length": SIGNAL + 0.3 * DRAW.normal(size=600),
    }
)


def load(target, frame=FRAME, transform="auto", **more):
    others = [name for name in ("price", "length") if name not in target]
    return table_from_file(frame.drop(columns=others), target, transform=transform, **more)


def test_a_multiplicative_target_gets_a_logarithm_and_an_additive_one_none(caplog):
    with caplog.at_level(logging.INFO, "tlkit"):
        data = load("price")
    assert data.targets[0].transform == "log"
    plain = load("price", transform="log")
    assert data.targets == plain.targets
    for split in ("train", "val"):
        np.testing.assert_array_equal(data._get(split).values, plain._get(split).values)
        np.testing.assert_array_equal(data.labels(split), plain.labels(split))
    rows, values = next(iter(data.ordered("train")))
    np.testing.assert_allclose(values[:, 0], data.targets[0].forward(data.labels("train")[: len(rows), 0])[:, 0])
    (said,) = [finding.why for finding in data.findings if finding.column == "price"]
    assert said.startswith('transform = "log", by the RMSE of boosted trees in 5 folds of training rows: none ')
    assert said in caplog.text
    assert load("length").targets[0].transform == "none"


def test_only_training_rows_choose():
    frame = FRAME.assign(part=np.where(np.arange(600) < 400, "train", "val"))
    damaged = frame.assign(price=frame["price"].where(frame["part"] == "train", 1.0 + np.arange(600)))
    said = [load("price", one, split_column="part").findings[-1].why for one in (frame, damaged)]
    assert said[0] == said[1]


def test_it_may_be_that_of_one_of_several_targets():
    data = load(["price", "length"], transform={"price": "auto", "length": "yeo_johnson"})
    assert [target.transform for target in data.targets] == ["log", "yeo_johnson"]
    assert data.targets[0].weight == 1.0


def test_zeros_rule_out_a_logarithm_and_few_rows_a_comparison():
    data = load("price", FRAME.assign(price=FRAME["price"].where(np.arange(600) != 17, 0.0)))
    assert data.targets[0].transform in ("log1p", "yeo_johnson", "none")
    assert " log " not in data.findings[-1].why
    ranged = load("price", y_range=(0.0, 1e6)).findings[-1].why
    assert " log " not in ranged
    assert " log1p " in ranged
    few = load("price", FRAME.head(20))
    assert few.targets[0].transform == "none"
    assert "fewer than 30 training rows are too few to compare transforms" in few.findings[-1].why


def test_what_has_no_value_is_refused():
    frame = FRAME.assign(price=np.where(FRAME["price"] > 1, "high", "low"))
    with pytest.raises(ConfigError, match="transform needs a regression target; received: 'auto'"):
        load("price", frame)
    with pytest.raises(ConfigError, match="transform names an unknown target; received: 'x'"):
        load("price", transform={"x": "auto"})


def test_the_export_undoes_what_was_chosen(tmp_path):
    data = load("price")
    task = tabular_model(data.preprocessing, data.targets, hidden=(4,))
    path = export_task(task, tmp_path / "prices", golden=data.samples("val", 2))
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    answer = serve(x=tf.constant([0.0]), group=tf.constant(["a"]))["price"].numpy()
    # A fresh network predicts the mean after the transform.
    np.testing.assert_allclose(answer, np.exp(np.log(data.labels("train")).mean()), rtol=1e-4)
