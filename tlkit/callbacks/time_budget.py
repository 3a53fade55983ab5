"""Stop a training at a time limit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import keras

from tlkit.errors import ConfigError

_log = logging.getLogger("tlkit")


class TimeBudget(keras.callbacks.Callback):
    """Stop training after an epoch if the next one would exceed a number of minutes.

    An epoch is taken to last as long as the longest one before it. The first epoch is always finished. A `Learner`
    keeps the best epoch of those that were trained.

    Example:
        >>> learn.fit(100, 5e-3, callbacks=[tlkit.TimeBudget(8)])

    Args:
        minutes: above 0; `math.inf` for no limit.
        clock: returns seconds.

    Raises:
        ConfigError: `minutes` is not above 0.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic):
        super().__init__()
        if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not minutes > 0:
            raise ConfigError("the minutes of a time budget", received=minutes, allowed="a number above 0")
        self._seconds, self._clock = 60.0 * minutes, clock
        self._began = self._epoch_began = 0.0
        self._longest = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start the timer of the training."""
        self._began, self._longest = self._clock(), 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the timer of the epoch."""
        self._epoch_began = self._clock()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop if another epoch would take too long."""
        now = self._clock()
        self._longest = max(self._longest, now - self._epoch_began)
        epochs = self.params.get("epochs", epoch + 1)
        if epoch + 1 < epochs and now - self._began + self._longest > self._seconds:
            _log.warning(
                "stopped after %d of %d epochs: another one would exceed the time budget of %.3g minutes",
                epoch + 1, epochs, self._seconds / 60,
            )  # fmt: skip
            self.model.stop_training = True
