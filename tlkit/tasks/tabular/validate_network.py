"""Validation of a blend's network while it trains."""

from __future__ import annotations

from typing import Any

import keras

from tlkit.models.task import Task
from tlkit.tasks.tabular.blend import set_shares, shares_of


class ValidateNetwork(keras.callbacks.Callback):
    """Validates the network of a blend by itself after each epoch, so that its own answers choose the epoch to keep.

    Those of the blend do not tell its epochs apart where the trees have most of the share. It changes nothing for other
    tasks.

    Example:
        >>> learn.fit(5, 5e-3, callbacks=[tlkit.ValidateNetwork(learn.task)])

    Args:
        task: what is trained.
    """

    def __init__(self, task: Task):
        super().__init__()
        self._task = task
        self._shares = [*shares_of(task).values()]

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Take the trees out."""
        if self._shares:
            set_shares(self._task, [0.0] * len(self._shares))

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Put them back."""
        if self._shares:
            set_shares(self._task, self._shares)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Put them back, also where a validation was broken off."""
        self.on_test_end()
