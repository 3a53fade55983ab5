from __future__ import annotations

import numpy as np
import pytest

from tlkit.errors import DataError
from tlkit.tasks.text_classification.confident import most_confident_errors, most_confident_hits

NAMES = ("bad", "good")
TEXTS = ["one", "two", "three", "four", "five"]
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4], [0.3, 0.7]])


def test_the_surest_error_comes_first_and_ties_keep_their_order():
    errors = most_confident_errors(PROBABILITIES, [1, 1, 0, 1, 1], TEXTS, NAMES)
    assert [item.text for item in errors] == ["one", "three", "four"]
    assert [item.row for item in errors] == [0, 2, 3]
    first = errors[0]
    assert (first.true, first.predicted, first.target) == (("good",), ("bad",), 0)
    assert first.probability == first.confidence == 0.9
    assert not first.right


def test_the_surest_hits():
    hits = most_confident_hits(PROBABILITIES, [1, 1, 0, 1, 1], TEXTS, NAMES)
    assert [item.text for item in hits] == ["two", "five"]
    assert all(item.right and item.true == item.predicted for item in hits)


def test_many_ties_are_stable():
    best = np.random.default_rng(0).choice([0.625, 0.75, 0.875], 900)
    texts = [str(i) for i in range(900)]
    errors = most_confident_errors(np.stack([best, 1 - best], axis=1), np.ones(900, int), texts, NAMES, n=700)
    assert [item.row for item in errors] == sorted(range(900), key=lambda row: -best[row])[:700]


@pytest.mark.parametrize(("n", "count"), [(0, 0), (-3, 0), (2, 2), (99, 3)])
def test_no_more_than_asked_for(n, count):
    assert len(most_confident_errors(PROBABILITIES, [1, 1, 0, 1, 1], TEXTS, NAMES, n=n)) == count


def test_with_several_labels_the_surest_wrong_answer_counts():
    names = ("funny", "sad", "long")
    chances = np.array([[0.9, 0.2, 0.6], [0.3, 0.05, 0.1], [0.9, 0.8, 0.1], [0.45, 0.1, 0.1]])
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]])
    errors = most_confident_errors(chances, labels, TEXTS[:4], names)
    assert [item.text for item in errors] == ["two", "one"]
    missed, extra = errors
    assert (missed.target, missed.probability, missed.confidence) == (1, 0.05, 0.95)
    assert (missed.true, missed.predicted) == (("sad",), ())
    assert (extra.target, extra.probability, extra.confidence) == (2, 0.6, 0.6)
    assert extra.predicted == ("funny", "long")
    # Text four is right too, but has no label.
    hits = most_confident_hits(chances, labels, TEXTS[:4], names)
    assert [(item.text, item.target) for item in hits] == [("three", 0)]


def test_the_threshold_decides_what_is_predicted():
    chances, labels = np.array([[0.4, 0.9]]), np.array([[1, 1]])
    assert most_confident_errors(chances, labels, ["x"], NAMES)[0].target == 0
    assert most_confident_errors(chances, labels, ["x"], NAMES, threshold=0.3) == []
    assert most_confident_hits(chances, labels, ["x"], NAMES, threshold=0.3)[0].predicted == NAMES


def test_no_texts_no_errors():
    assert most_confident_errors(np.zeros((0, 2)), np.zeros(0, int), [], NAMES) == []
    assert most_confident_hits(np.zeros((0, 2)), np.zeros((0, 2)), [], NAMES) == []


@pytest.mark.parametrize(
    ("chances", "labels", "says"),
    [
        (PROBABILITIES[:4], [1, 1, 0, 1, 1], "do not match"),
        (PROBABILITIES, [1, 1, 0, 1], "do not match"),
        (PROBABILITIES, [1, 1, 0, 1, 2], "invalid class number.*0 to 1"),
        (PROBABILITIES, [1, 1, 0, 1, -1], "invalid class number"),
    ],
)
def test_what_does_not_fit_is_refused(chances, labels, says):
    with pytest.raises(DataError, match=says):
        most_confident_errors(chances, labels, TEXTS, NAMES)
