"""Training speed of the Learner against plain Keras, in one run, on the same photos and the same network.

    python tools/bench_training.py FOLDER [--rounds N]

FOLDER holds class folders (or train/ and val/ folders of them). Printed are ratios: the frozen stage against one plain
forward pass, and an unfrozen `fit` (images per second, time to the first step) against plain `keras.Model.fit` with
Keras' defaults and with the best plain setting. Each figure comes from processes of its own, taken in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

BACKBONE = "efficientnet-lite0"
# "defaults" and "no_xla" wire the network as Keras' guide does; "same_net" fits tlkit's own model plainly, without XLA.
PARTS = ("forward", "frozen", "tlkit", "defaults", "no_xla", "same_net")


def load(folder: str, augment: str = "side_on"):
    """Photos and a fresh task."""
    import tlkit

    data = tlkit.images_from_folder(folder, augment=augment)
    return data, tlkit.image_classifier(BACKBONE, data.class_names)


def forward(folder: str) -> dict[str, float]:
    """One plain forward pass over the training photos in a fresh process, with and without its tracing."""
    import tensorflow as tf

    data, task = load(folder)

    @tf.function(jit_compile=False)
    def features(images):
        return task.features(images, training=False)

    passes = []
    for _ in range(3):
        start = time.perf_counter()
        for images, _ in data.ordered("train"):
            features(images).numpy()
        passes.append(time.perf_counter() - start)
    return {"cold_s": passes[0], "warm_s": min(passes)}


def frozen(folder: str) -> dict[str, float]:
    """Ten epochs of the frozen stage in a fresh process, validation after each included."""
    import tlkit

    data, task = load(folder)
    learn = tlkit.Learner(task, data)
    start = time.perf_counter()
    learn.fit(10, 2e-3, verbose=False)
    return {"fit_s": time.perf_counter() - start}


def plain_model(classes: int):
    """The same network put together as Keras' transfer-learning guide does, everything trainable."""
    import keras

    from tlkit.catalogue.backbones import build_backbone

    built = build_backbone(BACKBONE)
    inputs = keras.Input(built.model.input_shape[1:])
    x = built.model(built.pixel_scaling()(inputs), training=False)
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, keras.layers.Dense(classes)(x))
    built.model.trainable = True
    return model


def unfrozen(folder: str, side: str) -> dict[str, float]:
    """Images per second and time to the first step of one way to train everything."""
    import keras

    import tlkit

    data, task = load(folder)
    steps = max(3, data.steps_per_epoch)

    class Clock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.ends: list[float] = []

        def on_train_batch_end(self, batch, logs=None):
            self.ends.append(time.perf_counter())

    clock = Clock()
    start = time.perf_counter()
    task.freeze_to(0)
    if side == "tlkit":
        tlkit.Learner(task, data).fit(3, 1e-5, callbacks=[clock], verbose=False)
    else:
        model = task.model if side == "same_net" else plain_model(len(data.class_names))
        model.compile(
            keras.optimizers.Adam(1e-5),
            keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            jit_compile="auto" if side == "defaults" else False,
        )
        model.fit(
            data.epochs(), steps_per_epoch=steps, epochs=3, validation_data=data.val, callbacks=[clock], verbose=0
        )
    # Steps inside an epoch only: the gaps between epochs hold the validation pass.
    gaps = [b - a for i, (a, b) in enumerate(zip(clock.ends, clock.ends[1:], strict=False)) if (i + 1) % steps]
    return {"images_per_s": data.batch_size / statistics.median(gaps[steps:]), "first_step_s": clock.ends[0] - start}


def child(*arguments: str) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Take the measurements in turn and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        parts = {"forward": forward, "frozen": frozen}
        result = (
            parts[options.part](options.folder) if options.part in parts else unfrozen(options.folder, options.part)
        )
        print(json.dumps(result))
        return
    if not Path(options.folder).is_dir():
        sys.exit(f"no such folder: {options.folder}")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in PARTS}
    for _ in range(options.rounds):
        for part, results in runs.items():
            results.append(child(options.folder, "--part", part))

    def median(part: str, key: str) -> float:
        return statistics.median(result[key] for result in runs[part])

    def ratio(key: str, other: str) -> float:
        return statistics.median(a[key] / b[key] for a, b in zip(runs["tlkit"], runs[other], strict=True))

    cold, warm, fit = median("forward", "cold_s"), median("forward", "warm_s"), median("frozen", "fit_s")
    print(f"plain forward pass {cold:.2f} s (traced already: {warm:.2f} s), frozen stage {fit:.2f} s")
    print(f"frozen stage / forward pass          {fit / cold:.2f}   (goal at most 1.3)")
    print(f"frozen stage / traced forward pass   {fit / warm:.2f}")
    for part in PARTS[2:]:
        speed, first = median(part, "images_per_s"), median(part, "first_step_s")
        print(f"{part:9} {speed:6.1f} images/s, first step after {first:.1f} s")
    print(f"images/s against Keras' defaults     {ratio('images_per_s', 'defaults'):.2f}   (goal 1.3)")
    print(f"images/s against Keras without XLA   {ratio('images_per_s', 'no_xla'):.2f}   (goal 0.98)")
    print(f"images/s against the same network    {ratio('images_per_s', 'same_net'):.2f}")
    print(f"first step against Keras' defaults   {ratio('first_step_s', 'defaults'):.2f}   (goal at most 0.7)")


if __name__ == "__main__":
    main()
