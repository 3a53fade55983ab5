"""A numeric target: values in their own unit for users, scaled numbers for the network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from tlkit.errors import ConfigError, DataError, check_choice
from tlkit.float_digits import needs_float64
from tlkit.report.regression import figure
from tlkit.targets.base import Judged, Target, TargetKind

_FARTHEST = 1e6  # an interval without limits reaches so many scales
_LEAST_SPREAD = 1e-13  # of the centre: float64 has 16 digits, and some must be left for the differences
Transform = Literal["none", "log", "log1p", "yeo_johnson"]
AutoTransform = Literal["auto", "none", "log", "log1p", "yeo_johnson"]  # callers with the rows resolve "auto"


@dataclasses.dataclass(frozen=True)
class Regression(Target):
    """A number.

    The network learns `(transform(y) - center) / scale`; with `low` and `high` its answers are kept between them by a
    sigmoid. The way back is TensorFlow operations, part of the exported graph.

    Example:
        >>> price = fit_target("price", np.array([120.0, 80.0, 430.0]), transform="log")
        >>> price.inverse(tf.constant([[0.0]]))  # float32 [1, 1]: the geometric mean, 160.4

    Args:
        name: the column.
        transform: `"none"`, `"log"` (of positive values), `"log1p"` (the logarithm of 1 + y, of values from 0), or
            `"yeo_johnson"` (Yeo & Johnson 2000, Biometrika 87), which also takes negative values and is Box-Cox of
            1 + y for the positive ones.
        power: of the Yeo-Johnson transform.
        center, scale: of the transformed training values.
        low, high: bounds of the answers, in the target's own unit; both or neither.
        unit: as the training's files wrote it, such as "€"; empty for plain numbers.
        dtype: of the answers: `"float64"` where float32 would lose digits of the training values.
    """

    transform: Transform = "none"
    power: float = 1.0
    center: float = 0.0
    scale: float = 1.0
    low: float | None = None
    high: float | None = None
    unit: str = ""
    dtype: Literal["float32", "float64"] = "float32"  # type: ignore[misc]

    kind: ClassVar[TargetKind] = "regression"

    def __post_init__(self) -> None:
        check_choice("transform", self.transform, get_args(Transform))
        check_choice("dtype of a target", self.dtype, ("float32", "float64"))
        super().__post_init__()
        if (self.low is None) != (self.high is None) or (self.low is not None and not self.low < self.high):  # type: ignore[operator]
            raise ConfigError(
                f"the range of {self.name} is invalid", received=(self.low, self.high), allowed="a lower, a higher"
            )
        if self.transform == "log" and self.low is not None and self.low <= 0:
            raise ConfigError(f"a logarithm needs a range above 0 for {self.name}", received=(self.low, self.high))
        if self.transform == "log1p" and self.low is not None and self.low < 0:
            raise ConfigError(f"log1p needs a range from 0 for {self.name}", received=(self.low, self.high))

    @property
    def width(self) -> int:
        """One number."""
        return 1

    @property
    def output_names(self) -> tuple[str, ...]:
        """Its name."""
        return (self.name,)

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Values in the target's own unit, [n] -> float32 [n, 1]; values are not moved into the bounds."""
        numbers = np.asarray(values, np.float64).reshape(len(values))
        return ((self._transformed(numbers) - self.center) / self.scale).astype(np.float32)[:, None]

    def losses(self, true: Any, outputs: Any, label_smoothing: float = 0.0) -> Any:
        """Squared error of the scaled values, float32 [B]."""
        return keras.ops.mean(keras.ops.square(self.scaled(outputs) - true), axis=-1)

    def answers(self, outputs: Any) -> Any:
        """Outputs [..., 1] -> values in the target's own unit, of its dtype [..., 1]."""
        return self.inverse(outputs)

    @property
    def scores(self) -> int:
        """One."""
        return 1

    def nonconformity(self, outputs: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Return the absolute errors of the scaled values, [n, 1]: the transform makes intervals wider or narrower."""
        return np.abs(np.asarray(self.scaled(tf.constant(outputs, tf.float32)), np.float64) - true)

    def region(self, outputs: Any, limits: np.ndarray) -> dict[str, Any]:
        """Return the ends of an interval in the target's own unit, within the bounds of the answers."""
        scaled = self.scaled(tf.cast(outputs, tf.float32))
        reach = float(min(limits[0], _FARTHEST))
        ends = {"lower": scaled - reach, "upper": scaled + reach}
        found = {name: self._back(end)[..., 0] for name, end in ends.items()}
        if self.low is None or self.high is None:
            return found
        return {name: tf.clip_by_value(end, self.low, self.high) for name, end in found.items()}

    def averaged(self, outputs: Sequence[Any]) -> Any:
        """Mean of what the network learns, after the transform."""
        return keras.ops.mean(keras.ops.stack(list(outputs)), axis=0)

    def judged(self, answers: np.ndarray, labels: np.ndarray) -> Judged:
        """Judge by the absolute error."""
        said, true = answers[:, 0], labels[:, 0]
        errors = np.abs(said - true)
        return Judged(
            losses=errors / (true.std() or 1.0),
            wrong=errors > 0,
            errors=errors,
            is_rate=False,
            chosen=np.zeros(len(errors), np.int64),
            true=lambda item: figure(float(true[item])),
            said=lambda item: figure(float(said[item])),
        )

    def measure(self, answers: np.ndarray, labels: np.ndarray) -> Any:
        """Return `RegressionMetrics`."""
        from tlkit.report.regression import regression_metrics

        return regression_metrics(answers, np.asarray(labels, np.float64).reshape(len(labels)), self.name)

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
        return self._back(self.scaled(tf.cast(outputs, tf.float32)))

    def _back(self, values: tf.Tensor) -> tf.Tensor:
        """Scaled values, float32 -> values in the target's own unit, of its dtype."""
        scaled = tf.cast(values, self.dtype) * self.scale + self.center
        largest = tf.float32.max
        if self.transform == "log":
            return tf.exp(tf.minimum(scaled, math.log(largest) - 1e-3))
        if self.transform == "log1p":
            return tf.math.expm1(tf.minimum(scaled, math.log(largest) - 1e-3))
        if self.transform == "yeo_johnson":
            return tf.clip_by_value(self._yeo_johnson_back(scaled), -largest, largest)
        return tf.clip_by_value(scaled, -largest, largest)

    def wire(self) -> dict[str, Any]:
        """Return the fields of the output, the unit too, and where float32 does not hold the values how they lie."""
        own = super().wire() | {"unit": self.unit}
        if self.dtype == "float32":
            return own
        low, middle, high = (float(self.inverse([[place]])[0, 0]) for place in (-1.0, 0.0, 1.0))
        return own | {"dtype": self.dtype, "middle": middle, "spread": abs(high - low) / 2 or 1.0}

    def describe(self) -> dict[str, Any]:
        """Kind, weight, transform and unit."""
        return super().describe() | {"transform": self.transform} | ({"unit": self.unit} if self.unit else {})

    def to_dict(self) -> dict[str, Any]:
        """Return the target as plain values."""
        plain = super().to_dict()
        if not self.unit:  # as release 0.1.0 wrote it
            del plain["unit"]
        if self.dtype == "float32":
            del plain["dtype"]
        return plain

    def _transformed(self, values: np.ndarray) -> np.ndarray:
        if self.transform in ("log", "log1p"):
            with np.errstate(divide="ignore", invalid="ignore"):  # evaluation may have values that training rejects
                return np.log(values) if self.transform == "log" else np.log1p(values)
        return stats.yeojohnson(values, self.power) if self.transform == "yeo_johnson" else values

    def _yeo_johnson_back(self, value: tf.Tensor) -> tf.Tensor:
        power = self.power

        def power_back(base: tf.Tensor, exponent: float) -> tf.Tensor:
            # Values outside the transform's range are clipped to it. The branch that is not used must be finite, too.
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
) -> Regression:
    """Make a regression target whose transformed training values have mean 0 and standard deviation 1.

    Args:
        name: the column.
        values: float [n], of the training rows, finite.
        transform: see `Regression`.
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
    if transform == "log1p" and not np.all(values >= 0):
        raise DataError(
            f"log1p of {name} needs values from 0", received=float(values.min()),
            fix='use transform = "yeo_johnson", which also takes negative values',
        )  # fmt: skip
    if np.ptp(values) == 0:
        raise DataError(f"the target {name} is constant: there is nothing to learn", received=float(values[0]))
    if transform == "yeo_johnson":
        power = float(stats.yeojohnson_normmax(values))
    low, high = (None, None) if y_range is None else (float(y_range[0]), float(y_range[1]))
    plain = Regression(name, transform=transform, power=power, weight=weight, low=low, high=high)
    transformed = plain._transformed(values)
    center, scale = float(transformed.mean()), float(transformed.std())
    if not np.isfinite([center, scale]).all() or scale <= _LEAST_SPREAD * abs(center):
        raise DataError(
            f"the values of {name} are too close to each other "
            "for float32" + (f" after {transform}" if transform != "none" else ""),
            received=f"{values.min():.17g} to {values.max():.17g}",
            fix='use transform = "none"' if transform != "none" else "subtract a constant from them first",
        )
    dtype: Literal["float32", "float64"] = "float64" if needs_float64(values) else "float32"
    return dataclasses.replace(plain, center=center, scale=scale, dtype=dtype)
