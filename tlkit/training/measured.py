"""Fine-tuning that has to prove itself on training examples that it has not seen, or is left out.

No fixed recipe is right: on some data sets unfreezing the network gains points, on others of the same size it costs
them. So the linear probe comes first (Kumar et al. 2022, arXiv 2202.10054), and a network that was fine-tuned from it
on a part of the training data must beat it on the rest. Validation data decide nothing here.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tlkit.errors import ConfigError, DivergedError, ModelError
from tlkit.training.data import Divisible
from tlkit.training.features import collect, live_forward
from tlkit.training.plan import make_plan
from tlkit.training.policy import falling_ratios
from tlkit.training.probe import cut_folds
from tlkit.training.verdict import example_losses, judge
from tlkit.training.weights import assign_mix, assign_weights, read_weights

if TYPE_CHECKING:
    from tlkit.training.run import Run

FEWEST_ERRORS = 20  # of the probe, out of fold: with fewer, a gain could not be distinguished from chance
MIXES = (1.0, 0.75, 0.5)  # share of the fine-tuned weights; the rest are the probe's
_MOST_HELD = 1000
_FEWEST_HELD = 60
_MOST_FOLDS = 3
_STEP = 4.0  # a training step takes as long as so many forward passes
_SMALLEST = 96  # pixels
_FEWEST_TRAINED = 32
_log = logging.getLogger("tlkit")


def epochs_for(examples: int, batch_size: int, steps: int, fewest: int, most: int) -> int:
    """Return how many epochs make about so many steps, within bounds."""
    return int(np.clip(round(steps / -(-examples // batch_size)), fewest, most))


def fine_tune_measured(
    run: Run,
    *,
    epochs: int | None,
    lr: float,
    group_factor: float,
    budget: float,
    schedule: Any = None,
    verbose: bool = True,
) -> None:
    """Fit a probe, and fine-tune from it where that proves better.

    Args:
        run: of a fresh task.
        epochs: of the fine-tuning; by the amount of data when None.
        lr: its highest rate, the head's.
        group_factor: how many times lower the rate of each layer group is than that of the one above it.
        budget: seconds that all of it may take; what does not fit is shortened or left out.
        schedule: of the fine-tuning, as `Learner.fit` takes it.
        verbose: print what is done.
    """
    _Measured(run, epochs, lr, group_factor, budget, schedule, verbose).go()


class _Measured:
    def __init__(
        self,
        run: Run,
        epochs: int | None,
        lr: float,
        group_factor: float,
        budget: float,
        schedule: Any,
        verbose: bool,
    ):
        self._run, self._epochs, self._lr, self._schedule, self._verbose = run, epochs, lr, schedule, verbose
        self._ratios = falling_ratios(len(run.task.groups), group_factor)
        self._budget, self._began = budget, time.monotonic()
        self._source = run.source()

    def go(self) -> None:
        with self._run.comparing_sizes():
            self._go()

    def _go(self) -> None:
        run = self._run
        run.prefer_newest()
        run.task.freeze_to(-1)
        full = run.size
        best = full
        found = self._probe_at(full)
        if found["folds"] and (found["errors"] is None or found["errors"] >= FEWEST_ERRORS):
            here = found
            if self._to_half():
                here = self._probe_at(run.size)
                best = run.size if here["loss"] < found["loss"] else full
            if self._tune(best, here):
                return
        elif found["folds"]:
            _log.info(
                "second stage: skipped. The probe makes %d errors out of fold in %d examples: with fewer than %d, a "
                "gain could not be distinguished from chance",
                found["errors"], found["examples"], FEWEST_ERRORS,
            )  # fmt: skip
        else:
            _log.info("second stage: skipped, because there are no examples to compare on")
        run.resize(best)
        run.task.freeze_to(-1)
        run.stage_of_probe({"size": best, "of": "source"}, self._verbose, restart=self._source)

    def _to_half(self) -> bool:
        """Go on with photos of half the size, to the next multiple of 32, where the network takes that."""
        size = self._run.size
        half = 0 if size is None else round(size / 64) * 32
        if half < _SMALLEST:
            return False
        try:
            self._run.resize(half)
        except (ConfigError, ModelError) as error:
            _log.info("image size stays at %s px: %s", size, error)
        return self._run.size != size

    # The probe

    def _probe_at(self, size: int | None) -> dict[str, Any]:
        """Measure the probe at a size out of fold."""
        call = {"probe_at": size}
        stored = self._run.journal.replay(call)
        if stored is not None:
            return dict(stored)
        self._run.restore_once()
        self._run.settle_precision("features")
        probe = self._run.feed.fit_probe()
        seconds = self._run.feed.seconds
        outcome: dict[str, Any] = {"folds": probe.folds, "seconds": seconds, "examples": len(probe.rows)}
        if probe.folds:
            true, objective = self._targets(probe.rows), self._run.task.objective
            outcome["loss"] = float(example_losses(objective, probe.logits, true).mean())
            outcome["errors"] = None
            if objective.classes is None:
                _log.info("linear probe%s: loss %.4f out of fold in %d examples", _at(size), outcome["loss"], len(true))
            else:
                outcome["errors"] = int(objective.classes.wrong(probe.logits, true).sum())
                _log.info(
                    "linear probe%s: %d errors out of fold in %d examples (accuracy %.4f), log loss %.4f",
                    _at(size), outcome["errors"], outcome["examples"],
                    1 - outcome["errors"] / outcome["examples"], outcome["loss"],
                )  # fmt: skip
        self._run.journal.note(call, outcome)
        return outcome

    def _targets(self, rows: np.ndarray) -> np.ndarray:
        task = self._run.task
        return task.objective.encode(self._run.data.labels("train")[rows])

    # The second stage

    def _tune(self, best: int | None, here: dict[str, Any]) -> bool:
        """Fine-tune from the probe on parts of the training data; return whether that is kept."""
        run, data = self._run, cast(Divisible, self._run.data)
        own = run.size
        plan = self._plan(here)
        if plan is None:
            return False
        run.resize(best)  # where the probe is best, before anything is trained
        folds = self._folds(plan)
        run.resize(own)
        if not folds:
            _log.info("second stage: skipped, because there are no examples to compare on")
            return False
        weights = data.example_weights()
        seen: list[tuple[np.ndarray, np.ndarray, dict[float, np.ndarray]]] = []
        for number, (trained, held, logits) in enumerate(folds):
            run.task.freeze_to(-1)
            what = {"size": own, "fold": number, "rows": len(trained)}
            run.stage_of_probe(what, False, restart=self._source, rows=trained)
            run.task.freeze_to(0)
            if not self._fit(data.part(trained), plan.epochs, self._lr, {"fold": number}):
                return False
            centered = run.task.objective.centered
            tuned = {mix: centered(own) for mix, own in self._held(number, trained, held).items()}
            seen.append((held, centered(logits), tuned))
            rows = np.concatenate([held for held, _, _ in seen])
            verdict = judge(
                np.concatenate([logits for _, logits, _ in seen]),
                {mix: np.concatenate([tuned[mix] for _, _, tuned in seen]) for mix in MIXES},
                self._targets(rows),
                run.task.objective,
                None if weights is None else weights[rows],
                goes_on=plan.more_epochs > 0,
            )
            if verdict.gain < 0:  # further folds would hardly turn it
                break
        _log.info("%s", verdict.in_words(_at(best)))
        if not verdict.mix:
            return False
        if plan.more_epochs and not self._fit(data, plan.more_epochs, self._lr, {"after": "folds"}):
            return False
        if verdict.mix < 1:
            run.stage_of_mix({"mix": verdict.mix}, verdict.mix, lambda: self._reference(None))
        return True

    def _plan(self, here: dict[str, Any]) -> _TunePlan | None:
        """Decide on folds and epochs, within the budget."""
        run = self._run
        examples = len(run.data.labels("train"))
        batch = run.data.batch_size
        call = {"tune_plan": [examples, self._epochs]}
        stored = run.journal.replay(call)
        if stored is None:
            steps, fewest, most = (400, 2, 6) if run.size is None else (100, 5, 15)
            held = min(max(examples // 5, 1), _MOST_HELD)
            folds = int(np.clip(-(-_FEWEST_HELD // held), 1, min(_MOST_FOLDS, here["folds"])))
            trained = examples - held
            epochs = self._epochs or epochs_for(trained, batch, steps, fewest, most)
            more = _further(epochs) if held / examples > 0.15 else 0
            left = self._budget - (time.monotonic() - self._began)
            each = here["seconds"] * _STEP

            def cost() -> float:
                return each * (folds * epochs * trained + more * examples)

            words = ""
            while cost() > left and epochs > 1:
                epochs, words = epochs - 1, "shortened to fit the budget: "
                more = min(more, _further(epochs))
            if cost() > left:
                more, trained, words = 0, int(left / (each * folds)), "shortened to fit the budget: "
            accumulate = run.engine.optimizer.gradient_accumulation_steps or 1
            if more * -(-examples // batch) < accumulate:
                more = 0
            if trained < (examples - held) // 20 or trained < 1:
                epochs, words = 0, f"skipped, because only {max(left, 0):.0f} s of the budget are left"
            elif trained < max(_FEWEST_TRAINED, 2 * len(run.task.class_names)):
                epochs, words = 0, f"skipped: {trained} examples are too few"
            elif epochs * -(-trained // batch) < accumulate:
                epochs, words = 0, f"skipped: {trained} examples give no update with accumulate = {accumulate}"
            else:
                words += f"{epochs} epochs on about {trained} examples"
                words += f" in each of up to {folds} folds" if folds > 1 else ""
                words += f", up to {held} held out to compare with the probe; about {cost():.0f} s"
            _log.info("second stage: %s", words)
            stored = [folds, epochs, more, trained, held]
            run.journal.note(call, stored)
        plan = _TunePlan(*(int(value) for value in stored))
        return plan if plan.epochs else None

    def _folds(self, plan: _TunePlan) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Give trained rows, held-out rows, and the probe's logits out of fold of these, by fold."""
        run = self._run
        data = run.data
        call = {"held_out": [run.size, *dataclasses.astuple(plan)]}
        groups = data.training_groups()
        stored = run.journal.replay(call)
        if stored is None:
            run.restore_once()
            draw = np.random.default_rng(data.seed)
            every = np.arange(len(groups))
            loose = data.multi_label or run.task.objective.classes is None
            cuts = cut_folds(self._targets(every), groups, loose, data.seed)
            features = run.feed.training_features()
            stored = []
            for _, test in cuts[: plan.folds]:
                held = np.sort(draw.permutation(test)[: plan.held])
                # The one to beat has seen the same examples.
                probe = run.feed.fit_probe(self._rest(groups, held, plan))
                logits = features[held] @ probe.kernel + probe.bias
                stored.append([held.tolist(), np.round(logits.astype(float), 5).tolist()])
            run.journal.note(call, stored)
        held_out = [(np.asarray(held), np.asarray(logits)) for held, logits in stored]
        return [(self._rest(groups, held, plan), held, logits) for held, logits in held_out]

    def _rest(self, groups: np.ndarray, held: np.ndarray, plan: _TunePlan) -> np.ndarray:
        """Give the rows to train on; copies of what is held out are not among them."""
        rest = np.flatnonzero(~np.isin(groups, groups[held]))
        if len(rest) > plan.trained:
            rest = np.sort(np.random.default_rng(self._run.data.seed).permutation(rest)[: plan.trained])
        return rest

    def _fit(self, data: Any, epochs: int, lr: float, more: dict[str, Any]) -> bool:
        """Train everything; return False where that diverged."""
        run = self._run
        failed = {"diverged": more}
        if run.journal.comes(failed):
            return not run.journal.replay(failed)
        plan = make_plan(
            epochs,
            [lr * ratio for ratio in self._ratios],
            steps=data.steps_per_epoch,
            groups=len(run.task.groups),
            schedule=self._schedule,
            with_momentum=run.engine.optimizer.has_momentum,
            accumulate=run.engine.optimizer.gradient_accumulation_steps or 1,
        )
        try:
            with run.trained_on(data):
                run.stage_of_fit(plan, verbose=self._verbose, validate=False, **more)
        except DivergedError:
            _log.warning("second stage: stopped, because its loss is no longer finite. The probe is kept")
            run.journal.note(failed, True)
            return False
        return True

    def _held(self, fold: int, trained: np.ndarray, held: np.ndarray) -> dict[float, np.ndarray]:
        """Give logits of the held-out rows for each mix of the probe's and the fine-tuned weights."""
        run = self._run
        call = {"held": fold}
        stored = run.journal.replay(call)
        if stored is None:
            run.restore_once()
            reference = self._reference(trained)
            run.settle_precision("training")
            tuned = read_weights(run.task.model)
            batches = cast(Divisible, run.data).part(held).ordered("train")
            model = run.task.model
            forward = live_forward(model)
            stored = []
            for mix in MIXES:
                assign_mix(model, reference, tuned, mix)
                stored.append(np.round(collect(forward, batches).astype(float), 5).tolist())
            assign_weights(model, tuned)
            run.journal.note(call, stored)
        return {mix: np.asarray(logits) for mix, logits in zip(MIXES, stored, strict=True)}

    def _reference(self, rows: np.ndarray | None) -> list[np.ndarray]:
        """Give the weights of the source network with a probe of some rows in its head."""
        run = self._run
        model = run.task.model
        now = read_weights(model)
        assign_weights(model, self._source)
        run.settle_precision("features")
        run.feed.fit_probe(rows, run.options.label_smoothing).install(run.task.head)
        reference = read_weights(model)
        assign_weights(model, now)
        return reference


@dataclasses.dataclass(frozen=True)
class _TunePlan:
    folds: int
    epochs: int
    more_epochs: int  # with all training data, afterwards
    trained: int
    held: int


def _further(epochs: int) -> int:
    """Return how many epochs on all examples follow those of a fold that won."""
    return -(-2 * epochs // 3)


def _at(size: int | None) -> str:
    return "" if size is None else f" at {size} px"
