"""How each training step is taken: the Learner's options, in one place and checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import keras

from tlkit.errors import ConfigError, check_choice, did_you_mean

Precision = Literal["as_built", "auto", "float32", "mixed_bfloat16", "mixed_float16"]
OptimizerName = Literal["adamw", "adam", "sgd", "lion"]


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """Options of the training step.

    Example:
        >>> TrainingOptions(label_smoothing=0.1, clip_norm=1.0)

    Args:
        optimizer: `"adamw"` (weight decay 0.01, not on biases and normalisation), `"adam"`, `"sgd"` (momentum 0.9) or
            `"lion"`; the Learner also takes a function that makes one.
        label_smoothing: fraction of the target distributed over all classes (Szegedy et al. 2015, arXiv 1512.00567),
            0 up to 1.
        accumulate: batches per update (gradient accumulation), for batches larger than memory. Batches
            that are left over at the end of an epoch count for the first update of the next one; those at the end of
            a `fit` are not used. A number larger than the batches of a `fit` or a cycle is an error.
        clip_norm: maximum global gradient norm; 0 for no limit.
        ema: decay of the weights' moving average (Polyak & Juditsky 1992), for example 0.999; 0 for none. The averages
            are what is validated and kept. Short runs forget faster, so that averages of 30 steps make sense.
        patience: early stopping: epochs of a `fit` without a better validation loss; 0 for off.
        precision: `"auto"` measures whether a reduced format is faster here, once for the frozen and once for the
            unfrozen stage; or a Keras dtype policy; `"as_built"` leaves the task as it is.
        step_tokens: how many tokens of a batch of texts, padding included, go through the encoder at once in training.
            A larger batch goes in pieces whose gradients are added up, which bounds the memory and leaves the update
            what it was; 0 for no limit. Other inputs are not cut.
        steps_per_call: training steps in one call of the graph. Small networks spend most of their time between the
            steps; callbacks see one step in so many.

    Raises:
        ConfigError: a value is invalid.
    """

    optimizer: OptimizerName = "adamw"
    label_smoothing: float = 0.0
    accumulate: int = 1
    clip_norm: float = 0.0
    ema: float = 0.0
    patience: int = 0
    precision: Precision = "as_built"
    step_tokens: int = 1024
    steps_per_call: int = 1

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, get_args(OptimizerName))
        check_choice("precision", self.precision, get_args(Precision))
        for name in ("label_smoothing", "ema"):
            _check(name, getattr(self, name), lambda value: 0 <= value < 1, "0 up to 1")
        _check("clip_norm", self.clip_norm, lambda value: 0 <= value < math.inf, "0 (no limit) or more")
        for name, lowest in (("accumulate", 1), ("patience", 0), ("step_tokens", 0), ("steps_per_call", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ConfigError(f"{name} is invalid", received=value, allowed=f"a whole number, {lowest} or more")

    def updated(self, changes: Mapping[str, Any]) -> TrainingOptions:
        """Return the options with changes.

        Raises:
            ConfigError: there is no such option.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise ConfigError(
                    "unknown option of the Learner", received=name, allowed=known, fix=did_you_mean(name, known) or None
                )
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values."""
        return dataclasses.asdict(self)

    def maker(
        self, make: Callable[[Any], keras.optimizers.Optimizer] | None
    ) -> Callable[[float], keras.optimizers.Optimizer]:
        """Return a function from a learning rate to a new optimizer with these options.

        Args:
            make: the user's own; the named one by default.

        Raises:
            ConfigError: `make` is an optimizer, not a function that makes one.
        """
        if make is not None and not callable(make):
            raise ConfigError(
                "optimizer must be a name, or a function from a learning rate to an optimizer",
                received=type(make).__name__,
                fix="for example optimizer=lambda rate: keras.optimizers.SGD(rate, momentum=0.9)",
            )

        def fresh(rate: float) -> keras.optimizers.Optimizer:
            optimizer = make(rate) if make is not None else self._named(rate)
            if isinstance(optimizer, keras.optimizers.Optimizer):
                if self.accumulate > 1:
                    _set_once(optimizer, "gradient_accumulation_steps", self.accumulate)
                if self.clip_norm:
                    _set_once(optimizer, "global_clipnorm", float(self.clip_norm))
            return optimizer

        return fresh

    def _named(self, rate: float) -> keras.optimizers.Optimizer:
        if self.optimizer == "sgd":
            return keras.optimizers.SGD(rate, momentum=0.9)
        if self.optimizer == "adam":
            return keras.optimizers.Adam(rate)
        kind = keras.optimizers.AdamW if self.optimizer == "adamw" else keras.optimizers.Lion
        optimizer = kind(rate, weight_decay=1e-2)
        # Shrinking an offset or a scale towards zero regularises nothing.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer


def _check(name: str, value: Any, usable: Callable[[Any], bool], allowed: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not usable(value):
        raise ConfigError(f"{name} is invalid", received=value, allowed=allowed)


def _set_once(optimizer: keras.optimizers.Optimizer, name: str, value: Any) -> None:
    clipping = ("clipnorm", "clipvalue", "global_clipnorm")
    taken = clipping if name in clipping else (name,)
    for other in taken:
        if getattr(optimizer, other, None) is not None:
            raise ConfigError(f"the optimizer already has its own {other}", received=getattr(optimizer, other))
    setattr(optimizer, name, value)
