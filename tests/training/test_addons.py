"""TensorFlow Addons' cyclical schedules, which users may have already, drive a Learner."""

from __future__ import annotations

import numpy as np
import pytest
from photos import write_folder
from tiny import tiny_task

import tlkit


@pytest.mark.real
def test_an_addons_schedule_is_taken_where_a_schedule_is(tmp_path):
    addons = pytest.importorskip("tensorflow_addons", reason="the extra tlkit[addons] is not installed")
    data = tlkit.images_from_folder(write_folder(tmp_path / "photos", {"a": 12, "b": 12}), size=32, batch_size=4)
    task = tiny_task(("a", "b"))
    task.freeze_to(-1)
    learn = tlkit.Learner(task, data)
    theirs = addons.optimizers.Triangular2CyclicalLearningRate(1e-4, 1e-2, step_size=3)
    learn.fit(2, theirs, verbose=False)
    steps = 2 * data.steps_per_epoch
    expected = [float(theirs(step)) for step in range(steps)]
    np.testing.assert_allclose(learn.recorder.rates, expected, rtol=1e-5)
    learn.fit(2, schedule=theirs, verbose=False)
    np.testing.assert_allclose(learn.recorder.rates[steps:], expected, rtol=1e-5)
    ours = tlkit.CyclicalLR(1e-4, 1e-2, step_size=3, mode="triangular2")
    learn.fit(2, callbacks=[ours], verbose=False)
    np.testing.assert_allclose(learn.recorder.rates[2 * steps :], expected, rtol=1e-5)
