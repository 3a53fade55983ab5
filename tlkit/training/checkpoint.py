"""Checkpoints at the end of each epoch: the last one to resume from, the best one to keep."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np

from tlkit.errors import TrainingError
from tlkit.training.engine import Engine
from tlkit.training.run_state import BEST_FILE, Keep, RunState, is_stage
from tlkit.training.snapshots import Snapshots


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves a run after every epoch and restores it, optimizer and all.

    One stage (`fit` or `fit_probe`) is bracketed by `begin` and `end`. What training cannot change is written once, at
    `begin`; an epoch adds only the variables that it can change and the optimizer.

    Args:
        state: the run on disk.
        engine: holds the whole model and the optimizer.
        snapshots: those taken so far are noted with each checkpoint.

    Attributes:
        prefer_newest: keep the newest epoch as the best one, whatever it scores.
    """

    prefer_newest = False

    def __init__(self, state: RunState, engine: Engine, snapshots: Snapshots):
        super().__init__()
        self._snapshots = snapshots
        self._state = state
        self._engine = engine
        self._history: dict[str, list[float]] = {}
        self._behind = bool(state.files) or state.finished

    @property
    def is_behind(self) -> bool:
        """Whether a resumed run has not been restored yet."""
        return self._behind

    @property
    def _variables(self) -> list[Any]:
        return self._engine.task.model.variables

    def begin(self, call: dict[str, Any], *, resume: bool) -> tuple[int, dict[str, list[float]]]:
        """Open a stage, new or interrupted; the optimizer covers what it trains already.

        Returns:
            Number of epochs already done, and their history.
        """
        self.restore_last()
        if resume:
            stored = self._state.calls[-1]
            past = {name: list(values) for name, values in stored["history"].items()}
            self._history = stored["history"]
            return stored["epochs_done"], past
        self._history = {}
        self._state.drop_open()
        base = f"base-{len(self._state.calls)}.npz"
        arrays = [variable.numpy() for variable in self._variables]
        self._state.save_arrays(base, arrays + self._engine.optimizer_arrays())
        covered = self._engine.covered_numbers()
        self._state.calls.append({**call, "epochs_done": 0, "history": {}, "base": base, "covered": covered})
        self._state.files = [base]
        self._state.finished = False
        self._state.commit()
        return 0, {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write what changed, then make it the state to resume from."""
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if not np.isfinite(logs.get("loss", np.nan)):
            return  # the last good epoch stays the one to resume from
        call, number = self._state.calls[-1], len(self._state.calls) - 1
        for name, value in logs.items():
            self._history.setdefault(name, []).append(value)
        delta = f"delta-{number}-{epoch + 1}.npz"
        mask = self._trainable_mask()
        changing = [self._variables[place].numpy() for place in mask]
        self._state.save_arrays(delta, changing + self._engine.optimizer_arrays())
        self._state.files = [call["base"], delta]
        call["epochs_done"] = epoch + 1
        call["history"] = self._history
        call["trainable"] = mask
        call["snapshots"] = self._snapshots.names
        score = [logs.get("val_accuracy", 0.0), -logs.get("val_loss", 0.0)]
        if self.prefer_newest or self._state.best is None or score > self._state.best["score"]:
            best = self._averaged(delta, mask, number, epoch) or delta
            self._state.best = {"score": score, "call": number, "epoch": epoch + 1, "files": [call["base"], best]}
            self._state.best["trainable"] = mask
        self._state.commit()

    def _averaged(self, delta: str, mask: list[int], call: int, epoch: int) -> str | None:
        """With running averages, it was those that were measured: keep them as this epoch's weights."""
        averages = self._engine.averages()
        if not averages:
            return None
        name = f"average-{call}-{epoch + 1}.npz"
        variables = [self._variables[place] for place in mask]
        self._state.save_arrays(name, [np.asarray(averages.get(id(v), v)) for v in variables])
        return name

    def end(self, outcome: dict[str, list[float]], steps: np.ndarray) -> None:
        """Close the stage.

        Args:
            outcome: its history.
            steps: what its steps recorded, float32 [steps, 3].
        """
        name = f"steps-{len(self._state.calls) - 1}.npz"
        self._state.save_arrays(name, [steps])
        self._state.calls[-1].update(outcome=outcome, steps=name)
        self._state.commit()

    def restore_last(self) -> None:
        """Bring model and optimizer to the last saved state of a resumed run; once only."""
        if not self._behind:
            return
        self._behind = False
        if not self._state.files:  # the run has ended: what it kept is what there is to go on with
            self.load_best()
            return
        call = next(call for call in reversed(self._state.calls) if is_stage(call))
        self._engine.cover([self._variables[number] for number in call["covered"]])
        rest = self._restore(self._state.files, call.get("trainable"))
        self._engine.assign_optimizer(rest)
        if "outcome" in call:
            self._engine.settle_averages()

    def go_back(self) -> None:
        """Bring model and optimizer back to the last saved state, after an epoch that went wrong."""
        self._behind = True
        self.restore_last()

    def load_best(self) -> None:
        """Put the best epoch's weights into the model.

        Raises:
            TrainingError: no epoch was saved, or the weights are of another model.
        """
        best = self._state.best
        file = self._state.directory / BEST_FILE
        if best is None and not file.is_file():
            raise TrainingError("no trained weights found", received=str(self._state.directory), fix="train first")
        self._behind = False
        if self._state.kept == "ensemble":
            self._snapshots.adopt(next(c["snapshots"] for c in reversed(self._state.calls) if c.get("snapshots")))
        if best is not None:
            self._restore(best["files"], best["trainable"])
            return
        try:
            self._engine.task.model.load_weights(file)
        except (ValueError, OSError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise TrainingError(f"the weights do not fit the model: {reason}", received=str(file)) from error

    def finish(self) -> None:
        """Load the best epoch, write it as `best.weights.h5`, and drop what was only needed to resume."""
        self.load_best()
        if not self._state.finished:
            self.save("best")

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self._state.finished

    def save(self, kept: Keep) -> None:
        """Make the present weights the ones to keep, and end the run."""
        self._state.kept = kept
        self._state.precision = self._engine.task.precision
        temporary = self._state.directory / f".tmp-{os.getpid()}.weights.h5"
        try:
            self._engine.task.model.save_weights(temporary)
            temporary.replace(self._state.directory / BEST_FILE)
        except OSError as error:
            raise TrainingError("the weights cannot be written", received=str(error)) from error
        finally:
            temporary.unlink(missing_ok=True)
        self._state.finished, self._state.best, self._state.files = True, None, []
        for call in self._state.calls:
            call.pop("steps", None)
        self._state.commit()

    def _trainable_mask(self) -> list[int]:
        """Numbers of the variables that the present call may change: trainable ones, statistics and seeds."""
        layers = self._engine.task.model._flatten_layers()
        frozen = {id(v) for layer in layers for v in layer.weights if not layer.trainable}
        return [number for number, variable in enumerate(self._variables) if id(variable) not in frozen]

    def _restore(self, files: list[str], mask: list[int] | None) -> list[np.ndarray]:
        """Assign a base file and a delta on top of it; gives the optimizer's arrays."""
        variables = self._variables
        arrays = self._state.load_arrays(files[0])
        base, rest = arrays[: len(variables)], arrays[len(variables) :]
        if [array.shape for array in base] != [tuple(variable.shape) for variable in variables]:
            raise TrainingError("the checkpoint belongs to another model", received=files[0])
        if len(files) > 1:
            delta = self._state.load_arrays(files[1])
            numbers = mask or []
            for number, array in zip(numbers, delta[: len(numbers)], strict=True):
                base[number] = array
            rest = delta[len(numbers) :]
        for variable, array in zip(variables, base, strict=True):
            variable.assign(array)
        return rest
