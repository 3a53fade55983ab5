"""An optimizer with a rate for each layer group, a plan of rates and momenta inside the graph, and slots that survive.

Discriminative learning rates (Howard & Ruder 2018, arXiv 1801.06146) scale the update, not the gradient: Adam would
divide a scaled gradient by its own scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tlkit.callbacks.momentum import DRIVABLE, DynamicFloat, momentum_name
from tlkit.errors import ConfigError

_SHORTEST_TABLE = 1024


class _Now(NamedTuple):
    """What a step is taken with. Read anew for every variable, it costs a small network half of its step."""

    rate: tf.Tensor
    rates: list[tf.Tensor]  # by group
    momentum: tf.Tensor
    counts: list[tf.Tensor]  # by group


class GroupRates:
    """What `group_optimizer` puts in front of an optimizer class; the class's own `update_step` does the step.

    Attributes:
        covered: the model variables that have slots, in the order of their slots.
    """

    # Set by `group_optimizer`; the class is never made on its own.
    _optimizer_class: type

    def _prepare(self: Any, groups: Sequence[Sequence[Any]], ema_decay: float) -> None:
        def scalar(value: Any, dtype: Any, shape: Any = None) -> tf.Variable:
            return tf.Variable(
                value, trainable=False, dtype=dtype, shape=shape, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
            )

        self._group_numbers = {self._var_key(member): number for number, group in enumerate(groups) for member in group}
        self._active: int | None = None
        self._now: _Now | None = None
        self._ema_decay = ema_decay
        self._slots: dict[tuple[int, str], Any] = {}
        self._multipliers = scalar(np.ones(len(groups)), tf.float32)
        self._counts = scalar(np.zeros(len(groups)), tf.int64)
        self._start = scalar(0, tf.int64)
        self._override = scalar(np.nan, tf.float32)
        self._rates = scalar(np.ones(_SHORTEST_TABLE), tf.float32, [None])
        self._momenta = scalar(np.ones(_SHORTEST_TABLE), tf.float32, [None])
        self._log = scalar(np.full((_SHORTEST_TABLE, 3), np.nan), tf.float32, [None, 3])
        self._default_momentum = np.nan
        name = momentum_name(self) if isinstance(self, DRIVABLE) else None
        self._momentum_name = name if name and float(getattr(self, name)) else None
        if self._momentum_name:
            self._default_momentum = float(getattr(self, self._momentum_name))
            driven = DynamicFloat(self._default_momentum, self._momentum)
            setattr(self, self._momentum_name, driven)

    # The plan: what the next steps are told

    def set_plan(
        self: Any,
        rates: np.ndarray,
        momenta: np.ndarray | None = None,
        multipliers: Sequence[float] | None = None,
        *,
        done: int = 0,
    ) -> None:
        """Fix rate and momentum of the steps to come; the last ones stay when the plan is over.

        Nothing is traced anew: the tables are variables that the graph reads at the number of the step.

        Args:
            rates: float [steps], the rate of a group whose multiplier is 1.
            momenta: float [steps], or None for the optimizer's own momentum.
            multipliers: factor on the rate for each layer group; left out, they stay as they are.
            done: steps of the plan that a resumed run has taken already; what they recorded stays.

        Raises:
            ConfigError: the momentum of this optimizer cannot be changed, or there are not as many factors as groups.
        """
        if momenta is not None and not self.has_momentum:
            raise ConfigError(
                f"the momentum of {self._optimizer_class.__name__} cannot be scheduled",
                allowed="SGD with momentum, Adam, AdamW, Adamax, Lamb, Lion",
                fix="pass a schedule without momentum, such as OneCycle(..., momentums=None)",
            )
        if multipliers is not None:
            if len(multipliers) != self._multipliers.shape[0]:
                raise ConfigError("one factor per layer group is needed", received=list(multipliers))
            self._multipliers.assign(np.asarray(multipliers, np.float32))
        # Tables grow in powers of two, so that XLA (on GPUs) meets few shapes.
        length = max(_SHORTEST_TABLE, 1 << (len(rates) - 1).bit_length())

        def table(values: np.ndarray) -> np.ndarray:
            return np.pad(np.asarray(values, np.float32), (0, length - len(values)), mode="edge")

        self._rates.assign(table(rates))
        self._momenta.assign(table(np.full(len(rates), self._default_momentum) if momenta is None else momenta))
        self._start.assign(tf.cast(self._iterations.value, tf.int64) - done)
        if not done:
            self._log.assign(np.full((length, 3), np.nan, np.float32))
            self._override.assign(np.nan)

    def plan(self: Any) -> list[tf.Tensor]:
        """Give the present plan, for `put_plan`."""
        return [variable.read_value() for variable in self._plan_variables()]

    def put_plan(self: Any, plan: Sequence[tf.Tensor]) -> None:
        """Go back to a plan."""
        for variable, value in zip(self._plan_variables(), plan, strict=True):
            variable.assign(value)

    def _plan_variables(self: Any) -> list[tf.Variable]:
        return [self._multipliers, self._start, self._rates, self._momenta, self._override, self._log]

    def recorded(self: Any, first: int, last: int) -> np.ndarray:
        """Give what steps `first` up to (not including) `last` of the plan were run with.

        Returns:
            float32 [last - first, 3]: the rate (of a group whose multiplier is 1), the momentum (NaN where the
            optimizer has none) and the loss before the step.
        """
        return self._log.numpy()[first:last]

    def _entry(self: Any, table: tf.Variable) -> tf.Tensor:
        values = table.read_value()
        return values[self._position(tf.shape(values, tf.int64)[0])]

    def _position(self: Any, length: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(tf.cast(self._iterations.value, tf.int64) - self._start, 0, length - 1)

    def scale_loss(self: Any, loss: tf.Tensor) -> tf.Tensor:
        """Keep the step's own loss: Keras hands it over here once a step, and reports only a running mean."""
        numbers = (self._get_current_learning_rate(), self._entry(self._momenta), tf.stop_gradient(loss))
        row = tf.stack([tf.cast(number, tf.float32) for number in numbers])
        position = self._position(tf.shape(self._log.read_value(), tf.int64)[0])
        self._log.scatter_nd_update([[position]], [row])
        return self._super("scale_loss")(loss)

    # Rates by group

    @property
    def learning_rate(self: Any) -> Any:
        """The present rate of a group whose multiplier is 1; once set, it stays, whatever the plan says."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self: Any, value: Any) -> None:
        self._override.assign(tf.cast(value, tf.float32))

    def _get_current_learning_rate(self: Any) -> tf.Tensor:
        if self._now is not None:
            return self._now.rate if self._active is None else self._now.rates[self._active]
        rate = tf.where(tf.math.is_nan(self._override), self._entry(self._rates), self._override)
        return rate if self._active is None else rate * self._multipliers[self._active]

    def _momentum(self: Any) -> tf.Tensor:
        return self._entry(self._momenta) if self._now is None else self._now.momentum

    def update_step(self: Any, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        """Take the optimizer's own step with the rate and the step count of the variable's group."""
        with self._as_group(self._group_of(variable)):
            rate = (
                learning_rate * self._multipliers[self._active] if self._now is None else self._now.rates[self._active]
            )
            self._super("update_step")(gradient, variable, rate)

    def _apply_weight_decay(self: Any, variables: Sequence[Any]) -> None:
        for variable in variables:
            with self._as_group(self._group_of(variable)):
                self._super("_apply_weight_decay")([variable])

    @property
    def iterations(self: Any) -> Any:
        """Steps taken: by the group in question while it is updated, in all otherwise.

        Adam corrects its moments by the number of steps they have seen. A group that was unfrozen late has seen
        fewer, and would take first steps that are too long.
        """
        if self._active is None:
            return self._super("iterations")
        count = self._counts[self._active] if self._now is None else self._now.counts[self._active]
        return count // self.gradient_accumulation_steps if self.gradient_accumulation_steps else count

    def apply(self: Any, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Update those variables; the count of their groups goes up."""
        variables = list(self._trainable_variables if trainable_variables is None else trainable_variables)
        self._now = self._read_now()
        try:
            self._super("apply")(grads, variables)
        finally:
            self._now = None
        present = {self._group_of(variable) for variable in variables}
        self._counts.assign_add([int(number in present) for number in range(self._multipliers.shape[0])])
        if self._ema_decay:
            self._update_average(variables)

    def _read_now(self: Any) -> _Now | None:
        if tf.distribute.has_strategy():  # the update runs outside the replica in which this would be read
            return None
        groups = range(self._multipliers.shape[0])
        rate, multipliers, counts = (
            self._get_current_learning_rate(),
            self._multipliers.read_value(),
            self._counts.read_value(),
        )
        return _Now(
            rate,
            [rate * multipliers[number] for number in groups],
            self._momentum(),
            [counts[number] for number in groups],
        )

    def _update_average(self: Any, variables: Sequence[Any]) -> None:
        every = self.gradient_accumulation_steps or 1
        updated = tf.cast(self._iterations.value, tf.int64) % every == 0  # otherwise gradients were only added up
        for variable in variables:
            updates = tf.cast(self._counts[self._group_of(variable)] // every, tf.float32)
            decay = tf.minimum(self._ema_decay, (1.0 + updates) / (10.0 + updates))  # short runs need a short memory
            average = self._slots[id(variable), "ema"]
            share = tf.where(updated, 1.0 - decay, 0.0)
            average.assign(average.value + share * (variable.value - average.value))

    # Slots

    def build(self: Any, variables: Sequence[Any]) -> None:
        """Make the slots, the running averages too."""
        if self.built:
            return
        self._super("build")(list(variables))
        # Adafactor makes some of its slots without saying whose they are; their place in a list tells.
        for name, held in list(vars(self).items()):
            if not isinstance(held, list) or name in ("_variables", "_trainable_variables"):
                continue
            for variable, slot in zip(variables, held, strict=False) if len(held) == len(variables) else ():
                if isinstance(slot, keras.Variable) and not self._is_slot(slot):
                    self._slots[id(variable), name] = slot
        if self._ema_decay:
            for variable in variables:
                self.add_variable_from_reference(variable, name="ema").assign(variable.value)

    def add_variable_from_reference(
        self: Any, reference_variable: Any, name: str | None = None, initializer: Any = "zeros"
    ) -> Any:
        """Make a slot and remember whose it is."""
        slot = self._super("add_variable_from_reference")(reference_variable, name=name, initializer=initializer)
        self._slots[id(reference_variable), name or "var"] = slot
        return slot

    @property
    def covered(self: Any) -> list[Any]:
        """The model variables that have slots."""
        return list(self._trainable_variables)

    @property
    def kind(self: Any) -> str:
        """Name of the optimizer's own class."""
        return self._optimizer_class.__name__

    def get_config(self: Any) -> dict[str, Any]:
        """Give the settings of the optimizer's own class, at the present rate."""
        config = {key: float(v) if isinstance(v, float) else v for key, v in self._super("get_config")().items()}
        return {**config, "learning_rate": float(self.learning_rate)}

    def save_own_variables(self: Any, store: Any) -> None:
        """Leave the slots out of a saved model: they are in the order in which groups were unfrozen.

        Keras would hand them to the wrong variables; so a loaded model warns and starts with fresh ones. A run's
        checkpoints keep them.
        """

    @property
    def has_momentum(self: Any) -> bool:
        """Whether a schedule can move the momentum (or beta_1) of this optimizer."""
        return self._momentum_name is not None

    def state(self: Any) -> list[Any]:
        """All variables that a resumed run must find again, in a fixed order."""
        return [*self.variables, self._counts, self._override, self._log]

    def everything(self: Any) -> list[Any]:
        """The state and the plan: what must be put back for the optimizer to be what it was."""
        return [*self.variables, self._counts, *self._plan_variables()]

    def averages(self: Any) -> dict[int, Any]:
        """The running averages by `id` of the model variable; empty without EMA."""
        return {owner: slot for (owner, name), slot in self._slots.items() if name == "ema"}

    def take_over(self: Any, other: Any) -> None:
        """Go on where another optimizer of the same kind is, for all variables that it has slots of."""
        for key, slot in other._slots.items():
            self._slots[key].assign(slot.value)
        # What is left are counters of the whole optimizer, in the order of their creation.
        mine, theirs = ([v for v in one.variables if not one._is_slot(v)] for one in (self, other))
        for variable, value in zip(mine, theirs, strict=True):
            variable.assign(value.value)
        self._counts.assign(other._counts)
        self.put_plan(other.plan())

    def _group_of(self: Any, variable: Any) -> int:
        return self._group_numbers[self._var_key(variable)]

    def _is_slot(self: Any, variable: Any) -> bool:
        return any(variable is slot for slot in self._slots.values())

    @contextmanager
    def _as_group(self: Any, number: int) -> Iterator[None]:
        self._active = number
        try:
            yield
        finally:
            self._active = None

    def _super(self: Any, name: str) -> Any:
        return getattr(super(), name)


def group_optimizer(
    optimizer: keras.optimizers.Optimizer,
    groups: Sequence[Sequence[Any]],
    *,
    ema_decay: float = 0.0,
) -> Any:
    """Give an optimizer a rate for each layer group.

    The step itself stays the optimizer's own, so that it works for any: SGD, Adam, AdamW, Lion, and the user's.

    Example:
        >>> optimizer = group_optimizer(keras.optimizers.Adam(), [model.trainable_variables])
        >>> optimizer.set_plan([0.1, 0.2, 0.1])

    Args:
        optimizer: a fresh one; it is changed in place, so that what was set on it (variables without weight decay,
            clipping, accumulation) stays.
        groups: the Keras variables of each layer group; no others can be trained.
        ema_decay: keeps running averages of the weights when above 0 (Polyak & Juditsky 1992), below 1.

    Returns:
        The same object, now also a `GroupRates`.

    Raises:
        ConfigError: it has been used already, or brings a schedule of its own.
    """
    if optimizer.built:
        raise ConfigError("the optimizer was already used", fix="create a new optimizer for each Learner")
    if not isinstance(optimizer._learning_rate, keras.Variable):
        raise ConfigError(
            "the optimizer has its own learning-rate schedule", fix="pass it to fit(..., schedule=...) instead"
        )
    if optimizer.use_ema:
        raise ConfigError("the optimizer has its own EMA", fix="use the Learner's ema=... instead")
    kind = type(optimizer)
    # Under the name of the optimizer's own class, so that a saved model names that one and loads without tlkit.
    name = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "_optimizer_class": kind}
    # The class is changed, not the object made anew by from_config: that would forget which variables do not decay.
    optimizer.__class__ = type(kind.__name__, (GroupRates, kind), name)
    optimizer._prepare(groups, ema_decay)
    return optimizer


def begin_accumulation(optimizer: Any) -> None:
    """Forget gradients that wait for an update, so that the next batch is the first of one.

    A batch that was left over when a stage ended was averaged over other trainable weights.

    Args:
        optimizer: a built Keras optimizer; one without `gradient_accumulation_steps` stays as it is.
    """
    every = optimizer.gradient_accumulation_steps or 1
    if every == 1:
        return
    optimizer._iterations.assign(optimizer._iterations.numpy() // every * every)
    if isinstance(optimizer, GroupRates):
        optimizer._counts.assign(optimizer._counts // every * every)
    for gathered in optimizer._accumulated_gradients:
        gathered.assign(np.zeros(gathered.shape, np.float32))
