"""Photos of a table with several labels each: read, split, batched, measured."""

import json

import numpy as np
import pandas as pd
import pytest
from photos import write_folder, write_tagged
from tiny import tiny_task

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.inputs.image.listing import list_table
from tlkit.inputs.image.reading import images_to_evaluate

TAGS = ("red", "green", "blue")
SEPARATED = {"label_separator": ";"}
IN_COLUMNS = {"label_columns": TAGS}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("tagged") / "photos"


@pytest.fixture(scope="module")
def table(root):
    frame = write_tagged(root, TAGS, 32)
    for name in TAGS:
        frame[name] = [str(int(name in label.split(";"))) for label in frame["label"]]
    frame["list"] = [[name for name in label.split(";") if name] for label in frame["label"]]
    return frame


def read(table, root, **options):
    return tlkit.images_from_table(table, root=root, size=32, batch_size=8, val_fraction=0.25, **options)


def test_a_separator_columns_and_lists_say_the_same(table, root):
    separated = list_table(table, root=root, label_separator=";")
    assert separated.multi_label
    assert separated.labels[0] == frozenset()
    assert separated.labels[5] == frozenset(("red", "blue"))
    assert separated.class_names == ["blue", "green", "red"]
    in_columns = list_table(table, root=root, label_columns=TAGS)
    assert in_columns.labels == separated.labels
    assert in_columns.class_names == list(TAGS)
    assert list_table(table, root=root, label_column="list").labels == separated.labels
    nothing = table.assign(list=[None, *table["list"][1:]])
    assert list_table(nothing, root=root, label_column="list").labels == separated.labels
    spaced = table.assign(label=[label.replace(";", " ; ") for label in table["label"]])
    assert list_table(spaced, root=root, label_separator=";").labels == separated.labels


def test_a_csv_may_leave_the_labels_empty(table, root):
    file = root / "tags.csv"
    table.drop(columns="list").to_csv(file, index=False)
    assert list_table(file, label_separator=";").labels == list_table(table, root=root, label_separator=";").labels
    with pytest.raises(DataError, match="column 'label' is empty in 4 rows"):
        list_table(file)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t.assign(red=["1"] * 31 + ["yes"]), IN_COLUMNS, "data row 32 has no 0 or 1 in column 'red'"),
        (lambda t: t.assign(red="0"), IN_COLUMNS, "no photo has this label; received: 'red'"),
        (lambda t: t.assign(label="red"), SEPARATED, "at least two classes"),
        (lambda t: t, {"label_columns": ("red", "pink")}, "no column 'pink'"),
        (lambda t: t.assign(list=[*t["list"][:-1], "red"]), {"label_column": "list"}, "other rows have lists"),
    ],
)
def test_labels_that_cannot_be_read_are_named(table, root, change, options, message):
    with pytest.raises(DataError, match=message):
        list_table(change(table), root=root, **options)


@pytest.mark.parametrize(
    "options",
    [
        SEPARATED | IN_COLUMNS,
        {"label_separator": 3},
        {"label_columns": "red"},
        {"label_columns": ["red"]},
        {"label_columns": ["red", "blue", "red"]},
        {"label_columns": ["e\u0301", "\u00e9"]},
        {"label_columns": [1, 2]},
    ],
)
def test_arguments_that_cannot_be_used_are_named(table, root, options):
    with pytest.raises(ConfigError, match="label_(columns|separator)"):
        list_table(table, root=root, **options)


@pytest.mark.parametrize("cache", ["memory", "off"])
def test_batches_hold_the_labels_of_the_table(table, root, cache):
    data = read(table, root, cache=cache, **IN_COLUMNS)
    assert data.multi_label
    expected = {row.path: [float(getattr(row, name)) for name in TAGS] for row in table.itertuples()}
    for split in ("train", "val"):
        labels = np.concatenate([batch[1] for batch in data.ordered(split)])
        np.testing.assert_array_equal(labels, [expected[path.name] for path in data.paths(split)])
        np.testing.assert_array_equal(labels, data.labels(split))
    one_epoch = np.concatenate([batch[1] for batch in data.epoch(0)])
    np.testing.assert_array_equal(one_epoch.sum(0), data.labels("train").sum(0))
    assert data.summary()["counts"]["val"] == dict(zip(TAGS, data.labels("val").sum(0).astype(int), strict=True))


def test_each_label_is_split_in_proportion_and_copies_stay_together(table, root):
    data = read(table, root, **SEPARATED)
    assert data.labels("val").mean(0) == pytest.approx(data.labels("train").mean(0), abs=0.2)
    doubled = pd.concat([table, table]).reset_index(drop=True)
    copied = read(doubled, root, **SEPARATED)
    assert not {path.name for path in copied.paths("train")} & {path.name for path in copied.paths("val")}


def test_other_labels_are_another_data_set(table, root):
    changed = table.assign(label=["red", *table["label"][1:]])
    assert read(table, root, **SEPARATED).fingerprint() != read(changed, root, **SEPARATED).fingerprint()


@pytest.mark.parametrize("balance", [{"class_weight": "balanced"}, {"sampling": "balanced"}])
def test_several_labels_cannot_be_balanced(table, root, balance):
    with pytest.raises(ConfigError, match="only for single-label data"):
        read(table, root, **SEPARATED, **balance)


@pytest.mark.slow
def test_a_probe_is_fitted_and_measured_label_by_label(table, root):
    learn = tlkit.Learner(tiny_task(TAGS, multi_label=True), read(table, root, **IN_COLUMNS))
    learn.fit_probe(verbose=False)
    metrics = learn.evaluate()
    assert metrics.mean_average_precision > 0.9
    assert set(metrics.per_class) == set(TAGS)


def test_one_class_and_several_labels_are_not_mixed_up(table, root):
    with pytest.raises(ConfigError, match="multi_label"):
        tlkit.Learner(tiny_task(TAGS), read(table, root, **IN_COLUMNS))


def test_a_model_is_measured_on_labels_that_it_knows(table, root):
    task = tiny_task(TAGS, multi_label=True)
    some = root / "some.csv"
    table[:8].to_csv(some, index=False)
    known = {"preprocessing": task.preprocessing, "multi_label": True}
    data = images_to_evaluate(some, task.class_names, **known, **SEPARATED)
    assert data.labels("test").shape == (8, 3)
    with pytest.raises(DataError, match="a class that the model was not trained on; received: 'green'"):
        images_to_evaluate(some, ["red", "blue"], **known, **SEPARATED)
    with pytest.raises(DataError, match="the model predicts several labels for a photo, but the data has one class"):
        images_to_evaluate(write_folder(root / "folder", {"red": 2, "blue": 2}), TAGS, **known)


def test_what_is_measured_may_have_fewer_labels_or_none(table, root):
    known = {"preprocessing": tiny_task(TAGS).preprocessing, "multi_label": True}
    none = root / "none.csv"
    table[:1].to_csv(none, index=False)
    assert images_to_evaluate(none, TAGS, **known, **SEPARATED).labels("test").tolist() == [[0, 0, 0]]
    gaps = root / "gaps.csv"
    table[:4].assign(**{name: ["0", "", "1", "0"] for name in TAGS[:2]}, blue=["0", "", "0", "0"]).to_csv(gaps)
    data = images_to_evaluate(gaps, TAGS, **known, **IN_COLUMNS)
    assert data.labels("test").tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert data.dropped == {"missing_label": 1}


def test_thresholds_are_chosen_kept_and_exported(table, root, tmp_path, monkeypatch):
    from tlkit.export.interface import interface_of
    from tlkit.predicting.answer_columns import AnswerColumns
    from tlkit.report import multi_label

    learn = tlkit.Learner(tiny_task(TAGS, multi_label=True), read(table, root, **IN_COLUMNS), directory=tmp_path)
    learn.fit(1, 1e-3, verbose=False)
    assert interface_of(learn.task).outputs == ()
    monkeypatch.setattr(multi_label, "best_thresholds", lambda *_: [0.3, 0.5, 0.001])
    learn.finish(thresholds="f1")
    assert learn.evaluate().threshold == (0.3, 0.5, 0.001)
    assert learn.evaluate().per_class["blue"]["recall"] == 1.0  # each probability is above 0.001
    assert json.loads((tmp_path / "run.json").read_text())["thresholds"] == {"red": 0.3, "green": 0.5, "blue": 0.001}
    (output,) = interface_of(learn.task).outputs
    assert output.limits == (0.3, 0.5, 0.001)
    answer = {"classes": ["green", "red", "blue"], "scores": [0.45, 0.31, 0.2]}
    columns = AnswerColumns(interface_of(learn.task).outputs, separator=";")
    assert columns.of_record(answer)["predicted"] == "red;blue"
    learn.finish()
    assert json.loads((tmp_path / "run.json").read_text())["thresholds"] == {}


def test_thresholds_are_for_several_labels(table, root, tmp_path):
    write_folder(tmp_path / "one", {"a": 4, "b": 4})
    data = tlkit.images_from_folder(tmp_path / "one", size=32, batch_size=4)
    learn = tlkit.Learner(tiny_task(("a", "b")), data, directory=tmp_path / "run")
    with pytest.raises(ConfigError, match="thresholds are for several labels an item"):
        learn.finish(thresholds="f1")
    with pytest.raises(ConfigError, match="thresholds are for other labels"):
        tiny_task(TAGS, multi_label=True).objective.set_thresholds({"red": 0.5})
