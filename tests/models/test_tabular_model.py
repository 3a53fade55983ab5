"""Networks for tables: embeddings, numbers, trunk and head."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.inputs.row.columns import Categorical, Continuous
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.row.reading import table_from_file
from tlkit.models.ensemble import ensemble
from tlkit.targets.multi_label import MultiLabel
from tlkit.targets.objective import Objective
from tlkit.targets.regression import Regression
from tlkit.targets.single_label import SingleLabel
from tlkit.tasks.tabular.model import embedding_size, tabular_model
from tlkit.training.learner import Learner

COLOUR = Categorical("colour", "colour", "string", ("red", "green", "blue"))
SHOP = Categorical("shop", "shop", "int64", tuple(map(str, range(20))))
SIZE = Continuous("size", "size", flag=True)
TABLE = TablePreprocessing((COLOUR, SHOP, SIZE))
PRICE = Regression("price", center=10.0, scale=2.0)
KIND = SingleLabel("kind", ("a", "b", "c"))
ROWS = np.array([[2, 5, 0.1, 0], [0, 0, -1.0, 1], [1, 21, 2.0, 0], [4, 1, 0.0, 0]], np.float32)


def test_widths_follow_the_rule_or_what_is_asked_for():
    assert [embedding_size(n) for n in (3, 8, 1117, 10**9)] == [3, 5, 81, 600]
    task = tabular_model(TABLE, [PRICE], embedding_sizes={"shop": 7})
    shapes = [task.model.get_layer("features").get_layer(f"embedding_{n}").embeddings.shape for n in (0, 1)]
    assert shapes == [(5, embedding_size(5)), (22, 7)]


def test_groups_go_from_the_embeddings_to_the_head():
    task = tabular_model(TABLE, [PRICE], hidden=[8, 4])
    assert [group.name for group in task.groups] == ["embeddings", "numbers", "trunk", "head"]
    assert all(group.trainable for group in task.groups)
    assert task.features.output_shape == (None, 4)
    assert task.model.output_shape == (None, 1)
    plain = tabular_model(TABLE, [PRICE], batch_norm=False)
    assert [group.name for group in plain.groups] == ["embeddings", "trunk", "head"]


@pytest.mark.parametrize("columns", [(COLOUR,), (SIZE,), (COLOUR, SHOP), (Continuous("x", "x"),)])
def test_tables_of_categories_or_numbers_alone(columns):
    table = TablePreprocessing(columns)
    task = tabular_model(table, [KIND], dropout=0.1, embedding_dropout=0.1)
    assert task.model(np.zeros((3, table.width), np.float32)).shape == (3, 3)


def test_a_category_changes_the_answer_only_through_its_own_row():
    task = tabular_model(TABLE, [PRICE])
    head = task.head.get_layer("logits")
    head.kernel.assign(np.random.default_rng(0).normal(size=head.kernel.shape))
    before = task.model(ROWS, training=False).numpy()
    layer = task.features.get_layer("embedding_1")
    weights = layer.embeddings.numpy()
    weights[5] += 1.0
    layer.embeddings.assign(weights)
    changed = np.abs(task.model(ROWS, training=False).numpy() - before)[:, 0] > 1e-6
    np.testing.assert_array_equal(changed, [True, False, False, False])


def test_the_same_seed_gives_the_same_network():
    one, two, other = (tabular_model(TABLE, [PRICE], seed=seed, dropout=0.2) for seed in (3, 3, 4))
    for a, b in zip(one.model.weights, two.model.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [task.features.get_layer("dense_1").kernel.numpy() for task in (one, other)]
    assert not np.array_equal(*kernels)


def test_several_targets_share_the_network_and_add_up_their_losses():
    objective = Objective([PRICE, dataclasses.replace(KIND, weight=0.5)])
    assert objective.name == "several"
    assert Objective([PRICE, KIND]).output_names == ("price", "kind=a", "kind=b", "kind=c")
    labels = np.array([[14.0, 2], [10.0, 0]], np.float32)
    targets = objective.encode(labels)
    np.testing.assert_array_equal(targets, [[2, 0, 0, 1], [0, 1, 0, 0]])
    outputs = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0]], np.float32)
    expected = np.mean([1.0, 0.0]) + 0.5 * np.mean([np.log(3), np.log(1 + 2 * np.exp(-3))])
    assert float(objective.loss()(targets, outputs)) == pytest.approx(expected, rel=1e-5)
    answers = objective.probabilities(tf.constant(outputs)).numpy()
    np.testing.assert_allclose(answers[:, 0], [12.0, 10.0])
    np.testing.assert_allclose(answers[:, 1:].sum(axis=1), 1, rtol=1e-6)


def test_one_classification_keeps_the_objective_that_all_classifiers_have():
    assert Objective([KIND]).name == "single_label"
    assert Objective([MultiLabel("kind", KIND.class_names)]).is_multi_label
    assert Objective([KIND]).output_names == ("a", "b", "c")


def test_an_ensemble_averages_values_and_probabilities():
    task = tabular_model(TABLE, [PRICE, KIND], hidden=[6])
    rng = np.random.default_rng(0)
    members = [
        [w.numpy() + rng.normal(0, 0.3, w.shape).astype(w.dtype) ** 2 for w in task.model.variables] for _ in range(3)
    ]
    answers = []
    for member in members:
        for variable, value in zip(task.model.variables, member, strict=True):
            variable.assign(value)
        answers.append(task.objective.probabilities(task.model(ROWS, training=False)).numpy())
    together = ensemble(task, members)
    got = together.objective.probabilities(together.model(ROWS, training=False)).numpy()
    np.testing.assert_allclose(got, np.mean(answers, axis=0), rtol=1e-4, atol=1e-5)


def test_embeddings_of_another_project_are_taken_over_by_value_and_frozen():
    vectors = {"red": np.full(3, 1.0), "blue": np.full(3, 3.0), "mauve": np.full(3, 5.0)}
    task = tabular_model(TABLE, [PRICE], embedding_sizes={"colour": 3}, start_from={"colour": vectors})
    weights = task.features.get_layer("embedding_0").embeddings.numpy()
    np.testing.assert_allclose(weights[2], 1.0)
    np.testing.assert_allclose(weights[4], 3.0)
    np.testing.assert_allclose(weights[[0, 1, 3]], 3.0)  # the mean of all that were given
    assert [group.trainable for group in task.groups] == [False, True, True, True]


def test_it_is_saved_and_loaded_as_a_plain_keras_model(tmp_path):
    task = tabular_model(TABLE, [PRICE, KIND], dropout=0.1)
    task.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(ROWS, training=False), task.model(ROWS, training=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": []}, "hidden"),
        ({"hidden": [0]}, "hidden"),
        ({"hidden": 5}, "hidden"),
        (
            {"dropout": [0.1]},
            "one for each",
        ),
        ({"dropout": 1.0}, "dropout"),
        ({"embedding_dropout": -0.1}, "dropout"),
        ({"embedding_sizes": {"color": 3}}, "colour"),
        ({"embedding_sizes": {"colour": 0}}, "embedding size of colour"),
        ({"start_from": {"flavour": {}}}, "start_from"),
        ({"start_from": {"colour": {"red": np.zeros(9)}}}, "another width"),
    ],
)
def test_unusable_arguments_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        tabular_model(TABLE, [PRICE], **options)


@pytest.mark.parametrize("target", [PRICE, KIND])
def test_a_weight_of_a_single_target_is_refused(target):
    with pytest.raises(ConfigError, match=f"weight of {target.name} needs several targets; received: 0.5"):
        tabular_model(TABLE, [dataclasses.replace(target, weight=0.5)])


def test_labels_are_smoothed_only_where_there_are_classes():
    for targets in ([PRICE], [PRICE, dataclasses.replace(PRICE, name="rent")]):
        with pytest.raises(ConfigError, match=r"label_smoothing needs a classification target.*received: 0\.1"):
            Objective(targets).loss(0.1)
        Objective(targets).loss(0.0)
    objective = Objective([PRICE, KIND])
    targets, outputs = np.array([[0.0, 1, 0, 0]], np.float32), np.array([[0.0, 9, 0, 0]], np.float32)
    assert float(objective.loss(0.1)(targets, outputs)) > 0.1 > float(objective.loss()(targets, outputs))


def test_a_learner_of_a_regression_refuses_label_smoothing_before_training():
    frame = pd.DataFrame({"size": np.arange(40.0) + 0.5, "price": np.arange(40.0) % 7 + 0.25})
    data = table_from_file(frame, "price", kinds={"size": "continuous"}, batch_size=8)
    task = tabular_model(data.preprocessing, data.targets, hidden=[4])
    with pytest.raises(ConfigError, match="label_smoothing needs a classification target"):
        Learner(task, data, label_smoothing=0.1)


def test_targets_that_do_not_go_together_are_refused():
    labels = MultiLabel("kind", KIND.class_names)
    for targets in ([], [PRICE, labels], [labels, KIND]):
        with pytest.raises(ConfigError):
            Objective(targets)
