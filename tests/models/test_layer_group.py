"""A layer group's variables: all that its training may change, frozen or not, and nothing else."""

from __future__ import annotations

import itertools

import keras
import pytest
import tiny

import tlkit
from tlkit.models.task import LayerGroup

pytestmark = pytest.mark.filterwarnings("ignore:.*random.*")


@pytest.fixture(scope="module", params=["frozen", "train"])
def task(request):
    return tlkit.image_classifier(
        "mobilenet-v2-0.35", ["ants", "bees"], size=32, weights="none", batch_norm=request.param
    )


def _ids(variables):
    return [id(variable) for variable in variables]


def _all(task):
    return list(itertools.chain.from_iterable(group.variables for group in task.groups))


def test_together_they_are_what_an_unfrozen_model_trains(task):
    task.freeze_to(0)
    trained = task.model.trainable_variables
    assert len(trained) > 50
    assert sorted(_ids(_all(task))) == sorted(_ids(trained))
    order = {id(variable): place for place, variable in enumerate(trained)}
    for group in task.groups:
        places = [order[id(variable)] for variable in group.variables]
        assert places == sorted(places), group.name
    assert not [v.path for v in _all(task) if "moving" in v.path]


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_freezing_does_not_change_them(task, first):
    task.freeze_to(0)
    before = [_ids(group.variables) for group in task.groups]
    task.freeze_to(first)
    assert [_ids(group.variables) for group in task.groups] == before
    expected = set(itertools.chain.from_iterable(before[first:]))
    assert {id(variable) for variable in task.model.trainable_variables} == expected


def test_layers_inside_layers_and_shared_variables_count_once():
    dense = keras.layers.Dense(3)
    block = keras.Sequential([keras.Input((3,)), dense, keras.layers.BatchNormalization(), keras.layers.Dropout(0.1)])
    group = LayerGroup("head", (block, dense))
    group.set_trainable(False)
    assert [v.path.split("/")[-1] for v in group.variables] == ["kernel", "bias", "gamma", "beta"]


def test_the_tiny_task_agrees():
    task = tiny.tiny_task()
    task.freeze_to(-1)
    assert len(task.groups[0].variables) == 6
    assert len(task.groups[1].variables) == 2
