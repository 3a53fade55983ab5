"""Count data as the monitor of a server counts it: run an export on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import tensorflow as tf

from tlkit.export.baseline import Baseline
from tlkit.export.predictor import SavedModelPredictor
from tlkit.export.sketch import Sketch
from tlkit.inputs.base import Statistics, input_spec
from tlkit.lazy import loaded

MOST_EMBEDDED = 1000
_REFUSED = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)


def observe(
    predictor: SavedModelPredictor,
    baseline: Baseline,
    batches: Iterable[Mapping[str, np.ndarray]],
    done: Callable[[int], None] = lambda items: None,
) -> tuple[Sketch, int]:
    """Count inputs, predictions and, of the first 1,000 items, embeddings.

    Args:
        predictor: of the export.
        baseline: of the export.
        batches: what serving_default takes, [n] by argument; items in random order.
        done: called with the number of items of each batch.

    Returns:
        The counts, and how many items the export refused.
    """
    manifest = predictor.manifest
    look: Statistics = loaded(input_spec(manifest.interface.content).drift).statistics(manifest.preprocessing)
    distances = [one.name for one in baseline.bins if one.source == "embedding"]
    sketch, refused = Sketch(), 0

    def count(arguments: Mapping[str, np.ndarray]) -> None:
        nonlocal refused
        items = len(next(iter(arguments.values())))
        try:
            answers = predictor.run(manifest.interface.answers, arguments)[manifest.interface.answers]
            values = {name: one.values for name, one in look(arguments).items()} | baseline.predicted(answers)
        except _REFUSED:  # it does not say which one it was
            if items == 1:
                refused += 1
                return
            middle = items // 2
            for half in (slice(None, middle), slice(middle, None)):
                count({name: array[half] for name, array in arguments.items()})
            return
        sketch.items += items
        sketch.add(baseline.bins, values)
        left = MOST_EMBEDDED - sketch.embeddings
        if left > 0 and baseline.landmarks is not None:
            part = {name: array[:left] for name, array in arguments.items()}
            embeddings = predictor.run("embedding", part)["embedding"]
            sketch.add_likeness(baseline.landmarks.likenesses(embeddings))
            if distances:
                found = predictor.run("trust", part)["distance"].astype(np.float64)
                sketch.add(baseline.bins, {distances[0]: found})

    for arguments in batches:
        size = len(next(iter(arguments.values())))
        if size:
            count(arguments)
        done(size)
    return sketch, refused
