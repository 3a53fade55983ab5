"""Schedules of tlkit as Keras learning-rate schedules, for use without a callback."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tlkit import schedules
from tlkit.errors import ConfigError, check_choice

_KINDS = {
    kind.__name__: kind for kind in (schedules.Constant, schedules.Cyclical, schedules.Restarts, schedules.OneCycle)
}


@keras.saving.register_keras_serializable("tlkit")
class LRSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Use a schedule of `tlkit.schedules` inside a Keras optimizer.

    It is computed in the graph and saved with the optimizer.

    It uses the optimizer's step count, so a further `fit` and a loaded model continue where the last `fit`
    stopped.

    Example:
        >>> rates = LRSchedule(schedules.Cyclical(1e-4, 1e-2, step_size=100))
        >>> model.compile(keras.optimizers.SGD(rates, momentum=0.9), "mse", steps_per_execution=50)

    Args:
        schedule: one of `tlkit.schedules`.

    Attributes:
        schedule: as given.

    Raises:
        ConfigError: the schedule is invalid, or it changes the momentum, which a learning-rate schedule cannot do.
    """

    def __init__(self, schedule: Any):
        super().__init__()
        if type(schedule) not in _KINDS.values():
            raise ConfigError("not a schedule of tlkit.schedules", received=schedule, allowed=sorted(_KINDS))
        if schedule.momentum(0) is not None:
            raise ConfigError(
                "a learning-rate schedule cannot change the momentum",
                received=schedule,
                fix="pass momentums=None to OneCycle, or use the callback tlkit.OneCycle",
            )
        self.schedule = schedule

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step.

        Args:
            step: integer tensor, array or number.

        Returns:
            The rate, in Keras' float type.
        """
        return self.schedule.rate(step, xp=keras.ops)

    def get_config(self) -> dict[str, Any]:
        """Return the schedule as plain values.

        Returns:
            `{"schedule": kind, "arguments": {...}}`.

        Raises:
            ConfigError: its `scale_fn` is not registered with Keras, so that a saved model could not find it again.
        """
        arguments = {field.name: getattr(self.schedule, field.name) for field in dataclasses.fields(self.schedule)}
        scale_fn = arguments.get("scale_fn")
        if scale_fn is not None:
            name = keras.saving.get_registered_name(scale_fn)
            if keras.saving.get_registered_object(name) is not scale_fn:
                raise ConfigError(
                    "this scale_fn cannot be saved",
                    received=scale_fn,
                    allowed="a function registered with @keras.saving.register_keras_serializable()",
                    fix="register it, or use a mode",
                )
            arguments["scale_fn"] = name
        return {"schedule": type(self.schedule).__name__, "arguments": arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LRSchedule:
        """Create the schedule from the result of `get_config`.

        Args:
            config: what `get_config` gave.

        Returns:
            An equal schedule.

        Raises:
            ConfigError: the kind is unknown, or its `scale_fn` is not registered in this process.
        """
        check_choice("schedule", config["schedule"], _KINDS)
        arguments = dict(config["arguments"])
        name = arguments.get("scale_fn")
        if name is not None:
            arguments["scale_fn"] = keras.saving.get_registered_object(name)
            if arguments["scale_fn"] is None:
                raise ConfigError(
                    "the saved scale_fn is not registered", received=name, fix="import the module that registers it"
                )
        return cls(_KINDS[config["schedule"]](**arguments))
