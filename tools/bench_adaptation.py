"""What domain adaptation brings to a text classifier: the same training with and without, on the same labelled rows.

    python tools/bench_adaptation.py TRAIN.tsv TEST.tsv [--unlabelled N] [--labelled N] [--seeds N] [--epochs N]

The files have a header, and columns of texts and labels. The encoder is adapted once for each seed, on the texts of the
first rows of TRAIN alone, then both classifiers train on the labelled rows: with the defaults of a Learner, one cycle,
weights of the last step (no epoch is picked), and are measured on TEST.
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pandas as pd

from tlkit.inputs.text.reading import texts_from_table
from tlkit.models.text import text_classifier
from tlkit.tasks.text_classification.adapt import adapt_encoder
from tlkit.training.learner import Learner


def read(path: Path, text: str, label: str) -> list[tuple[str, str]]:
    """Read (text, label) rows of a table parted by tabs, without quoting."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row[text], row[label]) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def classify(encoder: str, table: pd.DataFrame, options: argparse.Namespace, seed: int) -> tuple[float, float]:
    """Train a classifier on an encoder; gives accuracy on the test rows and seconds of training."""
    keras.backend.clear_session()
    data = texts_from_table(table, encoder=encoder, split_column="split", seed=seed)
    learn = Learner(text_classifier(encoder, data.class_names, preprocessing=data.preprocessing, seed=seed), data)
    start = time.perf_counter()
    learn.unfreeze()
    learn.fit(options.epochs, [options.lr, options.lr * 10], verbose=False)
    seconds = time.perf_counter() - start
    return float(learn.evaluate("test").accuracy), seconds


def main() -> None:
    """Adapt, train with and without for every seed, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--unlabelled", type=int, default=40_000, help="rows of TRAIN whose texts are adapted to")
    parser.add_argument("--labelled", type=int, default=8_000, help="rows of TRAIN that the classifier trains on")
    parser.add_argument("--tested", type=int, default=0, help="rows of TEST; 0 for all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="of the classifier")
    parser.add_argument("--lr", type=float, default=1e-4, help="of the classifier's encoder; the head has ten times it")
    parser.add_argument("--adapt-epochs", type=int, default=1)
    parser.add_argument("--adapt-lr", type=float, default=5e-5)
    parser.add_argument("--encoder", default="all-minilm-l6-v2")
    parser.add_argument("--text", default="sentence")
    parser.add_argument("--label", default="label")
    options = parser.parse_args()
    logging.getLogger("tlkit").setLevel(logging.WARNING)
    rows, test = (read(path, options.text, options.label) for path in (options.train, options.test))
    labelled, test = rows[: options.labelled], test[: options.tested or None]
    # A few of the labelled rows are set aside as the Learner's validation part, the same with and without.
    val = np.random.default_rng(0).permutation(len(labelled))[: max(len(labelled) // 20, 2)]
    held_out = set(val.tolist())
    splits = ["val" if number in held_out else "train" for number in range(len(labelled))]
    table = pd.DataFrame([*labelled, *test], columns=["text", "label"])
    table["split"] = [*splits, *["test"] * len(test)]
    found: dict[str, list[tuple[float, float, float]]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(options.seeds):
            accuracy, seconds = classify(options.encoder, table, options, seed)
            found["without"].append((accuracy, seconds, 0.0))
            print(f"seed {seed} without: accuracy {accuracy:.4f} in {seconds:.0f} s", flush=True)
            result = adapt_encoder(
                [text for text, _ in rows[: options.unlabelled]],
                options.encoder,
                to=Path(scratch) / f"adapted-{seed}",
                epochs=options.adapt_epochs,
                lr=options.adapt_lr,
                seed=seed,
                verbose=False,
            )
            print(
                f"seed {seed} adapted to {result.texts} texts, {result.tokens} tokens, in {result.seconds:.0f} s: loss "
                f"{result.loss_at_start:.3f} at the start, {result.loss_before:.3f} before, {result.loss_after:.3f} "
                f"after; pseudo-perplexity {result.pseudo_perplexity:.0f}",
                flush=True,
            )
            accuracy, seconds = classify(str(result.folder), table, options, seed)
            found["with"].append((accuracy, seconds, result.seconds))
            print(f"seed {seed} with:    accuracy {accuracy:.4f} in {seconds:.0f} s", flush=True)
    print(
        f"\n{options.encoder}: {min(options.unlabelled, len(rows))} unlabelled rows, {len(labelled)} labelled ones, "
        f"{len(test)} test rows, {options.seeds} seeds\n"
    )
    print("| adaptation | accuracy, mean | lowest to highest | seconds of training | seconds of adapting |")
    print("|---|---|---|---|---|")
    for name, numbers in found.items():
        accuracies, training, adapting = zip(*numbers, strict=True)
        print(
            f"| {name} | {statistics.mean(accuracies):.4f} | {min(accuracies):.4f} to {max(accuracies):.4f} "
            f"| {statistics.mean(training):.0f} | {statistics.mean(adapting):.0f} |"
        )


if __name__ == "__main__":
    main()
