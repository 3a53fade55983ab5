"""What has to happen between the epochs of a Learner's `fit`."""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf

from tlkit.callbacks.recorder import Recorder
from tlkit.training.engine import Engine
from tlkit.training.plan import Plan
from tlkit.training.snapshots import Snapshots


class Bookkeeper(keras.callbacks.Callback):
    """Numbers the epochs for the data, keeps steps and snapshots, and stops when it makes no sense to go on.

    Args:
        engine: runs the steps.
        plan: what is run.
        number: of the epoch over the whole run; data streams read it when an epoch begins.
        offset: epochs of the calls before.
        past: history of the epochs that a resumed call has done already.
        recorder: receives the steps.
        snapshots: receives weights at the ends of cycles; None takes none.
        name: begins the name of each snapshot.
        patience: epochs without a better validation loss before training stops; 0 for no end.
    """

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        number: tf.Variable,
        offset: int,
        past: dict[str, list[float]],
        recorder: Recorder,
        snapshots: Snapshots | None,
        name: str,
        patience: int,
    ):
        super().__init__()
        self._engine = engine
        self._plan = plan
        self._number = number
        self._offset = offset
        self._recorder = recorder
        self._snapshots = snapshots
        self._name = name
        self._patience = patience
        self._losses = list(past.get("val_loss", []))
        self._steps = len(plan.rates) // plan.epochs
        self._tell(0, len(past.get("loss", [])))

    def has_waited_enough(self) -> bool:
        """Whether the validation loss has not become better for `patience` epochs."""
        if not self._patience or len(self._losses) <= self._patience:
            return False
        return int(np.argmin(self._losses)) < len(self._losses) - self._patience

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Tell the data which epoch this is: order and augmentation follow from its number."""
        self._number.assign(self._offset + epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keep what the steps recorded; stop when the loss is not finite or has not become better for long."""
        values = logs or {}
        self._tell(epoch, epoch + 1)
        if "val_loss" in values:
            self._losses.append(float(values["val_loss"]))
        # Once an epoch, not once a step: reading the loss of every step would make each wait for the one before.
        if not math.isfinite(values.get("loss", 0.0)) or self.has_waited_enough():
            self.model.stop_training = True
        if self._snapshots is not None and epoch + 1 in self._plan.cycle_ends:
            self._snapshots.take(f"{self._name}-{epoch + 1}", self._engine.task.model)

    def _tell(self, first: int, last: int) -> None:
        if last > first:
            rows = self._engine.optimizer.recorded(first * self._steps, last * self._steps)
            self._recorder.add_steps(*rows.T)
