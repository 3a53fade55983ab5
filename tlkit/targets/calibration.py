"""Calibration of a network's outputs: an affine map, fitted on data that the network was not trained on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from tlkit.errors import ConfigError

LEVELS = tuple(level / 100 for level in range(50, 100))  # of conformal predictions that can be asked for
_FEWEST = 10  # items with a label, and without it
_SCALES = (0.05, 20.0)  # bounds of a scale


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Outputs [..., K] become `scale * outputs + shift`, before a softmax or a sigmoid.

    One class of several has one scale for all its logits, the inverse of a temperature (Guo et al. 2017, arXiv
    1706.04599): the predicted class stays the same. Each of several labels has a scale and a shift of its own (Platt
    1999). Values and risks have scale 1.

    Args:
        scale, shift: K numbers each.
        split: what it was fitted on.
        examples: how many items of it.
        limits: for each score of nonconformity, its conformal quantile at each of `LEVELS`; see `conformal_limits`.
        before, after: `log_loss` and `ece` of that split; those after calibration are cross-fitted: each item is
            measured with a map that was fitted without it. Empty where that was not measured.
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]
    split: str = "val"
    examples: int = 0
    limits: tuple[tuple[float, ...], ...] = ()
    before: Mapping[str, float] = dataclasses.field(default_factory=dict)
    after: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __call__(self, outputs: Any) -> Any:
        """Outputs float32 [..., K], NumPy or TensorFlow -> calibrated ones of the same shape."""
        return outputs * np.asarray(self.scale, np.float32) + np.asarray(self.shift, np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain = dataclasses.asdict(self)
        # JSON has no infinity: None is a quantile above every score.
        limits = [[limit if math.isfinite(limit) else None for limit in own] for own in self.limits]
        return plain | {"scale": list(self.scale), "shift": list(self.shift), "limits": limits}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return the calibration from the values of `to_dict`."""
        limits = tuple(tuple(math.inf if limit is None else limit for limit in own) for own in plain["limits"])
        return cls(**{**plain, "scale": tuple(plain["scale"]), "shift": tuple(plain["shift"]), "limits": limits})

    @property
    def moves(self) -> bool:
        """Whether the map changes outputs."""
        return any(scale != 1 for scale in self.scale) or any(shift != 0 for shift in self.shift)

    def limits_at(self, level: float) -> np.ndarray:
        """Return the quantile of each score at a level, float64 [S]; infinity where there were too few items for it.

        Raises:
            ConfigError: the level is not one of `LEVELS`.
        """
        places = [place for place, known in enumerate(LEVELS) if math.isclose(known, level, abs_tol=1e-9)]
        if not places:
            raise ConfigError("invalid conformal level", received=level, allowed="0.50, 0.51, ..., 0.99")
        return np.array([own[places[0]] for own in self.limits], np.float64)

    def __str__(self) -> str:
        said = f"calibrated on {self.examples:,} items of {self.split}"
        if not self.before:
            return said
        figures = (
            f"{name.replace('_', ' ').replace('ece', 'ECE')} {self.before[name]:.4f} -> {self.after[name]:.4f}"
            for name in ("log_loss", "ece")
        )
        return f"{said}: {', '.join(figures)} (cross-fitted)"


def conformal_limits(scores: np.ndarray) -> tuple[float, ...]:
    """Return the split-conformal quantile of scores at each of `LEVELS`.

    A new item of the same distribution has a score at or below the quantile with at least the probability of the level
    (Vovk et al. 2005; Angelopoulos & Bates 2021, arXiv 2107.07511): it is the ceil((n + 1) * level)-th smallest of n.

    Args:
        scores: float [n]; the higher, the less an answer fits its label. NaN is left out.

    Returns:
        A number for each level; infinity where n is too small for the level.
    """
    ranked = np.sort(scores[np.isfinite(scores)])
    ranks = [math.ceil((len(ranked) + 1) * level - 1e-9) for level in LEVELS]
    return tuple(float(ranked[rank - 1]) if rank <= len(ranked) else math.inf for rank in ranks)


def read_calibration(plain: Mapping[str, Any] | None) -> Calibration | None:
    """Return what `Calibration.to_dict` gave, or None for None."""
    return None if plain is None else Calibration.from_dict(plain)


def fit_temperature(logits: np.ndarray, true: np.ndarray) -> float:
    """Return the scale of logits with the lowest cross-entropy, the inverse of a temperature.

    Args:
        logits: float [n, k].
        true: one-hot [n, k].

    Returns:
        A number between 0.05 and 20; 1 where there are fewer than 10 items or none is wrong.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    scores = np.asarray(logits, np.float64)
    right = scores.argmax(1) == true.argmax(1)
    if len(scores) < _FEWEST or right.all():  # the loss has no minimum: the scale would grow without limit
        return 1.0

    def loss(log_scale: float) -> float:
        scaled = scores * np.exp(log_scale)
        return float((logsumexp(scaled, axis=1) - (scaled * true).sum(1)).mean())

    found = minimize_scalar(loss, bounds=tuple(np.log(_SCALES)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def fit_platt(logits: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Return scale and shift of one label's logits with the lowest cross-entropy.

    Labels are replaced by those of Platt (1999), `(p + 1) / (p + 2)` and `1 / (n + 2)` with p items that have the
    label and n that have not, so that few items do not make it too sure.

    Args:
        logits: float [n].
        true: 0 or 1, [n].

    Returns:
        Scale, between 0.05 and 20, and shift; 1 and 0 where fewer than 10 items have the label, or lack it.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    scores, wanted = np.asarray(logits, np.float64), np.asarray(true) > 0.5
    positive, negative = int(wanted.sum()), int((~wanted).sum())
    if min(positive, negative) < _FEWEST:
        return 1.0, 0.0
    soft = np.where(wanted, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(pair: np.ndarray) -> tuple[float, np.ndarray]:
        values = pair[0] * scores + pair[1]
        wrong = expit(values) - soft
        return float((np.logaddexp(0, values) - soft * values).mean()), np.array(
            [(wrong * scores).mean(), wrong.mean()]
        )

    found = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[_SCALES, (None, None)])
    return float(found.x[0]), float(found.x[1])
