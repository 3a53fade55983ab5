"""What labelled data of every kind has: splits, epochs that their number decides, counts."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, Self, get_args

import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError, check_choice
from tlkit.inputs.sampling import EpochOrder, Sampling, epoch_reader
from tlkit.targets.base import Target

ClassWeight = Literal["none", "balanced"]


class LabelledData(ABC):
    """Items with labels, split into train, val and (where there is one) test.

    Attributes:
        class_names: the labels; number i is output i of the model.
        batch_size: items a batch.
        seed: of split and order.
        sampling: how an epoch's items are chosen, `"shuffle"` or `"balanced"`.
        splits: the items by split name.
        class_weights: float32 [k], the weight of each class in the loss, or None.
        multi_label: whether an item may have several labels, or none.
        targets: what a table predicts; empty for other data.
    """

    multi_label: bool = False
    targets: tuple[Target, ...] = ()
    class_names: list[str]
    batch_size: int
    seed: int
    sampling: Sampling
    splits: dict[str, Any]
    class_weights: np.ndarray | None
    _order: EpochOrder

    @abstractmethod
    def labels(self, split: str) -> np.ndarray:
        """Labels of a split, in the order of `ordered(split)`."""

    @abstractmethod
    def ordered(self, split: str) -> tf.data.Dataset:
        """Batches of a split in a fixed order."""

    def training_groups(self) -> np.ndarray:
        """Number the training items, int64 [n]: copies, and what a group column joins, share a number.

        They are in the order of `ordered("train")`, and must not be on both sides of a fold.
        """
        return np.arange(len(self.labels("train")))

    def example_weights(self) -> np.ndarray | None:
        """Return how much each training item counts, float32 [n], or None where all count the same.

        Classes that are balanced, by their weight in the loss or by how often they are drawn, count the same.
        """
        weights = self.class_weights
        if weights is None and self.sampling == "balanced":
            weights = self._weights_of_classes("balanced")
        return None if weights is None else weights[self.labels("train")]

    @abstractmethod
    def _epoch_maker(self) -> Callable[[tf.Tensor], tf.data.Dataset]:
        """Give a function: number of an epoch, int64 [] -> its batches. Called outside of dataset functions."""

    @property
    def num_classes(self) -> int:
        """Number of classes, k."""
        return len(self.class_names)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the training split; one of them may be smaller."""
        return -(-len(self.labels("train")) // self.batch_size)

    @property
    def train(self) -> tf.data.Dataset:
        """One epoch of shuffled training batches; each iteration is another epoch, for any Keras `fit`.

        Elements are `(inputs, labels float32 [B, k])`, and a third tensor of sample weights float32 [B] when classes
        are weighted. Inputs are images float32 [B, S, S, 3] in 0..255, augmented, or token ids int32 [B, T].
        """
        numbers = tf.data.Dataset.random(seed=self.seed, rerandomize_each_iteration=True).take(1)
        make = self._epoch_maker()
        return self._counted(numbers.flat_map(lambda number: make(number % 2**31)))

    @property
    def val(self) -> tf.data.Dataset:
        """The validation batches in a fixed order: `(inputs, labels)` as in `train`, without augmentation."""
        return self.ordered("val")

    @property
    def test(self) -> tf.data.Dataset:
        """The test batches in a fixed order."""
        return self.ordered("test")

    def epochs(self, start: int = 0) -> tf.data.Dataset:
        """Stream epoch after epoch without end, `steps_per_epoch` batches each; elements as in `train`.

        Epoch n is the same whether the stream began at 0 or at n: order and augmentation depend on the seed and n
        alone, so that an interrupted training goes on with the batches it would have seen.

        Args:
            start: number of the first epoch.
        """
        make = self._epoch_maker()
        return tf.data.Dataset.counter(start).flat_map(make).prefetch(2)

    def epoch(self, number: int | tf.Variable) -> tf.data.Dataset:
        """Give exactly one epoch, `steps_per_epoch` batches; elements as in `train`, batches as in `epochs`.

        A variable is read whenever the dataset is iterated anew, as Keras' `fit` does for each epoch when it is not
        told `steps_per_epoch`. `epoch(n).skip(k)` is the rest of an epoch that was interrupted after k batches.

        Example:
            >>> number = tf.Variable(0, dtype=tf.int64)
            >>> model.fit(data.epoch(number), epochs=3, callbacks=[...])  # a callback that assigns the epoch

        Args:
            number: of the epoch, from 0; an int, or a scalar int64 variable that the caller keeps alive.

        Raises:
            ConfigError: the number is not usable.
        """
        read = epoch_reader(number)
        make = self._epoch_maker()
        return self._counted(tf.data.Dataset.from_tensors(0).flat_map(lambda _: make(read())))

    def epoch_order(self, number: int | tf.Tensor) -> tf.Tensor:
        """Row numbers of the training split in the shuffled order of an epoch.

        Photos come in this order in `epoch` and `epochs`; texts there are sorted further, into batches of about the
        same length, which features that are computed once do not need.

        Args:
            number: of the epoch, from 0; an int, or a scalar int64 tensor or variable.

        Returns:
            int64 [n]; positions in `labels("train")`.

        Raises:
            ConfigError: there is no training split.
        """
        self._get("train")
        return self._order(number)

    def _training_order(self) -> EpochOrder:
        labels = self.labels("train") if "train" in self.splits else np.zeros(0, np.int32)
        return EpochOrder(labels, seed=self.seed, sampling=self.sampling)

    def _counted(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        return batches.prefetch(2).apply(tf.data.experimental.assert_cardinality(self.steps_per_epoch))

    def _get(self, split: str) -> Any:
        if split not in self.splits:
            raise ConfigError(f"the data has no {split!r} split", received=split, allowed=list(self.splits))
        return self.splits[split]

    def _weights_of_classes(self, class_weight: ClassWeight) -> np.ndarray | None:
        """Weigh each class so that all count the same in the loss: float32 [k], or None."""
        if class_weight == "none" or "train" not in self.splits:
            return None
        counts = np.bincount(self.labels("train"), minlength=self.num_classes)
        return (counts.sum() / (self.num_classes * counts)).astype(np.float32)

    def _weighted(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Add sample weights to `(inputs, labels)` where classes are weighted."""
        if self.class_weights is None:
            return batches
        weights = tf.constant(self.class_weights)
        return batches.map(lambda inputs, labels: (inputs, labels, tf.linalg.matvec(labels, weights)))


class DivisibleData(LabelledData):
    """Labelled data of which a part can be trained on; each of its splits has `part(rows)`."""

    _groups: np.ndarray

    def training_groups(self) -> np.ndarray:
        """Number the training items, int64 [n]: copies, and items of one group, share a number."""
        return self._groups

    def part(self, rows: np.ndarray) -> Self:
        """Give the same data with some items of the training split alone; nothing is read anew.

        Args:
            rows: int [m], positions in `labels("train")`, rising.
        """
        other = copy.copy(self)
        other.splits = self.splits | {"train": self._get("train").part(rows)}
        other._groups = self._groups[rows]
        other._order = other._training_order()
        return other


def check_options(batch_size: int, seed: int, class_weight: str, sampling: str) -> None:
    """Refuse settings that cannot be used, alone or together.

    Raises:
        ConfigError: one of them is not usable.
    """
    check_choice("class_weight", class_weight, get_args(ClassWeight))
    check_choice("sampling", sampling, get_args(Sampling))
    if class_weight == sampling == "balanced":
        raise ConfigError(
            "sampling and class_weight cannot both balance the classes",
            received={"sampling": sampling, "class_weight": class_weight},
            fix='use the default of one of the two ("shuffle", "none")',
        )
    for name, number in (("batch_size", batch_size), ("seed", seed)):
        if isinstance(number, bool) or not isinstance(number, int) or number < (name == "batch_size"):
            raise ConfigError(f"{name} is invalid", received=number, allowed="a whole number from 1 (seed: 0)")
