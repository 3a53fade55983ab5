"""Every kind of task passes the same contract; see tests/contracts.py."""

from __future__ import annotations

import contracts
import pandas as pd
import pytest
from photos import write_folder, write_tagged, write_values
from tiny import tiny_task, tiny_value_task
from tiny_table import FEATURES, tiny_frame, tiny_preprocessing, tiny_table_task, tiny_targets
from tiny_text import tiny_text_task

import tlkit

COLOURS = ("blue", "green", "red")
OPINIONS = {"bad": "a dull and boring plot number", "good": "a great film i loved it number"}
TOPICS = ("acting", "film", "plot")


class Photos:
    """Photos of one class each."""

    def task(self):
        return tiny_task(COLOURS)

    def data(self, folder):
        photos = write_folder(folder / "photos", dict.fromkeys(COLOURS, 10))
        return tlkit.images_from_folder(photos, size=32, batch_size=8, val_fraction=0.3, augment="side_on")

    def items(self, data):
        return data.paths("val")


class Tags(Photos):
    """Photos with any number of labels each."""

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

    targets = ("brightness", "half")

    def task(self):
        return tiny_value_task(self.data_of_training.targets)

    def data(self, folder):
        table = write_values(folder / "photos")
        options = {"path_column": "file", "size": 32, "batch_size": 8, "val_fraction": 0.3}
        self.data_of_training = tlkit.images_with_targets(table, self.targets, **options)
        return self.data_of_training


class Risks(Values):
    """Photos with a time that may be censored."""

    targets = tlkit.SurvivalColumns("days", "died")


class Texts:
    """Texts of one class each."""

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


class Topics(Texts):
    """Texts with any number of labels each."""

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

    def task(self):
        return tiny_table_task("single_label")

    def data(self, folder):
        frame = tiny_frame(48)[[*FEATURES, "sold"]]
        known = {"preprocessing": tiny_preprocessing(), "target_specs": tiny_targets("single_label")}
        return tlkit.table_from_file(frame, "sold", batch_size=8, val_fraction=0.3, **known)

    def items(self, data):
        return data.frame("val").to_dict("records")


@pytest.fixture(
    scope="module",
    params=[
        Photos,
        pytest.param(Tags, marks=pytest.mark.real),
        pytest.param(Values, marks=pytest.mark.real),
        pytest.param(Risks, marks=pytest.mark.real),
        Texts,
        pytest.param(Topics, marks=pytest.mark.real),
        Rows,
    ],
    ids=lambda kind: kind.__name__.lower(),
)
def kind(request):
    return request.param()


@pytest.fixture(scope="module")
def data(kind, tmp_path_factory):
    return kind.data(tmp_path_factory.mktemp("data"))


def test_parts(kind, data):
    contracts.parts_fit_together(kind.task(), data)


def test_answers(kind, data):
    contracts.answers_do_not_depend_on_the_batch(kind.task(), data)
    contracts.answers_are_those_of_the_objective(kind.task(), data)


def test_files(kind, data, tmp_path):
    contracts.the_model_is_saved_and_copied(kind.task(), data, tmp_path)


def test_learning(kind, data, tmp_path):
    contracts.it_learns_and_goes_on_where_it_was(kind.task, data, tmp_path)


def test_export(kind, data, tmp_path):
    learn = tlkit.Learner(kind.task(), data)
    contracts.the_export_answers_as_the_model(learn, tmp_path, kind.items(data))
