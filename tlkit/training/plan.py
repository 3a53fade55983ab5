"""What a `fit` call is going to do, worked out before training starts: rate and momentum of every step."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np

from tlkit import schedules
from tlkit.callbacks.base import RateCallback
from tlkit.errors import ConfigError, check_choice

ScheduleName = Literal["one_cycle", "slanted_triangular", "constant"]
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_SETTERS = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """A `fit` call in numbers.

    Attributes:
        epochs: passes over the training data.
        rates: float64 [epochs * steps], the rate of the last layer group at each step.
        momenta: float64 likewise, or None for the optimizer's own.
        multipliers: factor on the rate for each layer group, from the input to the output.
        cycle_ends: epochs done when each cycle ends; the last one is `epochs`.
        name: the schedule in words.
    """

    epochs: int
    rates: np.ndarray
    momenta: np.ndarray | None
    multipliers: tuple[float, ...]
    cycle_ends: tuple[int, ...]
    name: str


def make_plan(
    epochs: int,
    lr: Any,
    *,
    steps: int,
    groups: int,
    schedule: Any = None,
    cycle_len: int | None = None,
    cycle_mult: int = 1,
    with_momentum: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    accumulate: int = 1,
) -> Plan:
    """Work out a `fit` call, or say what is wrong with it.

    Args:
        epochs: passes over the data; the number of cycles when `cycle_len` is given.
        lr: a rate; a list of rates for the last so many layer groups, of which the first also holds for all groups
            before; or a schedule.
        steps: batches in an epoch.
        groups: number of layer groups.
        schedule: `"one_cycle"`, `"slanted_triangular"`, `"constant"`, a `tlkit.schedules` object or a Keras
            `LearningRateSchedule`.
        cycle_len: epochs of the first cycle of warm restarts.
        cycle_mult: how many times longer each cycle is than the one before.
        with_momentum: whether the optimizer has a momentum that one-cycle can move.
        callbacks: the user's. tlkit's own rate callbacks are taken as the schedule that they follow; other callbacks
            that set the rate cannot be there together with a schedule.
        accumulate: batches whose gradients are averaged for one update.

    Raises:
        ConfigError: an argument is not usable, two of them claim the rate, or `accumulate` leaves no update.
    """
    whole("epochs" if cycle_len is None else "the number of cycles", epochs)
    epochs = int(epochs)  # NumPy's whole numbers cannot be written to the record of a run
    if cycle_len is not None:
        whole("cycle_len", cycle_len)
        whole("cycle_mult", cycle_mult)
        cycle_len, cycle_mult = int(cycle_len), int(cycle_mult)
    elif cycle_mult != 1:
        raise ConfigError("cycle_mult needs a cycle_len", received=cycle_mult)
    if _is_schedule(lr):
        if schedule is not None:
            raise ConfigError("two schedules were given", received=(lr, schedule), fix="pass one of them")
        lr, schedule = None, lr
    _check_who_sets_the_rate(schedule, cycle_len, callbacks)
    for callback in callbacks:
        if isinstance(callback, RateCallback):
            schedule = callback.schedule(steps, epochs)
    peak, multipliers = _peak_and_multipliers(lr, groups, needed=not _is_schedule(schedule))

    if cycle_len is not None:
        epochs_of = [cycle_len * cycle_mult**number for number in range(epochs)]
        wanted: Any = schedules.Restarts(peak, cycle_len * steps, cycle_mult)
        ends = tuple(np.cumsum(epochs_of).tolist())
        return _tabulate(wanted, sum(epochs_of), steps, multipliers, ends, accumulate)
    if not _is_schedule(schedule):
        name = schedule or ("constant" if _setters(callbacks) else "one_cycle")
        check_choice("schedule", name, get_args(ScheduleName))
        if name == "constant":
            schedule = schedules.Constant(peak)
        elif name == "slanted_triangular":
            schedule = schedules.SlantedTriangular(peak, epochs * steps)
        else:
            momentums = (0.95, 0.85) if with_momentum else None
            schedule = schedules.OneCycle(peak, epochs * steps, momentums=momentums)
    if not with_momentum and getattr(schedule, "momentum", lambda _: None)(0) is not None:
        raise ConfigError(
            "the schedule changes the momentum, but the optimizer has none or it cannot be scheduled",
            received=schedule,
            fix="pass it without momentum, such as OneCycle(..., momentums=None)",
        )
    return _tabulate(schedule, epochs, steps, multipliers, None, accumulate)


def whole(name: str, value: Any) -> None:
    """Refuse anything but a whole number from 1.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ConfigError(f"{name} must be a whole number, 1 or more", received=value)


def positive_rate(name: str, value: Any) -> None:
    """Refuse anything but a finite number above 0.

    Raises:
        ConfigError: it is something else.
    """
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise ConfigError(f"{name} must be a number above 0", received=value)


def _is_schedule(value: Any) -> bool:
    # TensorFlow Addons' cyclical schedules are Keras' LearningRateSchedules, too.
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule) or hasattr(value, "cycle_ends")


def _peak_and_multipliers(lr: Any, groups: int, needed: bool) -> tuple[float, tuple[float, ...]]:
    if lr is None and not needed:
        return 1.0, (1.0,) * groups
    several = isinstance(lr, list | tuple | np.ndarray)
    if not several and not needed:
        raise ConfigError(
            "the schedule has its own learning rates",
            received=lr,
            fix="pass lr=None, or a list to set the ratio of the groups",
        )
    rates = list(lr) if several else [lr]
    if not rates:
        raise ConfigError("the list of learning rates is empty", received=lr)
    for rate in rates:
        positive_rate("the learning rate", rate)
    if len(rates) > groups:
        raise ConfigError("more learning rates than layer groups", received=len(rates), allowed=f"1 to {groups}")
    rates = [rates[0]] * (groups - len(rates)) + [float(rate) for rate in rates]
    return float(rates[-1]), tuple(float(rate) / float(rates[-1]) for rate in rates)


def _setters(callbacks: Sequence[keras.callbacks.Callback]) -> list[str]:
    return [type(callback).__name__ for callback in callbacks if isinstance(callback, _SETTERS)]


def _check_who_sets_the_rate(
    schedule: Any, cycle_len: int | None, callbacks: Sequence[keras.callbacks.Callback]
) -> None:
    claims = [type(callback).__name__ for callback in callbacks if isinstance(callback, (RateCallback, *_SETTERS))]
    if cycle_len is not None:
        claims.append(f"cycle_len={cycle_len}")
    if schedule is not None and not (schedule == "constant" and _setters(callbacks)):
        claims.append(f"schedule={schedule!r}")
    if len(claims) > 1:
        raise ConfigError(
            f"{claims[0]} and {claims[1]} both set the learning rate",
            fix='keep one of them; use ReduceLROnPlateau and LearningRateScheduler with schedule="constant"',
        )


def _tabulate(
    schedule: Any,
    epochs: int,
    steps: int,
    multipliers: tuple[float, ...],
    cycle_ends: tuple[int, ...] | None,
    accumulate: int,
) -> Plan:
    total = epochs * steps
    _check_updates("the training", accumulate, total, epochs, steps)
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        rates = np.array([float(schedule(step)) for step in range(total)])
        momenta, ends, name = None, [total], f"{type(schedule).__name__}({schedule.get_config()})"
    else:
        rates = np.asarray(schedule.rate(np.arange(total)), np.float64) * np.ones(total)
        momenta, ends, name = schedule.momentum(np.arange(total)), schedule.cycle_ends(total), repr(schedule)
    shortest = min(np.diff([0, *ends]).tolist(), default=total)
    _check_updates("a cycle of the training", accumulate, shortest, None, steps)
    if _ADDRESS.search(name):
        # A function in it is known by its place in memory, which is another one when the run is resumed.
        name = f"{_ADDRESS.sub('', name)}, rates summing to {rates.sum():.6g}"
    if not np.all(np.isfinite(rates)) or np.any(rates < 0):
        raise ConfigError("the schedule returned learning rates that are negative or not finite", received=name)
    if cycle_ends is None:
        inside = [end for end in ends if end % steps == 0]
        cycle_ends = tuple(end // steps for end in inside) if len(inside) == len(ends) else ()
    return Plan(epochs, rates, momenta, multipliers, cycle_ends, name)


def _check_updates(what: str, accumulate: int, total: int, epochs: int | None, steps: int) -> None:
    """Refuse an accumulation over more batches than there are: no weight would change."""
    if accumulate <= total:
        return
    raise ConfigError(
        f"accumulate is larger than {what}: no weight would change",
        received={
            "accumulate": accumulate,
            "batches": total,
            **({} if epochs is None else {"epochs": epochs}),
            "batches in an epoch": steps,
        },
        allowed=f"accumulate from 1 to {total}",
        fix="lower accumulate or batch_size, or train for more epochs",
    )
