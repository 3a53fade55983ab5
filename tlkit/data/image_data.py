"""The data set of labelled photos: splits, batches, counts."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import tensorflow as tf

from tlkit.data.inspect import Unreadable
from tlkit.data.labelled import ClassWeight, LabelledData, check_options
from tlkit.data.listing import Listing
from tlkit.data.pipeline import Split, available_memory, build_split, epoch_of_batches, ordered_batches
from tlkit.data.sampling import EpochOrder, Sampling
from tlkit.data.splits import train_val_split
from tlkit.errors import DataError, check_choice
from tlkit.preprocessing.augment import Augmentation
from tlkit.preprocessing.header import read_header
from tlkit.preprocessing.images import ImagePreprocessing

OnError = Literal["fail", "skip"]
CacheMode = Literal["auto", "memory", "off"]
_log = logging.getLogger("tlkit")


class ImageData(LabelledData):
    """Photos with labels, split into train, val and (where there is one) test.

    Made by `images_from_folder` and `images_from_table`.

    Attributes:
        class_names: the labels; number i is output i of the model.
        preprocessing: bytes -> pixels, the same object that the exported graph runs.
        augmentation: what happens to training photos.
        batch_size: photos a batch.
        seed: of the order and the augmentation.
        splits: the photos by split name.
        skipped: photos left out because they cannot be read (with `on_error="skip"`).
        class_weights: float32 [k], the weight of each class in the loss, or None.
        sampling: how an epoch's photos are chosen, `"shuffle"` or `"balanced"`.
        dropped: counts of rows that were left out, by reason.
    """

    def __init__(
        self,
        listing: Listing,
        *,
        class_names: list[str] | None = None,
        preprocessing: ImagePreprocessing,
        augmentation: Augmentation,
        batch_size: int,
        val_fraction: float,
        seed: int,
        on_error: OnError,
        cache: CacheMode,
        class_weight: ClassWeight,
        sampling: Sampling = "shuffle",
    ):
        check_choice("on_error", on_error, get_args(OnError))
        check_choice("cache", cache, get_args(CacheMode))
        check_options(batch_size, seed, class_weight, sampling)
        self.class_names = class_names or listing.class_names
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed
        self.sampling = sampling
        self.origin = listing.origin
        self.dropped = {"missing_label": listing.unlabelled}
        self._cache: CacheMode = cache
        rows = _assign_splits(listing, val_fraction, seed)
        numbers = {name: number for number, name in enumerate(self.class_names)}
        labels = np.asarray([numbers[label] for label in listing.labels], np.int32)
        keep_in_memory = self._fits(len(labels), cache)
        self.splits: dict[str, Split] = {}
        self.skipped: list[Unreadable] = []
        for name in ("train", "val", "test"):
            if name in rows:
                paths = [listing.paths[row] for row in rows[name]]
                split, unreadable = build_split(paths, labels[rows[name]], preprocessing, keep_in_memory)
                self.splits[name] = split
                self.skipped += unreadable
        self._judge_unreadable(on_error)
        self.class_weights = self._weights_of_classes(class_weight)
        train = self.splits.get("train")
        self._order = EpochOrder(np.zeros(0, np.int32) if train is None else train.labels, seed=seed, sampling=sampling)

    def ordered(self, split: str) -> tf.data.Dataset:
        """Batches of a split in a fixed order, without augmentation: `(images float32, labels float32 [B, k])`.

        Raises:
            ConfigError: there is no such split.
        """
        return ordered_batches(self._get(split), self.num_classes, self.batch_size, self.preprocessing)

    def views(self, split: str, number: int) -> tf.data.Dataset:
        """Batches of a split in a fixed order, every photo in the same view of `Augmentation.view`.

        Args:
            split: `"val"`, `"test"` or `"train"`.
            number: of the view, 1, 2, 3, ...

        Returns:
            Dataset of `(images float32 [B, S, S, 3], labels float32 [B, k])`, in the order of `ordered(split)`.

        Raises:
            ConfigError: there is no such split or view, or the data has `augment="none"`.
        """
        self.augmentation.check_view(number)
        return self.ordered(split).map(
            lambda images, labels: (self.augmentation.view(images, number), labels),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    def resized(self, size: int) -> ImageData:
        """Give the same photos at another size: same splits, labels, order and augmentation, decoded from the files.

        Example:
            >>> small = data.resized(128)

        Args:
            size: side of the square images, in pixels.

        Raises:
            ConfigError: the size is not usable.
            DataError: a photo cannot be read any more.
        """
        other = copy.copy(self)
        other.preprocessing = dataclasses.replace(self.preprocessing, size=size)
        keep_in_memory = other._fits(sum(len(split.labels) for split in self.splits.values()), self._cache)
        other.splits = {}
        lost: list[Unreadable] = []
        for name, split in self.splits.items():
            if keep_in_memory:
                other.splits[name], unreadable = build_split(split.paths, split.labels, other.preprocessing, True)
                lost += unreadable
            else:  # they were all read once, and are read again in each epoch
                other.splits[name] = dataclasses.replace(split, pixels=None)
        if lost:
            raise DataError(f"{len(lost)} photos could be read before and cannot any more", received=str(lost[0].path))
        return other

    def augmented_by(self, augmentation: Augmentation) -> ImageData:
        """Give the same photos with another augmentation; nothing is decoded anew."""
        other = copy.copy(self)
        other.augmentation = augmentation
        return other

    def native_size(self, sample: int = 64) -> float:
        """Measure how large the training photos are: the median square root of their areas, in pixels.

        Args:
            sample: how many photos are looked at, evenly spread.
        """
        paths = self._get("train").paths
        headers = [read_header(tf.io.read_file(os.fsencode(path))) for path in paths[:: max(1, len(paths) // sample)]]
        return float(np.median([math.sqrt(int(header.height) * int(header.width)) for header in headers]))

    def labels(self, split: str) -> np.ndarray:
        """Class numbers of a split, int32 [n], in the order of `ordered(split)`."""
        return self._get(split).labels

    def paths(self, split: str) -> list[Path]:
        """Files of a split, in the order of `ordered(split)`."""
        return self._get(split).paths

    def samples(self, split: str, count: int) -> list[bytes]:
        """Give the files of a few photos of a split, evenly spread, as a client would send them."""
        paths = self._get(split).paths
        return [path.read_bytes() for path in paths[:: max(1, len(paths) // count)][:count]]

    def summary(self) -> dict[str, Any]:
        """Counts by split and class, settings, and a fingerprint of the file list; plain values."""
        counts = {}
        for name, split in self.splits.items():
            by_class = np.bincount(split.labels, minlength=self.num_classes).tolist()
            counts[name] = dict(zip(self.class_names, by_class, strict=True))
        return {
            "classes": list(self.class_names),
            "counts": counts,
            "skipped": len(self.skipped),
            "cached_in_memory": any(split.pixels is not None for split in self.splits.values()),
            "augmentation": self.augmentation.to_dict(),
            "sampling": self.sampling,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        """SHA-256 over split, label, name and size of every photo: the same data set gives the same value anywhere."""
        digest = hashlib.sha256()
        for name, split in self.splits.items():
            for path, label in zip(split.paths, split.labels, strict=True):
                line = (name, self.class_names[label], path.name, str(path.stat().st_size))
                digest.update("\0".join(line).encode("utf-8", "surrogateescape") + b"\n")
        return digest.hexdigest()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(split.labels)}" for name, split in self.splits.items())
        return f"ImageData({self.num_classes} classes, {sizes}, {self.preprocessing.size} px)"

    def _epoch_maker(self) -> Callable[[tf.Tensor], tf.data.Dataset]:
        split, augment = self._get("train"), self.augmentation.build()

        def make(number: tf.Tensor) -> tf.data.Dataset:
            batches = epoch_of_batches(
                split, number, self.epoch_order, self.seed, self.num_classes, self.batch_size, self.preprocessing
            )
            return self._weighted(augment(batches))

        return make

    def _fits(self, count: int, cache: CacheMode) -> bool:
        if cache != "auto":
            return cache == "memory"
        # Twice the pixels: they are collected first and then handed to TensorFlow. Half of what is free stays free.
        needed = 2 * count * self.preprocessing.size**2 * 3
        fits = needed <= available_memory() / 2
        if not fits:
            _log.info("the photos would take %.1f GB of memory: decoding them anew in each epoch", needed / 1e9)
        return fits

    def _judge_unreadable(self, on_error: OnError) -> None:
        if self.skipped and on_error == "fail":
            shown = "; ".join(f"{path} {reason}" for path, reason in self.skipped[:10])
            more = f"; and {len(self.skipped) - 10} more" if len(self.skipped) > 10 else ""
            raise DataError(
                f"{len(self.skipped)} of the photos cannot be used: {shown}{more}",
                fix='repair or remove them, or pass on_error="skip"',
            )
        if "train" in self.splits:
            absent = np.setdiff1d(np.arange(self.num_classes), self.splits["train"].labels)
            if len(absent):
                raise DataError("a class has no readable training photo left", received=self.class_names[absent[0]])
        if self.skipped:
            _log.warning("left out %d photos that cannot be read: %s", len(self.skipped), self.skipped[0].path)


def _assign_splits(listing: Listing, val_fraction: float, seed: int) -> dict[str, np.ndarray]:
    """Give row numbers by split name; rows without a split are divided into train and val."""
    splits = np.asarray(listing.splits, object)
    rows = {str(name): np.flatnonzero(splits == name) for name in set(listing.splits) - {None}}
    undecided = np.flatnonzero([split is None for split in listing.splits])
    if len(undecided):
        labels = np.asarray(listing.labels)[undecided]
        groups = np.asarray(listing.groups)[undecided] if listing.groups else None
        train, val = train_val_split(labels, val_fraction, seed, groups)
        rows["train"], rows["val"] = undecided[train], undecided[val]
    return rows
