"""Cyclical learning rates as a callback."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from tlkit.callbacks.base import RateCallback
from tlkit.errors import ConfigError
from tlkit.schedule_parts import check_positive
from tlkit.schedules import Cyclical, Mode


class CyclicalLR(RateCallback):
    """Cycle the learning rate between two bounds. Works with any Keras model.

    Follows Smith 2015, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186, which finds a
    `step_size` of 2 to 10 epochs good.

    Example:
        >>> model.fit(dataset, epochs=2, callbacks=[CyclicalLR(1e-4, 1e-2, step_size=100, mode="triangular2")])

    Args:
        base_lr: the lowest learning rate.
        max_lr: the highest learning rate of the first cycle.
        step_size: steps of half a cycle.
        step_size_epochs: epochs of half a cycle, instead of `step_size`; fractions are rounded to steps.
        mode: `"triangular"` keeps the amplitude; `"triangular2"` halves it after each cycle; `"exp_range"` multiplies
            it by `gamma` at every step.
        gamma: factor of each step in mode `"exp_range"`, above 0 and at most 1.
        scale_fn: replaces the mode: a function from the cycle number (from 1) to a factor of the amplitude.

    Raises:
        ConfigError: an argument is invalid, or, at the start of training, the model's optimizer is not supported.
    """

    def __init__(
        self,
        base_lr: float,
        max_lr: float,
        step_size: int | None = None,
        *,
        step_size_epochs: float | None = None,
        mode: Mode = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[Any], Any] | None = None,
    ):
        super().__init__()
        if (step_size is None) == (step_size_epochs is None):
            raise ConfigError(
                "step_size and step_size_epochs cannot be combined",
                received=f"step_size={step_size}, step_size_epochs={step_size_epochs}",
                allowed="either step_size (in steps) or step_size_epochs",
            )
        self._epochs = None if step_size_epochs is None else check_positive("step_size_epochs", step_size_epochs)
        # Made here, so that invalid arguments are reported before any training; epochs become steps in fit.
        self._checked = Cyclical(base_lr, max_lr, 1 if step_size is None else step_size, mode, gamma, scale_fn)
        self.needs_steps = step_size is None

    def schedule(self, steps_per_epoch: int | None, epochs: int) -> Cyclical:
        """See `RateCallback.schedule`."""
        if self._epochs is None:
            return self._checked
        steps = self.whole_steps("step_size_epochs", self._epochs, steps_per_epoch)
        return dataclasses.replace(self._checked, step_size=steps)
