from __future__ import annotations

import itertools
import math

import pytest
import tensorflow as tf

from tlkit.training import precision


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the steps move."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(precision.time, "perf_counter", lambda: Clock.now)
    return Clock


def prepare(clock, seconds, losses=None):
    """Make steps that take the given seconds (one number, or one for each call) and return the given losses."""
    prepared = []

    def make(policy):
        prepared.append(policy)
        taken = seconds[policy]
        times = iter(taken) if isinstance(taken, list) else itertools.repeat(taken)
        values = iter((losses or {}).get(policy, itertools.repeat(1.0)))

        def step():
            clock.now += next(times)
            return next(values)

        return step

    make.prepared = prepared
    return make


BOTH = ("float32", "mixed_bfloat16")


@pytest.mark.parametrize(
    ("float32", "reduced", "chosen"),
    [(0.1, 0.05, 1), (0.1, 0.0961, 1), (0.1, 0.098, 0), (0.1, 0.1, 0), (0.1, 0.2, 0)],
)
def test_a_reduced_format_must_win_by_three_percent(clock, float32, reduced, chosen):
    got, seconds = precision.fastest(BOTH, prepare(clock, {"float32": float32, "mixed_bfloat16": reduced}))
    assert got == BOTH[chosen]
    assert seconds == pytest.approx({"float32": float32, "mixed_bfloat16": reduced})


def test_the_first_step_which_traces_and_slow_outliers_do_not_count(clock):
    times = {"float32": 0.1, "mixed_bfloat16": [9.0, 0.5, 0.05, 0.4]}
    got, seconds = precision.fastest(BOTH, prepare(clock, times))
    assert got == "mixed_bfloat16"
    assert seconds["mixed_bfloat16"] == pytest.approx(0.05)


@pytest.mark.parametrize("losses", [[math.nan], [1.0, 1.0, math.inf, 1.0]])
def test_a_loss_that_is_not_finite_rules_a_format_out(clock, losses):
    times = {"float32": 0.1, "mixed_bfloat16": 0.001}
    got, seconds = precision.fastest(BOTH, prepare(clock, times, {"mixed_bfloat16": losses}))
    assert got == "float32"
    assert seconds["mixed_bfloat16"] == math.inf


def test_without_any_finite_loss_float32_stays(clock):
    nan = itertools.repeat(math.nan)
    got, _ = precision.fastest(BOTH, prepare(clock, dict.fromkeys(BOTH, 0.1), dict.fromkeys(BOTH, nan)))
    assert got == "float32"


def test_every_format_is_set_before_it_is_timed(clock):
    make = prepare(clock, dict.fromkeys(BOTH, 0.1))
    precision.fastest(BOTH, make)
    assert make.prepared == list(BOTH)


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        (None, ("float32", "mixed_bfloat16")),
        ((9, 0), ("float32", "mixed_bfloat16")),
        ((8, 0), ("float32", "mixed_bfloat16")),
        ((7, 5), ("float32", "mixed_float16")),
        ((6, 1), ("float32",)),
    ],
)
def test_candidates_are_what_the_machine_may_gain_from(monkeypatch, capability, expected):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [] if capability is None else ["gpu"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: {"compute_capability": capability})
    assert precision.candidates() == expected
