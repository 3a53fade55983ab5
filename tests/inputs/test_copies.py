"""Exact copies of images: on one side of a split, counted across splits, named where their labels differ."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pandas as pd
import pytest
from photos import encode, photo, write_folder

import tlkit
from tlkit.errors import ConfigError
from tlkit.inputs.image.copies import assign_splits, copies_of, copy_numbers, report, united
from tlkit.inputs.image.listing import list_folder, list_table
from tlkit.inputs.image.preprocessing import ImagePreprocessing
from tlkit.inputs.image.reading import images_to_evaluate


def copied(root, pairs):
    for source, target in pairs:
        shutil.copy(root / source, root / target)
    return root


def test_only_the_content_makes_a_copy(tmp_path, monkeypatch):
    names = {"a.jpg": b"one", "b.jpg": b"two", "c.png": b"one", "d.jpg": b"three", "e": b"", "f": b""}
    for name, content in names.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in names]
    assert copy_numbers(paths).tolist() == [0, 1, 0, 3, 4, 5]
    (tmp_path / "d.jpg").unlink()
    assert copy_numbers(paths, [3, 3, 3, 5, 0, 0]).tolist() == [0, 1, 0, 3, 4, 5]  # a size of its own is not read
    assert copies_of([tmp_path / "c.png", tmp_path / "b.jpg"], [tmp_path / "a.jpg"]) == {0: 0}


@pytest.mark.parametrize("seed", range(5))
def test_copies_stay_on_one_side_of_a_drawn_split(tmp_path, seed):
    write_folder(tmp_path, {"a": 12, "b": 12})
    copied(tmp_path, [(f"{c}/{n:02d}.jpg", f"{c}/copy{n}{k}.jpg") for c in "ab" for n in range(5) for k in range(2)])
    listing = list_folder(tmp_path)
    copies = copy_numbers(listing.paths, listing.sizes)
    assert len(set(copies.tolist())) == 24
    rows = assign_splits(listing, copies, 0.25, seed)
    assert not set(copies[rows["train"]]) & set(copies[rows["val"]])
    assert sum(len(own) for own in rows.values()) == 44
    found = report(listing, rows, copies)
    assert found.leaks == {"val": 0}
    assert found.disagreeing == 0


def test_a_split_without_copies_is_what_it_was(tmp_path):
    from tlkit.inputs.splits import train_val_split

    write_folder(tmp_path, {"a": 9, "b": 11})
    listing = list_folder(tmp_path)
    rows = assign_splits(listing, copy_numbers(listing.paths, listing.sizes), 0.3, 4)
    train, val = train_val_split(listing.labels, 0.3, 4)
    assert rows["train"].tolist() == train.tolist()
    assert rows["val"].tolist() == val.tolist()


def test_groups_that_share_a_copy_are_one_group(tmp_path):
    assert united(np.array(["a", "b", "c", "d"]), np.array([0, 1, 0, 3])).tolist() == [0, 1, 0, 3]
    write_folder(tmp_path, {"a": 8, "b": 8})
    copied(tmp_path, [("a/00.jpg", "a/07.jpg"), ("b/00.jpg", "b/07.jpg")])
    rows = [(str(path), path.parent.name, path.stem) for path in sorted(tmp_path.rglob("*.jpg"))]
    listing = list_table(pd.DataFrame(rows, columns=["path", "label", "site"]), group_column="site")
    copies = copy_numbers(listing.paths, listing.sizes)
    for seed in range(5):
        own = assign_splits(listing, copies, 0.4, seed)
        side = {row: name for name, part in own.items() for row in part.tolist()}
        groups: dict[str, set[str]] = {}
        for row, name in side.items():
            groups.setdefault(listing.groups[row], set()).add(name)
        assert all(len(names) == 1 for names in groups.values())
        assert not set(copies[own["train"]]) & set(copies[own["val"]])


def test_copies_across_given_folders_and_other_labels_are_named(tmp_path, caplog):
    write_folder(tmp_path / "train", {"a": 4, "b": 4})
    write_folder(tmp_path / "val", {"a": 2, "b": 2}, width=60)
    copied(
        tmp_path,
        [
            ("train/a/00.jpg", "val/a/same.jpg"),
            ("train/a/01.jpg", "train/a/twice.jpg"),
            ("train/a/02.jpg", "train/b/other.jpg"),
        ],
    )
    with caplog.at_level(logging.INFO, "tlkit"):
        data = tlkit.images_from_folder(tmp_path, size=32)
    first = f"{tmp_path / 'val/a/same.jpg'} = {tmp_path / 'train/a/00.jpg'}"
    assert f"1 of the val photos are also in the training set, for example {first}" in caplog.text
    assert "2 training photos are duplicates of other training photos" in caplog.text
    pair = f"{tmp_path / 'train/b/other.jpg'} (b) = {tmp_path / 'train/a/02.jpg'} (a)"
    assert f"1 photos occur with different labels: {pair}" in caplog.text
    found = data.summary()["found"]
    assert (found["leaks"], found["repeated_in_train"], found["disagreeing"]) == ({"val": 1}, 2, 1)
    caplog.clear()
    with caplog.at_level(logging.INFO, "tlkit"):
        data = tlkit.images_from_folder(tmp_path, size=32, on_duplicate="drop")
    assert "and were dropped there" in caplog.text
    names = {str(path.relative_to(tmp_path)) for path in data.paths("train")}
    assert len(names) == 10 - 3
    assert not names & {"train/a/00.jpg", "train/a/twice.jpg", "train/b/other.jpg"}
    assert data.summary()["entries"]["left_out"] == {"copies of other images": 3}
    with pytest.raises(ConfigError, match="unknown on_duplicate; received: 'keep'; allowed: report, drop"):
        tlkit.images_from_folder(tmp_path, size=32, on_duplicate="keep")


def test_one_path_listed_as_two_classes_stays_on_one_side_and_is_named(tmp_path, caplog):
    write_folder(tmp_path, {"a": 5, "b": 5})
    rows = [(str(path), path.parent.name) for path in sorted(tmp_path.rglob("*.jpg"))]
    table = pd.DataFrame([*rows, (rows[0][0], "b")], columns=["path", "label"])
    for seed in range(4):
        data = tlkit.images_from_table(table, size=32, seed=seed)
        sides = [name for name in ("train", "val") for path in data.paths(name) if str(path) == rows[0][0]]
        assert len(sides) == 2
        assert len(set(sides)) == 1
    assert f"1 photos occur with different labels: {rows[0][0]} (b) = {rows[0][0]} (a)" in caplog.text


def test_photos_to_evaluate_that_were_trained_on_are_named(tmp_path, caplog):
    write_folder(tmp_path / "trained", {"a": 3, "b": 3})
    write_folder(tmp_path / "new", {"a": 2, "b": 2}, width=64)
    shutil.copy(tmp_path / "trained/a/01.jpg", tmp_path / "new/a/again.jpg")
    trained = sorted((tmp_path / "trained").rglob("*.jpg"))
    options = {"preprocessing": ImagePreprocessing(size=32), "trained_on": trained}
    images_to_evaluate(tmp_path / "new", ["a", "b"], **options)
    pair = f"{tmp_path / 'new/a/again.jpg'} = {tmp_path / 'trained/a/01.jpg'}"
    assert f"1 of the 5 photos to evaluate are also in the training set, for example {pair}" in caplog.text
    caplog.clear()
    (tmp_path / "new/a/again.jpg").write_bytes(encode(photo(7), "JPEG"))
    images_to_evaluate(tmp_path / "new", ["a", "b"], **options)
    assert "training part" not in caplog.text
