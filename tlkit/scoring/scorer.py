"""A loaded export that answers items in batches, and item by item where a batch fails."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tlkit.errors import TlkitError
from tlkit.export.arguments import arguments_of
from tlkit.export.predictor import SavedModelPredictor
from tlkit.inputs.base import input_spec
from tlkit.inputs.image.damaged import find_damaged
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.lazy import loaded
from tlkit.predicting.answer_columns import AnswerColumns
from tlkit.predicting.each import NOT_FINITE, Refusal, predict_each
from tlkit.predicting.row_answers import numbers_of
from tlkit.predicting.row_chunks import Chunk, typed
from tlkit.scoring.items import Item

_TEXT_BATCHES = 8  # that are read at once: the predictor runs texts of similar length together
_CHARACTERS = 4_000_000  # of texts that are in memory at once


class Scored(NamedTuple):
    """An item and what became of it: the columns of its answer, or the reason why there is none.

    `damage` says what is wrong with an image that was decoded although it is damaged.
    """

    item: Item
    answer: dict[str, Any]
    reason: str
    damage: str = ""


class Scorer:
    """Scores any number of items in bounded memory; what is wrong with one does not touch the others.

    Args:
        export: a version folder.
        batch_size: items that are run together; None takes what `tlkit predict` does.
        top, target: as for `AnswerColumns`.

    Attributes:
        predictor: the loaded export.
        batch_size: as given, or the default.

    Raises:
        ExportError: the export cannot be loaded.
    """

    def __init__(
        self,
        export: str | Path,
        *,
        batch_size: int | None = None,
        top: int | None = None,
        target: str | None = None,
    ):
        self.batch_size = batch_size or 32
        self.predictor = SavedModelPredictor(export, batch_size=self.batch_size)
        manifest = self.predictor.manifest
        self._input = input_spec(manifest.interface.content)
        self.batch_size = batch_size or self._input.batch
        self._answers = manifest.interface.answers
        self._columns = AnswerColumns.of(manifest, top=top, target=target)
        self._table = TablePreprocessing.from_dict(manifest.preprocessing) if manifest.interface.columns else None
        refuses = self._table is not None and self._table.unreadable is not None
        self._unread = self._table.unreadable_values if self._table is not None and refuses else None

    def score(self, items: Iterable[Item]) -> Iterator[Scored]:
        """Answer about items, in their order.

        Args:
            items: any number; a few batches are held at once.
        """
        for chunk in self._chunks(items):
            results = iter(predict_each([item for item in chunk if not item.problem], self._run))
            scored = [(item, Refusal(item.problem) if item.problem else next(results)) for item in chunk]
            damaged = self._damaged([item for item, result in scored if not isinstance(result, Refusal)])
            for item, result in scored:
                if isinstance(result, Refusal):
                    yield Scored(item, {}, result.reason)
                else:
                    yield Scored(item, result, "", damaged.get(item.number, ""))

    def arguments(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """Return what serving_default takes for items, [m] by argument, without those that cannot be read."""
        if self._table is not None:
            frame, problems = self._frame(items)
            good = [number for number in range(len(items)) if number not in problems]
            return self._table.to_arguments(frame.iloc[good].reset_index(drop=True))
        given, contents = loaded(self._input.items), []
        for item in items:
            with contextlib.suppress(TlkitError):
                if not item.problem:
                    contents.append(given.content(given.checked(item.content, item.number)))
        return arguments_of(contents, self.predictor.manifest.interface)

    def _frame(self, items: Sequence[Item]) -> tuple[Any, dict[int, str]]:
        """Return rows as the export's columns, and why some cannot be used: number among the items -> reason."""
        assert self._table is not None
        problems: dict[int, str] = {number: item.problem for number, item in enumerate(items) if item.problem}
        chunk = Chunk([item.fields for item in items], [item.place for item in items])
        frame = typed(chunk, self._table.columns, self._table.missing, self._table.forms, problems, self._unread)
        return frame, problems

    def _chunks(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        if not self._input.by_length:
            rest = iter(items)
            while chunk := list(itertools.islice(rest, self.batch_size)):
                yield chunk
            return
        chunk, characters = [], 0
        for item in items:
            chunk.append(item)
            characters += len(item.content or "")
            if len(chunk) == self.batch_size * _TEXT_BATCHES or characters > _CHARACTERS:
                yield chunk
                chunk, characters = [], 0
        if chunk:
            yield chunk

    def _damaged(self, items: Sequence[Item]) -> dict[int, str]:
        """Find images that were decoded although they are damaged: number of the item -> what is wrong."""
        if not self._input.decoded:
            return {}
        found = find_damaged([Path(item.content).read_bytes() for item in items], max_pixels=sys.maxsize)
        return {items[place].number: problem for place, problem in found.items()}

    def _run(self, items: Sequence[Item]) -> list[dict[str, Any] | Refusal]:
        if self._table is None:
            answers = self.predictor.predict([item.content for item in items])
            return [_finite(self._columns.of_record(answer), numbers_of(answer)) for answer in answers]
        frame, problems = self._frame(items)
        good = [number for number in range(len(items)) if number not in problems]
        results: dict[int, Any] = {number: Refusal(reason) for number, reason in problems.items()}
        if good:
            part = frame.iloc[good].reset_index(drop=True)
            numbers = self.predictor.predict_frame(part, rows_at_once=len(items))[self._answers]
            answered = zip(self._columns.of_rows(numbers), numbers, strict=True)
            results |= zip(good, (_finite(row, values) for row, values in answered), strict=True)
        return [results[number] for number in range(len(items))]


def _finite(answer: dict[str, Any], numbers: Any) -> dict[str, Any] | Refusal:
    return answer if np.isfinite(numbers).all() else Refusal(NOT_FINITE)
