"""The learning-rate finder: an exponential sweep that leaves no trace in the model.

Smith 2015, arXiv 1506.01186 (the range test); smoothing and the suggestion at the steepest slope after fast.ai.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError, DataError, TrainingError
from tlkit.report.plots import plot_lr_finder

_SMOOTHING = 0.9
_DIVERGED = 4.0


@dataclasses.dataclass(frozen=True, eq=False)
class LRFinderResult:
    """What a sweep found.

    Attributes:
        rates: learning rate of each step, float64 [n].
        losses: training loss of each step, float64 [n].
        smoothed: exponentially smoothed losses, bias-corrected, float64 [n].
        suggestion: the learning rate where the smoothed loss falls fastest per decade.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float

    def plot(self, path: str | Path) -> Path:
        """Draw loss against learning rate and write it as a picture (PNG, SVG or PDF by the suffix).

        Returns:
            The path of the picture.
        """
        return plot_lr_finder(self.rates, self.losses, self.smoothed, self.suggestion, Path(path))


def sweep(
    model: keras.Model,
    dataset: tf.data.Dataset,
    optimizer: keras.optimizers.Optimizer,
    loss: keras.losses.Loss,
    *,
    start: float = 1e-6,
    end: float = 1.0,
    steps: int = 100,
) -> LRFinderResult:
    """Train for some steps with a growing learning rate, then put everything back.

    Every variable of the model (weights, batch-normalisation statistics, random seeds) is restored, also when the
    sweep is interrupted or fails. The optimizer is used up: pass a fresh one.

    Args:
        model: gives logits.
        dataset: endless `(inputs, targets)` or `(inputs, targets, weights)` batches.
        optimizer: a fresh optimizer.
        loss: takes targets and logits.
        start: first learning rate.
        end: last learning rate.
        steps: most steps; the sweep stops early once the smoothed loss is four times its minimum, or not finite.

    Raises:
        ConfigError: the range is not usable.
        DataError: the dataset is empty.
        TrainingError: the loss was not finite from the start.
    """
    if not (0 < start < end < float("inf")):
        raise ConfigError("the range of learning rates is not usable", received=(start, end), allowed="0 < start < end")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 10:
        raise ConfigError("too few steps for a sweep", received=steps, allowed="a whole number from 10")
    variables = model.trainable_variables

    @tf.function(jit_compile=False, reduce_retracing=True)
    def step(*batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(batch[1], model(batch[0], training=True), *batch[2:])
        gradients = tape.gradient(value, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        return value

    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    with _restored(model):
        optimizer.build(variables)
        for number, batch in enumerate(dataset.take(steps)):
            rate = start * (end / start) ** (number / (steps - 1))
            optimizer.learning_rate = rate
            value = float(step(*batch))
            if not np.isfinite(value):
                break
            average = _SMOOTHING * average + (1 - _SMOOTHING) * value
            rates.append(rate)
            losses.append(value)
            smoothed.append(average / (1 - _SMOOTHING ** (number + 1)))
            if number > 10 and smoothed[-1] > _DIVERGED * min(smoothed):
                break
        else:
            if not rates:
                raise DataError("the learning-rate finder got no batches", received="an empty data set")
    if len(rates) < 5:
        raise TrainingError("the loss is not finite at the smallest learning rates", received=losses, fix="start lower")
    return LRFinderResult(np.array(rates), np.array(losses), np.array(smoothed), steepest(rates, smoothed))


def steepest(rates: list[float], smoothed: list[float]) -> float:
    """Find the learning rate at which the smoothed loss falls fastest per decade, before its minimum."""
    log_rates = np.log10(rates)
    slope = np.gradient(np.asarray(smoothed), log_rates)
    # The first tenth is mostly the luck of single batches; past its minimum the loss says nothing about how fast
    # one may learn.
    first = len(rates) // 10
    last = max(int(np.argmin(smoothed)), first + 2)
    return float(rates[first + int(np.argmin(slope[first:last]))])


@contextmanager
def _restored(model: keras.Model) -> Iterator[None]:
    before = [variable.numpy() for variable in model.variables]
    try:
        yield
    finally:
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
