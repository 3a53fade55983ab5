"""Answers of an export as records; neither TensorFlow nor pandas is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tlkit.export.interface import region_prefixes
from tlkit.export.short_floats import short_floats
from tlkit.targets.survival_columns import time_name


class NamedOutput(Protocol):
    """What is answered about one target, by names of outputs; `tlkit.export.interface.Output` is one.

    Attributes:
        target: what the record calls it.
        value: the output of a value; empty where there are classes.
        classes, scores: the outputs of a classification, best first; empty where there is a value.
        curve: the output of a survival curve; empty where there is none.
        times: of the curve.
    """

    @property
    def target(self) -> str: ...  # noqa: D102
    @property
    def value(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> str: ...  # noqa: D102
    @property
    def scores(self) -> str: ...  # noqa: D102
    @property
    def curve(self) -> str: ...  # noqa: D102
    @property
    def times(self) -> tuple[float, ...]: ...  # noqa: D102


def records_of(
    given: Sequence[Any], outputs: Mapping[str, np.ndarray], answers: Sequence[NamedOutput], top: int | None
) -> list[dict[str, Any]]:
    """Make a record of each row of an answer.

    Example:
        >>> outputs = {"classes": np.array([[b"bees", b"ants"]]), "scores": np.array([[0.9, 0.1]], np.float32)}
        >>> records_of(["bee.jpg"], outputs, interface.outputs_or(["ants", "bees"], "single_label"), 1)
        [{'input': 'bee.jpg', 'classes': ['bees'], 'scores': [0.9]}]

    Args:
        given: what each record says under `input`.
        outputs: arrays by name, a row for each.
        answers: what they are about.
        top: how many of the best classes to keep; None keeps all.

    Returns:
        Dictionaries of `input`, `predictions` by target where there are values, the curve by time where there is one,
        such as `survival`, and `classes` and `scores` where there are classes, by target where there are several
        answers.
    """
    records = []
    for row, item in enumerate(given):
        values = {one.target: _value(outputs[one.value][row]) for one in answers if one.value}
        ranked = {
            one.target: (
                [_text(name) for name in outputs[one.classes][row][:top]],
                _value(outputs[one.scores][row][:top]),
            )
            for one in answers
            if not one.value
        }
        record: dict[str, Any] = {"input": item}
        if values:
            record["predictions"] = values
        for one in answers:
            if one.curve:
                name = one.curve.removeprefix(f"{one.value}_")  # the export names it after the value
                record[name] = dict(zip(map(time_name, one.times), _value(outputs[one.curve][row]), strict=True))
        if len(answers) == 1 and ranked:
            record["classes"], record["scores"] = next(iter(ranked.values()))
        elif ranked:
            record["classes"] = {target: classes for target, (classes, _) in ranked.items()}
            record["scores"] = {target: scores for target, (_, scores) in ranked.items()}
        records.append(record)
    return records


def add_trust(
    records: Sequence[dict[str, Any]], outputs: Mapping[str, np.ndarray], about: Sequence[Any], level: float
) -> None:
    """Add what the signatures conformal or trust answer to the records of the same items.

    `conformal` gets `level`, and `set` (the possible classes) or `lower` and `upper`; with several targets, these with
    the name of the target before. `distance` and `outlier` are those of the signature trust.

    Args:
        records: of `records_of`; they are changed.
        outputs: of one of the signatures, a row for each record.
        about: what the export answers, each a `tlkit.export.interface.Output`; it names the classes.
        level: of the conformal predictions.
    """
    if "distance" in outputs:
        for row, record in enumerate(records):
            record |= {"distance": _value(outputs["distance"][row]), "outlier": bool(outputs["outlier"][row])}
        return
    classes = {f"{prefix}in_set": one.class_names for prefix, one in zip(region_prefixes(about), about, strict=True)}
    for row, record in enumerate(records):
        own: dict[str, Any] = {"level": level}
        for name, values in outputs.items():
            if name in classes:
                inside = [label for label, is_in in zip(classes[name], values[row], strict=True) if is_in]
                own[f"{name.removesuffix('in_set')}set"] = inside
            else:
                own[name] = _value(values[row])
        record["conformal"] = own


def named_arrays(numbers: np.ndarray, outputs: Sequence[Any]) -> dict[str, np.ndarray]:
    """Split answers into what serving_default calls them.

    Args:
        numbers: float [n, K], targets side by side.
        outputs: what they are about, each a `tlkit.export.interface.Output`.

    Returns:
        Values [n] and curves [n, T]; classes (str, dtype object) and scores float32 [n, k], best first.
    """
    found: dict[str, np.ndarray] = {}
    first = 0
    for one in outputs:
        own = numbers[:, first : first + one.width]
        first += one.width
        if one.value:
            found[one.value] = own[:, 0].astype(one.dtype, copy=False)
            if one.curve:
                found[one.curve] = own[:, 1:]
            continue
        scores = own.astype(np.float32, copy=False)
        order = np.argsort(-scores, axis=1, kind="stable")
        found[one.classes] = np.array(one.class_names, object)[order]
        found[one.scores] = np.take_along_axis(scores, order, axis=1)
    return found


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("utf-8")


def _value(item: Any) -> Any:
    """Return a value, or the values, as Python's own types; strings as text, float32 with the fewest digits."""
    if isinstance(item, np.ndarray | np.float32) and item.dtype == np.float32:
        return short_floats(np.asarray(item)).tolist()
    if isinstance(item, np.ndarray):
        return [_value(part) for part in item] if item.dtype == object else item.tolist()
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else item.item()
