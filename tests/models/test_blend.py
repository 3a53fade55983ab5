"""Boosting alone and blends: shares, held-out rows, and a task that a Learner trains, keeps, loads and exports."""

from __future__ import annotations

import dataclasses
import logging
import types

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tiny_table

from tlkit.callbacks.time_budget import TimeBudget
from tlkit.config import load_config
from tlkit.errors import ConfigError, ModelError, TrainingError
from tlkit.export.saved_model import export_task
from tlkit.inputs.row.reading import table_from_file
from tlkit.models.ensemble import ensemble
from tlkit.targets.survival_columns import SurvivalColumns
from tlkit.tasks.tabular import boosted
from tlkit.tasks.tabular.blend import add_trees, restored_trees, set_shares, shares_of, tree_shape_of
from tlkit.tasks.tabular.blend_shares import _answered, _held_out, find_shares, fits_for
from tlkit.tasks.tabular.boosted import facts_of, with_boosting
from tlkit.tasks.tabular.embedding_tables import embedding_tables
from tlkit.tasks.tabular.model import tabular_model
from tlkit.tasks.tabular.report import _answers_of_parts
from tlkit.tasks.tabular.tree_fit import BoostingOptions, fit_trees
from tlkit.tasks.tabular.validate_network import ValidateNetwork
from tlkit.training.learner import Learner

OPTIONS = BoostingOptions(iterations=30)
KINDS = {"rooms": "categorical", "rent in €": "ignore", "sold": "ignore", "tags": "ignore"}


@pytest.fixture(scope="module")
def data():
    return table_from_file(tiny_table.tiny_frame(240), "price", kinds=KINDS, transform="log", batch_size=32)


def network(data, seed=0):
    return tabular_model(data.preprocessing, data.targets, hidden=(8, 6), seed=seed)


def trained(data, folder):
    learn = Learner(network(data), data, directory=folder)
    learn.fit(1, 1e-2, verbose=False)
    return learn.finish().task


@pytest.fixture(scope="module")
def trees(data):
    true = data.targets[0].forward(data.labels("train")[:, 0])
    task = network(data)
    return fit_trees(data.encoded("train"), true, data.preprocessing, task.objective, options=OPTIONS).trees


def outputs(task, data, **more):
    return task.model(data.encoded("val"), **more).numpy()


def test_a_blend_mixes_outputs_by_its_share_and_trains_the_network_alone(data, trees):
    plain = network(data)
    plain.head.get_layer("logits").kernel.assign(np.ones((6, 1)))
    own = outputs(plain, data, training=False)
    task = add_trees(plain, trees, [0.25])
    of_trees = task.features(data.encoded("val"), training=False).numpy()[:, 6:]
    assert of_trees.std() > 0.3
    np.testing.assert_allclose(outputs(task, data, training=False), 0.75 * own + 0.25 * of_trees, rtol=1e-5, atol=1e-6)
    assert shares_of(task) == {"price": 0.25}
    set_shares(task, [1.0])
    np.testing.assert_allclose(outputs(task, data, training=False), of_trees, rtol=1e-6)
    task.freeze_to(0)
    assert {v.path for v in task.model.trainable_variables} == {v.path for v in plain.model.trainable_variables}
    assert [group.name for group in task.groups] == [group.name for group in plain.groups]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(task.model(data.encoded("val"), training=True))
    assert all(gradient is not None for gradient in tape.gradient(loss, [v.value for v in task.groups[-1].variables]))


def test_the_embedding_of_a_blend_is_the_network_s(data, trees):
    plain = network(data)
    task = add_trees(plain, trees, [0.5])
    rows = data.encoded("val")
    np.testing.assert_array_equal(task.embedded(task.features(rows)), plain.features(rows))
    np.testing.assert_allclose(task.head(task.features(rows)), task.model(rows), atol=1e-6)


@pytest.mark.parametrize("shares", [[], [0.5, 0.5], [1.5], [-0.1], [float("nan")]])
def test_shares_that_are_none_are_refused(data, trees, shares):
    with pytest.raises(ConfigError, match="the shares of boosted trees are invalid"):
        add_trees(network(data), trees, shares)


def test_trees_of_other_targets_are_refused(data, trees):
    other = tiny_table.tiny_table_task("several", preprocessing=data.preprocessing)
    with pytest.raises(
        ConfigError, match=r"of other targets; received: '1 outputs'; allowed: '?5: rent in €, sold, price"
    ):
        add_trees(other, trees)


@pytest.mark.slow
def test_the_share_follows_what_answers_better_on_rows_held_out(data):
    task = network(data)
    bad = find_shares(task, data, lambda part, folder: noisy(part), options=OPTIONS)
    assert bad.shares["price"] > 0.9
    assert (bad.rows, bad.parts) == (len(data.labels("train")), 3)
    network_loss, trees_loss, blend_loss = bad.losses["price"]
    assert blend_loss <= trees_loss < network_loss
    assert "boosted trees" in str(bad)
    seen = []
    perfect = find_shares(task, data, lambda part, folder: oracle(part, data, seen), options=OPTIONS)
    assert perfect.shares["price"] < 0.1
    every = len(data.labels("train"))
    assert all(0.6 * every < rows < 0.75 * every for rows in seen)


def noisy(part):
    task = network(part)
    task.head.get_layer("logits").kernel.assign(np.full((6, 1), 50.0))
    return task


def oracle(part, data, seen):
    """Give a model that knows the answer of every row by its inputs."""
    seen.append(len(part.labels("train")))
    rows, values = data.encoded("train"), data.targets[0].forward(data.labels("train")[:, 0])

    def model(asked, training=False):
        near = tf.argmin(tf.reduce_sum((asked[:, None] - rows[None]) ** 2, axis=-1), axis=1)
        return tf.gather(tf.constant(values), near)

    return dataclasses.replace(network(part), model=model)


def test_answers_of_several_networks_need_no_warning_of_tensorflow(data):
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    model, rows = network(data).model, data.encoded("val")
    tf.get_logger().addHandler(handler)
    try:
        for _ in range(6):
            assert _answered(model, rows).shape == (len(rows), 1)
    finally:
        tf.get_logger().removeHandler(handler)
    assert said == []


def test_the_newest_rows_are_held_out_and_groups_stay_together():
    frame = tiny_table.tiny_frame(200).assign(day=pd.date_range("2020-01-01", periods=200).strftime("%Y-%m-%d"))
    frame["street"] = np.arange(200) // 10
    frame = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    timed = table_from_file(frame, "price", kinds=KINDS | {"street": "ignore"}, time_column="day")
    (held,) = _held_out(timed, timed.encoded("train"), "day", None, {})
    days = timed.frame("train")["day"].to_numpy()
    assert days[held].min() > np.delete(days, held).max()
    assert len(held) == len(days) // 5
    grouped = table_from_file(frame, "price", kinds=KINDS | {"day": "ignore"}, group_column="street")
    parts = _held_out(grouped, grouped.encoded("train"), None, "street", {})
    streets = grouped.frame("train")["street"].to_numpy()
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(streets)))
    assert all(set(streets[part]).isdisjoint(np.delete(streets, part)) for part in parts)


def test_with_too_few_rows_both_parts_count_the_same(data, caplog):
    with caplog.at_level(logging.WARNING, "tlkit"):
        found = find_shares(network(data), data.part(np.arange(12)), trained, options=OPTIONS)
    assert (found.shares, found.parts) == ({"price": 0.5}, 0)
    assert "12 training rows are too few to weigh a blend by" in caplog.text
    assert str(found) == "blend: half boosted trees, half network"


def test_a_part_of_a_table_has_its_training_rows_alone(data):
    rows = np.array([3, 5, 90])
    part = data.part(rows)
    np.testing.assert_array_equal(part.encoded("train"), data.encoded("train")[rows])
    np.testing.assert_array_equal(part.labels("train"), data.labels("train")[rows])
    assert part.frame("train").index.tolist() == data.frame("train").index[rows].tolist()
    assert len(part.labels("val")) == len(data.labels("val"))
    assert part.fingerprint() != data.fingerprint()
    shown = np.concatenate([x.numpy() for x, _ in part.epoch(0)])
    assert len(shown) == 3
    assert (part.steps_per_epoch, data.steps_per_epoch) == (1, 6)


def test_a_run_of_a_blend_is_kept_loaded_and_resumed(data, tmp_path, monkeypatch):
    task = with_boosting(network(data), data, train=trained, options=OPTIONS, directory=tmp_path)
    learn = Learner(task, data, directory=tmp_path)
    learn.fit(2, 1e-2, verbose=False)
    learn.finish()
    expected = learn.logits("val")
    facts = facts_of(task)
    assert facts["boosting"]["kind"] == "blend"
    assert facts["embedding_sizes"] == facts_of(network(data))["embedding_sizes"]
    other = Learner(restored_trees(network(data, seed=5), facts["boosting"]), data, directory=tmp_path)
    other.load_best()
    np.testing.assert_array_equal(other.logits("val"), expected)
    assert shares_of(other.task) == shares_of(task)
    # Trees that were kept are taken, and what training did before is replayed.
    monkeypatch.setattr(boosted, "fit_trees", None)
    again = with_boosting(network(data), data, train=trained, options=OPTIONS, directory=tmp_path, resume=True)
    resumed = Learner(again, data, directory=tmp_path, resume=True)
    assert resumed.fit(2, 1e-2, verbose=False) == learn.history[0]
    np.testing.assert_array_equal(resumed.finish().logits("val"), expected)
    with pytest.raises(TypeError):  # other options: they are fitted anew
        with_boosting(
            network(data), data, "boosting", options=BoostingOptions(iterations=5), directory=tmp_path, resume=True
        )
    (tmp_path / boosted.FILE).write_bytes(b"PK broken")
    with pytest.raises(TrainingError, match="the boosted trees cannot be read"):
        with_boosting(network(data), data, train=trained, options=OPTIONS, directory=tmp_path, resume=True)


@pytest.mark.slow
def test_the_report_compares_a_blend_with_its_parts(data, trees, tmp_path):
    task = add_trees(network(data), trees, [0.25])
    learn = Learner(task, data)
    before = learn.logits("val")
    found = _answers_of_parts(learn, "val")
    assert list(found) == ["network of the blend", "trees of the blend"]
    alone = add_trees(network(data), trees, [1.0])
    expected = alone.objective.probabilities(outputs(alone, data, training=False)).numpy()
    np.testing.assert_allclose(found["trees of the blend"], expected, rtol=1e-5)
    np.testing.assert_array_equal(learn.logits("val"), before)
    assert shares_of(task) == {"price": 0.25}
    page = learn.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("network of the blend", "trees of the blend", "boosting on raw columns"))
    boosting = boosted.trees_alone(task.objective, data.preprocessing, trees)
    assert "boosting in the model" in Learner(boosting, data).report(tmp_path / "b.html").read_text(encoding="utf-8")


def test_the_network_s_own_answers_choose_its_epoch(data, trees):
    task = add_trees(network(data), trees, [1.0])
    learn = Learner(task, data)
    alone = Learner(network(data), data)
    more = {"callbacks": [ValidateNetwork(task)], "verbose": False}
    assert learn.fit(2, 1e-2, **more)["val_loss"] == pytest.approx(
        alone.fit(2, 1e-2, verbose=False)["val_loss"], rel=1e-4
    )
    assert shares_of(task) == {"price": 1.0}
    ValidateNetwork(network(data)).on_test_begin()


def test_training_ends_within_its_time_and_keeps_the_best_epoch(data, tmp_path):
    now = iter(range(0, 10_000, 10))  # each look at the clock takes ten seconds
    learn = Learner(network(data), data, directory=tmp_path)
    history = learn.fit(9, 3e-2, callbacks=[TimeBudget(1, lambda: next(now))], verbose=False)
    assert len(history["loss"]) == 3
    learn.finish(keep="best")
    kept = min(history["val_loss"])
    target = data.targets[0].forward(data.labels("val")[:, 0])
    assert np.mean((learn.logits("val") - target) ** 2) == pytest.approx(kept, rel=1e-4)


@pytest.mark.parametrize(("rows", "day", "fits"), [(19, "", 0), (200, "", 3), (200, "day", 1), (5001, "", 1)])
def test_the_budget_is_shared_by_all_networks_of_a_blend(tmp_path, rows, day, fits):
    file = tmp_path / "config.toml"
    file.write_text(
        f"""
        project = {{ name = "a", task = "tabular" }}
        data = {{ path = "a.csv", targets = "y", time_column = "{day}" }}
        train = {{ budget_minutes = 8 }}
        export = {{ directory = "out" }}
        """
    )
    sized = types.SimpleNamespace(labels=lambda split: np.zeros(rows))
    for kind, expected in (("blend", 8 / (fits + 1)), ("network", 8)):
        assert load_config(file, [f"model.kind={kind}"]).minutes_for(sized) == expected
    assert fits_for(rows, bool(day)) == fits


def test_boosting_alone_has_nothing_to_train(data, tmp_path):
    task = with_boosting(network(data), data, "boosting", options=OPTIONS, directory=tmp_path)
    assert shares_of(task) == {}
    with pytest.raises(ConfigError, match="all layers are frozen"):
        Learner(task, data).fit(1, 1e-3, verbose=False)
    learn = Learner(task, data, directory=tmp_path).finish(keep="last")
    assert learn.evaluate().r2 > 0.5
    with pytest.raises(ModelError, match=r"boosted trees have no embeddings of categories; train with model\.kind = "):
        embedding_tables(task)
    facts = facts_of(task)
    assert facts["boosting"]["kind"] == "boosting"
    other = Learner(restored_trees(network(data), facts["boosting"]), data, directory=tmp_path)
    other.load_best()
    np.testing.assert_array_equal(other.logits("val"), learn.logits("val"))


def answers_along(served, data, column, count=60):
    """Return predictions for rows that differ in one column alone, float [rows, count]."""
    frame = data.frame("val").head(12)
    values = np.linspace(0.0, 160.0, count)
    asked = frame.loc[frame.index.repeat(count)].assign(**{column: np.tile(values, len(frame))})
    named = {name: tf.constant(value) for name, value in data.preprocessing.to_arguments(asked).items()}
    return served(**named)["price"].numpy().reshape(len(frame), count)


def test_the_predictions_of_an_export_are_monotonic_where_that_is_set(data, tmp_path):
    found = {}
    for name, monotonic in (("free", {}), ("held", {"area (m²)": "increasing", "distance": "decreasing"})):
        options = dataclasses.replace(OPTIONS, monotonic=monotonic)
        task = with_boosting(network(data), data, "boosting", options=options)
        path = export_task(task, tmp_path / name, golden=data.samples("val", 2))
        found[name] = tf.saved_model.load(str(path)).signatures["serving_default"]
    steps = {name: np.diff(answers_along(served, data, "area (m²)")) for name, served in found.items()}
    assert (steps["free"] < 0).any()
    assert (steps["held"] >= 0).all()
    assert (steps["held"] > 0).any()
    assert (np.diff(answers_along(found["held"], data, "distance")) <= 0).all()


def test_monotonic_constraints_that_cannot_be_kept_are_refused(data):
    def ask(**monotonic):
        return with_boosting(network(data), data, "boosting", options=dataclasses.replace(OPTIONS, monotonic=monotonic))

    with pytest.raises(ConfigError, match="names a column that is not an input; received: 'distanc'.*distance"):
        ask(distanc="increasing")
    with pytest.raises(ConfigError, match="needs a column of numbers; 'colour' has categories or dates"):
        ask(colour="increasing")
    with pytest.raises(ConfigError, match="monotonic constraint of column 'distance'"):
        ask(distance="up")
    held = dataclasses.replace(OPTIONS, monotonic={"distance": "increasing"})
    with pytest.raises(ConfigError, match="the network of a blend keeps no monotonic constraint"):
        with_boosting(network(data), data, "blend", train=trained, options=held)
    classes = tiny_table.tiny_table_task("single_label", preprocessing=data.preprocessing)
    with pytest.raises(ConfigError, match="needs a value, two classes or several labels.*3 classes"):
        fit_trees(data.encoded("train"), np.eye(3)[[0] * 192], data.preprocessing, classes.objective, options=held)


def test_trees_of_another_version_are_refused(data, trees):
    shape = dataclasses.asdict(trees.shape)
    del shape["lookups"]
    with pytest.raises(ModelError, match="trees of this training have another form.*run `tlkit train` again"):
        restored_trees(network(data), {"kind": "blend", "shape": shape})


def test_what_has_no_boosting_is_said_or_refused(data, caplog):
    plain = network(data)
    assert with_boosting(plain, data, "network") is plain
    assert with_boosting(plain, data, "tabm") is plain
    with pytest.raises(ConfigError, match="kind"):
        with_boosting(plain, data, "forest")
    with pytest.raises(ConfigError, match="a blend needs to train networks"):
        with_boosting(plain, data, "blend")
    frame = tiny_table.tiny_frame(60).assign(months=np.arange(60) + 1.0, died=np.arange(60) % 2)
    kinds = KINDS | {"price": "ignore"}
    risk = table_from_file(frame, SurvivalColumns("months", "died", "cox"), kinds=kinds)
    task = network(risk)
    with caplog.at_level(logging.WARNING, "tlkit"):
        assert with_boosting(task, risk, "blend") is task
    assert "the blend is the network alone" in caplog.text
    with pytest.raises(ConfigError, match="boosting cannot learn a survival target"):
        with_boosting(task, risk, "boosting")
    with pytest.raises(ConfigError, match="this data cannot be divided"):
        find_shares(plain, object(), trained)


def test_boosting_sees_evenly_spread_rows_of_a_large_table(data, monkeypatch, caplog):
    monkeypatch.setattr(boosted, "MOST_ROWS", 60)
    with caplog.at_level(logging.WARNING, "tlkit"):
        encoded, true, weights = boosted._training_rows(data, network(data))
    assert "boosting sees 60 of the 192 training rows" in caplog.text
    chosen = np.linspace(0, 191, 60).astype(int)
    np.testing.assert_array_equal(encoded, data.encoded("train")[chosen])
    np.testing.assert_array_equal(true, data.targets[0].forward(data.labels("train")[chosen, 0]))
    assert weights is None


def test_an_ensemble_of_blends_averages_their_networks(data, trees):
    task = add_trees(network(data), trees, [0.5])
    members = []
    for value in (0.0, 1.0):
        task.head.get_layer("head").get_layer("logits").kernel.assign(np.full((6, 1), value))
        members.append([variable.numpy() for variable in task.model.variables])
    first, second = (outputs_with(task, member, data) for member in members)
    joined = ensemble(task, members)
    np.testing.assert_allclose(outputs(joined, data, training=False), (first + second) / 2, rtol=1e-5, atol=1e-6)
    assert tree_shape_of(task) is not None


def outputs_with(task, member, data):
    for variable, value in zip(task.model.variables, member, strict=True):
        variable.assign(value)
    return outputs(task, data, training=False)


@pytest.mark.parametrize("kind", [pytest.param("boosting", marks=pytest.mark.slow), "blend"])
def test_an_export_answers_as_scikit_learn_and_keras(data, trees, kind, tmp_path):
    task = network(data)
    if kind == "boosting":
        task = boosted.trees_alone(task.objective, data.preprocessing, trees)
    else:
        task = add_trees(task, trees, [0.4])
    path = export_task(task, tmp_path / "houses", golden=data.samples("val", 4), max_batch=3)
    served = tf.saved_model.load(str(path)).signatures
    rows = data.encoded("val")
    answers = served["encoded"](encoded=tf.constant(rows))["price"].numpy()
    expected = task.objective.probabilities(task.model(rows, training=False)).numpy()[:, 0]
    np.testing.assert_allclose(answers, expected, rtol=1e-6)
    named = {name: tf.constant(value) for name, value in data.preprocessing.to_arguments(data.frame("val")).items()}
    np.testing.assert_allclose(served["serving_default"](**named)["price"].numpy(), expected, rtol=1e-6)
    embedding = served["embedding"](**named)["embedding"].numpy()
    assert embedding.shape == (len(rows), 1 if kind == "boosting" else 6)
    np.testing.assert_allclose(embedding, task.embedded(task.features(rows)), rtol=1e-5, atol=1e-5)
