from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit import schedules
from tlkit.callbacks.momentum import momentum_name
from tlkit.errors import ConfigError
from tlkit.training.optimizers import begin_accumulation, group_optimizer
from tlkit.training.plan import make_plan

SHAPES = ((4, 3), (3,), (3, 2), (2,))
MAKERS = {
    "sgd": lambda **more: keras.optimizers.SGD(1.0, momentum=0.9, **more),
    "nesterov": lambda **more: keras.optimizers.SGD(1.0, momentum=0.9, nesterov=True, **more),
    "adam": lambda **more: keras.optimizers.Adam(1.0, **more),
    "amsgrad": lambda **more: keras.optimizers.Adam(1.0, amsgrad=True, **more),
    "adamw": lambda **more: keras.optimizers.AdamW(1.0, weight_decay=0.1, **more),
    "lion": lambda **more: keras.optimizers.Lion(1.0, weight_decay=0.1, **more),
    "adamax": lambda **more: keras.optimizers.Adamax(1.0, **more),
    "nadam": lambda **more: keras.optimizers.Nadam(1.0, **more),
    "rmsprop": lambda **more: keras.optimizers.RMSprop(1.0, momentum=0.5, centered=True, **more),
    "adafactor": lambda **more: keras.optimizers.Adafactor(1.0, **more),
}
DISCRIMINATIVE = ("sgd", "nesterov", "adam", "amsgrad", "adamw", "lion", "adamax", "rmsprop")


def fresh_variables(value=None):
    numbers = np.random.default_rng(0)
    arrays = [numbers.normal(size=shape) if value is None else np.full(shape, value) for shape in SHAPES]
    return [keras.Variable(array.astype("float32"), name=f"v{i}") for i, array in enumerate(arrays)]


def gradients(step):
    numbers = np.random.default_rng(100 + step)
    return [tf.constant(numbers.normal(size=shape), tf.float32) for shape in SHAPES]


def two_groups(variables):
    return [variables[:2], variables[2:]]


def grouped(make, variables, multipliers=(1.0, 1.0), rates=(0.01,), momenta=None, **options):
    optimizer = group_optimizer(make(), two_groups(variables), **options)
    optimizer.build(variables)
    optimizer.set_plan(np.asarray(rates), momenta, multipliers)
    return optimizer


def arrays(variables):
    return [np.array(variable) for variable in variables]


def assert_equal_steps(name, one, other):
    # Adam and its kind compute with 1 - beta_1, which a float32 tensor rounds and a Python number does not.
    tolerance = 1e-6 if name.startswith(("adam", "ams")) else 0.0
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("more", [{}, {"gradient_accumulation_steps": 2, "global_clipnorm": 0.5}], ids=["", "extras"])
@pytest.mark.parametrize("name", sorted(MAKERS))
def test_equal_rates_give_the_optimizer_s_own_steps(name, more):
    mine, plain = fresh_variables(), fresh_variables()
    own = MAKERS[name](**more)
    own.learning_rate = 0.01
    optimizer = grouped(lambda: MAKERS[name](**more), mine)
    for step in range(6):
        optimizer.apply(gradients(step), mine)
        own.apply(gradients(step), plain)
        for one, other in zip(mine, plain, strict=True):
            assert_equal_steps(name, np.array(one), np.array(other))
    assert not np.array_equal(np.array(mine[0]), np.array(fresh_variables()[0]))


@pytest.mark.parametrize("name", DISCRIMINATIVE)
def test_a_step_moves_each_group_by_its_multiple_of_the_plain_step(name):
    factors = (0.25, 1.0)
    mine, plain = fresh_variables(1.0), fresh_variables(1.0)
    own = MAKERS[name]()
    own.learning_rate = 0.05
    optimizer = grouped(MAKERS[name], mine, factors, [0.05])
    optimizer.apply(gradients(0), mine)
    own.apply(gradients(0), plain)
    for number, (one, other) in enumerate(zip(mine, plain, strict=True)):
        moved = 1.0 - np.array(other)
        assert np.abs(moved).max() > 1e-3
        # Weight decay, which AdamW and Lion have here, is part of the step and scaled with it.
        np.testing.assert_allclose(1.0 - np.array(one), factors[number // 2] * moved, atol=2.5e-7)


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """Written as TensorFlow Addons writes its cyclical rates: a Keras schedule of the user's."""

    def __call__(self, step):
        return 0.1 * 0.5 ** tf.cast(step, tf.float32)

    def get_config(self):
        return {}


SCHEDULES = {
    "constant": schedules.Constant(0.1),
    "triangular": schedules.Cyclical(0.01, 0.1, 3),
    "triangular2": schedules.Cyclical(0.01, 0.1, 2, mode="triangular2"),
    "exp_range": schedules.Cyclical(0.01, 0.1, 2, mode="exp_range", gamma=0.9),
    "scale_fn": schedules.Cyclical(0.01, 0.1, 2, scale_fn=lambda cycle: 1 / cycle),
    "restarts": schedules.Restarts(0.1, 2, 2, min_lr=0.001, cycle_decay=0.5),
    "one_cycle": schedules.OneCycle(0.1, 10),
    "one_cycle without momentum": schedules.OneCycle(0.1, 10, momentums=None),
    "staircase": schedules.Staircase(0.1, (3, 6)),
    "keras": keras.optimizers.schedules.CosineDecayRestarts(0.1, 4),
    "a user's": Halving(),
}


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    schedule=st.sampled_from(sorted(SCHEDULES)),
    name=st.sampled_from(DISCRIMINATIVE),
    factor=st.sampled_from([1 / 9, 1 / 3, 0.9, 4.0]),
)
def test_groups_keep_their_ratio_at_every_step_under_every_schedule(schedule, name, factor):
    mine, plain, own = fresh_variables(0.0), fresh_variables(0.0), MAKERS[name]()
    moves = name != "rmsprop"  # whose momentum cannot be scheduled
    if schedule == "one_cycle" and not moves:
        return
    plan = make_plan(2, [factor, 1.0], steps=5, groups=2, schedule=SCHEDULES[schedule], with_momentum=moves)
    optimizer = grouped(MAKERS[name], mine, plan.multipliers, plan.rates, plan.momenta)
    for step in range(10):
        own.learning_rate = float(plan.rates[step])
        if plan.momenta is not None:
            setattr(own, momentum_name(own), float(np.float32(plan.momenta[step])))
        for variable in (*mine, *plain):
            variable.assign(np.zeros(variable.shape))  # what is read afterwards is the step itself, not rounded
        optimizer.apply(gradients(step), mine)
        own.apply(gradients(step), plain)
        for number, (one, other) in enumerate(zip(mine, plain, strict=True)):
            expected = np.array(other) * (factor if number < 2 else 1.0)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(np.array(one), expected, rtol=2e-5, atol=1e-5 * scale, err_msg=str(step))
            assert scale > 0 or plan.rates[step] == 0


@pytest.mark.slow
def test_a_compiled_step_uses_the_momentum_and_the_rate_of_the_plan():
    def train(optimizer_of):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)])
        model.compile(optimizer_of(model), "mse", jit_compile=False)
        x = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
        model.fit(x, x.sum(axis=1, keepdims=True), batch_size=4, epochs=2, shuffle=False, verbose=0)
        return arrays(model.variables), model.optimizer

    def with_plan(momentum):
        def make(model):
            optimizer = group_optimizer(keras.optimizers.Adam(1.0), [model.trainable_variables])
            optimizer.set_plan([0.02] * 12, None if momentum is None else [momentum] * 12)
            return optimizer

        return make

    (one, optimizer), (other, _) = train(with_plan(0.6)), train(lambda _: keras.optimizers.Adam(0.02, beta_1=0.6))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert not np.allclose(one[0], train(with_plan(None))[0][0], atol=1e-3)
    rows = optimizer.recorded(0, 12)
    np.testing.assert_allclose(rows[:, 0], 0.02)
    np.testing.assert_allclose(rows[:, 1], 0.6)
    assert np.all(np.isfinite(rows[:, 2]))
    assert np.isnan(optimizer.recorded(12, 13)).all()


def test_the_last_rate_stays_and_a_resumed_plan_goes_on_where_it_was():
    variables = fresh_variables()
    optimizer = grouped(MAKERS["sgd"], variables, rates=[0.3, 0.2, 0.1])
    seen = []
    for step in range(4):
        seen.append(float(optimizer.learning_rate))
        optimizer.apply(gradients(step), variables)
    assert seen == pytest.approx([0.3, 0.2, 0.1, 0.1])
    optimizer.set_plan([0.5, 0.4, 0.3], done=2)
    assert float(optimizer.learning_rate) == pytest.approx(0.3)
    optimizer.set_plan([0.5, 0.4, 0.3])
    assert float(optimizer.learning_rate) == pytest.approx(0.5)


def test_a_rate_set_by_hand_holds_for_all_groups_until_the_next_plan():
    variables, plain = fresh_variables(0.0), fresh_variables(0.0)
    optimizer = grouped(lambda: keras.optimizers.SGD(1.0), variables, (0.5, 1.0), [0.1] * 3)
    optimizer.learning_rate = 0.02
    optimizer.apply(gradients(0), variables)
    keras.optimizers.SGD(0.02).apply(gradients(0), plain)
    np.testing.assert_allclose(np.array(variables[0]), 0.5 * np.array(plain[0]), rtol=1e-6)
    np.testing.assert_allclose(np.array(variables[2]), np.array(plain[2]), rtol=1e-6)
    optimizer.set_plan([0.1] * 3, done=1)
    assert float(optimizer.learning_rate) == pytest.approx(0.02)  # a resumed run keeps what was set
    optimizer.set_plan([0.1] * 3)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)


def test_a_plateau_lowers_the_rate_of_a_model_in_training():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    optimizer = group_optimizer(keras.optimizers.SGD(1.0), [model.trainable_variables])
    optimizer.set_plan([1e-12] * 8)  # too small for the loss ever to become better
    model.compile(optimizer, "mse", jit_compile=False)
    x = np.ones((8, 3), "float32")
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=0.1)
    model.fit(x, np.ones((8, 1)), batch_size=4, epochs=4, shuffle=False, verbose=0, callbacks=[plateau])
    np.testing.assert_allclose(optimizer.recorded(0, 8)[:, 0] * 1e12, [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25], rtol=1e-5)


def grown(make, variables, old):
    new = group_optimizer(make(), two_groups(variables))
    new.build([*old.covered, *(v for v in variables if not any(v is known for known in old.covered))])
    new.take_over(old)
    return new


@pytest.mark.parametrize("name", ["sgd", "adam", "amsgrad", "adamw", "lion", "adamax", "rmsprop", "adafactor"])
def test_growing_keeps_moments_and_new_groups_begin_like_a_fresh_optimizer(name):
    mine, plain = fresh_variables(), fresh_variables()
    head = mine[2:]
    optimizer = group_optimizer(MAKERS[name](), two_groups(mine))
    optimizer.build(head)
    optimizer.set_plan([0.01] * 20)
    own = MAKERS[name]()
    own.learning_rate = 0.01
    own.build(plain[2:])
    for step in range(5):
        optimizer.apply(gradients(step)[2:], head)
        own.apply(gradients(step)[2:], plain[2:])
    before = {id(slot): np.array(slot) for slot in optimizer._slots.values()}
    bigger = grown(MAKERS[name], mine, optimizer)
    kept = {key: before[id(slot)] for key, slot in optimizer._slots.items()}
    assert kept
    for key, value in kept.items():
        np.testing.assert_array_equal(np.array(bigger._slots[key]), value)
    assert sum(np.any(value) for value in kept.values()) >= len(head)
    assert int(bigger.iterations) == 5
    assert bigger._counts.numpy().tolist() == [0, 5]
    # The next step is the sixth of the head and the first of the rest.
    fresh = MAKERS[name]()
    fresh.learning_rate = 0.01
    bigger.apply(gradients(5), mine)
    own.apply(gradients(5)[2:], plain[2:])
    fresh.apply(gradients(5)[:2], plain[:2])
    for one, other in zip(mine, plain, strict=True):
        assert_equal_steps(name, np.array(one), np.array(other))


def test_a_group_that_is_left_out_keeps_its_count_and_its_slots():
    variables = fresh_variables()
    optimizer = grouped(MAKERS["adam"], variables)
    optimizer.apply(gradients(0), variables)
    slots = {key: np.array(slot) for key, slot in optimizer._slots.items()}
    first = {id(variable) for variable in variables[:2]}
    for step in (1, 2):
        optimizer.apply(gradients(step)[2:], variables[2:])
    assert optimizer._counts.numpy().tolist() == [1, 3]
    for key, slot in optimizer._slots.items():
        assert np.array_equal(np.array(slot), slots[key]) == (key[0] in first), key


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_new_stage_begins_a_new_update(name):
    variables, others = fresh_variables(), fresh_variables()
    optimizer, fresh = (
        grouped(lambda: MAKERS[name](gradient_accumulation_steps=3), own, rates=[0.01] * 9)
        for own in (variables, others)
    )
    for step in (5, 6):  # left over when a stage ended
        optimizer.apply(gradients(step), variables)
    begin_accumulation(optimizer)
    for step in range(6):
        for one, own in ((optimizer, variables), (fresh, others)):
            one.apply(gradients(step), own)
        for one, other in zip(arrays(variables), arrays(others), strict=True):
            assert_equal_steps(name, one, other)
    assert not np.array_equal(arrays(variables)[0], arrays(fresh_variables())[0])
    plain = grouped(MAKERS[name], fresh_variables())
    plain.apply(gradients(0), plain.covered)
    begin_accumulation(plain)
    assert int(plain._iterations) == 1


@pytest.mark.parametrize("every", [1, 2])
def test_running_averages_follow_their_formula_once_an_update(every):
    variables = fresh_variables()
    accumulated = {"gradient_accumulation_steps": every} if every > 1 else {}
    optimizer = grouped(lambda: MAKERS["sgd"](**accumulated), variables, rates=[0.1], ema_decay=0.5)
    expected = [np.array(variable, np.float64) for variable in variables]
    for step in range(12 * every):
        optimizer.apply(gradients(step), variables)
        updates, left = divmod(step + 1, every)
        if not left:
            decay = min(0.5, (1 + updates) / (10 + updates))  # both branches are met
            expected = [decay * mean + (1 - decay) * np.array(v) for mean, v in zip(expected, variables, strict=True)]
    averages = optimizer.averages()
    for variable, mean in zip(variables, expected, strict=True):
        np.testing.assert_allclose(np.array(averages[id(variable)]), mean, atol=1e-5)
    assert grouped(MAKERS["sgd"], fresh_variables()).averages() == {}


def test_a_plan_can_be_put_back():
    optimizer = grouped(MAKERS["adam"], fresh_variables(), (0.5, 1.0), [0.3])
    before = optimizer.plan()
    optimizer.set_plan([0.1], [0.7], (2.0, 3.0))
    optimizer.learning_rate = 9.0
    optimizer.put_plan(before)
    assert float(optimizer.learning_rate) == pytest.approx(0.3)
    assert optimizer._multipliers.numpy().tolist() == [0.5, 1.0]
    assert float(optimizer._entry(optimizer._momenta)) == pytest.approx(0.9)


def test_what_was_set_on_the_optimizer_stays():
    variables = fresh_variables(1.0)
    own = keras.optimizers.AdamW(1.0, weight_decay=0.5)
    own.exclude_from_weight_decay(var_names=["v1"])
    optimizer = group_optimizer(own, two_groups(variables))
    optimizer.build(variables)
    optimizer.set_plan([0.1])
    optimizer.apply([tf.zeros(shape) for shape in SHAPES], variables)
    np.testing.assert_array_equal(np.array(variables[1]), 1.0)
    np.testing.assert_allclose(np.array(variables[0]), 1 - 0.1 * 0.5, rtol=1e-6)
    assert optimizer is own
    assert optimizer.kind == "AdamW"


def test_only_some_optimizers_have_a_momentum_to_schedule():
    kinds = {name: group_optimizer(make(), [[]]).has_momentum for name, make in MAKERS.items()}
    assert {name for name, has in kinds.items() if not has} == {"nadam", "rmsprop", "adafactor"}
    assert not group_optimizer(keras.optimizers.SGD(1.0), [[]]).has_momentum
    with pytest.raises(ConfigError, match="momentum of RMSprop cannot be scheduled; allowed: SGD with momentum"):
        group_optimizer(MAKERS["rmsprop"](), [[]]).set_plan([0.1], [0.9])
    with pytest.raises(ConfigError, match=r"one factor per layer group is needed; received: \[1.0\]"):
        group_optimizer(MAKERS["sgd"](), [[], []]).set_plan([0.1], None, [1.0])


def test_an_optimizer_that_cannot_be_driven_is_an_error():
    used = keras.optimizers.Adam()
    used.build(fresh_variables())
    with pytest.raises(ConfigError, match="was already used; create a new optimizer"):
        group_optimizer(used, [[]])
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    with pytest.raises(ConfigError, match="the optimizer has its own learning-rate schedule"):
        group_optimizer(keras.optimizers.Adam(decay), [[]])
    with pytest.raises(ConfigError, match="has its own EMA; use the Learner's ema"):
        group_optimizer(keras.optimizers.Adam(use_ema=True), [[]])
