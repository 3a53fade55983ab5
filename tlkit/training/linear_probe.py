"""A linear probe for values, risks and several targets: any loss, its penalty chosen by cross-validation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.targets.objective import Objective
from tlkit.training.probe import (
    WITHOUT_FOLDS,
    Probe,
    cut_folds,
    one_thread_each,
    rotated,
    standard,
    subset,
)

STRENGTHS = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)  # from strong to weak
_PATIENCE = 2  # strengths that may be worse than the best one before the search ends
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
    center, scale = standard(features)
    space = rotated((features.astype(np.float64) - center) / scale)
    loss = _loss_of(objective)
    kept = subset(true, True, seed)
    folds = cut_folds(true[kept], None if groups is None else np.asarray(groups)[kept], True, seed)
    with one_thread_each():
        if folds:
            strength, outputs = _chosen(space.rows, true, objective, loss, kept, folds, strengths)
            rows, note = kept, ""
        else:
            strength, rows = WITHOUT_FOLDS, np.zeros(0, np.int64)
            outputs = np.zeros((0, objective.width), np.float32)
            note = "too few different examples for cross-validation: the regularisation is the usual one"
        kernel, bias = _solve(space.rows, true, loss, objective.width, strength)
    kernel = space.back(kernel) / scale[:, None]
    return Probe(
        kernel.astype(np.float32),
        (bias - center @ kernel).astype(np.float32),
        strength,
        rows,
        outputs.astype(np.float32),
        len(folds),
        note,
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


def _solve(
    rows: np.ndarray,
    true: np.ndarray,
    loss: Loss,
    width: int,
    strength: float,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel [R, K] and bias [K]; begin at `start`."""
    from scipy.optimize import minimize

    count, size = rows.shape
    penalty = 1.0 / (strength * count)

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = flat[: size * width].reshape(size, width), flat[size * width :]
        found, gradient = loss(true, rows @ kernel + bias)
        by_kernel = rows.T @ gradient + penalty * kernel
        total = found + 0.5 * penalty * float(np.sum(kernel * kernel))
        return total, np.concatenate([by_kernel.ravel(), gradient.sum(0)])

    first = np.zeros(size * width + width) if start is None else np.concatenate([start[0].ravel(), start[1]])
    found = minimize(value, first, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS, "ftol": 1e-8})
    return found.x[: size * width].reshape(size, width), found.x[size * width :]


def _chosen(
    rows: np.ndarray,
    true: np.ndarray,
    objective: Objective,
    loss: Loss,
    kept: np.ndarray,
    folds: list[tuple[np.ndarray, np.ndarray]],
    strengths: Sequence[float],
) -> tuple[float, np.ndarray]:
    """Return the best strength and its outputs out of fold."""
    best: tuple[float, float, np.ndarray] | None = None
    last: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    worse = 0
    for strength in strengths:
        outputs = np.zeros((len(kept), objective.width))
        total = 0.0
        for number, (train, held) in enumerate(folds):
            chosen = kept[train]
            last[number] = _solve(rows[chosen], true[chosen], loss, objective.width, strength, last.get(number))
            kernel, bias = last[number]
            outputs[held] = objective.centered(rows[kept[held]] @ kernel + bias)
            total += loss(true[kept[held]], outputs[held])[0] * len(held)
        if best is None or total < best[0]:
            best, worse = (total, strength, outputs), 0
        else:
            worse += 1
            if worse == _PATIENCE:
                break
    assert best is not None  # there is at least one strength
    return best[1], best[2]
