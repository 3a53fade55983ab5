"""The data set of a table: rows encoded once, batches gathered from whole arrays."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.inputs.base import Augmentation
from tlkit.inputs.files.source import FrameSource
from tlkit.inputs.labelled import ClassWeight, DivisibleData, check_options
from tlkit.inputs.row.column_kinds import Finding
from tlkit.inputs.row.columns import Categorical
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.row.targets import TargetValues, target_columns
from tlkit.inputs.sampling import Sampling
from tlkit.targets.base import Target
from tlkit.targets.objective import Objective

if TYPE_CHECKING:
    import pandas as pd

_SEED_OF_UNKNOWN = 0x7AB1E  # keeps the draw apart from the order, which has the same seed and epoch
_as_it_is = tf.autograph.experimental.do_not_convert


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedSplit:
    """The rows of one split.

    Attributes:
        rows: int64 [n], positions in the frame.
        inputs: float32 [n, D].
        values: float32 [n, T], in the network's space; class numbers for classes; k columns for k labels.
        labels: what `TabularData.labels` gives.
    """

    rows: np.ndarray
    inputs: tf.Tensor
    values: tf.Tensor
    labels: np.ndarray

    def part(self, rows: np.ndarray) -> EncodedSplit:
        """Return some of the rows: int [m], positions in `rows`."""
        with tf.device("CPU"):
            inputs, values = (tf.gather(tensor, rows) for tensor in (self.inputs, self.values))
        return EncodedSplit(self.rows[rows], inputs, values, self.labels[rows])


class TabularData(DivisibleData):
    """Rows of a table with their targets, with a train, a val and optionally a test split.

    Made by `table_from_file` and `table_to_evaluate`. Every row is encoded once into one float32 vector: category codes
    first, then scaled numbers. Within a split, rows stand in the order of the table; `labels`, `frame`, `encoded` and
    `rows` follow it.

    Where no training row has a rare value that was folded into "unknown" (`min_count`), nothing would ever train the
    embedding that unseen values meet at prediction. So a share of the codes in training batches, `unknown_rate`, is
    shown as unknown: at most one of a row, and in at most half of the rows. Seed, epoch and row decide which;
    `ordered`, and features that are computed once, show none. The embedding of "missing" is trained by missing values
    alone: in a column without any it stays as it began.

    Example:
        >>> data = table_from_file("houses.csv", "price")
        >>> rows, targets = next(iter(data.train))
        >>> rows.shape, targets.shape
        (TensorShape([256, 91]), TensorShape([256, 1]))

    Attributes:
        class_names: classes of a single target with classes; else the names of the outputs, such as `price`.
        targets: the targets.
        preprocessing: rows -> vectors, the same object that the exported graph runs; fitted on the training rows.
        kinds: column -> kind, as said or inferred.
        questions: columns whose kind was a guess.
        findings: everything else that was noticed: columns left out, likeness to a target.
        dropped: counts of rows that were left out, by reason.
        columns_read: the columns of the table, without features that were made of them.
        copies: counts of rows that repeat others; see `tlkit.inputs.row.copies.log_copies`.
        augmentation: None; rows are shown as they are, but for `unknown_rate`.
        batch_size, seed, sampling, splits, class_weights, multi_label: as in `LabelledData`.
    """

    augmentation: Augmentation | None = None

    def __init__(
        self,
        source: FrameSource,
        rows: Mapping[str, np.ndarray],
        *,
        preprocessing: TablePreprocessing,
        targets: Sequence[Target],
        values: Sequence[TargetValues],
        kinds: Mapping[str, str],
        questions: Sequence[Finding] = (),
        findings: Sequence[Finding] = (),
        dropped: Mapping[str, int] | None = None,
        copies: Mapping[str, Any] | None = None,
        batch_size: int,
        seed: int = 0,
        class_weight: ClassWeight = "none",
        sampling: Sampling = "shuffle",
        unknown_rate: float = 0.01,
        columns_read: Sequence[str] = (),
    ):
        self.targets = tuple(targets)
        check_table_options(batch_size, seed, class_weight, sampling, unknown_rate)
        only = self.targets[0] if len(self.targets) == 1 else None
        single = only is not None and only.class_names and not only.is_alone
        if not single and "balanced" in (class_weight, sampling):
            raise ConfigError(
                "classes can be balanced only for a single target with one class per row",
                received={"sampling": sampling, "class_weight": class_weight},
                allowed='"shuffle" and "none" for regressions, several labels and several targets',
            )
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.seed = seed
        self.sampling = sampling
        self._objective = Objective(self.targets)
        self.multi_label = self._objective.is_multi_label
        self.class_names = list(self._objective.output_names)
        self.kinds = dict(kinds)
        self.questions, self.findings = tuple(questions), tuple(findings)
        self.dropped = dict(dropped or {})
        self.copies = dict(copies or {})
        self.unknown_rate = unknown_rate
        self.origin = source.origin
        self.columns_read = tuple(columns_read or source.frame.columns)
        self._source = source
        used = np.concatenate(list(rows.values()))
        whole = len(used) == len(source.frame) and len(rows) > 1
        # All rows at once: preparing the graph costs more than a hundred thousand rows.
        encoded = preprocessing.encode_frame(source.frame if whole else source.frame.iloc[used])
        self.splits: dict[str, EncodedSplit] = {}
        begin = 0
        for name, own in rows.items():
            inputs = encoded[own] if whole else encoded[begin : begin + len(own)]
            self.splits[name] = self._split(own, inputs, values)
            begin += len(own)
        for name, split in self.splits.items():
            for target in self.targets if len(self.targets) == 1 else ():
                target.check_split(split.labels, name)
        self.class_weights = self._weights_of_classes(class_weight)
        self._groups = np.arange(len(rows.get("train", ())))
        self._order = self._training_order()
        self._slots, self._slot_rate = self._unknown_slots(unknown_rate)
        self._fingerprint: str | None = None

    def part(self, rows: np.ndarray) -> Self:
        """Return the same data with some rows of the training split alone; nothing is encoded or fitted anew.

        Args:
            rows: int [m], positions in `labels("train")`, rising.
        """
        other = super().part(rows)
        other._fingerprint = None
        return other

    def with_targets(self, targets: Sequence[Target], findings: Sequence[Finding] = ()) -> Self:
        """Return the same rows with other targets of the same columns and kinds, such as with other transforms.

        Args:
            targets: in place of `targets`, one for each.
            findings: added to those of the data.
        """
        other = copy.copy(self)
        other.targets = tuple(targets)
        other._objective = Objective(other.targets)
        other.findings = (*self.findings, *findings)
        with tf.device("CPU"):
            other.splits = {
                name: dataclasses.replace(split, values=tf.constant(_learned(other.targets, split)))
                for name, split in self.splits.items()
            }
        return other

    def with_inputs(self, preprocessing: TablePreprocessing, inputs: Mapping[str, np.ndarray]) -> Self:
        """Return the same rows and targets with rows that were encoded in another way.

        Args:
            preprocessing: what encodes rows in this way.
            inputs: split -> float32 [n, D].
        """
        other = copy.copy(self)
        other.preprocessing = preprocessing
        with tf.device("CPU"):
            other.splits = {
                name: dataclasses.replace(split, inputs=tf.constant(inputs[name]))
                for name, split in self.splits.items()
            }
        other._slots, other._slot_rate = other._unknown_slots(self.unknown_rate)
        return other

    def learned(self, split: str) -> np.ndarray:
        """Return what the network learns of a split's rows, float32 [n, K], in the order of `ordered(split)`."""
        found: np.ndarray = self._net_targets(self._get(split).values).numpy()
        return found

    def ordered(self, split: str) -> tf.data.Dataset:
        """Return batches of a split in the order of the table: `(encoded float32 [B, D], targets float32 [B, K])`.

        Raises:
            ConfigError: there is no such split.
        """
        own, size = self._get(split), self.batch_size
        count = len(own.rows)

        def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            end = tf.minimum((step + 1) * size, count)
            return own.inputs[step * size : end], self._net_targets(own.values[step * size : end])

        steps = tf.data.Dataset.range(-(-count // size))
        return steps.map(_as_it_is(batch), num_parallel_calls=2, deterministic=True).prefetch(2)

    def labels(self, split: str) -> np.ndarray:
        """Return the targets of a split in their original unit, in the order of `ordered(split)`.

        Returns:
            Class numbers int32 [n] of a single target with classes; 0/1 labels float32 [n, k] of a multi-label target;
            otherwise float64 [n, T], a column a target: its value, or its class number; times and events [n, 2].
        """
        return self._get(split).labels

    def encoded(self, split: str) -> np.ndarray:
        """Return the encoded rows of a split, float32 [n, D], in the order of `ordered(split)`."""
        return self._get(split).inputs.numpy()

    def frame(self, split: str) -> pd.DataFrame:
        """Return the raw rows of a split with all columns, in the order of `ordered(split)`."""
        return self._source.frame.iloc[self._get(split).rows]

    def rows(self, split: str) -> np.ndarray:
        """Return the positions of a split's rows in the table, int64 [n], in the order of `ordered(split)`."""
        return self._get(split).rows

    def places(self, split: str, positions: Sequence[int] | None = None) -> list[str]:
        """Return the locations of rows of a split ("houses.csv row 17"): of all rows, or of those at some positions."""
        rows = self._get(split).rows
        chosen = rows if positions is None else rows[np.asarray(positions, np.int64)]
        return [self._source.place([row]) for row in chosen.tolist()]

    def contents(self, split: str, rows: np.ndarray) -> list[bytes]:
        """Return some rows of a split as serialized tf.Examples, as a client would send them."""
        return self.preprocessing.to_examples(self._source.frame.iloc[self._get(split).rows[rows]])

    def samples(self, split: str, count: int) -> list[bytes]:
        """Return a few evenly spaced rows of a split as serialized tf.Examples."""
        rows = self._get(split).rows
        chosen = rows[:: max(1, len(rows) // count)][:count]
        return self.preprocessing.to_examples(self._source.frame.iloc[chosen])

    def summary(self) -> dict[str, Any]:
        """Return counts by split, targets, columns, findings, settings, and a fingerprint, as plain values."""
        return {
            "rows": {name: len(split.rows) for name, split in self.splits.items()},
            "counts": self._counts(),
            "targets": {target.name: self._target_summary(number) for number, target in enumerate(self.targets)},
            "columns": dict(self.kinds),
            "inputs": {"codes": len(self.preprocessing.codes), "numbers": len(self.preprocessing.numbers)},
            "questions": {finding.column: finding.why for finding in self.questions},
            "found": [f"{finding.column}: {finding.why}" for finding in self.findings] + list(self._source.notes),
            "dropped_rows": dict(self.dropped),
            "copies": dict(self.copies),
            "unknown_rate": self._slot_rate,
            "sampling": self.sampling,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        """Return the SHA-256 over split, inputs and targets of all rows."""
        if self._fingerprint is None:
            import pandas as pd

            columns = [column.name for column in self.preprocessing.columns] + target_columns(self.targets)
            digest = hashlib.sha256(repr(columns).encode("utf-8"))
            for name, split in self.splits.items():
                hashes = pd.util.hash_pandas_object(self._source.frame[columns].iloc[split.rows], index=False)
                digest.update(name.encode() + len(hashes).to_bytes(8, "little"))
                digest.update(hashes.to_numpy("<u8").tobytes())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(split.rows)}" for name, split in self.splits.items())
        return f"TabularData({', '.join(target.name for target in self.targets)}; {sizes})"

    def _epoch_maker(self) -> Callable[[tf.Tensor], tf.data.Dataset]:
        own, size, slots, rate = self._get("train"), self.batch_size, self._slots, self._slot_rate
        count = len(own.rows)

        def make(number: tf.Tensor) -> tf.data.Dataset:
            order = self._order(number)
            # One draw for each row of the split and epoch, whatever batch the row comes in.
            seed = tf.stack([tf.constant(self.seed ^ _SEED_OF_UNKNOWN, tf.int64), tf.cast(number, tf.int64)])
            slot_of_row = tf.floor(tf.random.stateless_uniform([count if rate else 0], seed) / (rate or 1.0))

            def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                chosen = order[step * size : tf.minimum((step + 1) * size, count)]
                inputs = tf.gather(own.inputs, chosen)
                if rate:
                    inputs = tf.where(tf.gather(slot_of_row, chosen)[:, None] == slots, 0.0, inputs)
                return inputs, self._net_targets(tf.gather(own.values, chosen))

            steps = tf.data.Dataset.range(-(-count // size))
            return self._weighted(steps.map(_as_it_is(batch), num_parallel_calls=2, deterministic=True))

        return _as_it_is(make)

    def _net_targets(self, values: tf.Tensor) -> tf.Tensor:
        """float32 [B, T] of `EncodedSplit.values` -> float32 [B, K]: classes become one-hot."""
        if not any(map(_is_coded, self.targets)):
            return values
        parts = [
            tf.one_hot(tf.cast(values[:, number], tf.int32), target.width)
            if _is_coded(target)
            else values[:, number : number + 1]
            for number, target in enumerate(self.targets)
        ]
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)

    def _split(self, rows: np.ndarray, inputs: np.ndarray, values: Sequence[TargetValues]) -> EncodedSplit:
        own = [target.only(rows).values for target in values]
        learned = [
            part.astype(np.float32)[:, None] if _is_coded(target) else target.forward(part)
            for target, part in zip(self.targets, own, strict=True)
        ]
        labels = own[0]
        if len(own) > 1 or (labels.ndim == 1 and not self.targets[0].class_names):
            labels = np.stack(own, axis=1).astype(np.float64)
        with tf.device("CPU"):
            return EncodedSplit(rows, tf.constant(inputs), tf.constant(np.concatenate(learned, axis=1)), labels)

    def _unknown_slots(self, rate: float) -> tuple[np.ndarray, float]:
        """Number the codes that may be shown as unknown, float32 [D] (-1: not this one), and give the chance of each.

        Left out are numbers, and codes whose 0 training rows have (rare values), or that have no use for it (hashes).
        """
        if "train" not in self.splits:
            return np.full(self.preprocessing.width, -1, np.float32), 0.0
        is_there = (self.splits["train"].inputs.numpy() == 0).any(axis=0)
        columns = {column.name: column for column in self.preprocessing.columns}
        slots = np.full(self.preprocessing.width, -1, np.float32)
        count = 0
        for number, code in enumerate(self.preprocessing.codes):
            column = columns[code.column]
            if not (is_there[number] or (isinstance(column, Categorical) and column.hash_buckets)):
                slots[number] = count
                count += 1
        return slots, min(rate, 0.5 / count) if count else 0.0

    def _counts(self) -> dict[str, dict[str, int]]:
        """Rows by split, and by class where a single target has classes."""
        if self._objective.classes is None:
            return {}
        return {
            name: dict(
                zip(
                    self.class_names,
                    (
                        split.labels.sum(0).astype(int)
                        if self.multi_label
                        else np.bincount(split.labels, minlength=self.num_classes)
                    ).tolist(),
                    strict=True,
                )
            )
            for name, split in self.splits.items()
        }

    def _target_summary(self, number: int) -> dict[str, Any]:
        target = self.targets[number]
        plain = target.describe()
        if not target.class_names:
            plain["values"] = {name: statistics(split.labels[:, number]) for name, split in self.splits.items()}
        if target.kind == "survival":
            plain["events"] = {name: int(split.labels[:, 1].sum()) for name, split in self.splits.items()}
        return plain


def _learned(targets: Sequence[Target], split: EncodedSplit) -> np.ndarray:
    """Return what the network learns of a split's rows, float32 [n, T], for targets with a column each."""
    labels = split.labels[:, None] if split.labels.ndim == 1 else split.labels
    parts = [
        column.astype(np.float32)[:, None] if _is_coded(target) else target.forward(column)
        for target, column in zip(targets, labels.T, strict=True)
    ]
    return np.concatenate(parts, axis=1)


def _is_coded(target: Target) -> bool:
    """Whether a split holds the number of a class, which becomes one-hot in each batch."""
    return bool(target.class_names) and target.label_width == 1


def statistics(values: np.ndarray) -> dict[str, float]:
    """Return mean, standard deviation, least, middle and largest of some numbers."""
    wide = values.astype(np.float64)
    return {
        "mean": float(wide.mean()),
        "std": float(wide.std()),
        "min": float(wide.min()),
        "median": float(np.median(wide)),
        "max": float(wide.max()),
    }


def check_table_options(batch_size: int, seed: int, class_weight: str, sampling: str, unknown_rate: float) -> None:
    """Refuse settings that cannot be used, alone or together.

    Raises:
        ConfigError: one of them is not usable.
    """
    check_options(batch_size, seed, class_weight, sampling)
    if isinstance(unknown_rate, bool) or not isinstance(unknown_rate, int | float) or not 0 <= unknown_rate < 1:
        raise ConfigError("unknown_rate is invalid", received=unknown_rate, allowed="a number from 0 to below 1")
