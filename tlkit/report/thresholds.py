"""Decision thresholds: the probability above which a label is predicted, chosen by F1, costs, precision or recall."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from tlkit.errors import ConfigError
from tlkit.report.charts import Chart, Frame, path_of

ALLOWED = '"half", "f1", "cost=N", "precision=P", "recall=R" (N above 0, P and R between 0 and 1)'
#: Rules that a report compares.
COMPARED = ("f1", "precision=0.9", "recall=0.9")
_FORM = re.compile(r"(precision|recall|cost)=([0-9.e+-]+)")
_POINTS = 200  # of a curve


@dataclasses.dataclass(frozen=True)
class ThresholdRule:
    """What a threshold is chosen for.

    Attributes:
        name: `"half"`, `"f1"`, `"cost"`, `"precision"` or `"recall"`.
        value: the precision or recall that is asked; or how many false alarms a missed label costs.
    """

    name: str
    value: float = 0.0


def threshold_rule(text: str) -> ThresholdRule:
    """Read a rule.

    >>> threshold_rule("precision=0.9")
    ThresholdRule(name='precision', value=0.9)

    Raises:
        ConfigError: it is none, or its number is out of range.
    """
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if text in ("half", "f1"):
        return ThresholdRule(text)
    try:
        value = float(found[2]) if found else math.nan
    except ValueError:
        value = math.nan
    if found is None or not (0 < value < (math.inf if found[1] == "cost" else 1)):
        raise ConfigError("unknown rule for thresholds", received=text, allowed=ALLOWED)
    return ThresholdRule(found[1], value)


@dataclasses.dataclass(frozen=True)
class ChosenThreshold:
    """A threshold and what it gives on the data that it was chosen on.

    Attributes:
        rule: what it was chosen for.
        threshold: a label is predicted above it; None where no threshold reaches what was asked, or too few items have
            the label, or lack it.
        precision, recall, f1: with that threshold; None with it.
    """

    rule: str
    threshold: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)


def choose_threshold(
    probabilities: npt.ArrayLike, truth: npt.ArrayLike, rule: str, *, fewest: int = 10
) -> ChosenThreshold:
    """Choose a threshold for one label.

    `"f1"` takes the highest F1; `"cost=5"` the lowest cost where a missed label costs as much as five false alarms;
    `"precision=0.9"` the highest recall among thresholds with that precision; `"recall=0.9"` the highest precision
    among those with that recall. Of several equally good ones the nearest to 0.5 is taken, and 0.5 if it separates the
    same items. The figures of the data that it was chosen on are too good: measure on other data.

    Example:
        >>> choose_threshold([0.9, 0.8, 0.4, 0.2], [1, 0, 1, 0], "recall=0.9", fewest=1)
        ChosenThreshold(rule='recall=0.9', threshold=0.30..., precision=0.66..., recall=1.0, f1=0.8)

    Args:
        probabilities: float [n].
        truth: whether an item has the label, bool or 0 and 1 [n].
        rule: as above, not `"half"`.
        fewest: items that must have the label, and lack it.

    Raises:
        ConfigError: the rule is none of these.
    """
    wanted = threshold_rule(rule)
    own, true = np.asarray(probabilities, np.float64), np.asarray(truth).astype(bool)
    if min(true.sum(), (~true).sum()) < fewest:
        return ChosenThreshold(rule)
    order = np.argsort(-own, kind="stable")
    # Cut k predicts the k most probable items; from k = 0, which predicts none and is worth it for costs alone.
    ranked, hits = np.append(1.0, own[order]), np.append(0, np.cumsum(true[order]))
    lower, predicted = np.append(own[order], 0.0), np.arange(len(own) + 1)
    precision = np.divide(hits, predicted, out=np.zeros(len(hits)), where=predicted > 0)
    recall, f1 = hits / true.sum(), 2 * hits / (predicted + true.sum())
    usable = ranked > lower  # equal probabilities cannot be separated
    usable[0] &= wanted.name == "cost"
    worth = f1
    if wanted.name == "cost":
        worth = -(wanted.value * (true.sum() - hits) + (predicted - hits))
    elif wanted.name == "precision":
        usable &= precision >= wanted.value - 1e-12
        worth = recall
    elif wanted.name == "recall":
        usable &= recall >= wanted.value - 1e-12
        worth = precision
    if not usable.any():
        return ChosenThreshold(rule)
    best = np.flatnonzero(usable & (worth >= worth[usable].max() - 1e-12))
    middles = np.clip((ranked[best] + lower[best]) / 2, 1e-6, 1 - 1e-6)
    middles[(lower[best] <= 0.5) & (ranked[best] > 0.5)] = 0.5
    place = int(np.argmin(np.abs(middles - 0.5)))
    cut = best[place]
    return ChosenThreshold(rule, float(middles[place]), float(precision[cut]), float(recall[cut]), float(f1[cut]))


@dataclasses.dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """Precision and recall of one label by threshold.

    Attributes:
        label: its name.
        current: the threshold that predictions use now.
        choices: what rules would choose.
        chart: precision, recall and F1 by threshold.
        skipped: why nothing can be chosen; empty where it can.
    """

    label: str
    current: float
    choices: tuple[ChosenThreshold, ...] = ()
    chart: Chart | None = None
    skipped: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: label, current, skipped, choices."""
        choices = [choice.to_dict() for choice in self.choices]
        return {"label": self.label, "current": self.current, "skipped": self.skipped, "choices": choices}


def threshold_curve(
    probabilities: npt.ArrayLike, truth: npt.ArrayLike, label: str, current: float = 0.5, *, fewest: int = 10
) -> ThresholdCurve:
    """Compare thresholds of one label.

    Args:
        probabilities: float [n].
        truth: whether an item has the label, [n].
        label: its name.
        current: the threshold that predictions use now.
        fewest: items that must have the label, and lack it.
    """
    own, true = np.asarray(probabilities, np.float64), np.asarray(truth).astype(bool)
    few = min(int(true.sum()), int((~true).sum()))
    if few < fewest:
        side = "have" if true.sum() == few else "lack"
        return ThresholdCurve(label, current, skipped=f"{few} items {side} it, {fewest} are needed")
    choices = tuple(choose_threshold(own, true, rule, fewest=fewest) for rule in COMPARED)
    at = np.unique(np.quantile(own, np.linspace(0, 1, _POINTS), method="lower"))[:-1]
    said = own[None, :] > at[:, None]
    hits = (said & true).sum(1)
    precision, recall = hits / np.maximum(said.sum(1), 1), hits / true.sum()
    f1 = 2 * hits / (said.sum(1) + true.sum())
    frame = Frame(420, 260, np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    lines = {"precision": precision, "recall": recall, "F1": f1}
    steps = [(name, path_of(frame.x(at), frame.y(values))) for name, values in lines.items()] if len(at) > 1 else []
    x = float(frame.x(np.float64(current)))  # type: ignore[arg-type]
    return ThresholdCurve(
        label, current, choices, frame.chart("thresholds", steps=steps, bars=[(x, frame.top, x, frame.bottom)])
    )
