"""Answers as columns of a table: predicted_<target>, the probability of each class, survival at each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlkit.export.interface import Output
from tlkit.targets.survival_columns import time_name

if TYPE_CHECKING:
    import numpy as np


def answer_columns(outputs: Sequence[Output]) -> list[str]:
    """Name the columns that are added to a table; `predicted` where an output has no name."""
    names = [_predicted(one) for one in outputs]
    for one in outputs:
        stem = f"{one.target}=" if len(outputs) > 1 else ""
        names += [f"probability_{stem}{label}" for label in one.class_names]
        names += [f"survival_{time_name(time)}" for time in one.times]
    return names


def to_columns(answers: np.ndarray, outputs: Sequence[Output]) -> dict[str, list[Any]]:
    """Put numbers into columns.

    Args:
        answers: float32 or float64 [n, K], targets side by side: values, probabilities of classes, risk and survival.
        outputs: what they are about, with the names of the targets.

    Returns:
        The columns of `answer_columns`, n values each.
    """
    predicted: dict[str, list[Any]] = {}
    others: dict[str, list[Any]] = {}
    begin = 0
    for one in outputs:
        part = answers[:, begin : begin + one.width]
        begin += one.width
        key = _predicted(one)
        if one.value:
            predicted[key] = _plain(part[:, 0].astype(one.dtype, copy=False))
            for time, survival in zip(one.times, part[:, 1:].T, strict=True):
                others[f"survival_{time_name(time)}"] = [round(float(value), 6) for value in survival]
            continue
        names = one.class_names
        if one.kind == "multi_label":
            triples = [zip(names, row, one.limits, strict=True) for row in part]
            predicted[key] = ["|".join(name for name, p, limit in row if p > limit) for row in triples]
        else:
            predicted[key] = [names[number] for number in part.argmax(axis=1)]
        stem = f"{one.target}=" if len(outputs) > 1 else ""
        for number, name in enumerate(names):
            others[f"probability_{stem}{name}"] = [round(float(value), 6) for value in part[:, number]]
    return {**predicted, **others}


def _predicted(one: Output) -> str:
    return f"predicted_{one.target}" if one.target else "predicted"


def _plain(values: np.ndarray) -> list[float]:
    """Return numbers with the fewest digits that stand for them."""
    from tlkit.export.short_floats import short_floats

    if values.dtype.name == "float32":
        return short_floats(values).tolist()
    return [float(f"{value:.15g}") for value in values]  # the last digits of a float64 are noise of its arithmetic


def number_columns(outputs: Sequence[Output]) -> set[str]:
    """Say which columns of `answer_columns` hold numbers; the others hold classes."""
    values = {_predicted(one) for one in outputs if one.value}
    return {
        name for name in answer_columns(outputs) if name in values or name.startswith(("probability_", "survival_"))
    }


def predicted_classes(answer: Mapping[str, Any], output: Output) -> list[str]:
    """Say which classes are predicted of a photo or text.

    Args:
        answer: classes (best first) and scores, as `SavedModelPredictor.predict` gives them.
        output: what is answered.

    Returns:
        The best one; with several labels those above their threshold, in the order of the network.
    """
    if output.kind != "multi_label":
        return [answer["classes"][0]]
    scores = dict(zip(answer["classes"], answer["scores"], strict=True))
    return [name for name, limit in zip(output.class_names, output.limits, strict=True) if scores[name] > limit]


def numbers_of(record: Mapping[str, Any]) -> list[float]:
    """Return all numbers of a record, as `SavedModelPredictor.predict` gives it."""
    scores = record.get("scores", [])
    by_target = [*scores.values()] if isinstance(scores, Mapping) else [scores]
    values = [*record.get("predictions", {}).values(), *record.get("survival", {}).values()]
    return [*values, *(score for part in by_target for score in part)]


def columns_of(record: Mapping[str, Any], outputs: Sequence[Output]) -> dict[str, Any]:
    """Put a record of an image or text into the columns of `answer_columns`.

    Args:
        record: as `SavedModelPredictor.predict` gives it, with all classes.
        outputs: what it is about.
    """
    import numpy as np

    numbers: list[float] = []
    for one in outputs:
        if one.value:
            numbers += [record["predictions"][one.target], *(record["survival"].values() if one.curve else ())]
            continue
        classes, scores = record["classes"], record["scores"]
        if isinstance(classes, Mapping):
            classes, scores = classes[one.target], scores[one.target]
        own = dict(zip(classes, scores, strict=True))
        numbers += [own[label] for label in one.class_names]
    columns = to_columns(np.array([numbers], np.float64), outputs)
    found = {name: values[0] for name, values in columns.items()}
    return found | {_predicted(one): record["predictions"][one.target] for one in outputs if one.value}
