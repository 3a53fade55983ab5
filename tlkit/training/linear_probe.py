"""A linear probe for values, risks and several targets: any loss, its penalty chosen by cross-validation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.targets.objective import Objective
from tlkit.training.probe import Fold, Probe, cross_validated

STRENGTHS = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)  # from strong to weak
_ITERATIONS = 300


def fit_linear_probe(
    features: np.ndarray,
    true: np.ndarray,
    objective: Objective,
    *,
    groups: np.ndarray | None = None,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> Probe:
    """Fit a linear map of features that minimises the objective's loss, with an L2 penalty chosen by cross-validation.

    Features are standardised and rotated as for classes (`tlkit.training.probe.fit_probe`); L-BFGS solves it. The
    strength with the lowest loss out of fold wins.

    Args:
        features: float [n, F].
        true: what the loss compares outputs with, float32 [n, T]; NaN where a label is missing.
        objective: of the task.
        groups: a value for each row, [n]; rows that share one stay in one fold.
        strengths: the inverse of the penalty, as C of a logistic regression; rising.
        seed: of the folds.

    Returns:
        The probe; `logits` are outputs out of fold.
    """
    return cross_validated(
        features,
        true,
        lambda rows: _Solver(rows, true, objective),
        width=objective.width,
        loose=True,
        groups=groups,
        strengths=strengths,
        seed=seed,
        examples="examples",
    )


Loss = Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]


def _loss_of(objective: Objective) -> Loss:
    """Return a function of labels and outputs that gives the mean loss and its gradient by the outputs."""
    loss = objective.loss()

    @functools.cache
    def traced(width: int) -> Any:
        specs = [tf.TensorSpec([None, width], tf.float32), tf.TensorSpec([None, objective.width], tf.float32)]

        @tf.function(input_signature=specs, autograph=False)
        def graph(true: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(outputs)
                value = loss(true, outputs)
            return value, tape.gradient(value, outputs)

        return graph

    def both(true: np.ndarray, outputs: np.ndarray) -> tuple[float, np.ndarray]:
        with tf.device("CPU"):
            value, gradient = traced(true.shape[1])(tf.constant(true, tf.float32), tf.constant(outputs, tf.float32))
        return float(value), gradient.numpy().astype(np.float64)

    return both


class _Solver:
    """Minimises any objective's loss by L-BFGS; see `tlkit.training.probe.Solver`."""

    def __init__(self, rows: np.ndarray, true: np.ndarray, objective: Objective):
        self._rows, self._true, self._objective = rows, true, objective
        self._loss = _loss_of(objective)
        self._last: dict[Any, np.ndarray] = {}

    def solve(self, chosen: np.ndarray, strength: float, key: Any = None) -> tuple[np.ndarray, np.ndarray]:
        from scipy.optimize import minimize

        rows, true, width = self._rows[chosen], self._true[chosen], self._objective.width
        count, size = rows.shape
        penalty = 1.0 / (strength * count)

        def split(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return flat[: size * width].reshape(size, width), flat[size * width :]

        def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
            kernel, bias = split(flat)
            found, gradient = self._loss(true, rows @ kernel + bias)
            by_kernel = rows.T @ gradient + penalty * kernel
            total = found + 0.5 * penalty * float(np.sum(kernel * kernel))
            return total, np.concatenate([by_kernel.ravel(), gradient.sum(0)])

        start = self._last.get(key, np.zeros(size * width + width))
        found = minimize(value, start, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS, "ftol": 1e-8})
        if key is not None:
            self._last[key] = found.x
        return split(found.x)

    def outputs(self, chosen: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        return self._objective.centered(self._rows[chosen] @ kernel + bias)

    def score(self, kept: np.ndarray, folds: Sequence[Fold], outputs: np.ndarray) -> float:
        # By fold: a partial likelihood compares rows of one model.
        return sum(self._loss(self._true[kept[held]], outputs[held])[0] * len(held) for _, held in folds)
