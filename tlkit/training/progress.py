"""The epoch table of a training in progress, as fast.ai shows it."""

from __future__ import annotations

import sys
import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_NAMES = {
    "loss": "train_loss",
    "val_loss": "valid_loss",
    "val_accuracy": "valid_accuracy",
    "accuracy": "train_accuracy",
}
_ORDER = ("loss", "val_loss", "accuracy", "val_accuracy")


class EpochTable(keras.callbacks.Callback):
    """Prints a line an epoch; on a terminal, a bar below it shows the steps.

    Example:
        >>> model.fit(dataset, epochs=3, verbose=0, callbacks=[EpochTable()])
        epoch  train_loss  valid_loss  train_accuracy  valid_accuracy    time
        1/3        0.5210      0.3120          0.7450          0.9020   00:03

    Args:
        file: where to; the standard output when left out.
    """

    def __init__(self, file: Any = None):
        super().__init__()
        self._console = Console(file=file, highlight=False, soft_wrap=True)
        self._columns: list[str] = []
        self._began = 0.0
        self._bar: Progress | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Begin a new table."""
        self._columns = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the clock and the bar."""
        self._began = time.monotonic()
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.add_task(f"epoch {epoch + 1}/{self.params['epochs']}", total=self.params.get("steps"))
            self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Print the epoch's line."""
        self.stop()
        values = {name: value for name, value in (logs or {}).items() if name != "learning_rate"}
        if not self._columns:
            self._columns = sorted(values, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
            titles = "".join(f"{_NAMES.get(name, name):>16}" for name in self._columns)
            self._print(f"{'epoch':<8}{titles}{'time':>9}")
        minutes, seconds = divmod(round(time.monotonic() - self._began), 60)
        numbers = "".join(f"{float(values.get(name, float('nan'))):>16.4f}" for name in self._columns)
        self._print(f"{f'{epoch + 1}/' + str(self.params['epochs']):<8}{numbers}{f'{minutes:02d}:{seconds:02d}':>9}")

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Take the bar away."""
        self.stop()

    def stop(self) -> None:
        """Take the bar away, whatever has happened."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False)
        (self._console.file or sys.stdout).flush()
