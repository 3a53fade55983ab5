"""Labels as files hold them: one class an item, or a set of labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from tlkit.errors import Advice, ConfigError, DataError
from tlkit.inputs.class_names import composed

Label = str | frozenset[str]

_YES, _NO = {"1", "1.0", "true"}, {"0", "0.0", "false"}


class ListedLabels:
    """What a listing of photos or texts says of its labels; for frozen data classes.

    Attributes:
        labels: the class of each item, or the set of its labels where it may have several; in Unicode's normal form
            NFC.
        label_columns: the labels in the order of their columns, where each has a column of its own.
    """

    labels: Sequence[Label]
    label_columns: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", [composed_label(label) for label in self.labels])
        object.__setattr__(self, "label_columns", tuple(map(composed, self.label_columns)))

    @property
    def multi_label(self) -> bool:
        """Whether an item has a set of labels instead of one class."""
        return several(self.labels)

    @property
    def class_names(self) -> list[str]:
        """The labels in the order of their columns, or else those that occur, sorted as text: "10" before "2"."""
        return list(self.label_columns) or sorted(self.seen())

    def seen(self, rows: Iterable[int] | None = None) -> set[str]:
        """Return the labels that occur, in all rows or in some of them."""
        return seen(self.labels if rows is None else [self.labels[row] for row in rows])

    def check_fits(self, multi_label: bool, item: str, origin: str, advice: Advice) -> None:
        """Refuse sets of labels where a model gives one class, and the other way round.

        Args:
            multi_label: whether the model may give several labels, or none.
            item: such as "a photo", for the message.
            origin: where the listing came from.
            advice: what to do where the model gives several.

        Raises:
            DataError: saying what both have.
        """
        if self.multi_label != multi_label:
            ours, theirs = ("several labels", "one class") if multi_label else ("one class", "a set of labels")
            raise DataError(
                f"the model predicts {ours} for {item}, but the data has {theirs}",
                received=origin,
                fix=advice if multi_label else None,
            )


def read_labels(values: Sequence[object], places: Sequence[str], column: str, separator: str | None) -> list[Label]:
    """Read a column of labels.

    Args:
        values: of the column.
        places: where each row stands, for messages.
        column: its name.
        separator: what stands between the labels of a row; nothing in the field means none of them. Without one, each
            row has one label, or all have a list.

    Returns:
        A class, or a set of labels, for each row.

    Raises:
        DataError: a row has no label, or a single one where others have lists.
    """
    lists = [is_list(value) for value in values]
    if separator is None and not any(lists):
        return [filled(value, place, column) for value, place in zip(values, places, strict=True)]
    labels: list[Label] = []
    for value, place, several in zip(values, places, lists, strict=True):
        if several:
            items = cast(Iterable[object], value)
            labels.append(frozenset(filled(item, place, column) for item in items))
        elif separator is None and is_missing(value):
            labels.append(frozenset())
        elif separator is None:
            raise DataError(
                f"{place} has a single label in column {column!r}, other rows have lists", received=str(value)[:60]
            )
        else:
            parts = [] if is_missing(value) else class_text(value).split(separator)
            labels.append(frozenset(part.strip() for part in parts if part.strip()))
    return labels


def read_marks(names: Sequence[str], columns: Sequence[Sequence[object]], places: Sequence[str]) -> list[Label]:
    """Read columns of 0 and 1, one for each label: a set of labels for each row.

    Args:
        names: of the columns, which are the labels.
        columns: the values of each.
        places: where each row stands, for messages.

    Raises:
        DataError: a value is neither 0 nor 1.
    """
    sets: list[set[str]] = [set() for _ in places]
    for name, values in zip(names, columns, strict=True):
        for found, value, place in zip(sets, values, places, strict=True):
            mark = str(value).strip().lower()
            if mark in _YES:
                found.add(name)
            elif mark not in _NO:
                raise DataError(f"{place} has no 0 or 1 in column {name!r}", received=str(value), allowed="0, 1")
    return [frozenset(found) for found in sets]


def composed_label(label: Label) -> Label:
    """Return a class, or a set of labels, in Unicode's normal form NFC."""
    return composed(label) if isinstance(label, str) else frozenset(map(composed, label))


def several(labels: Sequence[Label]) -> bool:
    """Whether items have sets of labels instead of one class each."""
    return bool(labels) and isinstance(labels[0], frozenset)


def each_label(labels: Iterable[Label]) -> Iterator[str]:
    """Yield every label of every item."""
    for label in labels:
        yield from (label,) if isinstance(label, str) else label


def seen(labels: Iterable[Label]) -> set[str]:
    """Return the labels that occur."""
    return set(each_label(labels))


def as_numbers(labels: Sequence[Label], class_names: Sequence[str], multi_label: bool) -> npt.NDArray[np.number]:
    """Return class numbers int32 [n], or with `multi_label` 0/1 for each label, float32 [n, k]."""
    names = [composed(name) for name in class_names]
    if multi_label:
        marks = np.array([[name in label for name in names] for label in labels], np.float32)
        return marks.reshape(len(labels), len(names))
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers[str(label)] for label in labels], np.int32)


def count_labels(numbers: np.ndarray, class_names: Sequence[str]) -> dict[str, int]:
    """Return how many items have each label; `numbers` as `as_numbers` returns them."""
    counts = numbers.sum(0).astype(int) if numbers.ndim == 2 else np.bincount(numbers, minlength=len(class_names))
    return dict(zip(class_names, counts.tolist(), strict=True))


def shown_label(label: Label) -> str:
    """Return a label for a message: its name, or all names of a set."""
    return label if isinstance(label, str) else ", ".join(sorted(label)) or "no label"


def check_several(label_separator: str | None, label_columns: Sequence[str] | None) -> None:
    """Refuse arguments for several labels an item that exclude each other or cannot be used.

    Raises:
        ConfigError: naming the argument.
    """
    if label_columns is not None and label_separator is not None:
        raise ConfigError("label_columns and label_separator cannot be combined", received=label_separator)
    if label_separator is not None and (not isinstance(label_separator, str) or not label_separator):
        raise ConfigError("label_separator is invalid", received=label_separator, allowed="a text such as |")
    if label_columns is None:
        return
    usable = not isinstance(label_columns, str) and all(isinstance(name, str) for name in label_columns)
    if not usable or len(set(map(composed, label_columns))) < max(2, len(label_columns)):
        raise ConfigError(
            "label_columns is invalid", received=label_columns, allowed="a list of at least two different names"
        )


def check_balance(class_weight: str, sampling: str, multi_label: bool, item: str) -> None:
    """Refuse to balance classes where an item may have several.

    Raises:
        ConfigError: naming both settings.
    """
    if multi_label and "balanced" in (class_weight, sampling):
        raise ConfigError(
            f"classes can be balanced only for single-label data: {item} has several labels",
            received={"sampling": sampling, "class_weight": class_weight},
            allowed='"shuffle" and "none" for multi-label data',
        )


def class_text(value: object) -> str:
    """Return a class or group as text; a whole number is written alike, whether JSON or pandas has it as 1 or as 1.0.

    >>> class_text(1.0), class_text(1), class_text("1.0"), class_text(0.5)
    ('1', '1', '1.0', '0.5')
    """
    if hasattr(value, "dtype") and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return str(value).strip()


def filled(value: object, place: str, column: str | None) -> str:
    """Return a value as text.

    Raises:
        DataError: there is none, or it is no plain value.
    """
    text = "" if is_missing(value) else class_text(value)
    if not text:
        raise DataError(f"{place} has nothing in column {column!r}", fix="fill it in, or remove the row")
    if isinstance(value, dict) or is_list(value):
        raise DataError(f"{place} has no plain value in column {column!r}", received=text[:60])
    return text


def is_missing(value: object) -> bool:
    """Whether a field holds nothing: None, NaN, NA or NaT."""
    import pandas as pd

    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def is_list(value: object) -> bool:
    """Whether a field holds several values."""
    return isinstance(value, list | tuple | set | frozenset | np.ndarray)
