"""A run that is killed at any step ends, resumed, exactly where an uninterrupted one does."""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from photos import read_once, write_folder
from tiny import tiny_task

import tlkit
from tlkit.errors import ConfigError, TrainingError
from tlkit.models.task import LayerGroup
from tlkit.training import precision

CLASSES = ("blue", "green", "red")
STEPS = 4  # of an epoch
VARIANTS = {
    "mixup, accumulation, snapshots": {"accumulate": 2, "clip_norm": 1.0},
    "averages, patience, features": {
        "ema": 0.9,
        "patience": 1,
        "optimizer": "sgd",
        "label_smoothing": 0.1,
        "clip_norm": 1.0,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"), dict.fromkeys(CLASSES, 12))


def three_groups(seed=0):
    task = tiny_task(CLASSES, seed=seed)
    stem, norm, last = task.groups[0].layers
    groups = (LayerGroup("stem", (stem, norm)), LayerGroup("last", (last,)), task.groups[1])
    task = dataclasses.replace(task, groups=groups)
    task.freeze_to(-1)
    return task


def load(folder, **options):
    return read_once(folder, **{"size": 32, "batch_size": 8, "val_fraction": 0.3, **options})


def learner(folder, directory, variant, *, resume=False, seed=0):
    data = load(folder, augment="side_on")
    learn = tlkit.Learner(three_groups(seed), data, directory=directory, resume=resume, **VARIANTS[variant])
    if "mixup" in variant:
        learn.mix(0.2)
    return learn


def script(learn, variant, *callbacks):
    """What a user's train.py does, in two stages."""
    kept = "snapshots" in variant
    options = {"callbacks": callbacks, "verbose": False}
    learn.fit(2, 0.05, precompute="features" in variant, **options)
    learn.unfreeze()
    rates = [0.05 / 9, 0.05 / 3, 0.05] if kept else [50 / 9, 50 / 3, 50]  # so high that it stops early
    learn.fit(2 if kept else 4, rates, cycle_len=1, snapshots=kept, **options)


class Kill(keras.callbacks.Callback):
    """Ends the run, Ctrl-C or SIGKILL, when it has taken some number of steps."""

    def __init__(self, step, *, hard=False):
        super().__init__()
        self.left, self.hard = step, hard

    def on_train_batch_end(self, batch, logs=None):
        if self.left == 0:
            if self.hard:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
        self.left -= 1


def state(learn):
    """All that a run leaves: weights, optimizer, history, recorded steps, snapshots."""
    kept = learn.recorder
    arrays = [variable.numpy() for variable in learn.task.model.variables] + learn._run.engine.optimizer_arrays()
    arrays += [np.array(values) for stage in learn.history for _, values in sorted(stage.items())]
    arrays += [np.array(kept.rates), np.array(kept.momentums), np.array(kept.losses)]
    snapshots = learn.snapshots.load() if len(learn.snapshots) else []
    return arrays + [array for snapshot in snapshots for array in snapshot]


def assert_same(one, other):
    assert len(one) == len(other)
    for number, (a, b) in enumerate(zip(one, other, strict=True)):
        np.testing.assert_array_equal(a, b, err_msg=str(number))


@functools.cache
def uninterrupted(folder, variant):
    learn = learner(folder, Path(tempfile.mkdtemp(prefix="tlkit-whole-")), variant)
    script(learn, variant, keras.callbacks.Callback())
    epochs = [len(stage["loss"]) for stage in learn.history]
    assert epochs[1] == 2 if "snapshots" in variant else epochs[1] < 4, epochs  # patience took epochs away
    assert learn.data.steps_per_epoch == STEPS
    assert int(learn._run._epoch) == sum(epochs) - 1  # epochs count on, so that no stage sees the batches of another
    assert len(learn.snapshots) == (2 if "snapshots" in variant else 0)
    return state(learn), sum(epochs) * STEPS


LONG = "averages, patience, features"


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=pytest.mark.real) if name == LONG else name for name in sorted(VARIANTS)]
)
@settings(
    max_examples=1,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink three trainings takes minutes
)
@example(kills=[-2])  # in the last epoch, so that the one before must be remembered
@given(kills=st.lists(st.integers(0, 99), min_size=1, max_size=2))
def test_a_run_killed_at_any_steps_ends_where_an_uninterrupted_one_does(folder, variant, kills):
    expected, total = uninterrupted(folder, variant)
    directory = Path(tempfile.mkdtemp(prefix="tlkit-killed-"))
    for number, step in enumerate(kills):
        # Another process would start from other random weights; resumed, they must not matter.
        if number and not (directory / "run.json").exists():
            break
        learn = learner(folder, directory, variant, resume=number > 0, seed=number)
        try:
            script(learn, variant, Kill(step % total))
        except KeyboardInterrupt:
            continue
        assert number  # the first one is always killed
    learn = learner(folder, directory, variant, resume=True, seed=9)
    script(learn, variant, keras.callbacks.Callback())
    assert_same(expected, state(learn))


@pytest.mark.real
def test_a_process_killed_in_the_middle_of_an_unfrozen_cycle_can_be_resumed(folder, tmp_path):
    variant = sorted(VARIANTS)[1]
    program = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parents[1]), str(Path(__file__).parent)]!r}
from pathlib import Path
import test_resume_exact as t
learn = t.learner(Path({str(folder)!r}), {str(tmp_path)!r}, {variant!r})
t.script(learn, {variant!r}, t.Kill(3 * t.STEPS + 1, hard=True))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    learn = learner(folder, tmp_path, variant, resume=True, seed=5)
    script(learn, variant, keras.callbacks.Callback())
    assert_same(uninterrupted(folder, variant)[0], state(learn))


@functools.cache
def untouched():
    """A task for Learners that are refused before they change it."""
    return three_groups()


@pytest.fixture(scope="module")
def killed(folder, tmp_path_factory):
    directory = tmp_path_factory.mktemp("killed") / "run"
    learn = tlkit.Learner(three_groups(), load(folder), directory=directory)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(2, 0.05, verbose=False, precompute=False, callbacks=[Kill(STEPS)])
    return directory


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ({}, {"optimizer": "adam"}, "used another optimizer; received: .*Adam.*allowed: .*AdamW"),
        ({}, {"optimizer": lambda rate: keras.optimizers.AdamW(rate)}, "the run to resume used another optimizer"),
        ({"augment": "side_on"}, {}, "used another augmentation"),
        ({"seed": 7}, {}, "used another (data|seed)"),
        *(
            pytest.param(*case, marks=pytest.mark.real)  # the same rule for other options
            for case in (
                (
                    {},
                    {"label_smoothing": 0.1},
                    "used another options; .*'label_smoothing': 0.1.*'label_smoothing': 0.0",
                ),
                ({}, {"clip_norm": 1.0}, "used another optimizer; .*'global_clipnorm': 1.0"),
                ({"batch_size": 4}, {}, "used another batch_size; received: 4; allowed: 8"),
                ({"val_fraction": 0.5}, {}, "used another data"),
            )
        ),
    ],
)
def test_resuming_with_something_else_names_the_difference(folder, killed, data, options, message):
    with pytest.raises(TrainingError, match=message):
        tlkit.Learner(untouched(), load(folder, **data), directory=killed, resume=True, **options)


def test_resuming_with_another_call_names_both(folder, killed):
    learn = tlkit.Learner(three_groups(), load(folder), directory=killed, resume=True)
    before = [variable.numpy() for variable in learn.task.model.variables]
    message = r"made another call at this point; received: .*max_lr=0.5.*allowed: .*max_lr=0.05"
    with pytest.raises(TrainingError, match=message):
        learn.fit(2, 0.5, precompute=False)
    assert_same(before, [variable.numpy() for variable in learn.task.model.variables])


@pytest.mark.slow
def test_after_an_error_or_ctrl_c_the_same_process_goes_on_and_can_be_resumed(folder, tmp_path):
    def script(learn, *kills):
        learn.fit(2, 0.01, precompute=False, verbose=False, callbacks=[*kills, keras.callbacks.Callback()])

    learn = tlkit.Learner(three_groups(), load(folder), directory=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3, 0.05, precompute=False, verbose=False, callbacks=[Kill(STEPS + 1)])
    with pytest.raises(KeyboardInterrupt):
        script(learn, Kill(STEPS))  # another call, ended in its turn
    assert [call.get("dropped", False) for call in learn._run.state.calls] == [True, False]
    resumed = tlkit.Learner(three_groups(seed=4), load(folder), directory=tmp_path, resume=True)
    script(resumed)
    assert len(resumed.history) == 1
    learn = tlkit.Learner(three_groups(), load(folder), directory=tmp_path, resume=True)
    script(learn)  # finished: answered from the record
    assert learn.history == resumed.history
    learn.fit(1, 0.02, precompute=False, verbose=False)
    assert len(learn.history) == 2


@pytest.mark.slow
def test_a_measured_precision_is_not_measured_again_and_its_place_does_not_matter(folder, tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr(precision, "fastest", lambda *_: measured.append(1) or ("float32", {}))

    def script(learn, *callbacks):
        learn.find_lr(steps=10)
        learn.unfreeze()
        learn.fit(2, 0.01, verbose=False, callbacks=callbacks)

    with pytest.raises(KeyboardInterrupt):
        script(tlkit.Learner(three_groups(), load(folder), directory=tmp_path, precision="auto"), Kill(STEPS))
    assert len(measured) == 2  # for features and for training
    learn = tlkit.Learner(three_groups(), load(folder), directory=tmp_path, precision="auto", resume=True)
    script(learn, keras.callbacks.Callback())
    assert len(measured) == 2
    assert len(learn.history[0]["loss"]) == 2


def test_a_momentum_that_cannot_be_scheduled_is_an_error_before_anything_is_written(folder, tmp_path):
    learn = tlkit.Learner(three_groups(), load(folder), directory=tmp_path, optimizer=keras.optimizers.RMSprop)
    with pytest.raises(ConfigError, match="the schedule changes the momentum, but the"):
        learn.fit(1, tlkit.schedules.OneCycle(0.1, STEPS))
    assert not (tmp_path / "run.json").exists()


def test_between_two_calls_a_resumed_run_has_the_averaged_weights(folder, tmp_path):
    learn = tlkit.Learner(three_groups(), load(folder), directory=tmp_path, ema=0.9)
    learn.fit(1, 0.05, verbose=False)
    resumed = tlkit.Learner(three_groups(seed=3), load(folder), directory=tmp_path, ema=0.9, resume=True)
    resumed.fit(1, 0.05, verbose=False)
    # The weights are the same; the sum over batches may differ in its last digits on some processors.
    assert resumed.evaluate().loss == pytest.approx(learn.evaluate().loss, rel=1e-7)
    assert_same(state(learn), state(resumed))
