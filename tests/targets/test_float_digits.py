"""Numbers that need more digits than float32 has: columns, targets and tf.Examples."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tlkit.errors import DataError
from tlkit.float_digits import lost_digits, needs_float64
from tlkit.inputs.row.columns import Continuous
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.targets.base import Target
from tlkit.targets.objective import Objective
from tlkit.targets.regression import fit_target
from tlkit.targets.single_label import SingleLabel

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        (1e9 + RANDOM.normal(0, 2, 500), True),
        (1.7e9 + RANDOM.uniform(0, 3600, 500), True),
        (1.7e9 + RANDOM.uniform(0, 3.15e7, 500), False),
        (np.append(1e9 + RANDOM.normal(0, 2, 500), 0.0), True),
        (RANDOM.lognormal(12, 1, 500).round(2), False),
        (RANDOM.normal(size=500), False),
        (1.0 + RANDOM.normal(0, 1e-6, 500), True),
        (np.full(9, 1e9), False),
        (np.array([1e300, 1.0, 2.0, np.nan]), False),
        (np.array([]), False),
    ],
)
def test_the_spread_decides(values, needed):
    assert needs_float64(values) is needed


def test_what_would_be_lost_is_said():
    said = lost_digits(np.array([1e9, 1e9 + 1, 1e9 + 2, np.nan]))
    assert said.startswith("values from 1000000000 to 1000000002 need more digits")
    assert "(3 different ones would become 1): they are sent as float64" in said


@pytest.mark.parametrize("transform", ["none", "log"])
@pytest.mark.parametrize("y_range", [None, (1e9 - 50, 1e9 + 50)])
def test_a_target_comes_back_with_its_digits(transform, y_range):
    values = 1e9 + RANDOM.normal(0, 2, 200)
    target = fit_target("y", values, transform=transform, y_range=y_range)
    assert target.dtype == "float64"
    learnt = target.forward(values)
    assert (learnt.dtype, learnt.std()) == (np.float32, pytest.approx(1, abs=1e-3))
    if y_range is None:
        back = target.inverse(tf.constant(learnt)).numpy()
        assert back.dtype == np.float64
        np.testing.assert_allclose(back[:, 0] - 1e9, values - 1e9, atol=1e-4)
    wild = target.inverse(tf.constant([[-1e30], [0.0], [1e30]])).numpy()
    assert np.isfinite(wild).all()
    assert Target.from_dict(target.to_dict()) == target


def test_a_target_that_float32_holds_stays_so():
    target = fit_target("y", RANDOM.lognormal(12, 1, 200))
    assert target.dtype == "float32"
    assert "dtype" not in target.to_dict()
    assert target.inverse(tf.constant([[0.5]])).dtype == tf.float32


def test_values_that_no_float_can_tell_apart_are_refused():
    with pytest.raises(DataError, match="values of y are too close to each other for float32.*subtract a constant"):
        fit_target("y", 1e17 + np.arange(0, 320, 16.0))
    values = 1e9 + RANDOM.normal(0, 2, 200)
    target = fit_target("y", values, transform="yeo_johnson")
    np.testing.assert_allclose(target.inverse(tf.constant(target.forward(values)))[:, 0], values, rtol=0, atol=1e-3)


def test_answers_are_float64_where_one_target_is():
    wide, plain = fit_target("a", 1e9 + RANDOM.normal(0, 2, 99)), fit_target("b", RANDOM.normal(size=99))
    colour = SingleLabel("c", ("x", "y"))
    outputs = tf.constant([[0.25, 0.5, 1.0, 2.0]])
    together = Objective([wide, plain, colour]).probabilities(outputs)
    assert together.dtype == tf.float64
    assert float(together[0, 0]) == pytest.approx(wide.center + 0.25 * wide.scale, abs=1e-6)
    assert float(tf.reduce_sum(together[0, 2:])) == pytest.approx(1, abs=1e-6)
    assert Objective([plain, colour]).probabilities(outputs[:, 1:]).dtype == tf.float32


def test_tf_examples_hold_float64_in_decimals():
    columns = (Continuous("s", "s", "float64", 5.0, 1.7e9, 10.0, flag=True), Continuous("x", "x"))
    preprocessing = TablePreprocessing(columns)
    frame = pd.DataFrame({"s": [1.7e9 + 0.25, np.nan, 1.7e9 - 30], "x": [1.0, 2.0, 3.0]})
    wanted = preprocessing.encode_frame(frame)
    assert wanted[:, 0].tolist() == pytest.approx([0.025, -1e6, -3.0])
    examples = preprocessing.to_examples(frame)
    first = tf.train.Example.FromString(examples[0]).features.feature
    assert first["s"].bytes_list.value[:] == [b"1700000000.25"]
    np.testing.assert_array_equal(preprocessing.batch(tf.constant(examples)), wanted)
    np.testing.assert_array_equal(preprocessing.encode(preprocessing.to_arguments(frame)), wanted)
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"1.7e9 s"]))
    bad = tf.train.Example(features=tf.train.Features(feature={"s": feature})).SerializeToString()
    with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)column .*s.* has decimal numbers.*1.7e9 s"):
        preprocessing.batch(tf.constant([bad]))
