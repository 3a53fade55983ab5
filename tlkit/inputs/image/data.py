"""The data set of labelled photos: splits, batches, counts."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import logging
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import tensorflow as tf

from tlkit.errors import Advice, DataError, check_choice
from tlkit.inputs.class_names import composed, log_near_names
from tlkit.inputs.copies import without_copies
from tlkit.inputs.examined import relative_name, root_of
from tlkit.inputs.exclusions import excluded_rows
from tlkit.inputs.image.augment import Augmentation
from tlkit.inputs.image.copies import WORDS, assign_splits, copy_numbers, digest_of, group_numbers, report
from tlkit.inputs.image.header import read_header
from tlkit.inputs.image.inspect import Unreadable
from tlkit.inputs.image.listing import Listing
from tlkit.inputs.image.pipeline import Split, available_memory, build_split, epoch_of_batches, ordered_batches
from tlkit.inputs.image.preprocessing import ImagePreprocessing
from tlkit.inputs.image.walk import EXCLUDED, REPEATED, Tally, shown
from tlkit.inputs.label_sets import as_numbers, check_balance, count_labels, each_label
from tlkit.inputs.labelled import ClassWeight, DivisibleData, check_options
from tlkit.inputs.sampling import Sampling

OnError = Literal["fail", "skip"]
OnDamage = Literal["keep", "refuse"]
OnDuplicate = Literal["report", "drop"]
CacheMode = Literal["auto", "memory", "off"]
_NAMED = 10  # photos, in a message
_log = logging.getLogger("tlkit")


class ImageData(DivisibleData):
    """Labelled images with a train, a val and optionally a test split.

    Made by `images_from_folder` and `images_from_table`.

    Attributes:
        class_names: the labels; number i is output i of the model.
        preprocessing: bytes -> pixels, the same object that the exported graph runs.
        augmentation: what happens to training photos.
        batch_size: images per batch.
        seed: of the order and the augmentation.
        splits: the photos by split name.
        skipped: photos left out because they cannot be used (with `on_error="skip"`).
        damaged: photos that decode although their data are damaged; they are used, unless `damaged="refuse"`.
        report: exact copies that were found.
        tally: how many entries were found, and what was left out by reason.
        class_weights: float32 [k], the weight of each class in the loss, or None.
        sampling: sampling of an epoch's images, `"shuffle"` or `"balanced"`.
        dropped: counts of rows that were left out, by reason.
        groups: the group of each photo, str objects [n], split after split; None where there are none.
        multi_label: whether a photo may have several labels, or none.
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
        damaged: OnDamage = "keep",
        on_duplicate: OnDuplicate = "report",
        exclude: str | Path | None = None,
    ):
        check_choice("on_error", on_error, get_args(OnError))
        check_choice("damaged", damaged, get_args(OnDamage))
        check_choice("on_duplicate", on_duplicate, get_args(OnDuplicate))
        check_choice("cache", cache, get_args(CacheMode))
        check_options(batch_size, seed, class_weight, sampling)
        check_balance(class_weight, sampling, listing.multi_label, "a photo")
        self.multi_label = listing.multi_label
        self.class_names = class_names or listing.class_names
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed
        self.sampling = sampling
        self.origin = listing.origin
        self.dropped = {"missing_label": listing.unlabelled}
        self._cache: CacheMode = cache
        self.tally = Tally()
        self.tally.merge(listing.tally)
        listing = self._without_excluded(listing, exclude)
        self.skipped = [
            Unreadable(listing.paths[row], one.problem, one.reason) for row, one in listing.unusable.items()
        ]
        self.damaged: list[Unreadable] = []
        self.splits: dict[str, Split] = {}
        for remark in listing.remarks:
            _log.warning("%s", remark)
        copies = copy_numbers(listing.paths, listing.sizes)
        rows = self._assign(listing, copies, val_fraction, on_error)
        self.report = report(listing, rows, copies)
        if on_duplicate == "drop":
            rows = self._without_copies(listing, rows, copies)
        labels = self._read_labels(listing, rows)
        keep_in_memory = self._fits(len(labels), cache)
        self._groups = np.zeros(0, np.int64)
        groups: list[str] = []
        for name, own in rows.items():
            paths = [listing.paths[row] for row in own]
            built = build_split(paths, labels[own], preprocessing, keep_in_memory, damaged == "refuse", self._encode)
            self.splits[name] = built.split
            if name == "train":
                self._groups = group_numbers(listing.groups, copies, own[built.used])
            groups += [listing.groups[row] for row in own[built.used].tolist()] if listing.groups else []
            self.skipped += built.unreadable
            self.damaged += built.damaged
        self.groups = np.array(groups, object) if listing.groups else None
        self._judge_unreadable(listing, on_error)
        self._log_findings(damaged, on_duplicate)
        self.class_weights = self._weights_of_classes(class_weight)
        self._order = self._training_order()

    def ordered(self, split: str) -> tf.data.Dataset:
        """Return batches of a split in a fixed order, without augmentation: `(images float32, labels float32 [B, k])`.

        Raises:
            ConfigError: there is no such split.
        """
        return ordered_batches(self._get(split), self.num_classes, self.batch_size, self.preprocessing)

    def views(self, split: str, number: int) -> tf.data.Dataset:
        """Return batches of a split in a fixed order, with the same view of `Augmentation.view` for every image.

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
        """Return the same data at another image size, with the same splits, labels, order and augmentation.

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
                built = build_split(split.paths, split.labels, other.preprocessing, True, encode=self._encode)
                other.splits[name] = built.split
                lost += built.unreadable
            else:  # they were all read once, and are read again in each epoch
                other.splits[name] = dataclasses.replace(split, pixels=None)
        if lost:
            raise DataError(f"{len(lost)} photos can no longer be read", received=str(lost[0].path))
        return other

    def augmented_by(self, augmentation: Augmentation) -> ImageData:
        """Return the same data with another augmentation. Images are not decoded again."""
        other = copy.copy(self)
        other.augmentation = augmentation
        return other

    def native_size(self, sample: int = 64) -> float:
        """Return the median square root of the areas of the training images, in pixels.

        Args:
            sample: how many photos are looked at, evenly spread.
        """
        paths = self._get("train").paths
        headers = [read_header(tf.io.read_file(os.fsencode(path))) for path in paths[:: max(1, len(paths) // sample)]]
        return float(np.median([math.sqrt(int(header.height) * int(header.width)) for header in headers]))

    def labels(self, split: str) -> np.ndarray:
        """Return class numbers of a split, int32 [n], or labels float32 [n, k], in the order of `ordered(split)`."""
        return self._get(split).labels

    def paths(self, split: str) -> list[Path]:
        """Return the files of a split, in the order of `ordered(split)`."""
        return self._get(split).paths

    def contents(self, split: str, rows: np.ndarray) -> list[bytes]:
        """Return the files of some images of a split, as a client would send them."""
        paths = self._get(split).paths
        return [paths[row].read_bytes() for row in rows.tolist()]

    def samples(self, split: str, count: int) -> list[bytes]:
        """Return the content of a few evenly spaced images of a split, without damaged images."""
        damaged = {path for path, *_ in self.damaged}
        every = self._get(split).paths
        paths = [path for path in every if path not in damaged] or every
        return [path.read_bytes() for path in paths[:: max(1, len(paths) // count)][:count]]

    def summary(self) -> dict[str, Any]:
        """Return counts by split and class, settings, and a fingerprint of the file list, as plain values."""
        return {
            "classes": list(self.class_names),
            "multi_label": self.multi_label,
            "counts": {name: self._count(split.labels) for name, split in self.splits.items()},
            "entries": self.tally.to_dict(),
            "skipped": len(self.skipped),
            "damaged": len(self.damaged),
            "found": self.report.to_dict(),
            "cached_in_memory": any(split.pixels is not None for split in self.splits.values()),
            "augmentation": self.augmentation.to_dict(),
            "sampling": self.sampling,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        """Return the SHA-256 over split, label, name and size of all images, which identifies the dataset."""
        digest = hashlib.sha256()
        for name, split in self.splits.items():
            for path, label in zip(split.paths, split.labels, strict=True):
                line = (name, *self._words(label), path.name, str(path.stat().st_size))
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
            _log.info("the photos need %.1f GB of memory: decoding them again in each epoch", needed / 1e9)
        return fits

    def _assign(
        self, listing: Listing, copies: np.ndarray, val_fraction: float, on_error: OnError
    ) -> dict[str, np.ndarray]:
        usable = np.array([row for row in range(len(listing.paths)) if row not in listing.unusable], np.int64)
        usable = usable[~self._excluded[usable]]
        if not len(usable):
            self._judge_unreadable(listing, "fail")
        try:
            return self._divide(listing, copies, val_fraction, usable)
        except DataError:  # too few of a class are left: what is wrong with the others says more
            self._judge_unreadable(listing, on_error)
            raise

    def _without_excluded(self, listing: Listing, exclude: str | Path | None) -> Listing:
        """Note which photos a list of exclusions names; they are neither used nor reported."""
        root = root_of(listing.origin)
        names = [relative_name(str(path), root) for path in listing.paths] if exclude else []
        found = excluded_rows(exclude, names, lambda row: digest_of(listing.paths[row]), listing.origin)
        self._excluded = found if exclude else np.zeros(len(listing.paths), bool)
        if exclude:
            self.dropped["excluded"] = int(found.sum())
            for row in np.flatnonzero(found).tolist():
                self.tally.leave_out(EXCLUDED, shown(listing.paths[row]))
            _log.info("%d photos are left out: %s", self.dropped["excluded"], exclude)
        unusable = {row: one for row, one in listing.unusable.items() if not self._excluded[row]}
        return dataclasses.replace(listing, unusable=unusable)

    def _without_copies(
        self, listing: Listing, rows: dict[str, np.ndarray], copies: np.ndarray
    ) -> dict[str, np.ndarray]:
        kept = without_copies(rows, copies)
        for row in np.setdiff1d(rows.get("train", []), kept.get("train", [])).astype(int):
            self.tally.leave_out(REPEATED, shown(listing.paths[row]))
        return kept

    def _judge_unreadable(self, listing: Listing, on_error: OnError) -> None:
        if self.skipped and on_error == "fail":
            listed = "; ".join(f"{shown(path)} {reason}" for path, reason, _ in self.skipped[:_NAMED])
            more = f"; and {len(self.skipped) - _NAMED} more" if len(self.skipped) > _NAMED else ""
            raise DataError(
                f"{len(self.skipped)} of the photos cannot be used: {listed}{more}",
                fix=Advice("repair or remove them; to skip them, {}", "on_error", "skip"),
            )
        if "train" in self.splits:
            absent = self._absent("train")
            if absent:
                name = absent[0]
                count = WORDS.count(list(each_label(listing.labels)).count(composed(name)))
                raise DataError(
                    f"class {name!r} has no readable training image: {count} are unreadable",
                    fix="repair them, add others, or remove the class",
                )

    # What a label is: these are classes, and a subclass has other targets.

    _encode: Callable[[np.ndarray], np.ndarray] | None = None

    def _divide(
        self, listing: Listing, copies: np.ndarray, val_fraction: float, usable: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Give the rows of each split."""
        return assign_splits(listing, copies, val_fraction, self.seed, usable)

    def _read_labels(self, listing: Listing, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """Give what `labels` gives, for all rows of the listing."""
        log_near_names(each_label(listing.labels))
        return as_numbers(listing.labels, self.class_names, self.multi_label)

    def _count(self, labels: np.ndarray) -> Any:
        """Describe the labels of a split in a few numbers: how often each class occurs."""
        return count_labels(labels, self.class_names)

    def _words(self, label: Any) -> list[str]:
        """Give a label as text."""
        return [self.class_names[number] for number in (np.flatnonzero(label) if self.multi_label else [label])]

    def _absent(self, split: str) -> list[str]:
        """Name the classes that no photo of a split has."""
        counts = count_labels(self.splits[split].labels, self.class_names)
        return [name for name, count in counts.items() if not count]

    def _log_findings(self, damaged: OnDamage, on_duplicate: OnDuplicate) -> None:
        for path, _, counted_as in self.skipped:
            self.tally.leave_out(counted_as, shown(path))
        if self.skipped:
            _log.warning("skipped %d photos that cannot be used: %s", len(self.skipped), _named(self.skipped))
        if self.damaged and damaged == "keep":
            advice = 'to skip such photos, set damaged = "refuse" and on_error = "skip" under [data] in config.toml'
            _log.warning(
                "%d damaged photos can be decoded and are used: %s; %s",
                len(self.damaged), _named(self.damaged), advice,
            )  # fmt: skip
        found = self.report
        for name, count in found.leaks.items():
            if count:
                _log.warning(
                    "%d of the %s photos are also in the training set%s, for example %s",
                    count,
                    name,
                    " and were dropped there" if on_duplicate == "drop" else "",
                    found.examples[f"in_train_and_{name}"][0],
                )
        if found.repeated_in_train:
            example = found.examples["repeated_in_train"][0]
            _log.info(
                "%d training photos are duplicates of other training photos, for example %s",
                found.repeated_in_train,
                example,
            )
        if found.disagreeing:
            example = ", ".join(found.examples["disagreeing"])
            _log.warning("%d photos occur with different labels: %s", found.disagreeing, example)
        if "train" in self.splits:
            for name in self.splits:
                absent = self._absent(name)
                if absent:
                    _log.warning("the %s split has no photo of a class: %s", name, ", ".join(absent[:_NAMED]))
        _log.info("%s", self.tally)


def _named(found: list[Unreadable]) -> str:
    listed = "; ".join(f"{shown(path)} {reason}" for path, reason, _ in found[:_NAMED])
    return listed + (f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
