"""The Learner: trains a Task on data, by stages, and leaves a run that can be resumed."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import tensorflow as tf

from tlkit.callbacks.base import RateCallback
from tlkit.callbacks.recorder import Recorder
from tlkit.errors import ConfigError, TrainingError, check_choice
from tlkit.export.saved_model import export_task
from tlkit.models.ensemble import ensemble
from tlkit.models.task import Task
from tlkit.report.metrics import ClassificationMetrics, classification_metrics
from tlkit.training import fine_tuning, precision
from tlkit.training.bookkeeper import Bookkeeper
from tlkit.training.checkpoint import EpochCheckpoint
from tlkit.training.data import Data
from tlkit.training.engine import Engine
from tlkit.training.feed import Feed
from tlkit.training.journal import Journal
from tlkit.training.lr_finder import LRFinderResult, check_range, find_lr, restored
from tlkit.training.options import TrainingOptions
from tlkit.training.plan import Plan, make_plan, whole
from tlkit.training.policy import similarity
from tlkit.training.progress import EpochTable
from tlkit.training.run_state import Keep, RunState
from tlkit.training.snapshots import Snapshots, average_weights, reestimate_batch_norm

_log = logging.getLogger("tlkit")


class Learner:
    """Trains a `Task` on data.

    While the backbone is frozen, the head trains on features that are computed once, so that ten epochs cost little
    more than one pass over the photos; augmentation then waits until something is unfrozen, until cycles are asked
    for, or until `fit(..., precompute=False)`.

    One optimizer serves the Learner for life: freezing, unfreezing and new rates leave its moments alone.

    Every epoch leaves a checkpoint in `directory`. With `resume=True` a script runs through the same calls again:
    those already finished are skipped and return what they returned, the one that was interrupted goes on after its
    last whole epoch, and ends with the weights that an uninterrupted run would have.

    Example:
        >>> learn = Learner(image_classifier("efficientnet-lite0", data.class_names), data)
        >>> lr = learn.find_lr().suggestion
        >>> learn.fit(3, lr)
        >>> learn.unfreeze()
        >>> learn.fit(3, [lr / 9, lr / 3, lr], cycle_len=1, cycle_mult=2)
        >>> scores, labels = learn.tta(n=4)
        >>> learn.export("saved_models/photos")

    Args:
        task: what to train; a fresh one has a frozen backbone.
        data: batches; see `tlkit.ImageData`.
        directory: where checkpoints go; None keeps nothing on disk.
        resume: go on with the run in `directory`.
        optimizer: a name, or a function that makes a Keras optimizer from a learning rate; AdamW by default.
        options: how each step is taken: label smoothing, accumulation, clipping, averages, precision; see
            `TrainingOptions`, whose fields may also be given here by name.

    Attributes:
        history: one dict of lists for each `fit`, as Keras' History gives them.
        recorder: rate, momentum and loss of every step; `plot_lr`, `plot_losses`, `to_csv`.
        snapshots: weights taken at the ends of cycles.

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
        optimizer: Callable[[Any], keras.optimizers.Optimizer] | str | None = None,
        options: TrainingOptions | None = None,
        **more: Any,
    ):
        if tuple(data.class_names) != task.class_names:
            raise ConfigError("task and data have other classes", received=data.class_names, allowed=task.class_names)
        if data.preprocessing != task.preprocessing:
            raise ConfigError(
                "task and data prepare images in another way", received=data.preprocessing, allowed=task.preprocessing
            )
        if resume and directory is None:
            raise ConfigError("resume needs the directory of the run")
        self.task = task
        self.data = data
        if isinstance(optimizer, str):
            more, optimizer = {**more, "optimizer": optimizer}, None
        self.options = (options or TrainingOptions()).updated(more)
        self.history: list[dict[str, list[float]]] = []
        self.recorder = Recorder(per_step=False)
        self._loss = self.options.loss()
        self._engine = Engine(task, self._loss, self.options.maker(optimizer), ema_decay=self.options.ema)
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._feed = Feed(task, data, self._epoch)
        self._state: RunState | None = None
        self._checkpoint: EpochCheckpoint | None = None
        self._precisions: dict[str, str] = {}
        if self.options.precision not in ("as_built", "auto"):
            task.set_precision(self.options.precision)
        folder = None if directory is None else Path(directory)
        self.snapshots = Snapshots(None if folder is None else folder / "snapshots")
        if folder is not None:
            self._state = RunState(folder, self._identity(), resume=resume)
            self._checkpoint = EpochCheckpoint(self._state, self._engine, self.snapshots)
        self._journal = Journal(self._state, self.recorder, self.snapshots)

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

    def resize(self, size: int) -> None:
        """Go on with photos of another size (progressive resizing): weights, groups and optimizer stay.

        Args:
            size: side of the square input in pixels.

        Raises:
            ConfigError: the network cannot take it.
        """
        if size == self.task.preprocessing.size:
            return
        task = self.task.at_size(size)
        self.data = self.data.resized(size)
        self.task = self._engine.task = task
        self._feed = Feed(task, self.data, self._epoch)
        if self._state is not None:
            self._state.size = size

    def mix(self, alpha: float) -> None:
        """Go on with MixUp of that strength (Beta distribution with twice that parameter); 0 switches it off."""
        mix: Any = "mixup" if alpha else "none"
        changed = dataclasses.replace(self.data.augmentation, mix=mix, mix_alpha=alpha or None)
        self.data = self.data.augmented_by(changed)
        self._feed = Feed(self.task, self.data, self._epoch)

    @property
    def optimizer_name(self) -> str:
        """Class of the optimizer, such as `"AdamW"`."""
        return self._engine.optimizer.kind

    # Training

    def find_lr(
        self,
        *,
        start: float = 1e-5,
        end: float = 1.0,
        steps: int = 100,
        stop_at: float | None = 4.0,
        ratios: Sequence[float] | None = None,
    ) -> LRFinderResult:
        """Sweep the learning rate and suggest one; everything is afterwards bit-identical to before.

        Args:
            start: first learning rate.
            end: last learning rate.
            steps: most steps of the sweep.
            stop_at: end the sweep once the smoothed loss is so many times its minimum; None goes on to the end.
            ratios: rates of the layer groups relative to each other, as `fit` takes rates; the sweep is that of the
                last one.

        Returns:
            An `LRFinderResult` with `.suggestion`, `.suggestions` and `.plot(path)`; `print` draws it.
        """
        check_range(start, end, steps, stop_at)
        call = {"find_lr": [start, end, steps, stop_at, None if ratios is None else [float(r) for r in ratios]]}
        stored = self._journal.replay(call)
        if stored is not None:
            return LRFinderResult(*(np.asarray(stored[name]) for name in ("rates", "losses", "smoothed")))
        self._restore_once()
        precomputed = self.task.backbone_is_frozen
        self._settle_precision("features" if precomputed else "training")
        model = self.task.head if precomputed else self.task.model
        stream = self._feed.stream(precomputed)
        peak: Any = start if ratios is None else list(ratios)
        plan = make_plan(1, peak, steps=1, groups=len(self.task.groups), schedule="constant")
        self._engine.ready(model)
        before = self._engine.optimizer.plan()
        self._engine.optimizer.set_plan(plan.rates, None, plan.multipliers)
        try:
            found = find_lr(model, stream, start=start, end=end, steps=steps, stop_at=stop_at)
        finally:
            self._engine.keep(model)
            self._engine.optimizer.put_plan(before)
        outcome = {name: getattr(found, name).tolist() for name in ("rates", "losses", "smoothed")}
        self._journal.note(call, outcome)
        _log.info("learning rate found: %.1e", found.suggestion)
        return found

    def fit(
        self,
        epochs: int,
        lr: Any = None,
        *,
        schedule: Any = None,
        cycle_len: int | None = None,
        cycle_mult: int = 1,
        precompute: bool | None = None,
        snapshots: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: bool = True,
    ) -> dict[str, list[float]]:
        """Train for some epochs, or for some cycles when `cycle_len` is given.

        Args:
            epochs: passes over the training photos; with `cycle_len`, the number of cycles.
            lr: the highest learning rate; a list gives the last layer groups one each, and its first number also
                holds for all groups before; or a schedule.
            schedule: `"one_cycle"` (the default: up over a quarter of the steps and down along a cosine, momentum the
                other way), `"constant"`, an object of `tlkit.schedules`, or a Keras LearningRateSchedule.
            cycle_len: epochs of the first cycle of warm restarts.
            cycle_mult: how many times longer each cycle is than the one before.
            precompute: train the head on features computed once. Left out, that is done while the backbone is frozen,
                unless cycles are asked for, which are meant to see augmented photos.
            snapshots: keep the weights at the end of each cycle, for `ensemble` and `swa`.
            callbacks: further Keras callbacks.
            verbose: print a table with a line for each epoch.

        Returns:
            Loss and accuracy by epoch, training and validation.

        Raises:
            ConfigError: an argument is not usable, or two of them claim the learning rate.
            TrainingError: the loss is not finite, or the checkpoint cannot be written.
        """
        plan = self.check_fit(
            epochs,
            lr,
            schedule=schedule,
            cycle_len=cycle_len,
            cycle_mult=cycle_mult,
            snapshots=snapshots,
            callbacks=callbacks,
        )
        frozen = self.task.backbone_is_frozen
        if precompute and not frozen:
            raise ConfigError("features can only be computed in advance while the backbone is frozen")
        if precompute is None:
            precompute = frozen and (cycle_len is None or not self.data.augmentation.is_active)
        trained = [group.name for group in self.task.groups if group.trainable]
        call = {
            "fit": {
                "epochs": plan.epochs,
                "schedule": plan.name,
                "ratios": list(plan.multipliers),
                "precompute": bool(precompute),
                "snapshots": bool(snapshots),
                "size": self.task.preprocessing.size,
                "augmentation": self.data.augmentation.to_dict(),
                "trained": trained,
            }
        }
        stored = self._journal.replay(call)
        if stored is None:
            stored = self._train(call, plan, precompute, snapshots, callbacks, verbose)
        self.history.append(stored)
        return stored

    def check_fit(
        self,
        epochs: int,
        lr: Any = None,
        *,
        schedule: Any = None,
        cycle_len: int | None = None,
        cycle_mult: int = 1,
        snapshots: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        **others: Any,
    ) -> Plan:
        """Work out a `fit` without training: rate and momentum of every step.

        Args:
            epochs, lr, schedule, cycle_len, cycle_mult, snapshots, callbacks: as in `fit`.
            others: the further arguments of `fit`, which change nothing here.

        Returns:
            A `Plan` with `rates`, `momenta`, `multipliers` and `cycle_ends`.

        Raises:
            ConfigError: `fit` would refuse them.
            TrainingError: snapshots cannot be written.
        """
        plan = make_plan(
            epochs,
            lr,
            steps=self.data.steps_per_epoch,
            groups=len(self.task.groups),
            schedule=schedule,
            cycle_len=cycle_len,
            cycle_mult=cycle_mult,
            with_momentum=self._engine.optimizer.has_momentum,
            callbacks=callbacks,
        )
        if snapshots and not plan.cycle_ends:
            raise ConfigError("snapshots need cycles that end with an epoch", received=plan.name)
        if snapshots and self.options.ema:
            raise ConfigError("snapshots and running averages do not go together", fix="leave out one of them")
        if snapshots:
            self.snapshots.check()
        return plan

    def fit_gradual(self, epochs: int, lr: Any, *, first: int = -1, last: int = 0, **options: Any) -> None:
        """Unfreeze one layer group more for each stage, from the head down (Howard & Ruder 2018, arXiv 1801.06146).

        Args:
            epochs: epochs (or cycles) of each stage.
            lr: as in `fit`; a single number gives each group below the head 1/2.6 of the rate of the one above.
            first: the first group that the first stage trains; -1 is the head.
            last: the first group that the last stage trains.
            options: as in `fit`.

        Raises:
            ConfigError: there are no such groups, or the stages go the wrong way.
        """
        fine_tuning.fit_gradual(self, epochs, lr, first=first, last=last, options=options)

    def fine_tune(
        self,
        epochs: int = 3,
        lr: float | None = None,
        *,
        frozen_epochs: int = 10,
        divisor: float = fine_tuning.DIVISOR,
        policy: fine_tuning.PolicyName = "all",
        sizes: Sequence[int] = (),
        **options: Any,
    ) -> None:
        """Train the head, then as much of the backbone as the policy says: the whole of fine-tuning in one call.

        Args:
            epochs: epochs after unfreezing (or cycles, with `cycle_len`), with lower rates for earlier layer groups;
                0 leaves that out.
            lr: the head's learning rate; the learning-rate finder looks for one when left out.
            frozen_epochs: epochs of the head alone.
            divisor: the unfrozen stage's highest rate is the head's divided by this.
            policy: `"all"` unfreezes everything, `"head"` nothing, `"auto"` decides by the amount of data and its
                likeness to the source, and says why; `"bit"` follows Big Transfer's hyper-rule instead, which needs
                the optimizer `"sgd"`.
            sizes: smaller sizes, in pixels, at which the head is trained first (progressive resizing).
            options: further options of `fit` for the unfrozen stage, such as `cycle_len` or `snapshots`.

        Raises:
            ConfigError: an argument is not usable.
        """
        fine_tuning.fine_tune(
            self, epochs, lr, frozen_epochs=frozen_epochs, divisor=divisor, policy=policy, sizes=sizes, options=options
        )

    def likeness(self) -> float:
        """Measure how well features of the frozen backbone tell the classes apart: 0 (guessing) to 1.

        Raises:
            ConfigError: a class has fewer than two training photos.
        """
        call = {"likeness": self.task.preprocessing.size}
        stored = self._journal.replay(call)
        if stored is None:
            self._restore_once()
            stored = similarity(self._feed.training_features(), self.data.labels("train"))
            self._journal.note(call, stored)
        return float(stored)

    def _train(
        self,
        call: dict[str, Any],
        plan: Plan,
        precompute: bool,
        snapshots: bool,
        callbacks: Sequence[keras.callbacks.Callback],
        verbose: bool,
    ) -> dict[str, list[float]]:
        if verbose:
            _log.info("%s", _stage_line(call["fit"], plan))
        model = self.task.head if precompute else self.task.model
        self._settle_precision("features" if precompute else "training")
        if self._checkpoint is not None:
            self._checkpoint.restore_last()
        self._engine.ready(model)
        first_epoch, past = 0, dict[str, list[float]]()
        if self._checkpoint is not None:
            first_epoch, past = self._checkpoint.begin(call, resume=self._journal.is_behind)
        steps = self.data.steps_per_epoch
        offset = sum(len(stage["loss"]) for stage in self.history)
        others = [callback for callback in callbacks if not isinstance(callback, RateCallback)]
        keeper = Bookkeeper(
            self._engine,
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
        if self._checkpoint is not None:
            watchers.append(self._checkpoint)
        try:
            history = self._engine.run(
                model,
                plan,
                self._feed.epoch(precompute),
                self._feed.validation(precompute),
                first_epoch=plan.epochs if keeper.has_waited_enough() else first_epoch,
                callbacks=watchers,
                # An epoch in one call is faster, but hides the steps from other callbacks.
                steps_per_execution=steps if precompute and not others else 1,
            )
        finally:
            if table:
                table.stop()
        merged = {name: [*past.get(name, []), *map(float, history.get(name, []))] for name in {**past, **history}}
        if not np.all(np.isfinite(merged["loss"])):
            if self._checkpoint is not None:
                self._checkpoint.go_back()
            kept = "the weights are those of the last good epoch" if self._checkpoint else "the weights are lost"
            raise TrainingError(
                "the loss is not finite any more",
                received=float(plan.rates.max()),
                fix=f"train with a lower learning rate; {kept}",
            )
        if self._checkpoint is not None:
            self._checkpoint.end(merged, self._engine.optimizer.recorded(0, len(merged["loss"]) * steps))
            self._journal.passed()
        return merged

    # Cycles that pay

    def ensemble(self, last: int | None = None) -> Learner:
        """Average the predictions of snapshots (Huang et al. 2017, arXiv 1704.00109).

        Args:
            last: how many of the newest; all when left out.

        Returns:
            A Learner on the ensemble, to evaluate and to export as one SavedModel.

        Raises:
            ConfigError: there are not so many snapshots.
        """
        self._restore_once()
        return Learner(ensemble(self.task, self.snapshots.load(last)), self.data, options=self.options)

    def swa(self, last: int | None = None) -> None:
        """Put the mean of the snapshots' weights into the model (Izmailov et al. 2018, arXiv 1803.05407).

        Batch-normalisation statistics that were trained along are estimated anew on the training photos.

        Args:
            last: how many of the newest; all when left out.

        Raises:
            ConfigError: there are not so many snapshots.
        """
        self._restore_once()
        average_weights(self.snapshots.load(last), self.task.model.variables)
        reestimate_batch_norm(self.task.model, self.data.ordered("train"))

    # Results

    def evaluate(self, split: str = "val") -> ClassificationMetrics:
        """Measure the present weights on a split.

        Args:
            split: `"val"`, `"test"` or `"train"`.

        Returns:
            Loss, accuracy, macro F1, a table by class and the confusion matrix.
        """
        self._restore_once()
        logits = self._feed.logits(split)
        return classification_metrics(logits, self.data.labels(split), self.task.class_names)

    def tta(self, n: int = 4, beta: float = 0.4, split: str = "val") -> tuple[np.ndarray, np.ndarray]:
        """Predict with test-time augmentation: the mean over augmented views, mixed with the plain prediction.

        Args:
            n: number of augmented views.
            beta: weight of the plain prediction; the views share the rest.
            split: `"val"`, `"test"` or `"train"`.

        Returns:
            Probabilities float32 [N, k], and the true class numbers int32 [N].

        Raises:
            ConfigError: an argument is not usable, or the data is not augmented in training.
        """
        whole("n", n)
        if isinstance(beta, bool) or not isinstance(beta, int | float) or not 0 <= beta <= 1:
            raise ConfigError("beta is not usable", received=beta, allowed="a number from 0 to 1")
        self._restore_once()
        return self._feed.scores_with_views(split, n, beta), self.data.labels(split)

    def finish(self, keep: Keep = "best") -> Learner:
        """Settle which weights to keep, write them as `best.weights.h5`, and end the run.

        Args:
            keep: `"best"` is the epoch with the highest validation accuracy (between equals, the lowest validation
                loss), `"last"` the present weights, `"swa"` the mean of the snapshots, `"ensemble"` all snapshots.

        Returns:
            The Learner to go on with: this one, or that of the ensemble.

        Raises:
            ConfigError: the Learner has no directory, or there are no snapshots.
            TrainingError: no epoch was trained.
        """
        check_choice("keep", keep, get_args(Keep))
        checkpoint = self._need_checkpoint()
        self._restore_once()
        if keep == "best":
            checkpoint.finish()
            return self
        if not checkpoint.finished:
            if keep == "swa":
                self.swa()
            checkpoint.save(keep)
        self.load_best()
        return self.ensemble() if keep == "ensemble" else self

    def load_best(self) -> None:
        """Put the weights that the run in `directory` kept into the model; they are the best epoch's so far.

        Raises:
            ConfigError: the Learner has no directory.
            TrainingError: there is none, or it was a run of something else.
        """
        self._need_checkpoint().load_best()

    @property
    def kept(self) -> Keep:
        """What the finished run in `directory` kept: with `"ensemble"`, `ensemble()` puts its model together."""
        return "best" if self._state is None else self._state.kept

    def export(self, base_dir: str | Path, *, version: int | None = None, tta: int = 0, tta_beta: float = 0.4) -> Path:
        """Export the present weights as a SavedModel for TensorFlow Serving, verified in a fresh process.

        Args:
            base_dir: the model's folder; the last part is the name that it is served under.
            version: a positive integer; one more than the newest when left out.
            tta: adds a signature with test-time augmentation over so many views; 0 for none.
            tta_beta: weight of the plain prediction in it.

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
            tta=tta,
            tta_beta=tta_beta,
            augmentation=self.data.augmentation if tta else None,
        )

    # Internals

    def _identity(self) -> dict[str, Any]:
        return {
            "backbone": self.task.backbone_name,
            "cut": self.task.cut,
            "classes": list(self.task.class_names),
            "preprocessing": self.task.preprocessing.to_dict(),
            "data": self.data.fingerprint(),
            "parameters": int(self.task.model.count_params()),
            "seed": self.data.seed,
            "batch_size": self.data.batch_size,
            "augmentation": self.data.augmentation.to_dict(),
            "optimizer": self._engine.describe_optimizer(),
            "options": self.options.to_dict(),
        }

    def _settle_precision(self, stage: str) -> None:
        """With `precision="auto"`, measure once for each kind of stage which number format is faster."""
        if self.options.precision != "auto":
            return
        call = {"precision": stage}
        if stage in self._precisions:
            self.task.set_precision(self._precisions[stage])
            return
        chosen = self._journal.replay(call)
        if chosen is None:
            self._restore_once()
            batch = next(iter(self.data.ordered("train")))
            with restored(self.task.model, self._engine.optimizer):
                chosen, seconds = precision.fastest(precision.candidates(), self._engine.trial(stage, batch))
            timed = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
            _log.info("precision for %s: %s (a step takes %s)", stage, chosen, timed)
            self._journal.note(call, chosen)
        self._precisions[stage] = chosen
        self.task.set_precision(chosen)

    def _restore_once(self) -> None:
        """Before anything but a replayed call touches the model, bring it to where the resumed run stands."""
        if self._checkpoint is not None:
            self._checkpoint.restore_last()

    def _need_checkpoint(self) -> EpochCheckpoint:
        if self._checkpoint is None:
            raise ConfigError("this needs a directory", fix="make the Learner with directory=...")
        return self._checkpoint


def _stage_line(call: dict[str, Any], plan: Plan) -> str:
    rates = ", ".join(f"{plan.rates.max() * factor:.1e}" for factor in dict.fromkeys(plan.multipliers))
    what = f"training {', '.join(call['trained'])}: {plan.epochs} epochs, learning rate up to {rates}"
    if call["precompute"]:
        what += "; the backbone is frozen, so its features are computed once, without augmentation"
    return what
