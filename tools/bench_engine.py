"""What the fine-tuning engine costs per step: recorder, schedules, rates by layer group, against plain Keras.

    python tools/bench_engine.py FOLDER [--rounds N] [--size PIXELS]

FOLDER holds class folders. The same network (MobileNetV2-0.35, random weights, everything trainable, AdamW) is trained
in turn, one epoch at a time, by a plain `fit`, by the Learner, by the Learner with a rate for each group, by Keras'
MultiOptimizer with one AdamW a group, and by a plain `fit` with tlkit's callbacks. Printed are ratios of the tenth
percentile of all steps of a way: what a step takes when the machine is not disturbed.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import tlkit


class Clock(keras.callbacks.Callback):
    """Notes when each step ends."""

    def __init__(self):
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch, logs=None):
        """Look at the clock."""
        self.ends.append(time.perf_counter())

    def steps(self) -> list[float]:
        """Seconds of each step but the first."""
        return [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]


def adamw(rate: float) -> keras.optimizers.Optimizer:
    """The optimizer of every way."""
    return keras.optimizers.AdamW(rate, weight_decay=1e-2)


def ways(folder: str, size: int) -> dict[str, Callable[[], list[float]]]:
    """Give each way to train an epoch, traced already: it returns the seconds of its steps."""
    data = tlkit.images_from_folder(folder, size=size, batch_size=16, augment="none")

    def task() -> tlkit.Task:
        made = tlkit.image_classifier("mobilenet-v2-0.35", data.class_names, size=size, weights="none")
        made.freeze_to(0)
        return made

    def plain(optimizer: Callable[[tlkit.Task], keras.optimizers.Optimizer], *callbacks: Callable) -> Callable:
        made = task()
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
        made.model.compile(optimizer(made), loss, metrics=[accuracy], jit_compile=False)

        def epoch() -> list[float]:
            clock, extra = Clock(), [make() for make in callbacks]
            made.model.fit(data.epoch(0), callbacks=[*extra, clock], shuffle=False, verbose=0)
            return clock.steps()

        return epoch

    def learner(rates: float | list[float]) -> Callable:
        learn = tlkit.Learner(task(), data, optimizer=adamw)

        def epoch() -> list[float]:
            clock = Clock()
            learn.fit(1, rates, callbacks=[clock], verbose=False)
            return clock.steps()

        return epoch

    def one_per_group(made: tlkit.Task) -> keras.optimizers.Optimizer:
        numbers = {v.path: number for number, group in enumerate(made.groups) for v in group.variables}
        inner = [adamw(1e-5 * 3.0 ** (number - 3)) for number in range(len(made.groups))]
        return keras.optimizers.MultiOptimizer(lambda variable: inner[numbers[variable.path]])

    made = {
        "plain fit": plain(lambda _: adamw(1e-5)),
        "Learner": learner(1e-5),
        "Learner, a rate for each group": learner([1e-5 / 27, 1e-5 / 9, 1e-5 / 3, 1e-5]),
        "MultiOptimizer": plain(one_per_group),
        "plain fit + OneCycle + Recorder": plain(lambda _: adamw(1e-5), lambda: tlkit.OneCycle(1e-5), tlkit.Recorder),
    }
    for epoch in made.values():
        epoch()
    return made


def quiet(steps: list[float]) -> float:
    """Seconds of an undisturbed step."""
    return statistics.quantiles(steps, n=10)[0]


def main() -> None:
    """Run the ways in turn and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    logging.getLogger("tlkit").setLevel(logging.WARNING)
    made = ways(options.folder, options.size)
    steps: dict[str, list[float]] = {name: [] for name in made}
    names = list(made)
    for number in range(options.rounds):
        # Each round begins with another way, so that a machine that slows down treats all alike.
        for name in [*names[number % len(names) :], *names[: number % len(names)]]:
            steps[name] += made[name]()

    def ratio(name: str, other: str) -> float:
        return quiet(steps[name]) / quiet(steps[other])

    for name in names:
        print(
            f"{name:34} {quiet(steps[name]) * 1000:7.1f} ms a step, ratio to plain fit {ratio(name, 'plain fit'):.3f}"
        )
    print(f"rates by group / one rate: {ratio(names[2], names[1]):.3f} (goal at most 1.05)")
    print(f"MultiOptimizer / rates by group: {ratio(names[3], names[2]):.3f}")


if __name__ == "__main__":
    main()
