"""Counts of the classes that were predicted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tlkit.predicting.summary import Summary


@pytest.mark.parametrize(
    ("kind", "class_names", "predicted", "counts"),
    [
        ("multi_label", ["a", "b"], ["a|b", "", "b"], {"a": 1, "b": 2}),
        ("single_label", ["a|b", "c", "a"], ["a|b", "c", "c"], {"a|b": 1, "c": 2, "a": 0}),
    ],
)
def test_joined_labels_are_counted_each_and_a_class_by_its_whole_name(kind, class_names, predicted, counts):
    summary = Summary()
    output = SimpleNamespace(target="t", value=False, class_names=class_names, kind=kind)
    summary.add([{"predicted_t": value} for value in predicted], [output])
    assert summary.to_dict() == {"t": counts}
