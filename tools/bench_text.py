"""Texts against plain Keras on the same encoder: accuracy, time, throughput, frozen features, memory.

    python tools/bench_text.py FOLDER [--seeds N] [--parts accuracy throughput frozen memory] [--set KEY=VALUE]...

FOLDER holds train.tsv, dev.tsv and test.tsv with a text and a label column (../shared/data/sst2 does). The first
`--rows` training rows are trained on, `--val-rows` of dev choose the epoch, test is reported. tlkit's side is a project
baked from the template, whose own `tlkit train` runs as a process of its own, imports included; the other side is
KerasHub's `BertTextClassifier` on the same weights, as its guide uses it, and TF-IDF with logistic regression.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

PARTS = ("accuracy", "throughput", "frozen", "memory")
BATCH = 32


def read(file: Path, rows: int | None = None) -> pd.DataFrame:
    """Read a TSV without quoting."""
    return pd.read_csv(file, sep="\t", quoting=3, keep_default_na=False, nrows=rows)


def prepared(options: argparse.Namespace, folder: Path) -> Path:
    """Write the rows that take part as FOLDER/{train,val,test}.tsv."""
    parts = (("train", "train", options.rows), ("val", "dev", options.val_rows), ("test", "test", None))
    for name, source, rows in parts:
        frame = read(options.folder / f"{source}.tsv", rows)
        frame.to_csv(folder / f"{name}.tsv", sep="\t", index=False, quoting=3, quotechar="\x00")
    return folder


def tlkit(*arguments: str, cwd: Path) -> str:
    """Run the command line; its complaints stay visible."""
    command = [sys.executable, "-m", "tlkit", *arguments]
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True).stdout


def ours(options: argparse.Namespace, data: Path, scratch: Path, seed: int) -> tuple[float, float]:
    """Bake, train and measure a project: accuracy on test, seconds of `tlkit train`."""
    project = scratch / f"project-{seed}"
    columns = ["--set", f"text_column={options.text}", "--set", f"label_column={options.label}"]
    extra = [word for override in options.overrides for word in ("--set", override)]
    tlkit("new", "text-sentiment", str(project), "--data", str(data), *columns, cwd=scratch)
    start = time.monotonic()
    tlkit("train", "--set", f"data.seed={seed}", *extra, cwd=project)
    seconds = time.monotonic() - start
    answer = tlkit("evaluate", "--data", str(data / "test.tsv"), "--json", cwd=project)
    return json.loads(answer)["metrics"]["accuracy"], seconds


def encoder_folder() -> Path:
    """Give the files of the default encoder."""
    from tlkit.catalogue import text_weights

    return text_weights.resolve("all-minilm-l6-v2").path


def plain_classifier(length: int):
    """KerasHub's classifier on the same weights, compiled as its guide does."""
    import keras
    import keras_hub

    folder = str(encoder_folder())
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor.from_preset(folder, sequence_length=length)
    model = keras_hub.models.BertTextClassifier.from_preset(folder, num_classes=2, preprocessor=preprocessor)
    model.compile(
        optimizer=keras.optimizers.AdamW(5e-5),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def plain(options: argparse.Namespace, data: Path, seed: int) -> tuple[float, float]:
    """One epoch of plain Keras at 64 tokens: accuracy on test, seconds of `fit`."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    train, test = read(data / "train.tsv"), read(data / "test.tsv")
    model = plain_classifier(64)
    batches = tf.data.Dataset.from_tensor_slices((train[options.text].tolist(), train[options.label].tolist()))
    start = time.monotonic()
    model.fit(batches.shuffle(len(train), seed=seed).batch(BATCH), epochs=1, verbose=0)
    seconds = time.monotonic() - start
    logits = model.predict(test[options.text].tolist(), verbose=0)
    return float((logits.argmax(axis=1) == test[options.label]).mean()), seconds


def tf_idf(options: argparse.Namespace, data: Path) -> float:
    """Words and pairs of words, logistic regression: accuracy on test."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train, test = read(data / "train.tsv"), read(data / "test.tsv")
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000))
    model.fit(train[options.text], train[options.label])
    return float(model.score(test[options.text], test[options.label]))


def accuracy(options: argparse.Namespace, data: Path, scratch: Path) -> None:
    """Both sides, seed by seed."""
    results: dict[str, list[tuple[float, float]]] = {"tlkit": [], "plain Keras": []}
    for seed in range(options.seeds):
        results["tlkit"].append(ours(options, data, scratch, seed))
        print(f"seed {seed}: tlkit {results['tlkit'][-1][0]:.4f} in {results['tlkit'][-1][1]:.0f} s", flush=True)
        if seed < options.plain_seeds:
            results["plain Keras"].append(plain(options, data, seed))
            score, seconds = results["plain Keras"][-1]
            print(f"seed {seed}: plain Keras, one epoch at 64 tokens {score:.4f} in {seconds:.0f} s", flush=True)
    for name, pairs in results.items():
        if pairs:
            scores, seconds = (statistics.mean(column) for column in zip(*pairs, strict=True))
            print(f"{name}: mean of {len(pairs)} seeds {scores:.4f} in {seconds:.0f} s")
    print(f"TF-IDF and logistic regression {tf_idf(options, data):.4f}")


def throughput(options: argparse.Namespace, data: Path) -> None:
    """Training examples a second, interleaved: tlkit's buckets, plain Keras at 64 and at 128 tokens."""
    import tensorflow as tf

    import tlkit as kit

    texts = {"train": data / "train.tsv", "val": data / "val.tsv"}
    batches = kit.texts_from_table(texts, text_column=options.text, label_column=options.label, batch_size=BATCH)
    task = kit.text_classifier("all-minilm-l6-v2", batches.class_names, preprocessing=batches.preprocessing)
    learn = kit.Learner(task, batches)
    learn.unfreeze()
    engine = learn._run.engine
    engine.ready(learn.task.model)
    engine.optimizer.set_plan(np.full(100_000, 1e-5), None, (1.0,) * len(learn.task.groups))
    frame = read(data / "train.tsv")
    steps = options.steps
    runs = {"tlkit": lambda epoch: learn.task.model.fit(batches.epoch(epoch).take(steps), verbose=0)}
    for length in (64, 128):
        model = plain_classifier(length)
        rows = tf.data.Dataset.from_tensor_slices((frame[options.text].tolist(), frame[options.label].tolist()))
        rows = rows.shuffle(len(frame), seed=0).batch(BATCH, drop_remainder=True).take(steps)
        runs[f"plain Keras, {length} tokens"] = lambda _, model=model, rows=rows: model.fit(rows, verbose=0)
    for run in runs.values():
        run(0)  # traces and compiles
    speed: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.rounds):
        for name, run in runs.items():
            start = time.monotonic()
            run(turn + 1)
            speed[name].append(BATCH * steps / (time.monotonic() - start))
    median = {name: statistics.median(values) for name, values in speed.items()}
    for name, value in median.items():
        print(f"{name}: {value:.1f} examples/s, tlkit is {median['tlkit'] / value:.2f} x", flush=True)


def frozen(options: argparse.Namespace, data: Path) -> None:
    """The frozen path: texts a second through the encoder once, seconds of the head, accuracy."""
    import tlkit as kit

    texts = {name: data / f"{name}.tsv" for name in ("train", "val", "test")}
    scores = []
    for seed in range(options.seeds):
        start = time.monotonic()
        batches = kit.texts_from_table(texts, text_column=options.text, label_column=options.label, seed=seed)
        task = kit.text_classifier(
            "all-minilm-l6-v2", batches.class_names, preprocessing=batches.preprocessing, seed=seed, layers=4
        )
        learn = kit.Learner(task, batches)
        ready = time.monotonic()
        learn._run.feed.training_features()
        features = time.monotonic()
        learn.fit(10, options.head_lr, verbose=False)
        done = time.monotonic()
        scores.append(learn.evaluate("test").accuracy)
        count = len(batches.labels("train"))
        print(
            f"seed {seed}: built in {ready - start:.1f} s, {count / (features - ready):.0f} texts/s through the "
            f"encoder, 10 epochs of the head in {done - features:.1f} s, accuracy {scores[-1]:.4f}",
            flush=True,
        )
    print(f"frozen: mean of {len(scores)} seeds {statistics.mean(scores):.4f}")


def memory(options: argparse.Namespace) -> None:
    """What an epoch over 50,000 texts of 256 tokens holds above the model."""
    import tlkit as kit

    rng = np.random.default_rng(0)
    words = np.array(read(options.folder / "train.tsv", 5000)[options.text].str.cat(sep=" ").split())
    frame = pd.DataFrame(
        {
            "text": [" ".join(rng.choice(words, 300)) for _ in range(options.long_texts)],
            "label": rng.integers(0, 2, options.long_texts),
        }
    )
    task = kit.text_classifier("all-minilm-l6-v2", ["0", "1"], max_tokens=256)
    before = resident()
    data = kit.texts_from_table(frame, preprocessing=task.preprocessing, batch_size=BATCH, val_fraction=0.001)
    held = resident()
    learn = kit.Learner(task, data)
    learn.unfreeze()
    engine = learn._run.engine
    engine.ready(task.model)
    engine.optimizer.set_plan(np.full(100_000, 1e-5), None, (1.0,) * len(task.groups))
    built = resident()
    seen = []
    for step in range(options.long_steps):
        task.model.fit(data.epoch(step).take(1), verbose=0)
        seen.append(resident())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    lengths = data.summary().get("tokens", "")
    print(
        f"{options.long_texts} texts {lengths}: texts and tokens {held - before:.2f} GB; with model and optimizer the "
        f"process holds {built:.2f} GB; over {options.long_steps} steps {max(seen) - built:.2f} GB more, at the peak "
        f"{peak - built:.2f} GB more"
    )


def resident() -> float:
    """Memory that this process holds, in GB."""
    import psutil

    return psutil.Process().memory_info().rss / 1024**3


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plain-seeds", type=int, default=3, help="of plain Keras, 5 minutes each on 2 cores")
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--val-rows", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=25, help="training steps of a round of the throughput")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long-texts", type=int, default=50_000)
    parser.add_argument("--long-steps", type=int, default=30)
    parser.add_argument("--head-lr", type=float, default=1e-3)
    parser.add_argument("--text", default="sentence")
    parser.add_argument("--label", default="label")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        data = scratch / "data"
        data.mkdir()
        prepared(options, data)
        if "throughput" in options.parts:
            throughput(options, data)
        if "frozen" in options.parts:
            frozen(options, data)
        if "memory" in options.parts:
            memory(options)
        if "accuracy" in options.parts:
            accuracy(options, data, scratch)


if __name__ == "__main__":
    main()
