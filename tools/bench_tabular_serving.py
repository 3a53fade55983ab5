"""What encoding inside the exported graph costs: named columns in, against the Keras forward pass on encoded rows.

    python tools/bench_tabular_serving.py [--rows N] [--rounds N] [--values N]

A network as for the Adult data (8 columns of strings, 6 of numbers, hidden layers of 200 and 100, two classes, random
weights) is exported. `serving_default` gets the columns as tensors, the Keras model the same rows encoded beforehand:
once as `model(rows)`, as users call it, once as a graph function without any of Keras' Python. All three run in turn;
printed are medians, and the median of the ratios of each round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from tlkit.export.signatures import serving_module
from tlkit.inputs.row.columns import Categorical, Continuous
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.targets.single_label import SingleLabel
from tlkit.tasks.tabular.model import tabular_model

# Numbers of values of Adult's columns of strings: workclass, education, marital status, occupation, relationship, race,
# sex, native country.
ADULT = (8, 16, 7, 14, 6, 5, 2, 41)
NUMBERS = 6


def table(values: tuple[int, ...]) -> TablePreprocessing:
    """Make a table of string columns with so many values each, and of numbers."""
    names = [tuple(f"column {place} value {number}" for number in range(n)) for place, n in enumerate(values)]
    strings = [Categorical(f"s{place}", f"s{place}", "string", known) for place, known in enumerate(names)]
    numbers = [
        Continuous(f"x{place}", f"x{place}", median=1.0, center=2.0, scale=3.0, flag=place == 0)
        for place in range(NUMBERS)
    ]
    return TablePreprocessing((*strings, *numbers))


def request(preprocessing: TablePreprocessing, rows: int, seed: int) -> dict[str, tf.Tensor]:
    """Draw rows, one value in fifty missing and one unseen, as tensors by argument."""
    draw = np.random.default_rng(seed)
    found = {}
    for column in preprocessing.columns:
        if isinstance(column, Categorical):
            drawn = draw.choice(np.array([*column.values, "", "unseen"], object), rows)
        else:
            drawn = np.where(draw.random(rows) < 0.02, np.nan, draw.normal(2, 3, rows)).astype(np.float32)
        found[column.argument] = tf.constant(drawn)
    return found


def milliseconds(call: Callable[[], Any]) -> float:
    """Time one call until its answer is there."""
    start = time.perf_counter()
    tf.nest.map_structure(lambda tensor: tensor.numpy(), call())
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--values", type=int, default=0, help="of the last column of strings instead of Adult's 41")
    given = parser.parse_args()

    preprocessing = table((*ADULT[:-1], given.values or ADULT[-1]))
    target = SingleLabel("income", ("<=50K", ">50K"))
    task = tabular_model(preprocessing, [target], hidden=(200, 100))
    spec = tf.TensorSpec([None, preprocessing.width], tf.float32)
    forward = tf.function(lambda rows: task.model(rows, training=False), input_signature=[spec], autograph=False)
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.txt"
        labels.write_text("".join(f"{name}\n" for name in target.class_names))
        module, signatures = serving_module(task, labels)
        tf.saved_model.save(module, f"{folder}/1", signatures=signatures)
        loaded = tf.saved_model.load(f"{folder}/1")
        serve = loaded.signatures["serving_default"]
        # Built before the clock runs: a client's request is parsed, and the rows of the other side are encoded.
        columns = [request(preprocessing, given.rows, seed) for seed in range(8)]
        encoded = [preprocessing.encode(one) for one in columns]
        times: dict[str, list[float]] = {"serve": [], "model": [], "graph": [], "encode": []}
        for number in range(given.rounds + 10):
            one, rows = columns[number % 8], encoded[number % 8]
            calls: list[tuple[str, Callable[[], Any]]] = [
                ("serve", lambda one=one: serve(**one)),
                ("model", lambda rows=rows: task.model(rows, training=False)),
                ("graph", lambda rows=rows: forward(rows)),
                ("encode", lambda one=one: preprocessing.encode(one)),
            ]
            for name, call in calls if number % 2 else calls[::-1]:
                spent = milliseconds(call)
                if number >= 10:
                    times[name].append(spent)

    def ratio(name: str) -> float:
        return statistics.median(ours / theirs for ours, theirs in zip(times["serve"], times[name], strict=True))

    print(f"{given.rows} rows, {len(ADULT)} columns of strings, {NUMBERS} of numbers, {given.rounds} rounds")
    print(f"exported signature, named columns    {statistics.median(times['serve']):8.2f} ms")
    print(f"Keras forward pass, model(rows)      {statistics.median(times['model']):8.2f} ms")
    print(f"the same as a graph function         {statistics.median(times['graph']):8.2f} ms")
    print(f"encoding alone                       {statistics.median(times['encode']):8.2f} ms")
    print(f"ratio to model(rows)                 {ratio('model'):8.3f}   (goal at most 1.30)")
    print(f"ratio to the graph function          {ratio('graph'):8.3f}")


if __name__ == "__main__":
    main()
