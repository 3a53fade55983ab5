"""The data set of a Parquet file that memory cannot hold: read and encoded group by group."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.inputs.base import Augmentation
from tlkit.inputs.files.row_groups import RowGroups
from tlkit.inputs.labelled import ClassWeight, LabelledData
from tlkit.inputs.row.column_kinds import Finding
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.row.targets import TargetValues, target_columns
from tlkit.targets.base import Target
from tlkit.targets.objective import Objective

if TYPE_CHECKING:
    import pandas as pd


class RowGroupData(LabelledData):
    """Rows of a Parquet file with their targets, read and encoded group by group whenever they are shown.

    Made by `table_from_row_groups`. An epoch shows the groups in an order of its own, and the rows of each group
    shuffled; seed and number of the epoch decide both. Rows of different groups meet only where one group ends and the
    next begins, so write files whose groups are mixed. At no time are more than two groups in memory.

    Attributes:
        class_names, targets, preprocessing, kinds, questions, findings, dropped: as in `TabularData`.
        batch_size, seed, sampling, splits, class_weights, multi_label: as in `LabelledData`.
    """

    augmentation: Augmentation | None = None

    def __init__(
        self,
        groups: RowGroups,
        rows: Mapping[str, tuple[np.ndarray, np.ndarray]],
        *,
        preprocessing: TablePreprocessing,
        targets: Sequence[Target],
        values: Sequence[TargetValues],
        kinds: Mapping[str, str],
        questions: Sequence[Finding],
        findings: Sequence[Finding],
        batch_size: int,
        seed: int,
        class_weight: ClassWeight,
        fingerprint: str,
    ):
        self.targets = tuple(targets)
        self.preprocessing = preprocessing
        self.batch_size, self.seed, self.sampling = batch_size, seed, "shuffle"
        objective = Objective(self.targets)
        self.multi_label = objective.is_multi_label
        several = objective.classes is None
        if class_weight == "balanced" and (several or self.multi_label):
            raise ConfigError("classes can be balanced only for a single target with one class per row")
        self.class_names = list(objective.output_names)
        self.kinds = dict(kinds)
        self.questions, self.findings = tuple(questions), tuple(findings)
        self.origin = groups.origin
        self._groups = groups
        self.splits: dict[str, np.ndarray] = {name: own for name, (own, _) in rows.items()}
        self._labels: dict[str, np.ndarray] = {}
        self._learned: dict[str, np.ndarray] = {}
        for name, (_, places) in rows.items():
            own_values = [target.values[places] for target in values]
            self._labels[name] = np.stack(own_values, axis=1).astype(np.float64) if several else own_values[0]
            learned = [target.forward(own) for target, own in zip(self.targets, own_values, strict=True)]
            self._learned[name] = np.concatenate(learned, axis=1)
        self.class_weights = self._weights_of_classes(class_weight)
        self._order: Any = lambda number: tf.ensure_shape(
            tf.numpy_function(self._epoch_positions, [tf.cast(number, tf.int64)], tf.int64), [None]
        )
        self.dropped = {"missing_target": int(groups.starts[-1] - sum(map(len, self.splits.values())))}
        self._hash = fingerprint

    def labels(self, split: str) -> np.ndarray:
        """Targets of a split in the order of `ordered(split)`, as in `TabularData`."""
        self._get(split)
        return self._labels[split]

    def ordered(self, split: str) -> tf.data.Dataset:
        """Batches of a split in the order of the file: `(encoded float32 [B, D], targets float32 [B, K])`.

        Raises:
            ConfigError: there is no such split.
        """
        self._get(split)
        steps = -(-len(self._labels[split]) // self.batch_size)
        batches = tf.data.Dataset.from_generator(
            lambda: self._batches(split, self._positions(split)), output_signature=self._signature
        )
        return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)

    def frames(self, split: str) -> Iterator[pd.DataFrame]:
        """Give the rows of a split as they were read, one row group after another."""
        rows = self._get(split)
        for number, own in enumerate(self._positions(split)):
            if len(own):
                yield self._groups.read(number).iloc[rows[own] - self._groups.starts[number]]

    def frame(self, split: str) -> NoReturn:
        """Refuse to give all rows at once, as `TabularData.frame` does.

        Raises:
            ConfigError: always.
        """
        self._get(split)
        raise ConfigError(
            "a table that is read by row group is never in memory as a whole",
            received=split,
            fix="read it in parts with frames(split), or write the rows that you need to a file for table_from_file",
        )

    def places(self, split: str, positions: Sequence[int] | None = None) -> list[str]:
        """Where rows of a split stand ("sales.parquet data row 17"); all of them, or those at some positions."""
        rows = self._get(split)
        chosen = rows if positions is None else rows[np.asarray(positions, np.int64)]
        return [f"{self.origin} data row {row + 1}" for row in chosen.tolist()]

    def contents(self, split: str, rows: np.ndarray) -> list[bytes]:
        """Return some rows of a split as serialized tf.Examples, as a client would send them.

        Args:
            split: its name.
            rows: rising positions in the order of `ordered(split)`. Each row group that has one of them is read.
        """
        own, found = self._get(split), []
        for number, places in enumerate(self._positions(split)):
            chosen = places[np.isin(places, rows)]
            if len(chosen):
                frame = self._groups.read(number).iloc[own[chosen] - self._groups.starts[number]]
                found += self.preprocessing.to_examples(frame)
        return found

    def samples(self, split: str, count: int) -> list[bytes]:
        """Give a few rows of a split, from its first group, as serialized tf.Examples."""
        frame = next(self.frames(split))
        return self.preprocessing.to_examples(frame.iloc[:: max(1, len(frame) // count)][:count])

    def summary(self) -> dict[str, Any]:
        """Counts by split, targets, columns, what was found, settings, and a fingerprint; plain values."""
        return {
            "rows": {name: len(own) for name, own in self.splits.items()},
            "counts": {},
            "row_groups": len(self._groups),
            "targets": {target.name: {"kind": target.kind} for target in self.targets},
            "columns": dict(self.kinds),
            "questions": {finding.column: finding.why for finding in self.questions},
            "found": [f"{finding.column}: {finding.why}" for finding in self.findings],
            "dropped_rows": dict(self.dropped),
            "sampling": self.sampling,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        """SHA-256 over the file's rows, the columns and how they are split."""
        names = [column.name for column in self.preprocessing.columns] + target_columns(self.targets)
        digest = hashlib.sha256(repr((self._hash, names)).encode("utf-8"))
        for name, own in self.splits.items():
            digest.update(name.encode() + own.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def _signature(self) -> tuple[tf.TensorSpec, tf.TensorSpec]:
        outputs = sum(target.width for target in self.targets)
        return (
            tf.TensorSpec([None, self.preprocessing.width], tf.float32),
            tf.TensorSpec([None, outputs], tf.float32),
        )

    def _epoch_maker(self) -> Callable[[tf.Tensor], tf.data.Dataset]:
        self._get("train")

        def batches(number: np.int64) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            return self._batches("train", self._shuffled(int(number)))

        def make(number: tf.Tensor) -> tf.data.Dataset:
            shown = tf.data.Dataset.from_generator(batches, args=(number,), output_signature=self._signature)
            return self._weighted(shown)

        return tf.autograph.experimental.do_not_convert(make)

    def _positions(self, split: str) -> list[np.ndarray]:
        """Positions in a split of each group's rows, in the order of the file."""
        borders = np.searchsorted(self._get(split), self._groups.starts)
        return [np.arange(begin, end) for begin, end in itertools.pairwise(borders)]

    def _shuffled(self, number: int) -> list[np.ndarray]:
        random = np.random.default_rng([self.seed, number])
        by_group = self._positions("train")
        return [random.permutation(by_group[group]) for group in random.permutation(len(by_group))]

    def _epoch_positions(self, number: np.int64) -> np.ndarray:
        return np.concatenate(self._shuffled(int(number))).astype(np.int64)

    def _batches(self, split: str, by_group: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rows, learned, size = self.splits[split], self._learned[split], self.batch_size
        starts = self._groups.starts
        inputs = np.zeros((0, self.preprocessing.width), np.float32)
        targets = learned[:0]
        for own in by_group:
            if not len(own):
                continue
            number = int(np.searchsorted(starts, rows[own[0]], side="right")) - 1
            frame = self._groups.read(number, [column.name for column in self.preprocessing.columns])
            encoded = self.preprocessing.encode_frame(frame.iloc[rows[own] - starts[number]])
            # What the group before left over begins the next batch.
            inputs, targets = np.concatenate([inputs, encoded]), np.concatenate([targets, learned[own]])
            whole = len(inputs) // size * size
            for begin in range(0, whole, size):
                yield inputs[begin : begin + size], targets[begin : begin + size]
            inputs, targets = inputs[whole:], targets[whole:]
        if len(inputs):
            yield inputs, targets
