"""A momentum that can change while a compiled training step is in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tlkit.errors import ConfigError

# Tested one by one. Other optimizers reject such a number (Nadam, RMSprop) or use it for something else (Muon,
# ScheduleFreeAdamW).
DRIVABLE = (
    keras.optimizers.SGD,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.Adamax,
    keras.optimizers.Lamb,
    keras.optimizers.Lion,
)


class DynamicFloat(float):
    """A float in Python whose current value every step of a compiled graph reads.

    Keras optimizers have momentum and beta_1 as Python numbers, which are constants in a compiled step. This class
    replaces the number and is converted to a tensor in every operation of the graph. `float()`, comparisons, `repr` and
    saved configs use the first value. An eager tensor to the left of an operator uses it too, because TensorFlow
    does not call the conversion there; no optimizer in `DRIVABLE` has such an operation.

    Example:
        >>> level = tf.Variable(0.8)
        >>> beta = DynamicFloat(0.9, level.read_value)
        >>> float(beta), round(float(1 - beta), 3)
        (0.9, 0.2)

    Args:
        value: what Python sees.
        read: gives a float scalar tensor; called while a graph is built, and by every eager use.
    """

    read: Callable[[], tf.Tensor]
    dial: MomentumController | None = None

    def __new__(cls, value: float, read: Callable[[], tf.Tensor]) -> DynamicFloat:
        """Create the float and attach the function that reads the current value."""
        driven = super().__new__(cls, value)
        driven.read = read
        return driven

    def __tf_tensor__(self, dtype: tf.DType | None = None, name: str | None = None) -> tf.Tensor:
        """Return the value as a tensor, for TensorFlow's conversion protocol."""
        tensor = self.read()
        return tensor if dtype is None else tf.cast(tensor, dtype, name=name)

    # Every operator must read the tensor: an operator inherited from float would silently use the first value.

    def __add__(self, other: Any) -> Any:
        return self.read() + other

    def __radd__(self, other: Any) -> Any:
        return other + self.read()

    def __sub__(self, other: Any) -> Any:
        return self.read() - other

    def __rsub__(self, other: Any) -> Any:
        return other - self.read()

    def __mul__(self, other: Any) -> Any:
        return self.read() * other

    def __rmul__(self, other: Any) -> Any:
        return other * self.read()

    def __truediv__(self, other: Any) -> Any:
        return self.read() / other

    def __rtruediv__(self, other: Any) -> Any:
        return other / self.read()

    def __pow__(self, other: Any, mod: None = None) -> Any:
        return self.read() ** other

    def __rpow__(self, other: Any, mod: None = None) -> Any:
        return other ** self.read()

    def __neg__(self) -> Any:
        return -self.read()


class MomentumController:
    """Set an optimizer's momentum (SGD) or beta_1 (Adam, AdamW, Adamax, Lamb, Lion) from outside the graph.

    A step that was compiled earlier keeps its constant. Call `model.make_train_function(force=True)` after creating a
    controller, and set `model.train_function = None` after `release()`.

    Example:
        >>> optimizer = keras.optimizers.Adam(1e-3, beta_1=0.9)
        >>> controller = MomentumController(optimizer)
        >>> controller.set(0.85)
        >>> controller.release()
        >>> optimizer.beta_1
        0.9

    Args:
        optimizer: one of these optimizers, or a LossScaleOptimizer around one.
        read: returns the momentum as a float scalar tensor inside the graph, for a schedule that is computed there. By
            default, a variable has the value of the last `set`.
        owner: the object that sets the momentum.

    Attributes:
        owner: as given.

    Raises:
        ConfigError: the optimizer has no momentum that can be set.
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        read: Callable[[], tf.Tensor] | None = None,
        owner: object = None,
    ):
        self.owner = owner
        self._optimizer = inner_optimizer(optimizer)
        self._name = _drivable_name(self._optimizer)
        self._plain = float(getattr(self._optimizer, self._name))
        self._level: tf.Variable | None = None
        if read is None:
            # Not a keras.Variable: the optimizer would keep that among its own and save it with its slots.
            self._level = tf.Variable(self._plain, dtype=tf.float32, trainable=False, name="momentum_dial")
            read = self._level.read_value
        self._driven = DynamicFloat(self._plain, read)
        self._driven.dial = self
        setattr(self._optimizer, self._name, self._driven)

    @staticmethod
    def of(optimizer: keras.optimizers.Optimizer) -> MomentumController | None:
        """Return the controller of this optimizer's momentum, or None."""
        optimizer = inner_optimizer(optimizer)
        held = getattr(optimizer, momentum_name(optimizer) or "", None)
        return held.dial if isinstance(held, DynamicFloat) else None

    def set(self, value: float) -> None:
        """Set the momentum of the next steps.

        Args:
            value: from 0 up to but not including 1.

        Raises:
            ConfigError: the dial has a reader of its own.
        """
        if self._level is None:
            raise ConfigError("this value is computed by a function and cannot be set")
        self._level.assign(value)

    def release(self) -> None:
        """Restore the optimizer's number; a second call does nothing."""
        if getattr(self._optimizer, self._name) is self._driven:
            setattr(self._optimizer, self._name, self._plain)


def inner_optimizer(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return the optimizer that updates the weights: the inner one of a LossScaleOptimizer, or the optimizer itself.

    Example:
        >>> inner_optimizer(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())).name
        'adam'

    Args:
        optimizer: a Keras optimizer.

    Returns:
        The one without a wrapper.
    """
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def momentum_name(optimizer: keras.optimizers.Optimizer) -> str | None:
    """Name the attribute that holds the momentum: `"momentum"`, `"beta_1"`, or None if there is none.

    Example:
        >>> momentum_name(keras.optimizers.Adam())
        'beta_1'

    Args:
        optimizer: a Keras optimizer.

    Returns:
        The name, also where the number can be read but not be driven.
    """
    return next((name for name in ("momentum", "beta_1") if hasattr(inner_optimizer(optimizer), name)), None)


def momentum_now(optimizer: keras.optimizers.Optimizer) -> float:
    """Return the momentum that the next step will use, NaN if the optimizer has none.

    Example:
        >>> momentum_now(keras.optimizers.SGD(momentum=0.9))
        0.9

    Args:
        optimizer: a Keras optimizer.

    Returns:
        The momentum or beta_1.
    """
    name = momentum_name(optimizer)
    if name is None:
        return float("nan")
    value = getattr(inner_optimizer(optimizer), name)
    return float(value.read()) if isinstance(value, DynamicFloat) else float(value)


def _drivable_name(optimizer: keras.optimizers.Optimizer) -> str:
    allowed = ", ".join(kind.__name__ for kind in DRIVABLE)
    fix = "use one of them, or turn momentum cycling off with momentums=None"
    name = momentum_name(optimizer)
    if name is None or not isinstance(optimizer, DRIVABLE):
        raise ConfigError(
            "the momentum of this optimizer cannot be changed",
            received=type(optimizer).__name__,
            allowed=allowed,
            fix=fix,
        )
    value = getattr(optimizer, name)
    if isinstance(value, DynamicFloat):
        raise ConfigError(
            "another callback already changes the optimizer's momentum",
            fix="use only one callback that changes the momentum",
        )
    if isinstance(optimizer, keras.optimizers.SGD) and value == 0:
        raise ConfigError(
            "SGD has no momentum",
            received=float(value),
            allowed="SGD(momentum=...) above 0",
            fix="compile with SGD(momentum=0.9), or turn momentum cycling off with momentums=None",
        )
    return name
