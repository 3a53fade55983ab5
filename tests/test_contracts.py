"""Every kind of task passes the same contract; see tests/contracts.py."""

from __future__ import annotations

from typing import ClassVar

import contracts
import numpy as np
import pandas as pd
import pytest
from photos import write_folder, write_tagged, write_values
from tiny import tiny_task, tiny_value_task
from tiny_table import FEATURES, tiny_frame, tiny_preprocessing, tiny_table_task, tiny_targets
from tiny_text import tiny_text_task

import tlkit
from tlkit.targets.base import TARGETS
from tlkit.tasks.base import TASKS

COLOURS = ("blue", "green", "red")
OPINIONS = {"bad": "a dull and boring plot number", "good": "a great film i loved it number"}
TOPICS = ("acting", "film", "plot")


class Photos:
    """Photos of one class each.

    Attributes:
        name: the task, a key of `TASKS`.
        targets: the kinds of what it predicts.
        template, answers: a project of it.
        form: what a client sends; see contracts.py.
    """

    name = "image_classification"
    targets = ("single_label",)
    template, answers = "image-classification", {"data_path": "../photos", "weights": "none"}
    form = "files"

    def task(self):
        return tiny_task(COLOURS)

    def data(self, folder):
        photos = write_folder(folder / "photos", dict.fromkeys(COLOURS, 10))
        return tlkit.images_from_folder(photos, size=32, batch_size=8, val_fraction=0.3, augment="side_on")

    def items(self, data):
        return data.paths("val")

    def words(self, items, folder):
        return [str(item) for item in items]


class Tags(Photos):
    """Photos with any number of labels each."""

    targets = ("multi_label",)

    def task(self):
        task = tiny_task(COLOURS, multi_label=True)
        kernel = task.head.get_layer("logits").kernel
        kernel.assign(kernel / 10)  # its dropout would hide what eight epochs gain
        return task

    def data(self, folder):
        table = write_tagged(folder / "photos", COLOURS, 48)
        options = {"size": 32, "batch_size": 8, "val_fraction": 0.3}
        return tlkit.images_from_table(table, root=folder / "photos", label_separator=";", **options)


class Values(Photos):
    """Photos with a value and a class each."""

    name = "image_regression"
    targets = ("regression", "single_label")
    template, answers = "image-regression", {"data_path": "../photos/photos.csv", "target": "brightness"}
    columns = ("brightness", "half")

    def task(self):
        return tiny_value_task(self.data_of_training.targets)

    def data(self, folder):
        table = write_values(folder / "photos")
        options = {"path_column": "file", "size": 32, "batch_size": 8, "val_fraction": 0.3}
        self.data_of_training = tlkit.images_with_targets(table, self.columns, **options)
        return self.data_of_training


class Risks(Values):
    """Photos with a time that may be censored."""

    targets = ("survival",)
    columns = tlkit.SurvivalColumns("days", "died")


class Texts:
    """Texts of one class each."""

    name = "text_classification"
    targets = ("single_label",)
    template, answers = "text-sentiment", {"data_path": "../reviews.csv"}
    form = "texts"

    def task(self):
        return tiny_text_task(tuple(OPINIONS))

    def data(self, folder):
        rows = [
            {"text": f"{words} {number}", "label": name} for name, words in OPINIONS.items() for number in range(16)
        ]
        return self.table(pd.DataFrame(rows))

    def table(self, frame, **options):
        preprocessing = self.task().preprocessing
        return tlkit.texts_from_table(frame, preprocessing=preprocessing, batch_size=8, val_fraction=0.3, **options)

    def items(self, data):
        return data.texts("val")

    def words(self, items, folder):
        return items


class Topics(Texts):
    """Texts with any number of labels each."""

    targets = ("multi_label",)

    def task(self):
        return tiny_text_task(TOPICS, multi_label=True)

    def data(self, folder):
        chosen = [[name for place, name in enumerate(TOPICS) if number >> place & 1] for number in range(32)]
        rows = [
            {"text": f"the {' and the '.join(names) or 'movie'} {number}", "label": "|".join(names)}
            for number, names in enumerate(chosen)
        ]
        return self.table(pd.DataFrame(rows), label_separator="|")


class Rows:
    """Rows of a table, of one class each."""

    name = "tabular"
    kind, columns = "single_label", "sold"
    targets = ("single_label",)
    template, answers = "tabular-embeddings", {"data_path": "../rows.csv", "target": "sold"}
    form = "rows"

    def task(self):
        return tiny_table_task(self.kind)

    def data(self, folder):
        names = [self.columns] if isinstance(self.columns, str) else self.columns
        frame = tiny_frame(48)[[*FEATURES, *names]]
        known = {"preprocessing": tiny_preprocessing(), "target_specs": tiny_targets(self.kind)}
        return tlkit.table_from_file(frame, self.columns, batch_size=8, val_fraction=0.3, **known)

    def items(self, data):
        return data.frame("val").to_dict("records")

    def words(self, items, folder):
        pd.DataFrame(items).to_csv(folder / "asked.csv", index=False)
        return [str(folder / "asked.csv")]


class Houses(Rows):
    """Rows of a table, of two values and a class each."""

    kind, columns = "several", ["rent in €", "sold", "price"]
    targets = ("regression", "single_label")


class Ratings(Rows):
    """Ratings of items by users."""

    name = "recommender"
    targets = ("regression",)
    template, answers = "recommender", {"data_path": "../ratings.csv", "user": "who", "item": "what"}
    sides: ClassVar = {"user": "who", "item": "what"}

    def task(self):
        data = self.data_of_training
        sizes = {"factors": 3, "members": 2, "entries": tlkit.catalogue_entries(data, **self.sides)}
        task = tlkit.recommender_model(data.preprocessing, data.targets, **self.sides, **sizes)
        tlkit.fill_catalogue(task, data)
        for number, name in enumerate(("users", "items")):  # vectors near zero would teach the head nothing
            table = task.features.get_layer(name).tables[0]
            table.assign(np.random.default_rng(number).normal(0, 0.7, table.shape))
        return task

    def data(self, folder):
        rng = np.random.default_rng(0)
        rows = pd.DataFrame({"who": rng.integers(0, 8, 90), "what": rng.integers(0, 9, 90)}).drop_duplicates()
        rows = rows.assign(rating=1.0 + (rows["who"] + rows["what"]) % 5)
        rows = rows.assign(who=[f"u{n}" for n in rows["who"]], what=[f"i{n}" for n in rows["what"]])
        self.data_of_training = tlkit.ratings_from_file(rows, **self.sides, rating="rating", batch_size=8)
        return self.data_of_training


SAMPLES = (Photos, Values, Texts, Rows, Ratings, Tags, Risks, Topics, Houses)
DEFAULT = SAMPLES[:5]  # one of each task; what the others have of their own is tested with their targets


def test_every_task_and_every_target_has_a_sample():
    assert {sample.name for sample in SAMPLES} == set(TASKS)
    assert {sample.name for sample in DEFAULT} == set(TASKS)
    assert {target for sample in SAMPLES for target in sample.targets} == set(TARGETS)


@pytest.fixture(
    scope="module",
    params=[sample if sample in DEFAULT else pytest.param(sample, marks=pytest.mark.slow) for sample in SAMPLES],
    ids=lambda sample: sample.__name__.lower(),
)
def kind(request):
    return request.param()


@pytest.fixture(scope="module")
def data(kind, tmp_path_factory):
    return kind.data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def learn(kind, data):
    """A Learner that is trained no further once `version` is made."""
    return tlkit.Learner(kind.task(), data)


@pytest.fixture(scope="module")
def version(learn, tmp_path_factory):
    """Its export, which passed every check."""
    return learn.export(tmp_path_factory.mktemp("exports") / "exported")


@pytest.fixture(scope="module")
def items(kind, data):
    return list(kind.items(data))


def test_parts(kind, data):
    contracts.parts_fit_together(kind.task(), data)


def test_answers(kind, data):
    task = kind.task()
    contracts.answers_do_not_depend_on_the_batch(task, data)
    contracts.answers_are_those_of_the_objective(task, data)


def test_files(kind, data, tmp_path):
    contracts.the_model_is_saved_and_copied(kind.task(), data, tmp_path)


def test_learning(kind, data, tmp_path):
    contracts.it_learns_and_goes_on_where_it_was(kind.task, data, tmp_path)


def test_steps(learn):
    contracts.a_step_and_the_finder(learn)


def test_report(learn, tmp_path):
    contracts.a_report_is_written_or_refused(learn, tmp_path)


def test_export(learn, version, items):
    contracts.the_export_answers_as_the_model(learn, version, items)


def test_servers(kind, version, items):
    contracts.servers_answer_as_the_export(version, items, kind.form)


def test_scoring(kind, version, items):
    contracts.scoring_answers_as_the_export(version, items, kind.form)


def test_project(kind, version, items, tmp_path, capfd, monkeypatch):
    words = kind.words(items, tmp_path)
    answered = contracts.a_project_has_the_commands(
        kind.template, kind.answers, version, words, tmp_path, capfd, monkeypatch
    )
    assert len(answered) == len(items)
