"""The one-cycle policy as a callback."""

from __future__ import annotations

import dataclasses

from tlkit import schedules
from tlkit.callbacks.base import RateCallback


class OneCycle(RateCallback):
    """Use the one-cycle schedule for the learning rate, and its inverse for momentum. Works with any Keras model.

    Follows Smith 2018, "A disciplined approach to neural network hyper-parameters", arXiv 1803.09820, with cosine
    segments. The momentum is SGD's `momentum`, or `beta_1` of Adam, AdamW, Adamax, Lamb and Lion.

    Example:
        >>> model.compile(keras.optimizers.AdamW(1e-3), "mse")
        >>> model.fit(dataset, epochs=5, callbacks=[OneCycle(1e-2)])

    Args:
        max_lr: the peak.
        pct_start: fraction of the steps with a rising learning rate, between 0 and 1.
        div: the learning rate starts at `max_lr / div`.
        final_div: the last step has `max_lr / final_div`.
        momentums: momentum at both ends and at the peak, or None to keep it unchanged.

    Raises:
        ConfigError: an argument is invalid, or, at the start of training, the model's optimizer is not supported.
    """

    needs_steps = True

    def __init__(
        self,
        max_lr: float,
        pct_start: float = 0.25,
        div: float = 25.0,
        final_div: float = 1e5,
        momentums: tuple[float, float] | None = (0.95, 0.85),
    ):
        super().__init__()
        # Made here, so that invalid arguments are reported before any training; the number of steps is known in fit.
        self._checked = schedules.OneCycle(max_lr, 1, pct_start, div, final_div, momentums)

    def schedule(self, steps_per_epoch: int | None, epochs: int) -> schedules.OneCycle:
        """See `RateCallback.schedule`."""
        return dataclasses.replace(
            self._checked, total_steps=self.whole_steps("the number of epochs", epochs, steps_per_epoch)
        )
