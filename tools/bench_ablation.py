"""What each practice brings, added one after the other, on a folder of photos.

    python tools/bench_ablation.py FOLDER [--seeds N] [--size PIXELS]

Every row trains from the pretrained backbone again: validation accuracy after the last step (no epoch is picked), its
spread over the seeds, cross-entropy, and seconds of training, which include the tracing that a fresh row needs.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import tlkit

BACKBONE = "efficientnet-lite0"
FROZEN, EPOCHS = 10, 4
# Each row adds to the one above. Rates are a tenth of the head's once the backbone is unfrozen.
ROWS = ("head only", "+ unfreeze", "+ discriminative", "+ one-cycle", "+ augmentation", "+ TTA", "+ snapshots")


def train(row: int, folder: Path, size: int, seed: int) -> list[tuple[int, float, float, float]]:
    """Train one row; gives (row, accuracy, cross-entropy, seconds), and another row where two share a training."""
    keras.backend.clear_session()
    augment: Any = "side_on" if row >= ROWS.index("+ augmentation") else "none"
    data = tlkit.images_from_folder(folder, size=size, augment=augment, seed=seed)
    learn = tlkit.Learner(tlkit.image_classifier(BACKBONE, data.class_names, size=size, seed=seed), data)
    start = time.perf_counter()
    lr = 1e-3
    learn.fit(FROZEN, lr, schedule="constant" if row < ROWS.index("+ one-cycle") else "one_cycle", verbose=False)
    if row >= ROWS.index("+ unfreeze"):
        learn.unfreeze()
        top = lr / 10
        rates: Any = [top / 9, top / 3, top] if row >= ROWS.index("+ discriminative") else top
        if row == ROWS.index("+ snapshots"):
            learn.fit(EPOCHS // 2, rates, cycle_len=2, snapshots=True, verbose=False)
        else:
            name = "one_cycle" if row >= ROWS.index("+ one-cycle") else "constant"
            learn.fit(EPOCHS, rates, schedule=name, verbose=False)
    seconds = time.perf_counter() - start
    if row == ROWS.index("+ snapshots"):
        learn = learn.ensemble()
    metrics = learn.evaluate()
    found = [(row, metrics.accuracy, metrics.loss, seconds)]
    if row == ROWS.index("+ augmentation"):
        scores, labels = learn.tta(n=4)
        entropy = float(-np.mean(np.log(scores[np.arange(len(labels)), labels])))
        found.append((row + 1, float(np.mean(scores.argmax(1) == labels)), entropy, seconds))
    return found


def main() -> None:
    """Train every row with every seed and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    logging.getLogger("tlkit").setLevel(logging.WARNING)
    found: dict[int, list[tuple[float, float, float]]] = {row: [] for row in range(len(ROWS))}
    for seed in range(options.seeds):
        for row in range(len(ROWS)):
            if row == ROWS.index("+ TTA"):
                continue  # measured on the training of the row above
            for number, *numbers in train(row, options.folder, options.size, seed):
                found[number].append(tuple(numbers))  # type: ignore[arg-type]
                print(f"seed {seed} {ROWS[number]:18} accuracy {numbers[0]:.4f}", flush=True)
    print(f"\n{options.size} pixels, {FROZEN} frozen and {EPOCHS} further epochs, {options.seeds} seeds\n")
    print("| practice | accuracy, mean | lowest to highest | cross-entropy | seconds |")
    print("|---|---|---|---|---|")
    for row, name in enumerate(ROWS):
        accuracies, losses, seconds = zip(*found[row], strict=True)
        print(
            f"| {name} | {statistics.mean(accuracies):.4f} | {min(accuracies):.4f} to {max(accuracies):.4f} "
            f"| {statistics.mean(losses):.3f} | {statistics.mean(seconds):.0f} |"
        )


if __name__ == "__main__":
    main()
