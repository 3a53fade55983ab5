"""The Learner: trains a Task on data, by stages, and leaves a run that can be resumed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np

from tlkit.callbacks.recorder import Recorder
from tlkit.errors import Advice, ConfigError, check_choice
from tlkit.export.averaged_views import AveragedViews
from tlkit.export.further import conformal_level
from tlkit.export.saved_model import export_task
from tlkit.models.ensemble import ensemble
from tlkit.models.task import Task
from tlkit.report.html import check_place
from tlkit.report.thresholds import threshold_rule
from tlkit.targets.calibration import Calibration
from tlkit.tasks.base import spec_of
from tlkit.training import fine_tuning
from tlkit.training.baseline import measure_baseline
from tlkit.training.calibrating import fit_calibration
from tlkit.training.checkpoint import EpochCheckpoint
from tlkit.training.data import Data
from tlkit.training.lr_finder import LRFinderResult, check_range, find_lr
from tlkit.training.novelty import fit_novelty
from tlkit.training.options import TrainingOptions
from tlkit.training.plan import Plan, make_plan
from tlkit.training.policy import similarity
from tlkit.training.probe import dense_of
from tlkit.training.run import Run
from tlkit.training.run_state import Keep, read_stages, stages_of
from tlkit.training.snapshots import Snapshots, average_weights, reestimate_batch_norm

_log = logging.getLogger("tlkit")


class Learner:
    """Train a `Task` on data.

    While the backbone is frozen, the head is trained on precomputed features. Ten epochs then take little more
    time than one pass over the images. Augmentation is not used until layers are unfrozen, with cycles, or with
    `fit(..., precompute=False)`.

    A Learner has one persistent optimizer: freezing, unfreezing and new learning rates keep its moments.

    Each epoch writes a checkpoint to `directory`. To resume, run the same script with `resume=True`. Finished calls are
    skipped and return their recorded results. The interrupted call continues after its last finished epoch and ends
    with the weights of an uninterrupted run.

    Example:
        >>> learn = Learner(image_classifier("efficientnet-lite0", data.class_names), data)
        >>> lr = learn.find_lr().suggestion
        >>> learn.fit(3, lr)
        >>> learn.unfreeze()
        >>> learn.fit(3, [lr / 9, lr / 3, lr], cycle_len=1, cycle_mult=2)
        >>> scores, labels = learn.tta(n=4)
        >>> learn.export("saved_models/photos")

    Args:
        task: the task to train; a new task has a frozen backbone.
        data: batches; see `tlkit.ImageData`.
        directory: folder for checkpoints; None writes no files.
        resume: continue the run in `directory`.
        optimizer: a name, or a function that makes a Keras optimizer from a learning rate; AdamW by default.
        options: options of the training step: label smoothing, accumulation, clipping, EMA, precision; see
            `TrainingOptions`. You can also pass its fields by name.

    Attributes:
        history: one dict of lists per `fit`, as in Keras' History.
        recorder: learning rate, momentum and loss per step; `plot_lr`, `plot_losses`, `to_csv`.
        snapshots: weights taken at the ends of cycles.

    Raises:
        ConfigError: task and data do not match, or an argument is invalid.
        TrainingError: there is no run to resume, or it belongs to another task or dataset.
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
            raise ConfigError(
                "task and data have different classes", received=data.class_names, allowed=task.class_names
            )
        theirs, ours = ([one.learned() for one in targets] for targets in (data.targets, task.objective.targets))
        if data.targets and theirs != ours:
            raise ConfigError(
                "task and data have different targets",
                received=[target.name for target in data.targets],
                allowed=[target.name for target in task.objective.targets],
                fix="create the task with data.targets",
            )
        if data.preprocessing != task.preprocessing:
            raise ConfigError(
                "task and data have different preprocessing",
                received=data.preprocessing,
                allowed=task.preprocessing,
            )
        if data.multi_label != task.objective.is_multi_label:
            raise ConfigError(
                "one of task and data is multi-label and the other is not",
                received=f"data.multi_label={data.multi_label}",
                fix=f"create the task with multi_label={not task.objective.is_multi_label}; in a project, set "
                "label_separator"
                " or label_columns in config.toml for multi-label data, also for a column of lists",
            )
        if resume and directory is None:
            raise ConfigError("resume needs directory=")
        if isinstance(optimizer, str):
            more, optimizer = {**more, "optimizer": optimizer}, None
        self.options = (options or TrainingOptions()).updated(more)
        self._rule = "f1"  # of thresholds
        self._run = Run(task, data, self.options, optimizer, None if directory is None else Path(directory), resume)

    @property
    def task(self) -> Task:
        """The task, at its current image size."""
        return self._run.task

    @property
    def data(self) -> Data:
        """The data, at its current image size."""
        return self._run.data

    @property
    def size(self) -> int | None:
        """Image size in pixels; None for texts."""
        return self._run.size

    def native_size(self) -> float:
        """Median size of the training image files, in pixels.

        Raises:
            ConfigError: the data is not photos.
        """
        return self._run.images("the size on disk").native_size()

    @property
    def history(self) -> list[dict[str, list[float]]]:
        """One dict of lists per `fit`."""
        return self._run.history

    @property
    def recorder(self) -> Recorder:
        """Learning rate, momentum and loss per step."""
        return self._run.recorder

    @property
    def snapshots(self) -> Snapshots:
        """Snapshots of the weights at the ends of cycles."""
        return self._run.snapshots

    # Freezing

    def freeze(self) -> None:
        """Freeze the backbone, so that only the head is trained."""
        self.task.freeze_to(-1)

    def unfreeze(self) -> None:
        """Unfreeze all layer groups. Batch-norm statistics stay frozen unless the task has `batch_norm="train"`."""
        self.task.freeze_to(0)

    def freeze_to(self, first_trainable: int) -> None:
        """Freeze the layer groups before number `first_trainable`; -1 freezes all but the head."""
        self.task.freeze_to(first_trainable)

    def resize(self, size: int | None) -> None:
        """Change the image size (progressive resizing). Weights, layer groups and optimizer are kept.

        Args:
            size: side of the square input in pixels; None leaves it.

        Raises:
            ConfigError: the network cannot take it, or the data is not photos.
        """
        self._run.resize(size)

    def mix(self, alpha: float) -> None:
        """Set the strength of MixUp (a Beta distribution with this value as both parameters); 0 turns it off."""
        self._run.augment(self._run.images("MixUp").augmentation.mixed(alpha))

    @property
    def optimizer_name(self) -> str:
        """Class name of the optimizer, such as `"AdamW"`."""
        return self._run.engine.optimizer.kind

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
        """Run the learning-rate finder. All state is restored bit for bit.

        Args:
            start: first learning rate.
            end: last learning rate.
            steps: most updates of the sweep; with `accumulate`, each takes so many batches.
            stop_at: end the sweep if the smoothed loss exceeds this multiple of its minimum; None runs to the end.
            ratios: rates of the layer groups relative to each other, as `fit` takes rates; the sweep is that of the
                last one.

        Returns:
            An `LRFinderResult` with `.suggestion`, `.suggestions` and `.plot(path)`; `print` draws it.
        """
        check_range(start, end, steps, stop_at)
        call = {"find_lr": [start, end, steps, stop_at, None if ratios is None else [float(r) for r in ratios]]}
        stored = self._run.journal.replay(call)
        if stored is not None:
            return LRFinderResult(*(np.asarray(stored[name]) for name in ("rates", "losses", "smoothed")))
        self._run.restore_once()
        precomputed = self.task.backbone_is_frozen
        self._run.settle_precision("features" if precomputed else "training")
        model = self.task.head if precomputed else self.task.model
        stream = self._run.feed.stream(precomputed)
        peak: Any = start if ratios is None else list(ratios)
        plan = make_plan(1, peak, steps=1, groups=len(self.task.groups), schedule="constant")
        self._run.engine.ready(model)
        before = self._run.engine.optimizer.plan()
        self._run.engine.optimizer.set_plan(plan.rates, None, plan.multipliers)
        try:
            found = find_lr(model, stream, start=start, end=end, steps=steps, stop_at=stop_at)
        finally:
            self._run.engine.keep(model)
            self._run.engine.optimizer.put_plan(before)
        outcome = {name: getattr(found, name).tolist() for name in ("rates", "losses", "smoothed")}
        self._run.journal.note(call, outcome)
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
        """Train for a number of epochs, or of cycles if `cycle_len` is given.

        Args:
            epochs: passes over the training photos; with `cycle_len`, the number of cycles.
            lr: the highest learning rate; a list gives the last layer groups one each, and its first number also
                holds for all groups before; or a schedule.
            schedule: `"one_cycle"` (the default: up over a quarter of the steps and down along a cosine, momentum the
                other way), `"slanted_triangular"` (ULMFiT's), `"constant"`, an object of `tlkit.schedules`, or a Keras
                LearningRateSchedule.
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
            ConfigError: an argument is invalid, two of them claim the learning rate, or `accumulate` is larger than
                the training or one of its cycles.
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
            raise ConfigError("features can be precomputed only while the backbone is frozen")
        if precompute is None:
            augmented = self.data.augmentation is not None and self.data.augmentation.is_active
            precompute = frozen and (cycle_len is None or not augmented)
        return self._run.stage_of_fit(
            plan, precompute=precompute, snapshots=snapshots, callbacks=callbacks, verbose=verbose
        )

    def fit_probe(self, *, verbose: bool = True) -> dict[str, list[float]]:
        """Fit a linear probe as the head: a regression on features of the frozen network, logistic for classes.

        Features of the training data are computed once. The strength of the regularisation is the one with the lowest
        loss over five folds (fewer where a class has fewer examples), and the regression is solved until it converges.
        A fine-tuning that starts from there moves the features less than one that starts from a random head (Kumar et
        al. 2022, arXiv 2202.10054). Label smoothing and mixing play no part in it; class weights do.

        Example:
            >>> learn.fit_probe()["fold_accuracy"]
            [0.955]

        Args:
            verbose: log what was chosen.

        Returns:
            Lists of one number: loss, accuracy, val_loss, val_accuracy, strength (C), and out of fold (`fold_loss`,
            `fold_accuracy`) where each class has two examples.

        Raises:
            ConfigError: the head is more than dropout and one dense layer.
        """
        self.check_probe()
        self.freeze()
        return self._run.stage_of_probe({"size": self.size}, verbose)

    def check_probe(self) -> None:
        """Raise an error if the head of the task cannot be a linear probe.

        Raises:
            ConfigError: the head is more than dropout and one dense layer.
        """
        if dense_of(self.task.head) is None:
            raise ConfigError(
                "a linear probe needs a head with dropout and one dense layer",
                received=[type(layer).__name__ for layer in self.task.head.layers[1:]],
                fix=Advice("train this head by epochs: {}", "head", "epochs"),
            )

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
        """Return the learning rates and momentums of a `fit` without training.

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
            with_momentum=self._run.engine.optimizer.has_momentum,
            callbacks=callbacks,
            accumulate=self._run.engine.optimizer.gradient_accumulation_steps or 1,
        )
        if snapshots and not plan.cycle_ends:
            raise ConfigError("snapshots need cycles that end with an epoch", received=plan.name)
        if snapshots and self.options.ema:
            raise ConfigError("snapshots and running averages cannot be combined", fix="remove one of them")
        if snapshots:
            self.snapshots.check()
        return plan

    def fit_gradual(self, epochs: int, lr: Any, *, first: int = -1, last: int = 0, **options: Any) -> None:
        """Train in stages, and unfreeze one more layer group per stage (Howard & Ruder 2018, arXiv 1801.06146).

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
        epochs: int | None = 3,
        lr: float | None = None,
        *,
        frozen_epochs: int = 10,
        divisor: float = fine_tuning.DIVISOR,
        finetune_lr: float | None = None,
        group_factor: float = 3.0,
        policy: fine_tuning.PolicyName = "all",
        head: fine_tuning.HeadName | None = None,
        sizes: Sequence[int] = (),
        budget_minutes: float = fine_tuning.BUDGET_MINUTES,
        **options: Any,
    ) -> None:
        """Train the head, then fine-tune the layer groups chosen by the policy.

        Args:
            epochs: epochs after unfreezing (or cycles, with `cycle_len`), with lower rates for earlier layer groups;
                0 leaves that out; None is 3, or with the policy `"measure"` decided by the amount of data.
            lr: the head's learning rate; the learning-rate finder looks for one by default.
            frozen_epochs: epochs of the head alone.
            divisor: the unfrozen stage's highest rate is the head's divided by this,
            finetune_lr: unless it is given here.
            group_factor: how many times lower the rate of each layer group is than that of the one above it, down to a
                ninth of the highest.
            policy: `"all"` unfreezes everything, `"head"` nothing, `"auto"` decides by the amount of data and its
                similarity to the source, and says why; `"gradual"` unfreezes one layer group more every `epochs` epochs
                (see `fit_gradual`); `"bit"` follows Big Transfer's hyper-rule instead, which needs
                the optimizer `"sgd"`; `"measure"` fits a probe, fine-tunes everything from it on a part of the training
                data, photos at half of their size, and keeps that only if it beats the probe on the rest of them (see
                docs/fine-tune.md). Validation data decide nothing there, and the newest weights are kept.
            head: how the head is trained first: `"epochs"`, or `"probe"` (see `fit_probe`), which takes seconds and
                does not use `frozen_epochs`; left out, it is a probe with the policy `"measure"` and epochs otherwise.
            sizes: smaller sizes, in pixels, at which the head is trained first (progressive resizing); a probe is
                fitted at the last size alone.
            budget_minutes: how long the policy `"measure"` may take: it shortens the second stage or leaves it out, by
                an estimate from the speed of the probe's features.
            options: further options of `fit` for the unfrozen stage, such as `cycle_len` or `snapshots`.

        Raises:
            ConfigError: an argument is invalid.
        """
        fine_tuning.fine_tune(
            self,
            self._run,
            epochs,
            lr,
            frozen_epochs=frozen_epochs,
            divisor=divisor,
            finetune_lr=finetune_lr,
            group_factor=group_factor,
            policy=policy,
            head=head,
            sizes=sizes,
            budget_minutes=budget_minutes,
            options=options,
        )

    def domain_similarity(self) -> float:
        """Return the domain similarity: how well frozen features separate the classes, from 0 (guessing) to 1.

        Raises:
            ConfigError: a class has fewer than two training examples, or an example has several labels.
        """
        if self.task.objective.classes is None:
            raise ConfigError("domain similarity cannot be measured without classes", received=self.task.kind)
        if self.task.objective.is_multi_label:
            raise ConfigError("domain similarity cannot be measured for multi-label data")
        call = {"likeness": self.size}  # as journals of 0.1.0 call it
        stored = self._run.journal.replay(call)
        if stored is None:
            self._run.restore_once()
            stored = similarity(self._run.feed.training_features(), self.data.labels("train"))
            self._run.journal.note(call, stored)
        return float(stored)

    def likeness(self) -> float:
        """Return `domain_similarity()`. Deprecated: this name goes with the next release."""
        warnings.warn("likeness() is now domain_similarity()", DeprecationWarning, stacklevel=2)
        return self.domain_similarity()

    # Cycles that pay

    def ensemble(self, last: int | None = None) -> Learner:
        """Average the predictions of snapshots (Huang et al. 2017, arXiv 1704.00109).

        Args:
            last: how many of the newest; all by default.

        Returns:
            A Learner on the ensemble, to evaluate and to export as one SavedModel.

        Raises:
            ConfigError: there are not so many snapshots.
        """
        self._run.restore_once()
        return Learner(ensemble(self.task, self.snapshots.load(last)), self.data, options=self.options)

    def swa(self, last: int | None = None) -> None:
        """Set the model's weights to the mean of the snapshots (SWA; Izmailov et al. 2018, arXiv 1803.05407).

        Batch-normalisation statistics that were trained along are estimated anew on the training photos.

        Args:
            last: how many of the newest; all by default.

        Raises:
            ConfigError: there are not so many snapshots.
        """
        self._run.restore_once()
        average_weights(self.snapshots.load(last), self.task.model.variables)
        reestimate_batch_norm(self.task.model, self.data.ordered("train"))

    # Results

    def evaluate(self, split: str = "val") -> Any:
        """Evaluate the current weights on a split.

        Args:
            split: `"val"`, `"test"` or `"train"`.

        Returns:
            `ClassificationMetrics` (loss, accuracy, macro F1, AUC, a table by class, the confusion matrix),
            `MultiLabelMetrics`, `RegressionMetrics` (RMSE, MAE, RMSPE, R2), `SurvivalMetrics` (C-index, integrated
            Brier score), or `SeveralMetrics`, one of them for each target.
        """
        return self.measure(self.logits(split), split)

    def logits(self, split: str = "val") -> np.ndarray:
        """Return the outputs of a split, not calibrated, float32 [n, k], in the order of `data.labels(split)`."""
        self._run.restore_once()
        return self._run.feed.logits(split)

    def measure(self, logits: np.ndarray, split: str = "val") -> Any:
        """Evaluate given outputs of a split, float32 [n, k], in the order of `data.labels(split)`."""
        return self.task.objective.measure_outputs(logits, self.data.labels(split))

    def stages(self) -> list[dict[str, Any]]:
        """Return the stages of the training: `name`, and `history`, the values of each metric by epoch.

        They are those of this Learner, or of the run in `directory` where this Learner has only loaded it.
        """
        state = self._run.state
        if state is not None:
            return stages_of(state.calls) or read_stages(state.directory)
        return [{"name": f"stage {place}", "history": history} for place, history in enumerate(self.history, start=1)]

    def report(
        self, path: str | Path, *, title: str = "Report", split: str = "val", check: str | Path | None = None
    ) -> Path:
        """Write an HTML report about the current weights: one file, without scripts, which loads nothing.

        It has metrics, learning curves, confusions, the largest errors with explanations, groups of items on which the
        model is significantly worse, and calibration; more is on it for some tasks.

        Args:
            path: a file ending in .html; folders are made.
            title: heading of the page.
            split: what to report on, `"val"` or `"test"`.
            check: the JSON file that `tlkit check` wrote; its results are put on the page. A file that does not exist
                is left out.

        Returns:
            The path.

        Raises:
            ConfigError: there is no report on such a task, or the path does not end in .html.
            DataError: `check` cannot be read.
        """
        check_place(path)
        return spec_of(self.task.kind).report(self, path, title=title, split=split, check=check)

    def tta(self, n: int = 4, beta: float = 0.4, split: str = "val") -> tuple[np.ndarray, np.ndarray]:
        """Predict with test-time augmentation: average over augmented views and the plain prediction.

        Args:
            n: number of augmented views, 1 to 64.
            beta: weight of the plain prediction; the views share the rest.
            split: `"val"`, `"test"` or `"train"`.

        Returns:
            Probabilities float32 [N, k], and the true class numbers int32 [N].

        Raises:
            ConfigError: an argument is invalid, or the data is not augmented in training.
        """
        views = AveragedViews(n, beta, self._run.images("test-time augmentation").augmentation)
        self._run.restore_once()
        return self._run.feed.scores_with_views(split, views), self.data.labels(split)

    def finish(self, keep: Keep = "best", *, thresholds: str = "half", calibrate: bool = False) -> Learner:
        """Choose the weights to keep, write them to `best.weights.h5`, and end the run.

        Args:
            keep: `"best"` is the epoch with the highest validation accuracy (between equals, the lowest validation
                loss), `"last"` the present weights, `"swa"` the mean of the snapshots, `"ensemble"` all snapshots.
            thresholds: with several labels, the probability above which a label is predicted: `"half"` for 0.5, or
                a rule for one of each label that is chosen on the validation data, see `tune_thresholds`.
            calibrate: fit the probabilities to the validation data, see `calibrate`.

        Returns:
            The Learner to go on with: this one, or that of the ensemble.

        Raises:
            ConfigError: the Learner has no directory, there are no snapshots, or thresholds are chosen for one class.
            TrainingError: no epoch was trained.
        """
        check_choice("keep", keep, get_args(Keep))
        if threshold_rule(thresholds).name != "half":
            self._need_several_labels()
        learn = self._finished(keep)
        learn.task.objective.calibration = None
        learn.task.set_novelty(None)
        if calibrate:
            learn.calibrate()
        self._remember(calibration=learn.task.objective.calibration, novelty=learn.task.novelty)
        self._remember(thresholds={} if thresholds == "half" else learn.tune_thresholds(rule=thresholds))
        return learn

    def calibrate(self, split: str = "val") -> Calibration | None:
        """Fit the probabilities of classes to a split, so that of those predicted with 0.8 eight in ten are true.

        Conformal sets and intervals, and the distance to the training data, are measured as well.

        The map is part of the task from then on: `evaluate`, `report`, predictions and exports use it, and the run in
        `directory` remembers it. It is left out where the split has fewer than 30 items or where it does not lower the
        log loss of items that it was not fitted on; the reason is logged. Further training makes it out of date: call
        this again.

        Args:
            split: what it is fitted on, `"val"` or `"test"`: never data that the network was trained on.

        Returns:
            The map, with log loss and calibration error before and after; None where it is left out.

        Raises:
            ConfigError: the split is the training split.
        """
        check_choice("split", split, ("val", "test"))
        objective = self.task.objective
        found = fit_calibration(objective, self.logits(split), self.data.labels(split), split)
        objective.calibration = found
        self.task.set_novelty(fit_novelty(self.task, self.data, seed=self.data.seed))
        self._remember(calibration=found, novelty=self.task.novelty)
        if getattr(objective.classes, "thresholds", ()):  # they are of probabilities as they were
            self.tune_thresholds(split, self._rule)
        return found

    def tune_thresholds(self, split: str = "val", rule: str = "f1") -> dict[str, float]:
        """Choose for each label the probability above which it is predicted.

        `evaluate`, `report` and exports use them from then on, and the run in `directory` remembers them. The figures
        of the data that they were chosen on are too good: measure on a test split.

        Args:
            split: what they are chosen on. Labels that fewer than 10 of its items have, or lack, keep 0.5.
            rule: `"f1"` for the highest F1, `"cost=5"` for the lowest cost where a missed label costs as much as five
                false alarms, `"precision=0.9"` for the highest recall with at least that precision, `"recall=0.9"` for
                the highest precision with at least that recall. A label that does not reach it keeps 0.5.

        Returns:
            The thresholds by label.

        Raises:
            ConfigError: an item has one class, or the rule is none of these.
        """
        from tlkit.report.multi_label import best_thresholds, chosen_thresholds

        threshold_rule(rule)
        self._need_several_labels()
        self._rule = rule
        given = self.task.objective.calibrated(self.logits(split)), self.data.labels(split)
        found = best_thresholds(*given) if rule == "f1" else chosen_thresholds(*given, rule)
        thresholds = dict(zip(self.task.class_names, found, strict=True))
        self.task.objective.set_thresholds(thresholds)
        self._remember(thresholds=thresholds)
        return thresholds

    def _remember(self, **found: Any) -> None:
        """Write thresholds or the calibration of a run that has ended beside its weights."""
        state = self._run.state
        if state is not None and state.finished:
            state.remember(**found)

    def _need_several_labels(self) -> None:
        if not self.task.objective.is_multi_label:
            raise ConfigError(
                "thresholds are for several labels an item",
                received=self.task.objective.name,
                fix='leave thresholds at "half"',
            )

    def _finished(self, keep: Keep) -> Learner:
        """Return the Learner with the weights to keep."""
        checkpoint = self._need_checkpoint()
        self._run.restore_once()
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
        """Load the weights that the run in `directory` kept: those of the best epoch so far.

        Raises:
            ConfigError: the Learner has no directory.
            TrainingError: there is none, or it was a run of something else.
        """
        self._need_checkpoint().load_best()

    @property
    def kept(self) -> Keep:
        """Which weights the finished run in `directory` kept. If `"ensemble"`, build the model with `ensemble()`."""
        return "best" if self._run.state is None else self._run.state.kept

    def export(
        self,
        base_dir: str | Path,
        *,
        version: int | None = None,
        tta: int = 0,
        tta_beta: float = 0.4,
        level: float | None = None,
        card: str | Path | None = None,
    ) -> Path:
        """Export the current weights as a SavedModel for TensorFlow Serving, and verify it in a fresh process.

        The export has a drift baseline: statistics of the validation data, with which `tlkit drift` compares later
        data.

        Args:
            base_dir: the model's folder; the last part is the name that it is served under.
            version: a positive integer; one more than the newest by default.
            tta: adds a signature with test-time augmentation over so many views; 0 for none.
            tta_beta: weight of the plain prediction in it.
            level: of the signature `conformal`, which calibrated models have: how probable it is that the set of
                classes, or the interval, holds the truth; 0.50 to 0.99 in steps of 0.01. None takes 0.9.
            card: the file model_card.json that `tlkit card` wrote; the export has it as assets.extra/model_card.json.

        Returns:
            `base_dir/version`.

        Raises:
            ConfigError: the level is not usable, or the model has no signature `conformal`.
            ExportError: the version exists or cannot be written.
            VerificationError: the export does not answer like the model; nothing was published.
        """
        conformal_level(self.task, level)  # refused before the evaluation, which takes time
        self._run.restore_once()
        baseline = measure_baseline(self.task, self.data, self._run.feed.features("val"))
        return export_task(
            self.task,
            base_dir,
            version=version,
            metrics=self.evaluate().to_dict(),
            baseline=baseline,
            data_summary=self.data.summary(),
            golden=self.data.samples("val", 4),
            tta=tta,
            tta_beta=tta_beta,
            augmentation=self._run.images("test-time augmentation").augmentation if tta else None,
            level=level,
            extra=None if card is None else {"model_card.json": Path(card).read_bytes()},
        )

    # Internals

    def _need_checkpoint(self) -> EpochCheckpoint:
        if self._run.checkpoint is None:
            raise ConfigError("this call needs a directory", fix="create the Learner with directory=...")
        return self._run.checkpoint
