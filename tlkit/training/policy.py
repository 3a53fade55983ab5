"""How much of a pretrained network to retrain: from how much data there is, and how like the source it looks."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np

from tlkit.errors import ConfigError
from tlkit.schedules import Staircase

FEW, MANY = 50, 1000  # examples of the rarest class
ALIKE = 0.75


@dataclasses.dataclass(frozen=True)
class FreezingPolicy:
    """What to do after the head has been trained.

    Attributes:
        first_trainable: number of the first layer group that is trained; the last one is the head.
        ratios: learning rate of each layer group as a part of the head's.
        reason: why, in a sentence.
    """

    first_trainable: int
    ratios: tuple[float, ...]
    reason: str


def similarity(features: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> float:
    """Measure how well features of the frozen network already tell the classes apart.

    A linear probe (logistic regression on standardised features, Alain & Bengio 2016, arXiv 1610.01644) is
    cross-validated on the training photos; its balanced accuracy is rescaled so that guessing gives 0.

    Args:
        features: float [n, F].
        labels: int [n].
        seed: of the folds.

    Returns:
        0 (no better than guessing) to 1 (all told apart).

    Raises:
        ConfigError: a class has fewer than two examples.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    present, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2 or len(present) < 2:
        raise ConfigError(
            "domain similarity cannot be measured", received=counts.tolist(), allowed="two examples of each class"
        )
    rng = np.random.default_rng(seed)
    # A few thousand examples measure it well enough, and a probe on a million would take hours.
    rows = rng.permutation(len(labels))[:5000] if len(labels) > 5000 else np.arange(len(labels))
    kept = np.unique(labels[rows], return_counts=True)[1].min()
    folds = StratifiedKFold(min(3, max(2, int(kept))), shuffle=True, random_state=seed)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer members than folds
        scores = cross_val_score(probe, features[rows], labels[rows], cv=folds, scoring="balanced_accuracy")
    chance = 1 / len(present)
    return float(np.clip((np.mean(scores) - chance) / (1 - chance), 0.0, 1.0))


def falling_ratios(count: int, factor: float = 3.0) -> tuple[float, ...]:
    """Give each layer group the rate of the one above it divided by `factor`, but no less than a ninth of the head's.

    >>> falling_ratios(4, factor=2.0)
    (0.125, 0.25, 0.5, 1.0)
    """
    return tuple(max(factor ** -(count - 1 - number), 1 / 9) for number in range(count))


def choose_policy(
    labels: np.ndarray, domain_similarity: float, groups: Sequence[str], *, factor: float = 3.0
) -> FreezingPolicy:
    """Choose how much to retrain.

    The rule of transfer learning: few examples train only the head, many everything; data unlike the source keeps only
    the early, general part of the network and retrains the rest (Yosinski et al. 2014, arXiv 1411.1792).

    Args:
        labels: int [n], of the training examples.
        domain_similarity: what `similarity` measured.
        groups: names of the layer groups, from the input to the head.
        factor: how many times the rate falls from group to group, where it does.

    Returns:
        The choice with its reason.
    """
    rarest = int(np.unique(labels, return_counts=True)[1].min())
    count = len(groups)
    amount = "few" if rarest < FEW else "many" if rarest > MANY else "some"
    alike = domain_similarity >= ALIKE
    last_block = max(0, count - 2)
    falling = falling_ratios(count, factor)
    even = (1.0,) * count
    choice = {
        ("few", True): (count - 1, falling, "only the head is trained"),
        ("few", False): (last_block, even, "the early layer groups are frozen and the rest is trained"),
        ("some", True): (last_block, falling, "the last block is also trained, at a lower learning rate"),
        ("some", False): (min(1, last_block), even, "only the first layer group is frozen"),
        ("many", True): (0, falling, "all layer groups are trained, early groups at lower learning rates"),
        ("many", False): (0, even, "all layer groups are trained"),
    }
    first, ratios, what = choice[amount, alike]
    looks = "like" if alike else "unlike"
    reason = (
        f"{amount} examples ({rarest} of the rarest class; few is below {FEW}, many above {MANY}), "
        f"{looks} the pretraining data (domain similarity {domain_similarity:.0%}, threshold {ALIKE:.0%}): {what}"
    )
    return FreezingPolicy(first, ratios, reason)


@dataclasses.dataclass(frozen=True)
class BitRule:
    """Big Transfer's hyper-rule for one data set.

    Attributes:
        size: side of the square input in pixels.
        steps: training steps at a batch of 512.
        mixup_alpha: of MixUp; 0 for none.
        learning_rate: of SGD with momentum 0.9 at a batch of 512; it is proportional to the batch.
        decay_at: parts of the run at which the rate falls to a tenth.
    """

    size: int
    steps: int
    mixup_alpha: float
    learning_rate: float = 0.003
    decay_at: tuple[float, ...] = (0.3, 0.6, 0.9)

    def schedule(self, lr: float, total_steps: int) -> Staircase:
        """Give the schedule of a run: the rate falls to a tenth at each of `decay_at`."""
        return Staircase(lr, tuple(round(part * total_steps) for part in self.decay_at), 0.1)


def bit_rule(examples: int, native_size: float) -> BitRule:
    """Give Big Transfer's hyper-rule (Kolesnikov et al. 2019, arXiv 1912.11370, section 3.3).

    Args:
        examples: training examples.
        native_size: typical side of the photos in pixels, the square root of their area.

    Returns:
        Resolution by photo size; length and MixUp by number of examples.
    """
    size = 128 if native_size <= 96 else 480
    if examples < 20_000:
        return BitRule(size, 500, 0.0)
    return BitRule(size, 10_000 if examples < 500_000 else 20_000, 0.1)
