"""Measure false alarms and power of the drift tests: `tools/bench_drift.py ../shared/data`.

A network is trained on a part of each data set. Everything else is held out: statistics, predictions, distances and
embeddings of each item are computed once. A resample draws items for a baseline and other items as later data, and
compares them as `tlkit drift` does. Printed is the share of resamples with any alarm, per statistic where it is not 0,
and how often a planted change is found in 500 items:

- images of ants and bees: brightness times 1.2; the bees doubled
- film reviews (SST-2): texts cut to 80 % of their words; the positive ones doubled
- Adult: each column of numbers times 1.2; the rarer class doubled

Where there are few held-out items, the 500 are drawn with replacement from those that are not in the baseline.
The part `serving` measures what the monitor costs: requests to a server with a monitor and to one without, in turn.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image, ImageEnhance

import tlkit
from tlkit.export.arguments import arguments_of
from tlkit.export.interface import input_of, interface_of
from tlkit.export.sketch import Sketch
from tlkit.inputs.base import Statistic
from tlkit.lazy import loaded
from tlkit.training.baseline import DISTANCE, baseline_of, measure_baseline, watched_of
from tlkit.training.novelty import fit_novelty
from tlkit.trust.drift.compare import Drift, compare

RESAMPLES, PLANTED, LATER = 200, 50, 500


class Pool(NamedTuple):
    """Held-out items: statistics by what they are about, embeddings [n, E], and classes [n]."""

    groups: dict[Any, dict[str, Statistic]]
    embedded: np.ndarray
    classes: np.ndarray

    def rows(self, rows: np.ndarray) -> Pool:
        """Return some of the items."""
        groups = {
            source: {name: Statistic(one.values[rows], one.names, one.unit) for name, one in found.items()}
            for source, found in self.groups.items()
        }
        return Pool(groups, self.embedded[rows], self.classes[rows])


def pool_of(task: Any, contents: Sequence[bytes], classes: np.ndarray) -> Pool:
    """Look at items and run the network on them."""
    interface, spec = interface_of(task), input_of(task)
    look = loaded(spec.drift).statistics(task.preprocessing.to_dict())
    values = look(arguments_of(contents, interface))
    features = np.concatenate(
        [
            task.features(
                tf.cast(task.preprocessing.batch(tf.constant(contents[start : start + 64])), interface.raw_dtype),
                training=False,
            )
            for start in range(0, len(contents), 64)
        ]
    )
    answers = np.asarray(task.objective.probabilities(task.head(features, training=False)))
    predicted = {one.name: Statistic(one.values(answers), one.names) for one in watched_of(task, set(values))}
    distances = {DISTANCE: Statistic(np.asarray(task.novelty(features), np.float64))}
    groups = {"input": values, "prediction": predicted, "embedding": distances}
    return Pool(groups, np.asarray(task.embedded(features)), classes)


def compared(base: Pool, later: Pool, embedded: int = 1000) -> Drift:
    """Compare two samples as `tlkit drift` does."""
    baseline = baseline_of(base.groups, base.embedded, (), "val")
    assert baseline.landmarks is not None
    sketch = Sketch(items=len(later.classes))
    sketch.add(baseline.bins, {name: one.values for found in later.groups.values() for name, one in found.items()})
    sketch.add_likeness(baseline.landmarks.likenesses(later.embedded[:embedded]))
    return compare(baseline, sketch)


def measure(
    name: str, pool: Pool, held: int, changes: dict[str, tuple[Pool, Callable[[np.ndarray], np.ndarray]]]
) -> None:
    """Print false alarms of samples as large as the baseline allows, and how often each change is found.

    Args:
        name: of the data.
        pool: the items.
        held: of them in a baseline.
        changes: what is planted -> the changed items, and the weights of classes with which they are drawn.
    """
    count = len(pool.classes)
    alarms: Counter[str] = Counter()
    false = 0
    later = min(LATER, count - held)
    found = dict.fromkeys(changes, 0)
    told: dict[str, Counter[str]] = {change: Counter() for change in changes}
    for seed in range(RESAMPLES):
        draw = np.random.default_rng(seed)
        order = draw.permutation(count)
        base, rest = order[:held], order[held:]
        own = pool.rows(base)
        drifted = compared(own, pool.rows(rest[:later])).drifted
        false += bool(drifted)
        alarms.update(one.name for one in drifted)
        for change, (changed, weights) in changes.items() if seed < PLANTED else ():
            chances = weights(changed.classes[rest])
            rows = draw.choice(rest, LATER, replace=len(rest) < 10 * LATER, p=chances / chances.sum())
            names = [one.name for one in compared(own, changed.rows(rows)).drifted]
            found[change] += bool(names)
            told[change].update(names)
    named = ", ".join(f"{key} {value / RESAMPLES:.1%}" for key, value in alarms.most_common(4))
    print(f"{name}: {held} items in the baseline, {RESAMPLES} resamples", flush=True)
    print(f"  false alarms, {later} fresh items: {false / RESAMPLES:.1%}{f' ({named})' if named else ''}", flush=True)
    for change, times in found.items():
        named = ", ".join(f"{key} {value / PLANTED:.0%}" for key, value in told[change].most_common(3))
        print(f"  found, {change}, {LATER} items: {times / PLANTED:.0%} ({named})", flush=True)


def alike(classes: np.ndarray) -> np.ndarray:
    """Return the same weight for each item."""
    return np.ones(len(classes))


def doubled(number: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that weighs the items of one class twice."""
    return lambda classes: np.where(classes == number, 2.0, 1.0)


def trained_on(data: Any, build: Callable[[Any], Any], epochs: int = 0) -> tlkit.Learner:
    """Train a network on data, and measure the distance to them."""
    learn = tlkit.Learner(build(data), data)
    if epochs:
        learn.fit(epochs, 5e-3, verbose=False)
    else:
        learn.fit_probe(verbose=False)
    learn.task.set_novelty(fit_novelty(learn.task, data))
    return learn


def brighter(content: bytes) -> bytes:
    """Return an image 20 % brighter, compressed again."""
    buffer = io.BytesIO()
    ImageEnhance.Brightness(Image.open(io.BytesIO(content)).convert("RGB")).enhance(1.2).save(
        buffer, "JPEG", quality=92
    )
    return buffer.getvalue()


def again(content: bytes) -> bytes:
    """Return an image that was only compressed again."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def images(shared: Path, work: Path) -> None:
    """Measure images of ants and bees."""
    files = [
        (file, place)
        for place, name in enumerate(("ants", "bees"))
        for file in sorted((shared / "hymenoptera").rglob(f"*/{name}/*.jpg"))
    ]
    order = np.random.default_rng(0).permutation(len(files))
    for at in order[:100]:
        file, place = files[at]
        target = work / "images" / ("val" if at % 5 == 0 else "train") / ("ants", "bees")[place]
        target.mkdir(parents=True, exist_ok=True)
        (target / file.name).write_bytes(file.read_bytes())
    data = tlkit.images_from_folder(work / "images", size=224)
    learn = trained_on(data, lambda own: tlkit.image_classifier("efficientnet-lite0", own.class_names, size=224))
    rest = [files[at] for at in order[100:]]
    classes = np.array([place for _, place in rest])
    contents = [again(file.read_bytes()) for file, _ in rest]  # a change of the compression is none of the planted ones
    pool = pool_of(learn.task, contents, classes)
    bright = pool_of(learn.task, [brighter(file.read_bytes()) for file, _ in rest], classes)
    measure("hymenoptera", pool, 150, {"brightness x 1.2": (bright, alike), "bees doubled": (pool, doubled(1))})


def texts(shared: Path, work: Path) -> None:
    """Measure sentences of film reviews."""
    frame = (
        pd.read_csv(shared / "sst2" / "train.tsv", sep="\t").drop_duplicates("sentence").sample(5000, random_state=0)
    )
    frame[:1000].to_csv(work / "reviews.csv", index=False)
    encoder = "all-minilm-l6-v2"
    data = tlkit.texts_from_table(
        work / "reviews.csv", text_column="sentence", label_column="label", encoder=encoder, val_fraction=0.2
    )
    learn = trained_on(data, lambda own: tlkit.text_classifier(encoder, own.class_names))
    rest = frame[1000:]
    classes = rest["label"].to_numpy(np.int64)
    sentences = rest["sentence"].tolist()
    pool = pool_of(learn.task, [text.encode() for text in sentences], classes)
    words = [text.split() for text in sentences]
    cut = [" ".join(own[: max(1, round(0.8 * len(own)))]) for own in words]
    shorter = pool_of(learn.task, [text.encode() for text in cut], classes)
    measure(
        "SST-2", pool, 1000,
        {"texts cut to 80 % of their words": (shorter, alike), "positive reviews doubled": (pool, doubled(1))},
    )  # fmt: skip


def tables(shared: Path, work: Path) -> None:
    """Measure rows of Adult."""
    frame = pd.read_csv(shared / "adult" / "adult.data.gz", skipinitialspace=True).sample(16000, random_state=0)
    target = frame.columns[-1]
    data = tlkit.table_from_file(frame[:4000].reset_index(drop=True), target)
    learn = trained_on(data, lambda own: tlkit.tabular_model(own.preprocessing, own.targets), 3)
    rest = frame[4000:].reset_index(drop=True)
    classes = (rest[target] == rest[target].value_counts().index[-1]).to_numpy(np.int64)
    table: Any = learn.task.preprocessing
    pool = pool_of(learn.task, table.to_examples(rest), classes)
    changes = {}
    for name in rest.columns:
        if data.kinds.get(name) == "continuous":
            scaled = rest.assign(**{name: rest[name] * 1.2})
            changes[f"{name} x 1.2"] = (pool_of(learn.task, table.to_examples(scaled), classes), alike)
    measure("Adult", pool, 2000, {**changes, "the rarer class doubled": (pool, doubled(1))})


def serving(shared: Path, work: Path) -> None:
    """Measure requests to servers with and without a monitor."""
    frame = pd.read_csv(shared / "adult" / "adult.data.gz", skipinitialspace=True).sample(4000, random_state=0)
    target = frame.columns[-1]
    data = tlkit.table_from_file(frame.reset_index(drop=True), target)
    rows = trained_on(data, lambda own: tlkit.tabular_model(own.preprocessing, own.targets), 1)
    first = frame.iloc[0]
    row = {
        column.argument: str(first[column.name]) if column.dtype == "string" else first[column.name].item()
        for column in data.preprocessing.columns
    }
    cost("rows", rows, work, json.dumps({"instances": [row]}))
    photos = tlkit.images_from_folder(shared / "hymenoptera", size=224)
    network = trained_on(photos, lambda own: tlkit.image_classifier("efficientnet-lite0", own.class_names, size=224))
    content = base64.b64encode(photos.samples("val", 1)[0]).decode()
    cost("images", network, work, json.dumps({"instances": [{"b64": content}]}), requests=20)


def cost(name: str, learn: tlkit.Learner, work: Path, body: str, requests: int = 150, rounds: int = 12) -> None:
    """Print the mean and median time of a request with a monitor, as ratios to those without."""
    began = time.monotonic()
    measure_baseline(learn.task, learn.data, learn._run.feed.features("val"))
    described = time.monotonic() - began
    began = time.monotonic()
    export = learn.export(work / name)
    exported = time.monotonic() - began
    print(f"{name}: export {exported:.1f} s, of which the baseline {described:.1f} s", flush=True)
    servers = []
    for more in ([], ["--monitor", str(work / f"monitor-{name}")]):
        command = [sys.executable, "-m", "tlkit", "serve", str(export), "--rest-port", "0", "--no-grpc", *more]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        servers.append((process, int(line.split("http://127.0.0.1:")[1].split("/")[0])))
    try:
        times: list[list[float]] = [[], []]
        for turn in range(rounds):
            for side in (0, 1) if turn % 2 else (1, 0):
                connection = http.client.HTTPConnection("127.0.0.1", servers[side][1])
                for _ in range(requests):
                    start = time.perf_counter()
                    connection.request("POST", f"/v1/models/{name}:predict", body)
                    answer = connection.getresponse()
                    answer.read()
                    assert answer.status == 200, answer.status
                    if turn > 1:
                        times[side].append(time.perf_counter() - start)
                connection.close()
        without, with_one = (np.array(own) * 1000 for own in times)
        means = [[float(part.mean()) for part in np.array_split(own, rounds - 2)] for own in (without, with_one)]
        spread = np.std(np.array(means[1]) / np.array(means[0])) / np.sqrt(rounds - 2)
        ratios = np.median(with_one) / np.median(without), with_one.mean() / without.mean()
        print(
            f"  request without a monitor: median {np.median(without):.3f} ms, mean {without.mean():.3f} ms; with one: "
            f"median {ratios[0]:.3f} x, mean {ratios[1]:.3f} x (standard error {spread:.3f})",
            flush=True,
        )
    finally:
        for process, _ in servers:
            process.terminate()
            process.wait()


PARTS = {"images": images, "texts": texts, "tables": tables, "serving": serving}


def main() -> None:
    """Measure the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    options = parser.parse_args()
    for part in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[part](options.shared, Path(folder))


if __name__ == "__main__":
    main()
