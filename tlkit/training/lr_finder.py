"""The learning-rate finder: an exponential sweep that leaves no trace.

Smith 2015, arXiv 1506.01186 (the range test). The suggestions are those that fast.ai offers: steepest slope, a tenth of
the minimum, the valley, and the slide.
"""

from __future__ import annotations

import dataclasses
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state

from tlkit.errors import ConfigError, DataError, TrainingError
from tlkit.report.ascii_plot import ascii_plot
from tlkit.report.plots import plot_lr_finder
from tlkit.training.optimizers import begin_accumulation

RECOMMENDED = "steepest"
_SMOOTHING = 0.9
_FEWEST = 5


@dataclasses.dataclass(frozen=True, eq=False)
class LRFinderResult:
    """What a sweep found.

    Attributes:
        rates: learning rate of each step, float64 [n]; with layer groups, that of the last one.
        losses: training loss of each step, float64 [n].
        smoothed: exponentially smoothed losses, bias-corrected, float64 [n].
        suggestions: rate by name: `"steepest"` (the smoothed loss falls fastest per decade), `"minimum/10"`,
            `"valley"` (inside the longest fall) and `"slide"` (before the slope gets rough).
        suggestion: the recommended one of them, `"steepest"`.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestions: dict[str, float] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "suggestions", suggest(self.rates, self.smoothed))

    @property
    def suggestion(self) -> float:
        """The recommended learning rate."""
        return self.suggestions[RECOMMENDED]

    def plot(self, path: str | Path) -> Path:
        """Draw loss against learning rate with all suggestions and write it as PNG, SVG or PDF, by the suffix.

        Returns:
            The path of the picture.
        """
        return plot_lr_finder(self.rates, self.losses, self.smoothed, self.suggestions, RECOMMENDED, Path(path))

    def __str__(self) -> str:
        """The curve in characters, and the suggestions: what a terminal can show."""
        marks = {name: rate for name, rate in self.suggestions.items() if name == RECOMMENDED}
        curve = ascii_plot(np.log10(self.rates), self.smoothed, {k: np.log10(v) for k, v in marks.items()})
        listed = "   ".join(f"{name} {rate:.1e}" for name, rate in self.suggestions.items())
        return f"{curve}\nlearning rate (log10) against smoothed loss\n{listed}   recommended: {RECOMMENDED}"


def find_lr(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    start: float = 1e-6,
    end: float = 1.0,
    steps: int = 100,
    stop_at: float | None = 4.0,
) -> LRFinderResult:
    """Run the learning-rate finder on a compiled model, then restore all state.

    The state is restored bit for bit, also after an exception or Ctrl-C: weights, batch-normalisation
    statistics, the optimizer with its slots and counter, metrics, and the random states of layers, Keras, NumPy and
    Python. A dataset with its own random state (`shuffle` without a seed) cannot be
    restored; `tlkit.ImageData` has none.

    Example:
        >>> found = find_lr(model, dataset)
        >>> print(found)
        >>> found.suggestion
        0.0032

    Args:
        model: compiled with a plain learning rate (no schedule).
        dataset: `(inputs, targets)` or `(inputs, targets, weights)` batches; repeated as needed.
        start: first learning rate.
        end: last learning rate.
        steps: maximum number of updates. With gradient accumulation, an update takes several batches, and
            its loss is their mean.
        stop_at: end the sweep if the smoothed loss exceeds this multiple of its minimum; None runs to the end.

    Raises:
        ConfigError: the range is invalid, or the model's learning rate cannot be set.
        DataError: the dataset is empty.
        TrainingError: the loss was not finite from the start.
    """
    check_range(start, end, steps, stop_at)
    optimizer = _settable_optimizer(model)
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    gathering = getattr(optimizer, "inner_optimizer", optimizer)
    accumulate = int(gathering.gradient_accumulation_steps or 1)
    sweep = _Sweep(np.geomspace(start, end, steps), stop_at, accumulate)
    execution, functions = model.steps_per_execution, (model.train_function, model.test_function)
    with restored(model, optimizer):
        try:
            begin_accumulation(gathering)
            if execution != 1:
                model.steps_per_execution, model.train_function = 1, None
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*ran out of data.*")  # an empty one is told below
                model.fit(
                    dataset.repeat(),
                    epochs=1,
                    steps_per_epoch=steps * accumulate,
                    callbacks=[sweep],
                    shuffle=False,
                    verbose=0,
                )
        finally:
            model.steps_per_execution = execution
            if execution != 1:
                model.train_function, model.test_function = functions
    if not sweep.seen:
        raise DataError("the learning-rate finder got no batches", received="an empty dataset")
    if len(sweep.losses) < min(_FEWEST, steps):
        raise TrainingError(
            "the loss is not finite at the smallest learning rates", received=sweep.losses, fix="use a smaller start"
        )
    count = len(sweep.losses)
    return LRFinderResult(sweep.rates[:count], np.array(sweep.losses), np.array(sweep.smoothed))


def check_range(start: float, end: float, steps: int, stop_at: float | None) -> None:
    """Refuse a sweep that cannot be run.

    Raises:
        ConfigError: an argument is not usable.
    """
    if not (0 < start < end < float("inf")):
        raise ConfigError("the range of learning rates is invalid", received=(start, end), allowed="0 < start < end")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 10:
        raise ConfigError("too few steps for a sweep", received=steps, allowed="a whole number, 10 or more")
    if stop_at is not None and not stop_at > 1:
        raise ConfigError("stop_at is invalid", received=stop_at, allowed="a number above 1, or None")


def suggest(rates: Any, smoothed: Any) -> dict[str, float]:
    """Read learning rates off a curve.

    Args:
        rates: float [n], growing.
        smoothed: smoothed loss at each, float [n].

    Returns:
        Rate by name of the method.
    """
    rates, smoothed = np.asarray(rates, np.float64), np.asarray(smoothed, np.float64)
    return {
        "steepest": steepest(rates, smoothed),
        "minimum/10": float(rates[int(np.argmin(smoothed))]) / 10,
        "valley": valley(rates, smoothed),
        "slide": slide(rates, smoothed),
    }


def steepest(rates: Any, smoothed: Any) -> float:
    """Find the learning rate at which the smoothed loss falls fastest per decade, before its minimum."""
    slope = np.gradient(np.asarray(smoothed), np.log10(rates))
    # The first tenth is mostly the luck of single batches; past its minimum the loss says nothing about how fast
    # one may learn.
    first = len(rates) // 10
    last = max(int(np.argmin(smoothed)), first + 2)
    return float(rates[first + int(np.argmin(slope[first:last]))])


def valley(rates: Any, smoothed: Any) -> float:
    """Find the longest fall of the loss (its longest decreasing subsequence) and take the middle of it."""
    losses = np.asarray(smoothed)
    length, before = np.ones(len(losses), int), np.full(len(losses), -1)
    for here in range(1, len(losses)):
        higher = np.flatnonzero(losses[:here] > losses[here])
        if len(higher):
            best = higher[np.argmax(length[higher])]
            length[here], before[here] = length[best] + 1, best
    path = [int(np.argmax(length))]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return float(rates[path[len(path) // 2]])


def slide(rates: Any, smoothed: Any, width: int = 15, threshold: float = 0.005) -> float:
    """Slide a window down from the largest rate until the slope at its two ends is nearly the same; take its left end.

    After the interval slide rule of Khan and others (Novetta, 2019).
    """
    slope = np.gradient(np.asarray(smoothed))
    width = min(width, len(slope) - 1)
    right = len(slope) - 1
    while right - width > 0 and abs(slope[right] - slope[right - width]) > threshold:
        right -= 1
    return float(rates[right - width])


class _Sweep(keras.callbacks.Callback):
    """Sets the rate of each update and keeps its loss."""

    def __init__(self, rates: np.ndarray, stop_at: float | None, accumulate: int = 1):
        super().__init__()
        self.rates = rates
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.seen = 0
        self._stop_at = stop_at
        self._accumulate = accumulate
        self._average = 0.0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch % self._accumulate == 0:
            self.model.optimizer.learning_rate = float(self.rates[batch // self._accumulate])
            self.model.reset_metrics()  # so that the loss that Keras reports is this update's own

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.seen += 1
        loss = float((logs or {})["loss"])
        if np.isfinite(loss) and (batch + 1) % self._accumulate:
            return
        if not np.isfinite(loss):
            self.model.stop_training = True
            return
        self._average = _SMOOTHING * self._average + (1 - _SMOOTHING) * loss
        self.losses.append(loss)
        self.smoothed.append(self._average / (1 - _SMOOTHING ** len(self.losses)))
        ran_away = self._stop_at is not None and self.smoothed[-1] > self._stop_at * min(self.smoothed)
        if len(self.losses) > 10 and ran_away:
            self.model.stop_training = True


def _settable_optimizer(model: keras.Model) -> Any:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise ConfigError("the model is not compiled", fix="call model.compile(...) first")
    rate = getattr(optimizer, "_learning_rate", None)
    if not isinstance(rate, keras.Variable) or isinstance(optimizer, keras.optimizers.MultiOptimizer):
        raise ConfigError(
            "the optimizer's learning rate cannot be set",
            received=type(rate).__name__,
            allowed="an optimizer made with a number",
        )
    return optimizer


@contextmanager
def restored(model: keras.Model, optimizer: Any) -> Iterator[None]:
    """Put model, optimizer, metrics and random states back when the block is left, however it is left."""
    seeds = global_state.get_global_attribute("global_seed_generator")
    variables: list[Any] = [*model.variables, *model.metrics_variables, *_variables_of(optimizer)]
    if seeds is not None:
        variables.append(seeds.state)
    before = [(variable, np.array(variable)) for variable in variables]
    numpy_state, python_state = np.random.get_state(), random.getstate()
    history, stop = getattr(model, "history", None), getattr(model, "stop_training", False)
    try:
        yield
    finally:
        for metric in model.metrics:  # those that Keras made only now
            metric.reset_state()
        for variable, value in before:
            variable.assign(value)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        model.history, model.stop_training = history, stop


def _variables_of(optimizer: Any) -> Sequence[Any]:
    return optimizer.everything() if hasattr(optimizer, "everything") else optimizer.variables
