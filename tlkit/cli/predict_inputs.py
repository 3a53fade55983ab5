"""`tlkit predict` for images and texts that the command line names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.cli.failures import Failures
from tlkit.predicting.engine import Engine, records

if TYPE_CHECKING:
    from tlkit.cli.answers import Predictor
    from tlkit.inputs.base import InputSpec
    from tlkit.inputs.commands import Gathered, InputCommands


class Predicted(NamedTuple):
    """What became of the inputs.

    Attributes:
        rows: the predictions, as a `Predictor` returns them; "damaged" says what is wrong with an image that decodes.
        failures: what was not predicted.
        counts: of files: found, used and left out by reason; empty for other inputs, and with `strict`.
        line: the same for people.
    """

    rows: list[dict[str, Any]]
    failures: Failures
    counts: dict[str, Any]
    line: str


def predict_inputs(
    kind: InputCommands,
    spec: InputSpec,
    words: Sequence[str],
    found: Gathered,
    model: Predictor | None,
    *,
    strict: bool,
    decoder: bool,
) -> Predicted:
    """Predict every input that can be used.

    Args:
        kind: of the project.
        spec: of its input.
        words: of the command line.
        found: what they stand for.
        model: what predicts; None where there is nothing to predict.
        strict: raise what is wrong with the first input.
        decoder: whether TensorFlow is loaded, whose decoder finds more damage than the bytes alone show.

    Raises:
        DataError: the only file that was named cannot be used; with `strict`, an input cannot.
        ServerError: the server does not respond.
    """
    from tlkit.inputs.items import Item
    from tlkit.lazy import loaded

    failures = Failures(strict, keep=True)
    for name, reason in found.failed:
        failures.add(0, name, name, f"{name} {reason}")
    counted = found.tally is not None and not strict
    alone = counted and len(found.items) == 1 and not found.failed and not found.has_folder
    bad = {name for name, _ in found.failed}
    called = [name for number in range(1, len(words) + 1) if (name := kind.called(number)) not in bad]
    names = [str(item) if isinstance(item, Path) else called[place] for place, item in enumerate(found.items)]
    items = [Item(place, names[place], item, {}) for place, item in enumerate(found.items)]
    rows: list[dict[str, Any]] = []
    if model is not None:
        damage = partial(loaded(spec.damaged), decoder=decoder) if counted and spec.damaged else None
        engine = Engine(records(model.predict), spec, strict=strict or alone, damage=damage)
        for one in engine.answers(items):
            if one.reason:
                failures.add(0, one.item.place, one.item.place, one.reason)
            else:
                rows.append({**one.answer, "damaged": one.damage} if one.damage else one.answer)
    if found.tally is None or not counted:
        return Predicted(rows, failures, {}, "")
    line = f"{found.tally}; {len(rows):,} predicted, {failures.count:,} failed"
    return Predicted(rows, failures, {**found.tally.to_dict(), "answered": len(rows)}, line)
