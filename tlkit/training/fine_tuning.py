"""Whole workflows of fine-tuning, put together from a Learner's own calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, get_args

from tlkit.errors import Advice, ConfigError, check_choice
from tlkit.models.task import Task
from tlkit.training.data import Data
from tlkit.training.lr_finder import LRFinderResult
from tlkit.training.measured import fine_tune_measured
from tlkit.training.plan import Plan, make_plan, positive_rate, whole
from tlkit.training.policy import FreezingPolicy, bit_rule, choose_policy, falling_ratios
from tlkit.training.run import Run

PolicyName = Literal["all", "head", "auto", "gradual", "bit", "measure"]
HeadName = Literal["epochs", "probe"]
EPOCHS = 3
DIVISOR = 10.0
BUDGET_MINUTES = 10.0
MEASURED_RATE = 1e-3
_log = logging.getLogger("tlkit")


class Trains(Protocol):
    """The calls of a Learner that the workflows are put together from; see `tlkit.training.learner.Learner`."""

    @property
    def task(self) -> Task: ...  # noqa: D102
    @property
    def data(self) -> Data: ...  # noqa: D102
    @property
    def size(self) -> int | None: ...  # noqa: D102
    @property
    def optimizer_name(self) -> str: ...  # noqa: D102
    def native_size(self) -> float: ...  # noqa: D102
    def domain_similarity(self) -> float: ...  # noqa: D102
    def resize(self, size: int | None) -> None: ...  # noqa: D102
    def mix(self, alpha: float) -> None: ...  # noqa: D102
    def freeze(self) -> None: ...  # noqa: D102
    def unfreeze(self) -> None: ...  # noqa: D102
    def freeze_to(self, first_trainable: int) -> None: ...  # noqa: D102
    def find_lr(self) -> LRFinderResult: ...  # noqa: D102
    def check_probe(self) -> None: ...  # noqa: D102
    def fit_probe(self, *, verbose: bool = True) -> dict[str, list[float]]: ...  # noqa: D102
    @property
    def check_fit(self) -> Callable[..., Plan]: ...  # noqa: D102
    @property
    def fit(self) -> Callable[..., dict[str, list[float]]]: ...  # noqa: D102


def fit_gradual(learn: Trains, epochs: int, lr: Any, *, first: int, last: int, options: Mapping[str, Any]) -> None:
    """Unfreeze one layer group more for each stage; see `Learner.fit_gradual`."""
    count = len(learn.task.groups)
    for number in (first, last):
        if isinstance(number, bool) or not isinstance(number, int) or not -count <= number < count:
            raise ConfigError("unknown layer group", received=number, allowed=f"{-count} to {count - 1}")
    stages = range(first % count, last % count - 1, -1)
    if not stages:
        raise ConfigError("the last stage must train at least the groups of the first stage", received=(first, last))
    if isinstance(lr, int | float):
        lr = [lr / 2.6**below for below in range(count - 1, -1, -1)]
    for number in stages:
        learn.freeze_to(number)
        learn.fit(epochs, lr, **options)


def fine_tune(
    learn: Trains,
    run: Run,
    epochs: int | None,
    lr: float | None,
    *,
    frozen_epochs: int,
    divisor: float,
    finetune_lr: float | None,
    group_factor: float,
    policy: PolicyName,
    head: HeadName | None,
    sizes: Sequence[int],
    budget_minutes: float,
    options: Mapping[str, Any],
) -> None:
    """Train the head, then as much of the backbone as the policy says; see `Learner.fine_tune`."""
    check_choice("policy", policy, get_args(PolicyName))
    head = head or ("probe" if policy == "measure" else "epochs")
    check_choice("head", head, get_args(HeadName))
    if head == "probe":
        learn.check_probe()
    if epochs is None and policy != "measure":
        epochs = EPOCHS
    if epochs is not None and (isinstance(epochs, bool) or epochs != 0):
        whole("epochs", epochs)
    whole("frozen_epochs", frozen_epochs)
    positive_rate("divisor", divisor)
    positive_rate("group_factor", group_factor)
    if group_factor < 1:
        raise ConfigError("group_factor is invalid", received=group_factor, allowed="1 or more")
    if finetune_lr is not None:
        positive_rate("finetune_lr", finetune_lr)
    positive_rate("budget_minutes", budget_minutes)
    if policy == "bit":
        _fine_tune_by_bit(learn, options)
        return
    if policy == "measure" and epochs != 0:
        _fine_tune_measured(run, epochs, finetune_lr, head, group_factor, sizes, budget_minutes, options)
        return
    final: int | None = learn.size
    for size in sizes:
        learn.task.at_size(size)  # one that cannot be used is told now, not after the stages before it
    if head == "epochs":
        learn.check_fit(frozen_epochs, 1.0)
    if epochs:
        learn.check_fit(epochs, 1.0, **options)
    learn.freeze()
    stages: list[int | None] = [*sizes, final]  # texts have no size: one stage
    learn.resize(stages[0])
    if lr is None and (head == "epochs" or (epochs and finetune_lr is None)):
        lr = learn.find_lr().suggestion
    if head == "probe":
        learn.resize(final)
        learn.fit_probe(verbose=options.get("verbose", True))
    else:
        for stage in stages:
            learn.resize(stage)
            learn.fit(frozen_epochs, lr, verbose=options.get("verbose", True))
    if not epochs:
        return
    if finetune_lr is None:
        assert lr is not None  # given, or found above
        finetune_lr = lr / divisor
    if policy == "gradual":
        fit_gradual(learn, epochs, finetune_lr, first=-2, last=0, options=options)
        return
    chosen = _policy(learn, policy, group_factor)
    if chosen.first_trainable == len(learn.task.groups) - 1:
        return
    learn.freeze_to(chosen.first_trainable)
    learn.fit(epochs, [finetune_lr * ratio for ratio in chosen.ratios], **options)


def _fine_tune_measured(
    run: Run,
    epochs: int | None,
    lr: float | None,
    head: HeadName,
    group_factor: float,
    sizes: Sequence[int],
    budget_minutes: float,
    options: Mapping[str, Any],
) -> None:
    if head != "probe":
        raise ConfigError(
            "the policy measure starts from a linear probe", received=head, fix=Advice("set {}", "head", "probe")
        )
    if sizes:
        raise ConfigError(
            "sizes cannot be combined with the policy measure, which chooses the size",
            received=[*sizes],
            fix="remove sizes",
        )
    others = sorted(set(options) - {"schedule", "verbose"})
    if others:
        raise ConfigError(
            f"{others[0]} cannot be combined with the policy measure",
            received=options[others[0]],
            fix=Advice("remove it, or set {}", "policy", "all"),
        )
    make_plan(1, 1.0, steps=1, groups=1, schedule=options.get("schedule"))  # refuses one that there is not
    fine_tune_measured(
        run,
        epochs=epochs,
        lr=MEASURED_RATE if lr is None else lr,
        group_factor=group_factor,
        budget=60 * budget_minutes,
        schedule=options.get("schedule"),
        verbose=options.get("verbose", True),
    )


def _policy(learn: Trains, name: PolicyName, factor: float) -> FreezingPolicy:
    count = len(learn.task.groups)
    if name == "auto":
        names = [group.name for group in learn.task.groups]
        chosen = choose_policy(learn.data.labels("train"), learn.domain_similarity(), names, factor=factor)
        _log.info("policy auto: %s", chosen.reason)
        return chosen
    first = 0 if name == "all" else count - 1
    return FreezingPolicy(first, falling_ratios(count, factor), "asked for")


def _fine_tune_by_bit(learn: Trains, options: Mapping[str, Any]) -> None:
    if learn.optimizer_name != "SGD":
        raise ConfigError(
            "Big Transfer's hyper-rule needs SGD with momentum",
            received=learn.optimizer_name,
            fix='create the Learner with optimizer="sgd"',
        )
    examples = len(learn.data.labels("train"))
    rule = bit_rule(examples, learn.native_size())
    learn.resize(rule.size)
    learn.mix(rule.mixup_alpha)
    steps = learn.data.steps_per_epoch
    epochs = max(1, round(rule.steps / steps))
    rate = rule.learning_rate * learn.data.batch_size / 512
    _log.info(
        "policy bit: %d examples: %d px, %d steps, MixUp %s, learning rate %.1e (%g at a batch of 512)",
        examples, rule.size, epochs * steps, rule.mixup_alpha or "off", rate, rule.learning_rate,
    )  # fmt: skip
    learn.unfreeze()
    learn.fit(epochs, rule.schedule(rate, epochs * steps), **options)
