"""What encoding inside the exported graph costs: named columns in, against the Keras forward pass on encoded rows.

    python tools/bench_tabular_serving.py [--rows N] [--rounds N] [--values N] [--parts encoding kinds] [--trees N]

A network as for the Adult data (8 columns of strings, 6 of numbers, hidden layers of 200 and 100, two classes, random
weights) is exported. `serving_default` gets the columns as tensors, the Keras model the same rows encoded beforehand:
once as `model(rows)`, as users call it, once as a graph function without any of Keras' Python. All three run in turn;
printed are medians, and the median of the ratios of each round.

The part `kinds` exports the same table as a network, as a blend with boosted trees, as boosted trees alone and as TabM,
and compares their requests, their sizes on disk and the time that loading takes.
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

from tlkit.export.interface import interface_of
from tlkit.export.signatures import serving_module
from tlkit.inputs.row.columns import Categorical, Continuous
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.targets.objective import Objective
from tlkit.targets.single_label import SingleLabel
from tlkit.tasks.tabular.blend import add_trees, trees_alone
from tlkit.tasks.tabular.model import tabular_model
from tlkit.tasks.tabular.tree_fit import BoostingOptions, fit_trees
from tlkit.tasks.tabular.trees import BoostedTrees

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


def measure_encoding(given: argparse.Namespace) -> None:
    """Print what encoding costs."""
    preprocessing = table((*ADULT[:-1], given.values or ADULT[-1]))
    target = SingleLabel("income", ("<=50K", ">50K"))
    task = tabular_model(preprocessing, [target], hidden=(200, 100))
    spec = tf.TensorSpec([None, preprocessing.width], tf.float32)
    forward = tf.function(lambda rows: task.model(rows, training=False), input_signature=[spec], autograph=False)
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.txt"
        labels.write_text("".join(f"{name}\n" for name in target.class_names))
        module, signatures = serving_module(task, interface_of(task), labels)
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


def measure_kinds(given: argparse.Namespace) -> None:
    """Print what a request of each kind of model costs, against that of the network alone."""
    preprocessing = table((*ADULT[:-1], given.values or ADULT[-1]))
    target = SingleLabel("income", ("<=50K", ">50K"))
    columns = [request(preprocessing, given.rows, seed) for seed in range(8)]
    trees = _trees(preprocessing, target, given.trees)
    network = tabular_model(preprocessing, [target])
    tasks = {
        "network": network,
        "blend": add_trees(network, trees, [0.5]),
        "boosting": trees_alone(network.objective, preprocessing, trees),
        "tabm": tabular_model(preprocessing, [target], members=32),
    }
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.txt"
        labels.write_text("".join(f"{name}\n" for name in target.class_names))
        serve: dict[str, Callable[..., Any]] = {}
        facts: dict[str, tuple[float, float]] = {}
        for name, task in tasks.items():
            module, signatures = serving_module(task, interface_of(task), labels)
            path = Path(folder) / name
            tf.saved_model.save(module, str(path), signatures=signatures)
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            spent = []
            for _ in range(3):
                start = time.perf_counter()
                serve[name] = tf.saved_model.load(str(path)).signatures["serving_default"]
                spent.append(time.perf_counter() - start)
            facts[name] = (size / 1e6, statistics.median(spent))
        times: dict[str, list[float]] = {name: [] for name in tasks}
        for number in range(given.rounds + 10):
            one = columns[number % 8]
            for name in tasks if number % 2 else [*tasks][::-1]:
                spent_ms = milliseconds(lambda name=name, one=one: serve[name](**one))
                if number >= 10:
                    times[name].append(spent_ms)
    print(f"{given.rows} rows, {trees.shape.trees} trees of up to {trees.shape.leaves} leaves, {given.rounds} rounds")
    for name, own in times.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(own, times["network"], strict=True))
        size, load = facts[name]
        print(
            f"{name:<10} {statistics.median(own):8.2f} ms   {ratio:6.2f} x the network   "
            f"{size:6.2f} MB   loads in {load:.2f} s"
        )


def _trees(preprocessing: TablePreprocessing, target: SingleLabel, iterations: int) -> BoostedTrees:
    encoded = np.asarray(preprocessing.encode(request(preprocessing, 20_000, 1)))
    codes = len(preprocessing.codes)
    noise = np.random.default_rng(0).normal(size=len(encoded))
    labels = encoded[:, :codes].sum(axis=1) % 5 + 0.3 * encoded[:, codes:].sum(axis=1) + noise > 2
    objective = Objective([target])
    options = BoostingOptions(iterations=iterations, patience=0)
    return fit_trees(encoded, objective.encode(labels.astype(int)), preprocessing, objective, options=options).trees


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--values", type=int, default=0, help="of the last column of strings instead of Adult's 41")
    parser.add_argument("--parts", nargs="+", choices=("encoding", "kinds"), default=["encoding"])
    parser.add_argument("--trees", type=int, default=300, help="of the part kinds")
    given = parser.parse_args()
    for part, measure in (("encoding", measure_encoding), ("kinds", measure_kinds)):
        if part in given.parts:
            measure(given)


if __name__ == "__main__":
    main()
