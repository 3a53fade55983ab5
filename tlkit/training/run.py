"""One training run behind a Learner: what is trained on what, what is on disk, and a stage from begin to end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from tlkit.callbacks.base import RateCallback
from tlkit.callbacks.recorder import Recorder
from tlkit.errors import ConfigError, DivergedError
from tlkit.inputs.base import Augmentation
from tlkit.models.task import Task
from tlkit.tasks.base import spec_of
from tlkit.training import precision
from tlkit.training.bookkeeper import Bookkeeper
from tlkit.training.checkpoint import EpochCheckpoint
from tlkit.training.data import Data, Images
from tlkit.training.engine import Engine
from tlkit.training.feed import Feed
from tlkit.training.journal import Journal
from tlkit.training.lr_finder import restored
from tlkit.training.options import TrainingOptions
from tlkit.training.plan import Plan
from tlkit.training.probe import Probe
from tlkit.training.progress import EpochTable
from tlkit.training.run_state import RunState
from tlkit.training.snapshots import Snapshots
from tlkit.training.weights import assign_mix, assign_weights, read_weights

_log = logging.getLogger("tlkit")


class Run:
    """Puts together what a training needs and runs its stages.

    Args:
        task: what is trained.
        data: what it is trained on.
        options: how each step is taken.
        optimizer: makes an optimizer from a learning rate; the one that `options` names when left out.
        directory: where checkpoints go; None keeps nothing on disk.
        resume: go on with the run in `directory`.

    Raises:
        ConfigError: the optimizer cannot be used.
        TrainingError: there is nothing to resume, or it was a run of something else.
    """

    def __init__(
        self,
        task: Task,
        data: Data,
        options: TrainingOptions,
        optimizer: Callable[[Any], keras.optimizers.Optimizer] | None,
        directory: Path | None,
        resume: bool,
    ):
        self.task = task
        self.data = data
        self.options = options
        self.history: list[dict[str, list[float]]] = []
        self.recorder = Recorder(per_step=False)
        self.engine = Engine(
            task,
            task.objective.loss(options.label_smoothing),
            options.maker(optimizer),
            ema_decay=options.ema,
            step_tokens=options.step_tokens,
        )
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.feed = Feed(task, data, self._epoch)
        self.snapshots = Snapshots(None if directory is None else directory / "snapshots")
        self.state: RunState | None = None
        self.checkpoint: EpochCheckpoint | None = None
        self._precisions: dict[str, str] = {}
        self._sizes: dict[int | None, tuple[Task, Data, Feed]] | None = None  # kept while sizes are compared
        self._built: list[np.ndarray] | None = None
        self._trained_backbone = False
        if options.precision not in ("as_built", "auto"):
            task.set_precision(options.precision)
        if directory is not None:
            self.state = RunState(directory, self._identity(), resume=resume)
            self.checkpoint = EpochCheckpoint(self.state, self.engine, self.snapshots)
        self.journal = Journal(self.state, self.recorder, self.snapshots)

    @property
    def size(self) -> int | None:
        """Side of the photos in pixels; None for what has no size."""
        return getattr(self.task.preprocessing, "size", None)

    @property
    def augmentation(self) -> dict[str, Any] | None:
        """How training photos are changed, as plain values; None for what is not changed."""
        return None if self.data.augmentation is None else self.data.augmentation.to_dict()

    def images(self, what: str) -> Images:
        """Give the data if it is photos.

        Raises:
            ConfigError: it is not; `what` says what was asked for.
        """
        if self.data.augmentation is None:
            raise ConfigError(f"{what} needs an image model", received=self.task.kind)
        return cast(Images, self.data)

    def resize(self, size: int | None) -> None:
        """Go on with photos of another size."""
        if size == self.size or size is None:
            return
        if self._sizes is not None:
            self._sizes[self.size] = (self.task, self.data, self.feed)
        if self._sizes and size in self._sizes:
            self.task, self.data, self.feed = self._sizes[size]
        else:
            task = self.task.at_size(size)
            self.data = self.images("another size").resized(size)
            self.task, self.feed = task, Feed(task, self.data, self._epoch)
        self.feed.keep_former(self._sizes is not None)
        self.engine.task = self.task
        if self.state is not None:
            self.state.size = size

    def augment(self, augmentation: Augmentation) -> None:
        """Go on with another augmentation."""
        self.data = self.images("augmentation").augmented_by(augmentation)
        self.feed = Feed(self.task, self.data, self._epoch)

    def restore_once(self) -> None:
        """Before anything but a replayed call touches the model, bring it to where the resumed run stands."""
        if self.checkpoint is not None:
            if self.checkpoint.is_behind and self._built is None:
                self._built = read_weights(self.task.model)
            self.checkpoint.restore_last()

    def settle_precision(self, stage: str) -> None:
        """With `precision="auto"`, measure once for each kind of stage which number format is faster."""
        if self.options.precision != "auto":
            return
        call = {"precision": stage}
        if stage in self._precisions:
            self.task.set_precision(self._precisions[stage])
            return
        chosen = self.journal.replay(call)
        if chosen is None:
            self.restore_once()
            batch = next(iter(self.data.ordered("train")))
            with restored(self.task.model, self.engine.optimizer):
                chosen, seconds = precision.fastest(precision.candidates(), self.engine.trial(stage, batch))
            timed = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
            _log.info("precision for %s: %s (a step takes %s)", stage, chosen, timed)
            self.journal.note(call, chosen)
        self._precisions[stage] = chosen
        self.task.set_precision(chosen)

    def stage_of_fit(
        self,
        plan: Plan,
        *,
        precompute: bool = False,
        snapshots: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: bool = True,
        validate: bool = True,
        **what: Any,
    ) -> dict[str, list[float]]:
        """Train as a plan says, or take it from the record of a resumed run.

        Args:
            plan: rates and momenta of the steps.
            precompute: train the head on features.
            snapshots: keep weights at the ends of cycles.
            callbacks: the user's.
            verbose: print the epoch table.
            validate: measure the validation data after each epoch.
            what: more that the journal knows the stage by.

        Returns:
            Keras' history of the whole stage.

        Raises:
            TrainingError: the loss is not finite, or a checkpoint cannot be written.
        """
        call = {
            "fit": {
                "epochs": plan.epochs,
                "schedule": plan.name,
                "ratios": list(plan.multipliers),
                "precompute": bool(precompute),
                "snapshots": bool(snapshots),
                "size": self.size,
                "augmentation": self.augmentation,
                "trained": [group.name for group in self.task.groups if group.trainable],
                **what,
            }
        }
        self._trained_backbone |= not self.task.backbone_is_frozen
        history: dict[str, list[float]] | None = self.journal.replay(call)
        if history is None:
            history = self._train(call, plan, precompute, snapshots, callbacks, verbose, validate)
        self.history.append(history)
        return history

    def _train(
        self,
        call: dict[str, Any],
        plan: Plan,
        precompute: bool,
        snapshots: bool,
        callbacks: Sequence[keras.callbacks.Callback],
        verbose: bool,
        validate: bool,
    ) -> dict[str, list[float]]:
        if verbose:
            accumulate = self.engine.optimizer.gradient_accumulation_steps or 1
            _log.info("%s", _stage_line(call["fit"], plan, accumulate))
        model = self.task.head if precompute else self.task.model
        self.settle_precision("features" if precompute else "training")
        if self.checkpoint is not None:
            self.checkpoint.restore_last()
        self.engine.ready(model)
        first_epoch, past = 0, dict[str, list[float]]()
        if self.checkpoint is not None:
            first_epoch, past = self.checkpoint.begin(call, resume=self.journal.is_behind)
        steps = self.data.steps_per_epoch
        offset = sum(len(stage["loss"]) for stage in self.history)
        others = [callback for callback in callbacks if not isinstance(callback, RateCallback)]
        keeper = Bookkeeper(
            self.engine,
            plan,
            self._epoch,
            offset,
            past,
            self.recorder,
            self.snapshots if snapshots else None,
            str(len(self.history)),
            self.options.patience,
        )
        table = EpochTable() if verbose else None
        watchers = [keeper, *others, self.recorder, *([table] if table else [])]
        if self.checkpoint is not None:
            watchers.append(self.checkpoint)
        try:
            history = self.engine.run(
                model,
                plan,
                self.feed.epoch(precompute),
                self.feed.validation(precompute) if validate else None,
                first_epoch=plan.epochs if keeper.has_waited_enough() else first_epoch,
                callbacks=watchers,
                # An epoch in one call is faster, but hides the steps from other callbacks.
                steps_per_execution=steps if precompute and not others else min(steps, self.options.steps_per_call),
            )
        finally:
            if table:
                table.stop()
        merged = {name: [*past.get(name, []), *map(float, history.get(name, []))] for name in {**past, **history}}
        if not np.all(np.isfinite(merged["loss"])):
            if self.checkpoint is not None:
                self.checkpoint.go_back()
            kept = (
                "the weights of the last valid epoch are restored" if self.checkpoint else "no valid weights were saved"
            )
            raise DivergedError(
                "the loss is no longer finite",
                received=float(plan.rates.max()),
                fix=f"train with a lower learning rate; {kept}",
            )
        if self.checkpoint is not None:
            self.checkpoint.end(merged, self.engine.optimizer.recorded(0, len(merged["loss"]) * steps))
            self.journal.passed()
        return merged

    def stage_of_probe(
        self,
        what: dict[str, Any],
        verbose: bool,
        *,
        restart: Sequence[np.ndarray] | None = None,
        rows: np.ndarray | None = None,
    ) -> dict[str, list[float]]:
        """Put a linear probe into the head; see `Learner.fit_probe`.

        Args:
            what: what the journal knows the stage by.
            verbose: say what was chosen.
            restart: weights to put into the model before, with a fresh optimizer; the present ones when left out.
            rows: of the training data to fit it on, without measuring it; all when left out.

        Returns:
            What `Learner.fit_probe` returns.
        """
        call = {"probe": what}
        history: dict[str, list[float]] | None = self.journal.replay(call)
        if history is None:
            history = self._fit_probe(call, verbose, restart, rows)
        self.history.append(history)
        return history

    def _fit_probe(
        self,
        call: dict[str, Any],
        verbose: bool,
        restart: Sequence[np.ndarray] | None,
        rows: np.ndarray | None,
    ) -> dict[str, list[float]]:
        self.settle_precision("features")
        self.restore_once()
        if restart is not None:
            assign_weights(self.task.model, restart)
        self.engine.ready(self.task.head)
        if restart is not None:
            self.engine.reset_optimizer()
        if past := self._begin_short_stage(call):
            return past
        # One for some rows is where a fine-tuning starts; the other one is to be answered with.
        found = self.feed.fit_probe(rows, 0.0 if rows is None else self.options.label_smoothing)
        found.install(self.task.head)
        history = self.feed.measure_probe(found) if rows is None else {"loss": [0.0], "strength": [found.strength]}
        if verbose:
            _log.info("%s", _probe_line(found, history))
        self._end_of_short_stage(history)
        return history

    def stage_of_mix(self, what: dict[str, Any], share: float, other: Callable[[], Sequence[np.ndarray]]) -> None:
        """Mix the present weights with others, as a stage that is resumed like any.

        Args:
            what: what the journal knows the stage by.
            share: of the present weights.
            other: gives the other weights.
        """
        call = {"mix": what}
        history = self.journal.replay(call)
        if history is None:
            self.restore_once()
            self.engine.ready(self.task.model)
            history = self._begin_short_stage(call)
            if not history:
                assign_mix(self.task.model, other(), read_weights(self.task.model), share)
                history = {"loss": [0.0]}
                self._end_of_short_stage(history)
        self.history.append(history)

    def _begin_short_stage(self, call: dict[str, Any]) -> dict[str, list[float]]:
        """Open a stage of one step; give its history if a run that was stopped has done that step already."""
        if self.checkpoint is None:
            return {}
        done, past = self.checkpoint.begin(call, resume=self.journal.is_behind)
        if done:
            self._close(past)
        return past if done else {}

    def _end_of_short_stage(self, history: dict[str, list[float]]) -> None:
        self.engine.restart_averages()  # of what was there before
        if self.checkpoint is not None:
            self.checkpoint.on_epoch_end(0, {name: values[0] for name, values in history.items()})
            self._close(history)

    def _close(self, history: dict[str, list[float]]) -> None:
        assert self.checkpoint is not None  # narrows the type
        self.checkpoint.end(history, np.zeros((0, 3), np.float32))
        self.journal.passed()

    @contextmanager
    def trained_on(self, data: Data) -> Iterator[None]:
        """Train on other data of the same kind for a while."""
        before = self.data, self.feed
        if data is not self.data:
            self.data, self.feed = data, Feed(self.task, data, self._epoch)
        try:
            yield
        finally:
            self.data, self.feed = before

    def prefer_newest(self) -> None:
        """From now on, the newest weights are the ones to keep, whatever they score on the validation data."""
        if self.checkpoint is not None:
            self.checkpoint.prefer_newest = True

    @contextmanager
    def comparing_sizes(self) -> Iterator[None]:
        """Keep the data of each size meanwhile, and the features of two states of the weights."""
        self._sizes = {}
        self.feed.keep_former(True)
        try:
            yield
        finally:
            self._sizes = None
            self.feed.keep_former(False)

    def source(self) -> list[np.ndarray]:
        """Give the weights that training began with.

        Raises:
            ConfigError: the network below the head has been trained since.
        """
        if self._trained_backbone:
            raise ConfigError(
                "the policy measure needs an untrained network, and this one was already trained",
                fix="create a new Learner with a new task",
            )
        return self._built or read_weights(self.task.model)

    def _identity(self) -> dict[str, Any]:
        of_tables = {
            "targets": [target.to_dict() for target in self.data.targets],
            **spec_of(self.task.kind).facts_of(self.task),
        }
        return {name: value for name, value in of_tables.items() if value} | {
            "backbone": self.task.backbone_name,
            "cut": self.task.cut,
            "objective": self.task.objective.name,
            "classes": list(self.task.class_names),
            "preprocessing": self.task.preprocessing.to_dict(),
            "data": self.data.fingerprint(),
            "parameters": int(self.task.model.count_params()),
            "seed": self.data.seed,
            "batch_size": self.data.batch_size,
            "augmentation": self.augmentation,
            "optimizer": self.engine.describe_optimizer(),
            "options": self.options.to_dict(),
        }


def _probe_line(found: Probe, history: dict[str, list[float]]) -> str:
    if not found.folds:
        return f"linear probe in the head: {found.note} (C {found.strength:g})"
    accuracy = f"accuracy {history['fold_accuracy'][0]:.4f}, " if "fold_accuracy" in history else ""
    return (
        f"linear probe in the head: C {found.strength:g}, chosen by {found.folds}-fold "
        f"cross-validation; out of fold {accuracy}"
        f"loss {history['fold_loss'][0]:.4f}"
    )


def _stage_line(call: dict[str, Any], plan: Plan, accumulate: int) -> str:
    rates = ", ".join(f"{plan.rates.max() * factor:.1e}" for factor in dict.fromkeys(plan.multipliers))
    what = f"training {', '.join(call['trained'])}: {plan.epochs} epochs, learning rate up to {rates}"
    if accumulate > 1:
        what += f", an update after every {accumulate} of {len(plan.rates)} batches"
    if call["precompute"]:
        what += "; the backbone is frozen, so its features are computed once, without augmentation"
    return what
