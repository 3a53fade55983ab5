"""Stochastic gradient descent with warm restarts (SGDR) as a callback."""

from __future__ import annotations

import dataclasses

from tlkit.callbacks.base import RateCallback
from tlkit.schedule_parts import check_positive
from tlkit.schedules import Restarts


class WarmRestarts(RateCallback):
    """Decrease the learning rate along a cosine with warm restarts. Works with any Keras model.

    Follows Loshchilov & Hutter 2016, "SGDR: Stochastic Gradient Descent with Warm Restarts", arXiv 1608.03983, with
    the learning rate set before every step.

    Example:
        >>> model.fit(dataset, epochs=1 + 2 + 4, callbacks=[WarmRestarts(1e-2, cycle_len=1, cycle_mult=2)])

    Args:
        max_lr: learning rate at the start of the first cycle.
        cycle_len: epochs of the first cycle; fractions are rounded to steps.
        cycle_mult: each cycle is this many times as long as the one before; a whole number.
        min_lr: learning rate at the end of each cycle.
        cycle_decay: factor of the peak (above `min_lr`) from cycle to cycle.

    Raises:
        ConfigError: an argument is invalid, or, at the start of training, the model's optimizer is not supported.
    """

    needs_steps = True

    def __init__(
        self,
        max_lr: float,
        cycle_len: float,
        cycle_mult: int = 1,
        min_lr: float = 0.0,
        cycle_decay: float = 1.0,
    ):
        super().__init__()
        self._cycle_len = check_positive("cycle_len", cycle_len)
        # Made here, so that invalid arguments are reported before any training; the number of steps is known in fit.
        self._checked = Restarts(max_lr, 1, cycle_mult, min_lr, cycle_decay)

    def schedule(self, steps_per_epoch: int | None, epochs: int) -> Restarts:
        """See `RateCallback.schedule`."""
        steps = self.whole_steps("cycle_len", self._cycle_len, steps_per_epoch)
        return dataclasses.replace(self._checked, cycle_steps=steps)
