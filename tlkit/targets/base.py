"""The protocol of a target, and the table of all targets."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np

from tlkit.errors import ConfigError, check_choice
from tlkit.lazy import loaded

TargetKind = Literal["regression", "single_label", "multi_label", "survival"]
#: What records of runs, which now name it, were about when there was no other.
FIRST_KIND: TargetKind = "single_label"
#: kind -> module and class; loaded on first use.
TARGETS: Mapping[str, str] = {
    "regression": "tlkit.targets.regression:Regression",
    "single_label": "tlkit.targets.single_label:SingleLabel",
    "multi_label": "tlkit.targets.multi_label:MultiLabel",
    "survival": "tlkit.targets.survival:Survival",
}


#: Kinds whose answers are any number of classes, each above a threshold of its own.
_ANY_NUMBER = frozenset({"multi_label"})


def is_any_number(kind: str) -> bool:
    """Return whether an answer of this kind of target is any number of classes; loads nothing."""
    return kind in _ANY_NUMBER


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """One property of every item's label, for checks of the data.

    Attributes:
        name: the target, or one of several labels.
        values: class numbers int64 [n], -1 where the label is missing; or numbers float64 [n] with NaN.
        class_names: the classes; empty for numbers.
        is_label: it is one of several labels that an item may have; its classes are "no" and the label.
    """

    name: str
    values: np.ndarray
    class_names: tuple[str, ...] = ()
    is_label: bool = False

    def said(self, item: int, named: bool = False) -> str:
        """Return an item's value for people, with the name where there are several; empty for a label that is not."""
        value = self.values[item]
        if self.is_label:
            return self.name if value == 1 else ""
        text = (self.class_names[value] if value >= 0 else "(missing)") if self.class_names else f"{value:.6g}"
        return f"{self.name} {text}" if named else text


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """How wrong each answer is.

    Attributes:
        losses: float64 [n], for comparison between items and targets: for numbers the error in standard deviations of
            the truth, for classes the negative logarithm of the true one's probability.
        wrong: bool [n].
        errors: float64 [n]: 1 where it is wrong and 0 elsewhere, or the size of the error; NaN where it is unknown.
        is_rate: whether `errors` are 0 and 1.
        chosen: int64 [n], number of the class or label that an explanation is about.
        true: item -> its label, as text.
        said: item -> the answer, as text, a class with its probability.
    """

    losses: np.ndarray
    wrong: np.ndarray
    errors: np.ndarray
    is_rate: bool
    chosen: np.ndarray
    true: Callable[[int], str]
    said: Callable[[int], str]


def label_questions(labels: np.ndarray, class_names: Sequence[str], multi_label: bool, name: str) -> list[Question]:
    """Return the values of labels with one class, int [n], or several, 0 and 1 [n, k]."""
    if not multi_label:
        values = np.where(np.isnan(np.asarray(labels, np.float64)), -1, labels).astype(np.int64)
        return [Question(name, values, tuple(class_names))]
    return [
        Question(label, labels[:, number].astype(np.int64), ("no", label), True)
        for number, label in enumerate(class_names)
    ]


@dataclasses.dataclass(frozen=True)
class Target(ABC):
    """One thing to predict.

    A network gives `width` numbers for it, which training compares with what `forward` makes of its labels. `answers`
    turns them into `len(output_names)` numbers in the target's own unit; that is part of the exported graph.

    Args:
        name: what people call it: a column of a table, as a rule.
        weight: of its loss, where there are several targets.

    Attributes:
        kind: a key of `TARGETS`.
        is_alone: it cannot be one of several targets.
        class_names: the classes or labels; empty for what has none.
        dtype: of the answers, `"float32"` or `"float64"`.

    Raises:
        ConfigError: an argument is not usable.
    """

    name: str
    weight: float = dataclasses.field(default=1.0, kw_only=True)

    kind: ClassVar[TargetKind]
    is_alone: ClassVar[bool] = False
    class_names: ClassVar[Any] = ()
    dtype: ClassVar[Any] = "float32"

    def __post_init__(self) -> None:
        if not (isinstance(self.weight, int | float) and 0 < self.weight < math.inf):
            raise ConfigError(f"the loss weight of {self.name} is invalid", received=self.weight, allowed="above 0")

    # Labels

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table that have its labels."""
        return (self.name,)

    @property
    def columns_of_numbers(self) -> tuple[str, ...]:
        """Those whose values are numbers, even in a table without any: none unless the target says otherwise."""
        return ()

    @property
    def columns_of_names(self) -> tuple[str, ...]:
        """Those whose values are the names of its classes: none unless the target says otherwise."""
        return ()

    @property
    def label_width(self) -> int:
        """Numbers of a label: 1 unless the target says otherwise."""
        return 1

    @property
    def true_width(self) -> int:
        """Numbers of what `forward` gives: as many as the network gives, unless the target says otherwise."""
        return self.width

    @abstractmethod
    def forward(self, values: np.ndarray) -> np.ndarray:
        """Return the values that the loss compares with the network's outputs.

        Args:
            values: labels, [n] or [n, label_width]. NaN stands for a label that is missing.

        Returns:
            float32 [n, true_width]; NaN where the label is missing.
        """

    def questions(self, labels: np.ndarray) -> list[Question]:
        """Return what its labels, [n, label_width], say, for a check of the data."""
        if self.class_names:
            several = self.label_width > 1
            return label_questions(labels if several else labels[:, 0], self.class_names, several, self.name)
        names = self.columns if len(self.columns) == labels.shape[1] else (self.name,) * labels.shape[1]
        return [Question(name, labels[:, number].astype(np.float64)) for number, name in enumerate(names)]

    def check_split(self, labels: np.ndarray, split: str) -> None:  # noqa: B027 - most targets need no more
        """Warn if the labels of a split, [n, label_width], cannot measure the target."""

    # Outputs

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers that the network gives for it."""

    @property
    @abstractmethod
    def output_names(self) -> tuple[str, ...]:
        """Name of each number of its answer, where there are several targets: `price`, or `colour=red`."""

    @abstractmethod
    def losses(self, true: Any, outputs: Any, label_smoothing: float = 0.0) -> Any:
        """Return the loss of each example, float32 [B].

        Args:
            true: float32 [B, true_width], what `forward` gave, without NaN.
            outputs: float32 [B, width].
            label_smoothing: of classes; other targets do not use it.
        """

    @abstractmethod
    def answers(self, outputs: Any) -> Any:
        """Outputs of the network, float32 [..., width] -> its answers, [..., len(output_names)], of `dtype`."""

    def threshold_questions(self, answers: np.ndarray, labels: np.ndarray) -> list[tuple[str, Any, Any, float]]:
        """Return what is predicted above a threshold: name, probabilities [n], truth [n] and the threshold now.

        Args:
            answers: float64 [n, len(output_names)].
            labels: known ones, float64 [n, label_width].

        Returns:
            The second of two classes, or each of several labels; nothing for other targets.
        """
        return []

    def explained(self, outputs: Any, chosen: np.ndarray) -> Any:
        """Return the number of each example that is explained by its gradient, float32 [B].

        Args:
            outputs: calibrated, float32 [B, width], a tensor.
            chosen: number of the class or label to explain, [B]; not used by targets without classes.
        """
        return outputs[:, 0]

    def calibration(self, outputs: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scale and shift [width] that make outputs answer with the right probabilities; 1 and 0 by default.

        Args:
            outputs: float [n, width], of items that the network was not trained on.
            true: what `forward` gave, [n, true_width], without NaN.
        """
        return np.ones(self.width), np.zeros(self.width)

    @property
    def scores(self) -> int:
        """How many scores of nonconformity an item has: none unless the target says otherwise."""
        return 0

    def nonconformity(self, outputs: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Return scores [n, S] of how little calibrated outputs fit their labels; none by default.

        Args:
            outputs: float [n, width].
            true: what `forward` gave, [n, true_width]; NaN where the label is missing.
        """
        return np.zeros((len(outputs), 0))

    def region(self, outputs: Any, limits: np.ndarray) -> dict[str, Any]:
        """Return the answers whose score is at or below a limit, as tensors by name.

        Args:
            outputs: calibrated, float32 [B, width].
            limits: float [S], infinity where every answer is possible.

        Returns:
            `in_set`, int32 [B, k], 1 for each class that is possible; or `lower` and `upper` [B]; nothing by default.
        """
        return {}

    def watched(self) -> list[dict[str, Any]]:
        """Return the statistics of its answers that are compared with those of later data, as plain values.

        Each has the `name` of the statistic, and `how` it follows from the answers: `"top"`, the name (of `names`) of
        the largest; `"best"`, the largest; `"value"`, the first; `"above"`, how many are above their `limits`.
        `place` is the only answer that it is about, where it is not about all.
        """
        return [{"name": f"predicted {self.name}", "how": "value", "unit": getattr(self, "unit", "")}]

    @abstractmethod
    def averaged(self, outputs: Sequence[Any]) -> Any:
        """Outputs of several members, float32 [B, width] each -> outputs of their ensemble."""

    def centered(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs float [n, width] so that those of networks trained apart can be compared."""
        return outputs

    @abstractmethod
    def measure(self, answers: np.ndarray, labels: np.ndarray) -> Any:
        """Return the metrics of answers float [n, len(output_names)], given labels [n] or [n, label_width]."""

    @abstractmethod
    def judged(self, answers: np.ndarray, labels: np.ndarray) -> Judged:
        """Return how wrong answers are.

        Args:
            answers: float64 [n, len(output_names)].
            labels: known ones, float64 [n, label_width].
        """

    def measure_outputs(self, outputs: np.ndarray, labels: np.ndarray) -> Any:
        """Return the metrics of outputs float32 [n, width]; classes are measured by their logits."""
        import tensorflow as tf

        return self.measure(self.answers(tf.constant(outputs)).numpy(), labels)

    # What an export says of it

    @property
    def output_parts(self) -> dict[str, str]:
        """The fields of `tlkit.export.interface.Output` that are names of outputs, and the ends of these names."""
        return {"classes": "_classes", "scores": "_scores"} if self.class_names else {"value": ""}

    def wire(self) -> dict[str, Any]:
        """Return the fields of `tlkit.export.interface.Output` that the target decides, but for names."""
        return {"kind": self.kind, "class_names": tuple(self.class_names)}

    # Plain data

    def describe(self) -> dict[str, Any]:
        """Return the facts for a summary of the data: kind, weight, and more that its kind has."""
        return {"kind": self.kind, "weight": self.weight}

    def learned(self) -> dict[str, Any]:
        """Return what decides how labels become numbers and back: all but its name, weight, unit and dtype."""
        return {key: value for key, value in self.to_dict().items() if key not in ("name", "weight", "unit", "dtype")}

    def to_dict(self) -> dict[str, Any]:
        """Return the target as plain values."""
        # As release 0.1.0 wrote every target: what a kind does not have is at its default.
        plain = {
            "name": self.name, "kind": self.kind, "class_names": [], "weight": self.weight, "transform": "none",
            "power": 1.0, "center": 0.0, "scale": 1.0, "low": None, "high": None,
        }  # fmt: skip
        own = {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()
        }
        return plain | own

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Target:
        """Return the target from the values of `to_dict`."""
        return target_class(plain["kind"])._made(plain)

    @classmethod
    def _made(cls, plain: Mapping[str, Any]) -> Self:
        names = {field.name for field in dataclasses.fields(cls)}
        own = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items() if key in names}
        return cls(**own)  # type: ignore[arg-type]


def target_class(kind: str) -> type[Target]:
    """Return the class of a kind of target.

    Raises:
        ConfigError: there is no such kind.
    """
    check_choice("target kind", kind, get_args(TargetKind))
    found: type[Target] = loaded(TARGETS[kind])
    return found


def parts_by_target(
    answers: np.ndarray, labels: np.ndarray, targets: Sequence[Target]
) -> Iterator[tuple[Target, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield each target with its answers, its labels, and whether the label of an item is known.

    Args:
        answers: float [n, A], targets side by side.
        labels: float [n, T], likewise; NaN where a label is missing.
        targets: what is predicted.

    Yields:
        The target, float [n, len(output_names)], float [n, label_width] and bool [n].
    """
    answer, label = 0, 0
    for target in targets:
        ends = answer + len(target.output_names), label + target.label_width
        true = labels[:, label : ends[1]]
        yield target, answers[:, answer : ends[0]], true, np.isfinite(true).all(1)
        answer, label = ends
