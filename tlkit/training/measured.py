"""Fine-tuning that has to prove itself on training examples that it has not seen, or is left out.

No fixed recipe is right: on some data sets unfreezing the network gains points, on others of the same size it costs
them. So the linear probe comes first (Kumar et al. 2022, arXiv 2202.10054), and a network that was fine-tuned from it
on a part of the training data must beat it on the rest. Validation data decide nothing here.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np

from tlkit.errors import ConfigError, DivergedError, ModelError
from tlkit.training.data import Divisible
from tlkit.training.features import collect, live_forward
from tlkit.training.plan import make_plan
from tlkit.training.policy import falling_ratios
from tlkit.training.probe import Probe, cut_folds, log_losses

if TYPE_CHECKING:
    from tlkit.training.run import Run

FEWEST_ERRORS = 20  # of the probe, out of fold: with fewer, a gain on the held-out part cannot be told from chance
MIXES = (1.0, 0.75, 0.5)  # share of the fine-tuned weights; the rest are the probe's
_MOST_HELD = 1000
_FEWEST_HELD = 60
_MOST_FOLDS = 3
_STEP = 4.0  # a training step takes as long as so many forward passes
_SMALLEST = 96  # pixels
_FEWEST_TRAINED = 32
_log = logging.getLogger("tlkit")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the comparison on held-out training examples found.

    Attributes:
        mix: share of the fine-tuned weights; 0 where the probe stays.
        errors: of the fine-tuned network at its best share, on the held-out examples.
        probe_errors: of the probe, on the same.
        gain: how much lower the fine-tuned network's mean log loss is, both with their best temperature.
        standard_error: of the gain, paired by example.
        examples: how many were held out.
    """

    mix: float
    errors: int
    probe_errors: int
    gain: float
    standard_error: float
    examples: int


def judge(
    probe: np.ndarray,
    tuned: Mapping[float, np.ndarray],
    targets: np.ndarray,
    multi_label: bool = False,
    weights: np.ndarray | None = None,
) -> Verdict:
    """Compare a probe with a fine-tuned network on examples that neither has seen.

    The network wins if its log loss is lower by more than a standard error of the paired difference, and it makes no
    more errors. Both are given the temperature that suits them best (Guo et al. 2017, arXiv 1706.04599): label
    smoothing changes how sure a network is, not what it knows.

    Args:
        probe: logits [n, k] of the probe.
        tuned: share of the fine-tuned weights -> logits [n, k] (Wortsman et al. 2022, arXiv 2109.01903).
        targets: one-hot float [n, k], or with `multi_label` 0/1 for each label.
        multi_label: several labels can be true at once.
        weights: float [n], how much each example counts; all the same when left out.
    """
    shares = np.ones(len(targets)) if weights is None else np.asarray(weights, np.float64)
    shares = shares / shares.sum()
    own = _tempered(probe, targets, multi_label, shares)
    losses = {mix: _tempered(logits, targets, multi_label, shares) for mix, logits in tuned.items()}
    mix = min(losses, key=lambda key: float(losses[key] @ shares))
    gains = own - losses[mix]
    gain = float(gains @ shares)
    count = len(targets)
    error = float(np.linalg.norm(shares * (gains - gain))) * (count / (count - 1)) ** 0.5 if count > 1 else float("inf")
    wrong, before = (_wrong(logits, targets, multi_label) for logits in (tuned[mix], probe))
    won = gain > error and wrong @ shares <= before @ shares + 1e-12
    return Verdict(mix if won else 0.0, int(wrong.sum()), int(before.sum()), gain, error, count)


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
        self._probes: dict[int | None, Probe] = {}

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
        if found["folds"] and found["errors"] >= FEWEST_ERRORS:
            here = found
            if self._to_half():
                here = self._probe_at(run.size)
                best = run.size if here["loss"] < found["loss"] else full
            if self._tune(best, here):
                return
        elif found["folds"]:
            _log.info(
                "second stage: left out. The probe makes %d errors out of fold in %d examples: with fewer than %d, a "
                "gain cannot be told from chance",
                found["errors"], found["examples"], FEWEST_ERRORS,
            )  # fmt: skip
        else:
            _log.info("second stage: left out, since there is nothing to measure it on")
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
            _log.info("photos stay at %s px: %s", size, error)
        return self._run.size != size

    # The probe

    def _probe_at(self, size: int | None) -> dict[str, Any]:
        """Measure the probe at a size out of fold."""
        call = {"probe_at": size}
        stored = self._run.journal.replay(call)
        if stored is not None:
            return dict(stored)
        self._run.restore_once()
        probe = self._probe()
        seconds = self._run.feed.seconds
        outcome: dict[str, Any] = {"folds": probe.folds, "seconds": seconds, "examples": len(probe.rows)}
        if probe.folds:
            targets, multi_label = self._targets(probe.rows), self._run.data.multi_label
            outcome["errors"] = int(_wrong(probe.logits, targets, multi_label).sum())
            outcome["loss"] = float(log_losses(probe.logits, targets, multi_label).mean())
            where = "" if size is None else f" at {size} px"
            _log.info(
                "linear probe%s: %d errors out of fold in %d examples (accuracy %.4f), log loss %.4f",
                where, outcome["errors"], outcome["examples"],
                1 - outcome["errors"] / outcome["examples"], outcome["loss"],
            )  # fmt: skip
        self._run.journal.note(call, outcome)
        return outcome

    def _probe(self) -> Probe:
        """Give the probe of all training data at the present size."""
        if self._run.size not in self._probes:
            self._run.settle_precision("features")
            self._probes[self._run.size] = self._run.feed.fit_probe()
        return self._probes[self._run.size]

    def _targets(self, rows: np.ndarray) -> np.ndarray:
        task = self._run.task
        return task.objective.targets(self._run.data.labels("train")[rows], len(task.class_names))

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
        weights = run.feed.training_weights()
        seen: list[tuple[np.ndarray, np.ndarray, dict[float, np.ndarray]]] = []
        for number, (trained, held, logits) in enumerate(folds):
            run.task.freeze_to(-1)
            what = {"size": own, "fold": number, "rows": len(trained)}
            run.stage_of_probe(what, False, restart=self._source, rows=trained)
            run.task.freeze_to(0)
            if not self._fit(data.part(trained), plan.epochs, self._lr, {"fold": number}):
                return False
            seen.append((held, logits, self._held(number, trained, held)))
            rows = np.concatenate([held for held, _, _ in seen])
            verdict = judge(
                np.concatenate([logits for _, logits, _ in seen]),
                {mix: np.concatenate([tuned[mix] for _, _, tuned in seen]) for mix in MIXES},
                self._targets(rows),
                data.multi_label,
                None if weights is None else weights[rows],
            )
            if verdict.gain < 0:  # further folds would hardly turn it
                break
        _log.info("%s", _verdict_line(verdict, best))
        if not verdict.mix:
            return False
        if plan.more_epochs and not self._fit(data, plan.more_epochs, self._lr / 2, {"after": "folds"}):
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
            more = -(-epochs // 3) if held / examples > 0.15 else 0
            left = self._budget - (time.monotonic() - self._began)
            each = here["seconds"] * _STEP

            def cost() -> float:
                return each * (folds * epochs * trained + more * examples)

            told = ""
            while cost() > left and epochs > 1:
                epochs, told = epochs - 1, "shortened to fit the budget: "
                more = min(more, -(-epochs // 3))
            if cost() > left:
                more, trained, told = 0, int(left / (each * folds)), "shortened to fit the budget: "
            accumulate = run.engine.optimizer.gradient_accumulation_steps or 1
            if more * -(-examples // batch) < accumulate:
                more = 0
            if trained < (examples - held) // 20 or trained < 1:
                epochs, told = 0, f"left out, since the budget leaves {max(left, 0):.0f} s"
            elif trained < max(_FEWEST_TRAINED, 2 * len(run.task.class_names)):
                epochs, told = 0, f"left out: {trained} examples would be too few"
            elif epochs * -(-trained // batch) < accumulate:
                epochs, told = 0, f"left out: {trained} examples make no update with accumulate = {accumulate}"
            else:
                told += f"{epochs} epochs on about {trained} examples"
                told += f" in each of up to {folds} folds" if folds > 1 else ""
                told += f", up to {held} held out to compare with the probe; about {cost():.0f} s"
            _log.info("second stage: %s", told)
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
            cuts = cut_folds(self._targets(every), groups, data.multi_label, data.seed)
            stored = []
            for _, test in cuts[: plan.folds]:
                held = np.sort(draw.permutation(test)[: plan.held])
                # The one to beat has seen the same examples.
                probe = run.feed.fit_probe(self._rest(groups, held, plan))
                logits = run.feed.training_features()[held] @ probe.kernel + probe.bias
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
        call = {
            "fit": {
                "epochs": epochs,
                "schedule": plan.name,
                "ratios": list(plan.multipliers),
                "size": run.size,
                "augmentation": run.augmentation,
                "trained": [group.name for group in run.task.groups if group.trainable],
                "precompute": False,
                **more,
            }
        }
        try:
            with run.trained_on(data):
                run.stage_of_fit(call, plan, verbose=self._verbose)
        except DivergedError:
            _log.warning("second stage: given up, since its loss is not finite any more: the probe stays")
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
            tuned = [variable.numpy() for variable in run.task.model.variables]
            batches = cast(Divisible, run.data).part(held).ordered("train")
            model = run.task.model
            forward = live_forward(model)
            stored = []
            for mix in MIXES:
                assign_mix(model, reference, tuned, mix)
                stored.append(np.round(collect(forward, batches).astype(float), 5).tolist())
            assign_mix(model, reference, tuned, 1.0)
            run.journal.note(call, stored)
        return {mix: np.asarray(logits) for mix, logits in zip(MIXES, stored, strict=True)}

    def _reference(self, rows: np.ndarray | None) -> list[np.ndarray]:
        """Give the weights of the source network with a probe of some rows in its head."""
        run = self._run
        model = run.task.model
        now = [variable.numpy() for variable in model.variables]
        assign_mix(model, self._source, self._source, 1.0)
        run.settle_precision("features")
        run.feed.fit_probe(rows, run.options.label_smoothing).install(run.task.head)
        reference = [variable.numpy() for variable in model.variables]
        assign_mix(model, now, now, 1.0)
        return reference


@dataclasses.dataclass(frozen=True)
class _TunePlan:
    folds: int
    epochs: int
    more_epochs: int  # with all training data, afterwards
    trained: int
    held: int


def assign_mix(model: keras.Model, one: Sequence[np.ndarray], other: Sequence[np.ndarray], share: float) -> None:
    """Assign `one + share * (other - one)` to the variables of a model; integers are those of `other`."""
    for variable, a, b in zip(model.variables, one, other, strict=True):
        if share == 1.0 or not np.issubdtype(b.dtype, np.floating):
            variable.assign(b)
        else:
            variable.assign(a + np.asarray(share, b.dtype) * (b - a))


def _wrong(logits: np.ndarray, targets: np.ndarray, multi_label: bool) -> np.ndarray:
    """Return whether each answer is wrong, bool [n]; of several labels, whether any is."""
    if multi_label:
        return ((logits > 0) != (targets > 0.5)).any(1)
    return logits.argmax(1) != targets.argmax(1)


def _tempered(logits: np.ndarray, targets: np.ndarray, multi_label: bool, shares: np.ndarray) -> np.ndarray:
    """Return the log loss of each row at the temperature with the lowest mean, float64 [n]."""
    scales = np.exp(np.linspace(np.log(0.25), np.log(4.0), 33))
    losses = [log_losses(logits * scale, targets, multi_label) for scale in scales]
    return min(losses, key=lambda rows: float(rows @ shares))


def _verdict_line(verdict: Verdict, best: int | None) -> str:
    what = "the second stage is kept" if verdict.mix else "the probe stays"
    if 0 < verdict.mix < 1:
        what += f", mixed with {1 - verdict.mix:.0%} of the probe's weights"
    where = "" if best is None else f" at {best} px"
    lower = "lower" if verdict.gain >= 0 else "higher"
    return (
        f"on {verdict.examples} held-out training examples: probe{where} {verdict.probe_errors} errors, fine-tuned "
        f"{verdict.errors}; log loss {lower} by {abs(verdict.gain):.4f} +- {verdict.standard_error:.4f}: {what}"
    )
