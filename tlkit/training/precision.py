"""Which number format is faster here, found out by running a few steps in each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

# A format must win by this much to be taken: float32 is the safer one, and short measurements scatter.
_WORTH_IT = 0.97


def candidates() -> tuple[str, ...]:
    """Give the dtype policies that this machine may gain from, float32 first."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return ("float32", "mixed_bfloat16")
    capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
    # Tensor cores compute float16 since Volta (7.0) and bfloat16 since Ampere (8.0).
    if capability >= (8, 0):
        return ("float32", "mixed_bfloat16")
    return ("float32", "mixed_float16") if capability >= (7, 0) else ("float32",)


def fastest(
    policies: Sequence[str], prepare: Callable[[str], Callable[[], float]], *, rounds: int = 3
) -> tuple[str, dict[str, float]]:
    """Run a few steps under each policy, in turn, and take the fastest one whose loss stays finite.

    Example:
        >>> fastest(("float32", "mixed_bfloat16"), prepare)
        ('mixed_bfloat16', {'float32': 0.081, 'mixed_bfloat16': 0.034})

    Args:
        policies: float32 comes first; another must beat it by 3 %.
        prepare: sets a policy and gives a step, which returns a loss (or any number that must be finite).
        rounds: timed steps of each policy, after one that traces.

    Returns:
        The policy, and the seconds of the fastest step of each (infinite where the loss was not finite).
    """
    seconds: dict[str, float] = {}
    for policy in policies:
        step = prepare(policy)
        times, finite = [], bool(np.isfinite(step()))
        for _ in range(rounds if finite else 0):
            start = time.perf_counter()
            finite = finite and bool(np.isfinite(step()))
            times.append(time.perf_counter() - start)
        seconds[policy] = min(times) if finite else float("inf")
    first = policies[0]
    best = min(policies, key=lambda policy: seconds[policy] * (1.0 if policy == first else 1 / _WORTH_IT))
    return best, seconds
