"""A training ends within its time."""

from __future__ import annotations

import logging

import keras
import numpy as np
import pytest

from tlkit.callbacks.time_budget import TimeBudget
from tlkit.errors import ConfigError


class Clock(keras.callbacks.Callback):
    """A clock that epochs of known length move on; it stands before the budget among the callbacks."""

    def __init__(self, *lengths):
        super().__init__()
        self.lengths, self.now = lengths, 1000.0

    def __call__(self):
        return self.now

    def on_epoch_end(self, epoch, logs=None):
        self.now += self.lengths[min(epoch, len(self.lengths) - 1)]


def epochs_within(minutes, *lengths, epochs=20):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    clock = Clock(*lengths)
    budget = TimeBudget(minutes, clock)
    found = model.fit(np.zeros((4, 1)), np.zeros(4), epochs=epochs, callbacks=[clock, budget], verbose=0)
    return len(found.history["loss"]), clock.now - 1000.0


@pytest.mark.parametrize(
    ("minutes", "lengths", "epochs"),
    [(1, (10.0,), 6), (1, (11.0,), 5), (1, (30.0, 5.0), 2), (1, (5.0, 20.0), 3), (10, (10.0,), 20)],
)
def test_no_epoch_goes_beyond_the_budget(minutes, lengths, epochs):
    trained, seconds = epochs_within(minutes, *lengths)
    assert trained == epochs
    assert seconds <= 60 * minutes


def test_one_epoch_is_trained_in_any_case_and_it_is_said_that_training_stopped(caplog):
    with caplog.at_level(logging.WARNING, "tlkit"):
        assert epochs_within(0.1, 100.0)[0] == 1
    assert "stopped after 1 of 20 epochs: another one would exceed the time budget of 0.1 minutes" in caplog.text
    caplog.clear()
    assert epochs_within(float("inf"), 1e9)[0] == 20
    assert epochs_within(1, 60.0, epochs=1)[0] == 1
    assert not caplog.text


@pytest.mark.parametrize("minutes", [0, -1.0, float("nan"), True, "1"])
def test_no_time_is_refused(minutes):
    with pytest.raises(ConfigError, match="the minutes of a time budget; received: .*allowed: a number above 0"):
        TimeBudget(minutes)
