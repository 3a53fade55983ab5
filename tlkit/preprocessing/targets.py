"""What a table's model predicts: values in their own unit outside, well-scaled numbers inside."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import tensorflow as tf
from scipy import stats

from tlkit.errors import ConfigError, DataError, check_choice
from tlkit.preprocessing.float_digits import needs_float64

_LEAST_SPREAD = 1e-13  # of the middle: float64 has 16 digits, and a few must be left
TargetKind = Literal["regression", "single_label", "multi_label"]
Transform = Literal["none", "log", "yeo_johnson"]


@dataclasses.dataclass(frozen=True)
class Target:
    """One thing to predict.

    A regression learns `(transform(y) - center) / scale`; with `low` and `high` its answers are kept between them by a
    sigmoid. The way back is TensorFlow operations, part of the exported graph.

    Example:
        >>> price = fit_target("price", np.array([120.0, 80.0, 430.0]), transform="log")
        >>> price.inverse(tf.constant([[0.0]]))  # float32 [1, 1]: the geometric mean, 160.4

    Args:
        name: the column.
        kind: `"regression"`, `"single_label"` (one class of several) or `"multi_label"` (any number of them).
        class_names: the classes; empty for a regression.
        weight: of its loss, where there are several targets.
        transform: `"none"`, `"log"` (of positive values), or `"yeo_johnson"` (Yeo & Johnson 2000, Biometrika 87), which
            also takes zero and negative values and is Box-Cox of 1 + y for the positive ones.
        power: of the Yeo-Johnson transform.
        center, scale: of the transformed training values.
        low, high: bounds of the answers, in the target's own unit; both or neither.
        dtype: of the answers: `"float64"` where float32 would lose digits of the training values.
        unit: of a regression, as the training's files write it, such as "€"; empty for plain numbers.

    Raises:
        ConfigError: an argument is not usable.
    """

    name: str
    kind: TargetKind = "regression"
    class_names: tuple[str, ...] = ()
    weight: float = 1.0
    transform: Transform = "none"
    power: float = 1.0
    center: float = 0.0
    scale: float = 1.0
    low: float | None = None
    high: float | None = None
    unit: str = ""
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        check_choice("target kind", self.kind, get_args(TargetKind))
        check_choice("transform", self.transform, get_args(Transform))
        check_choice("dtype of a target", self.dtype, ("float32", "float64"))
        if not (isinstance(self.weight, int | float) and 0 < self.weight < math.inf):
            raise ConfigError(f"the loss weight of {self.name} is not usable", received=self.weight, allowed="above 0")
        if (self.low is None) != (self.high is None) or (self.low is not None and not self.low < self.high):  # type: ignore[operator]
            raise ConfigError(
                f"the range of {self.name} is not usable", received=(self.low, self.high), allowed="a lower, a higher"
            )
        if self.transform == "log" and self.low is not None and self.low <= 0:
            raise ConfigError(f"a logarithm needs a range above 0 for {self.name}", received=(self.low, self.high))

    @property
    def width(self) -> int:
        """Numbers that the network gives for it: 1, or one for each class."""
        return 1 if self.kind == "regression" else len(self.class_names)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Name of each of them, where there are several targets: `price`, or `colour=red`."""
        return (
            (self.name,) if self.kind == "regression" else tuple(f"{self.name}={label}" for label in self.class_names)
        )

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Give what a network learns.

        Args:
            values: float [n] in the target's own unit; class numbers int [n]; or 0/1 labels [n, k].

        Returns:
            float32 [n, width]. Where the answers have bounds, values are not moved into them.
        """
        if self.kind == "multi_label":
            return np.asarray(values, np.float32)
        if self.kind == "single_label":
            return np.eye(self.width, dtype=np.float32)[np.asarray(values, np.int64)]
        return ((self._transformed(np.asarray(values, np.float64)) - self.center) / self.scale).astype(np.float32)[
            :, None
        ]

    def scaled(self, outputs: tf.Tensor) -> tf.Tensor:
        """Raw outputs of the network, float32 [..., 1] -> numbers that `forward` can be compared with."""
        if self.low is None or self.high is None:
            return outputs
        bounds = self._transformed(np.array([self.low, self.high], np.float64))
        low, high = ((bounds - self.center) / self.scale).tolist()
        return low + (high - low) * tf.sigmoid(outputs)

    def inverse(self, outputs: tf.Tensor) -> tf.Tensor:
        """Raw outputs of the network, float32 [..., 1] -> values in the target's own unit, of its dtype [..., 1].

        Values that float32 cannot hold become its largest one: an answer is always finite.
        """
        scaled = tf.cast(self.scaled(tf.cast(outputs, tf.float32)), self.dtype) * self.scale + self.center
        largest = tf.float32.max
        if self.transform == "log":
            return tf.exp(tf.minimum(scaled, math.log(largest) - 1e-3))
        if self.transform == "yeo_johnson":
            return tf.clip_by_value(self._yeo_johnson_back(scaled), -largest, largest)
        return tf.clip_by_value(scaled, -largest, largest)

    def to_dict(self) -> dict[str, Any]:
        """Give the target as plain values."""
        plain = {**dataclasses.asdict(self), "class_names": list(self.class_names)}
        if not self.unit:  # as release 0.1.0 wrote it
            del plain["unit"]
        if self.dtype == "float32":
            del plain["dtype"]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Target:
        """Make a target from what `to_dict` gave."""
        return cls(**{**plain, "class_names": tuple(plain["class_names"])})

    def _transformed(self, values: np.ndarray) -> np.ndarray:
        if self.transform == "log":
            return np.log(values)
        return stats.yeojohnson(values, self.power) if self.transform == "yeo_johnson" else values

    def _yeo_johnson_back(self, value: tf.Tensor) -> tf.Tensor:
        power = self.power

        def power_back(base: tf.Tensor, exponent: float) -> tf.Tensor:
            # What lies beyond the transform's range is moved to its end; the untaken branch must stay finite too.
            inside = tf.maximum(base * exponent + 1.0, 1e-6)
            return tf.exp(tf.math.log(inside) / exponent) - 1.0

        positive, negative = tf.maximum(value, 0.0), tf.maximum(-value, 0.0)
        up = tf.exp(tf.minimum(positive, 80.0)) - 1.0 if abs(power) < 1e-6 else power_back(positive, power)
        down = (
            tf.exp(tf.minimum(negative, 80.0)) - 1.0 if abs(power - 2.0) < 1e-6 else power_back(negative, 2.0 - power)
        )
        return tf.where(value >= 0, up, -down)


def fit_target(
    name: str,
    values: np.ndarray,
    *,
    transform: Transform = "none",
    y_range: Sequence[float] | None = None,
    weight: float = 1.0,
) -> Target:
    """Make a regression target whose transformed training values have mean 0 and standard deviation 1.

    Args:
        name: the column.
        values: float [n], of the training rows, finite.
        transform: see `Target`.
        y_range: lowest and highest answer.
        weight: of its loss.

    Raises:
        DataError: all values are equal, or a logarithm is asked for of values that are not positive.
    """
    values = np.asarray(values, np.float64)
    power = 1.0
    if transform == "log" and not np.all(values > 0):
        raise DataError(
            f"the logarithm of {name} needs values above 0",
            received=float(values.min()),
            fix='use transform = "yeo_johnson", which also takes zero and negative values',
        )
    if np.ptp(values) == 0:
        raise DataError(f"the target {name} is constant: there is nothing to learn", received=float(values[0]))
    if transform == "yeo_johnson":
        power = float(stats.yeojohnson_normmax(values))
    low, high = (None, None) if y_range is None else (float(y_range[0]), float(y_range[1]))
    plain = Target(name, transform=transform, power=power, weight=weight, low=low, high=high)
    transformed = plain._transformed(values)
    center, scale = float(transformed.mean()), float(transformed.std())
    if not np.isfinite([center, scale]).all() or scale <= _LEAST_SPREAD * abs(center):
        raise DataError(
            f"the values of {name} cannot be told apart" + (f" after {transform}" if transform != "none" else ""),
            received=f"{values.min():.17g} to {values.max():.17g}",
            fix='use transform = "none"' if transform != "none" else "subtract a constant from them first",
        )
    dtype: Literal["float32", "float64"] = "float64" if needs_float64(values) else "float32"
    return dataclasses.replace(plain, center=center, scale=scale, dtype=dtype)
