"""Boosted trees as arrays: their answers are scikit-learn's, and a network holds them."""

from __future__ import annotations

import dataclasses
import logging

import keras
import numpy as np
import pandas as pd
import pytest
import tiny_table

from tlkit.errors import ConfigError, ModelError
from tlkit.inputs.row.columns import Categorical, Continuous
from tlkit.inputs.row.fitting import fit_table
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.targets.objective import Objective
from tlkit.targets.regression import Regression
from tlkit.targets.single_label import SingleLabel
from tlkit.targets.survival import Survival
from tlkit.tasks.tabular import tree_fit, tree_layer, trees
from tlkit.tasks.tabular.tree_columns import fit_tree_columns
from tlkit.tasks.tabular.tree_fit import BoostingOptions, fit_trees, parts_of
from tlkit.tasks.tabular.tree_layer import BoostedTreesLayer
from tlkit.tasks.tabular.trees import compile_trees, empty_trees

KINDS = {
    "colour": "categorical", "rooms": "categorical", "area (m²)": "continuous", "garden": "boolean", "built": "date",
    "distance": "continuous",
}  # fmt: skip


@pytest.fixture(scope="module")
def table():
    frame = tiny_table.tiny_frame(700)
    preprocessing = fit_table(frame, KINDS, scaling="quantile")
    return frame, preprocessing, preprocessing.encode_frame(frame)


def labels_of(kind, frame):
    """Give the objective of a kind of target and what it learns of the frame."""
    targets = tiny_table.tiny_targets(kind)
    objective = Objective(targets)
    sold = frame["sold"].map({name: number for number, name in enumerate(tiny_table.SOLD)}).to_numpy()
    tags = np.stack([frame["tags"].str.contains(tag).to_numpy(float) for tag in tiny_table.TAGS], axis=1)
    values = {
        "single_label": sold,
        "multi_label": tags,
        "regression": frame["price"].to_numpy(),
        "several": np.stack([frame["rent in €"], sold, frame["price"]], axis=1).astype(float),
    }[kind]
    return objective, objective.encode(values)


@pytest.fixture
def models(monkeypatch):
    """Models that scikit-learn has fitted since the test began."""
    found = []

    def parts(model):
        found.append(model)
        return parts_of(model)

    monkeypatch.setattr(tree_fit, "parts_of", parts)
    return found


def scores(model, inputs):
    """Give what scikit-learn says, float64 [n, outputs]."""
    said = model.decision_function(inputs) if hasattr(model, "classes_") else model.predict(inputs)
    return said.reshape(len(inputs), -1)


def torture(preprocessing, thresholds):
    """Give encoded rows: missing, unseen and infinite values, and numbers on the edges of bins and next to them."""
    frame = tiny_table.tiny_frame(60, seed=9, targets=False)
    frame.loc[0] = [None, pd.NA, None, pd.NA, None, None]
    frame.loc[1] = ["never seen", 77, np.inf, False, "1999-01-01", -np.inf]
    frame.loc[2] = ["red", 2, 1e30, True, "2031-12-31", -1e30]
    encoded = preprocessing.encode_frame(frame)
    edges = np.repeat(encoded[3:4], 3 * thresholds.size, axis=0)
    own = [np.nextafter(thresholds, -np.inf, dtype=np.float32), thresholds, np.nextafter(thresholds, np.inf)]
    return encoded, edges, np.stack(own).astype(np.float32)


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression", "several"])
def test_answers_are_those_of_scikit_learn(table, kind, models, monkeypatch):
    frame, preprocessing, encoded = table
    objective, true = labels_of(kind, frame)
    fitted = fit_trees(encoded, true, preprocessing, objective, options=BoostingOptions(iterations=40))
    layer = BoostedTreesLayer(fitted.trees.shape, fitted.trees)
    levels = fitted.trees.thresholds[np.isfinite(fitted.trees.thresholds)]
    strange, edges, near = torture(preprocessing, levels)
    rows = np.isfinite(fitted.trees.thresholds)
    columns = np.repeat(fitted.trees.number_columns, rows.sum(axis=1))
    for number, values in enumerate(near):
        edges[number * len(levels) + np.arange(len(levels)), columns] = values
    asked = np.concatenate([encoded, strange, edges])
    expected = [scores(model, fitted.columns.transform(asked)) for model in models]
    if kind == "several":
        expected = [expected[0], expected[1], expected[2]]
    answers = layer(asked).numpy()
    assert answers.shape == (len(asked), objective.width)
    np.testing.assert_allclose(answers, np.concatenate(expected, axis=1), rtol=1e-6, atol=1e-6)
    assert len(np.unique(answers[:, 0])) > 100
    np.testing.assert_allclose(layer(asked[:1]), answers[:1], atol=0)
    # Columns with few bins share a look-up; with none that do, or in a loop, the predictions are the same.
    assert fitted.trees.shape.lookups < fitted.trees.shape.numbers + fitted.trees.shape.categories
    monkeypatch.setattr(trees, "MOST_JOINED", 1)
    monkeypatch.setattr(tree_layer, "_UNROLLED", 0)
    apart = fit_trees(encoded, true, preprocessing, objective, options=BoostingOptions(iterations=40)).trees
    assert apart.shape.lookups == apart.shape.numbers + apart.shape.categories
    np.testing.assert_array_equal(BoostedTreesLayer(apart.shape, apart)(asked), answers)


@pytest.mark.parametrize("kind", ["single_label", "regression"])
def test_bags_are_the_mean_of_models_with_seeds_of_their_own(table, kind, models):
    frame, preprocessing, encoded = table
    objective, true = labels_of(kind, frame)
    options = BoostingOptions(iterations=15, bags=3, seed=4)
    fitted = fit_trees(encoded, true, preprocessing, objective, options=options)
    assert [model.random_state for model in models] == [4, 5, 6]
    each = [scores(model, fitted.columns.transform(encoded)) for model in models]
    assert np.abs(each[0] - each[1]).max() > 1e-3
    answers = BoostedTreesLayer(fitted.trees.shape, fitted.trees)(encoded)
    np.testing.assert_allclose(answers, np.mean(each, axis=0), rtol=1e-6, atol=1e-6)
    assert fitted.iterations == (45,)
    assert fitted.trees.shape.trees == 45 * objective.width


def test_two_classes_have_the_logit_of_the_second(table, models):
    frame, preprocessing, encoded = table
    objective = Objective([SingleLabel("large", ("no", "yes"))])
    labels = (frame["price"] > frame["price"].median()).to_numpy(int)
    fitted = fit_trees(encoded, objective.encode(labels), preprocessing, objective)
    answers = BoostedTreesLayer(fitted.trees.shape, fitted.trees)(encoded).numpy()
    assert (answers[:, 0] == 0).all()
    np.testing.assert_allclose(answers[:, 1:], scores(models[0], fitted.columns.transform(encoded)), atol=1e-6)
    assert ((answers[:, 1] > 0) == labels).mean() > 0.95


def test_the_rows_that_end_it_are_learned_from_too(models):
    draw = np.random.default_rng(0)
    encoded = draw.normal(size=(2000, 2)).astype(np.float32)
    preprocessing = TablePreprocessing((Continuous("a", "a"), Continuous("b", "b")))
    values = encoded[:, 0] + draw.normal(size=2000)
    objective = Objective([Regression("y", center=0.0, scale=1.4)])
    fitted = fit_trees(encoded, objective.encode(values), preprocessing, objective)
    assert 10 < fitted.iterations[0] < 1000
    root = models[0]._predictors[0][0].nodes[0]
    assert (root["count"], models[0].n_iter_) == (2000, fitted.iterations[0])


def test_few_rows_choose_the_number_of_trees_in_folds():
    draw = np.random.default_rng(0)
    preprocessing = TablePreprocessing(tuple(Continuous(name, name) for name in "abc"))
    encoded = draw.normal(size=(400, 3)).astype(np.float32)
    objective = Objective([Regression("y", center=0.0, scale=1.0)])
    found = {}
    for name, noise in (("clear", 0.05), ("noisy", 3.0)):
        values = np.sin(3 * encoded[:, 0]) * encoded[:, 1] + noise * draw.normal(size=400)
        fitted = fit_trees(encoded, objective.encode(values), preprocessing, objective)
        found[name] = fitted.iterations[0]
        plain = fit_trees(
            encoded, objective.encode(values), preprocessing, objective, options=BoostingOptions(patience=0)
        )
        assert plain.iterations == (100,)
    assert found["noisy"] < 60 < 150 < found["clear"] <= 300
    few = fit_trees(encoded[:29], objective.encode(values[:29]), preprocessing, objective)
    assert few.iterations == (100,)
    classes = Objective([SingleLabel("c", ("a", "b"))])
    rare = classes.encode(np.arange(400) == 7)
    assert fit_trees(encoded, rare, preprocessing, classes).iterations == (100,)


def test_a_range_is_undone_before_its_sigmoid(table):
    frame, preprocessing, encoded = table
    price = frame["price"].to_numpy()
    target = Regression("price", center=price.mean(), scale=price.std(), low=0.0, high=200_000.0)
    objective = Objective([target])
    fitted = fit_trees(encoded, objective.encode(price), preprocessing, objective)
    answers = objective.probabilities(BoostedTreesLayer(fitted.trees.shape, fitted.trees)(encoded)).numpy()[:, 0]
    assert np.corrcoef(answers, price)[0, 1] > 0.97
    assert np.abs(answers - price).mean() < 0.2 * price.std()


def test_missing_labels_weights_and_absent_classes(table, models):
    frame, preprocessing, encoded = table
    objective, true = labels_of("several", frame)
    objective = Objective(
        [objective.targets[0], SingleLabel("sold", (*tiny_table.SOLD, "never")), *objective.targets[2:]]
    )
    true = np.insert(true, 4, 0.0, axis=1)
    true[::3, 0] = np.nan
    true[1::3, 1:5] = np.nan
    weights = np.linspace(0.5, 1.5, len(frame)).astype(np.float32)
    fitted = fit_trees(encoded, true, preprocessing, objective, weights=weights)
    assert [len(model.n_iter_ and model._predictors) for model in models] == list(fitted.iterations)
    answers = BoostedTreesLayer(fitted.trees.shape, fitted.trees)(encoded).numpy()
    assert (answers[:, 4] == -16.0).all()
    assert np.isfinite(answers).all()
    one = fit_trees(
        encoded, np.eye(4, dtype=np.float32)[[2] * len(frame)], preprocessing, Objective(objective.targets[1:2])
    )
    assert one.trees.shape.trees == 0
    np.testing.assert_array_equal(
        BoostedTreesLayer(one.trees.shape, one.trees)(encoded[:2]), [[-16.0, -16.0, 0.0, -16.0]] * 2
    )


def test_of_many_categories_the_most_frequent_stay_and_order_counts(caplog, models):
    draw = np.random.default_rng(0)
    codes = np.concatenate([np.repeat(np.arange(300), 5), draw.integers(0, 20, 500)])
    frame = pd.DataFrame({"shop": codes, "x": draw.normal(size=len(codes))})
    preprocessing = fit_table(frame, {"shop": "categorical", "x": "continuous"})
    encoded = preprocessing.encode_frame(frame)
    with caplog.at_level(logging.WARNING, "tlkit"):
        columns = fit_tree_columns(preprocessing, encoded)
    assert "at most 255 categories of a column: of 'shop' the 254 most frequent" in caplog.text
    assert columns.names == ("shop", "shop in order", "x")
    found = columns.transform(encoded)
    assert found[:, 0].max() == 254
    assert set(found[codes < 20, 0]) == set(range(20))
    np.testing.assert_array_equal(found[:, 1], encoded[:, 0])
    values = (codes % 7 + 3 * (codes == 299)).astype(float)
    objective = Objective([Regression("y", center=values.mean(), scale=values.std())])
    fitted = fit_trees(encoded, objective.encode(values), preprocessing, objective, verbose=False)
    asked = np.concatenate([encoded[:1500:5], [[0, 0.0]]]).astype(np.float32)
    answers = BoostedTreesLayer(fitted.trees.shape, fitted.trees)(asked).numpy()
    np.testing.assert_allclose(answers, scores(models[0], fitted.columns.transform(asked)), atol=1e-6)
    assert answers.std() > 0.3


def test_what_training_never_saw_is_missing(table):
    _, preprocessing, encoded = table
    columns = fit_tree_columns(preprocessing, encoded)
    row = encoded[:1].copy()
    row[0, 0] = 0  # a colour that was never seen
    flag = [preprocessing.width - len(preprocessing.numbers) + place for place, name in
            enumerate(preprocessing.numbers) if name == "distance is missing"]  # fmt: skip
    row[0, flag] = 1.0
    found = columns.transform(row)[0]
    assert np.isnan(found[columns.names.index("colour")])
    assert np.isnan(found[columns.names.index("distance")])
    assert not any(name.endswith("is missing") for name in columns.names)
    assert not np.isnan(found[columns.names.index("area (m²)")]) or np.isnan(columns.transform(encoded[:1])).any()


def test_tables_of_categories_or_of_numbers_alone():
    draw = np.random.default_rng(0)
    for column in (Categorical("a", "a", "string", ("x", "y", "z")), Continuous("n", "n")):
        preprocessing = TablePreprocessing((column,))
        encoded = draw.integers(0, 5, (400, 1)).astype(np.float32)
        objective = Objective([Regression("y", center=2.0, scale=1.4)])
        fitted = fit_trees(encoded, objective.encode(encoded[:, 0]), preprocessing, objective)
        answers = BoostedTreesLayer(fitted.trees.shape, fitted.trees)(encoded)
        assert np.corrcoef(answers[:, 0], encoded[:, 0])[0, 1] > 0.99


def test_the_arrays_are_weights_that_nothing_trains(table, tmp_path):
    frame, preprocessing, encoded = table
    objective, true = labels_of("regression", frame)
    trees = fit_trees(encoded, true, preprocessing, objective).trees

    def network(arrays):
        inputs = keras.Input((preprocessing.width,))
        return keras.Model(inputs, BoostedTreesLayer(trees.shape, arrays, name="trees")(inputs))

    one, other = network(trees), network(None)
    one.trainable = True
    assert one.trainable_variables == []
    expected = one(encoded).numpy()
    assert (one(encoded, training=True).numpy() == 0).all()
    one.save_weights(tmp_path / "w.weights.h5")
    other.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(other(encoded), expected)
    copy = keras.models.clone_model(one)
    assert [v.shape for v in copy.variables] == [v.shape for v in one.variables]
    assert {v.dtype for v in one.variables} == {"int32", "float32", "float64"}
    assert empty_trees(trees.shape).shape == trees.shape


def test_what_cannot_be_fitted_is_refused(table):
    frame, preprocessing, encoded = table
    risk = Objective([Survival("risk", time="t", event="e", method="cox")])
    with pytest.raises(ConfigError, match="boosting cannot learn a survival target.*model.kind"):
        fit_trees(encoded, encoded[:, :2], preprocessing, risk)
    for wrong in (
        {"leaves": 33},
        {"iterations": 0},
        {"learning_rate": 0},
        {"max_features": 1.5},
        {"threads": 0},
        {"bags": 0},
    ):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))} of boosting is invalid"):
            BoostingOptions(**wrong)
    objective, true = labels_of("regression", frame)
    fitted = fit_trees(encoded, true, preprocessing, objective)
    nodes = np.zeros(67, [("is_leaf", bool), ("value", float), ("feature_idx", int), ("num_threshold", float),
                          ("missing_go_to_left", bool), ("left", int), ("right", int), ("is_categorical", bool),
                          ("bitset_idx", int)])  # fmt: skip
    nodes["is_leaf"] = np.arange(67) % 2 == 1
    nodes["is_leaf"][66] = True
    nodes["left"], nodes["right"] = np.arange(67) + 1, np.arange(67) + 2
    with pytest.raises(ModelError, match="too many leaves to be exported; received: 34; allowed: up to 32"):
        compile_trees(fitted.columns, [tree_fit.Tree(nodes, np.zeros((0, 8), np.uint32), 0)], np.zeros(1), 5)


def test_this_scikit_learn_keeps_its_trees_where_they_are_read(table):
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=2).fit(
        [[0.0], [1], [2], [3]] * 3, [0, 1, 2, 3] * 3
    )
    rounds, baseline = parts_of(model)
    assert (len(rounds), len(rounds[0]), baseline) == (2, 1, [pytest.approx(1.5)])
    del model._predictors
    with pytest.raises(ModelError, match=r"the trees of scikit-learn cannot be read.*received: 'scikit-learn 1\."):
        parts_of(model)
    model._predictors = [[dataclasses.make_dataclass("P", ["nodes", "raw_left_cat_bitsets"])(np.zeros(1), None)]]
    with pytest.raises(ModelError, match="a tree has no 'bitset_idx'|a tree has no bitset_idx"):
        parts_of(model)
