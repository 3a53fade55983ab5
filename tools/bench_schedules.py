"""Smith's claim in the small: steps to a given validation accuracy, by learning-rate schedule.

    python tools/bench_schedules.py [--seeds N] [--target ACCURACY]

A small convolutional network learns scikit-learn's handwritten digits (1,797 real images of 8 x 8 pixels). Each
schedule runs at every rate of the same grid; its best rate is the one that reaches the target in the fewest steps (mean
over the seeds; a run that never does counts as the whole length plus one). Printed are steps and the ratio to the
constant rate, each at its own best.
After Smith 2015, arXiv 1506.01186, and Smith & Topin 2017, arXiv 1708.07120.
"""

from __future__ import annotations

import argparse
import os
import statistics

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tlkit

GRID = (0.03, 0.06, 0.1, 0.2, 0.3, 0.5)
EPOCHS, BATCH, EVERY = 15, 64, 5
KINDS = ("constant", "exponential decay", "CyclicalLR triangular", "CyclicalLR triangular2", "OneCycle")


class Target(keras.callbacks.Callback):
    """Notes the first step after which the validation accuracy is reached; looks every few steps."""

    def __init__(self, x: np.ndarray, y: np.ndarray, target: float):
        super().__init__()
        self.x, self.y, self.target = tf.constant(x), y, target
        self.steps = 0
        self.reached: int | None = None
        self.best = 0.0

    def on_train_begin(self, logs=None):
        """Compile the answer on the validation images."""
        self.answer = tf.function(lambda: tf.argmax(self.model(self.x, training=False), 1), jit_compile=False)

    def on_train_batch_end(self, batch, logs=None):
        """Look."""
        self.steps += 1
        if self.steps % EVERY:
            return
        accuracy = float(np.mean(self.answer().numpy() == self.y))
        self.best = max(self.best, accuracy)
        if accuracy >= self.target and self.reached is None:
            self.reached = self.steps


def network(seed: int) -> keras.Model:
    """Two convolutions and a dense layer."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu", padding="same"),
            keras.layers.Conv2D(32, 3, activation="relu", strides=2),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def run(kind: str, rate: float, seed: int, data: tuple, target: float) -> tuple[int | None, float]:
    """Train once; gives the step that reached the target, or None, and the best accuracy."""
    x, x_val, y, y_val = data
    steps = -(-len(x) // BATCH)
    learning_rate, callbacks = rate, []
    if kind == "exponential decay":  # to a tenth over the run
        learning_rate = keras.optimizers.schedules.ExponentialDecay(rate, EPOCHS * steps, 0.1)
    elif kind.startswith("CyclicalLR"):  # half a cycle is two epochs, as Smith advises (2 to 10)
        callbacks = [tlkit.CyclicalLR(rate / 10, rate, step_size_epochs=2, mode=kind.split()[1])]
    elif kind == "OneCycle":
        callbacks = [tlkit.OneCycle(rate)]
    model = network(seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(learning_rate, momentum=0.9), loss, jit_compile=False)
    watch = Target(x_val, y_val, target)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=seed).batch(BATCH)
    model.fit(dataset, epochs=EPOCHS, callbacks=[*callbacks, watch], shuffle=False, verbose=0)
    return watch.reached, watch.best


def main() -> None:
    """Run every schedule at every rate and print each at its best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--target", type=float, default=0.97)
    options = parser.parse_args()
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)
    data = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    longest = EPOCHS * -(-len(data[0]) // BATCH)
    print(f"steps to a validation accuracy of {options.target:.0%} (of {longest}), mean of {options.seeds} seeds")
    best: dict[str, float] = {}
    for kind in KINDS:
        outcomes = {}
        for rate in GRID:
            runs = [run(kind, rate, seed, data, options.target) for seed in range(options.seeds)]
            steps = statistics.mean(reached if reached is not None else longest + 1 for reached, _ in runs)
            outcomes[rate] = (steps, statistics.mean(top for _, top in runs), [reached for reached, _ in runs])
        rate = min(outcomes, key=lambda rate: outcomes[rate][0])
        best[kind] = outcomes[rate][0]
        ratio = best[kind] / best["constant"]
        print(
            f"{kind:24} best rate {rate:<5g} {best[kind]:6.0f} steps {outcomes[rate][2]}, ratio {ratio:.2f}, "
            f"best accuracy {outcomes[rate][1]:.4f}; all rates: "
            + ", ".join(f"{rate:g}: {steps:.0f}" for rate, (steps, _, _) in outcomes.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
