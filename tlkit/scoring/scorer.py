"""A loaded export that answers items in batches, and item by item where a batch fails."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tlkit.errors import DataError
from tlkit.export.predictor import SavedModelPredictor
from tlkit.image_files.damaged import find_damaged
from tlkit.predicting.row_chunks import Chunk, typed
from tlkit.preprocessing.table import TablePreprocessing
from tlkit.scoring.answer_columns import AnswerColumns
from tlkit.scoring.items import Item

BATCHES = {"image": 32, "text": 32, "row": 4096}  # items that are run together, as `tlkit predict` does
_TEXT_BATCHES = 8  # that are read at once: the predictor runs texts of similar length together
_CHARACTERS = 4_000_000  # of texts that are in memory at once
_SINGLY = 32  # a failed batch of more items is halved first


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
        batch_size: items that are run together; None takes `BATCHES`.
        top, target: as for `AnswerColumns`.

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
        self._predictor = SavedModelPredictor(export, batch_size=self.batch_size)
        manifest = self._predictor.manifest
        self._content = manifest.interface.content
        self.batch_size = batch_size or BATCHES[self._content]
        self._answers = manifest.interface.answers
        self._columns = AnswerColumns(manifest, top=top, target=target)
        self._table = TablePreprocessing.from_dict(manifest.preprocessing) if self._content == "row" else None

    def score(self, items: Iterable[Item]) -> Iterator[Scored]:
        """Answer about items, in their order.

        Args:
            items: any number; a few batches are held at once.
        """
        for chunk in self._chunks(items):
            answers = iter(self._attempt([item for item in chunk if not item.problem]))
            scored = [(item, item.problem or next(answers)) for item in chunk]
            damaged = self._damaged([item for item, answer in scored if not isinstance(answer, str)])
            for item, answer in scored:
                if isinstance(answer, str):
                    yield Scored(item, {}, answer)
                else:
                    yield Scored(item, answer, "", damaged.get(item.number, ""))

    def _chunks(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        if self._content != "text":
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

    def _attempt(self, items: Sequence[Item]) -> list[dict[str, Any] | str]:
        """Answer items; those that cannot be answered get a reason."""
        if not items:
            return []
        try:
            return [*self._run(items)]
        except (DataError, tf.errors.OpError) as error:
            if len(items) == 1:
                return [_reason(error)]
        if len(items) <= _SINGLY:
            return [answer for item in items for answer in self._attempt([item])]
        middle = len(items) // 2
        return self._attempt(items[:middle]) + self._attempt(items[middle:])

    def _damaged(self, items: Sequence[Item]) -> dict[int, str]:
        """Find images that were decoded although they are damaged: number of the item -> what is wrong."""
        if self._content != "image":
            return {}
        found = find_damaged([Path(item.content).read_bytes() for item in items], max_pixels=sys.maxsize)
        return {items[place].number: problem for place, problem in found.items()}

    def _run(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        if self._table is None:
            answers = self._predictor.predict([item.content for item in items])
            return [_finite(self._columns.of_classes(answer), answer["scores"]) for answer in answers]
        chunk = Chunk([item.fields for item in items], [item.place for item in items])
        frame = typed(chunk, self._table.columns, self._table.missing, self._table.forms)
        numbers = self._predictor.predict_frame(frame, rows_at_once=len(items))[self._answers]
        return [_finite(row, values) for row, values in zip(self._columns.of_rows(numbers), numbers, strict=True)]


def _finite(answer: dict[str, Any], numbers: Any) -> dict[str, Any]:
    if not np.isfinite(numbers).all():
        raise DataError("the export's answer is not finite")
    return answer


def _reason(error: Exception) -> str:
    lines = str(getattr(error, "message", None) or error).splitlines() or [type(error).__name__]
    return lines[0][:500]
