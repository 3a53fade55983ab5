"""An export that predicts items of files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.errors import TlkitError
from tlkit.inputs.base import input_spec
from tlkit.inputs.items import Item
from tlkit.lazy import loaded
from tlkit.predicting.answer_columns import AnswerColumns
from tlkit.predicting.engine import Answered, Engine, contents, rows

if TYPE_CHECKING:
    import numpy as np


def frames(predictor: Any, trust: bool = False) -> Callable[[Any], tuple[Any, Any]]:
    """Return what predicts the columns of a network with an export; see `tlkit.predicting.engine.rows`.

    Args:
        predictor: a `SavedModelPredictor` of rows.
        trust: also return what the signatures `conformal` and `trust` say.
    """
    answers = predictor.manifest.interface.answers

    def predict(frame: Any) -> tuple[Any, Any]:
        numbers = predictor.predict_frame(frame, rows_at_once=max(1, len(frame)))[answers]
        return numbers, predictor.trust_of_frame(frame) if trust else None

    return predict


class Scorer:
    """Predict any number of items with an export, in bounded memory.

    Args:
        export: a version folder.
        batch_size: items that are run together; None takes the input's.
        top, target, score_columns, trust: as for `AnswerColumns.of`.

    Attributes:
        predictor: the loaded export.
        batch_size: as given, or the input's.

    Raises:
        ExportError: the export cannot be loaded, or was not calibrated, with `trust`.
    """

    def __init__(
        self,
        export: str | Path,
        *,
        batch_size: int | None = None,
        top: int | None = None,
        target: str | None = None,
        score_columns: bool = True,
        trust: bool = False,
    ):
        from tlkit.export.predictor import SavedModelPredictor

        self.predictor = predictor = SavedModelPredictor(export, batch_size=batch_size or 32, trust=trust)
        manifest = predictor.manifest
        self._spec = spec = input_spec(manifest.interface.content)
        self.batch_size = batch_size or spec.batch
        self._table = loaded(spec.row_source.typed)(manifest.preprocessing) if spec.row_source else None
        columns = AnswerColumns.of(manifest, top=top, target=target, score_columns=score_columns, trust=trust)
        if self._table is not None:
            answer = rows(frames(predictor, trust), self._table.frame, columns)
        else:
            answer = contents(predictor.predict, columns)
        damage = loaded(spec.damaged) if spec.damaged else None
        self._engine = Engine(answer, spec, batch_size=batch_size, damage=damage)

    def score(self, items: Iterable[Item]) -> Iterator[Answered]:
        """Yield items with their predictions, in order."""
        yield from self._engine.answers(items)

    def arguments(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """Return what serving_default takes for items, [m] by argument, without those that cannot be read."""
        from tlkit.export.arguments import arguments_of

        usable = [item for item in items if not item.problem]
        if self._table is not None:
            problems: dict[int, str] = {}
            frame = self._table.frame(usable, problems)
            good = [place for place in range(len(usable)) if place not in problems]
            found: dict[str, np.ndarray] = self._table.preprocessing.to_arguments(
                frame.iloc[good].reset_index(drop=True)
            )
            return found
        given, read = loaded(self._spec.items), []
        for item in usable:
            with contextlib.suppress(TlkitError):
                read.append(given.content(given.checked(item.content, item.number)))
        return arguments_of(read, self.predictor.manifest.interface)
