"""Predict any number of items in batches; what is wrong with one does not cost the others their predictions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.errors import DataError
from tlkit.inputs.base import InputSpec
from tlkit.inputs.items import Item
from tlkit.predicting.answer_columns import AnswerColumns, numbers_of
from tlkit.predicting.each import NOT_FINITE, Refusal, predict_each

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MOST = 4096  # items in memory at once, where no batch size is given
_BATCHES = 8  # that are read at once, where items of similar length are run together
_CHARACTERS = 4_000_000  # of texts in memory at once

#: Predicts some items: a dictionary for each, or why there is none.
Answer = Callable[[Sequence[Item]], Sequence["dict[str, Any] | Refusal"]]


class Answered(NamedTuple):
    """An item and its prediction.

    Attributes:
        item: as it was read.
        answer: columns, or a record; empty where there is none.
        reason: why there is no prediction; empty where there is one.
        damage: what is wrong with an item that was predicted although it is damaged.
    """

    item: Item
    answer: dict[str, Any]
    reason: str = ""
    damage: str = ""


class Engine:
    """Predict items in their order and in bounded memory.

    Example:
        >>> engine = Engine(contents(predictor.predict, columns), input_spec("text"))
        >>> [one.answer["predicted"] for one in engine.answers(items)]
        ['good', 'bad']

    Args:
        answer: predicts some items.
        spec: of their input.
        batch_size: items that are run together; None takes the input's.
        strict: raise what is wrong with the first item.
        damage: contents of items that were predicted -> what is wrong with those that are damaged, by place.
    """

    def __init__(
        self,
        answer: Answer,
        spec: InputSpec,
        *,
        batch_size: int | None = None,
        strict: bool = False,
        damage: Callable[[Sequence[Any]], Mapping[int, str]] | None = None,
    ):
        self._answer, self._spec, self._strict, self._damage = answer, spec, strict, damage
        size = (batch_size or spec.batch) * (_BATCHES if spec.by_length else 1)
        self._size = size if batch_size else min(size, MOST)

    def answers(self, items: Iterable[Item]) -> Iterator[Answered]:
        """Yield items with their predictions.

        Raises:
            DataError: with `strict`, an item cannot be predicted.
            Exception: what `answer` raises and is not about the items, such as a server that does not respond.
        """
        for chunk in self._chunks(items):
            good = [item for item in chunk if not item.problem]
            results = iter(predict_each(good, self._answer, strict=self._strict))
            found = [(item, Refusal(item.problem) if item.problem else next(results)) for item in chunk]
            predicted = [item for item, result in found if not isinstance(result, Refusal)]
            damaged = self._damage([item.content for item in predicted]) if self._damage is not None else {}
            damage = {predicted[place].number: problem for place, problem in damaged.items()}
            for item, result in found:
                if isinstance(result, Refusal):
                    yield Answered(item, {}, result.reason)
                else:
                    yield Answered(item, result, "", damage.get(item.number, ""))

    def _chunks(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        rest = iter(items)
        if not self._spec.by_length:
            while chunk := list(itertools.islice(rest, self._size)):
                yield chunk
            return
        chunk, characters = [], 0
        for item in rest:
            chunk.append(item)
            characters += len(item.content or "")
            if len(chunk) == self._size or characters > _CHARACTERS:
                yield chunk
                chunk, characters = [], 0
        if chunk:
            yield chunk


def written(answers: Iterable[Answered], write: Callable[[Mapping[str, Any], str], None]) -> Iterator[Answered]:
    """Write predictions beside the fields of their items, and yield them.

    Args:
        answers: of an `Engine`.
        write: takes columns and place; it raises a `DataError` where a file cannot hold them, which becomes the reason.
    """
    for one in answers:
        if not one.reason:
            try:
                write({**one.item.fields, **one.answer}, one.item.place)
            except DataError as error:
                one = Answered(one.item, {}, str(error))
        yield one


def records(predict: Callable[[Sequence[Any]], Sequence[dict[str, Any]]]) -> Answer:
    """Return what predicts the contents of items as records.

    Args:
        predict: contents -> records, as `SavedModelPredictor.predict` returns them.
    """

    def answer(items: Sequence[Item]) -> list[dict[str, Any] | Refusal]:
        found = predict([item.content for item in items])
        return [one if all(map(math.isfinite, numbers_of(one))) else Refusal(NOT_FINITE) for one in found]

    return answer


def contents(predict: Callable[[Sequence[Any]], Sequence[dict[str, Any]]], columns: AnswerColumns) -> Answer:
    """Return what predicts the contents of items as columns; `predict` is that of `records`."""

    def answer(items: Sequence[Item]) -> list[dict[str, Any] | Refusal]:
        found = predict([item.content for item in items])
        return _usable(columns, columns.numbers(found), found)

    return answer


def rows(
    predict: Callable[[pd.DataFrame], tuple[np.ndarray, Sequence[Mapping[str, Any]] | None]],
    frame_of: Callable[[Sequence[Item], dict[int, str] | None], pd.DataFrame],
    columns: AnswerColumns,
    *,
    strict: bool = False,
) -> Answer:
    """Return what predicts rows of a table as columns.

    Args:
        predict: columns of the network -> numbers [n, K], targets side by side, and what
            `tlkit.export.records.add_trust` says of each row, or None.
        frame_of: rows -> columns of the network. It notes why a row cannot be read, by its place, or raises it where
            there is nowhere to note it.
        columns: of the answers.
        strict: raise why a row cannot be read.
    """

    def answer(items: Sequence[Item]) -> list[dict[str, Any] | Refusal]:
        problems: dict[int, str] = {}
        frame = frame_of(items, None if strict else problems)
        good = [number for number in range(len(items)) if number not in problems]
        results: dict[int, Any] = {number: Refusal(reason) for number, reason in problems.items()}
        if good:
            numbers, trust = predict(frame.iloc[good].reset_index(drop=True) if problems else frame)
            results |= zip(good, _usable(columns, numbers, trust), strict=True)
        return [results[number] for number in range(len(items))]

    return answer


def _usable(
    columns: AnswerColumns, numbers: np.ndarray, trust: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any] | Refusal]:
    """Return the columns of numbers, or why they are no prediction."""
    import numpy as np

    finite = np.isfinite(numbers).all(axis=1).tolist()
    rows = columns.of_numbers(numbers, trust)
    return [row if is_finite else Refusal(NOT_FINITE) for row, is_finite in zip(rows, finite, strict=True)]
