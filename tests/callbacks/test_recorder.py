"""Recorder: the loss of each step, its tables, pictures and event files."""

from __future__ import annotations

import csv
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.callbacks.recorder import Recorder
from tlkit.errors import ConfigError


def arrays():
    x = np.random.default_rng(2).normal(size=(18, 3)).astype(np.float32)
    return x, x[:, :1] * 3 + 1


def data():
    return tf.data.Dataset.from_tensor_slices(arrays()).batch(4)  # the last batch has 2


def linear(optimizer=None, **options):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer or keras.optimizers.SGD(0.05), "mse", metrics=["mae"], **options)
    return model


def recorded(epochs=2, **options):
    model, recorder = linear(), Recorder()
    history = model.fit(data(), epochs=epochs, callbacks=[recorder], verbose=0, **options)
    return recorder, history.history


def test_the_losses_are_those_of_the_single_steps():
    model = linear()
    expected = []
    for _ in range(2):
        for x, y in data():
            expected.append(float(np.mean((model(x).numpy() - y.numpy()) ** 2)))
            model.train_on_batch(x, y)
    recorder, history = recorded()
    np.testing.assert_allclose(recorder.losses, expected, rtol=1e-5)
    assert recorder.rates == pytest.approx([0.05] * 10)
    assert recorder.momentums == [0.0] * 10
    assert np.average(recorder.losses[5:], weights=[4, 4, 4, 4, 2]) == pytest.approx(history["loss"][1], rel=1e-5)


def test_epochs_hold_the_logs_the_number_and_the_seconds():
    recorder, history = recorded(3, initial_epoch=1, validation_data=data())
    assert [row["epoch"] for row in recorder.epochs] == [1, 2]
    for name in ("loss", "mae", "val_loss", "val_mae"):
        assert [row[name] for row in recorder.epochs] == history[name]
    assert all(row["seconds"] > 0 for row in recorder.epochs)


def test_a_further_fit_starts_anew():
    model, recorder = linear(), Recorder()
    for _ in range(2):
        model.fit(data(), callbacks=[recorder], verbose=0)
    assert len(recorder.losses) == len(recorder.rates) == 5
    assert len(recorder.epochs) == 1


def test_an_optimizer_without_momentum_records_nan():
    model, recorder = linear(keras.optimizers.Adagrad(0.1)), Recorder()
    model.fit(data(), callbacks=[recorder], verbose=0)
    assert np.isnan(recorder.momentums).all()


def test_a_model_with_its_own_train_step_is_recorded_as_it_reports():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

        @property
        def metrics(self):
            return []

        def train_step(self, batch):
            return {"loss": tf.reduce_sum(batch[0]) * 0 + 7.0}

    model, recorder = Own(), Recorder()
    model.compile("sgd", "mse")
    model.fit(data(), callbacks=[recorder], verbose=0)
    assert recorder.losses == [7.0] * 5


def test_steps_of_others_are_added_and_only_epochs_recorded_by_itself():
    model, recorder = linear(steps_per_execution=5), Recorder(per_step=False)
    recorder.add_steps([0.1, 0.2], np.float32([0.5, math.nan]), [3, 2])
    model.fit(data(), callbacks=[recorder], verbose=0)
    recorder.add_steps(iter([0.3]), [0.25], [1])
    assert recorder.rates == [0.1, 0.2, 0.3]
    assert recorder.losses == [3.0, 2.0, 1.0]
    assert recorder.momentums[0] == 0.5
    assert len(recorder.epochs) == 1
    with pytest.raises(ConfigError, match=r"rates, momentums and losses differ.*received: \[1, 2, 1\]"):
        recorder.add_steps([1], [1, 2], [1])
    assert len(recorder.rates) == 3, "a refused call adds nothing"
    recorder.clear()
    assert [recorder.rates, recorder.momentums, recorder.losses, recorder.epochs] == [[]] * 4


def test_several_steps_at_once_are_refused():
    with pytest.raises(ConfigError, match="cannot record single steps.*steps_per_execution=5.*per_step=False"):
        linear(steps_per_execution=5).fit(data(), callbacks=[Recorder()], verbose=0)


def test_the_table_reads_back_to_the_bit_and_is_not_overwritten(tmp_path):
    recorder, _ = recorded()
    recorder.momentums[3] = math.nan
    path = recorder.to_csv(tmp_path / "deep" / "steps.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(10))
    assert [float(row["learning_rate"]) for row in rows] == recorder.rates
    assert [float(row["loss"]) for row in rows] == recorder.losses
    assert rows[3]["momentum"] == ""
    before = path.read_bytes()
    recorder.add_steps([1], [1], [1])
    with pytest.raises(ConfigError, match="the file exists.*overwrite=True"):
        recorder.to_csv(path)
    assert path.read_bytes() == before
    recorder.to_csv(path, overwrite=True)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 12


def test_the_event_file_holds_every_scalar(tmp_path):
    recorder, history = recorded()
    recorder.momentums[3] = math.nan
    folder = recorder.to_tensorboard(tmp_path / "runs")
    (file,) = folder.glob("events.out.tfevents.*")
    found = {}
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            found.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    assert found["step/loss"] == pytest.approx(dict(enumerate(recorder.losses)))
    assert found["step/learning_rate"] == pytest.approx(dict(enumerate(recorder.rates)))
    assert sorted(found["step/momentum"]) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert found["epoch/loss"] == pytest.approx(dict(enumerate(history["loss"])))
    assert set(found) == {f"step/{name}" for name in ("learning_rate", "momentum", "loss")} | {
        f"epoch/{name}" for name in ("loss", "mae", "seconds")
    }


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_pictures(tmp_path, suffix):
    recorder, _ = recorded()
    recorder.losses[4] = math.inf
    for draw in (recorder.plot_lr, recorder.plot_losses):
        path = draw(tmp_path / f"{draw.__name__}{suffix}")
        assert path.stat().st_size > 2000
    with pytest.raises(ConfigError, match="unknown image format"):
        recorder.plot_lr(tmp_path / "rates.txt")


def test_the_picture_of_the_losses_averages_without_a_pull_at_the_start():
    from tlkit.report.plots import _moving_mean

    assert _moving_mean(np.full(30, 2.0)) == pytest.approx(np.full(30, 2.0))
    # A mean over 4 steps: weights 1, 3/4, 9/16 from the newest.
    assert _moving_mean(np.array([8.0, 4.0, 2.0]))[-1] == pytest.approx((2 + 4 * 0.75 + 8 * 0.5625) / 2.3125)


def test_an_empty_recorder_says_so(tmp_path):
    recorder = Recorder()
    for use in (recorder.plot_lr, recorder.plot_losses, recorder.to_csv, recorder.to_tensorboard):
        with pytest.raises(ConfigError, match="nothing is recorded yet"):
            use(tmp_path / "file.png")
    assert not list(tmp_path.iterdir())


def test_a_report_draws_both_pictures_and_what_else_is_asked(tmp_path):
    recorder = Recorder(per_step=False)
    recorder.report(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()
    recorder.add_steps([0.1, 0.2], [0.9, 0.8], [1.0, 0.5])
    recorder.report(tmp_path / "plain")
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == ["learning_rates.png", "losses.png"]
    recorder.report(tmp_path / "plain", "csv")
    recorder.report(tmp_path / "plain", "csv")  # the run after replaces it
    assert (tmp_path / "plain" / "steps.csv").read_text().splitlines()[1].startswith("0,0.1,0.9,1.0")
    recorder.report(tmp_path / "plain", "tensorboard")
    assert list((tmp_path / "plain" / "tensorboard").iterdir())
    with pytest.raises(ConfigError, match="unknown extra; received: 'excel'"):
        recorder.report(tmp_path, "excel")
