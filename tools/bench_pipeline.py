"""Input pipeline against plain Keras: images per second, and peak memory as a folder grows tenfold.

    python tools/bench_pipeline.py [FOLDER]

FOLDER holds class folders of photos (default: a made-up set of 500 px JPEG photos). Both sides read, decode, resize to
224 px and augment (mirror, rotate, zoom, brightness, contrast) in the same process, turn by turn; nothing is cached.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5


def make_photos(root: Path, count: int) -> Path:
    """Write `count` smooth random 500 x 375 photos in two classes."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(count):
        folder = root / f"class_{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        small.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{number:05d}.jpg", quality=90)
    return root


def rate(dataset, batches: int) -> float:
    """Images per second over some batches, after two that do not count."""
    iterator = iter(dataset)
    for _ in range(2):
        next(iterator)
    start, images = time.perf_counter(), 0
    for _ in range(batches):
        images += len(next(iterator)[0])
    return images / (time.perf_counter() - start)


def compare(folder: Path) -> None:
    """Print both rates and their ratio."""
    import keras
    import tensorflow as tf

    import tlkit

    data = tlkit.images_from_folder(folder, augment="side_on", max_zoom=1.1, cache="off", val_fraction=0.1)
    layers = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(10 / 360, fill_mode="reflect"),
            keras.layers.RandomZoom((-0.1, 0.0), fill_mode="reflect"),
            keras.layers.RandomBrightness(0.1),
            keras.layers.RandomContrast(0.2),
        ]
    )
    plain = keras.utils.image_dataset_from_directory(
        folder, image_size=(224, 224), batch_size=32, label_mode="categorical", verbose=0
    )
    plain = plain.repeat().map(lambda x, y: (layers(x, training=True), y), num_parallel_calls=tf.data.AUTOTUNE)
    plain = plain.prefetch(2)
    ours, theirs, ratios = [], [], []
    for _ in range(ROUNDS):
        ours.append(rate(data.epochs(), 25))
        theirs.append(rate(plain, 25))
        ratios.append(ours[-1] / theirs[-1])
    print(f"tlkit                       {statistics.median(ours):7.0f} images/s")
    print(f"Keras, same augmentation    {statistics.median(theirs):7.0f} images/s")
    print(f"ratio, median of {ROUNDS} rounds   {statistics.median(ratios):7.2f}   (goal 1.5)")


def peak_memory(folder: Path) -> int:
    """Bytes at the peak of a fresh process that streams two epochs of a folder."""
    done = subprocess.run(
        [sys.executable, __file__, "--stream", str(folder)], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1])


def stream(folder: Path) -> None:
    """Stream two epochs without caching and print the peak resident memory."""
    import tlkit

    data = tlkit.images_from_folder(folder, augment="side_on", cache="off")
    for _ in data.epochs().take(2 * data.steps_per_epoch):
        pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    """Measure speed, then memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--stream", action="store_true", help=argparse.SUPPRESS)  # what the measured process does
    told = parser.parse_args()
    if told.stream:
        stream(told.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        small = told.folder or make_photos(Path(temporary) / "small", 240)
        compare(small)
        large = Path(temporary) / "large"
        for copy in range(10):
            for photo in small.rglob("*.jpg"):
                target = large / photo.parent.name / f"{copy}_{photo.name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(photo, target)
        one, ten = peak_memory(small), peak_memory(large)
        print(f"peak memory, cache off      {one / 1e6:7.0f} MB, tenfold folder {ten / 1e6:.0f} MB")
        print(f"ratio                       {ten / one:7.2f}   (goal at most 1.20)")


if __name__ == "__main__":
    main()
