"""Schedules: closed forms, one formula for numpy and Keras, and independent oracles."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tlkit.errors import ConfigError
from tlkit.schedules import Constant, Cyclical, OneCycle, Restarts, Schedule, SlantedTriangular, Staircase

EVERY_KIND = [
    Constant(0.01),
    Cyclical(1e-4, 1e-2, 7),
    Cyclical(1e-4, 1e-2, 7, mode="triangular2"),
    Cyclical(1e-4, 1e-2, 7, mode="exp_range", gamma=0.999),
    Cyclical(1e-4, 1e-2, 7, scale_fn=lambda cycle: 1 / cycle),
    Restarts(1e-2, 5),
    Restarts(1e-2, 5, cycle_mult=2, min_lr=1e-5, cycle_decay=0.7),
    OneCycle(1e-2, 50),
]
names = [f"{type(one).__name__}-{index}" for index, one in enumerate(EVERY_KIND)]


def rates(schedule, steps):
    return schedule.rate(np.arange(steps))


@pytest.mark.parametrize("schedule", EVERY_KIND, ids=names)
def test_it_is_a_schedule_and_an_array_gives_what_its_steps_give(schedule):
    assert isinstance(schedule, Schedule)
    steps = np.arange(60).reshape(4, 15)
    together = schedule.rate(steps)
    assert together.dtype == np.float64
    assert together.shape == steps.shape
    one_by_one = [float(schedule.rate(int(step))) for step in steps.ravel()]
    np.testing.assert_array_equal(together.ravel(), one_by_one)


def test_constant():
    assert rates(Constant(0.1), 3).tolist() == [0.1] * 3
    assert Constant(0.1).cycle_ends(9) == [9]


def test_triangular_at_start_middle_peak_boundary_and_after_k_cycles():
    schedule = Cyclical(0.001, 0.005, step_size=2000)
    for cycle in (0, 1, 7):
        first = 4000 * cycle
        assert schedule.rate(first) == 0.001
        assert schedule.rate(first + 1000) == pytest.approx(0.003, rel=1e-14)
        assert schedule.rate(first + 2000) == 0.005
        assert schedule.rate(first + 3000) == pytest.approx(0.003, rel=1e-14)
        assert schedule.rate(first + 3999) == pytest.approx(0.001 + 0.004 / 2000, rel=1e-14)
    assert schedule.cycle_ends(12_000) == [4000, 8000, 12_000]
    assert schedule.cycle_ends(11_999) == [4000, 8000]


def test_triangular2_halves_the_height_after_each_cycle():
    schedule = Cyclical(1.0, 9.0, step_size=3, mode="triangular2")
    peaks = [float(schedule.rate(6 * cycle + 3)) for cycle in range(5)]
    assert peaks == pytest.approx([9.0, 5.0, 3.0, 2.0, 1.5], rel=1e-14)
    assert [float(schedule.rate(6 * cycle)) for cycle in range(5)] == [1.0] * 5


def test_exp_range_shrinks_at_every_step():
    schedule = Cyclical(0.1, 1.1, step_size=4, mode="exp_range", gamma=0.9)
    triangle = np.array([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25])
    expected = 0.1 + np.tile(triangle, 3) * 0.9 ** np.arange(24)
    np.testing.assert_allclose(rates(schedule, 24), expected, rtol=1e-13)


def test_scale_fn_replaces_the_mode_and_counts_cycles_from_1():
    seen = []
    schedule = Cyclical(0.1, 1.1, step_size=2, scale_fn=lambda cycle: seen.append(float(cycle)) or 1 / cycle**2)
    assert [float(schedule.rate(step)) for step in (2, 6, 10)] == pytest.approx([1.1, 0.1 + 1 / 4, 0.1 + 1 / 9])
    assert seen == [1.0, 2.0, 3.0]


def test_restarts_at_start_middle_last_step_and_boundary():
    schedule = Restarts(1.0, cycle_steps=10, min_lr=0.2, cycle_decay=0.5)
    for cycle in (0, 1, 5):
        height = 0.8 * 0.5**cycle
        assert schedule.rate(10 * cycle) == pytest.approx(0.2 + height, rel=1e-14)
        assert schedule.rate(10 * cycle + 5) == pytest.approx(0.2 + height / 2, rel=1e-14)
        last = 0.2 + height / 2 * (1 + math.cos(0.9 * math.pi))
        assert schedule.rate(10 * cycle + 9) == pytest.approx(last, rel=1e-14)
    assert schedule.cycle_ends(35) == [10, 20, 30]


@pytest.mark.parametrize(("length", "mult"), [(1, 2), (3, 2), (7, 3), (100, 10)])
def test_restarts_jump_exactly_at_the_boundary(length, mult):
    schedule = Restarts(1.0, cycle_steps=length, cycle_mult=mult)
    ends = [length * (mult**k - 1) // (mult - 1) for k in range(1, 12)]
    assert schedule.cycle_ends(ends[-1]) == ends
    assert schedule.cycle_ends(ends[-1] - 1) == ends[:-1]
    for k, end in enumerate(ends):
        lasting = length * mult**k
        assert schedule.rate(end) == 1.0, "the first step of a cycle has the full rate"
        assert schedule.rate(end - 1) == pytest.approx(math.cos(math.pi * (lasting - 1) / lasting / 2) ** 2, rel=1e-9)


def test_restarts_with_a_lowest_rate_keep_above_it():
    values = rates(Restarts(1.0, 5, cycle_mult=2, min_lr=0.3, cycle_decay=0.1), 200)
    assert values.min() >= 0.3
    assert values.max() == 1.0


def test_one_cycle_at_start_peak_and_end():
    schedule = OneCycle(1.0, total_steps=200, pct_start=0.3, div=10, final_div=1000, momentums=(0.95, 0.85))
    assert schedule.rate(0) == 0.1
    assert schedule.rate(30) == pytest.approx(0.55, rel=1e-14)
    assert schedule.rate(60) == 1.0
    assert schedule.rate(199) == 0.001
    assert schedule.rate(10**6) == 0.001
    assert [float(schedule.momentum(step)) for step in (0, 60, 199)] == [0.95, 0.85, 0.95]
    assert schedule.momentum(30) == pytest.approx(0.9, rel=1e-14)
    values, momentums = rates(schedule, 200), schedule.momentum(np.arange(200))
    assert np.all(np.diff(values[:61]) > 0)
    assert np.all(np.diff(values[60:]) < 0)
    assert np.all(np.diff(momentums[:61]) < 0)
    assert np.all(np.diff(momentums[60:]) > 0)
    assert schedule.cycle_ends(200) == [200]


@pytest.mark.parametrize(
    ("total", "expected"), [(1, [1.0]), (2, [1.0, 0.01]), (3, [0.1, 1.0, 0.01]), (4, [0.1, 1.0, 0.505, 0.01])]
)
def test_the_shortest_cycles_have_their_peak_and_their_end(total, expected):
    schedule = OneCycle(1.0, total, div=10, final_div=100)
    assert rates(schedule, total) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("pct_start", [0.001, 0.999])
def test_an_extreme_pct_start_still_reaches_the_peak_and_the_end(pct_start):
    values = rates(OneCycle(1.0, 10, pct_start=pct_start, div=2, final_div=4), 10)
    assert values[0] == 0.5
    assert values.max() == 1.0
    assert values[-1] == 0.25


counts = st.integers(1, 400)
small = st.floats(1e-7, 10)
factors = st.floats(0.5, 1)
some_schedule = st.one_of(
    small.map(Constant),
    st.builds(
        lambda base, up, size, mode, gamma: Cyclical(
            base, base * up, size, mode, gamma=gamma if mode == "exp_range" else 1.0
        ),
        small,
        st.floats(1, 1000),
        counts,
        st.sampled_from(["triangular", "triangular2", "exp_range"]),
        st.floats(0.99, 1),
    ),
    st.builds(Restarts, small, counts, st.integers(1, 4), st.just(0.0) | st.just(1e-7), factors),
    st.builds(OneCycle, small, counts, st.floats(0.01, 0.99), st.floats(1, 100), st.floats(1, 1e6)),
)


@settings(max_examples=60, deadline=None)
@given(schedule=some_schedule, steps=st.lists(st.integers(0, 2**25 + 3), min_size=1, max_size=20))
@example(Cyclical(1e-3, 1e-2, 1), list(range(2**25 - 3, 2**25 + 4)))
@example(Restarts(1.0, 3), list(range(2**25 - 3, 2**25 + 4)))
@example(Restarts(1.0, 1, cycle_mult=2), list(range(2**24 - 5, 2**24 + 5)))
def test_numpy_and_keras_agree_at_every_step(schedule, steps):
    steps = np.array(steps)
    exact, inside = schedule.rate(steps), keras.ops.convert_to_numpy(schedule.rate(steps, xp=keras.ops))
    assert inside.dtype == np.float32
    highest = max(exact.max(), getattr(schedule, "max_lr", 0.0))
    np.testing.assert_allclose(inside, exact, rtol=2e-5, atol=2e-7 * highest)
    momentum = schedule.momentum(steps)
    if momentum is None:
        assert schedule.momentum(steps, xp=keras.ops) is None
    else:
        inside = keras.ops.convert_to_numpy(schedule.momentum(steps, xp=keras.ops))
        np.testing.assert_allclose(inside, momentum, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(schedule=some_schedule, total=st.integers(1, 3000))
def test_cycle_ends_are_where_cycles_end(schedule, total):
    ends = schedule.cycle_ends(total)
    assert ends == sorted(set(ends))
    assert all(0 < end <= total for end in ends)


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(2, 400), mult=st.integers(1, 4), lowest=st.just(0.0) | st.just(1e-3), total=st.integers(1, 3000)
)
def test_restarts_jump_where_cycles_end_and_nowhere_else(length, mult, lowest, total):
    schedule = Restarts(1.0, length, cycle_mult=mult, min_lr=lowest)
    values = rates(schedule, total + 1)
    jumps = [step for step in range(1, total + 1) if values[step] > values[step - 1]]
    assert jumps == schedule.cycle_ends(total)


def test_a_graph_compiles_it_for_any_step():
    import tensorflow as tf

    for schedule in EVERY_KIND:
        compiled = tf.function(lambda step, one=schedule: one.rate(step, xp=keras.ops), jit_compile=False)
        for kind in (tf.int64, tf.int32):
            for step in (0, 5, 23):
                assert float(compiled(tf.constant(step, kind))) == pytest.approx(float(schedule.rate(step)), rel=1e-5)


@pytest.mark.parametrize("mult", [1, 2, 3])
@pytest.mark.parametrize("decay", [1.0, 0.6])
def test_restarts_equal_keras_cosine_decay_restarts_step_by_step(mult, decay):
    import tensorflow as tf

    ours = Restarts(0.3, 8, cycle_mult=mult, min_lr=0.0, cycle_decay=decay)
    theirs = keras.optimizers.schedules.CosineDecayRestarts(
        tf.constant(0.3, tf.float64), 8, t_mul=float(mult), m_mul=decay, alpha=0.0
    )
    steps = range(8 * (1 + mult + mult**2 + mult**3) + 5)
    # Keras finds the cycle with a logarithm, which may round a boundary into the cycle before; see the test above.
    ends = set(ours.cycle_ends(len(steps))) if mult > 1 else set()
    for step in set(steps) - ends:
        assert float(ours.rate(step)) == pytest.approx(float(theirs(step)), rel=1e-5, abs=1e-9), step


def test_restarts_with_a_lowest_rate_equal_keras_alpha():
    ours = Restarts(0.3, 8, min_lr=0.03)
    theirs = keras.optimizers.schedules.CosineDecayRestarts(0.3, 8, t_mul=1.0, alpha=0.1)
    assert [float(ours.rate(step)) for step in range(40)] == pytest.approx([float(theirs(s)) for s in range(40)], 1e-5)


@pytest.mark.real
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("triangular", "TriangularCyclicalLearningRate", {}),
        ("triangular2", "Triangular2CyclicalLearningRate", {}),
        ("exp_range", "ExponentialCyclicalLearningRate", {"gamma": 0.97}),
    ],
)
def test_cyclical_equals_tensorflow_addons_step_by_step(mode, kind, options):
    tfa = pytest.importorskip("tensorflow_addons", reason="the extra is missing: pip install 'tlkit[addons]'")
    import tensorflow as tf

    base, highest, size = 1e-4, 1e-2, 17
    ours = Cyclical(base, highest, size, mode, **options)
    double = [tf.constant(value, tf.float64) for value in (base, highest)]
    theirs = getattr(tfa.optimizers, kind)(*double, step_size=size, **options)
    for step in range(6 * 2 * size + 3):
        assert float(ours.rate(step)) == pytest.approx(float(theirs(step)), rel=1e-11), step


BAD = [
    (lambda: Constant(0.0), "lr is invalid; received: 0.0; allowed: a finite number above 0"),
    (lambda: Constant(None), "lr is invalid; received: 'None'"),
    (lambda: Constant(True), "lr is invalid; received: True"),
    (
        lambda: Cyclical(1e-2, 1e-3, 10),
        "max_lr is below base_lr; received: \\(0.01, 0.001\\); allowed: base_lr <= max_lr",
    ),
    (lambda: Cyclical(-1.0, 1e-3, 10), "base_lr is invalid"),
    (lambda: Cyclical(1e-3, math.inf, 10), "max_lr is invalid; received: inf"),
    (lambda: Cyclical(math.nan, 1.0, 10), "base_lr is invalid; received: nan"),
    (lambda: Cyclical(1e-3, 1e-2, 0), "step_size is invalid; received: 0; allowed: a whole number of 1 or more"),
    (lambda: Cyclical(1e-3, 1e-2, 2.5), "step_size is invalid; received: 2.5"),
    (lambda: Cyclical(1e-3, 1e-2, 5, "triangular3"), "unknown mode.*did you mean .*'triangular2'"),
    (lambda: Cyclical(1e-3, 1e-2, 5, "exp_range", gamma=1.1), "gamma is invalid; received: 1.1"),
    (lambda: Cyclical(1e-3, 1e-2, 5, gamma=0.9), 'gamma is only used by mode "exp_range"'),
    (lambda: Cyclical(1e-3, 1e-2, 5, scale_fn=0.5), "scale_fn must be a function; received: 0.5"),
    (lambda: Restarts(1e-3, 0), "cycle_steps is invalid; received: 0"),
    (lambda: Restarts(1e-3, 5, cycle_mult=1.5), "cycle_mult is invalid; received: 1.5"),
    (lambda: Restarts(1e-3, 5, cycle_mult=0), "cycle_mult is invalid; received: 0"),
    (lambda: Restarts(1e-3, 5, min_lr=1e-2), "max_lr is below min_lr"),
    (lambda: Restarts(1e-3, 5, min_lr=-1e-9), "min_lr is invalid"),
    (lambda: Restarts(1e-3, 5, cycle_decay=0), "cycle_decay is invalid; received: 0"),
    (lambda: OneCycle(1e-3, 0), "total_steps is invalid; received: 0"),
    (
        lambda: OneCycle(1e-3, 10, pct_start=0.0),
        "pct_start is invalid; received: 0.0; allowed: a number between 0 and 1",
    ),
    (lambda: OneCycle(1e-3, 10, pct_start=1.0), "pct_start is invalid; received: 1.0"),
    (lambda: OneCycle(1e-3, 10, div=0.5), "div is invalid; received: 0.5"),
    (lambda: OneCycle(1e-3, 10, final_div=math.inf), "final_div is invalid; received: inf"),
    (lambda: OneCycle(1e-3, 10, momentums=0.9), "momentums is invalid; received: 0.9"),
    (lambda: OneCycle(1e-3, 10, momentums=(1.0, 0.9)), "momentums is invalid; received: 1.0"),
    (lambda: OneCycle(1e-3, 10, momentums=(0.85, 0.95)), "momentum must be cycled inversely to the learning"),
    (lambda: Constant(0.1).rate(1.5), "a step must be a whole number; received: 1.5"),
    (lambda: Constant(0.1).rate(True), "a step must be a whole number; received: True"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[str(index) for index in range(len(BAD))])
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_numbers_of_numpy_become_plain_ones():
    schedule = OneCycle(np.float32(0.5), np.int64(10), momentums=[0.95, 0.85])
    assert type(schedule.max_lr) is float
    assert type(schedule.total_steps) is int
    assert schedule.momentums == (0.95, 0.85)


def test_equal_arguments_make_equal_schedules_and_none_can_be_changed():
    for one, other in itertools.combinations([Restarts(1.0, 5), Restarts(1.0, 5), Restarts(1.0, 6)], 2):
        assert (one == other) == (one.cycle_steps == other.cycle_steps)
    with pytest.raises(AttributeError):
        Restarts(1.0, 5).max_lr = 2.0


def test_importing_it_loads_neither_tensorflow_nor_keras():
    code = "import sys, tlkit.schedules; print({'tensorflow', 'keras', 'pandas'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_staircase_falls_where_told_and_stays_between():
    schedule = Staircase(0.1, (3, 6), 0.1)
    np.testing.assert_allclose(schedule.rate(np.arange(8)), [0.1] * 3 + [0.01] * 3 + [0.001] * 2, rtol=1e-12)
    inside = keras.ops.convert_to_numpy(schedule.rate(keras.ops.arange(8, dtype="int64"), xp=keras.ops))
    np.testing.assert_allclose(inside, schedule.rate(np.arange(8)), rtol=1e-6)
    assert schedule.cycle_ends(8) == [8]
    with pytest.raises(ConfigError, match="falls are not in ascending order"):
        Staircase(0.1, (6, 3))


def test_slanted_triangular_follows_the_formula_of_ulmfit():
    total, fraction, ratio, peak = 200, 0.1, 32, 0.01
    cut = int(total * fraction)

    def paper(t):  # Howard & Ruder 2018, section 3.2
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / fraction - 1))
        return peak * (1 + p * (ratio - 1)) / ratio

    steps = np.arange(total + 1)
    rates = SlantedTriangular(peak, total).rate(steps)
    np.testing.assert_allclose(rates, [paper(t) for t in steps], rtol=1e-12)
    assert rates.argmax() == cut
    assert SlantedTriangular(peak, total).rate(total + 50) == pytest.approx(peak / ratio)


@pytest.mark.parametrize("total", [1, 2, 3, 9])
def test_a_short_slanted_triangular_begins_at_its_peak(total):
    rates = SlantedTriangular(0.5, total).rate(np.arange(total))
    assert rates[0] == 0.5
    assert np.all(np.diff(rates) < 0)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"cut_fraction": 1.0}, "cut_fraction"), ({"ratio": 0.5}, "ratio"), ({"total_steps": 0}, "total_steps")],
)
def test_slanted_triangular_refuses(arguments, name):
    with pytest.raises(ConfigError, match=f"{name} is invalid"):
        SlantedTriangular(**{"max_lr": 0.1, "total_steps": 10, **arguments})
