"""The comparison of a linear probe and a fine-tuned network on examples that neither has seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from tlkit.targets.objective import Objective
from tlkit.training.probe import log_losses


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the comparison on held-out training examples found.

    Attributes:
        mix: share of the fine-tuned weights; 0 where the probe stays.
        errors: of the fine-tuned network at its best share, on the held-out examples; None without classes.
        probe_errors: of the probe, on the same.
        gain: how much lower the fine-tuned network's mean loss is; of classes, both with their best temperature.
        standard_error: of the gain, paired by example.
        examples: how many were held out.
    """

    mix: float
    errors: int | None
    probe_errors: int | None
    gain: float
    standard_error: float
    examples: int

    def in_words(self, where: str) -> str:
        """Return the verdict as a line; `where` names the size of the probe, such as " at 320 px"."""
        what = "the fine-tuned weights are kept" if self.mix else "the probe is kept"
        if 0 < self.mix < 1:
            what += f", mixed with {1 - self.mix:.0%} of the probe's weights"
        lower = "lower" if self.gain >= 0 else "higher"
        by = f"by {abs(self.gain):.4f} +- {self.standard_error:.4f}: {what}"
        if self.errors is None:
            return (
                f"on {self.examples} held-out training examples: the fine-tuned network's loss is {lower} than that of "
                f"the probe{where} {by}"
            )
        return (
            f"on {self.examples} held-out training examples: probe{where} {self.probe_errors} errors, fine-tuned "
            f"{self.errors}; log loss {lower} {by}"
        )


def judge(
    probe: np.ndarray,
    tuned: Mapping[float, np.ndarray],
    targets: np.ndarray,
    objective: Objective,
    weights: np.ndarray | None = None,
    goes_on: bool = False,
) -> Verdict:
    """Compare a probe with a fine-tuned network on examples that neither has seen.

    The network wins if its loss is lower by more than a standard error of the paired difference, and, of classes, it
    makes no more errors beyond a standard error of their difference. There both are given the temperature that suits
    them best (Guo et al. 2017, arXiv 1706.04599): label smoothing changes how sure a network is, not what it knows.

    Args:
        probe: logits [n, k] of the probe.
        tuned: share of the fine-tuned weights -> logits [n, k] (Wortsman et al. 2022, arXiv 2109.01903).
        targets: what the loss compares outputs with, float [n, T]: one-hot for classes.
        objective: of the task.
        weights: float [n], how much each example counts; all the same when left out.
        goes_on: the network that wins is trained further, which makes the probe's weights less useful. The largest
            share of its own weights is then kept whose loss is not higher than the lowest by a standard error.
    """
    shares = np.ones(len(targets)) if weights is None else np.asarray(weights, np.float64)
    shares = shares / shares.sum()
    own = _losses(objective, probe, targets, shares)
    losses = {mix: _losses(objective, logits, targets, shares) for mix, logits in tuned.items()}
    verdicts = {mix: _verdict(mix, own, losses[mix], probe, tuned[mix], targets, objective, shares) for mix in tuned}
    best = min(losses, key=lambda key: float(losses[key] @ shares))
    if goes_on:
        won = [mix for mix, verdict in verdicts.items() if verdict.mix]
        worse = {mix: _gain(losses[mix], losses[best], shares) for mix in won}
        best = max([best, *(mix for mix, (more, error) in worse.items() if more <= error)])
    return verdicts[best]


def _verdict(
    mix: float,
    own: np.ndarray,
    loss: np.ndarray,
    probe: np.ndarray,
    logits: np.ndarray,
    targets: np.ndarray,
    objective: Objective,
    shares: np.ndarray,
) -> Verdict:
    """Compare the probe with one mix, by their losses of each example."""
    gain, error = _gain(own, loss, shares)
    if objective.classes is None:
        return Verdict(mix if gain > error else 0.0, None, None, gain, error, len(targets))
    wrong, before = (objective.classes.wrong(outputs, targets) for outputs in (logits, probe))
    fewer, chance = _gain(before.astype(float), wrong.astype(float), shares)
    won = gain > error and fewer >= -chance - 1e-12
    return Verdict(mix if won else 0.0, int(wrong.sum()), int(before.sum()), gain, error, len(targets))


def _gain(higher: np.ndarray, lower: np.ndarray, shares: np.ndarray) -> tuple[float, float]:
    """Return how much lower a mean loss is than another one, and the standard error of that, paired by example."""
    gains, count = higher - lower, len(higher)
    gain = float(gains @ shares)
    if count < 2:
        return gain, float("inf")
    return gain, float(np.linalg.norm(shares * (gains - gain))) * (count / (count - 1)) ** 0.5


def example_losses(objective: Objective, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the loss of each example, float64 [n]; of several labels their sum."""
    if objective.classes is None:
        return objective.losses(outputs, targets)
    return log_losses(outputs, targets, objective.is_multi_label)


def _losses(objective: Objective, outputs: np.ndarray, targets: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the loss of each row; of classes at the temperature with the lowest mean."""
    if objective.classes is None:
        return objective.losses(outputs, targets)
    scales = np.exp(np.linspace(np.log(0.25), np.log(4.0), 33))
    losses = [log_losses(outputs * scale, targets, objective.is_multi_label) for scale in scales]
    return min(losses, key=lambda rows: float(rows @ shares))
