"""Class names: one for each spelling in Unicode, near ones said, numbers in a known order."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from photos import write_folder

import tlkit
from tlkit.errors import DataError
from tlkit.inputs.class_names import composed, log_near_names, near_names
from tlkit.inputs.image.preprocessing import ImagePreprocessing
from tlkit.inputs.image.reading import images_to_evaluate
from tlkit.inputs.row.targets import read_known_targets, read_targets
from tlkit.inputs.text.listing import list_table
from tlkit.targets.single_label import SingleLabel

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Grünfink") for form in ("NFC", "NFD"))


def place(rows):
    return f"row {rows[0] + 1}"


def test_folders_in_both_normal_forms_are_one_class(tmp_path):
    assert COMPOSED != DECOMPOSED
    write_folder(tmp_path / "train", {COMPOSED: 2, "Star": 2})
    write_folder(tmp_path / "val", {DECOMPOSED: 2, "Star": 1})
    data = tlkit.images_from_folder(tmp_path, size=32)
    assert data.class_names == [COMPOSED, "Star"]
    assert data.labels("val").tolist() == [0, 0, 1]
    assert any(DECOMPOSED in str(path) for path in data.paths("val"))  # paths stay as they are
    # A model that was trained on the other form knows the class.
    other = images_to_evaluate(tmp_path, ["Star", DECOMPOSED], preprocessing=ImagePreprocessing(size=32))
    assert sorted(other.labels("test").tolist()) == [0, 1, 1]
    assert other.class_names == ["Star", DECOMPOSED]


def test_texts_and_tables_compare_classes_in_one_form():
    names = [COMPOSED, DECOMPOSED, "Star", DECOMPOSED]
    listing = list_table(pd.DataFrame({"text": list("abcd"), "label": names}))
    assert listing.class_names == [COMPOSED, "Star"]
    marks = {name: [1, 0, 1] for name in (DECOMPOSED, "Star")}
    listing = list_table(pd.DataFrame({"text": list("abc"), **marks}), label_columns=[DECOMPOSED, "Star"])
    assert listing.class_names == [COMPOSED, "Star"]
    assert listing.labels[0] == {COMPOSED, "Star"}
    frame = pd.DataFrame({"y": pd.array(names, "str")})
    (values,) = read_targets(frame, ["y"], place)
    assert values.class_names == (COMPOSED, "Star")
    assert values.values.tolist() == [0, 0, 1, 0]
    known = SingleLabel("y", ("Star", DECOMPOSED))
    assert read_known_targets(frame, [known], place)[0].values.tolist() == [1, 1, 0, 1]
    with pytest.raises(DataError, match="row 3: target 'y' has a class that the model was not trained on.*'Star'"):
        read_known_targets(frame, [SingleLabel("y", (COMPOSED, "Amsel"))], place)


def test_names_that_differ_by_case_or_spaces_are_said_and_stay(caplog, tmp_path):
    assert near_names(["Red", "red", "red", "blue", "dark  red", "dark red "]) == [
        [("Red", 1), ("red", 2)],
        [("dark  red", 1), ("dark red ", 1)],
    ]
    log_near_names({"a": 3, "b": 4})
    assert not caplog.records
    (values,) = read_targets(pd.DataFrame({"y": pd.array(["Red", "red", "blue", "red"], "str")}), ["y"], place)
    assert values.class_names == ("Red", "blue", "red")
    (line,) = caplog.messages
    assert line == "class names that differ only by case or spaces are kept as separate classes: 'Red' (1), 'red' (2)"
    caplog.clear()
    write_folder(tmp_path, {"Red": 2, "red": 3})
    assert tlkit.images_from_folder(tmp_path, size=32).class_names == ["Red", "red"]
    assert any("'Red' (2), 'red' (3)" in message for message in caplog.messages)


def test_numbers_as_class_names_keep_their_numbers(tmp_path):
    names = [str(number) for number in range(11)]
    write_folder(tmp_path, dict.fromkeys(names, 2))
    data = tlkit.images_from_folder(tmp_path, size=32, batch_size=22)
    assert data.class_names == sorted(names)  # as text: 0, 1, 10, 2, ...
    for split in ("train", "val"):
        for path, number in zip(data.paths(split), data.labels(split), strict=True):
            assert data.class_names[number] == path.parent.name
    for column in (np.array([10.0, 2.0, 1.0, 2.0]), [10, 2, 1, 2], pd.array([10, 2, 1, 2], "Int64")):
        (values,) = read_targets(pd.DataFrame({"y": column}), ["y"], place)
        assert values.class_names == ("1", "2", "10")  # in their own order
        assert values.values.tolist() == [2, 1, 0, 1]
    listing = list_table(pd.DataFrame({"text": list("abcd"), "label": [10, 2, 1, 2.0]}))
    assert listing.class_names == ["1", "10", "2"]
    assert composed("10") == "10"
