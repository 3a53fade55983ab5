"""What every kind of task must do, whatever it classifies: called by tests/test_contracts.py for each of them."""

from __future__ import annotations

import keras
import numpy as np

import tlkit
from tlkit.export.interface import interface_of
from tlkit.export.manifest import Manifest
from tlkit.export.predictor import SavedModelPredictor
from tlkit.export.records import named_arrays, records_of
from tlkit.models.ensemble import ensemble
from tlkit.predicting.answer_columns import AnswerColumns
from tlkit.predicting.row_answers import numbers_of


def first_batch(data, split="val"):
    return next(iter(data.ordered(split)))[0]


def parts_fit_together(task, data):
    """`model` is `head` after `features`; the groups hold every variable that training changes, once."""
    inputs = first_batch(data)
    np.testing.assert_allclose(task.model(inputs), task.head(task.features(inputs)), atol=1e-5)
    assert task.model.output_shape == (None, task.objective.width)
    assert task.groups[-1].name == "head"
    task.freeze_to(0)
    grouped = [id(variable) for group in task.groups for variable in group.variables]
    assert sorted(grouped) == sorted(id(variable) for variable in task.model.trainable_variables)
    task.freeze_to(-1)
    assert task.backbone_is_frozen
    assert {id(v) for v in task.model.trainable_variables} == {id(v) for v in task.groups[-1].variables}


def answers_do_not_depend_on_the_batch(task, data):
    """One item alone gets what it gets among others."""
    inputs = first_batch(data)
    together = task.model(inputs, training=False).numpy()
    alone = np.concatenate([task.model(inputs[row : row + 1], training=False) for row in range(len(inputs))])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def answers_are_those_of_the_objective(task, data):
    """Probabilities lie between 0 and 1, and add up to 1 where exactly one class is true; other answers are finite."""
    answers = task.objective.probabilities(task.model(first_batch(data))).numpy()
    assert answers.dtype == np.float32
    assert answers.shape[1:] == (len(task.class_names),)
    assert np.isfinite(answers).all()
    if task.objective.classes is not None:
        assert np.all((answers >= 0) & (answers <= 1))
        adds_up = np.allclose(answers.sum(axis=1), 1, atol=1e-5)
        assert adds_up != task.objective.is_multi_label


def the_model_is_saved_and_copied(task, data, folder):
    """As a plain Keras file, and as an ensemble of itself."""
    inputs = first_batch(data)
    expected = task.model(inputs, training=False).numpy()
    task.model.save(folder / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(folder / "model.keras")(inputs, training=False), expected)
    weights = [variable.numpy() for variable in task.model.variables]
    twins = ensemble(task, [weights, weights])
    np.testing.assert_allclose(
        task.objective.probabilities(twins.model(inputs, training=False)),
        task.objective.probabilities(expected),
        atol=1e-6,
    )


def it_learns_and_goes_on_where_it_was(task_of, data, folder):
    """Head, then everything; a run that is resumed replays to the same weights; what is measured is plain data."""

    def run(resume):
        learn = tlkit.Learner(task_of(), data, directory=folder / "run", resume=resume)
        learn.freeze()
        frozen = learn.fit(8, 0.02, verbose=False)
        learn.unfreeze()
        learn.fit(2, [0.003, 0.01], verbose=False)
        return learn, frozen

    learn, frozen = run(resume=False)
    assert frozen["loss"][-1] < frozen["loss"][0]
    again, _ = run(resume=True)
    again.evaluate()
    for one, other in zip(learn.task.model.variables, again.task.model.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    metrics = learn.finish().evaluate()
    if learn.task.objective.classes is not None:
        assert set(metrics.per_class) == set(data.class_names)
    assert metrics.to_dict()["n"] == len(data.labels("val"))
    return learn


def the_export_answers_as_the_model(learn, folder, items):
    """Published after its checks; what it answers by name is what the model answers.

    Args:
        learn: a trained Learner.
        folder: for the export.
        items: what a client has: paths of photos, strings or rows; in the order of `learn.data.ordered("val")`.
    """
    task = learn.task
    version = learn.export(folder / "exported")
    manifest = Manifest.read(version)
    assert manifest.objective == task.objective.name
    assert manifest.labels == list(task.class_names)
    answers = task.objective.probabilities(learn.logits("val")).numpy()
    outputs = interface_of(task).outputs_or(task.class_names, task.objective.name)
    expected = records_of(items, named_arrays(answers, outputs), outputs, None)
    for found, own in zip(SavedModelPredictor(version).predict(items), expected, strict=True):
        assert found.keys() == own.keys()
        np.testing.assert_allclose(sorted(numbers_of(found)), sorted(numbers_of(own)), rtol=1e-4, atol=1e-5)
        if task.objective.classes is not None:
            assert found["classes"][0] == own["classes"][0]
    columns = AnswerColumns.of(manifest, target="sold" if manifest.interface.columns else None)
    assert set(columns.types()) == set(columns.names)
