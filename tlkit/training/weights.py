"""The weights of a model as arrays: taken out, put back, mixed."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np


def read_weights(model: keras.Model) -> list[np.ndarray]:
    """Return the values of all variables, in the order of `model.variables`."""
    return [variable.numpy() for variable in model.variables]


def assign_weights(model: keras.Model, values: Sequence[np.ndarray]) -> None:
    """Assign what `read_weights` returned."""
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)


def assign_mix(model: keras.Model, one: Sequence[np.ndarray], other: Sequence[np.ndarray], share: float) -> None:
    """Assign `one + share * (other - one)` (Wortsman et al. 2022, arXiv 2109.01903); integers are those of `other`."""
    assign_weights(model, [_mixed(a, b, share) for a, b in zip(one, other, strict=True)])


def _mixed(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    if share == 1.0 or not np.issubdtype(other.dtype, np.floating):
        return other
    return one + np.asarray(share, other.dtype) * (other - one)
