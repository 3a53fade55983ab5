"""The Learner: trains a Task on data, by stages, and leaves a run that can be resumed."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError, TrainingError, check_choice
from tlkit.export.saved_model import export_task
from tlkit.models.task import Task
from tlkit.report.metrics import ClassificationMetrics, classification_metrics
from tlkit.training import features
from tlkit.training.checkpoint import EpochCheckpoint
from tlkit.training.data import Data
from tlkit.training.lr_finder import LRFinderResult, sweep
from tlkit.training.run_state import RunState

Schedule = Literal["one_cycle", "constant"]
_log = logging.getLogger("tlkit")


class Learner:
    """Trains a `Task` on data.

    While the backbone is frozen, the head trains on features that are computed once, so that ten epochs cost little
    more than one pass over the photos; augmentation then waits until something is unfrozen (or until
    `fit(..., precompute=False)`).

    Every epoch leaves a checkpoint in `directory`. With `resume=True` a script runs through the same calls again:
    those already finished are skipped and return what they returned, the one that was interrupted goes on after its
    last whole epoch.

    Example:
        >>> learn = Learner(image_classifier("efficientnet-lite0", data.class_names), data)
        >>> learn.fit(10, learn.find_lr().suggestion)
        >>> learn.unfreeze()
        >>> learn.fit(3, 1e-4)
        >>> learn.export("saved_models/photos")

    Args:
        task: what to train; a fresh one has a frozen backbone.
        data: batches; see `tlkit.ImageData`.
        directory: where checkpoints go; None keeps nothing on disk.
        resume: go on with the run in `directory`.
        optimizer: makes a Keras optimizer from a learning rate or schedule; AdamW by default.
        label_smoothing: part of the target that is spread over all classes, 0 up to 1.

    Attributes:
        history: one dict of lists for each `fit`, as Keras' History gives them.

    Raises:
        ConfigError: task and data do not belong together, or an argument is not usable.
        TrainingError: there is nothing to resume, or it was a run of something else.
    """

    def __init__(
        self,
        task: Task,
        data: Data,
        *,
        directory: str | Path | None = None,
        resume: bool = False,
        optimizer: Callable[[Any], keras.optimizers.Optimizer] | None = None,
        label_smoothing: float = 0.0,
    ):
        if tuple(data.class_names) != task.class_names:
            raise ConfigError("task and data have other classes", received=data.class_names, allowed=task.class_names)
        if data.preprocessing != task.preprocessing:
            raise ConfigError(
                "task and data prepare images in another way", received=data.preprocessing, allowed=task.preprocessing
            )
        if resume and directory is None:
            raise ConfigError("resume needs the directory of the run")
        if not 0 <= label_smoothing < 1:
            raise ConfigError("label_smoothing is not usable", received=label_smoothing, allowed="0 up to 1")
        self.task = task
        self.data = data
        self.history: list[dict[str, list[float]]] = []
        self._optimizer = optimizer or (lambda rate: keras.optimizers.AdamW(rate, weight_decay=1e-2))
        self._loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)
        self._features = features.FeatureCache(task.features, data.ordered)
        self._state: RunState | None = None
        self._checkpoint: EpochCheckpoint | None = None
        self._replayed = 0
        if directory is not None:
            self._state = RunState(directory, self._identity(), resume=resume)
            self._checkpoint = EpochCheckpoint(self._state, task.model)

    # Freezing

    def freeze(self) -> None:
        """Freeze the backbone: only the head trains."""
        self.task.freeze_to(-1)

    def unfreeze(self) -> None:
        """Unfreeze everything; batch normalisation keeps its statistics unless the task says otherwise."""
        self.task.freeze_to(0)

    def freeze_to(self, first_trainable: int) -> None:
        """Freeze the layer groups before number `first_trainable`; -1 leaves the head alone trainable."""
        self.task.freeze_to(first_trainable)

    # Training

    def find_lr(self, *, start: float = 1e-5, end: float = 1.0, steps: int = 100) -> LRFinderResult:
        """Sweep the learning rate and suggest one; the model is afterwards what it was before.

        Args:
            start: first learning rate.
            end: last learning rate.
            steps: most steps of the sweep.

        Returns:
            An `LRFinderResult` with `.suggestion` and `.plot(path)`.
        """
        stored = self._replay({"find_lr": [start, end, steps]})
        if stored is not None:
            rates, losses, smoothed = (np.asarray(stored[name]) for name in ("rates", "losses", "smoothed"))
            return LRFinderResult(rates, losses, smoothed, stored["suggestion"])
        self._restore_once()
        precomputed = self.task.backbone_is_frozen
        model = self.task.head if precomputed else self.task.model
        dataset = self._feature_stream(0) if precomputed else self.data.epochs(0)
        found = sweep(model, dataset, self._optimizer(start), self._loss, start=start, end=end, steps=steps)
        outcome = {
            "rates": found.rates.tolist(),
            "losses": found.losses.tolist(),
            "smoothed": found.smoothed.tolist(),
            "suggestion": found.suggestion,
        }
        self._record({"find_lr": [start, end, steps]}, outcome)
        _log.info("learning rate found: %.1e", found.suggestion)
        return found

    def fit(
        self,
        epochs: int,
        lr: float,
        *,
        schedule: Schedule = "one_cycle",
        precompute: bool | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: bool = True,
    ) -> dict[str, list[float]]:
        """Train for some epochs.

        Args:
            epochs: passes over the training photos.
            lr: the highest learning rate.
            schedule: `"one_cycle"` warms up over the first quarter of the steps and falls to zero along a cosine
                (after Smith 2018, arXiv 1803.09820, without the momentum part); `"constant"` stays at `lr`.
            precompute: train the head on features computed once. Left out, that is done while the backbone is frozen.
            callbacks: further Keras callbacks.
            verbose: log a line for each epoch.

        Returns:
            Loss and accuracy by epoch, training and validation.

        Raises:
            ConfigError: an argument is not usable.
            TrainingError: the loss is not finite, or the checkpoint cannot be written.
        """
        _check_positive("epochs", epochs, whole=True)
        _check_positive("the learning rate", lr)
        check_choice("schedule", schedule, get_args(Schedule))
        if precompute and not self.task.backbone_is_frozen:
            raise ConfigError("features can only be computed in advance while the backbone is frozen")
        precompute = self.task.backbone_is_frozen if precompute is None else precompute
        call = {"fit": [epochs, float(lr), schedule, bool(precompute), self._trainable_groups()]}
        stored = self._replay(call)
        if stored is not None:
            self.history.append(stored)
            return stored
        history = self._train(call, epochs, float(lr), schedule, precompute, callbacks, verbose)
        self.history.append(history)
        return history

    def _train(
        self,
        call: dict[str, Any],
        epochs: int,
        lr: float,
        schedule: Schedule,
        precompute: bool,
        callbacks: Sequence[keras.callbacks.Callback],
        verbose: bool,
    ) -> dict[str, list[float]]:
        if verbose:
            _log.info("%s", self._stage_line(epochs, lr, precompute))
        steps = self.data.steps_per_epoch
        optimizer = self._optimizer(_rate(lr, schedule, epochs * steps))
        model = self.task.head if precompute else self.task.model
        model.compile(
            optimizer=optimizer,
            loss=self._loss,
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            # XLA makes depthwise convolutions several times slower on a CPU, so "auto" is for GPUs only.
            jit_compile="auto" if tf.config.list_physical_devices("GPU") else False,
            steps_per_execution=steps if precompute else 1,
        )
        optimizer.build(model.trainable_variables)
        first_epoch = 0
        past: dict[str, list[float]] = {}
        if self._checkpoint is not None:
            first_epoch, past = self._checkpoint.begin(call, optimizer, resume=self._is_behind())
        offset = sum(len(stage["loss"]) for stage in self.history) + first_epoch
        dataset = self._feature_stream(offset) if precompute else self.data.epochs(offset)
        validation = self._feature_batch("val") if precompute else self.data.ordered("val")
        watchers = [*callbacks, _EpochEnd(verbose)]
        if self._checkpoint is not None:
            watchers.append(self._checkpoint)
        history = model.fit(
            dataset,
            steps_per_epoch=steps,
            epochs=epochs,
            initial_epoch=first_epoch,
            validation_data=validation,
            callbacks=watchers,
            shuffle=False,  # the streams shuffle themselves
            verbose=0,
        ).history
        merged = {name: [*past.get(name, []), *map(float, values)] for name, values in history.items()}
        if not np.all(np.isfinite(merged["loss"])):
            raise TrainingError("the loss is not finite any more", received=lr, fix="train with a lower learning rate")
        if self._checkpoint is not None:
            self._checkpoint.end(merged)
            self._replayed += 1
        return merged

    # Results

    def evaluate(self, split: str = "val") -> ClassificationMetrics:
        """Measure the present weights on a split.

        Args:
            split: `"val"`, `"test"` or `"train"`.

        Returns:
            Loss, accuracy, macro F1, a table by class and the confusion matrix.
        """
        self._restore_once()
        if split in self._features:
            logits = self.task.head(self._features[split], training=False).numpy()
        else:
            logits = features.run(self.task.model, self.data.ordered(split))
        return classification_metrics(logits, self.data.labels(split), self.task.class_names)

    def finish(self) -> None:
        """Put the weights of the best epoch into the model, keep them as `best.weights.h5`, and end the run.

        Best is the epoch with the highest validation accuracy; between equals, the lowest validation loss.

        Raises:
            ConfigError: the Learner has no directory.
            TrainingError: no epoch was trained.
        """
        checkpoint = self._need_checkpoint()
        self._restore_once()
        checkpoint.finish()

    def load_best(self) -> None:
        """Put the best epoch's weights of the run in `directory` into the model.

        Raises:
            ConfigError: the Learner has no directory.
            TrainingError: there is none, or it was a run of something else.
        """
        self._need_checkpoint().load_best()

    def export(self, base_dir: str | Path, *, version: int | None = None) -> Path:
        """Export the present weights as a SavedModel for TensorFlow Serving, verified in a fresh process.

        Args:
            base_dir: the model's folder; the last part is the name that it is served under.
            version: a positive integer; one more than the newest when left out.

        Returns:
            `base_dir/version`.

        Raises:
            ExportError: the version exists or cannot be written.
            VerificationError: the export does not answer like the model; nothing was published.
        """
        self._restore_once()
        paths = self.data.paths("val")
        golden = [path.read_bytes() for path in paths[:: max(1, len(paths) // 4)][:4]]
        return export_task(
            self.task,
            base_dir,
            version=version,
            metrics=self.evaluate().to_dict(),
            data_summary=self.data.summary(),
            golden=golden,
        )

    # Internals

    def _identity(self) -> dict[str, Any]:
        return {
            "backbone": self.task.backbone_name,
            "classes": list(self.task.class_names),
            "preprocessing": self.task.preprocessing.to_dict(),
            "data": self.data.fingerprint(),
            "parameters": int(self.task.model.count_params()),
            "seed": self.data.seed,
        }

    def _trainable_groups(self) -> list[str]:
        return [group.name for group in self.task.groups if group.trainable]

    def _stage_line(self, epochs: int, lr: float, precompute: bool) -> str:
        groups = ", ".join(self._trainable_groups())
        what = f"training {groups}: {epochs} epochs, learning rate {lr:.1e}"
        if precompute:
            what += "; the backbone is frozen, so its features are computed once, without augmentation"
        return what

    def _is_behind(self) -> bool:
        """Whether the run on disk has calls that this script has not come to yet."""
        return self._state is not None and self._replayed < len(self._state.calls)

    def _replay(self, call: dict[str, Any]) -> Any:
        """Give the outcome of a call that a resumed run has already finished, or None."""
        if not self._is_behind():
            return None
        assert self._state is not None  # narrows the type; _is_behind checked it
        stored = self._state.calls[self._replayed]
        before = {key: value for key, value in stored.items() if key in ("fit", "find_lr")}
        if before != call:
            raise TrainingError(
                "the run to resume made another call here",
                received=call,
                allowed=str(before),
                fix="train without resume",
            )
        if "outcome" not in stored:
            return None
        self._replayed += 1
        _log.info("already done: %s", _describe(call))
        return stored["outcome"]

    def _record(self, call: dict[str, Any], outcome: Any) -> None:
        if self._state is not None:
            self._state.calls.append({**call, "outcome": outcome})
            self._replayed += 1
            if self._state.files:
                self._state.commit()

    def _restore_once(self) -> None:
        """Before anything but a replayed call touches the model, bring it to where the resumed run stands."""
        if self._checkpoint is not None:
            self._checkpoint.restore_last()

    def _need_checkpoint(self) -> EpochCheckpoint:
        if self._checkpoint is None:
            raise ConfigError("this needs a directory", fix="make the Learner with directory=...")
        return self._checkpoint

    def _feature_stream(self, start: int) -> tf.data.Dataset:
        class_weights = self.data.class_weights
        weights = None if class_weights is None else class_weights[self.data.labels("train")]
        return features.feature_epochs(
            self._features["train"],
            self._targets("train"),
            weights,
            batch_size=self.data.batch_size,
            seed=self.data.seed,
            start=start,
        )

    def _feature_batch(self, split: str) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensors((self._features[split], self._targets(split)))

    def _targets(self, split: str) -> np.ndarray:
        return np.eye(len(self.task.class_names), dtype=np.float32)[self.data.labels(split)]


class _EpochEnd(keras.callbacks.Callback):
    """Stops when the loss is not finite, and logs a line if asked.

    Once an epoch, not once a step: reading the loss of every step would make each wait for the one before.
    """

    def __init__(self, verbose: bool):
        super().__init__()
        self._verbose = verbose

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = logs or {}
        if not math.isfinite(values.get("loss", 0.0)):
            self.model.stop_training = True
        if self._verbose:
            line = "   ".join(f"{name} {value:.4f}" for name, value in values.items() if name != "learning_rate")
            _log.info("epoch %d/%d   %s", epoch + 1, self.params["epochs"], line)


def _rate(lr: float, schedule: Schedule, total_steps: int) -> Any:
    if schedule == "constant":
        return lr
    warmup = max(1, math.floor(0.25 * total_steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=lr / 25,
        warmup_target=lr,
        warmup_steps=warmup,
        decay_steps=max(1, total_steps - warmup),
        alpha=0.0,
    )


def _check_positive(name: str, value: Any, whole: bool = False) -> None:
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < float("inf"):
        kind = "a whole number from 1" if whole else "a number above 0"
        raise ConfigError(f"{name} must be {kind}", received=value)


def _describe(call: dict[str, Any]) -> str:
    return "finding the learning rate" if "find_lr" in call else f"{call['fit'][0]} epochs at {call['fit'][1]:.2g}"
