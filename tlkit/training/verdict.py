"""The comparison of a linear probe and a fine-tuned network on examples that neither has seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from tlkit.training.probe import log_losses


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

    def in_words(self, where: str) -> str:
        """Return the verdict as a line; `where` names the size of the probe, such as " at 320 px"."""
        what = "the second stage is kept" if self.mix else "the probe stays"
        if 0 < self.mix < 1:
            what += f", mixed with {1 - self.mix:.0%} of the probe's weights"
        lower = "lower" if self.gain >= 0 else "higher"
        return (
            f"on {self.examples} held-out training examples: probe{where} {self.probe_errors} errors, fine-tuned "
            f"{self.errors}; log loss {lower} by {abs(self.gain):.4f} +- {self.standard_error:.4f}: {what}"
        )


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
    wrong, before = (wrong_answers(logits, targets, multi_label) for logits in (tuned[mix], probe))
    won = gain > error and wrong @ shares <= before @ shares + 1e-12
    return Verdict(mix if won else 0.0, int(wrong.sum()), int(before.sum()), gain, error, count)


def wrong_answers(logits: np.ndarray, targets: np.ndarray, multi_label: bool) -> np.ndarray:
    """Return whether each answer is wrong, bool [n]; of several labels, whether any is."""
    if multi_label:
        return ((logits > 0) != (targets > 0.5)).any(1)
    return logits.argmax(1) != targets.argmax(1)


def _tempered(logits: np.ndarray, targets: np.ndarray, multi_label: bool, shares: np.ndarray) -> np.ndarray:
    """Return the log loss of each row at the temperature with the lowest mean, float64 [n]."""
    scales = np.exp(np.linspace(np.log(0.25), np.log(4.0), 33))
    losses = [log_losses(logits * scale, targets, multi_label) for scale in scales]
    return min(losses, key=lambda rows: float(rows @ shares))
