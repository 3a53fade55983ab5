"""Options of the functions that read data: objects and flat keywords are the same, and are not mixed."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from photos import write_tagged, write_values

import tlkit
from tlkit.errors import ConfigError
from tlkit.inputs.image.options import ImageOptions, ImageReadOptions, ImageSplitOptions, LabelOptions
from tlkit.inputs.options import FileOptions, NumberOptions, TargetOptions, fields_of
from tlkit.inputs.row.options import ColumnOptions, ReadOptions
from tlkit.inputs.row.splits import SplitOptions

# The flat keywords of release 0.1.0 and of what came since; none may go.
TABLE_KEYWORDS = [
    "allow", "cyclic", "date_formats", "decimal", "encoding", "event_group", "events", "exclude", "features", "formats",
    "group_column", "hash_buckets", "join", "kinds", "loss_weights", "min_count", "missing", "scaling", "select",
    "separator", "split_column", "target_kinds", "test_fraction", "test_from", "thousands", "time_column", "transform",
    "unreadable", "val_fraction", "val_from", "where", "y_range",
]  # fmt: skip
IMAGE_KEYWORDS = [
    "augment", "cache", "damaged", "max_pixels", "max_zoom", "mix", "on_duplicate", "on_error", "resize", "size",
]  # fmt: skip
LIST_KEYWORDS = [
    "encoding",
    "exclude",
    "group_column",
    "path_column",
    "root",
    "separator",
    "split_column",
    "val_fraction",
]

IMAGE_GROUPS = (ImageReadOptions, LabelOptions, ImageOptions, ImageSplitOptions)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    number = np.arange(60)
    frame = pd.DataFrame({
        "area": number * 37 % 101 / 4, "town": np.array(["Bonn", "Ulm", "-"])[number % 3], "who": number // 3,
        "price": number * 53 % 97 * 2.5 + number % 7 + 1,
    })  # fmt: skip
    path = tmp_path_factory.mktemp("options") / "houses.csv"
    frame.to_csv(path, index=False, sep=";")
    return path


def test_each_flat_keyword_belongs_to_one_group():
    groups = (ReadOptions, ColumnOptions, TargetOptions, SplitOptions)
    names = [name for own in groups for name in fields_of(own)]
    assert sorted(names) == TABLE_KEYWORDS
    assert sorted(fields_of(ImageOptions)) == IMAGE_KEYWORDS
    assert sorted([*fields_of(ImageReadOptions), *fields_of(ImageSplitOptions)]) == LIST_KEYWORDS
    assert sorted(fields_of(LabelOptions)) == ["label_column", "label_columns", "label_separator"]
    for own in (FileOptions, NumberOptions, *groups, *IMAGE_GROUPS):
        assert "Args:" in str(own.__doc__)
        assert own.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_objects_and_flat_keywords_give_the_same_data(file: Path):
    flat = tlkit.table_from_file(
        file, "price", separator=";", missing=["-"], scaling="standard", kinds={"town": "categorical"},
        transform="log", group_column="who", val_fraction=0.3, seed=4,
    )  # fmt: skip
    grouped = tlkit.table_from_file(
        file,
        "price",
        read=tlkit.ReadOptions(separator=";", missing=["-"]),
        columns=tlkit.ColumnOptions(scaling="standard", kinds={"town": "categorical"}),
        target=tlkit.TargetOptions(transform="log"),
        split=tlkit.SplitOptions(group_column="who", val_fraction=0.3),
        seed=4,
    )
    assert flat.summary() == grouped.summary()
    for split in ("train", "val"):
        np.testing.assert_array_equal(flat.encoded(split), grouped.encoded(split))
        np.testing.assert_array_equal(flat.learned(split), grouped.learned(split))
    mixed = tlkit.table_from_file(file, "price", read=tlkit.ReadOptions(separator=";"), scaling="robust")
    assert len(mixed.labels("train")) == 48


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"seperator": ";"}, TypeError, "table_from_file has no argument 'seperator'; did you mean 'separator'"),
        ({"seperator": ";"}, ConfigError, "has no argument 'seperator'"),
        ({"batchsize": 3}, TypeError, "has no argument 'batchsize'; did you mean 'batch_size'"),
        ({"zzzzzz": 3}, TypeError, "has no argument 'zzzzzz'; arguments: decimal, thousands, missing"),
        ({"time_form": "%d"}, TypeError, "has no argument 'time_form'"),
        (
            {"read": ReadOptions(), "separator": ";"},
            ConfigError,
            r"read and separator cannot both be given.*pass read=ReadOptions\(separator=",
        ),
        ({"split": SplitOptions(), "val_fraction": 0.5}, ConfigError, "split and val_fraction cannot both be given"),
        ({"read": {"separator": ";"}}, ConfigError, "read is invalid; .*allowed: a ReadOptions"),
        ({"columns": TargetOptions()}, ConfigError, "columns is invalid; .*allowed: a ColumnOptions"),
    ],
)
def test_arguments_that_cannot_be_used(file: Path, options: dict, error: type[Exception], said: str):
    with pytest.raises(error, match=said):
        tlkit.table_from_file(file, "price", **options)


def test_signatures_show_the_flat_keywords_and_messages_name_the_others():
    from tlkit.inputs.row import reading

    parameters = inspect.signature(tlkit.table_from_file).parameters
    own = [name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY]
    assert sorted(own) == sorted([*reading._OTHERS, "read", "columns", "target", "split", *TABLE_KEYWORDS])
    assert (parameters["val_fraction"].default, parameters["scaling"].default) == (0.2, "quantile")
    assert {*IMAGE_KEYWORDS, *LIST_KEYWORDS} <= {*inspect.signature(tlkit.images_from_table).parameters}


def test_options_can_be_changed_with_replace():
    options = dataclasses.replace(tlkit.SplitOptions(val_fraction=0.1), test_fraction=0.2)
    assert (options.val_fraction, options.test_fraction) == (0.1, 0.2)


def test_images_are_read_with_objects_as_with_flat_keywords(tmp_path: Path):
    table = write_tagged(tmp_path / "tagged", ["red", "green"], 16).rename(columns={"path": "file"})
    own = {"path_column": "file", "root": tmp_path / "tagged"}
    flat = tlkit.images_from_table(table, **own, label_separator=";", size=32, resize="squash", val_fraction=0.25)
    grouped = tlkit.images_from_table(
        table,
        read=tlkit.ImageReadOptions(**own),
        labels=tlkit.LabelOptions(label_separator=";"),
        images=tlkit.ImageOptions(size=32, resize="squash"),
        split=tlkit.ImageSplitOptions(val_fraction=0.25),
    )
    assert flat.summary() == grouped.summary()
    assert flat.paths("val") == grouped.paths("val")
    with pytest.raises(ConfigError, match="images and size cannot both be given"):
        tlkit.images_from_table(table, images=tlkit.ImageOptions(), size=32)
    with pytest.raises(TypeError, match="images_from_table has no argument 'decimal'"):
        tlkit.images_from_table(table, decimal=",")
    with pytest.raises(TypeError, match="images_from_folder has no argument 'augmentt'; did you mean 'augment'"):
        tlkit.images_from_folder(tmp_path, augmentt="none")
    with pytest.raises(TypeError, match="images_from_folder has no argument 'group_column'"):
        tlkit.images_from_folder(tmp_path, group_column="a")


def test_values_of_images_are_read_with_objects_as_with_flat_keywords(tmp_path: Path):
    file = write_values(tmp_path, 24)
    marks = {"formats": {"price": {"decimal": ",", "unit": "€"}}}
    flat = tlkit.images_with_targets(
        file, "price", path_column="file", **marks, transform="log", size=32, group_column="site", seed=2
    )
    grouped = tlkit.images_with_targets(
        file,
        "price",
        read=tlkit.ImageReadOptions(path_column="file"),
        numbers=tlkit.NumberOptions(**marks),
        target=tlkit.TargetOptions(transform="log"),
        images=tlkit.ImageOptions(size=32),
        split=tlkit.ImageSplitOptions(group_column="site"),
        seed=2,
    )
    assert flat.summary() == grouped.summary()
    assert flat.targets == grouped.targets
    with pytest.raises(ConfigError, match="numbers and decimal cannot both be given"):
        tlkit.images_with_targets(file, "price", numbers=tlkit.NumberOptions(), decimal=",")
    with pytest.raises(TypeError, match="images_with_targets has no argument 'class_weight'"):
        tlkit.images_with_targets(file, "price", class_weight="balanced")
