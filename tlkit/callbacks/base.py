"""Shared parts of the learning-rate callbacks: setting the rate, the position in the schedule, and cleaning up."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.callbacks.momentum import MomentumController, inner_optimizer
from tlkit.errors import ConfigError
from tlkit.schedules import Schedule

_UNKNOWN_STEPS = "{} needs the number of steps per epoch"


class RateCallback(keras.callbacks.Callback):
    """Sets the optimizer's rate, and momentum where the schedule has one, before every training step.

    Subclasses say in `schedule` what to follow. The position counts from `initial_epoch`, so that a resumed `fit` goes
    on inside its cycle; every other `fit` starts anew. Afterwards the optimizer keeps the last rate and has its own
    momentum back, also when a step raised. (When another callback raises, the next `fit` puts it back.)

    Example:
        >>> class Falling(RateCallback):
        ...     def schedule(self, steps_per_epoch, epochs):
        ...         return Restarts(0.1, cycle_steps=10)
        >>> model.fit(dataset, callbacks=[Falling()])

    Raises:
        ConfigError: on the start of training, when the callback and the model do not go together.
    """

    needs_steps = False
    # Lets Keras start the next step before on_train_batch_end has finished.
    async_safe = True

    def __init__(self) -> None:
        super().__init__()
        self._optimizer: Any = None
        self._schedule: Schedule | None = None
        self._epoch_start: int | None = None
        self._done: list[int] = []
        self._rate: Any = None
        self._dial: MomentumController | None = None
        self._inside_step = False

    @abstractmethod
    def schedule(self, steps_per_epoch: int | None, epochs: int) -> Schedule:
        """Return the schedule of a run.

        Args:
            steps_per_epoch: batches of an epoch; None when unknown, which only happens if `needs_steps` is False.
            epochs: number of the last epoch.

        Returns:
            The schedule, in steps.

        Raises:
            ConfigError: the arguments do not fit such a run.
        """

    def whole_steps(self, name: str, epochs: float, steps_per_epoch: int | None) -> int:
        """Turn a length in epochs into steps.

        Args:
            name: the argument's name, for the message.
            epochs: the length.
            steps_per_epoch: batches of an epoch, None when unknown.

        Returns:
            The nearest number of steps.

        Raises:
            ConfigError: the steps of an epoch are unknown, or the length gives not even one.
        """
        if steps_per_epoch is None:
            raise ConfigError(_UNKNOWN_STEPS.format(type(self).__name__))
        steps = round(epochs * steps_per_epoch)
        if steps < 1:
            raise ConfigError(
                f"{name} is less than one step",
                received=epochs,
                allowed=f"1/{steps_per_epoch} or more, as an epoch has {steps_per_epoch} steps",
            )
        return steps

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check the model and create the schedule. Replace the optimizer's momentum if the schedule sets it."""
        self._release()
        self._optimizer = _settable(self.model.optimizer, type(self).__name__)
        if self.model.steps_per_execution > 1:
            raise ConfigError(
                f"{type(self).__name__} sets the learning rate before each step, but the model runs several "
                "steps per call",
                received=f"steps_per_execution={self.model.steps_per_execution}",
                allowed="steps_per_execution=1",
                fix="or give the optimizer a tlkit.LRSchedule, which works inside the graph",
            )
        steps = self.params.get("steps")
        if steps is None and self.needs_steps:
            raise ConfigError(_UNKNOWN_STEPS.format(type(self).__name__), fix="pass steps_per_epoch to fit")
        self._schedule = self.schedule(steps, self.params["epochs"])
        self._epoch_start = None
        self._rate = keras.ops.convert_to_numpy(self._optimizer.learning_rate)
        if self._schedule.momentum(0) is not None:
            self._dial = self._take_hold()
            # A step compiled earlier holds the momentum as a constant.
            self.model.make_train_function(force=True)
            self._guard(self.model.train_function)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compute the step at which the epoch starts."""
        steps = self.params.get("steps")
        if steps is not None:
            self._epoch_start = epoch * steps
        elif self._epoch_start is not None:
            self._epoch_start += len(self._done)
        elif epoch == 0:
            self._epoch_start = 0
        else:
            raise ConfigError(
                "the position in the schedule is unknown", received=epoch, fix="pass steps_per_epoch to fit"
            )
        self._done.clear()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Set rate and momentum of the step."""
        assert self._schedule is not None  # for the type checker: on_train_begin and on_epoch_begin set both
        assert self._epoch_start is not None
        # Other callbacks change rates between epochs, or at each step. Reading the variable waits for the step before,
        # so it is read where that shows, not everywhere.
        if batch < 2:
            self._check_untouched()
        step = self._epoch_start + batch
        rate = float(self._schedule.rate(step))
        if not (math.isfinite(rate) and rate >= 0):
            self._release()
            raise ConfigError(
                "the schedule returned an invalid learning rate",
                received=rate,
                allowed="a finite number, 0 or above",
                fix=f"check its value at step {step}",
            )
        self._optimizer.learning_rate = rate
        self._rate = rate
        if self._dial is not None:
            self._dial.set(float(self._schedule.momentum(step)))  # type: ignore[arg-type]  # None has no dial
            self._inside_step = True

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the step. At the end of the data, Keras begins one more step that does not take place."""
        self._done.append(batch)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the optimizer's own momentum."""
        self._release()

    def _check_untouched(self) -> None:
        now = keras.ops.convert_to_numpy(self._optimizer.learning_rate)
        if now != np.asarray(self._rate).astype(now.dtype):
            self._release()
            raise ConfigError(
                f"another callback changed the learning rate set by {type(self).__name__}",
                received=float(now),
                allowed=f"{float(self._rate):g}",
                fix="use only one of ReduceLROnPlateau, LearningRateScheduler and a cyclical learning rate",
            )

    def _take_hold(self) -> MomentumController:
        left = MomentumController.of(self._optimizer)
        # All callbacks of one fit are given the same params. A dial of another fit was left by an error in some
        # callback; one of this fit is at work, and a second is refused.
        if left is not None and getattr(left.owner, "params", None) is not self.params:
            left.release()
        return MomentumController(self._optimizer, owner=self)

    def _guard(self, train_function: Any) -> None:
        """Restore the momentum if the step raises. Keras does not notify callbacks of exceptions."""

        def guarded(iterator: Any) -> Any:
            if not self._inside_step:
                # A later fit without this callback: the one that it belonged to was ended by another callback's error.
                self._release()
                self.model.make_train_function(force=True)
                return self.model.train_function(iterator)
            self._inside_step = False
            try:
                return train_function(iterator)
            except (StopIteration, tf.errors.OutOfRangeError):
                raise  # only the end of the data
            except BaseException:
                self._release()
                raise

        self.model.train_function = guarded

    def _release(self) -> None:
        if self._dial is not None:
            self._dial.release()
            self._dial = None
            self._inside_step = False
            # It was compiled with the dial in it; the next fit compiles one without.
            self.model.train_function = None


def _settable(optimizer: Any, who: str) -> Any:
    """Return the optimizer that has the learning rate."""
    optimizer = inner_optimizer(optimizer)
    if hasattr(optimizer, "optimizers"):
        raise ConfigError(
            "an optimizer that combines several optimizers has no learning rate of its own",
            received=type(optimizer).__name__,
            allowed="one optimizer with a number as its learning rate",
        )
    held = getattr(optimizer, "_learning_rate", None)
    if not isinstance(held, keras.Variable):
        raise ConfigError(
            f"the optimizer already has a learning-rate schedule, and {who} sets the learning rate as well",
            received=type(held).__name__,
            allowed="a number as the optimizer's learning rate",
            fix="remove one of the two",
        )
    return optimizer
