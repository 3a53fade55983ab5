"""What the image template's defaults score on data of several kinds and sizes, beside a linear probe and Keras' guide.

    python tools/bench_defaults.py ../shared/data [--sets NAME ...] [--sizes N ...] [--seeds N] [--parts NAME ...]

Sets: hymenoptera and sign_digits of the folder (train/ and val/ folders of class folders), surfaces (crops of
scikit-image's photographs) and digits (scikit-learn's, blown up). Sizes: training images a class, 0 for all.

* tlkit: `tlkit new`, `tlkit train`, `tlkit evaluate` with no value changed but the seed.
* probe: scikit-learn's LogisticRegressionCV (4 values of C, 5 folds) on standardised features of the same network at
  320 px.
* guide: Keras' transfer-learning guide on the same network: 20 epochs of the head at 1e-3, 10 of everything at 1e-5.

Every run is a process of its own: accuracy on val/, seconds with the start of Python, and the most memory it held. At
the end a table of means, and of tlkit against the probe the difference over all runs with its standard error, paired by
set, size and seed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

BACKBONE, SIZE = "efficientnet-lite0", 320
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def write_digits(folder: Path) -> Path:
    """Write scikit-learn's digits as PNG files, 40 of each class for validation; 8 x 8 pixels become 96 x 96."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    count = dict.fromkeys(range(10), 0)
    for number in order:
        label = int(digits.target[number])
        part = "val" if count[label] < 40 else "train"
        count[label] += 1
        place = folder / part / str(label)
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(digits.images[number] * 16, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).convert("RGB").resize((96, 96), Image.Resampling.BICUBIC).save(place / f"{number}.png")
    return folder


def whole_set(name: str, data: Path, place: Path) -> Path:
    """Give the folder of a set, made if it comes from a package."""
    if name in ("hymenoptera", "sign_digits"):
        return data / name
    folder = place / name
    if not folder.exists():
        if name == "digits":
            return write_digits(folder)
        command = [sys.executable, "-m", "tlkit", "samples", "get", "surfaces", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return folder


def part_of(folder: Path, size: int, seed: int, place: Path) -> Path:
    """Link `size` training images of each class, drawn by the seed, and all validation images into a new folder."""
    chosen = place / f"{folder.name}-{size}-{seed}"
    draw = np.random.default_rng(seed)
    for part in ("train", "val"):
        for classes in sorted((folder / part).iterdir()):
            files = sorted(path for path in classes.iterdir() if path.is_file())
            if part == "train" and size:
                files = [files[number] for number in sorted(draw.permutation(len(files))[:size])]
            target = chosen / part / classes.name
            target.mkdir(parents=True, exist_ok=True)
            for file in files:
                (target / file.name).symlink_to(file.resolve())
    return chosen


def measured(command: list[str], cwd: Path) -> tuple[str, float, float]:
    """Run a command; give what it printed, its seconds, and the most memory that it held, in GB."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, cwd=cwd, stdout=out, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        out.seek(0)
        return out.read(), time.monotonic() - start, usage.ru_maxrss / 1e6


def run_tlkit(folder: Path, seed: int, place: Path) -> tuple[float, float, float]:
    """Train a new project; seconds and memory are those of `tlkit train`."""
    project = place / f"project-{folder.name}"
    tlkit = [sys.executable, "-m", "tlkit"]
    measured([*tlkit, "new", "image-classification", str(project), "--data", str(folder.resolve())], place)
    _, seconds, memory = measured([*tlkit, "train", "--set", f"data.seed={seed}"], project)
    told, _, _ = measured([*tlkit, "evaluate", "--json"], project)
    return json.loads(told)["metrics"]["accuracy"], seconds, memory


def run_itself(part: str, folder: Path, seed: int, place: Path) -> tuple[float, float, float]:
    """Run a peer of this file in a process of its own."""
    told, seconds, memory = measured(
        [sys.executable, __file__, str(folder), "--peer", part, "--seeds", str(seed)], place
    )
    return float(told.split()[-1]), seconds, memory


def probe(folder: Path, seed: int) -> float:
    """Fit scikit-learn's cross-validated regression on features."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import tlkit
    from tlkit.training.features import run

    data = tlkit.images_from_folder(folder, size=SIZE, seed=seed)
    task = tlkit.image_classifier(BACKBONE, data.class_names, size=SIZE, seed=seed)
    regression = LogisticRegressionCV(
        Cs=[1e-3, 1e-2, 1e-1, 1.0], cv=5, max_iter=2000, l1_ratios=(0,), use_legacy_attributes=False
    )
    model = make_pipeline(StandardScaler(), regression)
    model.fit(run(task.features, data.ordered("train")), data.labels("train"))
    return float(model.score(run(task.features, data.ordered("val")), data.labels("val")))


def guide(folder: Path, seed: int) -> float:
    """Train as Keras' guide on transfer learning and fine-tuning does, on the same pretrained network."""
    import keras

    import tlkit

    keras.utils.set_random_seed(seed)
    read = keras.utils.image_dataset_from_directory
    options = {"image_size": (SIZE, SIZE), "batch_size": 32, "label_mode": "int", "verbose": False}
    train, val = (read(folder / part, **options) for part in ("train", "val"))
    base = tlkit.image_classifier(BACKBONE, train.class_names, size=SIZE, pooling="avg").features
    base.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    changed = keras.layers.RandomFlip("horizontal")(inputs)
    changed = keras.layers.RandomRotation(0.1)(changed)
    outputs = keras.layers.Dropout(0.2)(base(changed, training=False))
    model = keras.Model(inputs, keras.layers.Dense(len(train.class_names))(outputs))
    for epochs, rate in ((20, 1e-3), (10, 1e-5)):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"], jit_compile=False)
        model.fit(train, epochs=epochs, verbose=0)
        base.trainable = True
    return float(model.evaluate(val, verbose=0, return_dict=True)["accuracy"])


def table(found: dict[tuple[str, int, int, str], tuple[float, float, float]], parts: list[str]) -> Iterator[str]:
    """Give the lines of the table of means."""
    yield "| set | images a class | " + " | ".join(f"{part}: accuracy, seconds, GB" for part in parts) + " |"
    yield "|---|---|" + "---|" * len(parts)
    for name, size in dict.fromkeys((key[0], key[1]) for key in found):
        cells = []
        for part in parts:
            runs = [value for key, value in found.items() if key[0] == name and key[1] == size and key[3] == part]
            accuracy, seconds, memory = (statistics.mean(column) for column in zip(*runs, strict=True))
            cells.append(f"{accuracy:.4f}, {seconds:.0f}, {memory:.1f}")
        yield f"| {name} | {size or 'all'} | " + " | ".join(cells) + " |"


def main() -> None:
    """Run all and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=["hymenoptera", "sign_digits", "surfaces", "digits"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[10, 30, 0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", default=["tlkit", "probe", "guide"])
    parser.add_argument("--peer", choices=["probe", "guide"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        print({"probe": probe, "guide": guide}[options.peer](options.data, options.seeds))
        return
    found: dict[tuple[str, int, int, str], tuple[float, float, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        for name in options.sets:
            folder = whole_set(name, options.data, place)
            for size in options.sizes:
                for seed in range(options.seeds):
                    chosen = part_of(folder, size, seed, place)
                    for part in options.parts:
                        if part == "tlkit":
                            result = run_tlkit(chosen, seed, place)
                        else:
                            result = run_itself(part, chosen, seed, place)
                        found[name, size, seed, part] = result
                        accuracy, seconds, memory = result
                        what = f"{name} {size or 'all'} seed {seed} {part}"
                        print(f"{what}: {accuracy:.4f}, {seconds:.0f} s, {memory:.1f} GB", flush=True)
    print("\n".join(table(found, options.parts)))
    if {"tlkit", "probe"} <= set(options.parts):
        gains = [value[0] - found[(*key[:3], "probe")][0] for key, value in found.items() if key[3] == "tlkit"]
        error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
        print(f"tlkit - probe: {statistics.mean(gains):+.4f} +- {error:.4f} over {len(gains)} runs")


if __name__ == "__main__":
    main()
