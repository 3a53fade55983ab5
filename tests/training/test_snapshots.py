from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from photos import read_once, write_folder
from tiny import tiny_task

import tlkit
from tlkit.errors import ConfigError, TrainingError
from tlkit.models.frozen_statistics import FrozenStatistics
from tlkit.training.snapshots import Snapshots, average_weights, reestimate_batch_norm

CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"), dict.fromkeys(CLASSES, 12))


def data_of(folder):
    return read_once(folder, size=32, batch_size=8, val_fraction=0.3)


def line(value):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.Dropout(0.5, seed=1)])
    model.layers[0].set_weights([np.full((2, 1), value), np.full(1, -value)])
    return model


@pytest.mark.parametrize("on_disk", [False, True])
def test_snapshots_are_kept_in_order_and_the_same_name_takes_its_place(tmp_path, on_disk):
    kept = Snapshots(tmp_path / "deep" / "snapshots" if on_disk else None)
    kept.check()
    for name, value in (("0-1", 1.0), ("0-2", 2.0), ("0-1", 3.0)):
        kept.take(name, line(value))
    assert len(kept) == 2
    assert kept.names == ["0-1", "0-2"]
    assert [weights[0][0, 0] for weights in kept.load()] == [3.0, 2.0]
    assert [weights[1][0] for weights in kept.load(last=1)] == [-2.0]
    assert len(kept.load()[0]) == len(line(1.0).variables)
    if on_disk:
        assert sorted(path.name for path in (tmp_path / "deep" / "snapshots").iterdir()) == ["0-1.npz", "0-2.npz"]


def test_a_snapshot_is_a_copy():
    kept, model = Snapshots(None), line(1.0)
    kept.take("0-1", model)
    model.layers[0].kernel.assign([[5.0], [5.0]])
    assert kept.load()[0][0][0, 0] == 1.0


def test_loading_what_is_not_there_is_an_error(tmp_path):
    kept = Snapshots(tmp_path)
    with pytest.raises(ConfigError, match="no snapshots found; use fit.*snapshots=True"):
        kept.load()
    kept.take("0-1", line(1.0))
    for last in (0, 2, -1):
        with pytest.raises(ConfigError, match=f"too many snapshots requested; received: {last}; allowed: 1 to 1"):
            kept.load(last)
    (tmp_path / "0-1.npz").write_bytes(b"broken")
    with pytest.raises(TrainingError, match="a snapshot cannot be read"):
        kept.load()


def test_a_resumed_run_takes_its_snapshots_over(tmp_path):
    Snapshots(tmp_path).take("0-1", line(4.0))
    kept = Snapshots(tmp_path)
    kept.adopt(["0-1"])
    kept.adopt(["0-1"])
    assert kept.names == ["0-1"]
    assert kept.load()[0][0][0, 0] == 4.0
    with pytest.raises(TrainingError, match="a snapshot of the run to resume is missing; received: '0-2'"):
        kept.adopt(["0-2"])
    with pytest.raises(TrainingError, match="is missing"):
        Snapshots(None).adopt(["0-1"])


def test_a_directory_that_cannot_be_written_is_an_error_before_training(tmp_path, folder):
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "snapshots").write_text("a file where the folder should be")
    learn = tlkit.Learner(tiny_task(CLASSES), data_of(folder), directory=directory)
    before = learn.task.head.get_layer("logits").kernel.numpy()
    with pytest.raises(TrainingError, match="snapshots cannot be written: .*exists"):
        learn.fit(1, 0.1, cycle_len=1, snapshots=True)
    np.testing.assert_array_equal(learn.task.head.get_layer("logits").kernel.numpy(), before)
    assert not (directory / "run.json").exists()


def test_a_full_disk_leaves_no_half_snapshot(tmp_path, monkeypatch):
    kept = Snapshots(tmp_path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TrainingError, match="the snapshot cannot be written: .*No space left"):
        kept.take("0-1", line(1.0))
    assert list(tmp_path.iterdir()) == []


def test_snapshots_that_make_no_sense_are_errors(folder):
    learn = tlkit.Learner(tiny_task(CLASSES), data_of(folder))
    with pytest.raises(ConfigError, match="snapshots need cycles that end with an epoch; received: .Cyclical"):
        learn.fit(2, tlkit.schedules.Cyclical(0.01, 0.1, 5), snapshots=True)
    learn = tlkit.Learner(tiny_task(CLASSES), data_of(folder), ema=0.9)
    with pytest.raises(ConfigError, match="snapshots and running averages cannot be combined"):
        learn.fit(1, 0.1, cycle_len=1, snapshots=True)


def test_the_mean_of_weights_leaves_seeds_alone():
    model = line(0.0)
    sets = [[variable.numpy() for variable in line(value).variables] for value in (1.0, 2.0, 6.0)]
    seed = next(variable for variable in model.variables if "seed" in variable.path)
    before = seed.numpy()
    average_weights(sets, model.variables)
    np.testing.assert_array_equal(model.layers[0].kernel.numpy(), 3.0)
    np.testing.assert_array_equal(seed.numpy(), before)
    assert not np.issubdtype(before.dtype, np.floating)


def normed(trainable=True):
    keras.utils.set_random_seed(0)
    inside = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(name="kept", momentum=0.9)])
    x = pixels = keras.Input((3,))
    x = FrozenStatistics(inside)(x)
    x = keras.layers.Dropout(0.5, seed=1)(keras.layers.BatchNormalization(name="trained", momentum=0.7)(x))
    x = keras.layers.BatchNormalization(name="frozen")(x)
    model = keras.Model(pixels, x)
    model.get_layer("frozen").trainable = False
    model.get_layer("trained").trainable = trainable
    return model


def test_only_statistics_that_were_trained_are_estimated_anew_as_the_mean_of_the_batches():
    model = normed()
    numbers = np.random.default_rng(0).normal(3.0, 2.0, size=(20, 3)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((numbers, numbers)).batch(8)
    before = {variable.path: variable.numpy() for variable in model.variables}
    assert reestimate_batch_norm(model, batches) == 1
    layer = model.get_layer("trained")
    parts = [numbers[start : start + 8] / np.sqrt(1 + 1e-3) for start in (0, 8, 16)]
    np.testing.assert_allclose(layer.moving_mean, np.mean([p.mean(axis=0) for p in parts], axis=0), rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, np.mean([p.var(axis=0) for p in parts], axis=0), rtol=1e-3)
    after = {variable.path: variable.numpy() for variable in model.variables}
    changed = {path for path, value in before.items() if not np.array_equal(value, after[path])}
    assert changed == {"trained/moving_mean", "trained/moving_variance"}
    assert layer.momentum == 0.7
    assert reestimate_batch_norm(normed(trainable=False), batches) == 0


def test_an_interrupted_estimate_changes_nothing():
    model = normed()
    before = [variable.numpy() for variable in model.variables]

    def batches():
        yield (np.ones((4, 3), "float32") * np.arange(3),)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reestimate_batch_norm(model, batches())
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert model.get_layer("trained").momentum == 0.7
    assert reestimate_batch_norm(model, []) == 0


@pytest.mark.real  # takes 40 s; the pieces are tested by themselves above
def test_cycles_end_in_snapshots_that_are_averaged_and_put_together(folder, tmp_path):
    task, data = tiny_task(CLASSES), data_of(folder)
    learn = tlkit.Learner(task, data, directory=tmp_path)
    learn.fit(3, [0.005, 0.02], cycle_len=1, snapshots=True, verbose=False)
    assert learn.snapshots.names == ["0-1", "0-2", "0-3"]
    members = learn.snapshots.load()
    for array, variable in zip(members[-1], task.model.variables, strict=True):
        np.testing.assert_array_equal(array, variable.numpy())
    photos = np.concatenate([batch[0] for batch in data.ordered("val")])

    def probabilities(weights):
        for variable, array in zip(task.model.variables, weights, strict=True):
            variable.assign(array)
        return tf.nn.softmax(task.model(photos, training=False)).numpy()

    expected = np.mean([probabilities(member) for member in members[-2:]], axis=0)
    together = learn.ensemble(2)
    got = tf.nn.softmax(together.task.model(photos, training=False)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert np.abs(expected - probabilities(members[-1])).max() > 1e-4

    seen = []
    learn._run.data = type("Watched", (), {"ordered": lambda self, split: seen.append(split) or data.ordered(split)})()
    learn.swa()
    assert seen == ["train"]
    norm = task.backbone.get_layer("norm")
    statistics = {id(norm.moving_mean), id(norm.moving_variance)}
    for number, variable in enumerate(task.model.variables):
        mean = np.mean([member[number] for member in members], axis=0)
        if id(variable) in statistics:
            assert not np.allclose(variable.numpy(), mean, rtol=1e-3)
        elif "seed" not in variable.path:
            np.testing.assert_allclose(variable.numpy(), mean, atol=1e-7)
    stem = keras.Model(task.features.input, task.features.input)
    scaled = [stem(batch[0]) / 127.5 - 1.0 for batch in data.ordered("train")]
    outputs = [task.backbone.get_layer("stem")(pixels).numpy() for pixels in scaled]
    np.testing.assert_allclose(norm.moving_mean, np.mean([o.mean(axis=(0, 1, 2)) for o in outputs], axis=0), rtol=1e-3)
