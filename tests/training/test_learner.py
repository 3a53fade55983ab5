from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from photos import read_once, write_folder
from tiny import tiny_task

import tlkit
from tlkit.errors import ConfigError, TrainingError

CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"), dict.fromkeys(CLASSES, 12))


def load(folder, **options):
    return read_once(folder, **{"size": 32, "batch_size": 8, "val_fraction": 0.3, **options})


@pytest.fixture(scope="module")
def untrained(folder):
    """A Learner that no test may train."""
    return tlkit.Learner(frozen_task(), load(folder))


def values(task):
    return {variable.path: np.asarray(variable) for variable in task.model.variables}


def frozen_task(**options):
    task = tiny_task(CLASSES, **options)
    task.freeze_to(-1)
    return task


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_a_frozen_fit_learns_and_changes_the_head_alone(folder):
    learn = tlkit.Learner(frozen_task(), load(folder, augment="side_on"))
    before = values(learn.task)
    history = learn.fit(12, 0.5)
    after = values(learn.task)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {name for name in changed if "seed" not in name} == {"logits/kernel", "logits/bias"}
    assert len(history["loss"]) == len(history["val_accuracy"]) == 12
    assert history["val_accuracy"][-1] > 0.8
    assert learn.evaluate().accuracy == pytest.approx(history["val_accuracy"][-1])
    assert learn.evaluate().loss == pytest.approx(history["val_loss"][-1], abs=1e-4)


@pytest.mark.slow
def test_features_are_computed_once_while_frozen_and_anew_after_unfreezing(folder, monkeypatch):
    from tlkit.training import features

    learn = tlkit.Learner(frozen_task(), load(folder))
    ran = []
    original = features.collect
    monkeypatch.setattr(features, "collect", lambda forward, data: ran.append(1) or original(forward, data))
    learn.find_lr(steps=10)
    learn.fit(2, 0.01)
    history = learn.fit(2, 0.01)
    assert learn.evaluate().loss == pytest.approx(history["val_loss"][-1], abs=1e-5)
    assert len(ran) == 2  # training and validation photos
    learn.unfreeze()
    learn.fit(1, 0.01)
    learn.freeze()
    history = learn.fit(1, 0.01)
    assert len(ran) == 4
    learn.task.backbone.get_layer("stem").kernel.assign(learn.task.backbone.get_layer("stem").kernel * 0)
    assert abs(learn.evaluate().loss - history["val_loss"][-1]) > 1e-3  # weights changed by hand count too


def test_training_the_head_on_features_equals_training_it_in_place(folder):
    def train(precompute):
        task = frozen_task()
        for layer in task.head.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        learn = tlkit.Learner(task, load(folder))
        learn.fit(2, 0.01, schedule="constant", precompute=precompute)
        return values(task)["logits/kernel"]

    np.testing.assert_allclose(train(True), train(False), atol=2e-5)


def test_unfreezing_trains_everything_and_freeze_to_stops_where_told(folder):
    learn = tlkit.Learner(frozen_task(), load(folder))
    learn.unfreeze()
    before = values(learn.task)
    learn.fit(1, 0.01)
    assert not np.array_equal(before["stem/kernel"], values(learn.task)["stem/kernel"])
    learn.freeze_to(1)
    before = values(learn.task)
    learn.fit(1, 0.01)
    assert np.array_equal(before["stem/kernel"], values(learn.task)["stem/kernel"])
    assert not np.array_equal(before["logits/kernel"], values(learn.task)["logits/kernel"])
    with pytest.raises(ConfigError, match="unknown layer group; received: 7; allowed: 0 stem, 1 head"):
        learn.freeze_to(7)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(folder):
    def train(seed):
        learn = tlkit.Learner(frozen_task(), load(folder, augment="side_on", seed=seed))
        learn.unfreeze()
        learn.fit(2, 0.01)
        return values(learn.task)

    one, again, other = train(1), train(1), train(2)
    # Seeds are numbered through over the whole process, so that their names differ.
    assert all(np.array_equal(a, b) for a, b in zip(one.values(), again.values(), strict=True))
    assert not np.allclose(one["logits/kernel"], other["logits/kernel"], atol=1e-4)


@pytest.mark.slow
def test_one_cycle_rises_to_the_rate_and_falls_to_zero(folder):
    rates = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    learn = tlkit.Learner(frozen_task(), load(folder))
    learn.fit(4, 0.02, precompute=False, callbacks=[Watch()])
    total = 4 * learn.data.steps_per_epoch
    assert len(rates) == total
    assert max(rates) == pytest.approx(0.02)
    assert np.argmax(rates) == total // 4
    assert rates[0] == pytest.approx(0.02 / 25)
    assert rates[-1] < 0.02 * 0.1
    rates.clear()
    learn.fit(1, 0.02, precompute=False, schedule="constant", callbacks=[Watch()])
    assert rates == pytest.approx([0.02] * learn.data.steps_per_epoch)


def test_find_lr_leaves_no_trace(folder):
    learn = tlkit.Learner(frozen_task(), load(folder, augment="side_on"))
    for unfrozen in (False, True):
        if unfrozen:
            learn.unfreeze()
        before = values(learn.task)
        found = learn.find_lr(start=1e-5, end=1.0, steps=40)
        assert same(before, values(learn.task))
        assert 1e-5 < found.suggestion < 1.0
        assert np.all(np.diff(found.rates) > 0)


def test_find_lr_leaves_no_trace_after_an_interruption(folder, monkeypatch):
    learn = tlkit.Learner(frozen_task(), load(folder))
    before = values(learn.task)
    calls = []

    class Stops(keras.losses.CategoricalCrossentropy):
        def __call__(self, *args, **kwargs):
            calls.append(1)
            value = super().__call__(*args, **kwargs)
            if len(calls) > 6:
                raise KeyboardInterrupt
            return value

    tf.config.run_functions_eagerly(True)
    try:
        learn._run.engine.loss = Stops(from_logits=True)
        with pytest.raises(KeyboardInterrupt):
            learn.find_lr(steps=20)
    finally:
        tf.config.run_functions_eagerly(False)
    assert len(calls) == 7
    assert same(before, values(learn.task))


def run_script(learn):
    """What a user's train.py does."""
    lr = learn.find_lr(steps=12).suggestion
    learn.fit(3, lr)
    learn.unfreeze()
    learn.fit(3, lr / 10)
    learn.finish()


class StopAfter(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def interrupted(learn, call, epoch):
    """Run the script but stop in fit number `call` when `epoch` begins."""
    fit, count = learn.fit, []

    def wrapped(*args, **kwargs):
        count.append(1)
        if len(count) == call:
            kwargs["callbacks"] = [StopAfter(epoch)]
        return fit(*args, **kwargs)

    learn.fit = wrapped
    with pytest.raises(KeyboardInterrupt):
        run_script(learn)


ALSO = [pytest.param(*case, marks=pytest.mark.real) for case in ((1, 0), (1, 2), (2, 0))]  # minutes for the same rule


@pytest.mark.parametrize(("call", "epoch"), [(2, 1), *ALSO])
@pytest.mark.real
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(folder, tmp_path, call, epoch):
    options = {"augment": "side_on"}
    whole = tlkit.Learner(frozen_task(), load(folder, **options), directory=tmp_path / "whole")
    run_script(whole)
    interrupted(tlkit.Learner(frozen_task(), load(folder, **options), directory=tmp_path / "run"), call, epoch)
    # Another process would start from fresh, different weights.
    resumed = tlkit.Learner(frozen_task(seed=9), load(folder, **options), directory=tmp_path / "run", resume=True)
    run_script(resumed)
    # The history proves that every epoch saw the same batches with the same weights, optimizer and learning rate.
    for one, other in zip(whole.history, resumed.history, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    a, b = values(whole.task), values(resumed.task)
    assert all(np.array_equal(x, y) for x, y in zip(a.values(), b.values(), strict=True))
    assert whole.recorder.losses == resumed.recorder.losses


@pytest.mark.slow
def test_finish_keeps_the_best_epoch(folder, tmp_path):
    learn = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run")
    history = learn.fit(8, 0.5)
    learn.fit(2, 300.0, schedule="constant")  # ruins it
    ruined = learn.evaluate().loss
    learn.finish()
    assert learn.evaluate().loss < ruined
    assert learn.evaluate().accuracy == pytest.approx(max(history["val_accuracy"]))
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.suffix == ".h5") == ["best.weights.h5"]
    other = tlkit.Learner(frozen_task(seed=5), load(folder), directory=tmp_path / "run")
    other.load_best()
    assert other.evaluate().loss == pytest.approx(learn.evaluate().loss)


@pytest.mark.real
def test_a_run_leaves_no_stray_files(folder, tmp_path):
    learn = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run")
    run_script(learn)
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["best.weights.h5", "run.json"]
    again = tlkit.Learner(frozen_task(seed=4), load(folder), directory=tmp_path / "run", resume=True)
    run_script(again)  # nothing is left to do
    assert again.evaluate().loss == pytest.approx(learn.evaluate().loss)


@pytest.mark.slow
def test_a_finished_run_that_is_resumed_goes_on_with_what_it_kept(folder, tmp_path):
    learn = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run")
    learn.fit(4, 0.5)
    learn.finish()
    again = tlkit.Learner(frozen_task(seed=4), load(folder), directory=tmp_path / "run", resume=True)
    again.fit(4, 0.5)
    assert again.evaluate().loss == pytest.approx(learn.evaluate().loss)
    learn.fit(1, 1e-6)
    again.fit(1, 1e-6)  # not from untrained weights
    assert again.evaluate().loss == pytest.approx(learn.evaluate().loss, rel=1e-3)


@pytest.mark.slow
def test_beginning_anew_keeps_an_unfinished_run(folder, tmp_path, caplog):
    first = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run")
    history = first.fit(2, 0.1)
    second = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run")
    second.fit(1, 0.2)
    assert "the unfinished run is kept in" in caplog.text
    old = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run" / "interrupted", resume=True)
    assert old.fit(2, 0.1) == history
    second.finish()
    third = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run")
    third.fit(1, 0.3)  # over a finished run: nothing to keep
    assert old.fit(1, 0.1)  # the one set aside is still whole


def test_the_best_weights_stay_loaded_in_a_resumed_run(folder, tmp_path):
    learn = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run")
    learn.fit(8, 0.5)
    learn.fit(2, 300.0, schedule="constant")
    resumed = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run", resume=True)
    resumed.load_best()
    assert resumed.evaluate().loss < learn.evaluate().loss


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: {"data": load(folder, seed=4)}, "the run to resume used another (data|seed)"),
        pytest.param(
            lambda folder: {"task": frozen_task(size=48), "data": load(folder, size=48)},
            "used another preprocessing",
            marks=pytest.mark.real,
        ),
        pytest.param(
            lambda folder: {"lr": 0.5}, "the run to resume made another call at this point", marks=pytest.mark.real
        ),
    ],
)
def test_resuming_something_else_is_an_error(folder, tmp_path, change, message):
    interrupted_run = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run")
    interrupted_run.fit(1, 0.1)
    what = {"task": frozen_task(), "data": load(folder), "lr": 0.1, **change(folder)}
    with pytest.raises(TrainingError, match=message):
        tlkit.Learner(what["task"], what["data"], directory=tmp_path / "run", resume=True).fit(1, what["lr"])


def test_resuming_nothing_is_an_error(folder, tmp_path):
    with pytest.raises(TrainingError, match="no interrupted run to resume"):
        tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "none", resume=True)
    with pytest.raises(TrainingError, match="no trained weights found"):
        tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "none").load_best()
    with pytest.raises(ConfigError, match="resume needs directory="):
        tlkit.Learner(frozen_task(), load(folder), resume=True)


def test_a_full_disk_keeps_the_last_checkpoint(folder, tmp_path, monkeypatch):
    learn = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run")
    learn.fit(2, 0.05)
    files = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    real = os.fsync

    def full(descriptor):
        if full.armed:
            raise OSError(28, "No space left on device")
        return real(descriptor)

    full.armed = True
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TrainingError, match="cannot be written: No space left on device"):
        learn.fit(2, 0.05)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == files
    full.armed = False
    resumed = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run", resume=True)
    resumed.fit(2, 0.05)
    assert resumed.evaluate().accuracy == pytest.approx(learn.history[0]["val_accuracy"][-1])


@pytest.mark.real  # test_resume_exact.py holds the same rule, bit for bit
def test_a_killed_process_leaves_a_run_that_resumes(folder, tmp_path):
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import keras, tlkit
from tiny import tiny_task
task = tiny_task({CLASSES!r}); task.freeze_to(-1)
data = tlkit.images_from_folder({str(folder)!r}, size=32, batch_size=8, val_fraction=0.3)
class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2: os.kill(os.getpid(), signal.SIGKILL)
tlkit.Learner(task, data, directory={str(tmp_path / "run")!r}).fit(4, 0.05, callbacks=[Kill()])
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == -9
    whole = tlkit.Learner(frozen_task(), load(folder))
    whole.fit(4, 0.05)
    resumed = tlkit.Learner(frozen_task(seed=3), load(folder), directory=tmp_path / "run", resume=True)
    history = resumed.fit(4, 0.05)
    np.testing.assert_array_equal(history["loss"], whole.history[0]["loss"])


def test_a_loss_that_is_not_finite_stops_with_a_reason_and_goes_back(folder, tmp_path):
    learn = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run")
    learn.fit(1, 0.01)
    learn.unfreeze()
    before, moments = values(learn.task), learn._run.engine.optimizer_arrays()
    with pytest.raises(TrainingError, match="no longer finite; received: 1e\\+30; .*of the last valid epoch"):
        learn.fit(4, 1e30, schedule="constant")
    assert same(before, values(learn.task))
    assert all(np.all(np.isfinite(array)) for array in learn._run.engine.optimizer_arrays()[: len(moments) - 2])
    assert np.all(np.isfinite(learn.fit(1, 0.01)["loss"]))
    with pytest.raises(TrainingError, match="no valid weights were saved"):
        tlkit.Learner(frozen_task(), load(folder)).fit(4, 1e38, schedule="constant", precompute=False)


def test_the_trained_model_is_a_keras_model_that_saves_loads_and_copies(folder, tmp_path):
    learn = tlkit.Learner(frozen_task(), load(folder, augment="side_on"))
    learn.fit(2, 0.05, verbose=False)  # compiles the head as well
    learn.unfreeze()
    learn.fit(2, [0.001, 0.01], cycle_len=1, snapshots=True, verbose=False)
    model = learn.task.model
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is keras.optimizers.AdamW
    pixels = next(iter(learn.data.ordered("val")))[0]
    np.testing.assert_allclose(loaded(pixels), model(pixels), atol=1e-6)
    loaded.fit(learn.data.epoch(0), verbose=0)
    ensemble = learn.ensemble()
    members = []
    for weights in learn.snapshots.load():
        for variable, value in zip(model.variables, weights, strict=True):
            variable.assign(value)
        members.append(keras.ops.softmax(model(pixels)))
    np.testing.assert_allclose(keras.ops.softmax(ensemble.task.model(pixels)), np.mean(members, axis=0), atol=1e-6)


def test_an_unfinished_run_is_set_aside_with_its_snapshots(folder, tmp_path):
    for _ in range(2):
        learn = tlkit.Learner(frozen_task(), load(folder), directory=tmp_path / "run")
        learn.fit(2, 0.01, cycle_len=1, snapshots=True)
    for place in (tmp_path / "run", tmp_path / "run" / "interrupted"):
        assert sorted(path.name for path in (place / "snapshots").iterdir()) == ["0-1.npz", "0-2.npz"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.1), "epochs must be a whole number, 1 or more; received: 0"),
        ((1.5, 0.1), "epochs must be a whole number, 1 or more; received: 1.5"),
        ((1, 0), "the learning rate must be a number above 0; received: 0"),
        ((1, -0.1), "the learning rate must be a number above 0; received: -0.1"),
        ((1, float("nan")), "the learning rate must be a number above 0; received: nan"),
    ],
)
def test_unusable_arguments_are_named(untrained, arguments, message):
    with pytest.raises(ConfigError, match=message):
        untrained.fit(*arguments)
    assert untrained.history == []


def test_an_accumulation_without_an_update_is_refused_before_anything_is_trained(folder, caplog):
    task, data = frozen_task(), load(folder)
    before = values(task)
    learn = tlkit.Learner(task, data, accumulate=2 * data.steps_per_epoch + 1)
    with pytest.raises(ConfigError, match=r"accumulate is larger than the training.*from 1 to 8; lower accumulate"):
        learn.fit(2, 0.1)
    for epochs, frozen_epochs in ((1, 3), (3, 1)):
        with pytest.raises(ConfigError, match="accumulate is larger than the training"):
            learn.fine_tune(epochs, frozen_epochs=frozen_epochs)
    own = tlkit.Learner(task, data, optimizer=lambda rate: keras.optimizers.SGD(rate, gradient_accumulation_steps=9))
    with pytest.raises(ConfigError, match="accumulate is larger than the training"):
        own.fit(2, 0.1)
    assert same(before, values(task))
    with caplog.at_level("INFO", logger="tlkit"):
        learn.fit(3, 0.1)
    assert "an update after every 9 of 12 batches" in caplog.text
    assert not same(before, values(task))


def test_task_and_data_must_belong_together(folder):
    with pytest.raises(ConfigError, match="task and data have different classes"):
        tlkit.Learner(tiny_task(("a", "b")), load(folder))
    with pytest.raises(ConfigError, match="task and data have different preprocessing"):
        tlkit.Learner(frozen_task(), load(folder, size=48))
    learn = tlkit.Learner(frozen_task(), load(folder))
    learn.unfreeze()
    with pytest.raises(ConfigError, match="features can be precomputed only while the"):
        learn.fit(1, 0.1, precompute=True)


@pytest.mark.slow
def test_a_table_with_a_line_an_epoch_is_printed(folder, capsys):
    learn = tlkit.Learner(frozen_task(), load(folder))
    learn.fit(2, 0.01)
    header, first, second = capsys.readouterr().out.strip().splitlines()
    assert header.split() == ["epoch", "train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "time"]
    assert first.split()[0] == "1/2"
    assert second.split()[2] == f"{learn.history[0]['val_loss'][1]:.4f}"
    learn.fit(1, 0.01, verbose=False)
    assert capsys.readouterr().out == ""
