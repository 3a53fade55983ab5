"""Answers as columns of a table: of rows, predicted_<target> and the probability of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

THRESHOLD = 0.5  # with several labels: those above it are predicted, as in the metrics


def answer_columns(targets: Sequence[Any]) -> list[str]:
    """Name the columns that are added to a table."""
    names = [f"predicted_{target.name}" for target in targets]
    for target in targets:
        stem = f"{target.name}=" if len(targets) > 1 else ""
        names += [f"probability_{stem}{label}" for label in target.class_names]
    return names


def said(answers: np.ndarray, targets: Sequence[Any]) -> dict[str, list[Any]]:
    """Put numbers into columns.

    Args:
        answers: float32 or float64 [n, K], targets side by side: values, or probabilities of classes.
        targets: what they are about.

    Returns:
        The columns of `answer_columns`, n values each.
    """
    predicted: dict[str, list[Any]] = {}
    probabilities: dict[str, list[Any]] = {}
    begin = 0
    for target in targets:
        part = answers[:, begin : begin + target.width]
        begin += target.width
        key = f"predicted_{target.name}"
        if target.kind == "regression":
            predicted[key] = _plain(part[:, 0].astype(getattr(target, "dtype", "float32"), copy=False))
            continue
        names = target.class_names
        if target.kind == "multi_label":
            predicted[key] = ["|".join(n for n, p in zip(names, row, strict=True) if p > THRESHOLD) for row in part]
        else:
            predicted[key] = [names[number] for number in part.argmax(axis=1)]
        stem = f"{target.name}=" if len(targets) > 1 else ""
        for number, name in enumerate(names):
            probabilities[f"probability_{stem}{name}"] = [round(float(value), 6) for value in part[:, number]]
    return {**predicted, **probabilities}


def _plain(values: np.ndarray) -> list[float]:
    """Return numbers with the fewest digits that stand for them."""
    from tlkit.export.short_floats import short_floats

    if values.dtype.name == "float32":
        return short_floats(values).tolist()
    return [float(f"{value:.15g}") for value in values]  # the last digits of a float64 are noise of its arithmetic


def number_columns(targets: Sequence[Any]) -> set[str]:
    """Say which columns of `answer_columns` hold numbers; the others hold classes."""
    values = {f"predicted_{target.name}" for target in targets if target.kind == "regression"}
    return {name for name in answer_columns(targets) if name in values or name.startswith("probability_")}


def predicted_classes(answer: Mapping[str, Any], labels: Sequence[str], multi_label: bool) -> list[str]:
    """Say which classes are predicted of a photo or text.

    Args:
        answer: classes (best first) and scores, as `SavedModelPredictor.predict` gives them.
        labels: the classes in the order of the network.
        multi_label: whether several can be true at once.

    Returns:
        The best one; with several labels those above 0.5, in the order of `labels`.
    """
    if not multi_label:
        return [answer["classes"][0]]
    scores = dict(zip(answer["classes"], answer["scores"], strict=True))
    return [label for label in labels if scores[label] > THRESHOLD]
