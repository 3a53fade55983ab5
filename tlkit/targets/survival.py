"""Survival targets: the risk of an event, learned from times that may be censored."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError, DataError
from tlkit.report.regression import figure
from tlkit.report.survival import discordance, kaplan_meier, survival_metrics
from tlkit.targets.base import Judged, Target, TargetKind
from tlkit.targets.survival_columns import SurvivalColumns, SurvivalMethod, time_name

_log = logging.getLogger("tlkit")
NAME = "risk"  # what the target is called
_MOST, _FEWEST, _EVENTS = 20, 3, 15  # intervals, and training events for each


@dataclasses.dataclass(frozen=True)
class Survival(Target):
    """The risk of an event whose time may be censored.

    `method="hazard"` is the discrete-time model of Gensheimer & Narasimhan (2019, PeerJ 7:e6257): time is cut into
    intervals, the network gives the logit of the hazard in each, relative to that of all training rows. A time that is
    censored counts in its interval from the middle on. Survival at the end of an interval is the product of the chances
    to get through those before it.

    `method="cox"` learns the proportional-hazards model's partial likelihood (Cox 1972) with Efron's treatment of ties;
    the risk set of an event are the rows of its batch whose time is not shorter. It has no curves.

    The risk is on the scale of a log hazard: Cox's linear predictor, or log(-log S) at the end of the last interval,
    which differs from it by a constant where hazards are proportional. Higher is worse.

    Args:
        name: what the risk is called.
        time, event: the columns of its labels.
        method: `"hazard"` or `"cox"`.
        times: ends of the intervals, rising; empty for Cox.
        base: logit of the hazard of all training rows in each interval.
    """

    time: str = "time"
    event: str = "event"
    method: SurvivalMethod = "hazard"
    times: tuple[float, ...] = ()
    base: tuple[float, ...] = ()

    kind: ClassVar[TargetKind] = "survival"
    is_alone: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.source  # noqa: B018 - it refuses what is not usable
        super().__post_init__()
        if self.method == "hazard" and not (self.times and len(self.times) == len(self.base)):
            raise ConfigError(
                "the hazard model needs the end of each interval and a hazard per interval",
                received=(list(self.times), list(self.base)),
            )

    @property
    def source(self) -> SurvivalColumns:
        """The columns of its labels, and how it is learned."""
        return SurvivalColumns(self.time, self.event, self.method, self.times)

    @property
    def columns(self) -> tuple[str, ...]:
        """Time and event."""
        return (self.time, self.event)

    @property
    def columns_of_numbers(self) -> tuple[str, ...]:
        """The times."""
        return (self.time,)

    @property
    def label_width(self) -> int:
        """Time and event, 1 or 0."""
        return 2

    @property
    def width(self) -> int:
        """A hazard for each interval, or one risk."""
        return len(self.times) or 1

    @property
    def true_width(self) -> int:
        """For each interval whether it was survived and whether the event fell into it; or time and event."""
        return 2 * self.width

    @property
    def output_names(self) -> tuple[str, ...]:
        """The risk, and survival at each time."""
        return (self.name, *(f"survival at {time_name(time)}" for time in self.times))

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Times and events, [n, 2] -> float32 [n, true_width]."""
        labels = np.asarray(values, np.float64).reshape(-1, 2)
        if self.method == "cox":  # Cox's loss uses only the order of times; ranks are exact in float32
            ranks = np.unique(labels[:, 0], return_inverse=True)[1]
            return np.stack([ranks, labels[:, 1]], axis=1).astype(np.float32)
        time, event = labels[:, :1], labels[:, 1:] > 0.5
        ends = np.asarray(self.times)[None]
        begins = np.concatenate([[[0.0]], ends[:, :-1]], axis=1)
        failed = event & (time > begins) & (time <= ends)
        # A censored row survived its interval if it was censored in the second half.
        survived = np.where(event, time > ends, time >= (begins + ends) / 2)
        return np.concatenate([survived, failed], axis=1).astype(np.float32)

    def check_split(self, labels: np.ndarray, split: str) -> None:
        """Warn if no row of a split has an event."""
        if len(labels) and not (labels[:, 1] > 0.5).any():
            _log.warning(
                "no %s row has an event: the %s cannot be measured on it%s",
                split, self.name, ' and the best epoch is not known: set keep = "last"' if split == "val" else "",
            )  # fmt: skip

    def losses(self, true: Any, outputs: Any, label_smoothing: float = 0.0) -> Any:
        """Negative log likelihood of each example, float32 [B]; for Cox its part of the partial likelihood."""
        if self.method == "cox":
            return _efron(true[:, 0], true[:, 1], outputs[:, 0])
        survived, failed = true[:, : self.width], true[:, self.width :]
        logits = outputs + tf.constant(self.base, tf.float32)
        return tf.reduce_sum(survived * tf.nn.softplus(logits) + failed * tf.nn.softplus(-logits), axis=-1)

    def answers(self, outputs: Any) -> Any:
        """Outputs [..., width] -> the risk and survival at each time, float32 [..., 1 + len(times)]."""
        outputs = tf.cast(outputs, tf.float32)
        if self.method == "cox":
            return outputs
        survival = tf.cumsum(-tf.nn.softplus(outputs + tf.constant(self.base, tf.float32)), axis=-1)
        risk = tf.math.log(tf.maximum(-survival[..., -1:], 1e-30))
        return tf.concat([risk, tf.exp(survival)], axis=-1)

    def explained(self, outputs: Any, chosen: np.ndarray) -> Any:
        """Return the risk."""
        return self.answers(outputs)[:, 0]

    def centered(self, outputs: np.ndarray) -> np.ndarray:
        """Subtract the mean: a risk of Cox's model has no origin."""
        return outputs - outputs.mean() if self.method == "cox" and len(outputs) else outputs

    def averaged(self, outputs: Sequence[Any]) -> Any:
        """Outputs whose survival is the mean of the members'; for Cox the mean risk."""
        if self.method == "cox":
            return keras.ops.mean(keras.ops.stack(list(outputs)), axis=0)
        ops, base = keras.ops, np.asarray(self.base, np.float32)
        logs = [ops.cumsum(-ops.softplus(part + base), axis=-1) for part in outputs]
        mean = ops.logsumexp(ops.stack(logs, axis=1), axis=1) - float(np.log(len(logs)))
        # The hazard of an interval from what its ends have left: log(h / (1 - h)) = log(exp(-d) - 1).
        before = ops.concatenate([ops.zeros_like(mean[:, :1]), mean[:, :-1]], axis=-1)
        lost = ops.maximum(before - mean, 1e-12)
        return ops.where(lost > 20.0, lost, ops.log(ops.expm1(ops.minimum(lost, 20.0)))) - base

    def judged(self, answers: np.ndarray, labels: np.ndarray) -> Judged:
        """Judge by the fraction of comparable items that an item's risk is ordered wrongly with; none is called wrong.

        A time that is censored does not say how wrong a risk is, so that such errors have no size of their own.
        """
        said, time, seen = answers[:, 0], labels[:, 0], labels[:, 1] > 0.5
        unknown = np.full(len(said), np.nan)
        return Judged(
            losses=np.zeros(len(said)),
            wrong=np.zeros(len(said), bool),
            errors=discordance(said, time, seen) if len(said) else unknown,
            is_rate=False,
            chosen=np.zeros(len(said), np.int64),
            true=lambda item: f"{'event' if seen[item] else 'no event until'} {time[item]:g}",
            said=lambda item: f"risk {figure(float(said[item]))}",
        )

    def measure(self, answers: np.ndarray, labels: np.ndarray) -> Any:
        """Return `SurvivalMetrics`."""
        said, true = np.asarray(answers, np.float64), np.asarray(labels, np.float64)
        if said.ndim != 2 or said.shape[1] != len(self.output_names) or true.shape != (len(said), 2):
            raise DataError(
                f"the shapes of outputs and labels do not match the target {self.name!r}",
                received=(said.shape, true.shape),
                allowed=f"[n, {len(self.output_names)}] and [n, 2]",
            )
        return survival_metrics(said[:, 0], true[:, 0], true[:, 1], said[:, 1:], self.times, self.name)

    @property
    def output_parts(self) -> dict[str, str]:
        """The risk, and the curve where there is one."""
        return super().output_parts | ({"curve": "_survival"} if self.times else {})

    def wire(self) -> dict[str, Any]:
        """Return the fields of the output, the times of the curve too."""
        return super().wire() | {"times": self.times}

    def describe(self) -> dict[str, Any]:
        """Kind, method, columns and times."""
        own = {"time": self.time, "event": self.event, "method": self.method, "times": list(self.times)}
        return super().describe() | own


def fit_survival(columns: SurvivalColumns, values: np.ndarray) -> Survival:
    """Make a survival target from training rows: its intervals, and the hazard of all rows in each.

    Intervals end at event times between which Kaplan and Meier's estimate falls by the same amount (Kvamme & Borgan
    2019, arXiv 1910.06724): one for every 15 events, 3 to 20.

    Args:
        columns: what is learned, and how.
        values: times and events of the training rows, float [n, 2].

    Raises:
        DataError: no row has an event, or none is at risk in an interval that was asked for.
    """
    time, event = values[:, 0].astype(np.float64), values[:, 1] > 0.5
    if not event.any():
        raise DataError(
            f"no training row has an event in {columns.event!r}: there is nothing to learn",
            received=f"{len(event)} censored rows",
            fix="change the split, or check which value means event",
        )
    own: dict[str, Any] = {"time": columns.time, "event": columns.event, "method": columns.method}
    if columns.method == "cox":
        return Survival(NAME, **own)
    ends = np.asarray(columns.times) if columns.times else _ends(time, event)
    begins = np.append(0.0, ends[:-1])
    at_risk = np.array([(time > begin).sum() for begin in begins])
    if not at_risk.all():
        raise DataError(
            "no training row is at risk in an interval of `times`",
            received=f"{begins[at_risk == 0][0]:g} to {ends[at_risk == 0][0]:g}",
            allowed=f"times with a last interval that starts before {time.max():g}",
        )
    if ends[-1] > time.max():
        _log.warning(
            "survival at %g is requested, but no training row was observed for longer than %g", ends[-1], time.max()
        )
    died = np.array([(event & (time > a) & (time <= b)).sum() for a, b in zip(begins, ends, strict=True)])
    hazard = (died + 0.5) / (at_risk + 1.0)
    return Survival(NAME, **own, times=tuple(ends.tolist()), base=tuple(np.log(hazard / (1 - hazard)).tolist()))


def _ends(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    times, left = kaplan_meier(time, event)
    seen = np.unique(time[event])
    left = left[np.searchsorted(times, seen)]
    count = int(np.clip(event.sum() // _EVENTS, _FEWEST, _MOST))
    wanted = np.linspace(1.0, left[-1], count + 1)[1:]
    places = [int(np.argmax(left <= level + 1e-12)) for level in wanted]
    return seen[np.unique(places)]


def _efron(time: tf.Tensor, event: tf.Tensor, risk: tf.Tensor) -> tf.Tensor:
    """Return parts of the negative log partial likelihood, float32 [B]: their mean is that of the events.

    Efron (1977): of d events at one time, the k-th (from 0) sees the risk set less k/d of those d.
    """
    order = tf.argsort(time, direction="DESCENDING", stable=True)
    time, seen, eta = (tf.gather(part, order) for part in (time, tf.cast(event > 0.5, tf.float32), risk))
    count = tf.size(time)
    starts = tf.concat([[False], time[1:] != time[:-1]], axis=0)
    group = tf.cumsum(tf.cast(starts, tf.int32))  # rows of one time share a number

    def by_time(values: tf.Tensor, reduce: Any) -> tf.Tensor:
        return tf.gather(reduce(values, group, count), group)

    # In logarithms, because risks may differ by many orders of magnitude.
    last = by_time(tf.range(count), tf.math.unsorted_segment_max)
    at_risk = tf.gather(tf.math.cumulative_logsumexp(eta), last)
    highest = tf.stop_gradient(by_time(eta, tf.math.unsorted_segment_max))
    tied = by_time(tf.exp(eta - highest) * seen, tf.math.unsorted_segment_sum)
    share = tf.exp(highest - at_risk) * tied
    events = by_time(seen, tf.math.unsorted_segment_sum)
    before = tf.cumsum(seen, exclusive=True)
    place = before - by_time(before, tf.math.unsorted_segment_min)
    among = at_risk + tf.math.log1p(-share * place / tf.maximum(events, 1.0))
    own = seen * (among - eta)
    parts = own * tf.cast(count, tf.float32) / tf.maximum(tf.reduce_sum(seen), 1.0)
    return tf.gather(parts, tf.argsort(order))
