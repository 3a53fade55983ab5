"""The rule about labels that may be wrong: confident learning on predictions out of fold.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels" (arXiv 1911.00068): a
label is suspected where another class is at least as probable as that class is, on average, for items labelled so.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tlkit.targets.base import Question
from tlkit.trust.check.outcome import Finding
from tlkit.trust.check.rules import Found
from tlkit.trust.check.seen import FEWEST, Seen
from tlkit.trust.check.statistics import reduced

_FEWEST_EACH = 5  # items of a class
_BOUNDS = (0.005, 0.02, 0.1)  # of the probability of a label, below which more are counted than are expected
_SPREADS = 2.0  # standard deviations above what is expected
_CLEAR = 0.02  # probability of a label, by a regression trained on cleaned labels
_SHARE = 0.2  # of the errors that are clear ones: at most 0.15 on clean data sets that overlap, see `stand_out`
_SECOND = 0.3  # weight of the second round in the ranking; better than either on images, texts and tables
_LISTED = 0.1  # probability of a label
_MOST = 1000  # findings
_MOST_ITEMS = 50_000  # of more, so many are drawn


@dataclasses.dataclass(frozen=True, eq=False)
class Logits:
    """Predictions out of fold, of one or two rounds.

    Attributes:
        first: float [m, k], of a regression on the labels as they are.
        second: the same, trained on cleaned labels; None where there was nothing to clean.
        cleaned: these labels, int [m].
    """

    first: np.ndarray
    second: np.ndarray | None = None
    cleaned: np.ndarray | None = None

    @property
    def ranking(self) -> np.ndarray:
        """What labels are ranked by, float [m, k]."""
        return self.first if self.second is None else (1 - _SECOND) * self.first + _SECOND * self.second


def label_noise(seen: Seen) -> Found:
    """Find items whose label is probably wrong."""
    asked = [question for question in seen.questions if question.class_names]
    if not asked:
        return Found(skipped="only labels that are classes can be checked")
    findings: list[Finding] = []
    figures: dict[str, dict[str, float]] = {}
    lines, skipped = [], ""
    for number, question in enumerate(asked):
        items, logits, why = _predicted(seen, question, number)
        if logits is None:
            skipped = why
            continue
        labels = question.values[items]
        suspected, is_clear = suspects(_softmax(logits.ranking), labels), stand_out(logits, labels)
        named = f"{question.name}: " if len(asked) > 1 else ""
        own = _findings(question, items, logits, suspected, named) if is_clear else []
        figures[question.name] = {"checked": len(items), "doubtful": len(suspected), "listed": len(own)}
        if own:
            lines.append(f"{named}{len(own)} of {len(items):,} labels are doubtful, more than chance explains")
        elif len(suspected):
            lines.append(
                f"{named}{len(suspected)} of {len(items):,} items are hard to distinguish; no label stands out"
            )
        else:
            lines.append(f"{named}no label stands out")
        findings += own
    if not lines:
        return Found(skipped=skipped)
    findings.sort(key=lambda finding: finding.score or 0.0)
    return Found(findings[:_MOST], "; ".join(lines), figures)


def suspects(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the places of labels that confident learning suspects, rising.

    Args:
        probabilities: float [n, k], out of fold.
        labels: class numbers int [n].
    """
    classes = probabilities.shape[1]
    given = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=classes)
    usual = np.bincount(labels, given, classes) / np.maximum(counts, 1)  # of a class, for items labelled so
    usual[counts == 0] = np.inf
    confident = np.where(probabilities >= usual - 1e-9, probabilities, -1.0)
    likely = confident.argmax(1)
    return np.flatnonzero((confident.max(1) >= 0) & (likely != labels) & (probabilities.argmax(1) != labels))


def stand_out(logits: Logits, labels: np.ndarray) -> bool:
    """Whether more labels are improbable than chance explains.

    A calibrated regression gives as many true labels a low probability as it says; wrong labels far from the border of
    two classes come on top. Where they are all over the data, it takes them for chance. One that was trained on
    cleaned labels does not: then many of all errors are clear ones, while they lie near the border on clean data.
    """
    probabilities = _softmax(calibrated(logits.first, labels))
    given = probabilities[np.arange(len(labels)), labels]
    for bound in _BOUNDS:
        expected = float(np.where(probabilities < bound, probabilities, 0).sum())
        if (given < bound).sum() > max(expected + _SPREADS * np.sqrt(expected), 1):
            return True
    if logits.second is None or logits.cleaned is None:
        return False
    clear = int((_given_by_cleaned(logits, labels) < _CLEAR).sum())
    return clear >= max(3, _SHARE * (logits.first.argmax(1) != labels).sum())


def cleaned_logits(seen: Seen, features: np.ndarray, question: Question, items: np.ndarray) -> Logits | None:
    """Return logits out of fold of a regression that is fitted again without what the first one suspected.

    Wrong labels pull a regression towards themselves. So suspected items are given their predicted class when others
    are predicted; each item is still predicted by a regression that has not seen it.
    """
    first = seen.fit(features, seen.one_hot(question, items), groups=seen.together[items], seed=seen.seed)
    return None if first is None else fitted_again(seen, features, question, items, first)


def fitted_again(seen: Seen, features: np.ndarray, question: Question, items: np.ndarray, first: np.ndarray) -> Logits:
    """Add a second round to predictions out of fold, float [m, k]; see `cleaned_logits`."""
    labels = question.values[items]
    cleaned, doubtful = labels.copy(), suspects(_softmax(first), labels)
    cleaned[doubtful] = first[doubtful].argmax(1)
    if not len(doubtful) or len(np.unique(cleaned)) < len(np.unique(labels)):
        return Logits(first)
    targets = np.eye(first.shape[1], dtype=np.float32)[cleaned]
    return Logits(first, seen.fit(features, targets, groups=seen.together[items], seed=seen.seed), cleaned)


def _softmax(logits: np.ndarray) -> np.ndarray:
    from scipy.special import softmax

    return np.asarray(softmax(logits, axis=1))


def calibrated(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return logits times the factor with the lowest log loss (temperature scaling, Guo et al. 2017)."""
    from scipy.optimize import minimize_scalar

    own = np.arange(len(labels))

    def loss(factor: float) -> float:
        return -float(np.log(np.maximum(_softmax(logits * np.exp(factor))[own, labels], 1e-12)).mean())

    found: float = minimize_scalar(loss, bounds=(-2, 3), method="bounded").x
    return logits * np.exp(found)


def _given_by_cleaned(logits: Logits, labels: np.ndarray) -> np.ndarray:
    """Return how probable the labels are to a calibrated regression that was trained on cleaned ones, float [m]."""
    assert logits.second is not None and logits.cleaned is not None  # narrows the types  # noqa: PT018
    given: np.ndarray = _softmax(calibrated(logits.second, logits.cleaned))[np.arange(len(labels)), labels]
    return given


def _findings(
    question: Question, items: np.ndarray, logits: Logits, suspected: np.ndarray, named: str
) -> list[Finding]:
    """Describe the suspected labels that are improbable."""
    labels = question.values[items]
    scores = _softmax(logits.ranking)
    given = scores[np.arange(len(labels)), labels]
    listed = suspected[given[suspected] < _LISTED]
    if logits.second is not None:
        listed = np.flatnonzero((scores.argmax(1) != labels) & (_given_by_cleaned(logits, labels) < _LISTED))
    findings = []
    for place in listed.tolist():
        likely = int(scores[place].argmax())
        said, other = question.class_names[labels[place]], question.class_names[likely]
        text = f"{named}labelled {said!r}, predicted {other!r} with probability {scores[place, likely]:.2f}"
        findings.append(Finding(text, (int(items[place]),), score=float(given[place])))
    return findings


def _predicted(seen: Seen, question: Question, number: int) -> tuple[np.ndarray, Logits | None, str]:
    """Return the items looked at, their logits out of fold, or why there are none."""
    if seen.probed is not None:
        items, logits, features = seen.probed
        known = question.values[items] >= 0
        if question.is_label:  # each label has a logit of its own
            logits = np.stack([np.zeros_like(logits[:, number]), logits[:, number]], 1)
        return items[known], fitted_again(seen, reduced(features[known]), question, items[known], logits[known]), ""
    if not seen.has_features:
        return np.zeros(0, np.int64), None, "there are no features; run `tlkit check`"
    items = np.flatnonzero(question.values >= 0)
    counts = np.bincount(question.values[items], minlength=len(question.class_names))
    if len(items) < FEWEST:
        return items, None, f"{len(items)} items are too few to predict labels out of fold (at least {FEWEST})"
    rare = counts[(counts > 0) & (counts < _FEWEST_EACH)].sum()
    if (counts >= _FEWEST_EACH).sum() < 2 or rare > len(items) // 10:
        return items, None, f"fewer than two classes have {_FEWEST_EACH} items"
    if len(items) > _MOST_ITEMS:
        items = np.sort(np.random.default_rng(seen.seed).choice(items, _MOST_ITEMS, replace=False))
    cleaned = cleaned_logits(seen, seen.features(items), question, items)
    return items, cleaned, "" if cleaned is not None else "there are too few items of a class for cross-validation"
