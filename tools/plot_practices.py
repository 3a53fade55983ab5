"""Draw the pictures of docs/: a learning-rate sweep, rates by layer group, warm restarts with their snapshots.

Each shows what a real, small training on scikit-learn's digits recorded; no network and less than a minute needed.

python tools/plot_practices.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits

import tlkit
from tlkit import schedules

BLUE, RED, GREEN, PURPLE = "#1f5f99", "#c8502b", "#3c8c5a", "#8a5fa8"
RATE = 1e-2


def network() -> tuple[keras.Model, tf.data.Dataset, tf.data.Dataset]:
    """Make a small network of plain Keras, and batches of digits to train and to validate it with."""
    keras.utils.set_random_seed(0)
    digits = load_digits()
    images = (digits.images[..., np.newaxis] / 16).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((images, digits.target)).shuffle(
        1797, seed=0, reshuffle_each_iteration=False
    )
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, batches.skip(360).batch(32), batches.take(360).batch(360)


def sweep(path: Path) -> None:
    """Sweep the small network and draw what the finder found."""
    model, dataset, _ = network()
    found = tlkit.find_lr(model, dataset)
    print(found)
    found.plot(path)


def learner(folder: Path) -> tlkit.Learner:
    """Make a Learner on 300 digits, written as photos of 32 pixels, and a network with four layer groups."""
    digits = load_digits()
    for number in range(10):
        (folder / str(number)).mkdir(parents=True)
        for count, pixels in enumerate(digits.images[digits.target == number][:30]):
            large = np.kron(pixels / 16 * 255, np.ones((4, 4))).astype(np.uint8)
            Image.fromarray(large).save(folder / str(number) / f"{count}.png")
    data = tlkit.images_from_folder(folder, size=32, batch_size=16)
    return tlkit.Learner(tlkit.image_classifier("mobilenet-v2-0.35", data.class_names, size=32, weights="none"), data)


def group_rates(learn: tlkit.Learner, path: Path) -> None:
    """Train with a rate for each layer group and draw them on a logarithmic scale."""
    learn.unfreeze()
    learn.recorder.clear()
    learn.fit(3, [RATE / 9, RATE / 3, RATE], verbose=False)
    figure, axes = canvas()
    rates = np.array(learn.recorder.rates)
    names = [group.name for group in learn.task.groups]
    looks = ((9, BLUE, "-"), (9, GREEN, "--"), (3, PURPLE, "-"), (1, RED, "-"))
    for name, (part, color, style) in zip(names, looks, strict=True):
        label = f"{name}: lr" if part == 1 else f"{name}: lr/{part}"
        axes.plot(rates / part, color=color, linestyle=style, linewidth=2, label=label)
    axes.set_yscale("log")
    axes.set_ylim(bottom=RATE / 1e4)
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.set_title("learn.fit(3, [lr/9, lr/3, lr]) with lr = 0.01: one-cycle, a rate for each layer group")
    axes.legend(frameon=False)
    write(figure, path)


def restarts(path: Path) -> None:
    """Train the small network in three cycles; draw rates, validation losses and where snapshots belong."""
    model, dataset, validation = network()
    recorder = tlkit.Recorder()
    callbacks = [tlkit.WarmRestarts(RATE, cycle_len=1, cycle_mult=2), recorder]
    options = {"validation_data": validation, "callbacks": callbacks, "shuffle": False, "verbose": 0}
    history = model.fit(dataset, epochs=1 + 2 + 4, **options).history
    recorder.plot_losses(path.with_name("recorder-losses.png"))
    steps = len(dataset)
    ends = schedules.Restarts(RATE, cycle_steps=steps, cycle_mult=2).cycle_ends(7 * steps)
    figure, axes = canvas()
    axes.plot(recorder.rates, color=BLUE, linewidth=2, label="learning rate")
    for number, end in enumerate(ends):
        axes.axvline(end, color=RED, linewidth=1.4, linestyle=":", label=None if number else "end of a cycle: snapshot")
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate", color=BLUE)
    second = axes.twinx()
    epochs = steps * np.arange(1, 8)
    second.plot(epochs, history["val_loss"], color=GREEN, marker="o", linewidth=1.4, label="validation loss")
    second.set_ylabel("validation loss", color=GREEN)
    second.set_ylim(bottom=0)
    axes.set_title("cycle_len=1, cycle_mult=2: three cycles of 1, 2 and 4 epochs")
    lines = [*axes.get_legend_handles_labels()[0], *second.get_legend_handles_labels()[0]]
    axes.legend(
        lines, [line.get_label() for line in lines], frameon=False, loc="upper right", bbox_to_anchor=(0.95, 1.0)
    )
    write(figure, path)


def canvas() -> tuple[Figure, Any]:
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def write(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    images = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "images"
    sweep(images / "learning-rate-finder.png")
    restarts(images / "snapshots.png")
    with tempfile.TemporaryDirectory() as scratch:
        group_rates(learner(Path(scratch) / "digits"), images / "discriminative-rates.png")
