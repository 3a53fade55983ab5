from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from photos import write_values
from tiny import tiny_value_task

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.inputs.image.target_data import images_to_measure, training_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 photos of a brightness, and a table of what can be predicted from them."""
    return write_values(tmp_path_factory.mktemp("values")).parent


def data_of(folder, targets, frame=None, **options):
    table = folder / "photos.csv" if frame is None else frame
    options = {"path_column": "file", "size": 32, "batch_size": 8, "val_fraction": 0.25, "root": folder} | options
    return tlkit.images_with_targets(table, targets, **options)


def test_values_are_read_with_their_unit_and_drawn_by_decile(folder):
    data = data_of(folder, ["price"])
    target = data.targets[0]
    assert (target.kind, target.unit, data.class_names) == ("regression", "€", ["price"])
    assert [len(data.labels(split)) for split in ("train", "val")] == [30, 10]
    table = pd.read_csv(folder / "photos.csv").set_index("file")["price"]
    for path, value in zip(data.paths("val"), data.labels("val")[:, 0], strict=True):
        assert table[path.name] == f"{value:.2f}".replace(".", ",") + " €"
    assert data.labels("val").max() > 130
    assert data.labels("val").min() < 110
    images, learned = next(iter(data.ordered("train")))
    assert images.shape == (8, 32, 32, 3)
    np.testing.assert_allclose(target.inverse(learned).numpy()[:, 0], data.labels("train")[:8, 0], rtol=1e-5)
    assert data.summary()["targets"]["price"]["unit"] == "€"
    assert json.dumps(data.summary())
    assert data.resized(16).labels("val").tolist() == data.labels("val").tolist()


def test_a_logarithm_needs_values_above_zero_in_validation_too(folder):
    frame = pd.read_csv(folder / "photos.csv").assign(part=["train", "val"] * 20)
    frame.loc[1, "brightness"] = 0.0
    with pytest.raises(DataError, match="above 0, in validation and test rows too"):
        data_of(folder, "brightness", frame, split_column="part", transform="log")


def test_groups_stay_on_one_side_and_a_split_column_decides(folder):
    data = data_of(folder, "brightness", group_column="site")
    sites = pd.read_csv(folder / "photos.csv").set_index("file")["site"]
    sides = [{sites[path.name] for path in data.paths(split)} for split in ("train", "val")]
    assert not sides[0] & sides[1]
    frame = pd.read_csv(folder / "photos.csv").assign(part=["test", "train", "val", "train"] * 10)
    data = data_of(folder, "brightness", frame, split_column="part")
    assert {name: len(split.labels) for name, split in data.splits.items()} == {"train": 20, "val": 10, "test": 10}


def test_several_targets_may_lack_labels_and_share_a_network(folder):
    frame = pd.read_csv(folder / "photos.csv")
    frame.loc[::5, "brightness"] = np.nan
    frame.loc[1::5, "half"] = None
    frame.loc[[10], ["brightness", "half"]] = [np.nan, None]
    data = data_of(folder, ["brightness", "half"], frame, loss_weights={"half": 0.5})
    assert data.dropped["missing_label"] == 1
    assert data.class_names == ["brightness", "half=dark", "half=light"]
    assert data.summary()["counts"]["train"]["half"]["classes"].keys() == {"dark", "light"}
    learn = tlkit.Learner(tiny_value_task(data.targets), data)
    history = learn.fit(12, 0.05, verbose=False)
    assert history["loss"][-1] < history["loss"][0]
    assert np.isfinite(history["val_loss"]).all()
    found = learn.evaluate()
    known = np.isfinite(data.labels("val")).sum(0)
    assert [found["brightness"].n, found["half"].n] == known.tolist()


def test_a_probe_and_measured_fine_tuning_work_for_values_and_risks(folder, caplog):
    data = data_of(folder, "brightness")
    learn = tlkit.Learner(tiny_value_task(data.targets), data)
    learn.fine_tune(1, policy="measure", finetune_lr=1e-4, verbose=False)
    assert learn.evaluate().r2 > 0.5
    data = data_of(folder, tlkit.SurvivalColumns("days", "died"))
    learn = tlkit.Learner(tiny_value_task(data.targets), data)
    found = learn.fit_probe(verbose=False)
    assert set(found) == {"loss", "val_loss", "fold_loss", "strength"}
    assert learn.evaluate("train").concordance > 0.6


def test_a_task_of_other_targets_is_refused(folder):
    data, other = data_of(folder, "brightness"), data_of(folder, "brightness", transform="log")
    with pytest.raises(ConfigError, match="task and data have different targets"):
        tlkit.Learner(tiny_value_task(other.targets), data)


def test_other_photos_are_measured_by_the_targets_of_the_model(folder):
    data = data_of(folder, ["brightness", "half"])
    options = {"preprocessing": data.preprocessing, "path_column": "file", "root": folder}
    frame = pd.read_csv(folder / "photos.csv").iloc[:7]
    other = images_to_measure(frame, data.targets, **options)
    assert list(other.splits) == ["test"]
    assert other.labels("test").shape == (7, 2)
    with pytest.raises(DataError, match="has a class that the model was not trained on"):
        images_to_measure(frame.assign(half="grey"), data.targets, **options)
    with pytest.raises(DataError, match="no column 'half'|half"):
        images_to_measure(frame.drop(columns="half"), data.targets, **options)


@pytest.mark.parametrize(
    ("change", "targets", "options", "error", "message"),
    [
        ({}, "size", {}, DataError, "size"),
        ({}, [], {}, ConfigError, "no target column given"),
        ({}, ["brightness", "brightness"], {}, ConfigError, "named twice"),
        ({"brightness": 3.0}, "brightness", {}, DataError, "constant|one value"),
        ({"brightness": None}, "brightness", {}, DataError, "has a label"),
        ({"file": "gone.png"}, "brightness", {}, DataError, "40 of 40 photos of the table do not exist"),
        ({"file": None}, "brightness", {}, DataError, "'file' is empty"),
        ({"part": "holdout"}, "brightness", {"split_column": "part"}, DataError, "unknown value in column 'part'"),
        (
            {},
            "half",
            {"target_kinds": {"half": "multi_label"}},
            ConfigError,
            "multi-label targets are not supported here",
        ),
        (
            {},
            "brightness",
            {"target_kinds": {"brigthness": "regression"}},
            ConfigError,
            "target_kinds names a column that is not a target",
        ),
        (
            {},
            tlkit.SurvivalColumns("days", "died"),
            {"loss_weights": {"risk": 2}},
            ConfigError,
            "target_kinds and loss_weights cannot be combined",
        ),
        ({"days": True}, tlkit.SurvivalColumns("days", "died"), {}, DataError, "true and false"),
        ({}, "brightness", {"transform": {"price": "log"}}, ConfigError, "names an unknown target"),
        ({}, ["brightness", "days"], {"y_range": [0, 1]}, ConfigError, "y_range is ambiguous with several targets"),
        ({"days": 0.0}, tlkit.SurvivalColumns("days", "died"), {}, DataError, "rows 2, 3 and 4 .*time 'days' is 0"),
        ({"days": -3.0}, tlkit.SurvivalColumns("days", "died"), {}, DataError, "time 'days' is negative"),
        ({"died": 2}, tlkit.SurvivalColumns("days", "died"), {}, DataError, "event column 'died' has no 0 or 1"),
        (
            {"died": "perhaps"},
            tlkit.SurvivalColumns("days", "died"),
            {},
            DataError,
            "event column 'died' has a value that means neither",
        ),
        ({"died": 0}, tlkit.SurvivalColumns("days", "died"), {}, DataError, "no training row has an event"),
        (
            {},
            tlkit.SurvivalColumns("days", "died"),
            {"mix": "mixup"},
            ConfigError,
            "mix cannot be combined with a survival target",
        ),
    ],
)
def test_what_cannot_be_used_is_named(folder, tmp_path, change, targets, options, error, message):
    frame = pd.read_csv(folder / "photos.csv").assign(**change)
    frame.to_csv(tmp_path / "changed.csv", index=False)
    with pytest.raises(error, match=message):
        data_of(folder, targets, tmp_path / "changed.csv", **options)


def test_the_table_of_a_training_can_be_measured(folder, tmp_path):
    written = {"words": ["True", "False"], "halves": ["0.5", "1.0"], "spaced": [" 1", " 2"], "ones": ["1.0", "2.0"]}
    flags = {name: values * 20 for name, values in written.items()}
    frame = pd.read_csv(folder / "photos.csv").assign(**flags)
    frame.to_csv(tmp_path / "f.csv", index=False)
    kinds = dict.fromkeys(flags, "single_label")
    data = data_of(folder, ["brightness", *flags], tmp_path / "f.csv", target_kinds=kinds)
    options = {"preprocessing": data.preprocessing, "path_column": "file", "root": folder}
    other = images_to_measure(tmp_path / "f.csv", data.targets, **options)
    assert len(other.labels("test")) == 40
    gone = images_to_measure(frame.assign(**dict.fromkeys(flags)), data.targets, **options)
    assert np.isnan(gone.labels("test")[:, 1:]).all()
    found = tlkit.Learner(tiny_value_task(data.targets), gone).evaluate("test")
    assert list(found.by_target) == ["brightness"]


def test_photos_of_the_training_are_named(folder):
    data = data_of(folder, "brightness")
    table = folder / "photos.csv"
    assert sorted(training_photos(table, "brightness", path_column="file", val_fraction=0.25)) == sorted(
        data.paths("train")
    )
