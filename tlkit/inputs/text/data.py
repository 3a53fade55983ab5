"""The data set of labelled texts: splits, batches of about the same length, counts."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import tensorflow as tf

from tlkit.errors import DataError, check_choice
from tlkit.inputs.base import Augmentation
from tlkit.inputs.class_names import log_near_names
from tlkit.inputs.copies import without_copies
from tlkit.inputs.examined import relative_name, root_of
from tlkit.inputs.exclusions import excluded_rows
from tlkit.inputs.image.copies import group_numbers
from tlkit.inputs.label_sets import as_numbers, check_balance, count_labels, each_label
from tlkit.inputs.labelled import ClassWeight, DivisibleData, check_options
from tlkit.inputs.sampling import Sampling
from tlkit.inputs.splits import ClassWords
from tlkit.inputs.text.buckets import bucketed
from tlkit.inputs.text.findings import copy_numbers, digest_of, report
from tlkit.inputs.text.listing import TextListing
from tlkit.inputs.text.splits import assign_splits
from tlkit.inputs.text.tokens import tokenize

if TYPE_CHECKING:
    from tlkit.inputs.text.preprocessing import TextPreprocessing

OnDuplicate = Literal["report", "drop"]
_log = logging.getLogger("tlkit")
# Nothing here has Python branches on tensors; converting it all the same would take seconds.
_as_it_is = tf.autograph.experimental.do_not_convert


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """The texts of one split, sorted by their number of tokens.

    Attributes:
        rows: int64 [n], positions in the listing.
        places: int64 [n], the same texts' positions among the token ids.
        lengths: int64 [n], tokens.
        targets: int32 [n] of class numbers, or float32 [n, k] of 0 and 1.
    """

    rows: np.ndarray
    places: tf.Tensor
    lengths: tf.Tensor
    targets: tf.Tensor

    def part(self, chosen: np.ndarray) -> Split:
        """Return some of the texts: int [m], positions in this split."""
        with tf.device("CPU"):
            tensors = [tf.gather(values, chosen) for values in (self.places, self.lengths, self.targets)]
        return Split(self.rows[chosen], *tensors)


class TextData(DivisibleData):
    """Labelled texts with a train, a val and optionally a test split.

    Made by `texts_from_table` and `texts_from_folder`. Every text is tokenized once; batches are padded to the longest
    text in them. Within a split, texts stand in the order of their number of tokens, so that `ordered` pads little;
    `labels`, `texts`, `places` and `rows` follow that order.

    Attributes:
        class_names: the labels; number i is output i of the model.
        preprocessing: strings -> token ids, the same object that the exported graph runs.
        augmentation: None; training texts are shown as they are.
        batch_size: texts per batch.
        seed: of split and order.
        multi_label: whether a text may have several labels, or none.
        splits: the texts by split name.
        report: empty texts and copies that were found.
        class_weights: float32 [k], the weight of each class in the loss, or None.
        sampling: sampling of an epoch's texts, `"shuffle"` or `"balanced"`.
        dropped: counts of rows that were left out, by reason.
    """

    augmentation: Augmentation | None = None

    def __init__(
        self,
        listing: TextListing,
        *,
        class_names: list[str] | None = None,
        preprocessing: TextPreprocessing,
        batch_size: int,
        val_fraction: float,
        seed: int,
        class_weight: ClassWeight,
        sampling: Sampling = "shuffle",
        on_duplicate: OnDuplicate = "report",
        exclude: str | Path | None = None,
    ):
        check_text_options(batch_size, seed, class_weight, sampling, on_duplicate, listing.multi_label)
        self.class_names = class_names or listing.class_names
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.seed = seed
        self.sampling = sampling
        self.multi_label = listing.multi_label
        self.origin = listing.origin
        self.dropped = {"missing_label": listing.unlabelled}
        if exclude is not None:
            names = [relative_name(place, root_of(listing.origin)) for place in listing.places]
            left_out = excluded_rows(exclude, names, lambda row: digest_of(listing.texts[row]), listing.origin)
            listing = listing.only(np.flatnonzero(~left_out).tolist())
            self.dropped["excluded"] = int(left_out.sum())
            _log.info("%d texts are left out: %s", self.dropped["excluded"], exclude)
        self._listing = listing
        copies = copy_numbers(listing.texts)
        rows, empty = assign_splits(listing, copies, val_fraction, seed)
        self._empty = len(empty)
        self.report = report(listing, rows, copies, empty)
        self._copies = 0
        if on_duplicate == "drop" and "train" in rows:
            before = len(rows["train"])
            rows = without_copies(rows, copies)
            self._copies = before - len(rows["train"])
        self._check_classes(rows)
        self._log_findings(on_duplicate)
        used = np.concatenate(list(rows.values()))
        self._tokens = tokenize([listing.texts[row] for row in used.tolist()], preprocessing)
        lengths = self._tokens.row_lengths().numpy()
        self.splits: dict[str, Split] = {}
        start = 0
        for name, own in rows.items():
            places = np.arange(start, start + len(own))
            places = places[np.argsort(lengths[places], kind="stable")]
            start += len(own)
            self.splits[name] = self._split(used[places], places, lengths[places])
        self.class_weights = self._weights_of_classes(class_weight)
        self._order = self._training_order()
        trained = self.splits["train"].rows if "train" in self.splits else np.zeros(0, np.int64)
        self._groups = group_numbers(listing.groups, copies, trained)

    def ordered(self, split: str) -> tf.data.Dataset:
        """Return batches of a split, shortest texts first: `(token_ids int32 [B, T], targets float32 [B, k])`.

        Raises:
            ConfigError: there is no such split.
        """
        own = self._get(split)
        return self._batches(tf.data.Dataset.range(len(own.rows)).batch(self.batch_size), own).prefetch(2)

    def labels(self, split: str) -> np.ndarray:
        """Return class numbers of a split, int32 [n], or labels, float32 [n, k], in the order of `ordered(split)`."""
        return self._get(split).targets.numpy()

    def texts(self, split: str) -> list[str]:
        """Return the raw texts of a split, in the order of `ordered(split)`."""
        return [self._listing.texts[row] for row in self._get(split).rows.tolist()]

    def places(self, split: str) -> list[str]:
        """Return the location of each text of a split ("reviews.csv row 17"), in the order of `ordered(split)`."""
        return [self._listing.places[row] for row in self._get(split).rows.tolist()]

    def rows(self, split: str) -> np.ndarray:
        """Return the positions of a split's texts among all texts, int64 [n], in the order of `ordered(split)`."""
        return self._get(split).rows

    def contents(self, split: str, rows: np.ndarray) -> list[bytes]:
        """Return some texts of a split in UTF-8, as a client would send them."""
        own = self._get(split).rows
        return [self._listing.texts[row].encode("utf-8", "replace") for row in own[rows].tolist()]

    def samples(self, split: str, count: int) -> list[bytes]:
        """Return a few texts of a split in UTF-8, evenly spaced from the shortest to the longest."""
        texts = self.texts(split)
        return [text.encode("utf-8") for text in texts[:: max(1, len(texts) // count)][:count]]

    def summary(self) -> dict[str, Any]:
        """Return counts by split and class, tokens, findings, settings, and a fingerprint, as plain values."""
        counts = {name: count_labels(self.labels(name), self.class_names) for name in self.splits}
        lengths = np.concatenate([split.lengths.numpy() for split in self.splits.values()])
        return {
            "classes": list(self.class_names),
            "multi_label": self.multi_label,
            "texts": {name: len(split.rows) for name, split in self.splits.items()},
            "counts": counts,
            "dropped_from_training": {"empty": self._empty, "copies": self._copies},
            "found": self.report.to_dict(),
            "tokens": {
                "median": float(np.median(lengths)),
                "95_percent_below": float(np.percentile(lengths, 95)),
                "longest": int(lengths.max()),
            },
            "sampling": self.sampling,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        """Return the SHA-256 over split, labels and text of all rows, which identifies the dataset."""
        digest = hashlib.sha256()
        for name, split in self.splits.items():
            for row in np.sort(split.rows).tolist():
                label = self._listing.labels[row]
                for part in (name, *([label] if isinstance(label, str) else sorted(label)), self._listing.texts[row]):
                    content = part.encode("utf-8")
                    digest.update(len(content).to_bytes(8, "little") + content)
                digest.update(b"\xff")  # ends a row: 255 is no length
        return digest.hexdigest()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(split.rows)}" for name, split in self.splits.items())
        return f"TextData({self.num_classes} classes, {sizes})"

    def _epoch_maker(self) -> Callable[[tf.Tensor], tf.data.Dataset]:
        own = self._get("train")

        def make(number: tf.Tensor) -> tf.data.Dataset:
            batches = bucketed(self._order(number), own.lengths, self.batch_size, self.seed, number)
            steps = tf.data.Dataset.range(batches.nrows())
            return self._weighted(self._batches(steps.map(lambda step: batches[step]), own))

        return _as_it_is(make)

    def _batches(self, positions: tf.data.Dataset, split: Split) -> tf.data.Dataset:
        """Positions in a split, int64 [B] -> `(token_ids, targets)`."""
        tokens, classes, places, targets = self._tokens, self.num_classes, split.places, split.targets

        def batch(chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            ids = self.preprocessing.pad(tf.gather(tokens, tf.gather(places, chosen)))
            own = tf.gather(targets, chosen)
            return ids, own if self.multi_label else tf.one_hot(own, classes)

        return positions.map(_as_it_is(batch), num_parallel_calls=2, deterministic=True)

    def _split(self, rows: np.ndarray, places: np.ndarray, lengths: np.ndarray) -> Split:
        labels = [self._listing.labels[row] for row in rows.tolist()]
        targets = as_numbers(labels, self.class_names, self.multi_label)
        with tf.device("CPU"):
            return Split(rows, tf.constant(places, tf.int64), tf.constant(lengths, tf.int64), tf.constant(targets))

    def _check_classes(self, rows: dict[str, np.ndarray]) -> None:
        if "train" not in rows:
            return
        trained = self._listing.seen(rows["train"].tolist())
        for name in self.class_names:
            if name not in trained:
                count = list(each_label(self._listing.labels)).count(name)
                raise DataError(
                    f"class {name!r} has no training text left: {ClassWords(item='text').count(count)}, all empty, "
                    "duplicates, or held out",
                    fix="add texts of it, or change the split",
                )

    def _log_findings(self, on_duplicate: OnDuplicate) -> None:
        log_near_names(each_label(self._listing.labels))
        found = self.report
        if self._empty:
            shown = ", ".join(found.examples["empty"])
            _log.warning("skipped %d empty training texts: %s", self._empty, shown)
        for name, count in found.leaks.items():
            if count:
                _log.warning(
                    "%d of the %s texts are also in the training set%s, for example %s",
                    count,
                    name,
                    " and were dropped there" if on_duplicate == "drop" else "",
                    found.examples[f"in_train_and_{name}"][0],
                )
        if found.repeated_in_train:
            _log.info("%d training texts are duplicates of earlier texts", found.repeated_in_train)
        if found.disagreeing:
            _log.warning("%d texts occur with different labels", found.disagreeing)


def check_text_options(
    batch_size: int, seed: int, class_weight: str, sampling: str, on_duplicate: str, multi_label: bool
) -> None:
    """Refuse settings that cannot be used, alone or together.

    Raises:
        ConfigError: one of them is not usable.
    """
    check_options(batch_size, seed, class_weight, sampling)
    check_choice("on_duplicate", on_duplicate, get_args(OnDuplicate))
    check_balance(class_weight, sampling, multi_label, "a text")
