"""What is wrong with one item does not cost its neighbours their predictions."""

from __future__ import annotations

import pytest

from tlkit.errors import DataError, ExportError, ServerError
from tlkit.predicting.each import Refusal, predict_each, refusal


def odd(asked: list[int], error: Exception):
    """Double numbers; a batch with an odd one fails."""

    def predict(items):
        asked.append(len(items))
        if any(item % 2 for item in items):
            raise error
        return [2 * item for item in items]

    return predict


@pytest.mark.parametrize("error", [DataError("no odd ones"), ServerError("no odd ones", code="INVALID_ARGUMENT")])
def test_only_the_refused_items_have_no_prediction(error: Exception):
    items = [0] * 1000
    items[17] = items[900] = 1
    asked: list[int] = []
    found = predict_each(items, odd(asked, error))
    assert [at for at, result in enumerate(found) if isinstance(result, Refusal)] == [17, 900]
    assert found[17] == Refusal("no odd ones")
    assert all(result == 0 for at, result in enumerate(found) if at not in (17, 900))
    assert len(asked) < 100  # batches are halved, and only small ones are asked one by one
    assert predict_each([], odd([], error)) == []


@pytest.mark.parametrize(
    "error",
    [
        ServerError("it is down", code="UNAVAILABLE"),
        ServerError("other classes", code="FAILED_PRECONDITION"),
        ExportError("damaged"),
        KeyError("a fault of the program"),
    ],
)
def test_what_is_not_about_the_items_is_raised(error: Exception):
    asked: list[int] = []
    assert refusal(error) is None
    with pytest.raises(type(error)) as raised:
        predict_each([1, 2, 3], odd(asked, error))
    assert raised.value is error
    assert asked == [3]


def test_strictly_the_first_refusal_is_raised():
    error = DataError("no odd ones")
    with pytest.raises(DataError) as raised:
        predict_each([2, 1], odd([], error), strict=True)
    assert raised.value is error


def test_tensorflow_refuses_with_its_own_reason():
    import tensorflow as tf

    error = tf.errors.InvalidArgumentError(None, None, "column 'built' holds no date\nsecond line")
    assert refusal(error) == "column 'built' holds no date"
    with pytest.raises(DataError, match="^column 'built' holds no date$"):
        predict_each([1], odd([], error), strict=True)
