"""Numbers that are computed from columns: counts and target means of categories, ratios, differences of dates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.export.saved_model import export_task
from tlkit.inputs.row.feature_fitting import SMOOTHING, FeatureOptions
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.row.reading import table_from_file
from tlkit.targets.objective import Objective, measure_answers
from tlkit.tasks.tabular.model import tabular_model
from tlkit.tasks.tabular.tree_fit import BoostingOptions, fit_trees
from tlkit.tasks.tabular.tree_layer import BoostedTreesLayer

N = 900
DRAW = np.random.default_rng(0)
SHOP = DRAW.choice(["a", "b", "c", "d"], N, p=[0.5, 0.3, 0.15, 0.05])
PRICE, AREA = DRAW.uniform(1, 9, N), DRAW.uniform(1, 5, N)
ORDERED = pd.Timestamp("2020-01-01") + pd.to_timedelta(DRAW.integers(0, 700, N), unit="D")
WAITED = DRAW.integers(0, 60, N)
FRAME = pd.DataFrame(
    {
        "shop": SHOP,
        "price": PRICE,
        "area": AREA,
        "ordered": ORDERED.strftime("%Y-%m-%d"),
        "delivered": (ORDERED + pd.to_timedelta(WAITED, unit="D")).strftime("%Y-%m-%d"),
        "nobody": [f"n{number}" for number in DRAW.integers(0, 300, N)],
        "y": np.where(SHOP == "a", 1.0, 3.0) + PRICE / AREA + 0.1 * DRAW.normal(size=N),
    }
)
KINDS = {"nobody": "categorical", "ordered": "date", "delivered": "date"}
ALL = FeatureOptions(
    counts=["shop"], target_means=["shop", "nobody"], ratios=[["price", "area"]],
    date_differences=[["delivered", "ordered"]],
)  # fmt: skip
NAMES = ("count of shop", "mean y of shop", "mean y of nobody", "price / area", "delivered - ordered")


def load(target="y", frame=FRAME, **features):
    return table_from_file(frame, target, kinds=KINDS, features=features or ALL)


@pytest.fixture(scope="module")
def data():
    return load()


def feature(data, split, name):
    place = data.preprocessing.width - len(data.preprocessing.numbers) + data.preprocessing.numbers.index(name)
    return data.encoded(split)[:, place]


def test_they_follow_the_numbers_of_the_columns(data):
    plain = table_from_file(FRAME, "y", kinds=KINDS)
    assert data.preprocessing.numbers == (*plain.preprocessing.numbers, *NAMES)
    np.testing.assert_array_equal(data.encoded("val")[:, : plain.preprocessing.width], plain.encoded("val"))
    rows, _ = next(iter(data.train))
    assert rows.shape[1] == data.preprocessing.width


def test_counts_ratios_and_days_are_what_they_say(data):
    rows = data.frame("val")
    counts = data.frame("train")["shop"].value_counts()
    expected = {
        "count of shop": np.log1p(rows["shop"].map(counts)),
        "price / area": rows["price"] / rows["area"],
        "delivered - ordered": (pd.to_datetime(rows["delivered"]) - pd.to_datetime(rows["ordered"])).dt.days,
    }
    for name, values in expected.items():
        found = feature(data, "val", name).astype(np.float64)
        slope, at = np.polyfit(found, values, 1)
        assert slope > 0
        np.testing.assert_allclose(slope * found + at, values, atol=1e-4)
        assert abs(np.median(feature(data, "train", name))) < 1


def test_target_means_are_smoothed_and_of_the_training_rows(data):
    train, target = data.frame("train"), data.targets[0]
    learned = pd.Series(target.forward(train["y"].to_numpy())[:, 0].astype(float), train.index)
    groups = learned.groupby(train["shop"])
    means = (groups.sum() + SMOOTHING * learned.mean()) / (groups.size() + SMOOTHING)
    found = feature(data, "val", "mean y of shop")
    wanted = data.frame("val")["shop"].map(means).to_numpy()
    np.testing.assert_allclose(np.corrcoef(found, wanted)[0, 1], 1, atol=1e-6)
    assert len(np.unique(found)) == 4
    # Training rows have one value for each category and fold.
    own = pd.Series(feature(data, "train", "mean y of shop")).groupby(train["shop"].to_numpy()).nunique()
    assert own.tolist() == [5] * 4


def test_a_row_does_not_see_its_own_label(data):
    place = data.preprocessing.width - len(NAMES) + NAMES.index("mean y of nobody")
    values = data.labels("train")[:, 0]
    # What other rows get would tell the labels of the training rows.
    encoded = data.preprocessing.encode_frame(data.frame("train"))[:, place]
    assert np.corrcoef(encoded, values)[0, 1] > 0.4
    assert abs(np.corrcoef(data.encoded("train")[:, place], values)[0, 1]) < 0.1
    # Changing one label changes the value of no row of its own fold, so not its own either.
    changed = FRAME.copy()
    row = data.rows("train")[7]
    changed.loc[row, "y"] = changed["y"].median()
    other = load(frame=changed)
    assert row == other.rows("train")[7]
    scale = [one.encoded("train")[:, place] for one in (data, other)]
    before, after = (own - own.mean() for own in scale)
    same = FRAME["nobody"].to_numpy()[data.rows("train")] == FRAME["nobody"][row]
    ratio = after[~same].std() / before[~same].std()
    assert abs(after[7] - ratio * before[7]) < 0.05


def test_a_column_of_random_categories_does_not_help():
    losses = []
    for means in ([], ["nobody"]):
        data = load(target_means=means, counts=["shop"])
        objective = Objective(data.targets)
        fitted = fit_trees(
            data.encoded("train"), data.learned("train"), data.preprocessing, objective,
            options=BoostingOptions(iterations=60),
        )  # fmt: skip
        layer = BoostedTreesLayer(fitted.trees.shape, fitted.trees)
        for split in ("train", "val"):
            answers = objective.probabilities(layer(data.encoded(split))).numpy()
            losses.append(measure_answers(answers, data.labels(split), data.targets).rmse)
    assert losses[3] == pytest.approx(losses[1], rel=0.1)
    assert losses[2] > 0.8 * losses[0]  # the training rows are not told by it either


def test_an_export_computes_them_and_what_is_missing_is_the_middle(data, tmp_path):
    preprocessing = data.preprocessing
    again = TablePreprocessing.from_dict(preprocessing.to_dict())
    assert again == preprocessing
    task = tabular_model(preprocessing, data.targets, hidden=(4,), seed=1)
    task.head.get_layer("logits").kernel.assign(np.ones((4, 1)))
    path = export_task(task, tmp_path / "shops", golden=data.samples("val", 2), max_batch=3)
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    rows = data.frame("val")
    named = {name: tf.constant(values) for name, values in preprocessing.to_arguments(rows).items()}
    expected = task.objective.probabilities(task.model(data.encoded("val"), training=False)).numpy()[:, 0]
    np.testing.assert_allclose(serve(**named)["y"].numpy(), expected, rtol=1e-5)
    encoded = preprocessing.encode_frame(rows.assign(price=np.nan, delivered=None, shop="never seen"))
    strange = encoded[:, -len(NAMES) :]
    np.testing.assert_array_equal(strange[:, 3:], 0.0)
    prior = preprocessing.features[1].values[0]
    np.testing.assert_allclose(strange[:, 1], prior, rtol=1e-6)
    assert (preprocessing.encode_frame(rows.assign(area=0.0))[:, -2] == 0).all()
    assert np.isfinite(preprocessing.encode_frame(rows.assign(area=1e-300, price=1e30))).all()


def test_classes_have_a_mean_each():
    frame = FRAME.assign(y=np.where(FRAME["y"] > 3, "high", np.where(FRAME["y"] > 2, "middle", "low")))
    data = load(frame=frame, target_means="all")
    assert [f.name for f in data.preprocessing.features] == [
        f"mean y={name} of {column}" for column in ("shop", "nobody") for name in ("high", "low", "middle")
    ]
    two = load(frame=frame.assign(y=frame["y"] == "high"), target_means=["shop"])
    assert [f.name for f in two.preprocessing.features] == ["mean y=true of shop"]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"counts": ["shp"]}, "features.counts names a column that cannot be used; .*did you mean 'shop'"),
        ({"target_means": ["price"]}, "features.target_means names a column that cannot be used; received: 'price'"),
        ({"ratios": [["price", "shop"]]}, "features.ratios names a column that cannot be used; received: 'shop'"),
        ({"ratios": [["price", "price"]]}, "ratios are pairs of different columns"),
        ({"date_differences": [["delivered", "price"]]}, "features.date_differences names a column"),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_used_are_refused(features, message):
    with pytest.raises(ConfigError, match=message):
        load(**features)


def test_a_ratio_of_a_monotonic_column_is_refused(data):
    options = BoostingOptions(iterations=5, monotonic={"price": "increasing"})
    with pytest.raises(ConfigError, match="'price / area' is computed from the column; received: 'price'"):
        fit_trees(
            data.encoded("train"), data.learned("train"), data.preprocessing, Objective(data.targets), options=options
        )
    free = dataclasses.replace(options, monotonic={})
    fit_trees(data.encoded("train"), data.learned("train"), data.preprocessing, Objective(data.targets), options=free)
