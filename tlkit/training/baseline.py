"""Measure what the validation data look like, so that an export can be compared with later data."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.export.arguments import arguments_of
from tlkit.export.baseline import FEWEST, Baseline, Watched
from tlkit.export.interface import input_of, interface_of
from tlkit.export.sketch import Bins, Sketch, Source, bins_of, landmarks_of
from tlkit.inputs.base import Statistic
from tlkit.lazy import loaded
from tlkit.models.task import Task
from tlkit.training.data import Data

DISTANCE = "distance to the training data"
_AT_ONCE = 64  # items
_log = logging.getLogger("tlkit")


def measure_baseline(task: Task, data: Data, features: np.ndarray, *, split: str = "val") -> Baseline | None:
    """Describe a split that the network was not trained on.

    Args:
        task: with its trained weights.
        data: what it was trained on.
        features: of the split, as `task.features` gives them, float32 [n, F].
        split: its name.

    Returns:
        Histograms of inputs, predictions and distances, and a sketch of the embeddings; None where the split has fewer
        than 30 items, or the input has no statistics.
    """
    spec = input_of(task)
    if not spec.drift or not hasattr(data, "contents"):
        return None
    if len(features) < FEWEST:
        _log.warning("drift baseline: left out, because %s has %d items: it needs %d", split, len(features), FEWEST)
        return None
    rows = np.random.default_rng(data.seed).permutation(len(features))
    chosen = np.sort(rows[: spec.drift_items])
    values = _looked_at(task, data, chosen, spec.drift, split)
    own = features[rows]
    watched = watched_of(task, set(values))
    answers = np.asarray(task.objective.probabilities(task.head(own, training=False)))
    predicted = {one.name: Statistic(one.values(answers), one.names, one.unit) for one in watched}
    embedding: dict[str, Statistic] = {}
    if task.novelty is not None:
        name = _free(DISTANCE, {*values, *predicted})
        embedding[name] = Statistic(np.asarray(task.novelty(own), np.float64))
    embedded = np.asarray(task.embedded(own[: 20 * spec.drift_items]))
    groups: dict[Source, dict[str, Statistic]] = {"input": values, "prediction": predicted, "embedding": embedding}
    return baseline_of(groups, embedded, watched, split)


def baseline_of(
    groups: Mapping[Source, Mapping[str, Statistic]], embedded: np.ndarray, watched: Sequence[Watched], split: str
) -> Baseline:
    """Describe items by their statistics.

    Args:
        groups: what they are about -> name -> statistic; those of predictions are of all items.
        embedded: embeddings of the items, or of some, in random order, float32 [m, E].
        watched: the statistics of predictions.
        split: which data the items are.
    """
    bins: list[Bins] = []
    sketch = Sketch(items=max(len(one.values) for one in groups["prediction"].values()))
    for source, found in groups.items():
        made = [bins_of(name, source, one.values, names=one.names, unit=one.unit) for name, one in found.items()]
        sketch.add(made, {name: one.values for name, one in found.items()})
        bins += made
    return Baseline(split, tuple(bins), sketch, tuple(watched), landmarks_of(embedded))


def _looked_at(task: Task, data: Any, rows: np.ndarray, place: str, split: str) -> dict[str, Statistic]:
    """Return the statistics of some items of a split."""
    interface = interface_of(task)
    look = loaded(place).statistics(task.preprocessing.to_dict())
    parts = []
    for start in range(0, len(rows), _AT_ONCE):
        parts.append(look(arguments_of(data.contents(split, rows[start : start + _AT_ONCE]), interface)))
    return {
        name: Statistic(np.concatenate([part[name].values for part in parts]), one.names, one.unit)
        for name, one in parts[0].items()
    }


def watched_of(task: Task, taken: set[str]) -> list[Watched]:
    """Return the statistics of the task's answers, with names that no statistic of the input has."""
    found, start = [], 0
    for target in task.objective.targets:
        width = len(target.output_names)
        for plain in target.watched():
            place = plain.pop("place", None)
            begin = start if place is None else start + place
            stop = start + width if place is None else begin + 1
            one = Watched(**plain, start=begin, stop=stop)
            one = dataclasses.replace(one, name=_free(one.name, taken))
            taken.add(one.name)
            found.append(one)
        start += width
    return found


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name = f"{name} (model)"
    return name
