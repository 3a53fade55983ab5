"""Copies of items of every input: numbered by digest, found within and between splits."""

from __future__ import annotations

import numpy as np

from tlkit.inputs.copies import find_copies, first_alike, without_copies


def test_items_are_numbered_by_the_first_one_alike():
    digests = ["a", "b", "a", None, "b", None]
    assert first_alike(digests).tolist() == [0, 1, 0, 3, 1, 5]
    hashes = np.array([7, 9, 7, 3, 9, 2**63 + 1], np.uint64)
    assert first_alike(hashes).tolist() == [0, 1, 0, 3, 1, 5]
    assert first_alike([]).tolist() == first_alike(np.zeros(0, np.uint64)).tolist() == []
    assert first_alike(digests).dtype == first_alike(hashes).dtype == np.int64


def test_copies_within_and_between_splits():
    numbers = first_alike(["a", "b", "a", "c", "b", "a"])
    rows = {"train": np.array([1, 2, 3, 5]), "val": np.array([0, 4])}
    found = find_copies(rows, numbers, ["x", "y", "x", "z", "other", "x"])
    assert found.repeated.tolist() == [5]
    assert {name: own.tolist() for name, own in found.leaked.items()} == {"val": [0, 4]}
    assert found.leaks == {"val": 2}
    assert found.disagreeing.tolist() == [4]
    said = found.examples(numbers, lambda kind, row, twin: f"{row} = {twin}")
    assert said == {"repeated_in_train": ["5 = 2"], "in_train_and_val": ["0 = 2", "4 = 1"], "disagreeing": ["4 = 1"]}
    kept = without_copies(rows, numbers)
    assert (kept["train"].tolist(), kept["val"].tolist()) == ([3], [0, 4])
    assert without_copies({"val": rows["val"]}, numbers)["val"].tolist() == [0, 4]
