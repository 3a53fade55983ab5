from __future__ import annotations

import json
import math

import keras
import numpy as np
import pytest

import tlkit
from tlkit import schedules
from tlkit.errors import ConfigError
from tlkit.training.plan import make_plan


def plan(epochs, lr, **options):
    return make_plan(epochs, lr, **{"steps": 4, "groups": 3, **options})


def test_one_cycle_is_the_default_and_moves_the_momentum():
    got = plan(5, 0.1)
    expected = schedules.OneCycle(0.1, 20)
    np.testing.assert_array_equal(got.rates, expected.rate(np.arange(20)))
    np.testing.assert_array_equal(got.momenta, expected.momentum(np.arange(20)))
    assert got.epochs == 5
    assert got.cycle_ends == (5,)
    assert got.multipliers == (1.0, 1.0, 1.0)
    assert plan(5, 0.1, with_momentum=False).momenta is None


def test_a_constant_rate_stays():
    got = plan(2, 0.1, schedule="constant")
    assert got.rates.tolist() == [0.1] * 8
    assert got.momenta is None


def test_cycles_restart_and_grow():
    got = plan(3, 0.1, cycle_len=1, cycle_mult=2)
    assert got.epochs == 7
    assert got.cycle_ends == (1, 3, 7)
    assert got.rates[[0, 4, 12]].tolist() == pytest.approx([0.1] * 3)
    assert got.rates[27] == pytest.approx(0.05 * (1 + math.cos(math.pi * 15 / 16)))
    assert np.all(np.diff(got.rates[12:]) < 0)
    assert plan(3, 0.1, cycle_len=2).cycle_ends == (2, 4, 6)


@pytest.mark.parametrize(
    ("lr", "multipliers"),
    [
        (0.9, (1, 1, 1)),
        ([0.9], (1, 1, 1)),
        ([0.3, 0.9], (1 / 3, 1 / 3, 1)),
        ((0.1, 0.3, 0.9), (1 / 9, 1 / 3, 1)),
        (np.array([0.1, 0.3, 0.9]), (1 / 9, 1 / 3, 1)),
        ([1.8, 0.9], (2, 2, 1)),
    ],
)
def test_a_list_gives_the_last_groups_a_rate_each_and_its_first_holds_for_all_before(lr, multipliers):
    got = plan(1, lr, schedule="constant")
    assert got.multipliers == pytest.approx(multipliers)
    assert got.rates.tolist() == pytest.approx([0.9] * 4)


class Addons(keras.optimizers.schedules.LearningRateSchedule):
    """Shaped like the cyclical schedules of TensorFlow Addons."""

    def __call__(self, step):
        return 0.1 + 0.01 * keras.ops.cast(step % 3, "float32")

    def get_config(self):
        return {"initial_learning_rate": 0.1}


@pytest.mark.parametrize("where", ["lr", "schedule"])
def test_a_schedule_may_stand_in_either_place(where):
    triangular = schedules.Cyclical(0.01, 0.1, step_size=4)
    got = plan(4, triangular) if where == "lr" else plan(4, None, schedule=triangular)
    np.testing.assert_array_equal(got.rates, triangular.rate(np.arange(16)))
    assert got.cycle_ends == (2, 4)
    got = plan(1, Addons()) if where == "lr" else plan(1, None, schedule=Addons())
    assert got.rates.tolist() == pytest.approx([0.1, 0.11, 0.12, 0.1])
    assert got.name == "Addons({'initial_learning_rate': 0.1})"


def test_a_list_gives_a_schedule_its_ratios():
    got = plan(1, [0.1, 0.4], schedule=schedules.Constant(0.2))
    assert got.rates.tolist() == [0.2] * 4
    assert got.multipliers == pytest.approx((0.25, 0.25, 1))


def test_cycles_that_end_inside_an_epoch_have_no_ends_for_snapshots():
    assert plan(4, schedules.Cyclical(0.01, 0.1, step_size=3)).cycle_ends == ()


def test_a_rate_callback_is_taken_as_the_schedule_that_it_follows():
    got = plan(3, None, callbacks=[tlkit.CyclicalLR(0.01, 0.1, step_size=2)])
    np.testing.assert_array_equal(got.rates, schedules.Cyclical(0.01, 0.1, 2).rate(np.arange(12)))
    got = plan(3, None, callbacks=[tlkit.WarmRestarts(0.1, cycle_len=1)])
    np.testing.assert_array_equal(got.rates, schedules.Restarts(0.1, 4).rate(np.arange(12)))
    assert got.cycle_ends == (1, 2, 3)


def test_a_callback_that_sets_the_rate_itself_gets_a_constant_one():
    for callback in (keras.callbacks.ReduceLROnPlateau(), keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)):
        assert plan(2, 0.3, callbacks=[callback]).rates.tolist() == [0.3] * 8
        assert plan(2, 0.3, callbacks=[callback], schedule="constant").rates.tolist() == [0.3] * 8


PLATEAU = keras.callbacks.ReduceLROnPlateau
CYCLICAL = tlkit.CyclicalLR(0.01, 0.1, step_size=2)
CONSTANT = schedules.Constant(0.1)


@pytest.mark.parametrize(
    ("epochs", "lr", "options", "message"),
    [
        (0, 0.1, {}, "epochs must be a whole number, 1 or more; received: 0"),
        (True, 0.1, {}, "epochs must be a whole number, 1 or more; received: True"),
        (1.0, 0.1, {}, "epochs must be a whole number, 1 or more; received: 1.0"),
        (0, 0.1, {"cycle_len": 1}, "the number of cycles must be a whole number, 1 or more; received: 0"),
        (1, 0.1, {"cycle_len": 0}, "cycle_len must be a whole number, 1 or more; received: 0"),
        (1, 0.1, {"cycle_len": 1, "cycle_mult": 0}, "cycle_mult must be a whole number, 1 or more; received: 0"),
        (1, 0.1, {"cycle_len": 1, "cycle_mult": 1.5}, "cycle_mult must be a whole number, 1 or more; received: 1.5"),
        (1, 0.1, {"cycle_mult": 2}, "cycle_mult needs a cycle_len; received: 2"),
        (1, None, {}, "the learning rate must be a number above 0"),
        (1, 0, {}, "the learning rate must be a number above 0; received: 0"),
        (1, -1.0, {}, "the learning rate must be a number above 0; received: -1.0"),
        (1, math.nan, {}, "the learning rate must be a number above 0; received: nan"),
        (1, math.inf, {}, "the learning rate must be a number above 0; received: inf"),
        (1, True, {}, "the learning rate must be a number above 0; received: True"),
        (1, "0.1", {}, "the learning rate must be a number above 0; received: '0.1'"),
        (1, [0.1, math.nan], {}, "the learning rate must be a number above 0; received: nan"),
        (1, [], {}, r"the list of learning rates is empty; received: \[\]"),
        (1, [0.1] * 4, {}, "more learning rates than layer groups; received: 4; allowed: 1 to 3"),
        (1, 0.1, {"schedule": "onecycle"}, "unknown schedule; received: 'onecycle'; .*did you mean 'one_cycle'"),
        (1, 0.1, {"schedule": 3}, "unknown schedule; received: 3"),
        (1, CONSTANT, {"schedule": "constant"}, "two schedules were given"),
        (1, 0.1, {"schedule": CONSTANT}, "the schedule has its own learning rates; received: 0.1; pass lr=None"),
        (1, 0.1, {"callbacks": [CYCLICAL]}, "the schedule has its own learning rates; received: 0.1"),
        (1, CONSTANT, {"callbacks": [CYCLICAL]}, "CyclicalLR and schedule=Constant.* both set the learning rate"),
        (1, 0.1, {"callbacks": [PLATEAU()], "cycle_len": 1}, "ReduceLROnPlateau and cycle_len=1 both set"),
        (1, 0.1, {"callbacks": [CYCLICAL], "cycle_len": 2}, "CyclicalLR and cycle_len=2 both set"),
        (1, 0.1, {"callbacks": [CYCLICAL, PLATEAU()]}, "CyclicalLR and ReduceLROnPlateau both set"),
        (1, 0.1, {"callbacks": [PLATEAU()], "schedule": "one_cycle"}, "ReduceLROnPlateau and schedule='one_cycle'"),
        (1, None, {"callbacks": [PLATEAU()], "schedule": CONSTANT}, "ReduceLROnPlateau and schedule=Constant"),
        (1, 0.1, {"cycle_len": 1, "schedule": "one_cycle"}, "cycle_len=1 and schedule='one_cycle' both set"),
        (1, CONSTANT, {"cycle_len": 1}, "cycle_len=1 and schedule=Constant"),
        (
            1,
            schedules.OneCycle(0.1, 4),
            {"with_momentum": False},
            "changes the momentum, but the optimizer has none.*received: OneCycle.*momentums=None",
        ),
    ],
)
def test_what_cannot_be_run_is_named_before_training(epochs, lr, options, message):
    with pytest.raises(ConfigError, match=message):
        plan(epochs, lr, **options)


TOO_LARGE = (
    "accumulate is larger than the training: no weight would change; received: .*'accumulate': {}, 'batches': {}"
)


@pytest.mark.parametrize(
    ("epochs", "lr", "options", "message"),
    [
        (
            2,
            0.1,
            {"accumulate": 9},
            TOO_LARGE.format(9, 8) + ".*'epochs': 2.*allowed: accumulate from 1 to 8; lower accum",
        ),
        (2, 0.1, {"cycle_len": 1, "cycle_mult": 3, "accumulate": 5}, "a cycle of the training.*from 1 to 4"),
        (3, None, {"callbacks": [CYCLICAL], "accumulate": 5}, "a cycle of the training.*'batches': 4.*from 1 to 4"),
        (1, CONSTANT, {"accumulate": 5}, "larger than the training"),
    ],
)
def test_an_accumulation_that_leaves_no_update_is_refused(epochs, lr, options, message):
    with pytest.raises(ConfigError, match=message):
        plan(epochs, lr, **options)
    most = options["accumulate"] - 1
    assert len(plan(epochs, lr, **{**options, "accumulate": most}).rates) >= most


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1])
def test_a_schedule_that_gives_unusable_rates_is_an_error(value):
    class Odd(Addons):
        def __call__(self, step):
            return value if int(step) == 3 else 0.1

    with pytest.raises(ConfigError, match="rates that are negative or not finite; received: .*Odd"):
        plan(1, Odd())


def test_a_plan_can_be_written_to_a_record():
    got = plan(np.int64(2), 0.1, cycle_len=np.int64(1), cycle_mult=np.int32(2))
    assert json.loads(json.dumps([got.epochs, got.name, got.multipliers]))[0] == 3


def test_a_schedule_around_a_function_has_the_same_name_in_every_process():
    first, again, other = (
        plan(1, schedules.Cyclical(0.01, 0.1, 1, scale_fn=scale)).name
        for scale in (lambda cycle: 1 / cycle, lambda cycle: 1 / cycle, lambda cycle: 1 / cycle**2)
    )
    assert first == again != other
    assert " at 0x" not in first
