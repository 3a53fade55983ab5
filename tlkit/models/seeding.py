"""Make initial weights and dropout depend on a seed only."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import keras
from keras.src.backend.common import global_state

_Builder = TypeVar("_Builder", bound=Callable[..., Any])
_GLOBAL_SEEDS = "global_seed_generator"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Derive the seeds of all initializers, dropouts and random draws of Keras without a seed from `seed`.

    Keras takes such seeds from Python's `random` and from a seed generator of the process. Both are put back when the
    block is left, so that the caller's own draws go on as if nothing had been built. TensorFlow's and NumPy's global
    states are neither read nor changed.

    Example:
        >>> with seeded(0):
        ...     layer = keras.layers.Dense(2)

    Args:
        seed: the same seed gives the same draws, in the order in which they are made.
    """
    state, seeds = random.getstate(), global_state.get_global_attribute(_GLOBAL_SEEDS)
    random.seed(seed)
    global_state.set_global_attribute(_GLOBAL_SEEDS, keras.random.SeedGenerator(seed))
    try:
        yield
    finally:
        random.setstate(state)
        global_state.set_global_attribute(_GLOBAL_SEEDS, seeds)


def follows_seed(build: _Builder) -> _Builder:
    """Decorate a function that builds a network: its random draws depend on its argument `seed`, 0 by default."""

    @functools.wraps(build)
    def wrapper(*arguments: Any, seed: int = 0, **options: Any) -> Any:
        with seeded(seed):
            return build(*arguments, seed=seed, **options)

    return wrapper  # type: ignore[return-value]
