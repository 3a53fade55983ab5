"""Learning-rate schedules as closed formulas: pure maths, without TensorFlow or Keras.

Every schedule has `rate(step)`, `momentum(step)` and `cycle_ends(total_steps)`. The unit is steps (batches), counted
from 0. With `xp=keras.ops` the same formula builds a graph, so that a callback, a LearningRateSchedule and a plot never
disagree. Steps stay whole numbers (int64) up to the place inside the cycle: float32 cannot count beyond 2**24.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from tlkit.errors import ConfigError, check_choice
from tlkit.schedule_parts import (
    between,
    check_count,
    check_factor,
    check_momentums,
    check_number,
    check_order,
    check_positive,
    cosine_fall,
    power,
    real,
    set_values,
    whole,
)

Mode = Literal["triangular", "triangular2", "exp_range"]
# Cycles that start after this many steps are not listed. No training is that long, and their end fits int64.
_FURTHEST_STEP = 2**53


@runtime_checkable
class Schedule(Protocol):
    """The protocol of a learning-rate schedule.

    Example:
        >>> isinstance(Constant(1e-3), Schedule)
        True
    """

    def rate(self, step: Any, xp: Any = np) -> Any:
        """Return the learning rate of a step.

        Args:
            step: whole number, or an integer array or tensor of any shape; the first step is 0.
            xp: `numpy` for float64, `keras.ops` for tensors in Keras' float type, also inside a graph.

        Returns:
            The rate, in the shape of `step`.
        """

    def momentum(self, step: Any, xp: Any = np) -> Any | None:
        """Return the momentum (beta_1) of a step in the shape of `step`, or None if the schedule does not set it."""

    def cycle_ends(self, total_steps: int) -> list[int]:
        """Return the number of steps at the end of each complete cycle, up to `total_steps`."""


@dataclass(frozen=True)
class Constant:
    """A constant learning rate.

    Example:
        >>> float(Constant(0.1).rate(7))
        0.1

    Args:
        lr: the learning rate.

    Raises:
        ConfigError: `lr` is not a finite number above 0.
    """

    lr: float

    def __post_init__(self) -> None:
        set_values(self, lr=check_positive("lr", self.lr))

    def rate(self, step: Any, xp: Any = np) -> Any:
        """See `Schedule.rate`."""
        return self.lr + 0.0 * real(whole(step, xp), xp)

    def momentum(self, step: Any, xp: Any = np) -> None:
        """Return None: this schedule does not set the momentum."""
        return

    def cycle_ends(self, total_steps: int) -> list[int]:
        """Return `total_steps`: the whole run is one cycle."""
        return [total_steps]


@dataclass(frozen=True)
class Cyclical:
    """A learning rate that rises linearly from `base_lr` to `max_lr` and falls back, in cycles.

    Follows Smith 2015, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186.

    Example:
        >>> Cyclical(1.0, 5.0, step_size=4, mode="triangular2").rate([0, 4, 8, 12]).tolist()
        [1.0, 5.0, 1.0, 3.0]

    Args:
        base_lr: the lowest rate.
        max_lr: the highest rate of the first cycle.
        step_size: steps of half a cycle.
        mode: `"triangular"` keeps the height; `"triangular2"` halves it after each cycle; `"exp_range"` multiplies it
            by `gamma` at every step.
        gamma: factor of each step in mode `"exp_range"`, above 0 and at most 1.
        scale_fn: replaces the mode: the number of the cycle, from 1, -> factor on the height. It is given a float, a
            float array or (with `xp=keras.ops`) a tensor, so write it with operators: `lambda cycle: 1 / cycle`.

    Raises:
        ConfigError: an argument is not usable.
    """

    base_lr: float
    max_lr: float
    step_size: int
    mode: Mode = "triangular"
    gamma: float = 1.0
    scale_fn: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        base, highest = check_positive("base_lr", self.base_lr), check_positive("max_lr", self.max_lr)
        check_order("base_lr", base, "max_lr", highest)
        check_choice("mode", self.mode, get_args(Mode))
        if self.scale_fn is not None and not callable(self.scale_fn):
            raise ConfigError(
                "scale_fn must be a function",
                received=self.scale_fn,
                allowed="a function from the cycle number to a factor",
            )
        if self.gamma != 1 and (self.mode != "exp_range" or self.scale_fn is not None):
            raise ConfigError('gamma is only used by mode "exp_range" without a scale_fn', received=self.gamma)
        set_values(
            self,
            base_lr=base,
            max_lr=highest,
            step_size=check_count("step_size", self.step_size),
            gamma=check_factor("gamma", self.gamma),
        )

    def rate(self, step: Any, xp: Any = np) -> Any:
        """See `Schedule.rate`."""
        step = whole(step, xp)
        cycle = xp.floor_divide(step, 2 * self.step_size)
        place = xp.mod(step, 2 * self.step_size)
        height = xp.divide(self.step_size - xp.abs(place - self.step_size), self.step_size)
        return between(self.base_lr, self.max_lr, height * self._scale(step, cycle, xp))

    def momentum(self, step: Any, xp: Any = np) -> None:
        """Return None: this schedule does not set the momentum."""
        return

    def cycle_ends(self, total_steps: int) -> list[int]:
        """End a cycle after every 2 * `step_size` steps."""
        return list(range(2 * self.step_size, total_steps + 1, 2 * self.step_size))

    def _scale(self, step: Any, cycle: Any, xp: Any) -> Any:
        if self.scale_fn is not None:
            return self.scale_fn(real(cycle, xp) + 1.0)
        if self.mode == "triangular2":
            return power(0.5, cycle, xp)
        return power(self.gamma, step, xp) if self.mode == "exp_range" else 1.0


@dataclass(frozen=True)
class Restarts:
    """A learning rate that falls along half a cosine and restarts at its maximum (SGDR).

    Follows Loshchilov & Hutter 2016, "SGDR: Stochastic Gradient Descent with Warm Restarts", arXiv 1608.03983.

    Example:
        >>> schedule = Restarts(1.0, cycle_steps=2, cycle_mult=2)
        >>> [round(float(rate), 3) for rate in schedule.rate(range(7))]
        [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]

    Args:
        max_lr: rate at the start of the first cycle.
        cycle_steps: steps of the first cycle.
        cycle_mult: each cycle has this many times the steps of the one before; a whole number.
        min_lr: rate towards which each cycle falls.
        cycle_decay: each cycle starts at this part of the height (above `min_lr`) of the one before.

    Raises:
        ConfigError: an argument is not usable.
    """

    max_lr: float
    cycle_steps: int
    cycle_mult: int = 1
    min_lr: float = 0.0
    cycle_decay: float = 1.0

    def __post_init__(self) -> None:
        lowest, highest = (
            check_number("min_lr", self.min_lr, "a finite number, 0 or above", lambda rate: rate >= 0),
            check_positive("max_lr", self.max_lr),
        )
        check_order("min_lr", lowest, "max_lr", highest)
        set_values(
            self,
            max_lr=highest,
            cycle_steps=check_count("cycle_steps", self.cycle_steps),
            cycle_mult=check_count("cycle_mult", self.cycle_mult),
            min_lr=lowest,
            cycle_decay=check_factor("cycle_decay", self.cycle_decay),
        )

    def rate(self, step: Any, xp: Any = np) -> Any:
        """See `Schedule.rate`."""
        step = whole(step, xp)
        if self.cycle_mult == 1:
            cycle = xp.floor_divide(step, self.cycle_steps)
            part = xp.divide(xp.mod(step, self.cycle_steps), self.cycle_steps)
        else:
            # Whole numbers are compared, because a logarithm would miss boundaries of cycles by rounding.
            starts = self._starts(_FURTHEST_STEP)
            lengths = [self.cycle_steps * self.cycle_mult**i for i in range(len(starts))]
            later = xp.array(starts[1:], dtype="int64")
            cycle = xp.sum(xp.greater_equal(xp.expand_dims(step, -1), later), axis=-1)
            start = xp.take(xp.array(starts, dtype="int64"), cycle)
            part = xp.divide(step - start, xp.take(xp.array(lengths, dtype="int64"), cycle))
        return between(self.min_lr, self.max_lr, power(self.cycle_decay, cycle, xp) * cosine_fall(part, xp))

    def momentum(self, step: Any, xp: Any = np) -> None:
        """Return None: this schedule does not set the momentum."""
        return

    def cycle_ends(self, total_steps: int) -> list[int]:
        """End a cycle where the next one starts."""
        if self.cycle_mult == 1:
            return list(range(self.cycle_steps, total_steps + 1, self.cycle_steps))
        return self._starts(total_steps)[1:]

    def _starts(self, limit: int) -> list[int]:
        """Return the first step of each cycle, up to `limit`."""
        starts, length = [0], self.cycle_steps
        while starts[-1] + length <= limit:
            starts.append(starts[-1] + length)
            length *= self.cycle_mult
        return starts


@dataclass(frozen=True)
class OneCycle:
    """A learning rate with one rise and one long fall along cosines. The momentum is the inverse.

    Follows Smith 2018, "A disciplined approach to neural network hyper-parameters", arXiv 1803.09820, with cosines in
    place of straight lines. Runs of one or two steps have no room for a climb and begin at `max_lr`.

    Example:
        >>> schedule = OneCycle(1.0, total_steps=101, div=25, momentums=(0.95, 0.85))
        >>> [float(schedule.rate(step)) for step in (0, 25, 100)]
        [0.04, 1.0, 1e-05]
        >>> [float(schedule.momentum(step)) for step in (0, 25, 100)]
        [0.95, 0.85, 0.95]

    Args:
        max_lr: the peak.
        total_steps: steps of the run; the last one is `total_steps - 1`, later ones keep its rate.
        pct_start: part of the steps that climb, between 0 and 1.
        div: the climb starts at `max_lr / div`.
        final_div: the last step has `max_lr / final_div`.
        momentums: momentum at both ends and at the peak, or None to leave it alone.

    Raises:
        ConfigError: an argument is not usable.
    """

    max_lr: float
    total_steps: int
    pct_start: float = 0.25
    div: float = 25.0
    final_div: float = 1e5
    momentums: tuple[float, float] | None = (0.95, 0.85)

    def __post_init__(self) -> None:
        pct = check_number("pct_start", self.pct_start, "a number between 0 and 1", lambda value: 0 < value < 1)
        set_values(
            self,
            max_lr=check_positive("max_lr", self.max_lr),
            total_steps=check_count("total_steps", self.total_steps),
            pct_start=pct,
            div=check_number("div", self.div, "a number of 1 or more", lambda value: value >= 1),
            final_div=check_number("final_div", self.final_div, "a number of 1 or more", lambda value: value >= 1),
            momentums=check_momentums(self.momentums),
        )

    def rate(self, step: Any, xp: Any = np) -> Any:
        """See `Schedule.rate`."""
        return self._wave(step, self.max_lr / self.div, self.max_lr, self.max_lr / self.final_div, xp)

    def momentum(self, step: Any, xp: Any = np) -> Any | None:
        """See `Schedule.momentum`."""
        if self.momentums is None:
            return None
        outer, peak = self.momentums
        return self._wave(step, outer, peak, outer, xp)

    def cycle_ends(self, total_steps: int) -> list[int]:
        """Return `total_steps`: the whole run is one cycle."""
        return [total_steps]

    def _wave(self, step: Any, first: float, peak: float, last: float, xp: Any) -> Any:
        end = self.total_steps - 1
        top = min(max(round(self.pct_start * self.total_steps), 1), end - 1) if end >= 2 else 0
        step = xp.clip(whole(step, xp), 0, end)
        climb = 1.0 - cosine_fall(xp.divide(step, max(top, 1)), xp)
        fall = cosine_fall(xp.divide(step - top, max(end - top, 1)), xp)
        return xp.where(xp.less(step, top), between(first, peak, climb), between(last, peak, fall))


@dataclass(frozen=True)
class Staircase:
    """A learning rate that is multiplied by the same factor at given steps.

    Example:
        >>> schedule = Staircase(0.1, falls=(30, 60, 90))
        >>> [round(float(schedule.rate(step)), 6) for step in (0, 29, 30, 90)]
        [0.1, 0.1, 0.01, 0.0001]

    Args:
        max_lr: rate of the first steps.
        falls: steps at which the rate falls, in ascending order.
        factor: of each fall, above 0 and at most 1.

    Raises:
        ConfigError: an argument is not usable.
    """

    max_lr: float
    falls: tuple[int, ...]
    factor: float = 0.1

    def __post_init__(self) -> None:
        set_values(
            self,
            max_lr=check_positive("max_lr", self.max_lr),
            falls=tuple(check_count("falls", step) for step in self.falls),
            factor=check_factor("factor", self.factor),
        )
        if list(self.falls) != sorted(self.falls):
            raise ConfigError("falls are not in ascending order", received=self.falls)

    def rate(self, step: Any, xp: Any = np) -> Any:
        """See `Schedule.rate`."""
        step = whole(step, xp)
        fallen = sum((xp.where(xp.less(step, fall), 0.0, 1.0) for fall in self.falls), xp.multiply(step, 0.0))
        return self.max_lr * xp.exp(fallen * math.log(self.factor))

    def momentum(self, step: Any, xp: Any = np) -> None:
        """Return None: this schedule does not set the momentum."""
        return

    def cycle_ends(self, total_steps: int) -> list[int]:
        """Return `total_steps`: the whole run is one cycle."""
        return [total_steps]


@dataclass(frozen=True)
class SlantedTriangular:
    """A short linear rise and a long linear fall, as used to fine-tune language models (ULMFiT).

    Follows Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", arXiv 1801.06146,
    section 3.2.

    Example:
        >>> schedule = SlantedTriangular(0.01, total_steps=100)
        >>> [round(float(schedule.rate(step)), 6) for step in (0, 10, 55, 100)]
        [0.000313, 0.01, 0.005156, 0.000313]

    Args:
        max_lr: the peak.
        total_steps: steps of the run; later ones keep the lowest rate.
        cut_fraction: part of the steps that climb, between 0 and 1.
        ratio: how many times lower than the peak the lowest rate is.

    Raises:
        ConfigError: an argument is not usable.
    """

    max_lr: float
    total_steps: int
    cut_fraction: float = 0.1
    ratio: float = 32.0

    def __post_init__(self) -> None:
        set_values(
            self,
            max_lr=check_positive("max_lr", self.max_lr),
            total_steps=check_count("total_steps", self.total_steps),
            cut_fraction=check_number(
                "cut_fraction", self.cut_fraction, "a number between 0 and 1", lambda value: 0 < value < 1
            ),
            ratio=check_number("ratio", self.ratio, "a number of 1 or more", lambda value: value >= 1),
        )

    def rate(self, step: Any, xp: Any = np) -> Any:
        """See `Schedule.rate`."""
        # A run of a few steps has no rise: it starts at the peak.
        cut = math.floor(self.total_steps * self.cut_fraction)
        step = xp.clip(whole(step, xp), 0, self.total_steps)
        climb = xp.divide(step, max(cut, 1))
        drop = 1.0 - xp.divide(step - cut, max(self.total_steps - cut, 1))
        return between(self.max_lr / self.ratio, self.max_lr, xp.where(xp.less(step, cut), climb, drop))

    def momentum(self, step: Any, xp: Any = np) -> None:
        """Return None: this schedule does not set the momentum."""
        return

    def cycle_ends(self, total_steps: int) -> list[int]:
        """Return `total_steps`: the whole run is one cycle."""
        return [total_steps]
