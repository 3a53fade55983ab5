"""Numbers that are computed from columns of a table, by the same TensorFlow operations in training and in an export."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError, check_choice
from tlkit.inputs.row.columns import Column, Continuous, Date
from tlkit.inputs.row.dates import read_dates

FARTHEST = 1e6  # scaled numbers end here


@dataclasses.dataclass(frozen=True)
class OfCategory:
    """A number for each category of a column: how often it occurs, or the mean of a target.

    Args:
        name: of the number.
        column: of categories.
        values: scaled, one for each code of the column.
    """

    name: str
    column: str
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Ratio:
    """One number divided by another one; 0, the middle, where one of them is missing or the divisor is 0.

    Args:
        name: of the ratio.
        numerator, denominator: columns of numbers.
        center, scale: of the ratio in the training rows.
    """

    name: str
    numerator: str
    denominator: str
    center: float = 0.0
    scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class DateDifference:
    """Days from one date to another one; 0, the middle, where one of them is missing.

    Args:
        name: of the difference.
        end, start: columns of dates.
        center, scale: of the days in the training rows.
    """

    name: str
    end: str
    start: str
    center: float = 0.0
    scale: float = 1.0


Feature = OfCategory | Ratio | DateDifference
_KINDS: dict[str, Any] = {"of_category": OfCategory, "ratio": Ratio, "date_difference": DateDifference}


def feature_to_dict(feature: Feature) -> dict[str, Any]:
    """Return a feature as plain values, with its `kind`."""
    kind = next(kind for kind, cls in _KINDS.items() if isinstance(feature, cls))
    return {"kind": kind, **{key: list(v) if isinstance(v, tuple) else v for key, v in vars(feature).items()}}


def feature_from_dict(values: Mapping[str, Any]) -> Feature:
    """Return the feature that `feature_to_dict` described.

    Raises:
        ConfigError: the kind is unknown, or the fields are not those of its kind.
    """
    kind = values.get("kind")
    check_choice("kind of feature", kind, _KINDS)
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key != "kind"}
    try:
        found: Feature = _KINDS[str(kind)](**given)
    except TypeError as error:
        raise ConfigError(f"a feature of kind {kind} cannot be read: {error}") from None
    return found


def needed_columns(features: Sequence[Feature]) -> list[str]:
    """Return the names of the columns whose values features need, besides codes."""
    found: dict[str, None] = {}
    for feature in features:
        if isinstance(feature, Ratio):
            found |= dict.fromkeys((feature.numerator, feature.denominator))
        elif isinstance(feature, DateDifference):
            found |= dict.fromkeys((feature.end, feature.start))
    return list(found)


def check_features(features: Sequence[Feature], columns: Sequence[Column]) -> None:
    """Refuse features of columns that are not there or not of their kind.

    Raises:
        ConfigError: one of them.
    """
    by_name = {column.name: column for column in columns}
    for feature in features:
        of: list[tuple[str, Callable[[Column], bool], str]] = []
        if isinstance(feature, Ratio):
            of = [(name, _is_number, "numbers") for name in (feature.numerator, feature.denominator)]
        elif isinstance(feature, DateDifference):
            of = [(name, _is_date, "dates") for name in (feature.end, feature.start)]
        else:
            of = [(feature.column, lambda column: not _is_number(column) and not _is_date(column), "categories")]
        for name, is_usable, kind in of:
            if name not in by_name or not is_usable(by_name[name]):
                allowed = [column.name for column in columns if is_usable(column)]
                raise ConfigError(f"{feature.name!r} needs columns of {kind}", received=name, allowed=allowed)
        if isinstance(feature, OfCategory):
            size = by_name[feature.column].codes[0].size
            if len(feature.values) != size:
                raise ConfigError(
                    f"{feature.name!r} has values of other categories", received=len(feature.values), allowed=size
                )
        elif not (math.isfinite(feature.center) and math.isfinite(feature.scale) and feature.scale > 0):
            raise ConfigError(
                f"{feature.name!r} cannot be scaled", received=(feature.center, feature.scale),
                allowed="finite numbers, the scale above 0",
            )  # fmt: skip


def computer_of(
    features: Sequence[Feature], columns: Sequence[Column], place_of_code: Mapping[str, int]
) -> Callable[[Mapping[str, tf.Tensor], tf.Tensor], tf.Tensor]:
    """Return the function that computes features.

    Args:
        features: E of them.
        columns: of the table.
        place_of_code: column of categories -> place of its code in an encoded row.

    Returns:
        A function from values by argument, [B] each, and encoded rows float32 [B, D] to float32 [B, E].
    """
    by_name = {column.name: column for column in columns}

    def compute(tensors: Mapping[str, tf.Tensor], encoded: tf.Tensor) -> tf.Tensor:
        found = []
        for feature in features:
            if isinstance(feature, OfCategory):
                codes = tf.cast(encoded[:, place_of_code[feature.column]], tf.int32)
                found.append(tf.gather(tf.constant(feature.values, tf.float32), codes))
            else:
                value, given = raw_values(feature, by_name, tensors)
                scaled = tf.clip_by_value((value - feature.center) / feature.scale, -FARTHEST, FARTHEST)
                found.append(tf.cast(tf.where(given, scaled, tf.zeros_like(scaled)), tf.float32))
        return tf.stack(found, axis=1)

    return compute


def raw_values(
    feature: Ratio | DateDifference, columns: Mapping[str, Column], tensors: Mapping[str, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return a ratio or the days of a difference, float64 [B], and where there is one, bool [B]."""
    if isinstance(feature, Ratio):
        above, below = (
            tf.cast(tensors[columns[name].argument], tf.float64) for name in (feature.numerator, feature.denominator)
        )
        given = tf.math.is_finite(above) & tf.math.is_finite(below) & (below != 0)
        value = tf.where(given, above, 0.0) / tf.where(given, below, 1.0)
        given &= tf.math.is_finite(value)
        return tf.where(given, value, 0.0), given
    end, start = (_days(columns[name], tensors) for name in (feature.end, feature.start))
    given = end[1] & start[1]
    return tf.where(given, end[0] - start[0], 0.0), given


def _days(column: Column, tensors: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    assert isinstance(column, Date)  # narrows the type
    values = tensors[column.argument]
    dates = read_dates(tf.strings.strip(values) if values.dtype == tf.string else values, column.form)
    return tf.cast(dates.elapsed, tf.float64), dates.valid


def _is_number(column: Column) -> bool:
    return isinstance(column, Continuous)


def _is_date(column: Column) -> bool:
    return isinstance(column, Date)


def scale_of(values: np.ndarray) -> tuple[float, float]:
    """Return center and scale of values float64 [n]: the median, and the spread of the middle half as of a normal."""
    if not len(values):
        return 0.0, 1.0
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    scale = float(high - low) / 1.349 or float(np.std(values)) or 1.0
    return float(middle), max(scale, float(np.finfo(np.float32).tiny))
