"""tf.data assembly: read, decode, shuffle and batch, with memory that does not grow with the data set."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tlkit.inputs.image.damaged import LibjpegLines, damage_of
from tlkit.inputs.image.inspect import Unreadable, explain_all
from tlkit.inputs.image.preprocessing import ImagePreprocessing
from tlkit.inputs.image.walk import DAMAGED

_BLOCK = 128  # photos between two looks at what libjpeg has said


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """The readable photos of one split.

    Attributes:
        paths: the files.
        labels: class numbers int32 [n], 0/1 for each label, float32 [n, k], or what targets are in their own unit.
        pixels: uint8 [n, S, S, 3], decoded, when they are kept in memory; else None.
        encoded: what a network learns instead of the labels, float32 [n, T]; None where these are classes.
        files: string [n], the paths once more; datasets capture this tensor instead of copying it into their graph.
        targets: what is learned likewise.
    """

    paths: list[Path]
    labels: np.ndarray
    pixels: tf.Tensor | None
    encoded: np.ndarray | None = None
    files: tf.Tensor = dataclasses.field(init=False)
    targets: tf.Tensor = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", _strings(self.paths))
        object.__setattr__(self, "targets", tf.constant(self.labels if self.encoded is None else self.encoded))

    def part(self, rows: np.ndarray) -> Split:
        """Return some of the photos: int [m], positions in this split."""
        pixels = None if self.pixels is None else tf.gather(self.pixels, rows)
        encoded = None if self.encoded is None else self.encoded[rows]
        return Split([self.paths[row] for row in rows], self.labels[rows], pixels, encoded)


class Built(NamedTuple):
    """What became of the photos of a split.

    Attributes:
        split: those that are used.
        unreadable: those that are not, and why.
        damaged: those that decode although their data are damaged, and how; used, unless they are refused.
        used: bool [n], which of the photos given are in `split`.
    """

    split: Split
    unreadable: list[Unreadable]
    damaged: list[Unreadable]
    used: np.ndarray


def build_split(
    paths: list[Path],
    labels: np.ndarray,
    preprocessing: ImagePreprocessing,
    keep_in_memory: bool,
    refuse_damaged: bool = False,
    encode: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Built:
    """Decode every photo once: find the unreadable and the damaged ones and, if asked, keep the others' pixels."""
    side = preprocessing.size
    kept = np.empty((len(paths), side, side, 3), np.uint8) if keep_in_memory else None
    readable = np.zeros(len(paths), bool)
    read = _reader(preprocessing)

    def decode(row: int) -> None:
        # Called, not mapped over a data set: making one takes longer than a few hundred images do.
        try:
            image = read(tf.constant(os.fsencode(paths[row]))).numpy()
        except tf.errors.OpError:
            return
        readable[row] = True
        if kept is not None:
            kept[row] = image

    damaged: list[Unreadable] = []
    with LibjpegLines() as lines, ThreadPoolExecutor(_parallel()) as pool:
        for start in range(0, len(paths), _BLOCK):
            end = min(start + _BLOCK, len(paths))
            list(pool.map(decode, range(start, end)))
            if lines.take():  # of which photos it does not say
                damaged += _damaged([paths[row] for row in range(start, end) if readable[row]], lines)
        bad = [paths[row] for row in np.flatnonzero(~readable)]
        unreadable = explain_all(bad, preprocessing)
    if refuse_damaged and damaged:
        refused = {one.path for one in damaged}
        readable &= np.array([path not in refused for path in paths], bool)
        unreadable += [Unreadable(path, reason, DAMAGED) for path, reason, _ in damaged]
    if not readable.all() and kept is not None:
        kept = kept[readable]
    split = Split(
        [path for path, usable in zip(paths, readable, strict=True) if usable],
        labels[readable],
        None if kept is None else tf.convert_to_tensor(kept),
        None if encode is None else encode(labels[readable]),
    )
    return Built(split, unreadable, damaged, readable)


def _damaged(paths: list[Path], lines: LibjpegLines) -> list[Unreadable]:
    found = ((path, damage_of(path.read_bytes(), lines)) for path in paths)
    return [
        Unreadable(path, f"can be decoded but is damaged ({problem})", DAMAGED) for path, problem in found if problem
    ]


def ordered_batches(
    split: Split, num_classes: int, batch_size: int, preprocessing: ImagePreprocessing
) -> tf.data.Dataset:
    """Batches in the order of the files: `(images float32 [B, S, S, 3], labels float32 [B, k])`."""
    batches = tf.data.Dataset.range(len(split.labels))
    return (
        _load(batches, split, num_classes, batch_size, preprocessing)
        .map(lambda images, labels: (tf.cast(images, tf.float32), labels))
        .prefetch(2)
    )


def epoch_of_batches(
    split: Split,
    number: tf.Tensor,
    order: Callable[[tf.Tensor], tf.Tensor],
    seed: int,
    num_classes: int,
    batch_size: int,
    preprocessing: ImagePreprocessing,
) -> tf.data.Dataset:
    """One epoch of rows in a given order: `(seed int64 [2], images uint8 [B, S, S, 3], labels float32 [B, k])`.

    The seed that goes with each batch depends on `seed` and the epoch `number` alone; `order` gives the row numbers of
    an epoch, int64 [n].
    """
    rows = tf.data.Dataset.from_tensor_slices(order(number))
    batches = _load(rows, split, num_classes, batch_size, preprocessing)
    return batches.enumerate().map(
        lambda step, batch: (tf.stack([seed + number * 1_000_003, step]), batch[0], batch[1])
    )


def available_memory() -> int:
    """Bytes that this process may still take: free memory, or less where a container limits it."""
    import psutil

    available = int(psutil.virtual_memory().available)
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    try:
        return min(available, int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):  # no control group, or no limit ("max")
        return available


def _load(
    numbers: tf.data.Dataset, split: Split, num_classes: int, batch_size: int, preprocessing: ImagePreprocessing
) -> tf.data.Dataset:
    """Row numbers -> batches of `(images uint8, labels float32 [B, k])`, one-hot where an image has one class."""
    files, targets, pixels = split.files, split.targets, split.pixels

    def labels(rows: tf.Tensor) -> tf.Tensor:
        found = tf.gather(targets, rows)
        return found if targets.shape.rank == 2 else tf.one_hot(found, num_classes)

    if pixels is not None:
        return numbers.batch(batch_size).map(
            lambda rows: (tf.gather(pixels, rows), labels(rows)),
            num_parallel_calls=_parallel(),
            deterministic=True,
        )
    read = _reader(preprocessing)
    return numbers.map(
        lambda row: (read(files[row]), labels(row)),
        num_parallel_calls=_parallel(),
        deterministic=True,
    ).batch(batch_size)


@functools.lru_cache(maxsize=64)
def _reader(preprocessing: ImagePreprocessing) -> Callable[[tf.Tensor], tf.Tensor]:
    """Give path, string [] -> uint8 [S, S, 3], traced once: each data set that is made would do it again, in 0.3 s."""
    with tf.init_scope():
        read = tf.function(lambda path: preprocessing(tf.io.read_file(path)), autograph=False)
        return read.get_concrete_function(tf.TensorSpec([], tf.string))


def _strings(paths: list[Path]) -> tf.Tensor:
    return tf.constant([os.fsencode(path) for path in paths], tf.string)


def _parallel() -> int:
    """As many decoders as cores, not AUTOTUNE: each holds a photo, and memory has to stay bounded."""
    return max(2, os.cpu_count() or 2)
