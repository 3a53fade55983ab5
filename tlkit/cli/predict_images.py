"""`tlkit predict` on photos: those that can be used are answered, the others are listed with their reasons."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from tlkit.cli.answers import Predictor
    from tlkit.inputs.commands import Gathered

BATCH = 32


class Answered(NamedTuple):
    """What became of the photos.

    Attributes:
        rows: the predictions, as a `Predictor` gives them; "damaged" says what is wrong with a photo that decodes.
        failed: input and reason of each photo that was not answered.
        counts: found, used and left out by reason.
        line: the same for people.
    """

    rows: list[dict[str, Any]]
    failed: list[dict[str, str]]
    counts: dict[str, Any]
    line: str


def predict_images(model: Predictor | None, found: Gathered, *, decoder: bool) -> Answered:
    """Answer about every photo that can be used.

    Args:
        model: what answers; None where there is nothing to ask it.
        found: what the words of the command line stand for.
        decoder: whether TensorFlow is loaded, whose decoder finds more damage than the bytes alone show.

    Raises:
        DataError: the only photo that was named cannot be used.
        ServerError: the server does not answer.
    """
    from tlkit.predicting.each import Refusal, predict_each

    tally = found.tally
    if tally is None:
        raise DataError("these inputs are not photos", received=found.items[:1])
    rows: list[dict[str, Any]] = []
    failed = [{"input": name, "reason": reason} for name, reason in found.failed]
    alone = len(found.items) == 1 and not failed and not found.has_folder
    for start in range(0, len(found.items), BATCH):
        part = found.items[start : start + BATCH]
        results = [] if model is None else predict_each(part, model.predict, strict=alone)
        good = [(item, result) for item, result in zip(part, results, strict=True) if not isinstance(result, Refusal)]
        damaged = _damaged([item for item, _ in good], decoder)
        for place, (_, answer) in enumerate(good):
            rows.append({**answer, "damaged": damaged[place]} if place in damaged else answer)
        failed += [
            {"input": str(item), "reason": result.reason.removeprefix(f"{item} ")}
            for item, result in zip(part, results, strict=True)
            if isinstance(result, Refusal)
        ]
    line = f"{tally}; {len(rows):,} predicted, {len(failed):,} failed"
    return Answered(rows, failed, {**tally.to_dict(), "answered": len(rows)}, line)


def _damaged(items: Sequence[Path], decoder: bool) -> dict[int, str]:
    """Find photos that decode although they are damaged: place in `items` -> what is wrong."""
    contents = [item.read_bytes() for item in items]
    if decoder:
        from tlkit.inputs.image.damaged import find_damaged

        return find_damaged(contents, max_pixels=sys.maxsize)  # the model has decoded them all
    from tlkit.inputs.image.formats import partly_missing

    return {place: problem for place, content in enumerate(contents) if (problem := partly_missing(content))}
