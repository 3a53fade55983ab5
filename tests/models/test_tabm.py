"""TabM: members that share a network, a loss for each, and the mean of their answers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_table

from tlkit.errors import ConfigError
from tlkit.export.saved_model import export_task
from tlkit.inputs.row.reading import table_from_file
from tlkit.models.ensemble import ensemble
from tlkit.targets.objective import Objective
from tlkit.targets.survival import Survival
from tlkit.tasks.tabular.blend import add_trees
from tlkit.tasks.tabular.boosted import facts_of
from tlkit.tasks.tabular.members import SharedDense
from tlkit.tasks.tabular.model import tabular_model
from tlkit.tasks.tabular.trees import TreeShape
from tlkit.training.learner import Learner

MEMBERS = 4
TABLE = tiny_table.tiny_preprocessing()
ROWS = TABLE.encode_frame(tiny_table.tiny_frame(24))
KINDS = ("single_label", "multi_label", "regression", "several")


def tabm(targets, members=MEMBERS, table=TABLE, **more):
    options = {"hidden": (8, 6), "dropout": 0.0, "embedding_dropout": 0.0, "seed": 3}
    task = tabular_model(table, targets, members=members, **options | more)
    draw = np.random.default_rng(0)
    logits = task.head.get_layer("logits")
    logits.kernel.assign(draw.normal(size=logits.kernel.shape))
    return task


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_the_mean_of_the_members_and_each_has_a_loss(kind):
    targets = tiny_table.tiny_targets(kind)
    task, plain = tabm(targets), Objective(targets)
    apart = task.head(task.features(ROWS, training=False), training=True).numpy()
    assert apart.shape == (24, MEMBERS, plain.width)
    assert apart.std(axis=1).min() > 1e-4
    together = task.model(ROWS, training=False)
    assert together.shape == (24, plain.width)
    assert task.model.output_shape == (None, plain.width)
    for target, own in slices(targets):
        members, mean = apart[..., own], together[..., own]
        if target.class_names:
            members, mean = target.answers(members).numpy(), target.answers(mean).numpy()
        np.testing.assert_allclose(mean, members.mean(axis=1), rtol=1e-4, atol=1e-5)
    true = labels(kind)
    members = [plain.loss()(true, apart[:, member]) for member in range(MEMBERS)]
    np.testing.assert_allclose(task.objective.loss()(true, apart), np.mean(members), rtol=1e-5)
    np.testing.assert_allclose(task.objective.loss()(true, together), plain.loss()(true, together), rtol=1e-6)


def slices(targets):
    first = 0
    for target in targets:
        yield target, slice(first, first + target.width)
        first += target.width


def labels(kind):
    frame = tiny_table.tiny_frame(24)
    sold = frame["sold"].map({name: number for number, name in enumerate(tiny_table.SOLD)}).to_numpy()
    several = np.stack([frame["rent in €"], sold, frame["price"]], axis=1).astype(float)
    several[::5, 0] = np.nan
    tags = np.stack([frame["tags"].str.contains(tag).to_numpy(float) for tag in tiny_table.TAGS], axis=1)
    values = {"single_label": sold, "multi_label": tags, "regression": frame["price"].to_numpy(), "several": several}
    return Objective(tiny_table.tiny_targets(kind)).encode(values[kind])


def test_a_member_is_a_dense_layer_of_scaled_kernels():
    layer = SharedDense(3, 5, signs=True, seed=1)
    x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    out = layer(x).numpy()
    assert set(layer.input_scale.numpy().ravel()) == {-1.0, 1.0}
    layer.output_scale.assign(np.random.default_rng(1).normal(size=(3, 5)))
    layer.bias.assign(np.random.default_rng(2).normal(size=(3, 5)))
    out = layer(x).numpy()
    for member in range(3):
        r, s, b = (v.numpy()[member] for v in (layer.input_scale, layer.output_scale, layer.bias))
        np.testing.assert_allclose(out[:, member], (x * r) @ layer.kernel.numpy() * s + b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer(np.repeat(x[:, None], 3, 1)), out, rtol=1e-5, atol=1e-6)
    assert layer.compute_output_shape((None, 4)) == (None, 3, 5)


@pytest.mark.parametrize("method", ["cox", "hazard"])
def test_risks_are_learned_by_members(method):
    frame = tiny_table.tiny_frame(24)
    times = {"times": (1.0, 2.0), "base": (-1.0, -1.0)} if method == "hazard" else {}
    target = Survival("risk", time="t", event="e", method=method, **times)
    task, plain = tabm([target]), Objective([target])
    values = np.stack([np.linspace(0.5, 3, len(frame)), np.arange(len(frame)) % 2], axis=1)
    true = plain.encode(values)
    apart = task.model(ROWS, training=True)
    members = [plain.loss()(true, apart[:, member]) for member in range(MEMBERS)]
    np.testing.assert_allclose(task.objective.loss()(true, apart), np.mean(members), rtol=1e-5)
    assert task.model(ROWS).shape == (24, target.width)


@pytest.mark.slow
def test_it_trains_with_accuracy_and_is_saved_and_copied(tmp_path):
    frame = tiny_table.tiny_frame(200)
    kinds = {"rooms": "categorical", "price": "ignore", "rent in €": "ignore", "tags": "ignore"}
    data = table_from_file(frame, "sold", kinds=kinds, batch_size=32, class_weight="balanced")
    task = tabm(data.targets, table=data.preprocessing)
    learn = Learner(task, data, directory=tmp_path, ema=0.9, steps_per_call=4)
    history = learn.fit(8, 2e-2, verbose=False)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert history["accuracy"][-1] > 0.5
    assert history["val_accuracy"][-1] == pytest.approx(learn.evaluate().accuracy)
    learn.finish()
    other = Learner(tabm(data.targets, table=data.preprocessing), data, directory=tmp_path)
    other.load_best()
    np.testing.assert_array_equal(other.logits("val"), learn.logits("val"))
    assert [group.name for group in task.groups] == ["embeddings", "numbers", "trunk", "head"]
    assert facts_of(task)["members"] == MEMBERS
    copied = ensemble(task, [[v.numpy() for v in task.model.variables]])
    np.testing.assert_allclose(copied.model(data.encoded("val")), learn.logits("val"), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_its_export_has_the_mean_in_the_graph_and_a_short_embedding(tmp_path):
    task = tabm(tiny_table.tiny_targets("several"))
    golden = TABLE.to_examples(tiny_table.tiny_frame(8))[:4]
    path = export_task(task, tmp_path / "houses", golden=golden, max_batch=3)
    served = tf.saved_model.load(str(path)).signatures
    named = {name: tf.constant(value) for name, value in TABLE.to_arguments(tiny_table.tiny_frame(24)).items()}
    expected = task.objective.probabilities(task.model(ROWS, training=False)).numpy()
    np.testing.assert_allclose(served["predictions"](**named)["predictions"], expected, rtol=1e-5)
    assert served["embedding"](**named)["embedding"].shape == (24, 6)


def test_the_embedding_is_the_mean_of_the_members_also_in_a_blend():
    task = tabm(tiny_table.tiny_targets("regression"))
    features = task.features(ROWS, training=False)
    assert features.shape == (24, MEMBERS * 6)
    mean = features.numpy().reshape(24, MEMBERS, 6).mean(axis=1)
    np.testing.assert_allclose(task.embedded(features), mean, rtol=1e-5, atol=1e-6)
    blend = add_trees(task, TreeShape(0, 0, 0, 0, 0, 0, 0, 1, 1))
    np.testing.assert_allclose(blend.embedded(blend.features(ROWS)), mean, rtol=1e-5, atol=1e-6)
    assert blend.model(ROWS, training=True).shape == (24, MEMBERS, 1)
    np.testing.assert_allclose(blend.model(ROWS), task.model(ROWS), rtol=1e-5, atol=1e-6)


def test_the_same_seed_gives_the_same_members():
    one, two, other = (tabm(tiny_table.tiny_targets("regression"), seed=seed) for seed in (3, 3, 4))
    first, second, third = (task.features.get_layer("dense_1").input_scale.numpy() for task in (one, two, other))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)
    assert len(np.unique(first, axis=0)) == MEMBERS


def test_what_members_do_not_take_is_refused():
    targets = tiny_table.tiny_targets("regression")
    for wrong in (1, -2, 257, 2.0, True):
        with pytest.raises(ConfigError, match="members is invalid; received: .*allowed: '?0, or 2 to 256"):
            tabular_model(TABLE, targets, members=wrong)
    with pytest.raises(ConfigError, match="a head of your own is for a single network"):
        tabular_model(TABLE, targets, members=4, head=lambda x, k: keras.layers.Dense(k)(x))
