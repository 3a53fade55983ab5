from __future__ import annotations

import io

import pytest

from tlkit.training import progress
from tlkit.training.progress import EpochTable

LOGS = {"accuracy": 0.5, "loss": 1.25, "val_accuracy": 0.75, "val_loss": 0.5, "learning_rate": 0.1, "mine": 2}


def run(table, logs=LOGS, epochs=2, steps=3):
    table.set_params({"epochs": epochs, "steps": steps})
    table.on_train_begin()
    for epoch in range(epochs):
        table.on_epoch_begin(epoch)
        for batch in range(steps):
            table.on_train_batch_end(batch)
        table.on_epoch_end(epoch, logs)
    table.on_train_end()


def test_a_plain_output_gets_a_line_an_epoch_and_no_control_characters(monkeypatch):
    times = iter([0.0, 3.0, 3.0, 128.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    file = io.StringIO()
    run(EpochTable(file))
    header, first, second = file.getvalue().splitlines()
    names = ["epoch", "train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "mine", "time"]
    assert header.split() == names
    assert first.split() == ["1/2", "1.2500", "0.5000", "0.5000", "0.7500", "2.0000", "00:03"]
    assert second.split()[-1] == "02:05"
    assert "\x1b" not in file.getvalue()
    assert len(header) == len(first)


def test_a_terminal_shows_a_bar_and_keeps_the_same_table(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    file = io.StringIO()
    table = EpochTable(file)
    completed = []

    class Watched(progress.Progress):
        def update(self, task, **changes):
            completed.append(changes["completed"])
            super().update(task, **changes)

    monkeypatch.setattr(progress, "Progress", Watched)
    run(table)
    assert completed == [1, 2, 3] * 2
    assert "\x1b[" in file.getvalue()
    assert "epoch 1/2" in file.getvalue()
    assert "3/3" in file.getvalue()
    assert "1.2500" in file.getvalue()
    assert table._bar is None


def test_an_interruption_takes_the_bar_away(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    file = io.StringIO()
    table = EpochTable(file)
    table.set_params({"epochs": 1, "steps": 3})
    table.on_train_begin()
    table.on_epoch_begin(0)
    bar = table._bar
    assert bar.live.is_started
    table.stop()
    assert not bar.live.is_started
    table.stop()


def test_metrics_that_are_missing_in_a_later_epoch_are_not_a_number():
    file = io.StringIO()
    table = EpochTable(file)
    table.set_params({"epochs": 2, "steps": 1})
    table.on_train_begin()
    for epoch, logs in enumerate(({"loss": 1.0, "val_loss": 2.0}, {"loss": 1.0})):
        table.on_epoch_begin(epoch)
        table.on_epoch_end(epoch, logs)
    assert file.getvalue().splitlines()[2].split()[1:3] == ["1.0000", "nan"]


@pytest.mark.parametrize("logs", [None, {}])
def test_no_metrics_at_all_is_a_table_of_times(logs):
    file = io.StringIO()
    run(EpochTable(file), logs, epochs=1)
    assert file.getvalue().splitlines()[0].split() == ["epoch", "time"]
