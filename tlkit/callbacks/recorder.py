"""Record learning rate, momentum and loss of every step, and the metrics of every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tlkit.callbacks.momentum import inner_optimizer, momentum_now
from tlkit.errors import ConfigError, check_choice
from tlkit.report import plots
from tlkit.separated import separated_writer


class Recorder(keras.callbacks.Callback):
    """Record the learning rate, momentum and loss of each step, and the logs of each epoch.

    A step's own loss is worked out from Keras' running mean, by the difference of its float32 sums. Its error is about
    1e-7 of the loss times the number of steps in the epoch so far: 1e-4 after a thousand steps. (A model without
    Keras' loss metric is recorded as its `train_step` reports the loss.) As with every callback that looks at each
    step, Keras waits for a step to end before it starts the next.

    Example:
        >>> recorder = Recorder()
        >>> model.fit(dataset, epochs=5, callbacks=[OneCycle(1e-2), recorder])
        >>> recorder.plot_lr("rates.png")
        >>> recorder.to_csv("steps.csv")

    Args:
        per_step: record the steps of `fit`, with a new record for each `fit`. Otherwise only epochs are recorded, and
            the caller adds steps with `add_steps` and deletes them with `clear`.

    Attributes:
        rates: learning rate of each step.
        momentums: momentum or beta_1 of each step; NaN if the optimizer has none.
        losses: loss of each step.
        epochs: one dict for each epoch: `"epoch"` (from 0), Keras' logs, and `"seconds"`, validation included.

    Raises:
        ConfigError: on the start of training, when the model runs several steps at once or has several optimizers.
    """

    def __init__(self, *, per_step: bool = True):
        super().__init__()
        self.rates: list[float] = []
        self.momentums: list[float] = []
        self.losses: list[float] = []
        self.epochs: list[dict[str, float]] = []
        self._per_step = per_step
        self._mean: Any = None
        self._sums = (0.0, 0.0)
        self._started = 0.0

    def clear(self) -> None:
        """Delete all records."""
        for kept in (self.rates, self.momentums, self.losses, self.epochs):
            kept.clear()

    def add_steps(self, rates: Iterable[float], momentums: Iterable[float], losses: Iterable[float]) -> None:
        """Add steps that were recorded elsewhere, for example in the graph.

        Args:
            rates: learning rate of each step, [n].
            momentums: momentum of each step, [n]; NaN if there is none.
            losses: loss of each step, [n].

        Raises:
            ConfigError: they are not equally many.
        """
        columns = [[float(value) for value in column] for column in (rates, momentums, losses)]
        if len({len(column) for column in columns}) > 1:
            raise ConfigError(
                "rates, momentums and losses differ in length",
                received=[len(column) for column in columns],
                allowed="one of each per step",
            )
        for kept, column in zip((self.rates, self.momentums, self.losses), columns, strict=True):
            kept.extend(column)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start a new record, and find Keras' running mean of the loss."""
        if not self._per_step:
            return
        if self.model.steps_per_execution > 1:
            raise ConfigError(
                "the recorder cannot record single steps if the model runs several steps per call",
                received=f"steps_per_execution={self.model.steps_per_execution}",
                allowed="steps_per_execution=1",
                fix="or use Recorder(per_step=False) to record epochs",
            )
        if hasattr(inner_optimizer(self.model.optimizer), "optimizers"):
            raise ConfigError(
                "an optimizer that combines several optimizers has no single learning rate to record",
                received=type(inner_optimizer(self.model.optimizer)).__name__,
                fix="use Recorder(per_step=False) to record epochs",
            )
        self.clear()
        self._mean = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the timer. Keras resets its running mean here."""
        self._sums = (0.0, 0.0)
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the step."""
        if not self._per_step:
            return
        self.rates.append(_last_rate(self.model.optimizer))
        self.momentums.append(momentum_now(self.model.optimizer))
        self.losses.append(self._loss((logs or {}).get("loss", math.nan)))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the epoch."""
        seconds = time.perf_counter() - self._started
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.epochs.append({"epoch": epoch, **values, "seconds": seconds})

    def plot_lr(self, path: str | Path) -> Path:
        """Plot learning rates and momentums.

        Args:
            path: where the picture goes: .png, .svg or .pdf.

        Returns:
            The path.

        Raises:
            ConfigError: nothing was recorded, or it is another kind of file.
        """
        self._need_steps()
        return plots.plot_rates(self.rates, self.momentums, Path(path))

    def plot_losses(self, path: str | Path) -> Path:
        """Plot the losses.

        Args:
            path: where the picture goes: .png, .svg or .pdf.

        Returns:
            The path.

        Raises:
            ConfigError: nothing was recorded, or it is another kind of file.
        """
        self._need_steps()
        return plots.plot_losses(self.losses, Path(path))

    def to_csv(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a table of the steps with the columns step (from 0), learning_rate, momentum and loss.

        Args:
            path: the file; folders are made.
            overwrite: replace a file that is already there.

        Returns:
            The path.

        Raises:
            ConfigError: nothing was recorded, or the file exists.
        """
        self._need_steps()
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("w" if overwrite else "x", newline="", encoding="utf-8")
        except FileExistsError:
            raise ConfigError(
                "the file exists", received=str(path), fix="choose another name, or pass overwrite=True"
            ) from None
        with file:
            write = separated_writer(file)
            write(("step", "learning_rate", "momentum", "loss"))
            for step, row in enumerate(zip(self.rates, self.momentums, self.losses, strict=True)):
                write((step, *("" if math.isnan(value) else repr(value) for value in row)))
        return path

    def to_tensorboard(self, folder: str | Path) -> Path:
        """Write an event file for TensorBoard: `step/...` by step and `epoch/...` by epoch.

        Looking at it needs the package tensorboard; writing it does not.

        Args:
            folder: where the event file goes; it is made, and another file in it does no harm.

        Returns:
            The folder.

        Raises:
            ConfigError: nothing was recorded.
        """
        if not self.epochs:
            self._need_steps()
        writer = tf.summary.create_file_writer(str(folder))
        columns = {"learning_rate": self.rates, "momentum": self.momentums, "loss": self.losses}
        with writer.as_default():
            for name, values in columns.items():
                for step, value in enumerate(values):
                    _write_scalar(f"step/{name}", step, value)
            for row in self.epochs:
                for name, value in row.items():
                    if name != "epoch":
                        _write_scalar(f"epoch/{name}", int(row["epoch"]), value)
        writer.close()
        return Path(folder)

    def report(self, folder: str | Path, extra: str = "none") -> None:
        """Plot learning rates and losses into a folder, and optionally write the steps. Existing files are overwritten.

        A run that had nothing left to do has recorded nothing and leaves the folder as it is.

        Args:
            folder: receives `learning_rates.png` and `losses.png`.
            extra: `"csv"` adds `steps.csv`, `"tensorboard"` an event file in `tensorboard/`, `"none"` nothing.

        Raises:
            ConfigError: there is no such extra.
        """
        check_choice("extra", extra, ("none", "csv", "tensorboard"))
        if not self.rates:
            return
        folder = Path(folder)
        self.plot_lr(folder / "learning_rates.png")
        self.plot_losses(folder / "losses.png")
        if extra == "csv":
            self.to_csv(folder / "steps.csv", overwrite=True)
        elif extra == "tensorboard":
            self.to_tensorboard(folder / "tensorboard")

    def _need_steps(self) -> None:
        if not self.rates:
            raise ConfigError("nothing is recorded yet", fix="pass this recorder to fit as a callback first")

    def _loss(self, reported: float) -> float:
        if self._mean is None:
            # Keras creates it in the first step, so it does not exist when training starts.
            self._mean = next((one for one in self.model.metrics if _is_running_mean(one)), False)
        if self._mean is False:
            return float(reported)
        before, self._sums = self._sums, (float(self._mean.total.numpy()), float(self._mean.count.numpy()))
        total, count = (now - then for now, then in zip(self._sums, before, strict=True))
        return total / count if count else math.nan


def _last_rate(optimizer: Any) -> float:
    optimizer = inner_optimizer(optimizer)
    held = optimizer._learning_rate
    if isinstance(held, keras.optimizers.schedules.LearningRateSchedule):
        # The step has already been counted, so optimizer.learning_rate is the rate of the next step.
        return float(held(keras.ops.maximum(optimizer._iterations - 1, 0)))
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def _is_running_mean(metric: Any) -> bool:
    return metric.name == "loss" and isinstance(metric, keras.metrics.Mean)


def _write_scalar(tag: str, step: int, value: float) -> None:
    # tf.summary.scalar needs the package tensorboard. This writes the same event.
    plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin, data_class="DATA_CLASS_SCALAR")
    if not math.isnan(value):
        tf.summary.write(tag, tf.constant(value, tf.float32), step=step, metadata=metadata)
