"""What every kind of task must do, whatever it classifies: called by tests/test_contracts.py for each of them."""

from __future__ import annotations

import json
import shutil

import keras
import numpy as np
import pytest
from fake_serving import FakeGrpc, FakeRest, export_model

import tlkit
from tlkit.cli.main import run
from tlkit.config import load_config
from tlkit.errors import ConfigError
from tlkit.export.interface import interface_of
from tlkit.export.manifest import Manifest
from tlkit.export.predictor import SavedModelPredictor
from tlkit.export.records import named_arrays, records_of
from tlkit.inputs.items import Item
from tlkit.models.ensemble import ensemble
from tlkit.predicting.answer_columns import AnswerColumns, numbers_of
from tlkit.predicting.exported import Scorer
from tlkit.scaffold.new import new_project
from tlkit.serving.client import ServingClient
from tlkit.tasks.base import spec_of


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


def a_step_and_the_finder(learn):
    """One epoch changes what is trainable, and the finder changes nothing."""
    before = [variable.numpy() for variable in learn.task.model.trainable_variables]
    history = learn.fit(1, 0.01, verbose=False)
    assert np.isfinite(history["loss"]).all()
    after = [variable.numpy() for variable in learn.task.model.trainable_variables]
    assert any(not np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    weights = [variable.numpy() for variable in learn.task.model.variables]
    found = learn.find_lr(steps=12)
    assert len(found.losses) > 1
    for variable, value in zip(learn.task.model.variables, weights, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert json.dumps(learn.evaluate().to_dict())


def a_report_is_written_or_refused(learn, folder):
    """A page where the task has one; a clear error otherwise."""
    if spec_of(learn.task.kind).page:
        page = learn.report(folder / "report.html", title="Contract")
        assert "<title>Contract" in page.read_text(encoding="utf-8")
        return
    with pytest.raises(ConfigError, match="this type of task has no report"):
        learn.report(folder / "report.html")
    assert not (folder / "report.html").exists()


def the_export_answers_as_the_model(learn, version, items):
    """What an export answers by name is what the model answers.

    Args:
        learn: the Learner that it is an export of.
        version: the export.
        items: what a client has: paths of photos, strings or rows; in the order of `learn.data.ordered("val")`.
    """
    task = learn.task
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


def servers_answer_as_the_export(version, items, form):
    """Over REST and gRPC, a client gets what the export answers.

    Args:
        version: the export.
        items: what a client has.
        form: what is sent, `"files"`, `"texts"` or `"rows"`: which method of the client takes the items.
    """
    manifest = Manifest.read(version)
    expected = SavedModelPredictor(version).predict(items)
    model = export_model(version, manifest.model_name)
    for server in (FakeRest, FakeGrpc):
        with server(model) as running, ServingClient(running.url, manifest.model_name, manifest=manifest) as client:
            found = getattr(client, f"predict_{form}")(items)
        for one, own in zip(found, expected, strict=True):
            assert one.keys() == own.keys()
            assert numbers_of(one) == pytest.approx(numbers_of(own), rel=1e-6)
            assert one.get("classes") == own.get("classes")


def scoring_answers_as_the_export(version, items, form):
    """`tlkit score` writes the columns of what the export answers."""
    rows = form == "rows"
    asked = [
        Item(number, f"item {number}", None if rows else item, dict(item) if rows else {})
        for number, item in enumerate(items)
    ]
    columns = AnswerColumns.of(Manifest.read(version), target=None)
    expected = SavedModelPredictor(version).predict(items)
    scored = list(Scorer(version).score(asked))
    assert [one.reason for one in scored] == [""] * len(items)
    for one, record in zip(scored, expected, strict=True):
        assert list(one.answer) == columns.names == list(columns.types())
        if not rows:  # rows are answered by columns alone
            assert one.answer == columns.of_record(record)
        numbers = sorted(value for value in one.answer.values() if isinstance(value, float))
        assert numbers
        told = [value for value in numbers_of(record) if isinstance(value, float)]
        assert all(any(number == pytest.approx(value, abs=2e-6, rel=1e-5) for value in told) for number in numbers)


def a_project_has_the_commands(template, answers, version, words, folder, capfd, monkeypatch):
    """A baked project reads its config.toml, and predicts, verifies and deploys an export.

    Args:
        template, answers: of the project.
        version: an export of its task.
        words: what `tlkit predict` is given.
        folder: for the project.
    """
    project = new_project(template, folder / "made", answers)
    config = load_config(project / "config.toml")
    assert config.project.task == Manifest.read(version).kind
    assert type(config).model_validate(config.model_dump()).model_dump() == config.model_dump()
    shutil.copytree(version, config.export_dir / "1")
    monkeypatch.chdir(project)
    capfd.readouterr()
    assert run(["predict", *words, "--json"]) == 0
    answered = json.loads(capfd.readouterr().out)
    assert len(answered) > 1
    assert run(["verify", "--json"]) == 0
    checked = json.loads(capfd.readouterr().out)
    assert checked["ok"] is True
    assert all(check["ok"] for check in checked["checks"])
    assert run(["deploy"]) == 0
    assert "stable" in (project / "serving" / "models.config").read_text(encoding="utf-8")
    return answered
