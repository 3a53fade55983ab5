"""Checkpoints at the end of each epoch: the last one to resume from, the best one to keep."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np

from tlkit.errors import TrainingError
from tlkit.training.run_state import BEST_FILE, RunState


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves a run after every epoch and restores it.

    One `fit` call is bracketed by `begin` and `end`. What training cannot change is written once, at `begin`; an
    epoch adds only the variables that it can change and the optimizer.

    Args:
        state: the run on disk.
        model: the whole model, also while only a part of it (the head) is being fitted.
    """

    def __init__(self, state: RunState, model: keras.Model):
        super().__init__()
        self._state = state
        self._whole = model
        self._optimizer: keras.optimizers.Optimizer | None = None
        self._history: dict[str, list[float]] = {}
        self._behind = bool(state.files)

    def begin(
        self, call: dict[str, Any], optimizer: keras.optimizers.Optimizer, *, resume: bool
    ) -> tuple[int, dict[str, list[float]]]:
        """Open a `fit` call, new or interrupted.

        Returns:
            Number of epochs already done, and their history.
        """
        self._optimizer = optimizer
        self.restore_last()
        if resume:
            stored = self._state.calls[-1]
            past = {name: list(values) for name, values in stored["history"].items()}
            self._history = stored["history"]
            return stored["epochs_done"], past
        self._history = {}
        base = f"base-{len(self._state.calls)}.npz"
        self._state.save_arrays(base, [variable.numpy() for variable in self._whole.variables])
        self._state.calls.append({**call, "epochs_done": 0, "history": {}, "base": base})
        self._state.files = [base]
        self._state.finished = False
        self._state.commit()
        return 0, {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write what changed, then make it the state to resume from."""
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if not np.isfinite(logs.get("loss", np.nan)):
            return  # the last good epoch stays the one to resume from
        call = self._state.calls[-1]
        for name, value in logs.items():
            self._history.setdefault(name, []).append(value)
        delta = f"delta-{len(self._state.calls) - 1}-{epoch + 1}.npz"
        assert self._optimizer is not None  # begin() has set it
        mask = self._trainable_mask()
        variables = self._whole.variables
        changing = [variables[number].numpy() for number in mask]
        self._state.save_arrays(delta, changing + [np.asarray(v) for v in self._optimizer.variables])
        self._state.files = [call["base"], delta]
        call["epochs_done"] = epoch + 1
        call["history"] = self._history
        call["trainable"] = mask
        score = [logs.get("val_accuracy", 0.0), -logs.get("val_loss", 0.0)]
        if self._state.best is None or score > self._state.best["score"]:
            self._state.best = {
                "score": score,
                "call": len(self._state.calls) - 1,
                "epoch": epoch + 1,
                "files": list(self._state.files),
                "trainable": mask,
            }
        self._state.commit()

    def end(self, outcome: dict[str, list[float]]) -> None:
        """Close the `fit` call."""
        self._state.calls[-1]["outcome"] = outcome
        self._state.commit()

    def restore_last(self) -> None:
        """Bring the model to the last saved state of a resumed run; once only."""
        if not self._behind:
            return
        self._behind = False
        fits = [call for call in self._state.calls if "fit" in call]
        mask = fits[-1].get("trainable")
        rest = self._restore(self._state.files, mask)
        if rest and self._optimizer is not None and "outcome" not in fits[-1]:
            if len(rest) != len(self._optimizer.variables):
                raise TrainingError("the run to resume had another optimizer")
            for variable, value in zip(self._optimizer.variables, rest, strict=True):
                variable.assign(value)

    def load_best(self) -> None:
        """Put the best epoch's weights into the model.

        Raises:
            TrainingError: no epoch was saved, or the weights are of another model.
        """
        best = self._state.best
        file = self._state.directory / BEST_FILE
        if best is None and not file.is_file():
            raise TrainingError("there are no trained weights", received=str(self._state.directory), fix="train first")
        self._behind = False
        if best is not None:
            self._restore(best["files"], best["trainable"])
            return
        try:
            self._whole.load_weights(file)
        except (ValueError, OSError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise TrainingError(f"the weights do not fit the model: {reason}", received=str(file)) from error

    def finish(self) -> None:
        """Load the best epoch, write it as `best.weights.h5`, and drop what was only needed to resume."""
        self.load_best()
        if self._state.finished:
            return
        temporary = self._state.directory / f".tmp-{os.getpid()}.weights.h5"
        try:
            self._whole.save_weights(temporary)
            temporary.replace(self._state.directory / BEST_FILE)
        except OSError as error:
            raise TrainingError("the weights cannot be written", received=str(error)) from error
        finally:
            temporary.unlink(missing_ok=True)
        self._state.finished, self._state.best, self._state.files = True, None, []
        self._state.commit()

    def _trainable_mask(self) -> list[int]:
        """Numbers of the variables that the present call may change: trainable ones, statistics and seeds."""
        frozen = {id(v) for layer in self._whole._flatten_layers() for v in layer.weights if not layer.trainable}
        return [number for number, variable in enumerate(self._whole.variables) if id(variable) not in frozen]

    def _restore(self, files: list[str], mask: list[int] | None) -> list[np.ndarray]:
        """Assign a base file and a delta on top of it; gives the optimizer's arrays."""
        variables = self._whole.variables
        base = self._state.load_arrays(files[0])
        if [array.shape for array in base] != [tuple(variable.shape) for variable in variables]:
            raise TrainingError("the checkpoint is of another model", received=files[0])
        rest: list[np.ndarray] = []
        if len(files) > 1:
            delta = self._state.load_arrays(files[1])
            numbers = mask or []
            for number, array in zip(numbers, delta[: len(numbers)], strict=True):
                base[number] = array
            rest = delta[len(numbers) :]
        for variable, array in zip(variables, base, strict=True):
            variable.assign(array)
        return rest
